// JSON that comes from elsewhere.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "core/error.h"

namespace fltac {

// Deeper than any file of a model nests; values are printed and compared by recursion, which must not
// overflow the stack.
constexpr int kMaxJsonDepth = 64;

// At most this many bytes of a file's text come into a message.
constexpr size_t kLongestShown = 200;

// Cut between characters where it is longer.
inline std::string shown_text(std::string text, size_t longest = kLongestShown) {
  if (text.size() <= longest) return text;
  while (longest > 0 && (static_cast<unsigned char>(text[longest]) & 0xC0) == 0x80) --longest;
  return text.substr(0, longest) + "...";
}

// A value as a message shows it: short, whatever a file holds.
inline std::string shown(const nlohmann::json& value) {
  return shown_text(value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

// Throws Format, naming `where`, for what is no JSON and for what nests too deep.
inline nlohmann::json parse_json(std::string_view text, const std::string& where) {
  const auto watch = [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    if (depth > kMaxJsonDepth) {
      fail(ErrorCode::Format, where, ": its JSON is nested more than ", kMaxJsonDepth, " deep");
    }
    return true;
  };
  try {
    return nlohmann::json::parse(text, watch);
  } catch (const nlohmann::json::exception& error) {
    // The message repeats what was read last, which may be long.
    fail(ErrorCode::Format, where, ": not valid JSON: ", shown_text(error.what(), 2 * kLongestShown));
  }
}

}  // namespace fltac
