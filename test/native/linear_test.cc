// Frozen products in every form against sums in double.
#include "model/linear.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <cmath>
#include <limits>

#include "check.h"
#include "model/packed_weight.h"

namespace {

using namespace fltac;
using namespace fltac::test;

constexpr int64_t kRows = 37, kInputs = 200, kOutputs = 83;

struct Case {
  const char* device;
  at::ScalarType dtype;
  bool both_layouts;
  bool bias;
};

at::Tensor random(at::IntArrayRef shape, uint64_t seed) {
  return at::randn(shape, at::make_generator<at::CPUGeneratorImpl>(seed), at::kFloat);
}

// Largest |found - expected| over the largest |expected|.
double gap(const at::Tensor& found, const at::Tensor& expected) {
  EXPECT(found.scalar_type() == at::kFloat);
  EXPECT(found.sizes() == expected.sizes());
  return ((found.to(at::kDouble) - expected).abs().max() / expected.abs().max()).item<double>();
}

// x as a product with this type of weight sees it.
at::Tensor seen(const at::Tensor& x, const Case& c) {
  const bool rounds =
      c.dtype == at::kBFloat16 && std::string(c.device).starts_with("cpu") && bfloat16_path() != nullptr;
  return (rounds ? x.to(c.dtype) : x).to(at::kDouble);
}

void products_are_right(const Case& c) {
  const at::Tensor w = random({kOutputs, kInputs}, 1), wide = random({kRows, 3 * kInputs}, 2),
                   b = random({kOutputs}, 3), dy = random({kRows, kOutputs}, 4);
  const at::Tensor held = w.to(c.dtype), exact = held.to(at::kDouble);
  // Columns of a wider buffer.
  const at::Tensor x = wide.narrow(1, kInputs, kInputs);
  const Linear linear(held, c.bias ? b : at::Tensor(), {find_device(c.device), c.dtype, c.both_layouts});
  at::Tensor y = seen(x, c).mm(exact.t());
  if (c.bias) y = y + b.to(at::kDouble);
  const at::Tensor dx = seen(dy, c).mm(exact);
  // A bfloat16 result is rounded to 8 bits once; sums are float32.
  const double tolerance = c.dtype == at::kBFloat16 ? 0x1p-8 : 2e-6;
  EXPECT(gap(linear.forward(x), y) < tolerance, c.device, c.dtype, c.both_layouts, c.bias);
  EXPECT(gap(linear.input_gradient(dy), dx) < tolerance, c.device, c.dtype, c.both_layouts, c.bias);
  const at::Tensor sum = random({kRows, kInputs}, 5), expected = sum.to(at::kDouble) + dx;
  EXPECT(gap(linear.input_gradient(dy, sum), expected) < tolerance, c.device, c.dtype, c.both_layouts);
  EXPECT(gap(sum, expected) < tolerance, c.device, c.dtype, c.both_layouts);
  // One row and none.
  EXPECT(gap(linear.forward(x.narrow(0, 5, 1)), y.narrow(0, 5, 1)) < 2 * tolerance);
  EXPECT(linear.forward(x.narrow(0, 0, 0)).size(1) == kOutputs);

  const int64_t plain = held.nbytes() + (c.bias ? b.nbytes() : 0);
  const bool has_product = c.dtype == at::kFloat ? std::string(linear_path()) != "blas"
                                                 : c.dtype == at::kBFloat16 && bfloat16_path() != nullptr;
  const bool packs = c.both_layouts && std::string(c.device) == "cpu" && has_product;
  EXPECT(packs ? linear.bytes() > 2 * plain - 1000 : linear.bytes() == plain, linear.bytes(), plain);
}

void all_forms_agree() {
  for (const char* device : {"cpu", "portable"}) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
      for (const bool both : {true, false}) {
        for (const bool bias : {true, false}) products_are_right({device, dtype, both, bias});
      }
    }
  }
}

// Gradients are far below what float16 can hold, and each row's are of a size of their own.
void half_rows_keep_small_gradients() {
  const at::Tensor plain = random({8, kInputs}, 6);
  const at::Tensor sizes = at::tensor({1e-33f, 1e-20f, 6e-8f, 1e-3f, 1.0f, 3e4f, 1e30f, 0.0f}).unsqueeze(1);
  const at::Tensor x = plain * sizes;
  const HalfRows rows = half_rows(x);
  EXPECT(rows.values.scalar_type() == at::kHalf);
  const at::Tensor values = rows.values.to(at::kDouble);
  const at::Tensor largest = values.abs().amax(1);
  EXPECT(largest.narrow(0, 0, 7).ge(0x1p14).all().item<bool>(), largest);
  EXPECT(largest.le(0x1p15).all().item<bool>(), largest);
  const at::Tensor error = (values * rows.inverse - x.to(at::kDouble)).abs();
  EXPECT((error <= 0x1p-11 * x.to(at::kDouble).abs() + 0x1p-39 * x.to(at::kDouble).abs().amax(1, true))
             .all()
             .item<bool>(),
         error);
  // What is not a number stays none, and a row does not depend on the others.
  const at::Tensor odd = x.clone();
  odd[2][3] = std::numeric_limits<float>::infinity();
  odd[3][4] = std::nan("");
  const HalfRows of_odd = half_rows(odd);
  EXPECT((of_odd.values * of_odd.inverse)[2][3].isinf().item<bool>());
  EXPECT((of_odd.values * of_odd.inverse)[3][4].isnan().item<bool>());
  EXPECT(of_odd.values[4].equal(rows.values[4]));
  EXPECT(half_rows(x.narrow(0, 0, 0)).values.size(0) == 0);
  // Columns of a wider buffer.
  EXPECT(half_rows(x.narrow(1, 5, 20)).values.equal(half_rows(x.narrow(1, 5, 20).contiguous()).values));
}

