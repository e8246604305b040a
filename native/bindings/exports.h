// The functions JavaScript sees; addon.cc lists them, src/engine/native.ts types them.
#pragma once

#include <napi.h>

namespace fltac::bindings {

// library.cc
Napi::Value set_error_class(const Napi::CallbackInfo& info);
Napi::Value shut_down(const Napi::CallbackInfo& info);
Napi::Value build_info(const Napi::CallbackInfo& info);
Napi::Value memory_held(const Napi::CallbackInfo& info);
Napi::Value set_threads(const Napi::CallbackInfo& info);
Napi::Value check_device(const Napi::CallbackInfo& info);
Napi::Value describe_architecture(const Napi::CallbackInfo& info);
Napi::Value adapter_layout(const Napi::CallbackInfo& info);
Napi::Value create_control(const Napi::CallbackInfo& info);
Napi::Value cancel(const Napi::CallbackInfo& info);
Napi::Value dispose(const Napi::CallbackInfo& info);

// engine.cc
Napi::Value load_backbone(const Napi::CallbackInfo& info);
Napi::Value train(const Napi::CallbackInfo& info);
Napi::Value gradient(const Napi::CallbackInfo& info);
Napi::Value evaluate(const Napi::CallbackInfo& info);
Napi::Value generate(const Napi::CallbackInfo& info);

// bank.cc
Napi::Value create_bank(const Napi::CallbackInfo& info);
Napi::Value initialise_row(const Napi::CallbackInfo& info);
Napi::Value get_row(const Napi::CallbackInfo& info);
Napi::Value set_row(const Napi::CallbackInfo& info);
Napi::Value copy_row(const Napi::CallbackInfo& info);
Napi::Value average(const Napi::CallbackInfo& info);
Napi::Value mean_products(const Napi::CallbackInfo& info);
Napi::Value merge_model(const Napi::CallbackInfo& info);

// kmeans.cc
Napi::Value kmeans(const Napi::CallbackInfo& info);
Napi::Value squared_distances(const Napi::CallbackInfo& info);
Napi::Value machine_rates(const Napi::CallbackInfo& info);

// images.cc
Napi::Value preprocess_images(const Napi::CallbackInfo& info);

// files.cc
Napi::Value read_archive(const Napi::CallbackInfo& info);
Napi::Value write_archive(const Napi::CallbackInfo& info);
Napi::Value read_safetensors(const Napi::CallbackInfo& info);
Napi::Value write_safetensors(const Napi::CallbackInfo& info);

}  // namespace fltac::bindings
