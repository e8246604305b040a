// The CPU's vectorised kernels against their formulas in double.
#include "model/kernels.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "check.h"
#include "model/small_product.h"

namespace {

using namespace fltac;
using namespace fltac::test;

// Values in (-2, 2), the same for the same seed.
std::vector<float> random(int64_t n, uint64_t seed) {
  std::vector<double> drawn(static_cast<size_t>(n));
  philox_doubles(seed, 1, n, drawn.data());
  std::vector<float> values;
  for (const double x : drawn) values.push_back(static_cast<float>(4.0 * x - 2.0));
  return values;
}

struct ProductCase {
  ProductShape shape;
  bool transposed;  // whether A is read across its rows
  bool add;
};

void products_equal_sums_in_double(const ProductCase& of) {
  const auto [m, n, k] = of.shape;
  const int64_t spare = 3;  // columns of the buffers beyond those of the product
  const int64_t b_stride = n + spare, c_stride = n + spare;
  const std::vector<float> a = random(m * k, 1), b = random(k * b_stride, 2),
                           before = random(m * c_stride, 3);
  std::vector<float> c = before;
  const StridedMatrix left{a.data(), of.transposed ? 1 : k, of.transposed ? m : 1};
  small_product(of.shape, left, {b.data(), b_stride}, of.add, c.data(), c_stride);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < c_stride; ++j) {
      const auto at = static_cast<size_t>(i * c_stride + j);
      double sum = of.add || j >= n ? before[at] : 0.0;
      for (int64_t l = 0; l < k && j < n; ++l) {
        sum += static_cast<double>(left.data[i * left.row + l * left.column]) *
               b[static_cast<size_t>(l * b_stride + j)];
      }
      // A float32 sum of k products of up to 4; columns beyond the product keep their bits.
      EXPECT_NEAR(c[at], sum, j < n ? 1e-6 * static_cast<double>(k) : 0.0);
    }
  }
}

void small_products() {
  for (const int64_t m : {1, 2, 3, 5, 6, 13}) {
    for (const int64_t n : {1, 8, 15, 16, 40, 64, 67}) {
      for (const int64_t k : {1, 7, 32}) {
        for (const bool transposed : {false, true}) {
          for (const bool add : {false, true}) products_equal_sums_in_double({{m, n, k}, transposed, add});
        }
      }
    }
  }
}

double phi(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

// Within a few float32 roundings of the exact form everywhere, far tails and odd lengths included.
void gelu_and_its_derivative() {
  std::vector<float> x{0.0f, -0.0f, 1e-30f, -100.0f, 100.0f, -1e18f, 1e18f};
  const size_t special = x.size();
  x.resize(special + 17520);
  for (size_t i = special; i < x.size(); ++i) x[i] = -12.0f + 0.00137f * static_cast<float>(i - special);
  const auto n = static_cast<int64_t>(x.size());
  std::vector<float> active(x.size()), with_tape(x.size()), tape = x, gradient(x.size(), 0.5f), kept = x;
  kernels::gelu(kept.data(), 1, n, false, active.data());
  kernels::gelu(tape.data(), 1, n, true, with_tape.data());
  kernels::gelu_backward(tape.data(), 1, n, gradient.data());
  EXPECT(kept == x);
  for (size_t i = 0; i < x.size(); ++i) {
    const double v = x[i];
    const double density = std::exp(-0.5 * v * v) / std::sqrt(2.0 * 3.14159265358979323846);
    EXPECT_NEAR(active[i], v * phi(v), 4e-7 * std::max(1.0, std::abs(v * phi(v))));
    EXPECT(active[i] == with_tape[i], "at", v);
    EXPECT_NEAR(gradient[i], 0.5 * (phi(v) + v * density), 2e-7);
  }
}

void rows_of_four() {
  for (const int64_t n : {1, 7, 16, 77, 384}) {
    const std::vector<float> rows = random(4 * n, 4), other = random(n, 5), factors = random(4, 6);
    const kernels::RowsOfFour four{rows.data(), rows.data() + n, rows.data() + 2 * n, rows.data() + 3 * n};
    float sums[4];
    kernels::dots(four, other.data(), n, sums);
    std::vector<float> y = other;
    kernels::combine(four, factors.data(), n, y.data());
    for (size_t r = 0; r < 4; ++r) {
      double sum = 0.0;
      for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(four[r][i]) * other[static_cast<size_t>(i)];
      EXPECT_NEAR(sums[r], sum, 1e-6 * static_cast<double>(n));
    }
    for (int64_t i = 0; i < n; ++i) {
      double sum = other[static_cast<size_t>(i)];
      for (size_t r = 0; r < 4; ++r) sum += static_cast<double>(factors[r]) * four[r][i];
      EXPECT_NEAR(y[static_cast<size_t>(i)], sum, 4e-6);
    }
  }
}

// The drawn words alone decide, and what is kept is scaled: the row kernels agree with Philox's plain form.
void dropped_rows() {
  const RowKey key{42, 9};
  for (const int64_t n : {1, 31, 128, 500}) {
    const std::vector<float> x = random(n, 7);
    const kernels::DropoutPlan plan{Dropout(0.1), 5, 17, &key};
    std::vector<uint16_t> words(static_cast<size_t>(padded_words(n)));
    std::vector<float> y(static_cast<size_t>(n)), sum = x;
    kernels::draw_row(x.data(), plan, 0, n, words.data(), y.data());
    kernels::add_masked_row(x.data(), plan.rate, words.data(), n, sum.data());
    for (size_t i = 0; i < y.size(); ++i) {
      EXPECT(y[i] == (words[i] < plan.rate.threshold ? 0.0f : x[i] * plan.rate.scale));
      EXPECT_NEAR(sum[i], x[i] + y[i], 1e-6);
    }
  }
}

}  // namespace

int main() {
  return fltac::test::run("kernels_test", [] {
    small_products();
    gelu_and_its_derivative();
    rows_of_four();
    dropped_rows();
  });
}
