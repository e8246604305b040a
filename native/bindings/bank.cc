// Exports on adapter banks: rows in and out, averaging.
#include "lora/bank.h"

#include <algorithm>
#include <map>
#include <memory>

#include "bindings/async.h"
#include "bindings/exports.h"
#include "bindings/handles.h"
#include "bindings/values.h"
#include "kmeans/average.h"
#include "lora/factor_mean.h"
#include "lora/merge.h"

namespace fltac::bindings {
namespace {

int64_t row_of(const Napi::Value& value) { return as_integer(value, "row"); }

struct Cluster {
  std::vector<const float*> rows;
  std::vector<double> weights;
};

std::map<int32_t, Cluster> gather(const AdapterBank& bank, const std::vector<int32_t>& rows,
                                  const std::vector<int32_t>& labels, const Napi::Float64Array& weights) {
  if (rows.size() != labels.size() || rows.size() != weights.ElementLength()) {
    fail(ErrorCode::Shape, "average needs a label and a weight for each row, found ", rows.size(), " rows, ",
         labels.size(), " labels, ", weights.ElementLength(), " weights");
  }
  std::map<int32_t, Cluster> clusters;
  for (size_t i = 0; i < rows.size(); ++i) {
    clusters[labels[i]].rows.push_back(bank.row(rows[i]));
    clusters[labels[i]].weights.push_back(weights[i]);
  }
  return clusters;
}

}  // namespace

// (backbone, AdapterSpec, rows) => { handle, layout }
Napi::Value create_bank(const Napi::CallbackInfo& info) {
  const auto bank = std::make_shared<AdapterBank>(handle_of<BackboneHandle>(info[0], "backbone").backbone,
                                                  read_spec(info[1]), as_integer(info[2], "rows"));
  const Napi::Object object = Napi::Object::New(info.Env());
  object.Set("layout", layout_to_js(info.Env(), bank->layout()));
  object.Set("handle", wrap(info.Env(), std::make_unique<BankHandle>(bank), bank->bytes()));
  return object;
}

// (bank, row, stream)
Napi::Value initialise_row(const Napi::CallbackInfo& info) {
  idle_bank(info[0], "bank").initialise(row_of(info[1]), as_bigint(info[2], "stream"));
  return info.Env().Undefined();
}

// (bank, row) => Float32Array, a copy
Napi::Value get_row(const Napi::CallbackInfo& info) {
  const AdapterBank& bank = idle_bank(info[0], "bank");
  return floats_to_js(info.Env(), bank.row(row_of(info[1])), static_cast<size_t>(bank.layout().size));
}

// (bank, row, Float32Array)
Napi::Value set_row(const Napi::CallbackInfo& info) {
  AdapterBank& bank = idle_bank(info[0], "bank");
  float* row = bank.row(row_of(info[1]));
  const Napi::Float32Array values = as_float32(info[2], "values");
  if (static_cast<int64_t>(values.ElementLength()) != bank.layout().size) {
    fail(ErrorCode::Shape, "an adapter of this bank has ", bank.layout().size, " values, found ",
         values.ElementLength());
  }
  std::copy_n(values.Data(), values.ElementLength(), row);
  return info.Env().Undefined();
}

// (from bank, row, to bank, row)
Napi::Value copy_row(const Napi::CallbackInfo& info) {
  const AdapterBank& from = idle_bank(info[0], "source bank");
  AdapterBank& to = idle_bank(info[2], "target bank");
  if (from.layout().size != to.layout().size)
    fail(ErrorCode::Shape, "the banks hold adapters of different sizes");
  const float* source = from.row(row_of(info[1]));
  float* target = to.row(row_of(info[3]));
  if (source != target) std::copy_n(source, from.layout().size, target);
  return info.Env().Undefined();
}

// (bank, rows Int32Array, labels Int32Array, weights Float64Array, into bank): row c of `into` becomes the
// weighted mean of the rows labelled c
Napi::Value average(const Napi::CallbackInfo& info) {
  const BankLease bank(info[0], "bank");
  const auto clusters = std::make_shared<const std::map<int32_t, Cluster>>(gather(
      *bank, copy_int32(info[1], "rows"), copy_int32(info[2], "labels"), as_float64(info[3], "weights")));
  const BankLease into(info[4], "target bank");
  if (bank->layout().size != into->layout().size)
    fail(ErrorCode::Shape, "the banks hold adapters of different sizes");
  if (&*bank == &*into) fail(ErrorCode::Usage, "average needs two different banks");
  for (const auto& [label, cluster] : *clusters) into->row(label);
  return run_async<bool>(
      info.Env(), Hooks(info.Env(), info.Env().Undefined()),
      [bank, into, clusters](const Control&) {
        for (const auto& [label, cluster] : *clusters) {
          weighted_average(cluster.rows, bank->layout().size, cluster.weights, into->row(label));
        }
        return true;
      },
      [](Napi::Env env, bool&) -> Napi::Value { return env.Undefined(); });
}

// (bank, rows Int32Array, labels Int32Array, weights Float64Array, into bank or undefined) => Float64Array of
// FactorMean's three norms for each label in use, ascending. With `into`, whose row c holds the factors'
// means of the rows labelled c already, they become those of the mean product.
Napi::Value mean_products(const Napi::CallbackInfo& info) {
  const BankLease bank(info[0], "bank");
  const auto clusters = std::make_shared<const std::map<int32_t, Cluster>>(gather(
      *bank, copy_int32(info[1], "rows"), copy_int32(info[2], "labels"), as_float64(info[3], "weights")));
  std::shared_ptr<BankLease> into;
  if (!info[4].IsUndefined()) {
    into = std::make_shared<BankLease>(info[4], "target bank");
    if (bank->layout().size != (*into)->layout().size)
      fail(ErrorCode::Shape, "the banks hold adapters of different sizes");
    if (&*bank == &**into) fail(ErrorCode::Usage, "a mean of products needs two different banks");
    for (const auto& [label, cluster] : *clusters) (*into)->row(label);
  }
  return run_async<std::vector<double>>(
      info.Env(), Hooks(info.Env(), info.Env().Undefined()),
      [bank, into, clusters](const Control&) {
        std::vector<double> norms;
        for (const auto& [label, cluster] : *clusters) {
          float* factored = into ? (*into)->row(label) : nullptr;
          const FactorMean of = mean_of_products(bank->layout(), cluster.rows, cluster.weights, factored);
          norms.insert(norms.end(), {of.mean, of.error, of.lost});
        }
        return norms;
      },
      [](Napi::Env env, std::vector<double>& norms) -> Napi::Value { return doubles_to_js(env, norms); });
}

// (folder, bank, row, path, hooks): the backbone of that folder with the row folded in, as a safetensors file
Napi::Value merge_model(const Napi::CallbackInfo& info) {
  const std::string folder = as_string(info[0], "folder");
  const BankLease bank(info[1], "bank");
  const int64_t row = row_of(info[2]);
  const std::string path = as_string(info[3], "path");
  return run_async<bool>(
      info.Env(), Hooks(info.Env(), info[4]),
      [folder, bank, row, path](const Control& control) {
        merge_adapter(folder, *bank, row, path, control);
        return true;
      },
      [](Napi::Env env, bool&) -> Napi::Value { return env.Undefined(); });
}

}  // namespace fltac::bindings
