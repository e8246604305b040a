// Exports of K-means, and of what a benchmark of it measures the machine with.
#include "kmeans/kmeans.h"

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string_view>

#include "bindings/async.h"
#include "bindings/exports.h"
#include "bindings/handles.h"
#include "bindings/values.h"
#include "kmeans/distances.h"
#include "kmeans/machine.h"
#include "lora/bank.h"

namespace fltac::bindings {
namespace {

// One part of the rows to cluster, as JavaScript names it: of a bank, of an array, or of a file.
struct Chunk {
  std::optional<BankLease> bank;
  std::vector<int32_t> bank_rows;
  const float* values = nullptr;
  int64_t value_count = 0;
  std::shared_ptr<const std::vector<float>> copied;  // holds `values`, unless they are shared memory
  std::string file, tensor;
};

// What a call clusters: problems of one shape. Arrays are copied, since JavaScript can take an array's memory
// away (by transferring it) while it holds the array; over a SharedArrayBuffer it cannot, and those are read
// in place.
struct Input {
  std::vector<std::vector<Chunk>> problems;
  int64_t columns = 0;  // 0: as the first chunk has it
  std::vector<NamedTensor> tensors;
  KmeansOptions options;
  std::shared_ptr<std::vector<Napi::ObjectReference>> held =
      std::make_shared<std::vector<Napi::ObjectReference>>();
};

void read_values(const Napi::Value& value, Input& input, Chunk& chunk) {
  const Napi::Float32Array array = as_float32(value, "values");
  chunk.value_count = static_cast<int64_t>(array.ElementLength());
  if (input.columns < 1 || chunk.value_count < 1 || chunk.value_count % input.columns != 0) {
    fail(ErrorCode::Shape, "an array of ", chunk.value_count, " values does not hold rows of ", input.columns,
         " columns");
  }
  const bool shared = !array.ArrayBuffer().IsArrayBuffer();
  if (shared) {
    chunk.values = array.Data();
    input.held->push_back(Napi::Persistent(array.As<Napi::Object>()));
  } else {
    chunk.copied = std::make_shared<const std::vector<float>>(array.Data(), array.Data() + chunk.value_count);
    chunk.values = chunk.copied->data();
  }
}

Chunk read_chunk(const Napi::Value& value, Input& input) {
  const Napi::Object object = as_object(value, "a chunk");
  Chunk chunk;
  if (object.Has("bank")) {
    chunk.bank.emplace(object.Get("bank"), "bank");
    chunk.bank_rows = copy_int32(object.Get("rows"), "rows");
  } else if (object.Has("values")) {
    read_values(object.Get("values"), input, chunk);
  } else {
    chunk.file = as_string(object.Get("file"), "file");
    const Napi::Value tensor = object.Get("tensor");
    if (!tensor.IsUndefined()) chunk.tensor = as_string(tensor, "tensor");
  }
  return chunk;
}

std::vector<NamedTensor> read_tensors(const Napi::Value& value) {
  std::vector<NamedTensor> tensors;
  if (value.IsUndefined()) return tensors;
  const Napi::Array array = as_array(as_object(value, "layout").Get("tensors"), "layout.tensors");
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::Object object = as_object(array.Get(i), "a tensor of the layout");
    NamedTensor tensor;
    tensor.name = as_string(object.Get("name"), "a tensor's name");
    tensor.offset = as_integer(object.Get("offset"), "a tensor's offset");
    const Napi::Array shape = as_array(object.Get("shape"), "a tensor's shape");
    for (uint32_t d = 0; d < shape.Length(); ++d)
      tensor.shape.push_back(as_integer(shape.Get(d), "a size in a shape"));
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

// The choice that option `name` spells; the first where it is not given.
template <typename Choice, size_t N>
Choice read_choice(const Napi::Object& object, const char* name,
                   const std::array<std::pair<std::string_view, Choice>, N>& choices) {
  const Napi::Value value = object.Get(name);
  if (value.IsUndefined()) return choices.front().second;
  const std::string found = as_string(value, name);
  std::string expected;
  for (const auto& [word, choice] : choices) {
    if (word == found) return choice;
    expected += (expected.empty() ? "" : ", ") + std::string(word);
  }
  fail(ErrorCode::Usage, name, " must be one of ", expected, ", found \"", found, "\"");
}

SpaceOptions read_space(const Napi::Object& object) {
  SpaceOptions space;
  using Kind = SpaceOptions::Kind;
  space.kind = read_choice<Kind, 2>(object, "space",
                                    {{{"parameters", Kind::kParameters}, {"delta_w", Kind::kDeltaW}}});
  space.standardize = boolean_or(object, "standardize", false);
  space.cosine = read_choice<bool, 2>(object, "metric", {{{"euclidean", false}, {"cosine", true}}});
  return space;
}

KmeansOptions read_kmeans_options(const Napi::Object& object) {
  KmeansOptions options;
  const Napi::Value k = object.Get("k");
  options.auto_k = k.IsString() && as_string(k, "k") == "auto";
  if (!options.auto_k) options.k = as_integer(k, "k");
  options.most_k = integer_or(object, "mostK", options.most_k);
  options.n_init = integer_or(object, "nInit", options.n_init);
  options.max_iter = integer_or(object, "maxIter", options.max_iter);
  options.tol = number_or(object, "tol", options.tol);
  options.exchange = boolean_or(object, "exchange", options.exchange);
  options.centroids = boolean_or(object, "centroids", options.centroids);
  options.space = read_space(object);
  options.path = read_choice<KmeansPath, 3>(
      object, "path",
      {{{"auto", KmeansPath::kAuto}, {"gram", KmeansPath::kGram}, {"fused", KmeansPath::kFused}}});
  options.device = read_choice<KmeansDevice, 3>(
      object, "device",
      {{{"auto", KmeansDevice::kAuto}, {"cpu", KmeansDevice::kCpu}, {"cuda", KmeansDevice::kCuda}}});
  options.gram = read_choice<KmeansGram, 2>(
      object, "gram", {{{"auto", KmeansGram::kAuto}, {"float64", KmeansGram::kFloat64}}});
  const int64_t seed = integer_or(object, "seed", 0);
  if (seed < 0) fail(ErrorCode::Usage, "seed must be 0 or more, found ", seed);
  options.seed = static_cast<uint64_t>(seed);
  return options;
}

Input read_input(const Napi::Value& data, const Napi::Object& object, const KmeansOptions& options) {
  Input input;
  input.columns = integer_or(object, "columns", 0);
  input.options = options;
  input.tensors = read_tensors(object.Get("layout"));
  const Napi::Array problems = as_array(data, "problems");
  for (uint32_t i = 0; i < problems.Length(); ++i) {
    const Napi::Array chunks = as_array(problems.Get(i), "a problem");
    std::vector<Chunk>& problem = input.problems.emplace_back();
    for (uint32_t j = 0; j < chunks.Length(); ++j) problem.push_back(read_chunk(chunks.Get(j), input));
  }
  return input;
}

void add_bank(const Chunk& chunk, RowSet& rows) {
  const AdapterBank& bank = **chunk.bank;
  std::vector<NamedTensor> tensors;
  for (const AdapterTensor& tensor : bank.layout().tensors)
    tensors.push_back({tensor.name, tensor.shape, tensor.offset});
  rows.set_tensors(std::move(tensors));
  for (const int32_t row : chunk.bank_rows) rows.add_row(bank.row(row));
}

// For the compute thread: headers of files are read here.
std::unique_ptr<const RowSet> gather_rows(const Input& input, const std::vector<Chunk>& problem) {
  auto rows = std::make_unique<RowSet>(input.columns);
  if (!input.tensors.empty()) rows->set_tensors(input.tensors);
  for (const Chunk& chunk : problem) {
    if (chunk.bank) {
      add_bank(chunk, *rows);
    } else if (chunk.values != nullptr) {
      for (int64_t at = 0; at < chunk.value_count; at += input.columns) rows->add_row(chunk.values + at);
    } else if (chunk.tensor.empty()) {
      rows->add_adapter_file(chunk.file);
    } else {
      rows->add_file_tensor(chunk.file, chunk.tensor);
    }
  }
  return rows;
}

Napi::Value doubles_or_null(Napi::Env env, const std::vector<double>& values) {
  return values.empty() ? env.Null() : Napi::Value(doubles_to_js(env, values));
}

// A typed array over the values themselves, which are large: a copy would hold them twice.
Napi::Value floats_in_place(Napi::Env env, LargeVector<float> values) {
  if (values.empty()) return Napi::Float32Array::New(env, 0);
  auto owned = std::make_unique<LargeVector<float>>(std::move(values));
  const size_t count = owned->size();
  const Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(
      env, owned->data(), count * sizeof(float),
      [](Napi::Env, void*, LargeVector<float>* finished) { delete finished; }, owned.get());
  static_cast<void>(owned.release());
  return Napi::Float32Array::New(env, count, buffer, 0);
}

Napi::Value result_to_js(Napi::Env env, KmeansResult& result) {
  const Napi::Object out = Napi::Object::New(env);
  const auto number = [&](const char* name, int64_t value) { out.Set(name, static_cast<double>(value)); };
  number("k", result.k);
  out.Set("labels", ints_to_js(env, result.labels));
  out.Set("counts", ints_to_js(env, {result.counts.begin(), result.counts.end()}));
  out.Set("centroids", floats_in_place(env, std::move(result.centroids)));
  out.Set("inertia", result.inertia);
  number("iterations", result.iterations);
  number("exchanged", result.exchanged);
  number("reseeded", result.reseeded);
  number("seededFrom", result.seeded_from);
  number("bytesRead", result.bytes_read);
  out.Set("path", result.path);
  out.Set("gram", result.gram.empty() ? env.Null() : Napi::Value(Napi::String::New(env, result.gram)));
  out.Set("device", result.device);
  const Napi::Object quality = Napi::Object::New(env);
  quality.Set("own", doubles_to_js(env, result.quality.own));
  quality.Set("next", doubles_or_null(env, result.quality.next));
  quality.Set("margin", doubles_or_null(env, result.quality.margin));
  quality.Set("silhouette", doubles_or_null(env, result.quality.silhouette));
  out.Set("quality", quality);
  const Napi::Array tried = Napi::Array::New(env, result.counts_tried.size());
  for (size_t i = 0; i < result.counts_tried.size(); ++i) {
    const Napi::Object one = Napi::Object::New(env);
    one.Set("k", static_cast<double>(result.counts_tried[i].k));
    one.Set("silhouette", result.counts_tried[i].silhouette);
    one.Set("inertia", result.counts_tried[i].inertia);
    tried.Set(static_cast<uint32_t>(i), one);
  }
  out.Set("tried", tried);
  return out;
}

// V8 collects by the growth of its own heap, which a result of some objects hardly moves, however large the
// memory that it holds: without being asked it keeps the centroids of an earlier call beside those of this
// one. Told of more external memory than any heap may hold it collects at once, which
// took 4 to 24 ms of a small heap, so it is done for large results alone.
void collect_before_large(Napi::Env env, const Input& input) {
  constexpr int64_t kLarge = int64_t{32} << 20, kMoreThanAny = int64_t{1} << 40;
  const int64_t values = input.options.centroids ? input.options.k * input.columns : 0;
  const auto problems = static_cast<int64_t>(input.problems.size());
  if (problems * values * static_cast<int64_t>(sizeof(float)) < kLarge) return;
  Napi::MemoryManagement::AdjustExternalMemory(env, kMoreThanAny);
  Napi::MemoryManagement::AdjustExternalMemory(env, -kMoreThanAny);
}

}  // namespace

// ([[{ bank, rows } | { values } | { file, tensor? }]], KmeansOptions & { columns?, layout? } & hooks)
// => Promise<KmeansResult[]>
Napi::Value kmeans(const Napi::CallbackInfo& info) {
  const Napi::Object object = as_object(info[1], "options");
  const auto input = std::make_shared<const Input>(read_input(info[0], object, read_kmeans_options(object)));
  collect_before_large(info.Env(), *input);
  // References to JavaScript values are let go on its thread, with the builder of the results.
  const auto held = input->held;
  return run_async<std::vector<KmeansResult>>(
      info.Env(), Hooks(info.Env(), object),
      [input](const Control& control) {
        KmeansOptions options = input->options;
        options.cancelled = control.cancelled;
        std::vector<std::unique_ptr<const RowSet>> sets;
        std::vector<const RowSet*> problems;
        for (const auto& problem : input->problems) {
          problems.push_back(sets.emplace_back(gather_rows(*input, problem)).get());
        }
        return kmeans_batch(problems, options);
      },
      [held](Napi::Env env, std::vector<KmeansResult>& results) -> Napi::Value {
        const Napi::Array out = Napi::Array::New(env, results.size());
        for (size_t i = 0; i < results.size(); ++i)
          out.Set(static_cast<uint32_t>(i), result_to_js(env, results[i]));
        return out;
      });
}

// ([{ bank, rows } | { values } | { file, tensor? }], { columns?, layout?, space?, standardize?, metric? } &
// hooks)
// => Promise<Float64Array>: [n, n] squared distances
Napi::Value squared_distances(const Napi::CallbackInfo& info) {
  const Napi::Object object = as_object(info[1], "options");
  const Napi::Array problems = Napi::Array::New(info.Env(), 1);
  problems.Set(uint32_t{0}, info[0]);
  KmeansOptions options;
  options.space = read_space(object);
  const auto input = std::make_shared<const Input>(read_input(problems, object, options));
  const auto held = input->held;
  return run_async<std::vector<double>>(
      info.Env(), Hooks(info.Env(), object),
      [input](const Control& control) {
        const auto rows = gather_rows(*input, input->problems.front());
        return fltac::squared_distances(*rows, input->options.space, control.cancelled);
      },
      [held](Napi::Env env, std::vector<double>& distances) -> Napi::Value {
        return doubles_to_js(env, distances);
      });
}

// () => Promise<{ copyBytesPerSecond, readBytesPerSecond, gemm32, gemm64 }>
Napi::Value machine_rates(const Napi::CallbackInfo& info) {
  return run_async<MachineRates>(
      info.Env(), Hooks(info.Env(), info.Env().Undefined()), [](const Control&) { return measure_machine(); },
      [](Napi::Env env, MachineRates& rates) -> Napi::Value {
        const Napi::Object out = Napi::Object::New(env);
        out.Set("copyBytesPerSecond", rates.copy_bytes);
        out.Set("readBytesPerSecond", rates.read_bytes);
        out.Set("gemm32", rates.gemm32);
        out.Set("gemm64", rates.gemm64);
        return out;
      });
}

}  // namespace fltac::bindings
