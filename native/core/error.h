// The one error type of the C++ core. bindings/errors.h turns it into JavaScript's FltacError with the same
// code.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace fltac {

// The codes of src/errors.ts that native code uses; code_name gives their spelling there.
enum class ErrorCode {
  Usage,
  Io,
  Format,
  Unsupported,
  MissingWeight,
  Shape,
  NonFinite,
  OutOfMemory,
  Aborted,
  Disposed,
  Internal,
};

constexpr const char* code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::Usage:
      return "USAGE";
    case ErrorCode::Io:
      return "IO";
    case ErrorCode::Format:
      return "FORMAT";
    case ErrorCode::Unsupported:
      return "UNSUPPORTED";
    case ErrorCode::MissingWeight:
      return "MISSING_WEIGHT";
    case ErrorCode::Shape:
      return "SHAPE";
    case ErrorCode::NonFinite:
      return "NON_FINITE";
    case ErrorCode::OutOfMemory:
      return "OUT_OF_MEMORY";
    case ErrorCode::Aborted:
      return "ABORTED";
    case ErrorCode::Disposed:
      return "DISPOSED";
    case ErrorCode::Internal:
      return "INTERNAL";
  }
  return "INTERNAL";
}

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

// Throws an Error whose message is the arguments streamed one after another.
template <typename... Parts>
[[noreturn]] void fail(ErrorCode code, const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  throw Error(code, text.str());
}

}  // namespace fltac
