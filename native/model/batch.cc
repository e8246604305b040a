#include "model/batch.h"

#include <algorithm>

namespace fltac {

void PackedBatch::begin_job(int64_t bank_row) {
  tokens.jobs.push_back({bank_row, tokens.rows(), tokens.rows()});
  sequences.jobs.push_back({bank_row, sequences.rows(), sequences.rows()});
  outputs.jobs.push_back({bank_row, outputs.rows(), outputs.rows()});
}

void PackedBatch::end_job() {
  for (RowSpace* space : {&tokens, &sequences, &outputs}) space->jobs.back().end = space->rows();
}

void PackedBatch::add_token(uint64_t stream) {
  const auto row = static_cast<uint32_t>(tokens.rows() - tokens.jobs.back().begin);
  tokens.keys.push_back({stream, row});
}

void PackedBatch::add_output(uint64_t stream, int64_t row, uint32_t key, int32_t target) {
  output_rows.push_back(row);
  outputs.keys.push_back({stream, key});
  targets.push_back(target);
}

void PackedBatch::end_sequence(uint64_t stream) {
  const auto row = static_cast<uint32_t>(sequences.rows() - sequences.jobs.back().begin);
  sequences.keys.push_back({stream, row});
  offsets.push_back(token_count());
  output_offsets.push_back(output_count());
}

void PackedBatch::add_sequence(uint64_t stream, const Sequences& source, size_t index,
                               const Architecture& architecture) {
  const auto from = static_cast<size_t>(source.offsets[index]);
  const auto to = static_cast<size_t>(source.offsets[index + 1]);
  const auto first = static_cast<int32_t>(architecture.first_position);
  int32_t place = 0;
  for (size_t t = from; t < to; ++t) {
    const bool padding = source.ids[t] == architecture.padding_id;
    ids.push_back(source.ids[t]);
    types.push_back(architecture.types == 0 || source.types.empty() ? 0 : source.types[t]);
    positions.push_back(padding ? first - 1 : first + place);
    if (!padding) ++place;
    add_token(stream);
  }
  const int64_t row = offsets.back();
  if (architecture.family->output == Output::Classes) {
    add_output(stream, row, static_cast<uint32_t>(sequences.rows() - sequences.jobs.back().begin),
               source.labels[index]);
  } else {
    for (size_t t = from + 1; t < to; ++t) {
      if (source.labels[t] == kIgnored) continue;
      const int64_t before = row + static_cast<int64_t>(t - from) - 1;
      add_output(stream, before, tokens.keys[static_cast<size_t>(before)].row, source.labels[t]);
    }
  }
  end_sequence(stream);
}

void PackedBatch::add_image(uint64_t stream, const Images& source, size_t index,
                            const Architecture& architecture) {
  images.push_back({source.views[index], &source.preprocess});
  for (int64_t t = 0; t < architecture.positions; ++t) add_token(stream);
  add_output(stream, offsets.back(), static_cast<uint32_t>(sequences.rows() - sequences.jobs.back().begin),
             source.labels[index]);
  end_sequence(stream);
}

void PackedBatch::add_example(uint64_t stream, const Examples& examples, int64_t index,
                              const Architecture& architecture) {
  const auto i = static_cast<size_t>(index);
  if (const auto* source = std::get_if<Sequences>(&examples)) {
    add_sequence(stream, *source, i, architecture);
  } else {
    add_image(stream, std::get<Images>(examples), i, architecture);
  }
}

void PackedBatch::add_job(int64_t bank_row, uint64_t stream, const Examples& examples, int64_t begin,
                          int64_t end, const Architecture& architecture) {
  begin_job(bank_row);
  for (int64_t i = begin; i < end; ++i) add_example(stream, examples, i, architecture);
  end_job();
}

void PackedBatch::add_job(int64_t bank_row, uint64_t stream, const Examples& examples,
                          std::span<const int64_t> chosen, const Architecture& architecture) {
  begin_job(bank_row);
  for (const int64_t i : chosen) add_example(stream, examples, i, architecture);
  end_job();
}

void PackedBatch::add_continuation(int64_t bank_row, std::span<const int32_t> next, CachedPlace place) {
  if (tokens.jobs.empty() || tokens.jobs.back().bank_row != bank_row) begin_job(bank_row);
  for (size_t t = 0; t < next.size(); ++t) {
    ids.push_back(next[t]);
    types.push_back(0);
    positions.push_back(static_cast<int32_t>(place.place + static_cast<int64_t>(t)));
    add_token(0);
  }
  places.push_back(place);
  add_output(0, token_count() - 1, 0, kIgnored);
  end_sequence(0);
  end_job();
}

}  // namespace fltac
