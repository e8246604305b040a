#include "bindings/errors.h"

#include <c10/util/Exception.h>

#include <new>

#include "bindings/addon_data.h"

namespace fltac::bindings {
namespace {

bool mentions_memory(const std::string& text) {
  return text.find("not enough memory") != std::string::npos ||
         text.find("out of memory") != std::string::npos ||
         text.find("can't allocate memory") != std::string::npos;
}

constexpr const char* kMemoryHint = "memory ran out; lower batch_size, max_len or cohort";

}  // namespace

Failure current_failure() {
  try {
    throw;
  } catch (const Error& e) {
    return {e.code(), e.what()};
  } catch (const std::bad_alloc&) {
    return {ErrorCode::OutOfMemory, kMemoryHint};
  } catch (const c10::Error& e) {
    const std::string text = e.what_without_backtrace();
    if (mentions_memory(text)) return {ErrorCode::OutOfMemory, kMemoryHint};
    return {ErrorCode::Internal, "libtorch: " + text.substr(0, text.find('\n'))};
  } catch (const std::exception& e) {
    return {ErrorCode::Internal, e.what()};
  } catch (...) {
    return {ErrorCode::Internal, "unknown native exception"};
  }
}

Napi::Error to_js(Napi::Env env, const Failure& failure) {
  const AddonData& addon = AddonData::of(env);
  if (addon.error_class.IsEmpty()) return Napi::Error::New(env, failure.message);
  const Napi::Object error = addon.error_class.New(
      {Napi::String::New(env, code_name(failure.code)), Napi::String::New(env, failure.message)});
  return {env, error};
}

}  // namespace fltac::bindings
