// What one loaded copy of the addon owns: the error class it throws, the thread it computes on, the calls
// under way.
#pragma once

#include <napi.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <thread>

namespace fltac::bindings {

struct AddonData;

// An asynchronous call. compute() runs on the compute thread and touches no JavaScript value; settle() runs
// on the JavaScript thread afterwards.
class Call {
 public:
  explicit Call(AddonData& addon) : addon_(addon) {}
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  virtual ~Call() = default;
  virtual void compute() = 0;
  virtual void settle(Napi::Env env) = 0;

  // Ends all computing before the environment takes the call's thread-safe functions down: a thread that used
  // one afterwards would crash the process. Hooks run last first, so this one is set after those functions
  // are made.
  void guard_teardown(Napi::Env env);
  void unguard_teardown(Napi::Env env);

 protected:
  AddonData& addon_;

 private:
  static void stop_computing(void* call);
};

// One thread for all heavy work: calls run in the order they were made, and OpenMP keeps a single team of
// threads.
class ComputeThread {
 public:
  ComputeThread() = default;
  ComputeThread(const ComputeThread&) = delete;
  ComputeThread& operator=(const ComputeThread&) = delete;
  ~ComputeThread() { stop(); }

  // Queues a call; `done` tells the JavaScript thread to settle it.
  void post(Call* call, Napi::ThreadSafeFunction done);
  // Ends the running call at its next check, drops the rest, joins the thread.
  void stop();
  bool stopping() const { return stopping_; }
  // Threads for the coming calls; 0 leaves libtorch's default.
  void set_threads(int threads) { threads_ = threads; }

 private:
  struct Item {
    Call* call;
    Napi::ThreadSafeFunction done;
  };
  void run();

  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Item> queue_;
  std::atomic<bool> stopping_{false};
  std::atomic<int> threads_{0};
};

struct AddonData {
  Napi::FunctionReference error_class;
  int64_t bytes_held = 0;                  // of native objects that JavaScript holds, as V8 is told
  std::list<std::unique_ptr<Call>> calls;  // under way; owned and freed on the JavaScript thread
  ComputeThread thread;                    // last member: joined before the calls are freed

  static AddonData& of(Napi::Env env) { return *env.GetInstanceData<AddonData>(); }
};

}  // namespace fltac::bindings
