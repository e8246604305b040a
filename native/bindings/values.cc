#include "bindings/values.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/philox.h"

namespace fltac::bindings {
namespace {

const char* type_name(const Napi::Value& value) {
  switch (value.Type()) {
    case napi_undefined:
      return "undefined";
    case napi_null:
      return "null";
    case napi_boolean:
      return "a boolean";
    case napi_number:
      return "a number";
    case napi_string:
      return "a string";
    case napi_symbol:
      return "a symbol";
    case napi_object:
      return value.IsTypedArray() ? "another typed array" : value.IsArray() ? "an array" : "an object";
    case napi_function:
      return "a function";
    case napi_external:
      return "a handle";
    case napi_bigint:
      return "a bigint";
  }
  return "something else";
}

[[noreturn]] void wrong(const std::string& what, const char* expected, const Napi::Value& found) {
  fail(ErrorCode::Usage, what, " must be ", expected, ", found ", type_name(found));
}

template <typename Array>
Array typed(const Napi::Value& value, napi_typedarray_type type, const char* expected,
            const std::string& what) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type)
    wrong(what, expected, value);
  return value.As<Array>();
}

template <typename T, typename Array>
std::vector<T> copy_of(Array array) {
  return {array.Data(), array.Data() + array.ElementLength()};
}

OwnedSequences read_sequences(const Napi::Object& object, const std::string& what) {
  OwnedSequences sequences;
  sequences.ids = copy_int32(object.Get("ids"), what + ".ids");
  sequences.offsets = copy_int32(object.Get("offsets"), what + ".offsets");
  sequences.labels = copy_int32(object.Get("labels"), what + ".labels");
  const Napi::Value types = object.Get("typeIds");
  if (!types.IsUndefined()) sequences.types = copy_of<uint8_t>(as_uint8(types, what + ".typeIds"));
  return sequences;
}

OwnedImages read_images(const Napi::Object& object, const std::string& what) {
  return {read_pixels(object, what), copy_int32(object.Get("labels"), what + ".labels"),
          read_preprocess(object.Get("preprocess"), what + ".preprocess")};
}

}  // namespace

Napi::Object as_object(const Napi::Value& value, const std::string& what) {
  if (!value.IsObject()) wrong(what, "an object", value);
  return value.As<Napi::Object>();
}

std::string as_string(const Napi::Value& value, const std::string& what) {
  if (!value.IsString()) wrong(what, "a string", value);
  return value.As<Napi::String>().Utf8Value();
}

double as_number(const Napi::Value& value, const std::string& what) {
  if (!value.IsNumber()) wrong(what, "a number", value);
  return value.As<Napi::Number>().DoubleValue();
}

int64_t as_integer(const Napi::Value& value, const std::string& what) {
  const double number = as_number(value, what);
  if (!(std::trunc(number) == number && std::abs(number) <= 9007199254740991.0)) {
    fail(ErrorCode::Usage, what, " must be a whole number, found ", number);
  }
  return static_cast<int64_t>(number);
}

bool as_boolean(const Napi::Value& value, const std::string& what) {
  if (!value.IsBoolean()) wrong(what, "a boolean", value);
  return value.As<Napi::Boolean>().Value();
}

uint64_t as_bigint(const Napi::Value& value, const std::string& what) {
  if (!value.IsBigInt()) wrong(what, "a bigint", value);
  bool lossless = false;
  const uint64_t number = value.As<Napi::BigInt>().Uint64Value(&lossless);
  if (!lossless) fail(ErrorCode::Usage, what, " must be a bigint from 0 to 2^64 - 1");
  return number;
}

Napi::Array as_array(const Napi::Value& value, const std::string& what) {
  if (!value.IsArray()) wrong(what, "an array", value);
  return value.As<Napi::Array>();
}

Napi::Int32Array as_int32(const Napi::Value& value, const std::string& what) {
  return typed<Napi::Int32Array>(value, napi_int32_array, "an Int32Array", what);
}

Napi::Uint8Array as_uint8(const Napi::Value& value, const std::string& what) {
  return typed<Napi::Uint8Array>(value, napi_uint8_array, "a Uint8Array", what);
}

Napi::Float32Array as_float32(const Napi::Value& value, const std::string& what) {
  return typed<Napi::Float32Array>(value, napi_float32_array, "a Float32Array", what);
}

Napi::Float64Array as_float64(const Napi::Value& value, const std::string& what) {
  return typed<Napi::Float64Array>(value, napi_float64_array, "a Float64Array", what);
}

std::vector<int32_t> copy_int32(const Napi::Value& value, const std::string& what) {
  return copy_of<int32_t>(as_int32(value, what));
}

std::vector<uint64_t> copy_uint64(const Napi::Value& value, const std::string& what) {
  return copy_of<uint64_t>(
      typed<Napi::BigUint64Array>(value, napi_biguint64_array, "a BigUint64Array", what));
}

int64_t integer_or(const Napi::Object& object, const char* name, int64_t otherwise) {
  const Napi::Value value = object.Get(name);
  return value.IsUndefined() ? otherwise : as_integer(value, name);
}

