// A batch without padding: the sequences of all jobs end to end.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lora/lora.h"

namespace fltac {

// The C++ side of PackedSequences (src/engine/types.ts); views of the caller's memory.
struct Sequences {
  std::span<const int32_t> ids;
  std::span<const int32_t> offsets;
  std::span<const uint8_t> types;  // empty: all 0
  std::span<const int32_t> labels;

  int64_t count() const { return static_cast<int64_t>(offsets.size()) - 1; }
};

// Throws Shape or Usage for offsets that do not rise or do not cover the ids, an empty or too long sequence,
// an id, type or label out of range. `what` names the sequences in errors.
void check_sequences(const Sequences& sequences, const Architecture& architecture, int64_t num_labels,
                     const std::string& what);

struct PackedBatch {
  std::vector<int32_t> ids;
  std::vector<int32_t> types;
  std::vector<int32_t> positions;
  std::vector<int32_t> labels;
  std::vector<int64_t> offsets{0};  // of sequences, in tokens
  RowSpace tokens;
  RowSpace sequences;

  int64_t token_count() const { return static_cast<int64_t>(ids.size()); }
  int64_t sequence_count() const { return static_cast<int64_t>(offsets.size()) - 1; }

  // Appends sequences [begin, end) of one job, in order.
  void add_job(int64_t bank_row, uint64_t stream, const Sequences& source, int64_t begin, int64_t end);
};

}  // namespace fltac
