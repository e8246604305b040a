// JSON that comes from elsewhere.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "core/error.h"

namespace fltac {

// Deeper than any file of a model nests; values are printed and compared by recursion, which must not overflow the stack.
constexpr int kMaxJsonDepth = 64;

// Throws json::exception where the text is no JSON, and Format, naming `where`, where it nests too deep.
inline nlohmann::json parse_json(std::string_view text, const std::string& where) {
  const auto watch = [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    if (depth > kMaxJsonDepth) fail(ErrorCode::Format, where, ": its JSON is nested more than ", kMaxJsonDepth, " deep");
    return true;
  };
  return nlohmann::json::parse(text, watch);
}

// A value as a message shows it: short, whatever a file holds.
inline std::string shown(const nlohmann::json& value) {
  constexpr size_t kLongest = 200;
  const std::string text = value.dump();
  return text.size() > kLongest ? text.substr(0, kLongest) + "..." : text;
}

}  // namespace fltac
