#include "bindings/async.h"

#include "bindings/handles.h"

namespace fltac::bindings {

Hooks::Hooks(Napi::Env env, const Napi::Value& options) {
  if (options.IsUndefined()) return;
  const Napi::Object object = as_object(options, "options");
  const Napi::Value control = object.Get("control");
  if (!control.IsUndefined()) cancelled_ = handle_of<CancelHandle>(control, "control").flag;
  // Last, since it must be released: nothing after it throws.
  const Napi::Value on_progress = object.Get("onProgress");
  if (!on_progress.IsUndefined()) {
    if (!on_progress.IsFunction()) fail(ErrorCode::Usage, "onProgress must be a function");
    progress_ = Napi::ThreadSafeFunction::New(env, on_progress.As<Napi::Function>(), "fltac progress", 0, 1);
  }
}

Control Hooks::control(const ComputeThread& thread) {
  Control control;
  control.cancelled = [&thread, flag = cancelled_] { return thread.stopping() || (flag && *flag); };
  if (!progress_) return control;
  control.progress = [this, &thread](int64_t done, int64_t total) {
    if (thread.stopping()) return;
    const auto now = std::chrono::steady_clock::now();
    if (done < total && now - last_ < kProgressInterval) return;
    last_ = now;
    auto report = std::make_unique<Progress>(Progress{done, total});
    const auto call = [](Napi::Env env, Napi::Function function, Progress* data) {
      const std::unique_ptr<Progress> owned(data);
      if (env == nullptr || function == nullptr) return;
      function.Call({Napi::Number::New(env, static_cast<double>(owned->done)),
                     Napi::Number::New(env, static_cast<double>(owned->total))});
    };
    if (progress_->NonBlockingCall(report.get(), call) == napi_ok) static_cast<void>(report.release());
  };
  return control;
}

void Hooks::release() {
  if (progress_) progress_->Release();
  progress_.reset();
}

}  // namespace fltac::bindings
