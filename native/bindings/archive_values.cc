#include "bindings/archive_values.h"

#include <ATen/ATen.h>

#include <cmath>

#include "bindings/values.h"
#include "core/error.h"

namespace fltac::bindings {
namespace {

constexpr double kMaxSafeInteger = 9007199254740991.0;

ArchiveKey key_from_js(const Napi::Value& key) {
  if (key.IsString()) return as_string(key, "a key");
  if (key.IsNumber()) return as_integer(key, "a dict's key");
  fail(ErrorCode::Usage, "the keys of an archive's Map must be strings or whole numbers");
}

ArchiveValue number_from_js(double number) {
  if (std::trunc(number) == number && std::abs(number) <= kMaxSafeInteger) {
    return {static_cast<int64_t>(number)};
  }
  return {number};
}

ArchiveValue bigint_from_js(const Napi::BigInt& value) {
  bool lossless = false;
  const int64_t number = value.Int64Value(&lossless);
  if (!lossless) fail(ErrorCode::Usage, "a bigint in an archive must fit 64 bits");
  return {number};
}

ArchiveValue list_from_js(const Napi::Array& array, int depth) {
  ArchiveList list;
  for (uint32_t i = 0; i < array.Length(); ++i) list.push_back(archive_from_js(array.Get(i), depth + 1));
  return {std::move(list)};
}

ArchiveValue object_from_js(const Napi::Value& value, int depth) {
  if (value.As<Napi::Object>().Get("data").IsTypedArray()) return {tensor_from_js(value, "a tensor")};
  ArchiveDict dict;
  const Napi::Array entries = map_entries(value, "a value of an archive");
  for (uint32_t i = 0; i < entries.Length(); ++i) {
    const Napi::Array pair = as_array(entries.Get(i), "an entry");
    dict.items.emplace_back(key_from_js(pair.Get(0u)), archive_from_js(pair.Get(1u), depth + 1));
  }
  return {std::move(dict)};
}

Napi::Value integer_to_js(Napi::Env env, int64_t value) {
  const auto number = static_cast<double>(value);
  if (std::abs(number) <= kMaxSafeInteger) return Napi::Number::New(env, number);
  return Napi::BigInt::New(env, value);
}

struct ToJs {
  Napi::Env env;
  Napi::Value operator()(std::monostate) const { return env.Null(); }
  Napi::Value operator()(bool value) const { return Napi::Boolean::New(env, value); }
  Napi::Value operator()(int64_t value) const { return integer_to_js(env, value); }
  Napi::Value operator()(double value) const { return Napi::Number::New(env, value); }
  Napi::Value operator()(const std::string& value) const { return Napi::String::New(env, value); }
  Napi::Value operator()(const at::Tensor& value) const { return tensor_to_js(env, value); }
  Napi::Value operator()(const ArchiveList& value) const {
    const Napi::Array array = Napi::Array::New(env, value.size());
    for (size_t i = 0; i < value.size(); ++i)
      array.Set(static_cast<uint32_t>(i), archive_to_js(env, value[i]));
    return array;
  }
  Napi::Value operator()(const ArchiveDict& value) const {
    const Napi::Array entries = Napi::Array::New(env, value.items.size());
    for (size_t i = 0; i < value.items.size(); ++i) {
      const auto& [key, item] = value.items[i];
      const Napi::Value js_key = std::visit(*this, key);
      entries.Set(static_cast<uint32_t>(i), entry(env, js_key, archive_to_js(env, item)));
    }
    return new_map(env, entries);
  }
};

}  // namespace

ArchiveValue archive_from_js(const Napi::Value& value, int depth) {
  if (depth > kMaxArchiveDepth)
    fail(ErrorCode::Usage, "an archive's value is nested deeper than ", kMaxArchiveDepth);
  if (value.IsNull()) return {};
  if (value.IsBoolean()) return {value.As<Napi::Boolean>().Value()};
  if (value.IsNumber()) return number_from_js(value.As<Napi::Number>().DoubleValue());
  if (value.IsBigInt()) return bigint_from_js(value.As<Napi::BigInt>());
  if (value.IsString()) return {value.As<Napi::String>().Utf8Value()};
  if (value.IsArray()) return list_from_js(value.As<Napi::Array>(), depth);
  if (value.IsObject()) return object_from_js(value, depth);
  fail(ErrorCode::Usage, "an archive holds null, booleans, numbers, strings, arrays, Maps and tensors only");
}

Napi::Value archive_to_js(Napi::Env env, const ArchiveValue& value) {
  return std::visit(ToJs{env}, value.value);
}

at::Tensor tensor_from_js(const Napi::Value& value, const std::string& what) {
  const Napi::Object object = as_object(value, what);
  const Napi::Float32Array data = as_float32(object.Get("data"), what + ".data");
  const Napi::Array shape_value = as_array(object.Get("shape"), what + ".shape");
  std::vector<int64_t> shape;
  int64_t size = 1;
  const auto length = static_cast<int64_t>(data.ElementLength());
  for (uint32_t i = 0; i < shape_value.Length(); ++i) {
    shape.push_back(as_integer(shape_value.Get(i), what + ".shape"));
    if (shape.back() < 0 || shape.back() > length) size = -1;
    if (size > length) break;
    size *= shape.back();
  }
  if (size != length)
    fail(ErrorCode::Shape, what, ": data has ", length, " values, its shape asks for another number");
  const at::Tensor tensor = at::empty(shape, at::kFloat);
  std::copy_n(data.Data(), data.ElementLength(), tensor.mutable_data_ptr<float>());
  return tensor;
}

Napi::Value tensor_to_js(Napi::Env env, const at::Tensor& tensor) {
  if (!tensor.is_floating_point()) {
    fail(ErrorCode::Unsupported, "a tensor of ", tensor.scalar_type(),
         " values cannot be given as float32 without loss");
  }
  const at::Tensor values = tensor.to(at::kFloat).contiguous();
  const Napi::Object object = Napi::Object::New(env);
  object.Set("shape", shape_to_js(env, values.sizes().vec()));
  object.Set("data", floats_to_js(env, values.const_data_ptr<float>(), static_cast<size_t>(values.numel())));
  return object;
}

Napi::Array map_entries(const Napi::Value& map, const std::string& what) {
  const Napi::Env env = map.Env();
  const Napi::Function map_class = env.Global().Get("Map").As<Napi::Function>();
  if (!map.IsObject() || !map.As<Napi::Object>().InstanceOf(map_class)) {
    fail(ErrorCode::Usage, what, " must be a Map, found another kind of value");
  }
  const Napi::Object array_class = env.Global().Get("Array").As<Napi::Object>();
  return array_class.Get("from").As<Napi::Function>().Call(array_class, {map}).As<Napi::Array>();
}

Napi::Object new_map(Napi::Env env, const Napi::Array& entries) {
  return env.Global().Get("Map").As<Napi::Function>().New({entries});
}

Napi::Array entry(Napi::Env env, const Napi::Value& key, const Napi::Value& value) {
  const Napi::Array pair = Napi::Array::New(env, 2);
  pair.Set(0u, key);
  pair.Set(1u, value);
  return pair;
}

}  // namespace fltac::bindings
