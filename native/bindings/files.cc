// Exports that read and write files: torch archives and safetensors.
#include <ATen/ATen.h>

#include <memory>

#include "archive/pt_reader.h"
#include "archive/pt_writer.h"
#include "bindings/archive_values.h"
#include "bindings/async.h"
#include "bindings/exports.h"
#include "bindings/values.h"
#include "model/safetensors.h"

namespace fltac::bindings {
namespace {

bool is_float(const std::string& dtype) {
  return dtype == "F32" || dtype == "F16" || dtype == "BF16" || dtype == "F64";
}

Hooks no_hooks(Napi::Env env) { return {env, env.Undefined()}; }

Napi::Value nothing(Napi::Env env, bool&) { return env.Undefined(); }

}  // namespace

// (path) => Promise<ArchiveValue>
Napi::Value read_archive(const Napi::CallbackInfo& info) {
  const std::string path = as_string(info[0], "path");
  return run_async<ArchiveValue>(
      info.Env(), no_hooks(info.Env()), [path](const Control&) { return read_pt(path); },
      [](Napi::Env env, ArchiveValue& value) { return archive_to_js(env, value); });
}

// (path, ArchiveValue)
Napi::Value write_archive(const Napi::CallbackInfo& info) {
  const std::string path = as_string(info[0], "path");
  const auto value = std::make_shared<const ArchiveValue>(archive_from_js(info[1]));
  return run_async<bool>(
      info.Env(), no_hooks(info.Env()),
      [path, value](const Control&) {
        write_pt(path, *value);
        return true;
      },
      nothing);
}

// (path) => Promise<Map<string, { shape, data }>>: the floating-point tensors, as float32
Napi::Value read_safetensors(const Napi::CallbackInfo& info) {
  const std::string path = as_string(info[0], "path");
  return run_async<NamedTensors>(
      info.Env(), no_hooks(info.Env()),
      [path](const Control&) {
        const SafetensorsModel model = SafetensorsModel::open(path);
        NamedTensors tensors;
        for (const auto& [name, item] : model.entries()) {
          if (is_float(item.dtype)) tensors.emplace_back(name, model.load(name, at::kFloat));
        }
        return tensors;
      },
      [](Napi::Env env, NamedTensors& tensors) -> Napi::Value {
        const Napi::Array entries = Napi::Array::New(env, tensors.size());
        for (size_t i = 0; i < tensors.size(); ++i) {
          entries.Set(static_cast<uint32_t>(i), entry(env, Napi::String::New(env, tensors[i].first),
                                                      tensor_to_js(env, tensors[i].second)));
        }
        return new_map(env, entries);
      });
}

// (path, Map<string, { shape, data }>, metadata)
Napi::Value write_safetensors(const Napi::CallbackInfo& info) {
  const std::string path = as_string(info[0], "path");
  auto tensors = std::make_shared<NamedTensors>();
  const Napi::Array entries = map_entries(info[1], "tensors");
  for (uint32_t i = 0; i < entries.Length(); ++i) {
    const Napi::Array pair = as_array(entries.Get(i), "an entry");
    const std::string name = as_string(pair.Get(0u), "a tensor's name");
    tensors->emplace_back(name, tensor_from_js(pair.Get(1u), name));
  }
  StringMap metadata;
  const Napi::Object object = as_object(info[2], "metadata");
  const Napi::Array names = object.GetPropertyNames();
  for (uint32_t i = 0; i < names.Length(); ++i) {
    const std::string name = as_string(names.Get(i), "a metadata name");
    metadata[name] = as_string(object.Get(name), "metadata." + name);
  }
  return run_async<bool>(
      info.Env(), no_hooks(info.Env()),
      [path, tensors, metadata](const Control&) {
        fltac::write_safetensors(path, *tensors, metadata);
        return true;
      },
      nothing);
}

}  // namespace fltac::bindings
