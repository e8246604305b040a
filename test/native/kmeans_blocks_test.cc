// The bodies of the CUDA kernels, run on the CPU with one thread after another: the same functions that the
// GPU runs (kmeans/cuda/team.h), against the CPU's fused path.
#include <algorithm>
#include <numeric>

#include "check.h"
#include "kmeans/cuda/fused_block.h"
#include "kmeans/cuda/gram_block.h"
#include "kmeans/cuda/plan.h"
#include "kmeans/fused.h"
#include "kmeans_data.h"

namespace {

using namespace fltac;
using namespace fltac::test;
using cuda::FusedArgs;
using cuda::ProblemState;

using AssignTeam = cuda::HostTeam<cuda::AssignShared, cuda::AssignRegisters>;
using ReduceTeam = cuda::HostTeam<cuda::ReduceShared, cuda::NoRegisters>;

// Memory of a batch, as device.cc lays it out on the GPU, and its loop.
class HostDevice {
 public:
  HostDevice(std::span<const FusedData> data, std::span<const Seeds> seeds, const KmeansOptions& options)
      : options_(options), plan_(cuda::plan_fused(data, seeds, options)), args_(plan_.sizes) {
    const auto b = static_cast<size_t>(args_.problems), n = static_cast<size_t>(args_.points);
    const auto k = static_cast<size_t>(args_.clusters), d = static_cast<size_t>(args_.columns);
    labels_.assign(b * n, -1);
    distances_.resize(b * n);
    sums_.resize(b * k * d);
    counts_.resize(b * k);
    moved_.resize(b * k);
    norm2_.resize(data.size() * n);
    unfinished_ = static_cast<int32_t>(b);
    centroids_ = plan_.centroids;
    half_norms_ = plan_.half_norms;
    states_ = plan_.states;
    frame_rows(data);
    args_.x = x_.data();
    args_.norm2 = norm2_.data();
    args_.centroids = centroids_.data();
    args_.half_norms = half_norms_.data();
    args_.labels = labels_.data();
    args_.distances = distances_.data();
    args_.sums = sums_.data();
    args_.counts = counts_.data();
    args_.moved = moved_.data();
    args_.states = states_.data();
    args_.unfinished = &unfinished_;
  }

  // Blocks run in order, or from the last to the first.
  FusedBatch run(bool backwards) {
    int64_t iterations = 0;
    for (; unfinished_ > 0 && iterations < options_.max_iter; ++iterations) iterate(backwards);
    args_.last = true;
    assign(backwards);
    each_problem([&](int64_t b) { cuda::refill_block(reduce_, args_, b); });
    each_problem([&](int64_t b) { cuda::total_block(reduce_, args_, b); });
    return cuda::collect_fused(plan_, states_, labels_, iterations + 1);
  }

 private:
  void frame_rows(std::span<const FusedData> data) {
    int32_t most = 0;
    for (const FusedData& set : data) {
      for (const float* row : set.rows) x_.insert(x_.end(), row, row + set.columns);
    }
    for (size_t i = 0; i < norm2_.size(); ++i) {
      const FusedData& set = data[i / data.front().rows.size()];
      cuda::frame_block(reduce_, x_.data() + static_cast<int64_t>(i) * args_.columns, args_.columns,
                        set.frame.scale, set.frame.shift.data(), &norm2_[i], &most);
    }
    float largest = 0;
    std::memcpy(&largest, &most, sizeof largest);
    EXPECT(largest == std::abs(*std::max_element(
                          x_.begin(), x_.end(), [](float a, float b) { return std::abs(a) < std::abs(b); })));
    args_.steps = cuda::steps_for(args_.points, largest);
  }

  template <typename Work>
  void each_problem(Work work) {
    for (int64_t b = 0; b < args_.problems; ++b) work(b);
  }

  void assign(bool backwards) {
    const int64_t blocks = (args_.points + cuda::kBlockPoints - 1) / cuda::kBlockPoints;
    each_problem([&](int64_t b) {
      for (int64_t i = 0; i < blocks; ++i)
        cuda::assign_block(assign_, args_, backwards ? blocks - 1 - i : i, b);
    });
  }

