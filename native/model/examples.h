// Examples as the caller gives them: token sequences or images, with their labels.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "model/architecture.h"
#include "model/image.h"

namespace fltac {

// A label that is not counted, as in torch and transformers.
constexpr int32_t kIgnored = -100;

// The C++ side of PackedSequences (src/engine/types.ts); views of the caller's memory.
struct Sequences {
  std::span<const int32_t> ids;
  std::span<const int32_t> offsets;
  std::span<const uint8_t> types;   // empty: all 0
  std::span<const int32_t> labels;  // one a sequence; for next-token models one a token

  int64_t count() const { return static_cast<int64_t>(offsets.size()) - 1; }
};

// The C++ side of PackedImages; views of the caller's memory.
struct Images {
  std::vector<ImageView> views;
  std::span<const int32_t> labels;
  ImagePreprocess preprocess;

  int64_t count() const { return static_cast<int64_t>(views.size()); }
};

using Examples = std::variant<Sequences, Images>;

int64_t count(const Examples& examples);

// Tokens that example `index` takes in a pass: its sequence's, or an image's special tokens and patches.
int64_t token_count(const Examples& examples, const Architecture& architecture, int64_t index);

// Targets of example `index`: 1 for classes; for next-token models the labels that count, without that of the
// sequence's first token, which nothing predicts.
int64_t target_count(const Examples& examples, const Architecture& architecture, int64_t index);

// Throws Shape or Usage where the examples do not fit the model: images for one that reads tokens and the
// other way round, offsets that do not rise or do not cover the ids, an empty or too long sequence, an id,
// type or label out of range, images whose sizes do not cover the pixels or that are brought to another size
// than the model's. num_labels counts for classes only. `what` names the examples in errors.
void check_examples(const Examples& examples, const Architecture& architecture, int64_t num_labels,
                    const std::string& what);

// Throws Shape where none of examples [begin, end) has a target.
void check_targets(const Examples& examples, const Architecture& architecture, int64_t begin, int64_t end,
                   const std::string& what);

// Offsets and ids of sequences, without labels; as check_examples.
void check_tokens(const Sequences& sequences, const Architecture& architecture, const std::string& what);

}  // namespace fltac
