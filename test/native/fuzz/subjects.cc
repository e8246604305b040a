#include "fuzz/subjects.h"

#include <ATen/ATen.h>

#include <filesystem>
#include <map>

#include "archive/pt_reader.h"
#include "archive/pt_writer.h"
#include "archive/zip_reader.h"
#include "check.h"
#include "fuzz/json_mutator.h"
#include "fuzz/pickle_mutator.h"
#include "fuzz/zip_image.h"
#include "model/architecture.h"
#include "model/safetensors.h"

namespace fltac::fuzz {
namespace {

using test::read_bytes;
using test::write_bytes;

void read_model(const std::string& path) {
  const SafetensorsModel model = SafetensorsModel::open(path);
  for (const auto& [name, entry] : model.entries()) {
    if (entry.dtype == "F32" || entry.dtype == "BF16") (void)model.load(name, at::kFloat);
  }
}

std::string little_endian(uint64_t value) {
  std::string bytes(8, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(value >> (8 * i));
  return bytes;
}

const JsonMutator& header_mutator() {
  static const JsonMutator mutator({"F32", "F16", "BF16", "F64", "I64", "U8", "BOOL", "F8_E4M3", "F4",
                                    "dtype", "shape", "data_offsets", "__metadata__", "a", "b.weight", "c",
                                    "format"});
  return mutator;
}

// Damages the header as JSON, its length, and the data that follow.
Subject safetensors(const std::string& folder) {
  const std::string path = folder + "/header.safetensors";
  write_safetensors(path, {{"a", at::ones({2, 3})}, {"b.weight", at::zeros({4})}, {"c", at::ones({})}},
                    {{"format", "pt"}});
  const std::vector<std::string> sound = {read_bytes(path),
                                          read_bytes(sound_file("native/reference.safetensors"))};
  const auto damage = [path, sound](Draws& draws) {
    const std::string& whole = draws.of(sound);
    uint64_t length = 0;
    for (size_t i = 0; i < 8; ++i) length |= uint64_t{static_cast<uint8_t>(whole[i])} << (8 * i);
    std::string header = whole.substr(8, length), data = whole.substr(8 + length);
    if (!draws.one_in(5)) header = header_mutator().mutate(draws, header);
    if (draws.one_in(8)) damage_bytes(draws, data);
    const uint64_t said = draws.one_in(6) ? telling_number(draws, header.size()) : header.size();
    write_bytes(path, little_endian(said) + header + data);
  };
  return {"safetensors header", damage, [path] { read_model(path); }};
}

// Damages the index of a model in two files.
Subject safetensors_index(const std::string& folder) {
  const std::string at = folder + "/sharded";
  std::filesystem::create_directories(at);
  write_safetensors(at + "/one.safetensors", {{"a", at::ones({2})}});
  write_safetensors(at + "/two.safetensors", {{"b", at::ones({3})}});
  const std::string sound =
      R"({"metadata":{"total_size":20},"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})";
  const JsonMutator mutator({"weight_map", "metadata", "total_size", "a", "b", "c", "one.safetensors",
                             "two.safetensors", "../one.safetensors", "three.safetensors", ".", ".."});
  const auto damage = [=](Draws& draws) {
    write_bytes(at + "/model.safetensors.index.json", mutator.mutate(draws, sound));
  };
  return {"safetensors index", damage, [at] { read_model(at); }};
}

Subject config(const std::string& folder) {
  const std::string path = folder + "/config.json";
  std::vector<std::string> sound;
  for (const char* family :
       {"deit", "distilbert", "llama3", "llama_linear", "mistral", "qwen2", "roberta", "vit"}) {
    sound.push_back(read_bytes(sound_file(std::string("families/") + family + "/config.json")));
  }
  const JsonMutator mutator({"bert",
                             "roberta",
                             "vit",
                             "llama",
                             "mistral",
                             "qwen2",
                             "model_type",
                             "hidden_size",
                             "num_hidden_layers",
                             "num_attention_heads",
                             "num_key_value_heads",
                             "head_dim",
                             "vocab_size",
                             "rope_scaling",
                             "rope_parameters",
                             "llama3",
                             "linear",
                             "layer_types",
                             "full_attention",
                             "image_size",
                             "patch_size",
                             "pad_token_id",
                             "sliding_window",
                             "gelu",
                             "silu"});
  const auto damage = [=](Draws& draws) { write_bytes(path, mutator.mutate(draws, draws.of(sound))); };
  return {"config.json", damage, [path] { (void)parse_architecture(read_bytes(path), path); }};
}

void touch(const ArchiveValue& value) {
  if (const auto* tensor = std::get_if<at::Tensor>(&value.value)) (void)tensor->contiguous().to(at::kFloat);
  if (const auto* list = std::get_if<ArchiveList>(&value.value)) {
    for (const ArchiveValue& item : *list) touch(item);
  }
  if (const auto* dict = std::get_if<ArchiveDict>(&value.value)) {
    for (const auto& item : dict->items) touch(item.second);
  }
}

std::vector<ZipPart> parts_of(const std::string& path) {
  const ZipReader zip(std::make_shared<const MappedFile>(path));
  std::vector<ZipPart> parts;
  for (const auto& item : zip.entries()) {
    const auto content = zip.read(item.first);
    parts.push_back({item.first, {reinterpret_cast<const char*>(content.data()), content.size()}});
  }
  return parts;
}

// Sets apart entries: their names, sizes and whether they are there.
void damage_parts(Draws& draws, std::vector<ZipPart>& parts) {
  const size_t at = draws.below(parts.size());
  switch (draws.below(5)) {
    case 0:
      parts.erase(parts.begin() + static_cast<ptrdiff_t>(at));
      return;
    case 1:
      parts.push_back(parts[at]);
      return;
    case 2:
      parts.push_back({"other/data.pkl", parts[at].content});
      return;
    case 3:
      std::swap(parts[at].name, parts[draws.below(parts.size())].name);
      return;
    default:
      damage_bytes(draws, parts[at].content);
  }
}

// Damages the pickle with a CRC that fits, the entries, and the fields of the ZIP file.
Subject archive(const std::string& folder) {
  const std::string path = folder + "/archive.pt";
  const ArchiveDict state{{{"w", {at::ones({2, 3})}}, {"b", {at::zeros({2}, at::kHalf)}}}};
  write_pt(path, {ArchiveDict{{
                     {"round", {int64_t{1}}},
                     {"cluster_states", {ArchiveDict{{{int64_t{0}, {state}}}}}},
                     {"labels", {ArchiveList{{int64_t{0}}, {int64_t{0}}}}},
                     {"true_tasks", {ArchiveList{{std::string("a")}, {std::string("b")}}}},
                 }}});
  const std::vector<std::vector<ZipPart>> sound = {parts_of(path),
                                                   parts_of(sound_file("native/torch_save.pt"))};
  const auto damage = [path, sound](Draws& draws) {
    std::vector<ZipPart> parts = draws.of(sound);
    for (ZipPart& part : parts) {
      if (part.name.ends_with("data.pkl") && !draws.one_in(4))
        part.content = PickleMutator::mutate(draws, part.content);
    }
    if (draws.one_in(4)) damage_parts(draws, parts);
    const size_t wrong = draws.one_in(3) ? 1 + draws.below(3) : 0;
    std::string bytes = parts.empty() ? "" : ZipImage(parts, draws.one_in(2)).bytes(draws, wrong);
    if (draws.one_in(12)) damage_bytes(draws, bytes);
    write_bytes(path, bytes);
  };
  return {".pt archive", damage, [path] { touch(read_pt(path)); }};
}

}  // namespace

std::vector<Subject> subjects(const std::string& folder) {
  return {safetensors(folder), safetensors_index(folder), config(folder), archive(folder)};
}

}  // namespace fltac::fuzz
