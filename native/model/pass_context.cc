#include "model/pass_context.h"

namespace fltac {
namespace {

uint32_t layer_site(int64_t layer) { return 16 * (static_cast<uint32_t>(layer) + 1); }

int64_t lowest_adapted(const AdapterBank& bank) {
  const Architecture& a = bank.backbone().architecture();
  for (int64_t layer = 0; layer < a.layers; ++layer) {
    for (const Role role : kRoles) {
      if (bank.layout().slot(layer, role)) return layer;
    }
  }
  return a.layers;
}

OutputTargets targets_of(const PackedBatch& batch) {
  OutputTargets targets{batch.targets, {}};
  for (const JobRows& job : batch.outputs.jobs) {
    const int64_t count = job.end - job.begin;
    targets.counts.insert(targets.counts.end(), static_cast<size_t>(count), static_cast<double>(count));
  }
  return targets;
}

}  // namespace

PassContext::PassContext(const AdapterBank& adapters, const PackedBatch& packed, PassOptions settings)
    : bank(adapters),
      batch(packed),
      options(settings),
      backbone(bank.backbone()),
      architecture(backbone.architecture()),
      first_adapted(lowest_adapted(bank)),
      targets(targets_of(batch)),
      bank_view_(bank),
      tensor_ops_(make_tensor_ops(tables_)) {
  for (size_t s = 0; s < static_cast<size_t>(batch.sequence_count()); ++s) {
    const int64_t first = batch.offsets[s], tokens = batch.offsets[s + 1] - first;
    const int64_t output = batch.output_offsets[s], outputs = batch.output_offsets[s + 1] - output;
    int64_t first_key = first, keys = tokens;
    if (options.cache) {
      first_key = options.cache->first_row(batch.places[s].slot);
      keys = batch.places[s].place + tokens;
    }
    rows_.push_back({first, tokens, first_key, keys});
    last_rows_.push_back({output, outputs, first_key, keys});
  }
  if (architecture.family->positions != Positions::Rotary) return;
  rotary.emplace(architecture, batch.positions);
  for (const int64_t row : batch.output_rows) {
    output_positions_.push_back(batch.positions[static_cast<size_t>(row)]);
  }
}

const Ops& PassContext::ops(int64_t layer) const { return ops_on(backbone.placement().layer(layer)); }
const Ops& PassContext::embedding_ops() const { return ops_on(backbone.placement().embedding()); }
const Ops& PassContext::output_ops() const { return ops_on(backbone.placement().output()); }

std::span<const int32_t> PassContext::query_positions(int64_t layer) const {
  return is_last(layer) ? output_positions_ : batch.positions;
}

AttentionShape PassContext::attention_shape(int64_t layer) const {
  const Architecture& a = architecture;
  const bool causal = a.family->output == Output::NextToken;
  return {a.heads, a.kv_heads, a.head_dim, sequence_rows(layer),
          causal ? query_positions(layer).data() : nullptr, a.window_of(layer),
          // A whole model in training has weights of its own, in float32.
          bank.spec().full ? at::kFloat : backbone.weight_type().dtype};
}

kernels::DropoutPlan PassContext::attention_dropout(int64_t layer) const {
  return layer_plan(architecture.attention_dropout, layer, kAttention, batch.sequences);
}

kernels::DropoutPlan PassContext::plan(double rate, uint32_t site, const RowSpace& space) const {
  return {Dropout(options.dropout ? rate : 0.0), options.step, site, space.keys.data()};
}

kernels::DropoutPlan PassContext::layer_plan(double rate, int64_t layer, uint32_t site,
                                             const RowSpace& space) const {
  return plan(rate, layer_site(layer) + site, space);
}

void LayerLora::add(Role role, const RowSpace& space, const at::Tensor& x, const at::Tensor& y) {
  const auto& slot = pass_.bank.layout().slot(layer_, role);
  if (!slot) return;
  at::Tensor& z = z_[static_cast<size_t>(role)];
  z = buffer(space.rows(), pass_.bank.spec().rank, x);
  pass_.ops(layer_).lora(product(role, *slot, space, x.size(1), y.size(1)), x, y, z);
}

void LayerLora::take(Role role, const RowSpace& space, const at::Tensor& x, const at::Tensor& dy,
                     const at::Tensor& dx, GradientSink& sink) const {
  const auto& slot = pass_.bank.layout().slot(layer_, role);
  if (!slot) return;
  pass_.ops(layer_).lora_backward(product(role, *slot, space, x.size(1), dy.size(1)), x, dy,
                                  z_[static_cast<size_t>(role)], dx, sink);
}

LoraProduct LayerLora::product(Role role, const LoraSlot& slot, const RowSpace& space, int64_t inputs,
                               int64_t outputs) const {
  const uint32_t site = kLora + static_cast<uint32_t>(role);
  return {pass_.bank,
          pass_.adapters(),
          space,
          slot,
          inputs,
          outputs,
          pass_.layer_plan(pass_.bank.spec().dropout, layer_, site, space)};
}

}  // namespace fltac
