// LoRA and attention by tensor operations over many jobs, in the CPU's memory and, where there is one, on a
// CUDA device: the CPU's kernels are the reference.
#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <numeric>

#include "check.h"
#include "core/transfer.h"
#include "lora/job_groups.h"
#include "model/backbone.h"
#include "model/fused_attention.h"
#include "model/ops.h"
#include "model/pass_context.h"
#include "model/tensor_attention.h"
#include "train/resident_adapters.h"

namespace {

using namespace fltac;
using namespace fltac::test;

constexpr int64_t kInputs = 24, kOutputs = 20, kWide = 50;

double difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kCPU) - b.to(at::kCPU)).abs().max().item<double>();
}

// Gradients by job and offset.
class Collector : public GradientSink {
 public:
  void take(size_t job, int64_t offset, const float* gradient, int64_t n) override {
    ++taken;
    all[{job, offset}] = at::from_blob(const_cast<float*>(gradient), {n}, at::kFloat).clone();
  }
  std::map<std::pair<size_t, int64_t>, at::Tensor> all;
  int64_t taken = 0;
};

class Nothing : public GradientSink {
 public:
  void take(size_t, int64_t, const float*, int64_t) override {}
  void take_all(const std::vector<size_t>&, const AdapterRows&, int64_t, const at::Tensor&) override {}
};

// Jobs with these row counts, whose adapters are the bank's rows backwards.
RowSpace space_of(const std::vector<int64_t>& counts) {
  RowSpace space;
  auto bank_row = static_cast<int64_t>(counts.size());
  for (const int64_t count : counts) {
    space.jobs.push_back({--bank_row, space.rows(), space.rows() + count});
    for (int64_t r = 0; r < count; ++r)
      space.keys.push_back({static_cast<uint64_t>(bank_row + 5), static_cast<uint32_t>(r)});
  }
  return space;
}

struct Setting {
  explicit Setting(int64_t rows)
      : backbone(Backbone::load(fixture("families/roberta"),
                                {std::vector<std::string>(4, "portable"), "float32"}, {})),
        bank(backbone, {.rank = 3, .target_modules = {"query"}}, rows) {
    at::Generator generator = at::detail::createCPUGenerator(7);
    for (int64_t row = 0; row < rows; ++row) {
      at::from_blob(bank.row(row), {bank.layout().size}, at::kFloat).normal_(0, 1, generator);
    }
  }
  std::shared_ptr<const Backbone> backbone;
  AdapterBank bank;
};

void grouped_lora_is_that_of_each_job(const std::vector<int64_t>& counts, double rate,
                                      const at::Device& device = at::kCPU) {
  Setting setting(static_cast<int64_t>(counts.size()));
  const RowSpace space = space_of(counts);
  const AdapterView view(setting.bank);
  const LoraSlot slot{0, 3 * kInputs};
  EXPECT(setting.bank.layout().size >= 3 * (kInputs + kOutputs));
  const LoraProduct product{
      setting.bank, view, space, slot, kInputs, kOutputs, {Dropout(rate), 2, 40, space.keys.data()}};
  at::manual_seed(3);
  const at::Tensor x = at::randn({space.rows(), kInputs}), start = at::randn({space.rows(), kWide});
  const at::Tensor dy = at::randn({space.rows(), kWide});
  const at::Tensor before = at::randn({space.rows(), kInputs});
  BatchTables tables;
  const std::unique_ptr<Ops> tensor = make_tensor_ops(tables);

  struct Found {
    at::Tensor wide, z, dx;
    Collector sink;
  };
  const auto run = [&](const Ops& ops, const at::Device& on, Found& found) {
    const at::Tensor x_there = x.to(on);
    found.wide = start.to(on, at::kFloat, /*non_blocking=*/false, /*copy=*/true);
    found.z = at::empty({space.rows(), 3}, x_there.options());
    found.dx = before.to(on, at::kFloat, /*non_blocking=*/false, /*copy=*/true);
    ops.lora(product, x_there, found.wide.narrow(1, 7, kOutputs), found.z);
    ops.lora_backward(product, x_there, dy.to(on).narrow(1, 7, kOutputs), found.z, found.dx, found.sink);
  };
  Found expected, found;
  run(cpu_ops(), at::kCPU, expected);
  run(*tensor, device, found);
  EXPECT_NEAR(difference(expected.wide, found.wide), 0.0, 1e-3);
  EXPECT(at::equal(found.wide.narrow(1, 0, 7).to(at::kCPU), start.narrow(1, 0, 7)));
  EXPECT_NEAR(difference(expected.z, found.z), 0.0, 1e-4);
  EXPECT_NEAR(difference(expected.dx, found.dx), 0.0, 1e-3);
  EXPECT(expected.sink.all.size() == found.sink.all.size(), expected.sink.all.size(), found.sink.all.size());
  for (const auto& [key, gradient] : expected.sink.all) {
    const double largest = gradient.abs().max().item<double>();
    EXPECT_NEAR(difference(gradient, found.sink.all.at(key)), 0.0, 1e-5 * (1 + largest));
  }
}