void cuda_keeps_small_gradients() {
  if (cuda_devices() == 0) {
    std::cout << "skipped: no CUDA device\n";
    return;
  }
  const Device cuda = find_device("cuda:0");
  const at::Tensor w = random({kOutputs, kInputs}, 1).to(at::kHalf), dy = random({kRows, kOutputs}, 4) * 1e-9;
  const Linear linear(w.to(cuda.memory), {}, {cuda, at::kHalf, false});
  EXPECT(gap(linear.input_gradient(dy.to(cuda.memory)).to(at::kCPU),
             dy.to(at::kDouble).mm(w.to(at::kDouble))) < 1e-3);
}

void a_shared_weight_takes_no_memory_of_its_own() {
  const at::Tensor w = random({kOutputs, kInputs}, 1), x = random({kRows, kInputs}, 2);
  const WeightForm form{find_device("cpu"), at::kFloat, true};
  const Linear linear = Linear::shared(w, form);
  EXPECT(linear.bytes() == 0);
  EXPECT(linear.forward(x).equal(Linear(w, {}, {form.device, at::kFloat, false}).forward(x)));
}

bool has_packed_products(at::ScalarType dtype) {
  const bool has = PackedWeight::available(dtype);
  if (!has) std::cerr << "skipped: packed products of " << dtype << ", which this CPU has no use for\n";
  return has;
}

// Shapes about the product's own blocks: 12 rows, 32 columns, 512 of what is summed (of bfloat16 1,024), 8
// panels a task. Values of bfloat16 are products of float32 values rounded to it, so only the sums are off.
void packed_products_are_right_at_the_edges_of_blocks(at::ScalarType dtype) {
  if (!has_packed_products(dtype)) return;
  for (const int64_t rows : {1, 11, 12, 13, 120}) {
    for (const int64_t inner : {1, 2, 31, 33, 511, 512, 513, 1100}) {
      for (const int64_t columns : {1, 31, 32, 33, 256, 300}) {
        const at::Tensor x = random({rows, inner + 3}, 1).narrow(1, 2, inner),
                         b = random({inner, columns}, 2).to(dtype), bias = random({columns}, 3);
        const at::Tensor product = x.to(dtype).to(at::kDouble).mm(b.to(at::kDouble));
        const PackedWeight packed(b);
        const at::Tensor out = at::empty({rows, columns}, at::kFloat);
        // One chain of float32 sums, of up to 1,100 steps: with one row and column nothing averages out.
        const double tolerance = rows * columns < 1000 ? 4e-6 : 2e-6;
        packed.multiply(x, bias, false, out);
        EXPECT(gap(out, product + bias.to(at::kDouble)) < tolerance, dtype, rows, inner, columns);
        packed.multiply(x, {}, true, out);
        EXPECT(gap(out, 2 * product + bias.to(at::kDouble)) < tolerance, dtype, rows, inner, columns);
      }
    }
  }
}

void values_are_rounded_to_the_nearest_bfloat16() {
  if (!has_packed_products(at::kBFloat16)) return;
  const float inf = std::numeric_limits<float>::infinity();
  const at::Tensor x =
      at::tensor({1.0f, 1.00390625f, 1.01171875f, 1.0040f, -3.14159265f, 3.3e38f, 3.4e38f, inf, 1e-30f})
          .unsqueeze(1);
  const PackedWeight one(at::ones({1, 1}, at::kBFloat16));
  const at::Tensor out = at::empty_like(x);
  one.multiply(x, {}, false, out);
  EXPECT(out.equal(x.to(at::kBFloat16).to(at::kFloat)), out);
  one.multiply(at::full({1, 1}, std::nan("")), {}, false, out.narrow(0, 0, 1));
  EXPECT(std::isnan(out[0].item<float>()));
}

// A batch's result does not depend on what else is in the batch, nor on the threads.
void a_row_of_a_packed_product_has_the_same_bits_in_any_company(at::ScalarType dtype) {
  if (!has_packed_products(dtype)) return;
  const at::Tensor x = random({211, 700}, 1), b = random({700, 330}, 2).to(dtype);
  const PackedWeight packed(b);
  const auto product = [&](const at::Tensor& rows) {
    const at::Tensor out = at::empty({rows.size(0), 330}, at::kFloat);
    packed.multiply(rows, {}, false, out);
    return out;
  };
  const at::Tensor all = product(x);
  for (const int64_t row : {0, 5, 12, 100, 210}) {
    EXPECT(product(x.narrow(0, row, 1)).equal(all.narrow(0, row, 1)), row);
  }
  EXPECT(product(x.narrow(0, 7, 90)).equal(all.narrow(0, 7, 90)));
}

}  // namespace

int main() {
  return run("linear_test", [] {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      packed_products_are_right_at_the_edges_of_blocks(dtype);
      a_row_of_a_packed_product_has_the_same_bits_in_any_company(dtype);
    }
    values_are_rounded_to_the_nearest_bfloat16();
    all_forms_agree();
    half_rows_keep_small_gradients();
    cuda_keeps_small_gradients();
    a_shared_weight_takes_no_memory_of_its_own();
  });
}
