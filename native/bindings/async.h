// The one template for asynchronous calls: read JavaScript values into a struct, compute without JavaScript,
// build the result.
#pragma once

#include <napi.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "bindings/addon_data.h"
#include "bindings/errors.h"
#include "bindings/values.h"
#include "train/control.h"

namespace fltac::bindings {

// Progress crosses to JavaScript at most this often.
constexpr auto kProgressInterval = std::chrono::milliseconds(50);

// The part of a call's options that any long call has: { onProgress?, control? }.
class Hooks {
 public:
  Hooks(Napi::Env env, const Napi::Value& options);
  // For the compute thread.
  Control control(const ComputeThread& thread);
  // After the last use.
  void release();

 private:
  struct Progress {
    int64_t done;
    int64_t total;
  };
  std::optional<Napi::ThreadSafeFunction> progress_;
  std::shared_ptr<std::atomic<bool>> cancelled_;
  std::chrono::steady_clock::time_point last_{};
};

template <typename Result>
class AsyncCall final : public Call {
 public:
  using Compute = std::function<Result(const Control&)>;
  using Finish = std::function<Napi::Value(Napi::Env, Result&)>;

  AsyncCall(Napi::Env env, Hooks hooks, Compute compute, Finish finish)
      : Call(AddonData::of(env)),
        deferred(Napi::Promise::Deferred::New(env)),
        hooks_(std::move(hooks)),
        compute_(std::move(compute)),
        finish_(std::move(finish)) {}

  void compute() override {
    try {
      result_.emplace(compute_(hooks_.control(addon_.thread)));
    } catch (...) {
      failure_ = current_failure();
    }
    compute_ = nullptr;  // lets go of banks and backbones as soon as they are no longer needed
  }

  void settle(Napi::Env env) override {
    unguard_teardown(env);
    hooks_.release();
    try {
      if (failure_) {
        deferred.Reject(to_js(env, *failure_).Value());
      } else {
        deferred.Resolve(finish_(env, *result_));
      }
    } catch (const Napi::Error& e) {
      deferred.Reject(e.Value());
    } catch (...) {
      deferred.Reject(to_js(env, current_failure()).Value());
    }
    addon_.calls.remove_if([this](const auto& call) { return call.get() == this; });
  }

  Napi::Promise::Deferred deferred;

 private:
  Hooks hooks_;
  Compute compute_;
  Finish finish_;
  std::optional<Result> result_;
  std::optional<Failure> failure_;
};

// Starts `compute` on the compute thread and returns a promise of finish(result).
template <typename Result>
Napi::Value run_async(Napi::Env env, Hooks hooks, std::function<Result(const Control&)> compute,
                      std::function<Napi::Value(Napi::Env, Result&)> finish) {
  AddonData& addon = AddonData::of(env);
  const auto done = Napi::ThreadSafeFunction::New(env, Napi::Function(), "fltac", 0, 1);
  auto call =
      std::make_unique<AsyncCall<Result>>(env, std::move(hooks), std::move(compute), std::move(finish));
  const Napi::Promise promise = call->deferred.Promise();
  Call* raw = call.get();
  addon.calls.push_back(std::move(call));
  raw->guard_teardown(env);
  addon.thread.post(raw, done);
  return promise;
}

}  // namespace fltac::bindings
