// Weighted averages against arithmetic by hand.
#include "kmeans/average.h"

#include <ATen/Parallel.h>

#include <limits>

#include "check.h"
#include "core/philox.h"

namespace {

using namespace fltac;
using namespace fltac::test;

void averages_equal_hand_arithmetic() {
  const std::vector<float> a = {1, 2, 3}, b = {5, 6, -9};
  std::vector<float> out(3);
  const std::vector<const float*> rows = {a.data(), b.data()};
  weighted_average(rows, 3, std::vector<double>{1, 3}, out.data());
  EXPECT(out == (std::vector<float>{4, 5, -6}));
  weighted_average(rows, 3, std::vector<double>{0, 7}, out.data());
  EXPECT(out == b);
  weighted_average(std::span(rows).first(1), 3, std::vector<double>{12}, out.data());
  EXPECT(out == a);
}

// Long rows, in double, the same with one thread and two.
void long_averages_are_rounded_once() {
  constexpr int64_t kRows = 30, kColumns = 2000;
  std::vector<double> draws(kRows * kColumns);
  philox_doubles(1, 0, kRows * kColumns, draws.data());
  std::vector<std::vector<float>> values(kRows, std::vector<float>(kColumns));
  std::vector<const float*> rows;
  std::vector<double> weights;
  for (size_t i = 0; i < kRows; ++i) {
    for (size_t j = 0; j < kColumns; ++j) values[i][j] = static_cast<float>(1000 + draws[i * kColumns + j]);
    rows.push_back(values[i].data());
    weights.push_back(static_cast<double>(1 + i * i));
  }
  std::vector<float> out(kColumns), single(kColumns);
  weighted_average(rows, kColumns, weights, out.data());
  at::set_num_threads(1);
  weighted_average(rows, kColumns, weights, single.data());
  at::set_num_threads(2);
  EXPECT(out == single);
  for (size_t j = 0; j < kColumns; ++j) {
    double sum = 0, total = 0;
    for (size_t i = 0; i < kRows; ++i) {
      sum += weights[i] * static_cast<double>(values[i][j]);
      total += weights[i];
    }
    EXPECT_NEAR(static_cast<double>(out[j]), sum / total, 3.1e-5);  // half a float32 step at 1000
  }
}

void bad_input_is_named() {
  std::vector<float> a(600, 1.0f), b(600, 2.0f), out(600);
  const std::vector<const float*> rows = {a.data(), b.data()};
  const auto average = [&](std::vector<double> weights) { weighted_average(rows, 600, weights, out.data()); };
  EXPECT_FAILS(ErrorCode::Usage, "3 weights for 2 rows", average({1, 2, 3}));
  EXPECT_FAILS(ErrorCode::Usage, "weight 1", average({1, -1}));
  EXPECT_FAILS(ErrorCode::Usage, "weight 0", average({std::numeric_limits<double>::quiet_NaN(), 1}));
  EXPECT_FAILS(ErrorCode::Usage, "positive", average({0, 0}));
  EXPECT_FAILS(ErrorCode::Usage, "one row", weighted_average({}, 600, {}, out.data()));
  b[599] = std::numeric_limits<float>::infinity();
  EXPECT_FAILS(ErrorCode::NonFinite, "row 1 is inf at column 599", average({1, 1}));
}

}  // namespace

int main() {
  return run("average_test", [] {
    averages_equal_hand_arithmetic();
    long_averages_are_rounded_once();
    bad_input_is_named();
  });
}
