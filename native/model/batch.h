// A batch without padding: the sequences of all jobs end to end.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lora/lora.h"
#include "model/examples.h"
#include "model/kv_cache.h"

namespace fltac {

struct BatchImage {
  ImageView view;
  const ImagePreprocess* how;
};

// What a pass computes on. Images become sequences too: of special tokens and patches.
struct PackedBatch {
  // Of tokens; not for images.
  std::vector<int32_t> ids;
  std::vector<int32_t> types;
  std::vector<int32_t> positions;  // of the model's position table; for rotary models places in the sequence
  std::vector<BatchImage> images;

  std::vector<int64_t> offsets{0};  // of sequences, in tokens
  // What the loss is over: for classes one a sequence, its first token; else each token before a labelled
  // one.
  std::vector<int64_t> output_rows;        // tokens, rising
  std::vector<int64_t> output_offsets{0};  // of sequences, in outputs
  std::vector<int32_t> targets;            // of outputs

  std::vector<CachedPlace> places;  // of sequences, where they continue cached ones; else empty

  RowSpace tokens;
  RowSpace sequences;
  RowSpace outputs;

  int64_t token_count() const { return tokens.rows(); }
  int64_t sequence_count() const { return static_cast<int64_t>(offsets.size()) - 1; }
  int64_t output_count() const { return static_cast<int64_t>(output_rows.size()); }

  // Appends examples [begin, end) of one job, in order. They were checked; they must outlive the batch.
  void add_job(int64_t bank_row, uint64_t stream, const Examples& examples, int64_t begin, int64_t end,
               const Architecture& architecture);
  // The same of any examples of the job, in the order given.
  void add_job(int64_t bank_row, uint64_t stream, const Examples& examples, std::span<const int64_t> chosen,
               const Architecture& architecture);

  // The next tokens of one sequence: `next` follow the tokens that the cache has at `place`, and the last is
  // an output without a target. The sequences of a bank row come one after another.
  void add_continuation(int64_t bank_row, std::span<const int32_t> next, CachedPlace place);

 private:
  void begin_job(int64_t bank_row);
  void end_job();
  void add_token(uint64_t stream);
  void add_output(uint64_t stream, int64_t row, uint32_t key, int32_t target);
  void end_sequence(uint64_t stream);
  void add_example(uint64_t stream, const Examples& examples, int64_t index,
                   const Architecture& architecture);
  void add_sequence(uint64_t stream, const Sequences& source, size_t index, const Architecture& architecture);
  void add_image(uint64_t stream, const Images& source, size_t index, const Architecture& architecture);
};

}  // namespace fltac
