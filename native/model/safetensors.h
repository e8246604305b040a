// Safetensors files (https://github.com/huggingface/safetensors#format): memory-mapped reader and writer.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/atomic_file.h"
#include "core/mapped_file.h"

namespace fltac {

// One tensor as a header lists it.
struct TensorEntry {
  std::string dtype;            // as in the file: "F32", "BF16", ...
  std::vector<int64_t> shape;   // empty for a single value
  int64_t values = 0;           // product of shape
  uint64_t begin = 0, end = 0;  // its bytes in the file, counted from the file's start
  std::shared_ptr<const MappedFile> file;
};

using TensorEntries = std::map<std::string, TensorEntry>;
using StringMap = std::map<std::string, std::string>;

// The weights of a model: one file, or the shards that an index names. Headers are checked as a whole when
// opened: lengths, JSON, data types, shapes, and that the tensors' byte ranges fill the file without gap or
// overlap, as the format demands. Copies share the mappings.
class SafetensorsModel {
 public:
  // `path` is a .safetensors file, a .safetensors.index.json file, or a folder with model.safetensors or (if
  // there is none) model.safetensors.index.json. An index may name files of its own folder only; every tensor
  // it names must be in the file it names. Errors: Io, Format (naming path and offset), Unsupported (a data
  // type nothing is known of), MissingWeight.
  static SafetensorsModel open(const std::string& path);

  const TensorEntries& entries() const { return entries_; }
  // "__metadata__" of the file; of all shards together where there are several (the first to give a key
  // wins).
  const StringMap& metadata() const { return metadata_; }
  // The file or index that was opened.
  const std::string& path() const { return path_; }

  bool contains(const std::string& name) const { return entries_.count(name) != 0; }
  // Errors: MissingWeight.
  const TensorEntry& entry(const std::string& name) const;

  // A copy of the tensor on the CPU, contiguous, in `dtype`. F64, F32, F16 and BF16 convert into any floating
  // type (rounding to nearest even); other types are given only as what they are stored as. Errors:
  // MissingWeight, Unsupported (a conversion that is not offered).
  at::Tensor load(const std::string& name, at::ScalarType dtype) const;
  // The same into `destination`, contiguous, of as many values, on any device. Read and converted piece by
  // piece; the file's pages are given back, so that this takes some 16 MiB besides the destination.
  void load_into(const std::string& name, const at::Tensor& destination) const;

 private:
  std::string path_;
  TensorEntries entries_;
  StringMap metadata_;
};

// A tensor to be written: what the header says of it, and its bytes when their turn comes.
struct TensorPart {
  std::string name;
  std::string dtype;  // as in the file: "F32", "BF16", ...
  std::vector<int64_t> shape;
  uint64_t bytes = 0;
  std::function<void(AtomicFile&)> write;  // writes exactly `bytes`
};

// Writes one file part by part, those of wider types first and then in byte order of their names, as the
// reference implementation does, so that every value is aligned. The file appears whole or not at all.
// Errors: Usage (a name twice, reserved or not UTF-8), Internal (a part of another length), Io, what `write`
// throws.
void write_safetensors(const std::string& path, std::vector<TensorPart> parts, const StringMap& metadata);

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

// Writes float32 CPU tensors to one file, in byte order of their names whatever order they come in, with
// `metadata` as "__metadata__". The file appears whole or not at all; equal content gives equal bytes.
// Errors: Usage (a name twice, reserved or not UTF-8), Shape (not a float32 CPU tensor), Io.
void write_safetensors(const std::string& path, const NamedTensors& tensors, const StringMap& metadata = {});

}  // namespace fltac
