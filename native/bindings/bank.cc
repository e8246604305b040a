// Exports on adapter banks: rows in and out, averaging, K-means.
#include "lora/bank.h"

#include <algorithm>
#include <map>
#include <memory>

#include "bindings/async.h"
#include "bindings/exports.h"
#include "bindings/handles.h"
#include "bindings/values.h"
#include "kmeans/average.h"
#include "kmeans/kmeans.h"

namespace fltac::bindings {
namespace {

int64_t row_of(const Napi::Value& value) { return as_integer(value, "row"); }

// Rows to cluster: of a bank, or of a copy of the caller's matrix: JavaScript can take an array's memory away
// (by transferring it) while it holds the array.
struct Matrix {
  std::vector<const float*> rows;
  int64_t columns;
  std::optional<BankLease> bank;
  std::shared_ptr<const std::vector<float>> values;
};

Matrix bank_matrix(const Napi::Value& bank_value, const Napi::Value& rows) {
  Matrix matrix;
  matrix.bank.emplace(bank_value, "data");
  const AdapterBank& bank = **matrix.bank;
  matrix.columns = bank.layout().size;
  for (const int32_t row : copy_int32(rows, "rows")) matrix.rows.push_back(bank.row(row));
  return matrix;
}

Matrix array_matrix(const Napi::Value& data, const Napi::Object& options) {
  Napi::Float32Array array = as_float32(data, "data");
  const int64_t rows = as_integer(options.Get("rows"), "rows");
  const int64_t columns = as_integer(options.Get("columns"), "columns");
  const auto length = static_cast<int64_t>(array.ElementLength());
  if (rows < 1 || columns < 1 || length % rows != 0 || columns != length / rows) {
    fail(ErrorCode::Shape, "data has ", length, " values, expected rows (", rows, ") x columns (", columns,
         ")");
  }
  Matrix matrix;
  matrix.columns = columns;
  matrix.values = std::make_shared<const std::vector<float>>(array.Data(), array.Data() + length);
  for (int64_t r = 0; r < rows; ++r) matrix.rows.push_back(matrix.values->data() + r * columns);
  return matrix;
}

KmeansOptions read_kmeans_options(const Napi::Object& object) {
  KmeansOptions options;
  options.k = as_integer(object.Get("k"), "k");
  options.n_init = integer_or(object, "nInit", options.n_init);
  options.max_iter = integer_or(object, "maxIter", options.max_iter);
  options.tol = number_or(object, "tol", options.tol);
  options.exchange = boolean_or(object, "exchange", options.exchange);
  const int64_t seed = integer_or(object, "seed", 0);
  if (seed < 0) fail(ErrorCode::Usage, "seed must be 0 or more, found ", seed);
  options.seed = static_cast<uint64_t>(seed);
  return options;
}

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

// (bank or Float32Array, KmeansOptions & { rows, columns? } & hooks) => Promise<KmeansResult>
Napi::Value kmeans(const Napi::CallbackInfo& info) {
  const Napi::Object object = as_object(info[1], "options");
  const Matrix matrix =
      info[0].IsExternal() ? bank_matrix(info[0], object.Get("rows")) : array_matrix(info[0], object);
  const KmeansOptions options = read_kmeans_options(object);
  return run_async<KmeansResult>(
      info.Env(), Hooks(info.Env(), object),
      [matrix, options](const Control& control) {
        KmeansOptions with_control = options;
        with_control.cancelled = control.cancelled;
        return fltac::kmeans(matrix.rows, matrix.columns, with_control);
      },
      [](Napi::Env env, KmeansResult& result) -> Napi::Value {
        const Napi::Object out = Napi::Object::New(env);
        out.Set("labels", ints_to_js(env, result.labels));
        out.Set("centroids", floats_to_js(env, result.centroids.data(), result.centroids.size()));
        out.Set("inertia", result.inertia);
        out.Set("iterations", static_cast<double>(result.iterations));
        out.Set("path", result.path);
        out.Set("exchanged", static_cast<double>(result.exchanged));
        out.Set("reseeded", static_cast<double>(result.reseeded));
        return out;
      });
}

}  // namespace fltac::bindings
