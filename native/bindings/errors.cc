#include "bindings/errors.h"

#include <c10/util/Exception.h>

#include <new>

#include "bindings/addon_data.h"

namespace fltac::bindings {
namespace {

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

// libtorch has a type for a device's memory only, oneDNN none of its own.
bool mentions_memory(const std::string& text) {
  for (const char* words :
       {"not enough memory", "out of memory", "can't allocate memory", "create a memory"}) {
    if (text.find(words) != std::string::npos) return true;
  }
  return false;
}

Failure out_of_memory(const std::string& what) {
  return {ErrorCode::OutOfMemory,
          "memory ran out" + (what.empty() ? what : " (" + first_line(what) + ")") +
              "; lower cohort, batch_size, max_len or (on a GPU) eval_batch_size, "
              "set gradient_checkpointing: true, or hold the weights in less with dtype: bfloat16"};
}

}  // namespace

Failure current_failure() {
  try {
    throw;
  } catch (const Error& e) {
    if (e.code() == ErrorCode::OutOfMemory) return out_of_memory(e.what());
    return {e.code(), e.what()};
  } catch (const std::bad_alloc&) {
    return out_of_memory("");
  } catch (const c10::OutOfMemoryError& e) {
    return out_of_memory(e.what_without_backtrace());
  } catch (const c10::Error& e) {
    const std::string text = e.what_without_backtrace();
    if (mentions_memory(text)) return out_of_memory(text);
    return {ErrorCode::Internal, "libtorch: " + first_line(text)};
  } catch (const std::exception& e) {
    if (mentions_memory(e.what())) return out_of_memory(e.what());
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