double number_or(const Napi::Object& object, const char* name, double otherwise) {
  const Napi::Value value = object.Get(name);
  return value.IsUndefined() ? otherwise : as_number(value, name);
}

bool boolean_or(const Napi::Object& object, const char* name, bool otherwise) {
  const Napi::Value value = object.Get(name);
  return value.IsUndefined() ? otherwise : as_boolean(value, name);
}

AdapterSpec read_spec(const Napi::Value& value) {
  const Napi::Object object = as_object(value, "adapter spec");
  AdapterSpec spec;
  spec.rank = as_integer(object.Get("rank"), "rank");
  spec.alpha = as_number(object.Get("loraAlpha"), "loraAlpha");
  spec.dropout = as_number(object.Get("loraDropout"), "loraDropout");
  spec.num_labels = as_integer(object.Get("numLabels"), "numLabels");
  spec.train_head = as_boolean(object.Get("trainHead"), "trainHead");
  const Napi::Array targets = as_array(object.Get("targetModules"), "targetModules");
  for (uint32_t i = 0; i < targets.Length(); ++i) {
    spec.target_modules.push_back(as_string(targets.Get(i), "a target module"));
  }
  const Napi::Value tuning = object.Get("tuning");
  if (!tuning.IsUndefined()) {
    const std::string name = as_string(tuning, "tuning");
    if (name != "lora" && name != "full") fail(ErrorCode::Usage, "tuning must be lora or full, found ", name);
    spec.full = name == "full";
  }
  if (!std::isfinite(spec.alpha)) fail(ErrorCode::Usage, "loraAlpha must be finite, found ", spec.alpha);
  static_cast<void>(Dropout(spec.dropout));
  return spec;
}

OwnedExamples read_examples(const Napi::Value& value, const std::string& what) {
  const Napi::Object object = as_object(value, what);
  if (object.Has("ids")) return {read_sequences(object, what)};
  return {read_images(object, what)};
}

Napi::Value shape_to_js(Napi::Env env, const std::vector<int64_t>& shape) {
  const Napi::Array array = Napi::Array::New(env, shape.size());
  for (size_t i = 0; i < shape.size(); ++i)
    array.Set(static_cast<uint32_t>(i), static_cast<double>(shape[i]));
  return array;
}

Napi::Value layout_to_js(Napi::Env env, const AdapterLayout& layout) {
  const Napi::Array tensors = Napi::Array::New(env, layout.tensors.size());
  for (size_t i = 0; i < layout.tensors.size(); ++i) {
    const Napi::Object tensor = Napi::Object::New(env);
    tensor.Set("name", layout.tensors[i].name);
    tensor.Set("shape", shape_to_js(env, layout.tensors[i].shape));
    tensor.Set("offset", static_cast<double>(layout.tensors[i].offset));
    if (!layout.tensors[i].also.empty()) tensor.Set("also", layout.tensors[i].also);
    tensors.Set(static_cast<uint32_t>(i), tensor);
  }
  const Napi::Object object = Napi::Object::New(env);
  object.Set("tensors", tensors);
  object.Set("size", static_cast<double>(layout.size));
  return object;
}

Napi::Object architecture_to_js(Napi::Env env, const Architecture& architecture) {
  const Napi::Object object = Napi::Object::New(env);
  const auto number = [&](const char* name, int64_t value) { object.Set(name, static_cast<double>(value)); };
  object.Set("family", architecture.family->model_type);
  object.Set("input", architecture.family->input == Input::Images ? "images" : "tokens");
  object.Set("output", architecture.family->output == Output::NextToken ? "next_token" : "classes");
  number("hiddenSize", architecture.hidden);
  number("numLayers", architecture.layers);
  number("numHeads", architecture.heads);
  number("vocabSize", architecture.vocab);
  number("maxPositions", architecture.max_tokens());
  const std::vector<TensorShape> all = architecture.tensors();
  const Napi::Array tensors = Napi::Array::New(env, all.size());
  int64_t parameters = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    const Napi::Object tensor = Napi::Object::New(env);
    tensor.Set("name", all[i].name);
    tensor.Set("shape", shape_to_js(env, all[i].shape));
    tensors.Set(static_cast<uint32_t>(i), tensor);
    int64_t size = 1;
    for (const int64_t d : all[i].shape) size *= d;
    parameters += size;
  }
  object.Set("tensors", tensors);
  number("parameters", parameters);
  return object;
}

Napi::Float32Array floats_to_js(Napi::Env env, const float* values, size_t n) {
  Napi::Float32Array array = Napi::Float32Array::New(env, n);
  std::copy_n(values, n, array.Data());
  return array;
}

Napi::Float64Array doubles_to_js(Napi::Env env, const std::vector<double>& values) {
  Napi::Float64Array array = Napi::Float64Array::New(env, values.size());
  std::copy(values.begin(), values.end(), array.Data());
  return array;
}

Napi::Int32Array ints_to_js(Napi::Env env, const std::vector<int32_t>& values) {
  Napi::Int32Array array = Napi::Int32Array::New(env, values.size());
  std::copy(values.begin(), values.end(), array.Data());
  return array;
}

}  // namespace fltac::bindings
