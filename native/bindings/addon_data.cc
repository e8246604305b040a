#include "bindings/addon_data.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <utility>

#include "core/cpu_memory.h"

namespace fltac::bindings {

void Call::stop_computing(void* call) { static_cast<Call*>(call)->addon_.thread.stop(); }

void Call::guard_teardown(Napi::Env env) { napi_add_env_cleanup_hook(env, &Call::stop_computing, this); }

void Call::unguard_teardown(Napi::Env env) { napi_remove_env_cleanup_hook(env, &Call::stop_computing, this); }

void ComputeThread::post(Call* call, Napi::ThreadSafeFunction done) {
  const std::lock_guard lock(mutex_);
  queue_.push_back({call, std::move(done)});
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  wake_.notify_one();
}

void ComputeThread::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    wake_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

void ComputeThread::run() {
  const c10::InferenceMode no_autograd;
  int threads = 0;
  while (true) {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (stopping_) return;
    Item item = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    if (const int wanted = threads_; wanted != threads && wanted > 0) {
      threads = wanted;
      at::set_num_threads(threads);
    }
    item.call->compute();
    release_cached_cpu_memory();
    if (stopping_) return;  // nobody is left to settle it: AddonData frees the call
    item.done.BlockingCall(item.call, [](Napi::Env env, Napi::Function, Call* call) {
      if (env != nullptr) call->settle(env);
    });
    item.done.Release();
  }
}

}  // namespace fltac::bindings
