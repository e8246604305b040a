// The safetensors reader and writer: what the reference library wrote, what we wrote, and what must be
// refused.
#include "model/safetensors.h"

#include <ATen/ATen.h>

#include <cstring>
#include <limits>

#include "check.h"

namespace {

using namespace fltac;
using namespace fltac::test;

at::Tensor counted(at::IntArrayRef shape) {
  int64_t n = 1;
  for (const int64_t size : shape) n *= size;
  return (at::arange(n, at::kDouble) / 4 - 1).reshape(shape).to(at::kFloat);
}

std::string with_header(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  return bytes + header + std::string(data_bytes, '\1');
}

void reads_what_the_reference_library_writes() {
  const SafetensorsModel model = SafetensorsModel::open(fixture("native/reference.safetensors"));
  EXPECT(model.metadata().at("made_by") == "make_native_files.py");
  EXPECT(model.entries().size() == 8);
  EXPECT(at::equal(model.load("f32", at::kFloat), counted({2, 3})));
  EXPECT(at::equal(model.load("f16", at::kFloat), counted({5})));
  EXPECT(at::equal(model.load("bf16", at::kFloat), counted({3})));
  EXPECT(at::equal(model.load("f64", at::kFloat), counted({1, 2})));
  EXPECT(at::equal(model.load("f32", at::kBFloat16), counted({2, 3}).to(at::kBFloat16)));
  EXPECT(model.load("bf16", at::kBFloat16).scalar_type() == at::kBFloat16);
  EXPECT(at::equal(model.load("i64", at::kLong), at::tensor({int64_t{1} << 40, int64_t{-5}}, at::kLong)));
  EXPECT(at::equal(model.load("u8", at::kByte), at::tensor({1, 2, 255}, at::kByte)));
  EXPECT(model.load("scalar", at::kFloat).dim() == 0 &&
         model.load("scalar", at::kFloat).item<float>() == 2.5f);
  EXPECT(model.load("empty", at::kFloat).sizes() == at::IntArrayRef({0, 3}));
  EXPECT(model.entry("bf16").dtype == "BF16" && model.entry("bf16").values == 3);
  EXPECT_FAILS(ErrorCode::Unsupported, "stored as I64", model.load("i64", at::kFloat));
  EXPECT_FAILS(ErrorCode::MissingWeight, "\"absent\"", model.load("absent", at::kFloat));
}

void writes_what_it_reads_byte_for_byte_the_same() {
  const TemporaryFolder folder;
  const NamedTensors tensors = {
      {"b", counted({3, 2}).t()}, {"a.weight", counted({4})}, {"c", at::empty({0, 2})}};
  write_safetensors(folder / "one.safetensors", tensors, {{"format", "pt"}});
  const SafetensorsModel model = SafetensorsModel::open(folder / "one.safetensors");
  EXPECT(model.entries().size() == 3 && model.metadata().at("format") == "pt");
  EXPECT(at::equal(model.load("b", at::kFloat), counted({3, 2}).t()));
  EXPECT(at::equal(model.load("a.weight", at::kFloat), counted({4})));
  EXPECT(model.load("c", at::kFloat).sizes() == at::IntArrayRef({0, 2}));
  EXPECT(model.entry("a.weight").begin % 8 == 0, "values are not aligned");
  write_safetensors(folder / "two.safetensors", {tensors[2], tensors[1], tensors[0]}, {{"format", "pt"}});
  EXPECT(read_bytes(folder / "one.safetensors") == read_bytes(folder / "two.safetensors"));
  write_safetensors(folder / "none.safetensors", {});
  EXPECT(SafetensorsModel::open(folder / "none.safetensors").entries().empty());
}

void a_failed_write_leaves_nothing() {
  const TemporaryFolder folder;
  const std::string path = folder / "kept.safetensors";
  write_safetensors(path, {{"a", counted({2})}});
  const std::string before = read_bytes(path);
  EXPECT_FAILS(ErrorCode::Usage, "twice",
               write_safetensors(path, {{"a", counted({2})}, {"a", counted({2})}}));
  EXPECT_FAILS(ErrorCode::Usage, "__metadata__", write_safetensors(path, {{"__metadata__", counted({2})}}));
  EXPECT_FAILS(ErrorCode::Usage, "UTF-8", write_safetensors(path, {{"\xff", counted({2})}}));
  EXPECT_FAILS(ErrorCode::Shape, "float32", write_safetensors(path, {{"a", counted({2}).to(at::kHalf)}}));
  EXPECT_FAILS(ErrorCode::Shape, "\"a\"", write_safetensors(path, {{"a", at::Tensor()}}));
  EXPECT_FAILS(ErrorCode::Io, "absent",
               write_safetensors(folder / "absent/x.safetensors", {{"a", counted({2})}}));
  std::filesystem::create_directory(folder / "taken");
  EXPECT_FAILS(ErrorCode::Io, "taken", write_safetensors(folder / "taken", {{"a", counted({2})}}));
  EXPECT(read_bytes(path) == before);
  std::filesystem::remove(folder / "taken");
  const auto left = std::distance(std::filesystem::directory_iterator(folder.path()),
                                  std::filesystem::directory_iterator());
  EXPECT(left == 1, left, "files are left");
}

void shards_are_read_as_one_model() {
  const TemporaryFolder folder;
  write_safetensors(folder / "s1.safetensors", {{"a", counted({2})}}, {{"format", "pt"}});
  write_safetensors(folder / "s2.safetensors", {{"b", counted({3})}, {"unlisted", counted({1})}});
  const std::string index = folder / "model.safetensors.index.json";
  const auto open = [&](const std::string& map) {
    write_bytes(index, "{\"metadata\":{\"total_size\":20},\"weight_map\":" + map + "}");
    return SafetensorsModel::open(folder.path().string());
  };
  const SafetensorsModel model = open(R"({"a":"s1.safetensors","b":"s2.safetensors"})");
  EXPECT(model.entries().size() == 3 && model.path() == index && model.metadata().count("format") == 1);
  EXPECT(at::equal(model.load("b", at::kFloat), counted({3})));
  EXPECT(SafetensorsModel::open(index).entries().size() == 3);
  EXPECT_FAILS(ErrorCode::MissingWeight, "\"a\" in s2.safetensors",
               open(R"({"a":"s2.safetensors","b":"s2.safetensors"})"));
  EXPECT_FAILS(ErrorCode::MissingWeight, "\"c\"", open(R"({"a":"s1.safetensors","c":"s1.safetensors"})"));
  EXPECT_FAILS(ErrorCode::Io, "s3.safetensors", open(R"({"a":"s3.safetensors"})"));
  for (const char* outside :
       {"../s1.safetensors", "/etc/passwd", "..", ".", "", "x/s1.safetensors", "x\\\\s1"}) {
    EXPECT_FAILS(ErrorCode::Format, "same folder", open(std::string("{\"a\":\"") + outside + "\"}"));
  }
  EXPECT_FAILS(ErrorCode::Format, "same folder", open(R"({"a":7})"));
  EXPECT_FAILS(ErrorCode::Format, "weight_map", open("[]"));
  EXPECT_FAILS(ErrorCode::Format, "JSON", open("{"));
  // Printed by recursion, such a value overflowed the stack.
  const std::string deep(100'000, '['), closed(100'000, ']');
  EXPECT_FAILS(ErrorCode::Format, "nested more than 64 deep", open("{\"a\":" + deep + closed + "}"));
  EXPECT_FAILS(ErrorCode::Format, "nested more than 64 deep", open(deep));
  const std::string name(100'000, 'x');
  const auto long_file = error_of([&] { open("{\"a\":\"/" + name + "\"}"); });
  EXPECT(long_file && std::string(long_file->what()).size() < 4'000, "a message as long as the file's text");
  std::filesystem::copy_file(folder / "s1.safetensors", folder / "copy.safetensors");
  EXPECT_FAILS(ErrorCode::Format, "as well", open(R"({"a":"s1.safetensors","b":"copy.safetensors"})"));
  // One file of the usual name goes before an index, as in transformers.
  write_safetensors(folder / "model.safetensors", {{"single", counted({1})}});
  EXPECT(SafetensorsModel::open(folder.path().string()).contains("single"));
}

void missing_files_are_named() {
  const TemporaryFolder folder;
  EXPECT_FAILS(ErrorCode::Io, "no such file", SafetensorsModel::open(folder / "absent"));
  EXPECT_FAILS(ErrorCode::Io, "expected model.safetensors", SafetensorsModel::open(folder.path().string()));
  std::filesystem::create_directory(folder / "model.safetensors");
  EXPECT_FAILS(ErrorCode::Io, "regular file", SafetensorsModel::open(folder.path().string()));
}

struct BadHeader {
  const char* header;
  size_t data_bytes;
  ErrorCode code;
  const char* part;  // of the message
};

void damaged_headers_are_refused() {
  constexpr const char* kTwo = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)";
  const std::string two = kTwo;
  const std::string overlap = two + R"("b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})";
  const std::string gap = two + R"("b":{"dtype":"F32","shape":[1],"data_offsets":[5,9]}})";
  const std::string twice = two + R"("a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})";
  const std::string deep = R"({"a":)" + std::string(5000, '[') + std::string(5000, ']') + "}";
  const BadHeader cases[] = {
      {"", 0, ErrorCode::Format, "JSON"},
      {"[]", 0, ErrorCode::Format, "object"},
      {"{} x", 0, ErrorCode::Format, "JSON"},
      {"{\"\xff\":1}", 0, ErrorCode::Format, "JSON"},
      {"{}", 1, ErrorCode::Format, "1 bytes follow the last tensor"},
      {R"({"a":1})", 0, ErrorCode::Format, "must have dtype"},
      {R"({"a":{"dtype":"F32","shape":[1]}})", 4, ErrorCode::Format, "must have dtype"},
      {R"({"a":{"dtype":4,"shape":[1],"data_offsets":[0,4]}})", 4, ErrorCode::Format,
       "dtype must be a string"},
      {R"({"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}})", 4, ErrorCode::Unsupported, "F99"},
      {R"({"a":{"dtype":"F32","shape":4,"data_offsets":[0,4]}})", 4, ErrorCode::Format,
       "shape must be an array"},
      {R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4, ErrorCode::Format, "found -1"},
      {R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", 4, ErrorCode::Format, "found 1.0"},
      {R"({"a":{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,4]}})", 4, ErrorCode::Format,
       "2^63"},
      {R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0, ErrorCode::Format,
       "2^63"},
      {R"({"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}})", 0, ErrorCode::Format,
       "span 0"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4, ErrorCode::Format, "span 4 bytes"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", 4, ErrorCode::Format, "two whole numbers"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}})", 4, ErrorCode::Format,
       "two whole numbers"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4, ErrorCode::Format,
       "do not lie within"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 4, ErrorCode::Format,
       "do not lie within the 4"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8, ErrorCode::Format, "gap"},
      {overlap.c_str(), 6, ErrorCode::Format, "overlap"},
      {gap.c_str(), 9, ErrorCode::Format, "gap"},
      {twice.c_str(), 8, ErrorCode::Format, "\"a\" twice"},
      {R"({"__metadata__":{"a":1}})", 0, ErrorCode::Format, "strings only"},
      {R"({"__metadata__":[]})", 0, ErrorCode::Format, "object of strings"},
      {deep.c_str(), 0, ErrorCode::Format, "nested"},
  };
  const TemporaryFolder folder;
  const std::string path = folder / "bad.safetensors";
  for (const BadHeader& bad : cases) {
    write_bytes(path, with_header(bad.header, bad.data_bytes));
    EXPECT_FAILS(bad.code, bad.part, SafetensorsModel::open(path));
    EXPECT_FAILS(bad.code, path, SafetensorsModel::open(path));
  }
}