int64_t groups_of(const std::vector<int64_t>& counts) {
  Setting setting(static_cast<int64_t>(counts.size()));
  const RowSpace space = space_of(counts);
  const JobGroups groups(space, AdapterView(setting.bank), at::kCPU);
  EXPECT(groups.places() <= 2 * space.rows(), groups.places(), space.rows());
  int64_t jobs = 0;
  for (const JobGroup& group : groups.groups()) jobs += group.size();
  const auto with_rows = std::count_if(counts.begin(), counts.end(), [](int64_t n) { return n > 0; });
  EXPECT(jobs == with_rows, jobs, with_rows);
  const at::Tensor rows = at::randn({space.rows(), 3});
  EXPECT(at::equal(groups.gather(groups.spread(rows)), rows));
  EXPECT_NEAR(groups.spread_gradients(rows).sum().item<double>(), rows.sum().item<double>(), 1e-4);
  return static_cast<int64_t>(groups.groups().size());
}

void groups_are_few_and_never_double_the_rows() {
  EXPECT(groups_of({8, 8, 8}) == 1);
  EXPECT(groups_of({8, 5, 4}) == 1);
  EXPECT(groups_of({1, 300, 3, 2, 290, 17, 0, 1}) == 4);
  EXPECT(groups_of(std::vector<int64_t>(40, 33)) == 1);
  std::vector<int64_t> all(200);
  std::iota(all.begin(), all.end(), int64_t{1});
  EXPECT(groups_of(all) <= 9);
}

// Tensor operations that `work` hands to libtorch.
int64_t operations_of(const std::function<void()>& work) {
  static int64_t count;
  count = 0;
  const auto handle = at::addThreadLocalCallback(
      at::RecordFunctionCallback([](const at::RecordFunction&) -> std::unique_ptr<at::ObserverContext> {
        ++count;
        return nullptr;
      }).scopes({at::RecordScope::FUNCTION}));
  work();
  at::removeCallback(handle);
  return count;
}

int64_t lora_operations(const std::vector<int64_t>& counts) {
  Setting setting(static_cast<int64_t>(counts.size()));
  const RowSpace space = space_of(counts);
  std::vector<int64_t> rows;
  for (const JobRows& job : space.jobs) rows.push_back(job.bank_row);
  const ResidentAdapters resident(setting.bank, rows);
  const LoraSlot& slot = *setting.bank.layout().slot(0, Role::Query);
  const int64_t n = setting.backbone->architecture().hidden;
  const LoraProduct product{
      setting.bank, resident, space, slot, n, n, {Dropout(0.1), 2, 40, space.keys.data()}};
  const at::Tensor x = at::randn({space.rows(), n}), y = at::randn({space.rows(), n});
  const at::Tensor z = at::empty({space.rows(), 3}), dx = at::zeros_like(x);
  BatchTables tables;
  const std::unique_ptr<Ops> ops = make_tensor_ops(tables);
  const auto layer = [&] {
    Nothing sink;
    ops->lora(product, x, y, z);
    ops->lora_backward(product, x, y, z, dx, sink);
  };
  layer();  // makes the tables
  return operations_of(layer);
}

void lora_is_as_many_operations_for_many_jobs_as_for_few() {
  const int64_t two = lora_operations({6, 6}), three = lora_operations({5, 6, 7});
  EXPECT(two > 0 && three > 0);
  EXPECT(lora_operations(std::vector<int64_t>(40, 6)) == two, two);
  std::vector<int64_t> many(40);
  for (size_t j = 0; j < many.size(); ++j) many[j] = 10 + static_cast<int64_t>(j % 11);
  EXPECT(lora_operations(many) == three, three);
}

