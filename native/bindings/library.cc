// Exports about the library itself and about models without their weights.
#include <ATen/ATen.h>
#include <ATen/Config.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/headeronly/version.h>

#include "bindings/addon_data.h"
#include "bindings/exports.h"
#include "bindings/handles.h"
#include "bindings/values.h"
#include "lora/layout.h"
#include "model/architecture.h"
#include "model/device.h"
#include "model/linear.h"

namespace fltac::bindings {

// (class): the JavaScript error class to throw, called as new class(code, message).
Napi::Value set_error_class(const Napi::CallbackInfo& info) {
  if (!info[0].IsFunction()) fail(ErrorCode::Usage, "setErrorClass needs the error class");
  AddonData::of(info.Env()).error_class = Napi::Persistent(info[0].As<Napi::Function>());
  return info.Env().Undefined();
}

// (): ends the running call at its next step and waits for it; for the end of the process only.
// process.exit() takes libtorch's statics down without taking the environment down, and a thread still
// computing would crash.
Napi::Value shut_down(const Napi::CallbackInfo& info) {
  AddonData::of(info.Env()).thread.stop();
  return info.Env().Undefined();
}

// () => { libtorch, cuda, cudaDevices, threads, cpu, bfloat16, linear }
Napi::Value build_info(const Napi::CallbackInfo& info) {
  const Napi::Object object = Napi::Object::New(info.Env());
  object.Set("libtorch", TORCH_VERSION);
  object.Set("cuda", at::hasCUDA());
  object.Set("threads", at::get_num_threads());
  object.Set("cudaDevices", static_cast<double>(cuda_devices()));
  object.Set("cpu", at::get_cpu_capability());
  const char* bfloat16 = bfloat16_path();
  object.Set("bfloat16", bfloat16 ? Napi::String::New(info.Env(), bfloat16) : info.Env().Null());
  object.Set("linear", linear_path());
  return object;
}

// () => bytes of the native objects that are not disposed
Napi::Value memory_held(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(AddonData::of(info.Env()).bytes_held));
}

// (count): threads of the calls to come.
Napi::Value set_threads(const Napi::CallbackInfo& info) {
  const int64_t threads = as_integer(info[0], "threads");
  if (threads < 1 || threads > 4096)
    fail(ErrorCode::Usage, "threads must lie between 1 and 4096, found ", threads);
  AddonData::of(info.Env()).thread.set_threads(static_cast<int>(threads));
  return info.Env().Undefined();
}

// (name): throws where it names no device of this build and machine.
Napi::Value check_device(const Napi::CallbackInfo& info) {
  static_cast<void>(find_device(as_string(info[0], "device")));
  return info.Env().Undefined();
}

// (config.json text, name for errors) => ArchitectureInfo
Napi::Value describe_architecture(const Napi::CallbackInfo& info) {
  return architecture_to_js(
      info.Env(), parse_architecture(as_string(info[0], "config"), as_string(info[1], "config name")));
}

// (config.json text, name for errors, AdapterSpec) => AdapterLayout
Napi::Value adapter_layout(const Napi::CallbackInfo& info) {
  const Architecture a = parse_architecture(as_string(info[0], "config"), as_string(info[1], "config name"));
  return layout_to_js(info.Env(), make_layout(a, read_spec(info[2])));
}

Napi::Value create_control(const Napi::CallbackInfo& info) {
  return wrap(info.Env(), std::make_unique<CancelHandle>(), 0);
}

// (control): calls that were given it stop at their next step.
Napi::Value cancel(const Napi::CallbackInfo& info) {
  *handle_of<CancelHandle>(info[0], "control").flag = true;
  return info.Env().Undefined();
}

// (handle of any kind); a second time does nothing.
Napi::Value dispose(const Napi::CallbackInfo& info) {
  any_handle(info[0], "handle").dispose(info.Env());
  return info.Env().Undefined();
}

}  // namespace fltac::bindings