  void iterate(bool backwards) {
    each_problem([&](int64_t b) { cuda::clear_block(reduce_, args_, b); });
    assign(backwards);
    each_problem([&](int64_t b) { cuda::refill_block(reduce_, args_, b); });
    each_problem([&](int64_t b) {
      for (int64_t c = 0; c < args_.clusters; ++c) cuda::move_block(reduce_, args_, c, b);
    });
    each_problem([&](int64_t b) { cuda::decide_block(reduce_, args_, b); });
  }

  const KmeansOptions& options_;
  cuda::FusedPlan plan_;
  FusedArgs args_;
  std::vector<float> x_, norm2_, centroids_, half_norms_, distances_;
  std::vector<int32_t> labels_;
  std::vector<int64_t> sums_, counts_;
  std::vector<double> moved_;
  std::vector<ProblemState> states_;
  int32_t unfinished_ = 0;
  AssignTeam assign_;
  ReduceTeam reduce_;
};

FusedBatch run_blocks(std::span<const FusedData> data, std::span<const Seeds> seeds,
                      const KmeansOptions& options) {
  return HostDevice(data, seeds, options).run(false);
}

FusedBatch run_blocks_backwards(std::span<const FusedData> data, std::span<const Seeds> seeds,
                                const KmeansOptions& options) {
  return HostDevice(data, seeds, options).run(true);
}

KmeansOptions options_of(int64_t k, uint64_t seed, int64_t n_init) {
  KmeansOptions options;
  options.k = k;
  options.seed = seed;
  options.n_init = n_init;
  options.tol = 0;
  return options;
}

KmeansResult search(const Data& data, const KmeansOptions& options, RunBatch run) {
  const RowSet rows(data.rows(), data.columns());
  const RowSet* const set = &rows;
  KmeansResult result;
  search_fused({&set, 1}, options, run, {&result, 1});
  return result;
}

// Shapes at, below and above the sizes that blocks and tiles have.
void blocks_cluster_as_the_cpu_does() {
  uint64_t seed = 0;
  for (const auto& [n, columns, k] : {std::tuple{600, 1, 3},
                                      {256, 16, 5},
                                      {257, 17, 64},
                                      {1000, 40, 65},
                                      {700, 300, 7},
                                      {513, 129, 130},
                                      {40, 5, 40}}) {
    for (const double offset : {0.0, 3000.0}) {
      const Data data = blobs(++seed, n, columns, 6, 4.0, offset);
      const KmeansOptions options = options_of(k, seed, 3);
      const KmeansResult cpu = search(data, options, run_fused), gpu = search(data, options, run_blocks);
      EXPECT(cpu.labels == gpu.labels, "n", n, "columns", columns, "k", k, "offset", offset);
      EXPECT(cpu.iterations == gpu.iterations && cpu.reseeded == gpu.reseeded, cpu.iterations, gpu.iterations,
             cpu.reseeded, gpu.reseeded);
      EXPECT_NEAR(cpu.inertia, gpu.inertia, 1e-12 * cpu.inertia);
    }
  }
}

void the_order_of_blocks_has_no_influence() {
  const Data data = blobs(50, 3000, 33, 9, 0.7);
  const KmeansOptions options = options_of(9, 3, 4);
  const KmeansResult forwards = search(data, options, run_blocks);
  const KmeansResult backwards = search(data, options, run_blocks_backwards);
  EXPECT(forwards.labels == backwards.labels && forwards.inertia == backwards.inertia);
  EXPECT(forwards.iterations == backwards.iterations && forwards.iterations > 3, forwards.iterations);
}

// A stop by tol or by max_iter leaves labels that are older than the centroids: one more assignment follows.
void labels_belong_to_the_last_centroids() {
  const Data data = blobs(60, 2000, 20, 12, 0.5);
  for (int64_t max_iter = 1; max_iter <= 4; ++max_iter) {
    KmeansOptions options = options_of(12, 8, 2);
    options.max_iter = max_iter;
    EXPECT(search(data, options, run_fused).labels == search(data, options, run_blocks).labels, max_iter);
    options.max_iter = 300;
    options.tol = 0.3 / static_cast<double>(max_iter);
    EXPECT(search(data, options, run_fused).labels == search(data, options, run_blocks).labels, options.tol);
  }
}

void empty_clusters_are_refilled_alike() {
  int64_t reseeded = 0;
  for (uint64_t seed = 0; seed < 30; ++seed) {
    // Seeds that are the same row leave all clusters but the first without points.
    const Data data = blobs(70 + seed, 300, 3, 8, 2.0);
    const FusedData described = describe_rows(RowSet(data.rows(), 3));
    const Seeds seeds = {{0, 0, 0, 0, 1}, {static_cast<int64_t>(seed), 5, 5, 9, 9}};
    const KmeansOptions options = options_of(5, 0, 2);
    const FusedBatch cpu = run_fused({&described, 1}, {&seeds, 1}, options);
    const FusedBatch gpu = run_blocks({&described, 1}, {&seeds, 1}, options);
    for (size_t s = 0; s < 2; ++s) {
      EXPECT(cpu.starts[0][s].labels == gpu.starts[0][s].labels, "seed", seed, "start", s);
      EXPECT(cpu.starts[0][s].reseeded == gpu.starts[0][s].reseeded);
      reseeded += gpu.starts[0][s].reseeded;
    }
  }
  EXPECT(reseeded > 0, "no cluster was ever empty");
}

void data_sets_of_a_batch_do_not_mix() {
  std::vector<Data> sets;
  for (uint64_t i = 0; i < 3; ++i)
    sets.push_back(blobs(90 + i, 400, 12, 4, 3.0, 100.0 * static_cast<double>(i)));
  std::vector<FusedData> data;
  std::vector<Seeds> seeds;
  const KmeansOptions options = options_of(4, 1, 2);
  for (const Data& set : sets) {
    data.push_back(describe_rows(RowSet(set.rows(), 12)));
    seeds.push_back({{0, 1, 2, 3}, {10, 21, 32, 43}});
  }
  const FusedBatch together = run_blocks(data, seeds, options);
  for (size_t i = 0; i < sets.size(); ++i) {
    const FusedBatch alone = run_blocks({&data[i], 1}, {&seeds[i], 1}, options);
    for (size_t s = 0; s < 2; ++s) EXPECT(together.starts[i][s].labels == alone.starts[0][s].labels, i, s);
  }
}

void columns_are_centred() {
  constexpr int64_t kRows = 7, kWidth = 30;
  const Data data = blobs(99, kRows, kWidth, 2, 1.0, 1e5);
  std::vector<float> block;
  for (const auto& row : data.values) block.insert(block.end(), row.begin(), row.end());
  std::vector<double> out(block.size());
  for (int64_t c = 0; c < kWidth; ++c)
    EXPECT(cuda::centre_column(block.data(), kRows, kWidth, c, true, out.data()));
  for (int64_t c = 0; c < kWidth; ++c) {
    double mean = 0;
    for (int64_t i = 0; i < kRows; ++i)
      mean += static_cast<double>(block[static_cast<size_t>(i * kWidth + c)]) / kRows;
    for (int64_t i = 0; i < kRows; ++i) {
      const auto at = static_cast<size_t>(i * kWidth + c);
      EXPECT_NEAR(out[at], static_cast<double>(block[at]) - mean, 1e-9);
    }
  }
  block[65] = std::numeric_limits<float>::infinity();
  EXPECT(!cuda::centre_column(block.data(), kRows, kWidth, 5, true, out.data()));
  EXPECT(cuda::centre_column(block.data(), kRows, kWidth, 6, true, out.data()));
}

}  // namespace

int main() {
  return run("kmeans_blocks_test", [] {
    blocks_cluster_as_the_cpu_does();
    the_order_of_blocks_has_no_influence();
    labels_belong_to_the_last_centroids();
    empty_clusters_are_refilled_alike();
    data_sets_of_a_batch_do_not_mix();
    columns_are_centred();
  });
}
