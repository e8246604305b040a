// Writes an ArchiveValue as the pickle that torch.save would make of it.
#pragma once

#include <string>
#include <vector>

#include "archive/value.h"

namespace fltac {

struct PickledArchive {
  std::string pickle;                // the content of data.pkl
  std::vector<at::Tensor> storages;  // contiguous; storage i goes into the record data/i
};

// Plain dicts, lists, str, int, float, bool, None; each tensor by torch._utils._rebuild_tensor_v2 on a
// storage of its own. torch.load(weights_only=True) reads it: no type tags, no code of ours. Errors: Usage
// (nested too deep, a string that is not UTF-8, a key twice in a dict), Shape (a tensor that is not a dense
// CPU tensor of a type in kStorageTypes).
PickledArchive pickle_archive(const ArchiveValue& value);

}  // namespace fltac
