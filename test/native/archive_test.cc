// Torch archives: what torch.save wrote, what we wrote, and what must be refused.
#include <ATen/ATen.h>

#include <cstring>

#include "archive/crc32.h"
#include "archive/pickle_reader.h"
#include "archive/pt_reader.h"
#include "archive/pt_writer.h"
#include "archive/utf8.h"
#include "archive/zip_writer.h"
#include "check.h"

namespace {

using namespace fltac;
using namespace fltac::test;

at::Tensor counted(at::IntArrayRef shape) {
  int64_t n = 1;
  for (const int64_t size : shape) n *= size;
  return (at::arange(n, at::kDouble) / 4 - 1).reshape(shape).to(at::kFloat);
}

bool same(const ArchiveValue& a, const ArchiveValue& b) {
  if (a.value.index() != b.value.index()) return false;
  if (const auto* tensor = std::get_if<at::Tensor>(&a.value)) {
    const at::Tensor& other = std::get<at::Tensor>(b.value);
    return tensor->scalar_type() == other.scalar_type() && at::equal(*tensor, other);
  }
  if (const auto* list = std::get_if<ArchiveList>(&a.value)) {
    const ArchiveList& other = std::get<ArchiveList>(b.value);
    return std::equal(list->begin(), list->end(), other.begin(), other.end(), same);
  }
  if (const auto* dict = std::get_if<ArchiveDict>(&a.value)) {
    const ArchiveDict& other = std::get<ArchiveDict>(b.value);
    return std::equal(
        dict->items.begin(), dict->items.end(), other.items.begin(), other.items.end(),
        [](const auto& x, const auto& y) { return x.first == y.first && same(x.second, y.second); });
  }
  if (const auto* flag = std::get_if<bool>(&a.value)) return *flag == std::get<bool>(b.value);
  if (const auto* number = std::get_if<int64_t>(&a.value)) return *number == std::get<int64_t>(b.value);
  if (const auto* real = std::get_if<double>(&a.value)) return *real == std::get<double>(b.value);
  if (const auto* text = std::get_if<std::string>(&a.value)) return *text == std::get<std::string>(b.value);
  return true;
}

ArchiveValue integer(int64_t number) { return {number}; }
ArchiveValue text(const std::string& words) { return {words}; }

// What scripts/fixtures/make_native_files.py saved.
ArchiveValue round_file() {
  const at::Tensor bank = counted({4, 6});
  ArchiveDict state{{
      {"whole", {bank}},
      {"column", {bank.t()[2]}},
      {"half", {counted({3}).to(at::kHalf)}},
      {"bfloat", {counted({3}).to(at::kBFloat16)}},
      {"double", {counted({2}).to(at::kDouble)}},
      {"long", {at::tensor({int64_t{1} << 40, int64_t{-5}}, at::kLong)}},
      {"bool", {at::tensor({1, 0, 1}, at::kLong).to(at::kBool)}},
      {"scalar", {at::scalar_tensor(2.5, at::kFloat)}},
      {"empty", {at::zeros({0, 3})}},
      {"parameter", {counted({2, 2})}},
  }};
  ArchiveDict clusters{{
      {int64_t{0}, {ArchiveDict{{{"name", {counted({2, 3})}}}}}},
      {int64_t{300}, {state}},
      {int64_t{70000}, {ArchiveDict{}}},
  }};
  const ArchiveValue inner{ArchiveDict{{{"a", {ArchiveDict{{{"b", {ArchiveList{integer(1)}}}}}}}}}};
  ArchiveList more = {{},
                      {true},
                      {false},
                      integer(-7),
                      integer(int64_t{1} << 40),
                      integer(-(int64_t{1} << 62)),
                      {0.125},
                      {ArchiveList{{ArchiveList{}}, inner}}};
  return {ArchiveDict{{
      {"round", integer(3)},
      {"cluster_states", {clusters}},
      {"labels", {ArchiveList{integer(0), integer(300), integer(70000)}}},
      {"true_tasks", {ArchiveList{text("sst2"), text("mr\xc3\xbcpc"), text("")}}},
      {"more", {more}},
  }}};
}

void reads_what_torch_saves() { EXPECT(same(read_pt(fixture("native/torch_save.pt")), round_file())); }

void refuses_what_would_run_code() {
  EXPECT_FAILS(ErrorCode::Format, "refers to posix.getcwd", read_pt(fixture("native/refused.pt")));
  EXPECT_FAILS(ErrorCode::Format, "nothing of it was run", read_pt(fixture("native/refused.pt")));
}

void writes_what_it_reads_byte_for_byte_the_same() {
  const TemporaryFolder folder;
  write_pt(folder / "one.pt", round_file());
  write_pt(folder / "two.pt", round_file());
  EXPECT(same(read_pt(folder / "one.pt"), round_file()));
  EXPECT(read_bytes(folder / "one.pt") == read_bytes(folder / "two.pt"));
  ArchiveList numbers;
  for (int shift = 0; shift < 63; ++shift) {
    for (const int64_t near : {-1, 0, 1}) {
      numbers.push_back(integer((int64_t{1} << shift) + near));
      numbers.push_back(integer(-(int64_t{1} << shift) + near));
    }
  }
  numbers.push_back(integer(std::numeric_limits<int64_t>::min()));
  numbers.push_back({-0.1});
  numbers.push_back({std::numeric_limits<double>::infinity()});
  write_pt(folder / "numbers.pt", {numbers});
  EXPECT(same(read_pt(folder / "numbers.pt"), {numbers}));
}

void tensors_that_share_a_storage_share_memory() {
  const ArchiveValue value = read_pt(fixture("native/torch_save.pt"));
  const auto* clusters = std::get<ArchiveDict>(value.value).find("cluster_states");
  const auto* state = std::get<ArchiveDict>(clusters->value).find(int64_t{300});
  const auto tensor = [&](const char* name) {
    return std::get<at::Tensor>(std::get<ArchiveDict>(state->value).find(name)->value);
  };
  EXPECT(tensor("whole").storage().data() == tensor("column").storage().data());
  EXPECT(std::get<ArchiveDict>(state->value).find("absent") == nullptr);
}

void bad_values_are_not_written() {
  const TemporaryFolder folder;
  const std::string path = folder / "bad.pt";
  ArchiveValue deep = integer(0);
  for (int i = 0; i < 70; ++i) deep = {ArchiveList{deep}};
  EXPECT_FAILS(ErrorCode::Usage, "64 deep", write_pt(path, deep));
  EXPECT_FAILS(ErrorCode::Usage, "UTF-8", write_pt(path, text("\xc3")));
  EXPECT_FAILS(ErrorCode::Usage, "twice", write_pt(path, {ArchiveDict{{{"a", {}}, {"a", {}}}}}));
  EXPECT_FAILS(ErrorCode::Shape, "tensor", write_pt(path, {at::Tensor()}));
  EXPECT_FAILS(ErrorCode::Shape, "tensor", write_pt(path, {at::zeros({2}, at::kComplexFloat)}));
  EXPECT_FAILS(ErrorCode::Io, "absent", write_pt(folder / "absent/x.pt", integer(1)));
  EXPECT(!std::filesystem::exists(path));
}

std::span<const std::byte> bytes_of(const std::string& content) { return std::as_bytes(std::span(content)); }

// An archive around this pickle, with one storage of 8 bytes under key "0".
void write_archive(const std::string& path, const std::string& pickle, const std::string& version = "3\n") {
  ZipWriter zip(path);
  zip.add("x/data.pkl", bytes_of(pickle));
  zip.add("x/byteorder", bytes_of("little"));
  zip.add("x/data/0", bytes_of(std::string(8, '\2')));
  zip.add("x/version", bytes_of(version));
  zip.finish();
}

// Pickle fragments.
std::string raw(std::initializer_list<int> bytes) {
  std::string result;
  for (const int b : bytes) result.push_back(static_cast<char>(b));
  return result;
}
// One string of several; a sum of literals and temporaries sets off a false -Wrestrict of GCC 12.
std::string join(std::initializer_list<std::string> parts) {
  std::string result;
  for (const std::string& part : parts) result += part;
  return result;
}
std::string word(const std::string& s) { return join({raw({'X', static_cast<int>(s.size()), 0, 0, 0}), s}); }
std::string small(int number) { return raw({'K', number}); }
std::string storage(const std::string& type, const std::string& key, int values) {
  return join({"(", word("storage"), "ctorch\n", type, "\n", word(key), word("cpu"), small(values), "tQ"});
}
std::string tensor(const std::string& held, const std::string& offset, const std::string& size,
                   const std::string& stride) {
  return join({"ctorch._utils\n_rebuild_tensor_v2\n(", held, offset, "(", size, "t(", stride, "t",
               raw({0x89}), "ccollections\nOrderedDict\n)RtR"});
}
std::string floats(const std::string& offset, const std::string& size, const std::string& stride) {
  return tensor(storage("FloatStorage", "0", 2), offset, size, stride);
}

struct BadPickle {
  std::string body;  // between the protocol and the end
  const char* part;  // of the message
};

void damaged_pickles_are_refused() {
  const std::string big = raw({0x8a, 8, 0, 0, 0, 0, 0, 0, 0, 0x40});  // 2^62
  const BadPickle cases[] = {
      {"", "missing on the stack"},
      {"NN", "one value"},
      {"(N", "one value"},
      {"Na", "missing on the stack"},
      {"NNa", "a list to append to"},
      {"e", "a mark"},
      {"}(Nu", "key without a value"},
      {"}(NNu", "neither int nor str"},
      {"}(K\1NK\1Nu", "same key twice"},
      {raw({'h', 7}), "has not stored"},
      {join({"(", word(std::string(100, 'w')), "]", raw({'q', 0, 'h', 0, 'a'}), "t"}), "deeper"},
      {"cos\nsystem\n", "os.system"},
      {"c__builtin__\neval\n", "nothing of it was run"},
      {"cos", "a name has no end"},
      {"ctorch\nFloatStorage\n", "a name stands where"},
      {"ctorch\nFloatStorage\n)R", "cannot be called"},
      {storage("FloatStorage", "0", 2), "a storage stands where"},
      {"N)R", "a name to call"},
      {"ccollections\nOrderedDict\n(NtR", "made empty"},
      {"}}b", "no attributes"},
      {"I1\n", "not one that torch.save needs"},
      {raw({0x93}), "not one that torch.save needs"},
      {raw({'J', 1, 2}), "cut short"},
      {raw({'X', 0xff, 0xff, 0xff, 0xff}), "cut short"},
      {raw({'X', 1, 0, 0, 0, 0xff}), "UTF-8"},
      {raw({0x8a, 9, 1, 1, 1, 1, 1, 1, 1, 1, 1}), "9 bytes"},
      {raw({0x80, 4}), "protocol 4"},
      {storage("FloatStorage", "1", 2), "no entry"},
      {storage("FloatStorage", "../0", 2), "no entry"},
      {storage("FloatStorage", "0", 3), "has 8 bytes, expected 3"},
      {storage("DoubleStorage", "0", 2), "has 8 bytes, expected 2"},
      {storage("BoolStorage", "0", 8), "other than 0 and 1"},
      {storage("FloatStorage", "0", 2) + "0", "not one that"},
      {join({"(", storage("FloatStorage", "0", 2), storage("IntStorage", "0", 2), "t"}), "two types"},
      {floats(small(0), small(3), small(1)), "beyond its storage"},
      {floats(small(1), small(2), small(1)), "beyond its storage"},
      {floats(small(0), small(2), small(2)), "beyond its storage"},
      {floats(small(0), small(200), small(0)), "beyond its storage"},
      {floats(raw({'J', 0xff, 0xff, 0xff, 0xff}), small(1), small(1)), "beyond its storage"},
      {floats(small(0), big + big, small(1) + small(1)), "beyond its storage"},
      {floats(small(0), small(2), big), "beyond its storage"},
      {floats(small(0), raw({'J', 0xff, 0xff, 0xff, 0xff}), small(1)), "below 0"},
      {floats(small(0), small(2), ""), "1 sizes but 0 strides"},
      {floats(small(0), std::string(130, 'N'), small(1)), "dimensions"},
      {floats(word("0"), small(2), small(1)), "another type"},
  };
  const TemporaryFolder folder;
  const std::string path = folder / "bad.pt";
  for (const BadPickle& bad : cases) {
    write_archive(path, join({raw({0x80, 2}), bad.body, "."}));
    EXPECT_FAILS(ErrorCode::Format, bad.part, read_pt(path));
    EXPECT_FAILS(ErrorCode::Format, path + ": offset ", read_pt(path));
  }
  write_archive(path, join({raw({0x80, 2}), floats(small(0), small(2), small(1)), "."}));
  EXPECT(std::get<at::Tensor>(read_pt(path).value).numel() == 2, "the case that is right is refused");
}

// A short pickle whose references stand for a huge tree.
void references_cannot_multiply() {
  // Lists of eight times the list before, 30 levels of them, all in one tuple.
  std::string list = join({raw({0x80, 2}), "(](NNNNNNNNe", raw({'q', 0})});
  for (int level = 0; level < 30; ++level) {
    list += "](";
    for (int i = 0; i < 8; ++i) list += raw({'h', level});
    list += join({"e", raw({'q', level + 1})});
  }
  const TemporaryFolder folder;
  const std::string path = folder / "many.pt";
  write_archive(path, list + "t.");
  EXPECT_FAILS(ErrorCode::Format, "repeat values", read_pt(path));

  std::string words =
      join({raw({0x80, 2}), "(", raw({'X', 0, 16, 0, 0}), std::string(4096, 'a'), raw({'q', 0})});
  for (int i = 0; i < 200; ++i) words += raw({'h', 0});
  write_archive(path, words + "t.");
  EXPECT_FAILS(ErrorCode::Format, "repeat text", read_pt(path));

  ZipWriter zip(path);
  std::string tensors =
      join({raw({0x80, 2}), "(", tensor(storage("ByteStorage", "0", 200), small(0), small(200), small(1)),
            raw({'q', 0})});
  for (int i = 0; i < 250; ++i) tensors += raw({'h', 0});
  zip.add("x/data.pkl", bytes_of(tensors + "t."));
  zip.add("x/data/0", bytes_of(std::string(200, '\1')));
  zip.add("x/version", bytes_of("3\n"));
  zip.finish();
  EXPECT_FAILS(ErrorCode::Format, "repeat tensors", read_pt(path));
}

void damaged_archives_are_refused() {
  const TemporaryFolder folder;
  const std::string path = folder / "bad.pt";
  const std::string none = raw({0x80, 2, 'N', '.'});
  write_archive(path, none, "11\n");
  EXPECT_FAILS(ErrorCode::Unsupported, "archive format 11", read_pt(path));
  write_archive(path, none, "no");
  EXPECT_FAILS(ErrorCode::Format, "no format version", read_pt(path));
  const auto with_entries = [&](std::vector<std::pair<std::string, std::string>> entries) {
    ZipWriter zip(path);
    for (const auto& [name, content] : entries) zip.add(name, bytes_of(content));
    zip.finish();
    return path;
  };
  EXPECT_FAILS(ErrorCode::Format, "no entry NAME/data.pkl", read_pt(with_entries({})));
  EXPECT_FAILS(ErrorCode::Format, "no entry NAME/data.pkl", read_pt(with_entries({{"data.pkl", none}})));
  EXPECT_FAILS(ErrorCode::Format, "second data.pkl",
               read_pt(with_entries({{"a/data.pkl", none}, {"b/data.pkl", none}})));
  EXPECT_FAILS(ErrorCode::Format, "there twice",
               read_pt(with_entries({{"a/data.pkl", none}, {"a/data.pkl", none}})));
  EXPECT_FAILS(ErrorCode::Format, "\"a/version\"", read_pt(with_entries({{"a/data.pkl", none}})));
  EXPECT_FAILS(ErrorCode::Unsupported, "byte order \"big\"",
               read_pt(with_entries({{"a/data.pkl", none}, {"a/byteorder", "big"}, {"a/version", "3\n"}})));
  EXPECT_FAILS(ErrorCode::Io, "absent.pt", read_pt(folder / "absent.pt"));
  write_bytes(path, "");
  EXPECT_FAILS(ErrorCode::Format, "not a file of torch.save", read_pt(path));
  write_bytes(path, "\x80\x02}q\x01.");  // as torch.save wrote before PyTorch 1.6
  EXPECT_FAILS(ErrorCode::Format, "not a file of torch.save", read_pt(path));
  write_archive(path, none);
  std::string bytes = read_bytes(path);
  bytes[bytes.find(none)] ^= 1;
  write_bytes(path, bytes);
  EXPECT_FAILS(ErrorCode::Format, "CRC", read_pt(path));
}

void helpers_follow_their_standards() {
  EXPECT(crc32(bytes_of("123456789")) == 0xCBF43926u);  // the check value of CRC-32/ISO-HDLC
  EXPECT(crc32({}) == 0u);
  for (const char* good : {"", "plain", "\x7f", "\xc2\x80", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xef\xbf\xbf",
                           "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT(is_utf8(good), good);
  }
  for (const char* bad : {"\x80", "\xc1\xbf", "\xc2", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
                          "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "a\xff", "\xe2\x82"}) {
    EXPECT(!is_utf8(bad), "taken as UTF-8");
  }
}

}  // namespace

int main() {
  return run("archive_test", [] {
    reads_what_torch_saves();
    refuses_what_would_run_code();
    writes_what_it_reads_byte_for_byte_the_same();
    tensors_that_share_a_storage_share_memory();
    bad_values_are_not_written();
    damaged_pickles_are_refused();
    references_cannot_multiply();
    damaged_archives_are_refused();
    helpers_follow_their_standards();
  });
}
