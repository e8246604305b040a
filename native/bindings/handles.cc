#include "bindings/handles.h"

#include "bindings/addon_data.h"

namespace fltac::bindings {

void Handle::dispose(Napi::Env env) {
  if (disposed_) return;
  disposed_ = true;
  let_go();
  count_memory(env, 0);
}

void Handle::count_memory(Napi::Env env, int64_t bytes) {
  Napi::MemoryManagement::AdjustExternalMemory(env, bytes - bytes_);
  if (auto* addon = env.GetInstanceData<AddonData>()) addon->bytes_held += bytes - bytes_;
  bytes_ = bytes;
}

Napi::Value wrap(Napi::Env env, std::unique_ptr<Handle> handle, int64_t bytes) {
  handle->count_memory(env, bytes);
  Handle* raw = handle.release();
  return Napi::External<Handle>::New(env, raw, [](Napi::Env e, Handle* owned) {
    const std::unique_ptr<Handle> last(owned);
    last->dispose(e);
  });
}

Handle& any_handle(const Napi::Value& value, const std::string& what) {
  if (!value.IsExternal()) fail(ErrorCode::Usage, what, " must be a handle of this addon");
  Handle* handle = value.As<Napi::External<Handle>>().Data();
  if (!handle || !handle->is_handle()) fail(ErrorCode::Usage, what, " must be a handle of this addon");
  return *handle;
}

AdapterBank& idle_bank(const Napi::Value& value, const std::string& what) {
  auto& handle = handle_of<BankHandle>(value, what);
  if (*handle.users > 0)
    fail(ErrorCode::Usage, what, " is in use by a call that has not ended; await it first");
  return *handle.bank;
}

BankLease::BankLease(const Napi::Value& value, const std::string& what) {
  auto& handle = handle_of<BankHandle>(value, what);
  bank_ = handle.bank;
  ++*handle.users;
  mark_ = std::shared_ptr<void>(nullptr, [users = handle.users](void*) { --*users; });
}

}  // namespace fltac::bindings
