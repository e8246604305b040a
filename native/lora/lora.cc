#include "lora/lora.h"

#include <ATen/ATen.h>

#include "core/blas.h"

namespace fltac {
namespace {

// dropout(x), or x itself where nothing is dropped; `owner` keeps a drawn copy alive.
const float* dropped(const LoraProduct& product, const float* x, at::Tensor& owner) {
  if (!product.plan.rate.active()) return x;
  owner = at::empty({product.space.rows(), product.inputs}, at::kFloat);
  float* y = owner.mutable_data_ptr<float>();
  kernels::dropout(x, product.plan, product.space.rows(), product.inputs, y);
  return y;
}

}  // namespace

void lora_forward(const LoraProduct& product, const float* x, float* y, int64_t y_stride, float* z) {
  const int64_t rank = product.bank.spec().rank, inputs = product.inputs, outputs = product.outputs;
  at::Tensor owner;
  const float* xd = dropped(product, x, owner);
  for (const JobRows& job : product.space.jobs) {
    const int64_t rows = job.end - job.begin;
    const float* adapter = product.bank.row(job.bank_row);
    float* zj = z + job.begin * rank;
    gemm(false, true, rows, rank, inputs, 1.0f, xd + job.begin * inputs, inputs,
         adapter + product.slot.a_offset, inputs, 0.0f, zj, rank);
    gemm(false, true, rows, outputs, rank, product.bank.spec().scaling(), zj, rank,
         adapter + product.slot.b_offset, rank, 1.0f, y + job.begin * y_stride, y_stride);
  }
}

void lora_backward(const LoraProduct& product, const float* x, const float* dy, int64_t dy_stride,
                   const float* z, float* dx, GradientSink& sink) {
  const int64_t rank = product.bank.spec().rank, inputs = product.inputs, outputs = product.outputs;
  const float scaling = product.bank.spec().scaling();
  at::Tensor owner;
  const float* xd = dropped(product, x, owner);
  const at::Tensor dz = at::empty({product.space.rows(), rank}, at::kFloat);
  const at::Tensor dxd = dx ? at::empty({product.space.rows(), inputs}, at::kFloat) : at::Tensor();
  const at::Tensor da = at::empty({rank, inputs}, at::kFloat), db = at::empty({outputs, rank}, at::kFloat);
  for (size_t j = 0; j < product.space.jobs.size(); ++j) {
    const JobRows& job = product.space.jobs[j];
    const int64_t rows = job.end - job.begin;
    const float* adapter = product.bank.row(job.bank_row);
    const float* dyj = dy + job.begin * dy_stride;
    float* dzj = dz.mutable_data_ptr<float>() + job.begin * rank;
    gemm(false, false, rows, rank, outputs, scaling, dyj, dy_stride, adapter + product.slot.b_offset, rank,
         0.0f, dzj, rank);
    gemm(true, false, outputs, rank, rows, scaling, dyj, dy_stride, z + job.begin * rank, rank, 0.0f,
         db.mutable_data_ptr<float>(), rank);
    gemm(true, false, rank, inputs, rows, 1.0f, dzj, rank, xd + job.begin * inputs, inputs, 0.0f,
         da.mutable_data_ptr<float>(), inputs);
    if (dx) {
      gemm(false, false, rows, inputs, rank, 1.0f, dzj, rank, adapter + product.slot.a_offset, inputs, 0.0f,
           dxd.mutable_data_ptr<float>() + job.begin * inputs, inputs);
    }
    sink.take(j, product.slot.a_offset, da.const_data_ptr<float>(), da.numel());
    sink.take(j, product.slot.b_offset, db.const_data_ptr<float>(), db.numel());
  }
  if (dx) kernels::add_dropout(dxd.const_data_ptr<float>(), product.plan, product.space.rows(), inputs, dx);
}

}  // namespace fltac
