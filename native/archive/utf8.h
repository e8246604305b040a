#pragma once

#include <string_view>

namespace fltac {

// Whether the bytes are UTF-8 as RFC 3629 has it (no surrogates, no overlong forms, up to U+10FFFF).
bool is_utf8(std::string_view text);

}  // namespace fltac
