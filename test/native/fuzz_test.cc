// Every truncation and thousands of changed bytes of a small safetensors file and of small archives: each
// gives a value or an fltac::Error, never anything else.
#include <ATen/ATen.h>

#include <optional>

#include "archive/pt_reader.h"
#include "archive/pt_writer.h"
#include "check.h"
#include "core/philox.h"
#include "model/safetensors.h"

namespace {

using namespace fltac;
using namespace fltac::test;

// How a damaged file may fail; any other exception fails the test, and a crash ends it.
bool expected(ErrorCode code) {
  return code == ErrorCode::Format || code == ErrorCode::Unsupported || code == ErrorCode::MissingWeight;
}

void read_safetensors(const std::string& path) {
  const SafetensorsModel model = SafetensorsModel::open(path);
  for (const auto& [name, entry] : model.entries()) {
    if (entry.dtype == "F32" || entry.dtype == "BF16") (void)model.load(name, at::kFloat);
  }
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

void read_archive(const std::string& path) { touch(read_pt(path)); }

struct Outcomes {
  int64_t read = 0, refused = 0;
};

void attempt(void (*read)(const std::string&), const std::string& path, const std::string& bytes,
             Outcomes& outcomes) {
  write_bytes(path, bytes);
  const std::optional<Error> error = error_of([&] { read(path); });
  EXPECT(!error || expected(error->code()), error->what());
  ++(error ? outcomes.refused : outcomes.read);
}

// `cut_reads`: no shorter file is a whole one.
void damage(const char* name, void (*read)(const std::string&), const std::string& whole) {
  const TemporaryFolder folder;
  const std::string path = folder / "damaged";
  Outcomes cut, changed;
  for (size_t size = 0; size < whole.size(); ++size) attempt(read, path, whole.substr(0, size), cut);
  EXPECT(cut.read == 0, name, cut.read, "truncated files were read");
  constexpr int64_t kChanges = 6000, kDraws = 7;
  std::vector<double> draws(kChanges * kDraws);
  philox_doubles(2024, 0, kChanges * kDraws, draws.data());
  for (size_t change = 0; change < kChanges; ++change) {
    const double* draw = draws.data() + change * kDraws;
    std::string bytes = whole;
    const auto count = static_cast<size_t>(1 + 3 * draw[0]);  // one to three bytes
    for (size_t i = 0; i < count; ++i) {
      const auto at = static_cast<size_t>(draw[1 + 2 * i] * static_cast<double>(bytes.size()));
      bytes[at] = static_cast<char>(256 * draw[2 + 2 * i]);
    }
    attempt(read, path, bytes, changed);
  }
  EXPECT(changed.refused > 0, name, "no change was ever noticed");
  std::cout << name << ": " << whole.size() << " truncations refused; of " << kChanges << " changes "
            << changed.refused << " refused, " << changed.read << " without effect on the format\n";
}

std::string small_safetensors() {
  const TemporaryFolder folder;
  write_safetensors(folder / "x",
                    {{"a", at::ones({2, 3})}, {"b.weight", at::zeros({4})}, {"c", at::ones({})}},
                    {{"format", "pt"}});
  return read_bytes(folder / "x");
}

std::string small_archive() {
  const TemporaryFolder folder;
  const ArchiveDict state{{{"w", {at::ones({2, 3})}}, {"b", {at::zeros({2}, at::kHalf)}}}};
  const ArchiveValue value{ArchiveDict{{
      {"round", {int64_t{1}}},
      {"cluster_states", {ArchiveDict{{{int64_t{0}, {state}}}}}},
      {"labels", {ArchiveList{{int64_t{0}}, {int64_t{0}}}}},
      {"true_tasks", {ArchiveList{{std::string("a")}, {std::string("b")}}}},
  }}};
  write_pt(folder / "x", value);
  return read_bytes(folder / "x");
}

// The same changes to the pickle alone, in an archive whose CRC fits: they reach the pickle reader.
uint32_t plain_crc(const std::string& bytes) {
  uint32_t crc = 0xFFFFFFFFu;
  for (const char byte : bytes) {
    crc ^= static_cast<uint8_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = crc & 1 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
  }
  return ~crc;
}

void put_u32(std::string& bytes, size_t at, uint32_t value) {
  for (size_t i = 0; i < 4; ++i) bytes[at + i] = static_cast<char>(value >> (8 * i));
}

void damage_pickle(const std::string& whole) {
  const TemporaryFolder folder;
  const std::string path = folder / "damaged";
  const size_t begin = whole.find("\x80\x02"), end = whole.find("PK", begin);
  const std::string pickle = whole.substr(begin, end - begin);
  const size_t directory = whole.find("PK\x01\x02");
  constexpr int64_t kChanges = 6000;
  std::vector<double> draws(kChanges * 2);
  philox_doubles(2025, 0, kChanges * 2, draws.data());
  Outcomes outcomes;
  for (size_t change = 0; change < kChanges; ++change) {
    std::string bytes = whole;
    std::string damaged = pickle;
    damaged[static_cast<size_t>(draws[2 * change] * static_cast<double>(pickle.size()))] =
        static_cast<char>(256 * draws[2 * change + 1]);
    bytes.replace(begin, pickle.size(), damaged);
    put_u32(bytes, directory + 16, plain_crc(damaged));
    attempt(read_archive, path, bytes, outcomes);
  }
  EXPECT(outcomes.refused > kChanges / 4 && outcomes.read > 0, "read", outcomes.read, "refused",
         outcomes.refused);
  std::cout << "pickle: of " << kChanges << " changes " << outcomes.refused << " refused, " << outcomes.read
            << " read as other values\n";
}

}  // namespace

int main() {
  return run("fuzz_test", [] {
    damage("safetensors", read_safetensors, small_safetensors());
    const std::string archive = small_archive();
    damage("archive", read_archive, archive);
    damage("archive of torch.save", read_archive, read_bytes(fixture("native/torch_save.pt")));
    damage_pickle(archive);
  });
}
