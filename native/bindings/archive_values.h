// ArchiveValue (src/engine/types.ts) between JavaScript and C++: dicts are Maps, tensors { shape, data }.
#pragma once

#include <napi.h>

#include <string>

#include "archive/value.h"

namespace fltac::bindings {

ArchiveValue archive_from_js(const Napi::Value& value, int depth = 0);
Napi::Value archive_to_js(Napi::Env env, const ArchiveValue& value);

// { shape, data: Float32Array } and back, copied; a tensor of another floating type is converted.
at::Tensor tensor_from_js(const Napi::Value& value, const std::string& what);
Napi::Value tensor_to_js(Napi::Env env, const at::Tensor& tensor);

// A JavaScript Map and back: its entries in order.
Napi::Array map_entries(const Napi::Value& map, const std::string& what);
Napi::Object new_map(Napi::Env env, const Napi::Array& entries);
Napi::Array entry(Napi::Env env, const Napi::Value& key, const Napi::Value& value);

}  // namespace fltac::bindings
