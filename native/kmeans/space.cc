#include "kmeans/space.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "core/error.h"
#include "core/lanes.h"
#include "kmeans/products.h"

namespace fltac {
namespace {

// A tensor whose squared deviations are below this share of its squares differs between rows by no more than
// rounding does: float32 leaves 3.6e-15 of it.
constexpr double kNoDeviation = 1e-13;

// Rows of stacked factors in one tile: a tile of products stays in level-2 cache.
constexpr int64_t kTileRows = 96;

// One LoRA pair of every row: A [rank, inputs] and B [outputs, rank].
struct Pair {
  const NamedTensor* a = nullptr;
  const NamedTensor* b = nullptr;

  int64_t rank() const { return a->shape[0]; }
  int64_t inputs() const { return a->shape[1]; }
  int64_t outputs() const { return b->shape[0]; }
};

// What is added up into the whole Gram matrix: a range of columns as it is, or a pair's product.
struct Part {
  ColumnRange columns{0, 0};
  std::optional<Pair> pair;

  // Values of one row.
  int64_t size() const { return pair ? pair->inputs() * pair->outputs() : columns.end - columns.begin; }
};

void check_pair(const std::string& module, const Pair& pair) {
  if (pair.a == nullptr || pair.b == nullptr) {
    fail(ErrorCode::Shape, "module \"", module, "\" has only one of lora_A and lora_B: delta_w needs both");
  }
  if (pair.a->shape.size() != 2 || pair.b->shape.size() != 2 || pair.b->shape[1] != pair.a->shape[0]) {
    fail(ErrorCode::Shape, "the LoRA factors of \"", module, "\" do not fit: expected A [rank, inputs] and ",
         "B [outputs, rank]");
  }
}

std::vector<Part> delta_parts(const std::vector<NamedTensor>& tensors) {
  std::map<std::string, Pair> pairs;
  std::vector<Part> parts;
  for (const NamedTensor& tensor : tensors) {
    std::string module;
    switch (lora_factor(tensor.name, module)) {
      case Factor::kA:
        pairs[module].a = &tensor;
        break;
      case Factor::kB:
        pairs[module].b = &tensor;
        break;
      case Factor::kNone:
        parts.push_back({{tensor.offset, tensor.offset + tensor.size()}, std::nullopt});
    }
  }
  if (pairs.empty()) {
    fail(ErrorCode::Usage,
         "delta_w clusters the products of LoRA factors, but no tensor is named lora_A or lora_B: pass an "
         "adapter bank, adapter files or a layout, or use the space \"parameters\"");
  }
  for (const auto& [module, pair] : pairs) {
    check_pair(module, pair);
    parts.push_back({{0, 0}, pair});
  }
  return parts;
}

std::vector<Part> parts_of(const RowSet& rows, const SpaceOptions& options) {
  if (options.kind == SpaceOptions::Kind::kDeltaW) return delta_parts(rows.tensors());
  if (!options.standardize) return {{{0, rows.columns()}, std::nullopt}};
  if (rows.tensors().empty()) {
    fail(ErrorCode::Usage,
         "standardize works tensor by tensor, but the rows are a plain matrix: pass an adapter ",
         "bank, adapter files or a layout");
  }
  std::vector<Part> parts;
  for (const NamedTensor& tensor : rows.tensors())
    parts.push_back({{tensor.offset, tensor.offset + tensor.size()}, std::nullopt});
  return parts;
}

// The factors of one pair, of all rows. Vectors of adapter i: row r of A, column r of B.
struct Factors {
  const ColumnBlock& a;
  const ColumnBlock& b;
  int64_t n, rank, inputs, outputs;
};

// Copies vectors of adapters [first, last), values [from, from + width), to rows of `out` in double.
void pack_a(const Factors& f, int64_t first, int64_t last, int64_t from, int64_t width, double* out) {
  for (int64_t i = first; i < last; ++i) {
    for (int64_t r = 0; r < f.rank; ++r, out += kProductStride<double>) {
      const float* x = f.a.rows[static_cast<size_t>(i)] + r * f.inputs + from;
      std::copy_n(x, width, out);
      std::fill(out + width, out + padded_columns(width), 0.0);
    }
  }
}

void pack_b(const Factors& f, int64_t first, int64_t last, int64_t from, int64_t width, double* out) {
  for (int64_t i = first; i < last; ++i) {
    for (int64_t r = 0; r < f.rank; ++r, out += kProductStride<double>) {
      const float* x = f.b.rows[static_cast<size_t>(i)] + from * f.rank + r;
      for (int64_t c = 0; c < width; ++c) out[c] = x[c * f.rank];
      std::fill(out + width, out + padded_columns(width), 0.0);
    }
  }
}

// A tile of the Gram matrix: adapters `is` against `js`.
class DeltaTile {
 public:
  DeltaTile(const Factors& f, ColumnRange is, ColumnRange js)
      : f_(f),
        is_(is),
        js_(js),
        left_(buffer()),
        right_(buffer()),
        products_{std::vector<double>(square()), std::vector<double>(square())} {}

