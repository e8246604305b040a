#include "bindings/handles.h"

#include "bindings/addon_data.h"

namespace fltac::bindings {
namespace {

// Marks this addon's externals, so that those of another addon are never taken for a Handle.
constexpr napi_type_tag kHandleTag{0x9d0c5f0be3a94b61, 0xa7f1c8d2640e5b37};

}  // namespace

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
  const auto external = Napi::External<Handle>::New(env, raw, [](Napi::Env e, Handle* owned) {
    const std::unique_ptr<Handle> last(owned);
    last->dispose(e);
  });
  external.TypeTag(&kHandleTag);
  return external;
}

Handle& any_handle(const Napi::Value& value, const std::string& what) {
  if (!value.IsExternal() || !value.As<Napi::External<Handle>>().CheckTypeTag(&kHandleTag)) {
    fail(ErrorCode::Usage, what, " must be a handle of this addon");
  }
  return *value.As<Napi::External<Handle>>().Data();
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
