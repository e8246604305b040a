#include "lora/factor_mean.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <vector>

#include "core/error.h"

namespace fltac {
namespace {

// One module's factors in the flat adapter.
struct Pair {
  int64_t a, b;  // offsets
  int64_t rank, inputs, outputs;
};

std::vector<Pair> pairs_of(const AdapterLayout& layout) {
  std::map<int64_t, const AdapterTensor*> by_offset;
  for (const AdapterTensor& tensor : layout.tensors) by_offset[tensor.offset] = &tensor;
  std::vector<Pair> pairs;
  for (const std::optional<LoraSlot>& slot : layout.slots) {
    if (!slot) continue;
    const AdapterTensor& a = *by_offset.at(slot->a_offset);
    const AdapterTensor& b = *by_offset.at(slot->b_offset);
    pairs.push_back({slot->a_offset, slot->b_offset, a.shape[0], a.shape[1], b.shape[0]});
  }
  return pairs;
}

std::vector<double> shares(std::span<const double> weights, size_t rows) {
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  const bool sound = std::all_of(weights.begin(), weights.end(), [](double w) { return w >= 0; });
  if (rows == 0 || weights.size() != rows || !sound || !(total > 0) || !std::isfinite(total)) {
    fail(ErrorCode::Usage,
         "a mean of products needs one weight a row, none negative, of a positive sum: found ",
         weights.size(), " weights of sum ", total, " for ", rows, " rows");
  }
  std::vector<double> result(weights.begin(), weights.end());
  for (double& weight : result) weight /= total;
  return result;
}

at::Tensor matrix(const float* values, int64_t rows, int64_t columns) {
  return at::from_blob(const_cast<float*>(values), {rows, columns}, at::kFloat).to(at::kDouble);
}

// ||left right||^2 for left [outputs, n] and right [n, inputs], by whichever of both ways is smaller.
double squared_norm(const at::Tensor& left, const at::Tensor& right) {
  if (left.size(1) > std::min(left.size(0), right.size(1))) {
    return at::matmul(left, right).square().sum().item<double>();
  }
  const at::Tensor product = at::matmul(left.t(), left) * at::matmul(right, right.t());
  // A sum of squares, but for rounding.
  return std::max(0.0, product.sum().item<double>());
}

// The stacked factors of one module: B's columns carry the weights.
struct Stack {
  at::Tensor b;  // [outputs, n rank]
  at::Tensor a;  // [n rank, inputs]
};

struct Module {
  Stack factors;
  Stack deviations;   // from the means: sum w_i (B_i - mean B)(A_i - mean A) is the error
  at::Tensor mean_a;  // [rank, inputs]
};

Module read_module(const Pair& pair, std::span<const float* const> rows, std::span<const double> weights) {
  std::vector<at::Tensor> a, b;
  at::Tensor mean_a = at::zeros({pair.rank, pair.inputs}, at::kDouble);
  at::Tensor mean_b = at::zeros({pair.outputs, pair.rank}, at::kDouble);
  for (size_t i = 0; i < rows.size(); ++i) {
    a.push_back(matrix(rows[i] + pair.a, pair.rank, pair.inputs));
    b.push_back(matrix(rows[i] + pair.b, pair.outputs, pair.rank));
    mean_a.add_(a.back(), weights[i]);
    mean_b.add_(b.back(), weights[i]);
  }
  std::vector<at::Tensor> weighted, away_a, away_b;
  for (size_t i = 0; i < rows.size(); ++i) {
    weighted.push_back(b[i] * weights[i]);
    away_a.push_back(a[i] - mean_a);
    away_b.push_back((b[i] - mean_b) * weights[i]);
  }
  return {{at::cat(weighted, 1), at::cat(a, 0)}, {at::cat(away_b, 1), at::cat(away_a, 0)}, mean_a};
}

void write(const at::Tensor& values, float* out) {
  const at::Tensor flat = values.to(at::kFloat).contiguous();
  std::copy_n(flat.const_data_ptr<float>(), flat.numel(), out);
}

// Writes the factors of the mean product; returns the squared norm that the rank cuts off.
double factor(const Pair& pair, const Module& module, float* out) {
  const auto [qb, rb] = at::linalg_qr(module.factors.b);
  const auto [qa, ra] = at::linalg_qr(module.factors.a.t());
  const auto [u, s, vh] = at::linalg_svd(at::matmul(rb, ra.t()), /*full_matrices=*/false);
  const int64_t known = s.numel(), kept = std::min(pair.rank, known);
  at::Tensor b = at::zeros({pair.outputs, pair.rank}, at::kDouble);
  at::Tensor a = module.mean_a.clone();
  const at::Tensor left = at::matmul(qb, u.slice(1, 0, kept));
  const at::Tensor right = at::matmul(vh.slice(0, 0, kept), qa.t());
  const double largest = known > 0 ? s[0].item<double>() : 0;
  for (int64_t k = 0; k < kept; ++k) {
    const double value = s[k].item<double>();
    if (!(value > largest * 1e-12)) break;
    const at::Tensor column = left.select(1, k);
    const double peak = column[column.abs().argmax()].item<double>();
    const double root = peak < 0 ? -std::sqrt(value) : std::sqrt(value);
    b.select(1, k).copy_(column * root);
    a.select(0, k).copy_(right.select(0, k) * root);
  }
  write(a, out + pair.a);
  write(b, out + pair.b);
  return kept < known ? s.slice(0, kept).square().sum().item<double>() : 0.0;
}

}  // namespace

FactorMean mean_of_products(const AdapterLayout& layout, std::span<const float* const> rows,
                            std::span<const double> weights, float* factored) {
  const std::vector<double> share = shares(weights, rows.size());
  FactorMean sum;
  for (const Pair& pair : pairs_of(layout)) {
    const Module module = read_module(pair, rows, share);
    sum.mean += squared_norm(module.factors.b, module.factors.a);
    if (rows.size() == 1) continue;
    sum.error += squared_norm(module.deviations.b, module.deviations.a);
    if (!std::isfinite(sum.mean)) fail(ErrorCode::NonFinite, "the mean of the products B A is not finite");
    if (factored != nullptr) sum.lost += factor(pair, module, factored);
  }
  return sum;
}

}  // namespace fltac