// Queries and keys of each sequence; the queries ask for its last tokens.
using Lengths = std::vector<std::pair<int64_t, int64_t>>;

// Of very different lengths, longest neither first nor last.
const Lengths kPrompts{{3, 3}, {1, 1}, {90, 90}, {7, 7}, {2, 2}, {40, 40}};
const Lengths kParts{{3, 9}, {0, 5}, {1, 30}, {1, 1}, {0, 1}, {20, 41}, {4, 4}};

struct Attended {
  at::Tensor out, q, k, v;  // the output and the gradients, in the machine's memory
  FusedKernel kernel;
};

// Attention forward and backward over packed sequences.
class AttentionCase {
 public:
  AttentionCase(const Lengths& lengths, bool causal, int64_t window, double rate,
                at::ScalarType products = at::kFloat) {
    for (const auto& [queries, keys] : lengths) {
      sequences_.push_back({queries_, queries, keys_, keys});
      row_keys_.push_back({11, static_cast<uint32_t>(row_keys_.size())});
      for (int64_t i = 0; i < queries; ++i) own_.push_back(static_cast<int32_t>(keys - queries + i));
      queries_ += queries;
      keys_ += keys;
    }
    shape_.own_key = causal ? own_.data() : nullptr;
    shape_.window = window;
    shape_.products = products;
    plan_ = {Dropout(rate), 1, 16, row_keys_.data()};
    at::manual_seed(5);
    q_ = at::randn({queries_, 3 * kQuery});
    kv_ = at::randn({keys_, 2 * kKeys});
    dout_ = at::randn({queries_, kQuery});
  }

  const AttentionShape& shape() const { return shape_; }

  Attended by_ops(const Ops& ops, const at::Device& device = at::kCPU) const {
    return by([&](const auto& input, auto& tape) { ops.attention(shape_, plan_, input, tape); },
              [&](const auto& input, const auto& tape, const auto& dout, const auto& gradient) {
                ops.attention_backward(shape_, plan_, input, tape, dout, gradient);
              },
              device);
  }

  Attended by_chunks(const AttentionPlan& chunks) const {
    const double scale = 1.0 / std::sqrt(static_cast<double>(kHeadDim));
    return by([&](const auto& input, auto& tape) { tensor_attention(chunks, plan_, input, tape); },
              [&](const auto& input, const auto& tape, const auto& dout, const auto& gradient) {
                tensor_attention_backward(chunks, scale, plan_, input, tape, dout, gradient);
              },
              at::kCPU);
  }

 private:
  static constexpr int64_t kHeads = 4, kKvHeads = 2, kHeadDim = 16;
  static constexpr int64_t kQuery = kHeads * kHeadDim, kKeys = kKvHeads * kHeadDim;

  // Columns of wider buffers, as in a pass.
  static AttentionInput parts(const at::Tensor& q, const at::Tensor& kv) {
    return {q.narrow(1, kQuery, kQuery), kv.narrow(1, 0, kKeys), kv.narrow(1, kKeys, kKeys)};
  }

  template <typename Forward, typename Backward>
  Attended by(const Forward& forward, const Backward& backward, const at::Device& device) const {
    const at::Tensor q = q_.to(device), kv = kv_.to(device);
    AttentionTape tape{
        at::empty({queries_, kQuery}, q.options()), at::empty({queries_, kHeads}, q.options()), {}, {}};
    const AttentionInput gradient = parts(at::empty_like(q), at::empty_like(kv));
    forward(parts(q, kv), tape);
    backward(parts(q, kv), tape, dout_.to(device), gradient);
    return {tape.out.to(at::kCPU), gradient.q.to(at::kCPU), gradient.k.to(at::kCPU), gradient.v.to(at::kCPU),
            tape.kernel};
  }

  std::vector<SequenceRows> sequences_;
  std::vector<int32_t> own_;
  std::vector<RowKey> row_keys_;
  int64_t queries_ = 0, keys_ = 0;
  AttentionShape shape_{kHeads, kKvHeads, kHeadDim, sequences_};
  kernels::DropoutPlan plan_{Dropout(0.0), 0, 0, nullptr};
  at::Tensor q_, kv_, dout_;
};