  // Adds the tile's products to gram [n, n], at (i, j) only.
  void add_to(std::vector<double>& gram) {
    multiply(f_.inputs, pack_a, products_[0]);
    multiply(f_.outputs, pack_b, products_[1]);
    const int64_t r = f_.rank, ld = vectors(js_);
    for (int64_t i = is_.begin; i < is_.end; ++i) {
      for (int64_t j = js_.begin; j < js_.end; ++j) {
        const int64_t at = (i - is_.begin) * r * ld + (j - js_.begin) * r;
        double sum = 0;
        for (int64_t p = 0; p < r; ++p) {
          for (int64_t q = 0; q < r; ++q) {
            const auto entry = static_cast<size_t>(at + p * ld + q);
            sum += products_[0][entry] * products_[1][entry];
          }
        }
        gram[static_cast<size_t>(i * f_.n + j)] += sum;
      }
    }
  }

 private:
  int64_t vectors(ColumnRange adapters) const { return (adapters.end - adapters.begin) * f_.rank; }
  LineVector<double> buffer() const {
    const int64_t most = std::max(vectors(is_), vectors(js_));
    return LineVector<double>(static_cast<size_t>(padded_rows(most) * kProductStride<double>));
  }
  size_t square() const { return static_cast<size_t>(vectors(is_) * vectors(js_)); }

  template <typename Pack>
  void multiply(int64_t length, Pack pack, std::vector<double>& out) {
    for (int64_t from = 0; from < length; from += kProductColumns<double>) {
      const int64_t width = std::min(kProductColumns<double>, length - from);
      pack(f_, is_.begin, is_.end, from, width, left_.data());
      pack(f_, js_.begin, js_.end, from, width, right_.data());
      add_products(left_.data(), {0, vectors(is_)}, right_.data(), {0, vectors(js_)}, padded_columns(width),
                   false, out.data(), vectors(js_));
    }
  }

  const Factors& f_;
  ColumnRange is_, js_;
  LineVector<double> left_, right_;
  std::vector<double> products_[2];  // of A's and of B's vectors: [vectors of is, vectors of js]
};

std::vector<double> gram_of_pair(const RowSet& rows, const Pair& pair) {
  const ColumnBlock a = rows.read(pair.a->offset, pair.a->size());
  const ColumnBlock b = rows.read(pair.b->offset, pair.b->size());
  const Factors f{a, b, rows.rows(), pair.rank(), pair.inputs(), pair.outputs()};
  const int64_t step = std::max<int64_t>(1, kTileRows / f.rank);
  const int64_t tiles = (f.n + step - 1) / step;
  std::vector<double> gram(static_cast<size_t>(f.n * f.n));
  at::parallel_for(0, tiles * (tiles + 1) / 2, 1, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      int64_t low = unit, high = 0;
      while (low > high) low -= ++high;
      DeltaTile(f, {low * step, std::min(f.n, (low + 1) * step)},
                {high * step, std::min(f.n, (high + 1) * step)})
          .add_to(gram);
    }
  });
  for (int64_t i = 0; i < f.n; ++i) {
    for (int64_t j = 0; j < i; ++j)
      gram[static_cast<size_t>(i * f.n + j)] = gram[static_cast<size_t>(j * f.n + i)];
  }
  return gram;
}