void damaged_lengths_are_refused() {
  const TemporaryFolder folder;
  const std::string path = folder / "bad.safetensors";
  for (const uint64_t length :
       {uint64_t{3}, uint64_t{99'999'999}, uint64_t{100'000'001}, std::numeric_limits<uint64_t>::max(),
        std::numeric_limits<uint64_t>::max() - 7}) {
    std::string bytes(sizeof length, '\0');
    std::memcpy(bytes.data(), &length, sizeof length);
    write_bytes(path, bytes + "{}");
    EXPECT_FAILS(ErrorCode::Format, "offset 0: the header's length is given as " + std::to_string(length),
                 SafetensorsModel::open(path));
  }
  write_bytes(path, "");
  EXPECT_FAILS(ErrorCode::Format, "0 bytes", SafetensorsModel::open(path));
  write_bytes(path, "1234567");
  EXPECT_FAILS(ErrorCode::Format, "7 bytes", SafetensorsModel::open(path));
}

// A header need not end at a multiple of 8: values are then not aligned in the file.
void unaligned_values_are_read() {
  const TemporaryFolder folder;
  const std::string path = folder / "odd.safetensors";
  std::string header = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  header.resize(header.size() / 8 * 8 + 9, ' ');
  write_bytes(path, with_header(header, 4));
  EXPECT(SafetensorsModel::open(path).entry("a").begin % 4 == 1);
  float expected = 0;
  std::memcpy(&expected, "\1\1\1\1", 4);
  EXPECT(SafetensorsModel::open(path).load("a", at::kFloat).item<float>() == expected);
}

