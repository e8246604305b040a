#pragma once

#include <string>

#include "archive/value.h"

namespace fltac {

// Writes `value` as torch.save would: torch.load(path, weights_only=True) reads it back as plain dicts,
// lists, numbers, strings and tensors. The file appears whole or not at all; equal values give equal bytes.
// Errors: Usage, Shape (see pickle_archive), Io.
void write_pt(const std::string& path, const ArchiveValue& value);

}  // namespace fltac
