// Continuing prompts token by token, with many adapters in one pass.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lora/bank.h"
#include "model/examples.h"
#include "train/control.h"
#include "train/sampling.h"

namespace fltac {

// The C++ side of GenerateJob (src/engine/types.ts).
struct GenerateJob {
  int64_t bank_row = 0;
  Sequences prompts;                  // without labels
  std::span<const uint64_t> streams;  // one a prompt; needed where the temperature is above 0
};

struct GenerateOptions {
  int64_t max_new_tokens = 0;
  std::vector<int32_t> end_ids;  // tokens that end an answer
  Sampling sampling;
  int64_t batch_size = 16;  // most sequences in one pass
};

struct Generation {
  std::vector<int32_t> ids;         // of all answers, without prompt and end token
  std::vector<int32_t> offsets{0};  // answer i is ids[offsets[i], offsets[i + 1])
  std::vector<uint8_t> finished;    // 1: ended with one of end_ids; 0: cut
};

// Without dropout. Prompts of all jobs share passes: as one ends, the next takes its place. Progress counts
// prompts. Throws Usage for a model that does not write or options without sense, Shape for prompts that do
// not fit.
std::vector<Generation> generate(const AdapterBank& bank, std::span<const GenerateJob> jobs,
                                 const GenerateOptions& options, const Control& control);

}  // namespace fltac
