// A backbone with one adapter folded in, as a model of its own.
#pragma once

#include <cstdint>
#include <string>

#include "lora/bank.h"
#include "train/control.h"

namespace fltac {

// Writes `path`, a safetensors file that transformers loads as the family's model with a head: every weight
// that has LoRA becomes W + (alpha / rank) B A (Hu et al. 2021, section 4.1; PEFT's merge_and_unload), summed
// in float32 and rounded to the type of the file it comes from; the head is the row's, trained or frozen, in
// float32; all other tensors keep their bytes. Tensors that the backbone does not use are left out. Names are
// those of the model with the head, whatever the file left off. One tensor is in memory at a time.
//
// `folder` is the one that the bank's backbone was loaded from. Progress is in tensors. Errors: as
// SafetensorsModel::open; MissingWeight and Shape where the folder holds another model; Usage for a row that
// is not there or a frozen head that was never made; Aborted.
void merge_adapter(const std::string& folder, const AdapterBank& bank, int64_t row, const std::string& path,
                   const Control& control);

}  // namespace fltac