// Bytes of files in this process's memory; none where the system does not tell.
std::optional<int64_t> file_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    int64_t kib = 0;
    if (word == "RssFile:" && status >> kib) return kib * 1024;
  }
  return {};
}

// Large enough for several pieces, and not a whole number of them.
void a_tensor_is_read_in_pieces_whose_memory_is_given_back() {
  constexpr int64_t kRows = 3000, kColumns = 4001;
  const TemporaryFolder folder;
  const std::string path = folder / "large.safetensors";
  const at::Tensor values = at::arange(kRows * kColumns, at::kFloat).sin_().reshape({kRows, kColumns});
  write_safetensors(path, {{"w", values}, {"tail", at::ones({3})}});
  const SafetensorsModel model = SafetensorsModel::open(path);
  const auto before = file_memory();
  // Into rows of something larger, as parts of a stacked weight are.
  const at::Tensor stacked = at::zeros({2 * kRows, kColumns}, at::kBFloat16);
  model.load_into("w", stacked.narrow(0, kRows, kRows));
  EXPECT(stacked.narrow(0, kRows, kRows).equal(values.to(at::kBFloat16)));
  EXPECT(stacked.narrow(0, 0, kRows).count_nonzero().item<int64_t>() == 0);
  if (before) EXPECT(*file_memory() - *before < int64_t{4} << 20, *before, *file_memory());
  // What was given back is read again.
  EXPECT(model.load("w", at::kFloat).equal(values));
  EXPECT(model.load("tail", at::kFloat).equal(at::ones({3})));
}

}  // namespace

int main() {
  return run("safetensors_test", [] {
    reads_what_the_reference_library_writes();
    writes_what_it_reads_byte_for_byte_the_same();
    a_failed_write_leaves_nothing();
    shards_are_read_as_one_model();
    missing_files_are_named();
    damaged_headers_are_refused();
    damaged_lengths_are_refused();
    unaligned_values_are_read();
    a_tensor_is_read_in_pieces_whose_memory_is_given_back();
  });
}
