// Native objects as JavaScript holds them: opaque handles that are checked on every use, freed by dispose or
// by the garbage collector, and counted in V8's idea of memory.
#pragma once

#include <napi.h>

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "bindings/errors.h"
#include "lora/bank.h"
#include "model/backbone.h"

namespace fltac::bindings {

class Handle {
 public:
  explicit Handle(std::string_view kind) : kind_(kind) {}
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  virtual ~Handle() = default;

  std::string_view kind() const { return kind_; }
  bool disposed() const { return disposed_; }
  // Lets go of the native object; running calls keep it until they end.
  void dispose(Napi::Env env);
  void count_memory(Napi::Env env, int64_t bytes);

 protected:
  virtual void let_go() = 0;

 private:
  std::string_view kind_;
  bool disposed_ = false;
  int64_t bytes_ = 0;
};

struct CancelHandle final : Handle {
  static constexpr std::string_view kKind = "control";
  CancelHandle() : Handle(kKind) {}
  std::shared_ptr<std::atomic<bool>> flag = std::make_shared<std::atomic<bool>>(false);

 private:
  void let_go() override {}
};

struct BackboneHandle final : Handle {
  static constexpr std::string_view kKind = "backbone";
  explicit BackboneHandle(std::shared_ptr<const Backbone> b) : Handle(kKind), backbone(std::move(b)) {}
  std::shared_ptr<const Backbone> backbone;

 private:
  void let_go() override { backbone.reset(); }
};

struct BankHandle final : Handle {
  static constexpr std::string_view kKind = "adapter bank";
  explicit BankHandle(std::shared_ptr<AdapterBank> b) : Handle(kKind), bank(std::move(b)) {}
  std::shared_ptr<AdapterBank> bank;
  // Asynchronous calls that read or write the rows now.
  std::shared_ptr<std::atomic<int>> users = std::make_shared<std::atomic<int>>(0);

 private:
  void let_go() override { bank.reset(); }
};

Napi::Value wrap(Napi::Env env, std::unique_ptr<Handle> handle, int64_t bytes);

// The handle of any kind that is still in use. Throws Usage or Disposed.
Handle& any_handle(const Napi::Value& value, const std::string& what);

template <typename T>
T& handle_of(const Napi::Value& value, const std::string& what) {
  Handle& handle = any_handle(value, what);
  if (handle.disposed()) fail(ErrorCode::Disposed, what, " was used after dispose()");
  if (handle.kind() != T::kKind)
    fail(ErrorCode::Usage, what, " must be a ", T::kKind, ", found a ", handle.kind());
  return static_cast<T&>(handle);
}

// A bank for use on the JavaScript thread. Throws Usage while an asynchronous call works on it.
AdapterBank& idle_bank(const Napi::Value& value, const std::string& what);

// A bank for an asynchronous call: kept alive, and marked as in use until the lease is gone.
class BankLease {
 public:
  BankLease(const Napi::Value& value, const std::string& what);
  AdapterBank& operator*() const { return *bank_; }
  AdapterBank* operator->() const { return bank_.get(); }

 private:
  std::shared_ptr<AdapterBank> bank_;
  std::shared_ptr<void> mark_;
};

}  // namespace fltac::bindings
