// Exports that run the model: load, train, gradient, evaluate, generate.
#include <algorithm>

#include "bindings/async.h"
#include "bindings/exports.h"
#include "bindings/handles.h"
#include "bindings/values.h"
#include "model/backbone.h"
#include "train/evaluate.h"
#include "train/generate.h"
#include "train/train.h"

namespace fltac::bindings {
namespace {

struct OwnedTrainJob {
  int64_t bank_row;
  OwnedExamples examples;
  std::vector<int32_t> batches;
  uint64_t stream;

  TrainJob view() const { return {bank_row, examples.view(), batches, stream}; }
};

OwnedTrainJob read_train_job(const Napi::Value& value) {
  const Napi::Object object = as_object(value, "a training job");
  return {as_integer(object.Get("row"), "job.row"), read_examples(object.Get("examples"), "job.examples"),
          copy_int32(object.Get("batches"), "job.batches"), as_bigint(object.Get("stream"), "job.stream")};
}

struct OwnedEvaluateJob {
  int64_t bank_row;
  OwnedExamples examples;

  EvaluateJob view() const { return {bank_row, examples.view()}; }
};

OwnedEvaluateJob read_evaluate_job(const Napi::Value& value) {
  const Napi::Object object = as_object(value, "an evaluation job");
  return {as_integer(object.Get("row"), "job.row"), read_examples(object.Get("examples"), "job.examples")};
}

struct OwnedGenerateJob {
  int64_t bank_row;
  std::vector<int32_t> ids, offsets;
  std::vector<uint64_t> streams;

