// The one way errors cross from C++ to JavaScript: as FltacError with a code.
#pragma once

#include <napi.h>

#include <exception>
#include <string>
#include <utility>

#include "core/error.h"

namespace fltac::bindings {

// An exception as data, so that it can wait for the JavaScript thread.
struct Failure {
  ErrorCode code;
  std::string message;
};

// Must be called inside a catch block: reads the current exception, whatever its type.
Failure current_failure();

Napi::Error to_js(Napi::Env env, const Failure& failure);

// Runs body and turns every C++ exception into a JavaScript one. Every export goes through it.
template <typename Body>
auto guarded(Napi::Env env, Body&& body) -> decltype(body()) {
  try {
    return std::forward<Body>(body)();
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw to_js(env, current_failure());
  }
}

}  // namespace fltac::bindings
