#include "lora/bank.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/philox.h"
#include "model/safetensors.h"
#include "model/weight_source.h"

namespace fltac {
namespace {

// Random sites of initialise: the tensor's number in the layout; these for a head, so that a trained and a
// frozen head of one stream start alike.
enum HeadSite : uint32_t { kHeadOut = 0x40000000, kHeadDense = 0x40000001 };

void fill_uniform(uint64_t stream, uint32_t site, double bound, int64_t n, float* out) {
  std::vector<double> u(static_cast<size_t>(n));
  philox_doubles(stream, site, n, u.data());
  std::transform(u.begin(), u.end(), out,
                 [bound](double x) { return static_cast<float>((2.0 * x - 1.0) * bound); });
}

// Box-Muller.
void fill_normal(uint64_t stream, uint32_t site, double deviation, int64_t n, float* out) {
  std::vector<double> u(static_cast<size_t>(2 * n));
  philox_doubles(stream, site, 2 * n, u.data());
  for (int64_t i = 0; i < n; ++i) {
    const auto at = static_cast<size_t>(2 * i);
    const double radius = std::sqrt(-2.0 * std::log(u[at]));
    out[i] = static_cast<float>(deviation * radius * std::cos(2.0 * std::numbers::pi * u[at + 1]));
  }
}

// A uniform, all else zero.
void draw_lora(const AdapterLayout& layout, uint64_t stream, float* flat) {
  uint32_t site = 0;
  for (const AdapterTensor& tensor : layout.tensors) {
    ++site;
    if (tensor.name.find(".lora_A.") != std::string::npos) {
      const double bound = 1.0 / std::sqrt(static_cast<double>(tensor.shape[1]));
      fill_uniform(stream, site, bound, tensor.size(), flat + tensor.offset);
    } else {
      std::fill_n(flat + tensor.offset, tensor.size(), 0.0f);
    }
  }
}

// The backbone's weights as its files have them.
void read_weights(const Backbone& backbone, const AdapterLayout& layout, float* flat) {
  const SafetensorsModel files = SafetensorsModel::open(backbone.folder());
  WeightSource source(files, backbone.architecture(), backbone.folder());
  std::set<std::string> given;
  for (const TensorShape& tensor : full_tensors(backbone.architecture())) given.insert(tensor.name);
  for (const AdapterTensor& tensor : layout.tensors) {
    if (!given.contains(tensor.name)) continue;
    std::vector<std::string> names{tensor.name};
    if (!tensor.also.empty()) names.push_back(tensor.also);
    source.take_into(names, tensor.shape, at::from_blob(flat + tensor.offset, tensor.shape, at::kFloat));
  }
}

// The checkpoint's weights of a head's module, else what transformers draws for a new one.
void initialise_head(const std::optional<HeadSlot>& slot, const at::Tensor& weight, const at::Tensor& bias,
                     double deviation, uint64_t stream, HeadSite site, float* values) {
  if (!slot) return;
  if (weight.defined()) {
    std::copy_n(weight.const_data_ptr<float>(), slot->outputs * slot->inputs, values + slot->weight);
    std::copy_n(bias.const_data_ptr<float>(), slot->outputs, values + slot->bias);
    return;
  }
  fill_normal(stream, site, deviation, slot->outputs * slot->inputs, values + slot->weight);
  std::fill_n(values + slot->bias, slot->outputs, 0.0f);
}

}  // namespace

AdapterBank::AdapterBank(std::shared_ptr<const Backbone> backbone, AdapterSpec spec, int64_t rows)
    : backbone_(std::move(backbone)),
      spec_(std::move(spec)),
      layout_(make_layout(backbone_->architecture(), spec_)) {
  if (rows < 1 || rows > 10'000'000)
    fail(ErrorCode::Usage, "an adapter bank needs 1 or more rows, found ", rows);
  const at::Tensor& head = backbone_->head.out_weight;
  if (head.defined() && head.size(0) != spec_.num_labels) {
    fail(ErrorCode::Shape, "the model's classification head has ", head.size(0), " labels, the tasks have ",
         spec_.num_labels, "; use a model without a head or tasks with as many labels");
  }
  data_ = at::zeros({rows, layout_.size}, at::kFloat);
  frozen_head_ = at::zeros({layout_.frozen_head_size}, at::kFloat);
}

int64_t AdapterBank::bytes() const { return static_cast<int64_t>(data_.nbytes() + frozen_head_.nbytes()); }

const float* AdapterBank::row(int64_t index) const {
  if (index < 0 || index >= rows()) {
    fail(ErrorCode::Usage, "the bank has rows 0 to ", rows() - 1, ", row ", index, " was asked for");
  }
  return data_.const_data_ptr<float>() + index * layout_.size;
}

float* AdapterBank::row(int64_t index) { return const_cast<float*>(std::as_const(*this).row(index)); }

const float* AdapterBank::head_values(int64_t index) const {
  if (spec_.trains_head()) return row(index);
  if (!head_made_) {
    fail(ErrorCode::Usage, "this bank's frozen head was never made; initialise one of its rows first");
  }
  return frozen_head_.const_data_ptr<float>();
}

const float* AdapterBank::head_weight(int64_t index, const HeadSlot& slot) const {
  return head_values(index) + slot.weight;
}

const float* AdapterBank::head_bias(int64_t index, const HeadSlot& slot) const {
  return head_values(index) + slot.bias;
}

void AdapterBank::initialise(int64_t index, uint64_t stream) {
  float* flat = row(index);
  if (spec_.full) {
    read_weights(*backbone_, layout_, flat);
  } else {
    draw_lora(layout_, stream, flat);
  }
  float* head = spec_.trains_head() ? flat : frozen_head_.mutable_data_ptr<float>();
  const HeadWeights& given = backbone_->head;
  const double deviation = backbone_->architecture().initializer_range;
  initialise_head(layout_.head_dense, given.dense_weight, given.dense_bias, deviation, stream, kHeadDense,
                  head);
  initialise_head(layout_.head_out, given.out_weight, given.out_bias, deviation, stream, kHeadOut, head);
  head_made_ = true;
}

}  // namespace fltac