void near(const Attended& expected, const Attended& found, double tolerance) {
  EXPECT_NEAR(difference(expected.out, found.out), 0.0, tolerance);
  EXPECT_NEAR(difference(expected.q, found.q), 0.0, 10 * tolerance);
  EXPECT_NEAR(difference(expected.k, found.k), 0.0, 10 * tolerance);
  EXPECT_NEAR(difference(expected.v, found.v), 0.0, 10 * tolerance);
}

void attention_is_that_of_the_kernels(const Lengths& lengths, bool causal, int64_t window, double rate) {
  const AttentionCase attention(lengths, causal, window, rate);
  const Attended expected = attention.by_ops(cpu_ops());
  BatchTables tables;
  const Attended found = attention.by_ops(*make_tensor_ops(tables));
  EXPECT(found.kernel == FusedKernel::None);
  near(expected, found, 1e-5);
  // As where a batch's scores are too many for one chunk.
  const AttentionPlan chunks(attention.shape(), at::kCPU, 64);
  EXPECT(chunks.chunks().size() > 1, chunks.chunks().size());
  near(expected, attention.by_chunks(chunks), 1e-5);
}

// The choice alone: the kernels need a CUDA device.
void fused_kernels_are_for_whole_prompts_without_dropout() {
  const FusedConditions hopper{.dropout = false, .tape = true, .cuda = true, .capability = 9};
  const FusedConditions turing{.dropout = false, .tape = true, .cuda = true, .capability = 7};
  const std::vector<SequenceRows> whole{{0, 3, 0, 3}, {3, 2, 3, 2}}, first_tokens{{0, 1, 0, 3}, {1, 1, 3, 2}},
      cached{{0, 1, 0, 3}, {1, 1, 8, 2}}, empty{{0, 0, 0, 3}, {0, 2, 3, 2}};
  const std::vector<int32_t> own{0, 1, 2, 0, 1}, some{0, 2, 2, 0, 1};
  const AttentionShape causal{4, 2, 64, whole, own.data()}, both_ways{4, 4, 64, first_tokens};
  EXPECT(fused_kernel(causal, hopper) == FusedKernel::Efficient);
  EXPECT(fused_kernel(both_ways, hopper) == FusedKernel::Efficient);
  AttentionShape half = causal;
  half.products = at::kBFloat16;
  EXPECT(fused_kernel(half, hopper) == FusedKernel::Flash);
  EXPECT(fused_kernel(half, turing) == FusedKernel::Efficient);
  half.window = 2;
  EXPECT(fused_kernel(half, hopper) == FusedKernel::Flash);
  EXPECT(fused_kernel(half, turing) == FusedKernel::None);
  EXPECT(fused_kernel(causal, {true, true, true, 9}) == FusedKernel::None);
  EXPECT(fused_kernel(causal, {false, true, false, 0}) == FusedKernel::None);
  AttentionShape narrow = causal;
  narrow.products = at::kHalf;
  EXPECT(fused_kernel(narrow, hopper) == FusedKernel::Efficient);
  EXPECT(fused_kernel(narrow, {false, false, true, 9}) == FusedKernel::Flash);
  EXPECT(fused_kernel({4, 2, 12, whole, own.data()}, hopper) == FusedKernel::None);
  EXPECT(!lies_packed({4, 2, 64, whole, some.data()}));
  EXPECT(!lies_packed({4, 2, 64, first_tokens, own.data()}));
  EXPECT(!lies_packed({4, 2, 64, cached}));
  EXPECT(!lies_packed({4, 2, 64, empty}));
}

void a_whole_model_attends_in_float32() {
  const std::shared_ptr<const Backbone> backbone =
      Backbone::load(fixture("families/roberta"), {std::vector<std::string>(4, "portable"), "bfloat16"}, {});
  const AdapterBank lora(backbone, {.rank = 3, .target_modules = {"query"}}, 1);
  const AdapterBank whole(backbone, {.target_modules = {}, .full = true}, 1);
  const std::vector<int32_t> ids{0, 5, 2}, offsets{0, 3}, labels{1};
  PackedBatch batch;
  batch.add_job(0, 1, Sequences{ids, offsets, {}, labels}, 0, 1, backbone->architecture());
  EXPECT(PassContext(lora, batch, {}).attention_shape(0).products == at::kBFloat16);
  EXPECT(PassContext(whole, batch, {}).attention_shape(0).products == at::kFloat);
}

