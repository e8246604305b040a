// Takes a backbone's tensors out of its files by name.
#pragma once

#include <ATen/ATen.h>

#include <set>
#include <string>
#include <vector>

#include "model/architecture.h"
#include "model/backbone.h"
#include "model/safetensors.h"

namespace fltac {

// A linear module as in the files: weight [outputs, inputs] and bias [outputs], undefined where it has none.
struct Parameters {
  at::Tensor weight, bias;
  Linear linear() const { return {weight, bias}; }
};

// Outputs of all parts in turn; all with a bias or none.
Parameters stack(const std::vector<Parameters>& parts);

// Knows every spelling of a name and keeps count of the tensors never asked for.
class WeightSource {
 public:
  // `where` names the model in errors. The model must outlive the source.
  WeightSource(const SafetensorsModel& model, const Architecture& architecture, std::string where);

  // The name a tensor has in the files, given its possible names: with or without the family's prefix; old
  // files call a LayerNorm's weight and bias gamma and beta, as TensorFlow did. Empty where it is not there.
  std::string find(const std::vector<std::string>& names) const;

  // Throws MissingWeight, Shape.
  at::Tensor take(const std::vector<std::string>& names, const std::vector<int64_t>& shape);
  // A tensor by its name in the files, whatever its shape.
  at::Tensor take_any(const std::string& found);
  Parameters parameters(const std::vector<std::string>& modules, std::vector<int64_t> shape, bool bias);
  Norm norm(const std::vector<std::string>& modules, int64_t n, NormKind kind);

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