  GenerateJob view() const { return {bank_row, {ids, offsets, {}, {}}, streams}; }
};

OwnedGenerateJob read_generate_job(const Napi::Value& value) {
  const Napi::Object object = as_object(value, "a generation job");
  const Napi::Object prompts = as_object(object.Get("prompts"), "job.prompts");
  OwnedGenerateJob job{as_integer(object.Get("row"), "job.row"),
                       copy_int32(prompts.Get("ids"), "job.prompts.ids"),
                       copy_int32(prompts.Get("offsets"), "job.prompts.offsets"),
                       {}};
  const Napi::Value streams = object.Get("streams");
  if (!streams.IsUndefined()) job.streams = copy_uint64(streams, "job.streams");
  return job;
}

template <typename Owned>
std::vector<Owned> read_jobs(const Napi::Value& value, Owned (*read)(const Napi::Value&)) {
  const Napi::Array array = as_array(value, "jobs");
  std::vector<Owned> jobs;
  for (uint32_t i = 0; i < array.Length(); ++i) jobs.push_back(read(array.Get(i)));
  return jobs;
}

template <typename Owned>
auto views(const std::vector<Owned>& jobs) {
  std::vector<decltype(jobs.front().view())> all;
  std::transform(jobs.begin(), jobs.end(), std::back_inserter(all),
                 [](const Owned& job) { return job.view(); });
  return all;
}

TrainOptions read_train_options(const Napi::Object& object) {
  TrainOptions options;
  options.optimizer.lr = as_number(object.Get("lr"), "lr");
  options.optimizer.beta1 = number_or(object, "beta1", options.optimizer.beta1);
  options.optimizer.beta2 = number_or(object, "beta2", options.optimizer.beta2);
  options.optimizer.eps = number_or(object, "eps", options.optimizer.eps);
  options.optimizer.weight_decay = number_or(object, "weightDecay", options.optimizer.weight_decay);
  options.dropout = boolean_or(object, "dropout", true);
  options.checkpointing = boolean_or(object, "checkpointing", false);
  options.freeze_a = boolean_or(object, "freezeA", false);
  options.cohort = integer_or(object, "cohort", 1);
  return options;
}

GenerateOptions read_generate_options(const Napi::Object& object) {
  GenerateOptions options;
  options.max_new_tokens = as_integer(object.Get("maxNewTokens"), "maxNewTokens");
  const Napi::Array ends = as_array(object.Get("eosIds"), "eosIds");
  for (uint32_t i = 0; i < ends.Length(); ++i) {
    const int64_t id = as_integer(ends.Get(i), "an eosId");
    if (id != static_cast<int32_t>(id)) fail(ErrorCode::Usage, "an eosId is a token id, found ", id);
    options.end_ids.push_back(static_cast<int32_t>(id));
  }
  options.sampling.temperature = number_or(object, "temperature", options.sampling.temperature);
  options.sampling.top_p = number_or(object, "topP", options.sampling.top_p);
  options.batch_size = integer_or(object, "batchSize", options.batch_size);
  return options;
}

Napi::Object generation_to_js(Napi::Env env, const Generation& generation) {
  const Napi::Object result = Napi::Object::New(env);
  result.Set("ids", ints_to_js(env, generation.ids));
  result.Set("offsets", ints_to_js(env, generation.offsets));
  Napi::Uint8Array finished = Napi::Uint8Array::New(env, generation.finished.size());
  std::copy(generation.finished.begin(), generation.finished.end(), finished.Data());
  result.Set("finished", finished);
  return result;
}

LoadOptions read_load_options(const Napi::Object& object) {
  LoadOptions options;
  options.dtype = as_string(object.Get("dtype"), "dtype");
  options.tf32 = boolean_or(object, "tf32", false);
  const Napi::Value devices = object.Get("devices");
  if (devices.IsUndefined()) return options;
  const Napi::Array names = as_array(devices, "devices");
  for (uint32_t i = 0; i < names.Length(); ++i)
    options.devices.push_back(as_string(names.Get(i), "a device"));
  return options;
}

// [{ part, device, bytes }]
Napi::Value placement_to_js(Napi::Env env, const Backbone& backbone) {
  const std::vector<Device>& devices = backbone.placement().devices;
  const Napi::Array array = Napi::Array::New(env, devices.size());
  for (size_t part = 0; part < devices.size(); ++part) {
    const Napi::Object object = Napi::Object::New(env);
    object.Set("part", part_name(part, devices.size()));
    object.Set("device", devices[part].name);
    object.Set("bytes", static_cast<double>(backbone.part_bytes()[part]));
    array.Set(static_cast<uint32_t>(part), object);
  }
  return array;
}

}  // namespace

// (folder, { dtype, tf32?, devices? } & hooks) => Promise<{ handle, ...NativeBackbone }>; progress in parts
Napi::Value load_backbone(const Napi::CallbackInfo& info) {
  using Result = std::shared_ptr<const Backbone>;
  const std::string folder = as_string(info[0], "folder");
  const LoadOptions options = read_load_options(as_object(info[1], "options"));
  return run_async<Result>(
      info.Env(), Hooks(info.Env(), info[1]),
      [folder, options](const Control& control) { return Backbone::load(folder, options, control); },
      [](Napi::Env env, Result& backbone) -> Napi::Value {
        const Napi::Object object = architecture_to_js(env, backbone->architecture());
        object.Set("placement", placement_to_js(env, *backbone));
        object.Set("dtype", type_name(backbone->weight_type().dtype));
        object.Set("dtypeReason", backbone->weight_type().reason);
        object.Set("bytes", static_cast<double>(backbone->bytes()));
        if (const auto free = free_layer_memory(backbone->placement())) {
          object.Set("freeBytes", static_cast<double>(*free));
        }
        const Napi::Array unused = Napi::Array::New(env);
        for (const std::string& name : backbone->unused()) unused.Set(unused.Length(), name);
        object.Set("unused", unused);
        object.Set("handle", wrap(env, std::make_unique<BackboneHandle>(backbone), backbone->bytes()));
        return object;
      });
}

// (bank, TrainJob[], TrainOptions & hooks) => Promise<Float64Array[]> the losses of each job
Napi::Value train(const Napi::CallbackInfo& info) {
  using Result = std::vector<std::vector<double>>;
  const BankLease bank(info[0], "bank");
  const auto jobs = std::make_shared<const std::vector<OwnedTrainJob>>(read_jobs(info[1], read_train_job));
  const TrainOptions options = read_train_options(as_object(info[2], "options"));
  return run_async<Result>(
      info.Env(), Hooks(info.Env(), info[2]),
      [bank, jobs, options](const Control& control) {
        return fltac::train(*bank, views(*jobs), options, control);
      },
      [](Napi::Env env, Result& losses) -> Napi::Value {
        const Napi::Array array = Napi::Array::New(env, losses.size());
        for (size_t j = 0; j < losses.size(); ++j)
          array.Set(static_cast<uint32_t>(j), doubles_to_js(env, losses[j]));
        return array;
      });
}

// (bank, TrainJob, { dropout, checkpointing? }) => Promise<{ loss, gradient: Float32Array }>
Napi::Value gradient(const Napi::CallbackInfo& info) {
  const BankLease bank(info[0], "bank");
  const auto job = std::make_shared<const OwnedTrainJob>(read_train_job(info[1]));
  const Napi::Object options = as_object(info[2], "options");
  const bool dropout = as_boolean(options.Get("dropout"), "dropout");
  const bool checkpointing = boolean_or(options, "checkpointing", false);
  return run_async<Gradient>(
      info.Env(), Hooks(info.Env(), info.Env().Undefined()),
      [bank, job, dropout, checkpointing](const Control&) {
        return fltac::gradient(*bank, job->view(), dropout, checkpointing);
      },
      [](Napi::Env env, Gradient& result) -> Napi::Value {
        const Napi::Object object = Napi::Object::New(env);
        object.Set("loss", result.loss);
        object.Set("gradient", floats_to_js(env, result.values.data(), result.values.size()));
        return object;
      });
}

// (bank, EvaluateJob[], EvaluateOptions & hooks) => Promise<EvaluateResult[]>
Napi::Value evaluate(const Napi::CallbackInfo& info) {
  using Result = std::vector<Evaluation>;
  const BankLease bank(info[0], "bank");
  const auto jobs =
      std::make_shared<const std::vector<OwnedEvaluateJob>>(read_jobs(info[1], read_evaluate_job));
  const Napi::Object object = as_object(info[2], "options");
  EvaluateOptions options;
  options.batch_size = integer_or(object, "batchSize", options.batch_size);
  options.target_logits = boolean_or(object, "targetLogits", options.target_logits);
  return run_async<Result>(
      info.Env(), Hooks(info.Env(), info[2]),
      [bank, jobs, options](const Control& control) {
        return fltac::evaluate(*bank, views(*jobs), options, control);
      },
      [](Napi::Env env, Result& results) -> Napi::Value {
        const Napi::Array array = Napi::Array::New(env, results.size());
        for (size_t j = 0; j < results.size(); ++j) {
          const Napi::Object result = Napi::Object::New(env);
          result.Set("logits", floats_to_js(env, results[j].logits.data(), results[j].logits.size()));
          result.Set("loss", results[j].loss);
          result.Set("exampleLosses", doubles_to_js(env, results[j].example_losses));
          result.Set("exampleTargets", ints_to_js(env, results[j].example_targets));
          array.Set(static_cast<uint32_t>(j), result);
        }
        return array;
      });
}

// (bank, GenerateJob[], GenerateOptions & hooks) => Promise<GenerateResult[]>
Napi::Value generate(const Napi::CallbackInfo& info) {
  using Result = std::vector<Generation>;
  const BankLease bank(info[0], "bank");
  const auto jobs =
      std::make_shared<const std::vector<OwnedGenerateJob>>(read_jobs(info[1], read_generate_job));
  const GenerateOptions options = read_generate_options(as_object(info[2], "options"));
  return run_async<Result>(
      info.Env(), Hooks(info.Env(), info[2]),
      [bank, jobs, options](const Control& control) {
        return fltac::generate(*bank, views(*jobs), options, control);
      },
      [](Napi::Env env, Result& results) -> Napi::Value {
        const Napi::Array array = Napi::Array::New(env, results.size());
        for (size_t j = 0; j < results.size(); ++j) {
          array.Set(static_cast<uint32_t>(j), generation_to_js(env, results[j]));
        }
        return array;
      });
}

}  // namespace fltac::bindings