void cuda_attention_is_that_of_the_kernels(const AttentionCase& attention, FusedKernel kernel,
                                           double tolerance) {
  const at::Device cuda(at::kCUDA, 0);
  const auto run = [&] {
    BatchTables tables;
    return attention.by_ops(*make_tensor_ops(tables), cuda);
  };
  const Attended found = run(), again = run();
  EXPECT(found.kernel == kernel, static_cast<int>(found.kernel), static_cast<int>(kernel));
  near(attention.by_ops(cpu_ops()), found, tolerance);
  EXPECT(found.out.equal(again.out) && found.q.equal(again.q) && found.k.equal(again.k) &&
         found.v.equal(again.v));
}

void copies_arrive() {
  const at::Device cuda(at::kCUDA, 0);
  const at::Tensor host = at::randn({300, 70});
  const at::Tensor there = upload(host, cuda);
  EXPECT(there.device() == cuda);
  Download back(there * 2);
  EXPECT(back.wait().device().is_cpu());
  EXPECT(back.wait().equal(host * 2));
  const std::vector<std::vector<int64_t>> lists{{1, 2, 3}, {}, {40}};
  const std::vector<at::Tensor> parts = upload_lists(lists, cuda);
  for (size_t i = 0; i < lists.size(); ++i)
    EXPECT(parts[i].to(at::kCPU).equal(at::tensor(lists[i], at::kLong)), i);
}

void cuda_devices_agree() {
  if (cuda_devices() == 0) {
    std::cout << "skipped: no CUDA device\n";
    return;
  }
  const at::Device cuda(at::kCUDA, 0);
  copies_arrive();
  for (const double rate : {0.0, 0.2}) {
    grouped_lora_is_that_of_each_job({6, 6, 6, 6}, rate, cuda);
    grouped_lora_is_that_of_each_job({1, 260, 3, 2, 129, 17, 1}, rate, cuda);
  }
  for (const bool causal : {false, true}) {
    cuda_attention_is_that_of_the_kernels({kPrompts, causal, 0, 0.0}, FusedKernel::Efficient, 1e-4);
    cuda_attention_is_that_of_the_kernels({kPrompts, causal, 0, 0.0, at::kBFloat16}, FusedKernel::Flash,
                                          0.03);
    cuda_attention_is_that_of_the_kernels({kPrompts, causal, 0, 0.0, at::kHalf}, FusedKernel::Efficient,
                                          1e-4);
    cuda_attention_is_that_of_the_kernels({kPrompts, causal, 0, 0.2}, FusedKernel::None, 1e-4);
  }
  cuda_attention_is_that_of_the_kernels({kPrompts, true, 5, 0.0, at::kBFloat16}, FusedKernel::Flash, 0.03);
  cuda_attention_is_that_of_the_kernels({kParts, true, 0, 0.0}, FusedKernel::None, 1e-4);
}

}  // namespace

int main() {
  return run("tensor_ops_test", [] {
    for (const double rate : {0.0, 0.2}) {
      grouped_lora_is_that_of_each_job({9}, rate);
      grouped_lora_is_that_of_each_job({6, 6, 6, 6}, rate);
      grouped_lora_is_that_of_each_job({5, 4, 7}, rate);
      grouped_lora_is_that_of_each_job({1, 260, 3, 2, 129, 17, 1}, rate);
      for (const Lengths& lengths : {kPrompts, kParts}) {
        attention_is_that_of_the_kernels(lengths, false, 0, rate);
        attention_is_that_of_the_kernels(lengths, true, 0, rate);
        attention_is_that_of_the_kernels(lengths, true, 5, rate);
      }
    }
    lora_is_as_many_operations_for_many_jobs_as_for_few();
    groups_are_few_and_never_double_the_rows();
    fused_kernels_are_for_whole_prompts_without_dropout();
    a_whole_model_attends_in_float32();
    cuda_devices_agree();
  });
}
