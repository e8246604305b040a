// Takes a backbone's tensors out of its files by name.
#pragma once

#include <ATen/ATen.h>

#include <set>
#include <string>
#include <vector>

#include "model/architecture.h"
#include "model/backbone.h"
#include "model/linear.h"
#include "model/safetensors.h"

namespace fltac {

// A linear module in the files: its possible names, its weight's shape there (outputs first), whether it has
// a bias.
struct ModuleShape {
  std::vector<std::string> names;
  std::vector<int64_t> shape;
  bool bias;
};

// Knows every spelling of a name and keeps count of the tensors never asked for. Each tensor is read straight
// into the memory that holds it, and converted on the way.
class WeightSource {
 public:
  // `where` names the model in errors. The model must outlive the source.
  WeightSource(const SafetensorsModel& model, const Architecture& architecture, std::string where);

  // The name a tensor has in the files, given its possible names: with or without the family's prefix; old
  // files call a LayerNorm's weight and bias gamma and beta, as TensorFlow did. Empty where it is not there.
  std::string find(const std::vector<std::string>& names) const;

  // Throws MissingWeight, Shape.
  at::Tensor take(const std::vector<std::string>& names, const std::vector<int64_t>& shape,
                  const at::TensorOptions& options);
  // The same into `destination`, contiguous, of as many values.
  void take_into(const std::vector<std::string>& names, const std::vector<int64_t>& shape,
                 const at::Tensor& destination);
  // A tensor by its name in the files, whatever its shape, as float32 on the CPU.
  at::Tensor take_any(const std::string& found);
  // The outputs of all modules in turn, as one; all have a bias or none.
  Linear linear(const std::vector<ModuleShape>& modules, const WeightForm& form);
  Norm norm(const std::vector<std::string>& modules, int64_t n, NormKind kind, const WeightForm& form);

  // Counts a tensor as used without reading it.
  void ignore(const std::vector<std::string>& names);
  // What was never asked for, but for buffers that old versions of transformers saved: position numbers and
  // rotary frequencies.
  std::vector<std::string> left() const;

 private:
  const SafetensorsModel& model_;
  std::string prefix_;
  std::string where_;
  std::set<std::string> left_;
};

}  // namespace fltac