// A product of finite factors overflows double only where a factor is NaN or infinite: names it.
void check_finite(const RowSet& rows, const std::vector<double>& gram, const Pair& pair) {
  if (std::all_of(gram.begin(), gram.end(), [](double x) { return std::isfinite(x); })) return;
  for (const NamedTensor* tensor : {pair.a, pair.b}) {
    const ColumnBlock block = rows.read(tensor->offset, tensor->size());
    for (int64_t c = 0; c < tensor->size(); ++c) {
      std::vector<float> values;
      for (const float* row : block.rows) values.push_back(row[c]);
      const auto finite = [](float x) { return std::isfinite(x); };
      if (!std::all_of(values.begin(), values.end(), finite))
        fail_non_finite(rows, values, tensor->offset + c);
    }
  }
}

std::vector<double> gram_of_part(const RowSet& rows, const Part& part, Origin origin, ColumnGram column_gram,
                                 const Cancelled& cancelled) {
  if (!part.pair) return column_gram(rows, part.columns, origin, cancelled);
  stop_if_cancelled(cancelled);
  std::vector<double> gram = gram_of_pair(rows, *part.pair);
  check_finite(rows, gram, *part.pair);
  return gram;
}

// 1 over the variance of a part's values around their means; 0 where they do not vary.
double inverse_variance(std::vector<double> gram, int64_t n, int64_t size) {
  const double squares = trace(gram, n);
  centre_gram(gram, n);
  const double deviations = trace(gram, n);
  if (!(deviations > kNoDeviation * squares)) return 0;
  return static_cast<double>(n) * static_cast<double>(size) / deviations;
}

void scale_to_unit_length(const RowSet& rows, std::vector<double>& gram) {
  const int64_t n = rows.rows();
  std::vector<double> length(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    const double squared = gram[static_cast<size_t>(i * (n + 1))];
    if (!(squared > 0)) {
      fail(ErrorCode::Usage, rows.row_name(i),
           " is all zeros and has no direction: cosine cannot compare it");
    }
    length[static_cast<size_t>(i)] = std::sqrt(squared);
  }
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j)
      gram[static_cast<size_t>(i * n + j)] /= length[static_cast<size_t>(i)] * length[static_cast<size_t>(j)];
  }
}

}  // namespace

Factor lora_factor(const std::string& name, std::string& module) {
  const size_t a = name.find(".lora_A."), b = name.find(".lora_B.");
  const size_t at = std::min(a, b);
  if (at == std::string::npos) return Factor::kNone;
  module = name.substr(0, at) + name.substr(at + 8);
  return a < b ? Factor::kA : Factor::kB;
}

int64_t feature_count(const RowSet& rows, const SpaceOptions& options) {
  int64_t count = 0;
  for (const Part& part : parts_of(rows, options)) count += part.size();
  return count;
}

std::vector<double> feature_gram(const RowSet& rows, const SpaceOptions& options, ColumnGram column_gram,
                                 const Cancelled& cancelled) {
  const int64_t n = rows.rows();
  const Origin origin = options.cosine ? Origin::kZero : Origin::kMean;
  const std::vector<Part> parts = parts_of(rows, options);
  if (options.plain()) return column_gram(rows, parts.front().columns, origin, cancelled);
  std::vector<double> gram(static_cast<size_t>(n * n));
  for (const Part& part : parts) {
    const std::vector<double> one = gram_of_part(rows, part, origin, column_gram, cancelled);
    const double weight = options.standardize ? inverse_variance(one, n, part.size()) : 1.0;
    for (size_t i = 0; i < gram.size(); ++i) gram[i] += weight * one[i];
  }
  if (options.cosine) scale_to_unit_length(rows, gram);
  centre_gram(gram, n);
  return gram;
}

}  // namespace fltac
