// Reading JavaScript values into plain structs, with errors that say what was expected and found.
#pragma once

#include <napi.h>

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "bindings/images.h"
#include "lora/layout.h"
#include "model/examples.h"

namespace fltac::bindings {

Napi::Object as_object(const Napi::Value& value, const std::string& what);
std::string as_string(const Napi::Value& value, const std::string& what);
int64_t as_integer(const Napi::Value& value, const std::string& what);
double as_number(const Napi::Value& value, const std::string& what);
bool as_boolean(const Napi::Value& value, const std::string& what);
uint64_t as_bigint(const Napi::Value& value, const std::string& what);
Napi::Array as_array(const Napi::Value& value, const std::string& what);

// Typed arrays, by view; the memory is the caller's.
Napi::Int32Array as_int32(const Napi::Value& value, const std::string& what);
Napi::Uint8Array as_uint8(const Napi::Value& value, const std::string& what);
Napi::Float32Array as_float32(const Napi::Value& value, const std::string& what);
Napi::Float64Array as_float64(const Napi::Value& value, const std::string& what);

std::vector<int32_t> copy_int32(const Napi::Value& value, const std::string& what);
std::vector<uint64_t> copy_uint64(const Napi::Value& value, const std::string& what);

// `name` of an object, or `otherwise` where it is undefined.
int64_t integer_or(const Napi::Object& object, const char* name, int64_t otherwise);
double number_or(const Napi::Object& object, const char* name, double otherwise);
bool boolean_or(const Napi::Object& object, const char* name, bool otherwise);

AdapterSpec read_spec(const Napi::Value& value);

// Copies, so that nothing JavaScript does to its arrays while native code runs can reach it.
struct OwnedSequences {
  std::vector<int32_t> ids, offsets, labels;
  std::vector<uint8_t> types;
  Sequences view() const { return {ids, offsets, types, labels}; }
};
struct OwnedImages {
  OwnedPixels owned;
  std::vector<int32_t> labels;
  ImagePreprocess preprocess;
  Images view() const { return {view_images(owned.pixels, owned.sizes, "images"), labels, preprocess}; }
};
struct OwnedExamples {
  std::variant<OwnedSequences, OwnedImages> examples;
  Examples view() const {
    return std::visit([](const auto& all) { return Examples(all.view()); }, examples);
  }
};
OwnedExamples read_examples(const Napi::Value& value, const std::string& what);

Napi::Value shape_to_js(Napi::Env env, const std::vector<int64_t>& shape);
Napi::Value layout_to_js(Napi::Env env, const AdapterLayout& layout);
Napi::Object architecture_to_js(Napi::Env env, const Architecture& architecture);

// A typed array that holds a copy.
Napi::Float32Array floats_to_js(Napi::Env env, const float* values, size_t n);
Napi::Float64Array doubles_to_js(Napi::Env env, const std::vector<double>& values);
Napi::Int32Array ints_to_js(Napi::Env env, const std::vector<int32_t>& values);

}  // namespace fltac::bindings
