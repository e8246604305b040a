// Damages JSON where its parts are: numbers, strings, brackets and whole members.
#pragma once

#include <string>
#include <vector>

#include "fuzz/draws.h"

namespace fltac::fuzz {

class JsonMutator {
 public:
  // `words` are strings that the format knows, without quotes.
  explicit JsonMutator(std::vector<std::string> words) : words_(std::move(words)) {}

  std::string mutate(Draws& draws, const std::string& text) const {
    std::vector<std::string> tokens = tokens_of(text);
    for (size_t left = 1 + draws.below(3); left > 0 && !tokens.empty(); --left) change(draws, tokens);
    std::string result;
    for (const std::string& token : tokens) result += token;
    if (draws.one_in(10)) damage_bytes(draws, result);
    return result;
  }

 private:
  static std::vector<std::string> tokens_of(const std::string& text) {
    constexpr std::string_view kPunctuation = "{}[]:,";
    constexpr std::string_view kSpace = " \n\r\t";
    std::vector<std::string> tokens;
    for (size_t at = 0; at < text.size();) {
      size_t end = at + 1;
      if (text[at] == '"') {
        while (end < text.size() && text[end] != '"') end += text[end] == '\\' ? 2 : 1;
        end = std::min(end + 1, text.size());
      } else if (kPunctuation.find(text[at]) == std::string_view::npos) {
        while (end < text.size() && kPunctuation.find(text[end]) == std::string_view::npos &&
               kSpace.find(text[end]) == std::string_view::npos) {
          ++end;
        }
      }
      tokens.push_back(text.substr(at, end - at));
      at = end;
    }
    return tokens;
  }

  void change(Draws& draws, std::vector<std::string>& tokens) const {
    const size_t at = draws.below(tokens.size());
    const auto place = tokens.begin() + static_cast<ptrdiff_t>(at);
    switch (draws.below(10)) {
      case 0:
        tokens.erase(place);
        return;
      case 1:
        tokens.insert(place, draws.of(tokens));
        return;
      case 2:
        std::swap(tokens[at], tokens[draws.below(tokens.size())]);
        return;
      case 3:
        return repeat(draws, tokens, at);
      case 4:
        return nest(draws, tokens[at]);
      default:
        tokens[at] = other_value(draws, tokens[at]);
    }
  }

  // A piece once more, or up to eight times: members given twice, lists that are too long.
  static void repeat(Draws& draws, std::vector<std::string>& tokens, size_t at) {
    const size_t size = std::min(tokens.size() - at, 1 + draws.below(24));
    const auto begin = tokens.begin() + static_cast<ptrdiff_t>(at);
    const std::vector<std::string> piece(begin, begin + static_cast<ptrdiff_t>(size));
    for (size_t left = 1 + draws.below(8); left > 0; --left) {
      tokens.insert(tokens.begin() + static_cast<ptrdiff_t>(at), piece.begin(), piece.end());
    }
  }

  static void nest(Draws& draws, std::string& token) {
    const size_t depth = draws.one_in(50) ? 100'000 : 1 + draws.below(12);
    if (draws.one_in(2)) {
      token = std::string(depth, '[') + token + std::string(draws.one_in(4) ? 0 : depth, ']');
      return;
    }
    std::string open;
    for (size_t left = depth; left > 0; --left) open += "{\"a\":";
    token = open + token + std::string(depth, '}');
  }

  std::string other_value(Draws& draws, const std::string& token) const {
    const bool digits = !token.empty() && token.find_first_not_of("0123456789") == std::string::npos;
    if (digits && !draws.one_in(6)) {
      const uint64_t present = token.size() > 18 ? 0 : std::stoull(token);
      return std::to_string(telling_number(draws, present));
    }
    static const std::vector<std::string> values = {"null",
                                                    "true",
                                                    "false",
                                                    "-1",
                                                    "-0",
                                                    "1.5",
                                                    "1e3",
                                                    "1e308",
                                                    "1e999",
                                                    "-1e-400",
                                                    "18446744073709551616",
                                                    "00",
                                                    "[]",
                                                    "{}",
                                                    "[0,0]",
                                                    "[-1]",
                                                    "\"\"",
                                                    "\"\\u0000\"",
                                                    "\"\\ud800\"",
                                                    "\"../../x\"",
                                                    "\"/etc/passwd\"",
                                                    "\"\xff\xfe\"",
                                                    "NaN",
                                                    "Infinity",
                                                    "'a'",
                                                    "\"a",
                                                    "\\",
                                                    "//",
                                                    "\0"};
    if (draws.one_in(3)) return draws.of(values);
    if (draws.one_in(40)) return "\"" + std::string(100'000, 'x') + "\"";
    return "\"" + draws.of(words_) + "\"";
  }

  std::vector<std::string> words_;
};

}  // namespace fltac::fuzz
