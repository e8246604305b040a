// A restricted reader of the pickles in torch archives. Nothing is ever executed: known opcodes build plain
// values, a short list of names stands for what tensors and dicts need, anything else is an error.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "archive/value.h"

namespace fltac {

struct PickleSource {
  std::span<const std::byte> bytes;  // the content of data.pkl
  std::string path;                  // of the archive, for messages
  uint64_t offset = 0;               // of `bytes` in the archive, for messages
  // Values that all tensors together may take in bytes; more means that one storage is named again and again.
  uint64_t max_tensor_bytes = 0;
  // Gives the 1-D tensor of a storage. Called once or more for each; throws Format if `values` does not fit.
  std::function<at::Tensor(const std::string& key, at::ScalarType type, int64_t values)> storage;
};

// Tuples become lists, OrderedDicts dicts (attributes such as state_dict's _metadata are dropped), Parameters
// tensors. Bounds: nesting kMaxArchiveDepth, no more values than the pickle has bytes (shared ones counted
// wherever they show), tensors within their storage. Errors: Format (naming path and offset).
ArchiveValue unpickle(const PickleSource& source);

}  // namespace fltac
