#include "train/adamw.h"

#include <cmath>

namespace fltac {

void adamw(const kernels::AdamW& options, int64_t step, const at::Tensor& gradient, at::Tensor parameters,
           at::Tensor mean, at::Tensor square) {
  const double correction1 = 1.0 - std::pow(options.beta1, static_cast<double>(step));
  const double correction2 = 1.0 - std::pow(options.beta2, static_cast<double>(step));
  parameters.mul_(1.0 - options.lr * options.weight_decay);
  mean.lerp_(gradient, 1.0 - options.beta1);
  square.mul_(options.beta2).addcmul_(gradient, gradient, 1.0 - options.beta2);
  const at::Tensor root = square.sqrt().div_(std::sqrt(correction2)).add_(options.eps);
  parameters.addcdiv_(mean, root, -options.lr / correction1);
}

}  // namespace fltac
