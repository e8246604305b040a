#pragma once

#include <string>

#include "archive/value.h"

namespace fltac {

// Reads a file of torch.save (PyTorch 1.6 or later, little-endian) without running anything of it. Tensors
// are on the CPU whatever device they were saved from; those that shared a storage are views of one still.
// Errors: Io, Format (naming path and offset), Unsupported (a big-endian file or a later format).
ArchiveValue read_pt(const std::string& path);

}  // namespace fltac
