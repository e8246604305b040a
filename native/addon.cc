// The export list, nothing else.
#include <napi.h>

#include "bindings/addon_data.h"
#include "bindings/errors.h"
#include "bindings/exports.h"
#include "core/cpu_memory.h"

namespace {

// Raised with every change of the exports; src/engine/load.ts refuses another number.
constexpr int kAbiVersion = 8;

template <Napi::Value (*Function)(const Napi::CallbackInfo&)>
Napi::Value entry(const Napi::CallbackInfo& info) {
  return fltac::bindings::guarded(info.Env(), [&] { return Function(info); });
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  using namespace fltac::bindings;
  fltac::use_cached_cpu_memory();
  env.SetInstanceData(new AddonData());
  exports.Set("abiVersion", kAbiVersion);
  const auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  add("setErrorClass", entry<set_error_class>);
  add("shutDown", entry<shut_down>);
  add("buildInfo", entry<build_info>);
  add("memoryHeld", entry<memory_held>);
  add("setThreads", entry<set_threads>);
  add("checkDevice", entry<check_device>);
  add("describeArchitecture", entry<describe_architecture>);
  add("adapterLayout", entry<adapter_layout>);
  add("createControl", entry<create_control>);
  add("cancel", entry<cancel>);
  add("dispose", entry<dispose>);
  add("loadBackbone", entry<load_backbone>);
  add("createBank", entry<create_bank>);
  add("initialiseRow", entry<initialise_row>);
  add("getRow", entry<get_row>);
  add("setRow", entry<set_row>);
  add("copyRow", entry<copy_row>);
  add("average", entry<average>);
  add("meanProducts", entry<mean_products>);
  add("mergeModel", entry<merge_model>);
  add("train", entry<train>);
  add("gradient", entry<gradient>);
  add("evaluate", entry<evaluate>);
  add("generate", entry<generate>);
  add("kmeans", entry<kmeans>);
  add("squaredDistances", entry<squared_distances>);
  add("preprocessImages", entry<preprocess_images>);
  add("machineRates", entry<machine_rates>);
  add("readArchive", entry<read_archive>);
  add("writeArchive", entry<write_archive>);
  add("readSafetensors", entry<read_safetensors>);
  add("writeSafetensors", entry<write_safetensors>);
  return exports;
}

}  // namespace

NODE_API_MODULE(fltac, init)
