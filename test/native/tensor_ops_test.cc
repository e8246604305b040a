// LoRA and attention by tensor operations over many jobs: the CPU's kernels are the reference.
#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <numeric>

#include "check.h"
#include "lora/job_groups.h"
#include "model/backbone.h"
#include "model/fused_attention.h"
#include "model/ops.h"
#include "train/resident_adapters.h"

namespace {

using namespace fltac;
using namespace fltac::test;

constexpr int64_t kInputs = 24, kOutputs = 20, kWide = 50;

double difference(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

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

void grouped_lora_is_that_of_each_job(const std::vector<int64_t>& counts, double rate) {
  Setting setting(static_cast<int64_t>(counts.size()));
  const RowSpace space = space_of(counts);
  const AdapterView view(setting.bank);
  const LoraSlot slot{0, 3 * kInputs};
  EXPECT(setting.bank.layout().size >= 3 * (kInputs + kOutputs));
  const LoraProduct product{
      setting.bank, view, space, slot, kInputs, kOutputs, {Dropout(rate), 2, 40, space.keys.data()}};
  at::manual_seed(3);
  const at::Tensor x = at::randn({space.rows(), kInputs}), start = at::randn({space.rows(), kWide});
  const at::Tensor dy = at::randn({space.rows(), kWide}).narrow(1, 7, kOutputs);
  const at::Tensor before = at::randn({space.rows(), kInputs});
  BatchTables tables;
  const std::unique_ptr<Ops> tensor = make_tensor_ops(tables);

  struct Found {
    at::Tensor wide, z, dx;
    Collector sink;
  };
  const auto run = [&](const Ops& ops, Found& found) {
    found.wide = start.clone();
    found.z = at::empty({space.rows(), 3});
    found.dx = before.clone();
    ops.lora(product, x, found.wide.narrow(1, 7, kOutputs), found.z);
    ops.lora_backward(product, x, dy, found.z, found.dx, found.sink);
  };
  Found expected, found;
  run(cpu_ops(), expected);
  run(*tensor, found);
  EXPECT_NEAR(difference(expected.wide, found.wide), 0.0, 1e-3);
  EXPECT(at::equal(found.wide.narrow(1, 0, 7), start.narrow(1, 0, 7)));
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

// Sequences of very different lengths, causal or not, longest neither first nor last.
void attention_is_that_of_the_kernels(bool causal, int64_t window, double rate) {
  constexpr int64_t kHeads = 4, kKvHeads = 2, kHeadDim = 8;
  const std::vector<int64_t> lengths{3, 1, 90, 7, 2, 40};
  std::vector<SequenceRows> sequences;
  std::vector<int32_t> own;
  std::vector<RowKey> keys;
  int64_t rows = 0;
  for (const int64_t length : lengths) {
    sequences.push_back({rows, length, rows, length});
    keys.push_back({11, static_cast<uint32_t>(keys.size())});
    for (int64_t i = 0; i < length; ++i) own.push_back(static_cast<int32_t>(i));
    rows += length;
  }
  const AttentionShape shape{kHeads, kKvHeads, kHeadDim, sequences, causal ? own.data() : nullptr, window};
  const kernels::DropoutPlan plan{Dropout(rate), 1, 16, keys.data()};
  at::manual_seed(5);
  const int64_t q = kHeads * kHeadDim, kv = kKvHeads * kHeadDim;
  const at::Tensor qkv = at::randn({rows, q + 2 * kv}), dout = at::randn({rows, q});
  const auto parts = [&](const at::Tensor& of) {
    return AttentionInput{of.narrow(1, 0, q), of.narrow(1, q, kv), of.narrow(1, q + kv, kv)};
  };
  const auto run = [&](const Ops& ops) {
    AttentionTape tape{at::empty({rows, q}), at::empty({rows, kHeads}), {}, {}};
    const at::Tensor gradient = at::empty_like(qkv);
    ops.attention(shape, plan, parts(qkv), tape);
    ops.attention_backward(shape, plan, parts(qkv), tape, dout, parts(gradient));
    return std::pair{tape.out, gradient};
  };
  BatchTables tables;
  const auto [out, gradient] = run(cpu_ops());
  const auto [found_out, found_gradient] = run(*make_tensor_ops(tables));
  EXPECT_NEAR(difference(out, found_out), 0.0, 1e-5);
  EXPECT_NEAR(difference(gradient, found_gradient), 0.0, 1e-4);
}

// The choice alone: the kernels need a CUDA device.
void fused_kernels_are_for_whole_prompts_without_dropout() {
  const FusedConditions hopper{.dropout = false, .cuda = true, .capability = 9};
  const std::vector<SequenceRows> whole{{0, 3, 0, 3}, {3, 2, 3, 2}}, first_tokens{{0, 1, 0, 3}, {1, 1, 3, 2}},
      cached{{0, 1, 0, 3}, {1, 1, 8, 2}}, empty{{0, 0, 0, 3}, {0, 2, 3, 2}};
  const std::vector<int32_t> own{0, 1, 2, 0, 1}, some{0, 2, 2, 0, 1};
  const AttentionShape causal{4, 2, 64, whole, own.data()}, both_ways{4, 4, 64, first_tokens};
  EXPECT(fused_kernel(causal, hopper) == FusedKernel::Efficient);
  EXPECT(fused_kernel(both_ways, hopper) == FusedKernel::Efficient);
  AttentionShape half = causal;
  half.products = at::kBFloat16;
  EXPECT(fused_kernel(half, hopper) == FusedKernel::Flash);
  EXPECT(fused_kernel(half, {false, true, 7}) == FusedKernel::Efficient);
  half.window = 2;
  EXPECT(fused_kernel(half, hopper) == FusedKernel::Flash);
  EXPECT(fused_kernel(half, {false, true, 7}) == FusedKernel::None);
  EXPECT(fused_kernel(causal, {true, true, 9}) == FusedKernel::None);
  EXPECT(fused_kernel(causal, {false, false, 0}) == FusedKernel::None);
  EXPECT(fused_kernel({4, 2, 12, whole, own.data()}, hopper) == FusedKernel::None);
  EXPECT(!lies_packed({4, 2, 64, whole, some.data()}));
  EXPECT(!lies_packed({4, 2, 64, first_tokens, own.data()}));
  EXPECT(!lies_packed({4, 2, 64, cached}));
  EXPECT(!lies_packed({4, 2, 64, empty}));
}

}  // namespace

int main() {
  return run("tensor_ops_test", [] {
    for (const double rate : {0.0, 0.2}) {
      grouped_lora_is_that_of_each_job({9}, rate);
      grouped_lora_is_that_of_each_job({6, 6, 6, 6}, rate);
      grouped_lora_is_that_of_each_job({5, 4, 7}, rate);
      grouped_lora_is_that_of_each_job({1, 260, 3, 2, 129, 17, 1}, rate);
      attention_is_that_of_the_kernels(false, 0, rate);
      attention_is_that_of_the_kernels(true, 0, rate);
      attention_is_that_of_the_kernels(true, 5, rate);
    }
    lora_is_as_many_operations_for_many_jobs_as_for_few();
    groups_are_few_and_never_double_the_rows();
    fused_kernels_are_for_whole_prompts_without_dropout();
  });
}
