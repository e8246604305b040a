// Rows from memory, tensors and files: the same values wherever they lie, read in blocks, with errors that
// name the file.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "check.h"
#include "kmeans/average.h"
#include "kmeans/gram.h"
#include "kmeans/kmeans.h"
#include "kmeans/rows.h"
#include "kmeans_data.h"
#include "model/safetensors.h"

namespace {

using namespace fltac;
using namespace fltac::test;

at::Tensor matrix_of(const Data& data) {
  at::Tensor matrix = at::empty({static_cast<int64_t>(data.values.size()), data.columns()}, at::kFloat);
  for (size_t i = 0; i < data.values.size(); ++i)
    std::copy(data.values[i].begin(), data.values[i].end(),
              matrix.data_ptr<float>() + static_cast<int64_t>(i) * data.columns());
  return matrix;
}

// A safetensors file with one tensor of any type: the project's writer takes float32 only.
void write_tensor(const std::string& path, const std::string& dtype, const at::Tensor& tensor) {
  const at::Tensor whole = tensor.contiguous();
  const nlohmann::json header = {
      {"x", {{"dtype", dtype}, {"shape", whole.sizes().vec()}, {"data_offsets", {0, whole.nbytes()}}}}};
  const std::string text = header.dump();
  const uint64_t length = text.size();
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof length);
  bytes += text;
  bytes.append(static_cast<const char*>(whole.const_data_ptr()), whole.nbytes());
  write_bytes(path, bytes);
}

// All values that reads in blocks give.
std::vector<std::vector<float>> read_all(const RowSet& rows) {
  std::vector<std::vector<float>> values(static_cast<size_t>(rows.rows()));
  for (int64_t first = 0; first < rows.columns(); first += rows.block_columns()) {
    const int64_t width = std::min(rows.block_columns(), rows.columns() - first);
    const ColumnBlock block = rows.read(first, width);
    for (size_t i = 0; i < values.size(); ++i)
      values[i].insert(values[i].end(), block.rows[i], block.rows[i] + width);
  }
  return values;
}

void files_of_all_types_give_their_values() {
  const TemporaryFolder folder;
  const Data data = blobs(1, 5, 1300, 2, 3.0);
  const std::pair<const char*, at::ScalarType> types[] = {
      {"F32", at::kFloat}, {"F64", at::kDouble}, {"F16", at::kHalf}, {"BF16", at::kBFloat16}};
  for (const auto& [name, type] : types) {
    const at::Tensor stored = matrix_of(data).to(type);
    write_tensor(folder / "x.safetensors", name, stored);
    RowSet rows(0);
    rows.add_file_tensor(folder / "x.safetensors", "x");
    EXPECT(rows.rows() == 5 && rows.columns() == 1300 && !rows.in_memory());
    for (const int64_t bytes : {int64_t{1}, int64_t{1} << 15, int64_t{1} << 30}) {
      rows.set_block_bytes(bytes);
      const at::Tensor expected = stored.to(at::kFloat);
      const auto found = read_all(rows);
      for (int64_t i = 0; i < 5; ++i) {
        EXPECT(std::equal(found[static_cast<size_t>(i)].begin(), found[static_cast<size_t>(i)].end(),
                          expected.data_ptr<float>() + i * 1300),
               name, "row", i);
      }
    }
    EXPECT(rows.bytes_read() == 3 * static_cast<int64_t>(stored.nbytes()), name, rows.bytes_read());
    RowSet tensors(0);
    tensors.add_tensor(stored);
    EXPECT(tensors.in_memory() == (type == at::kFloat) && read_all(tensors) == read_all(rows), name);
  }
  write_tensor(folder / "i.safetensors", "I64", at::ones({2, 3}, at::kLong));
  RowSet rows(0);
  EXPECT_FAILS(ErrorCode::Unsupported, "is I64", rows.add_file_tensor(folder / "i.safetensors", "x"));
  EXPECT_FAILS(ErrorCode::Unsupported, "floating", rows.add_tensor(at::ones({2, 3}, at::kLong)));
}

NamedTensors adapter(const Data& data, size_t row) {
  const at::Tensor flat = matrix_of(data)[static_cast<int64_t>(row)];
  // Written in the order of their names, read back so.
  return {{"b.weight", flat.narrow(0, 6, 4).clone()},
          {"a.weight", flat.narrow(0, 0, 6).reshape({2, 3}).clone()}};
}

void adapters_in_files_are_rows() {
  const TemporaryFolder folder;
  const Data data = blobs(2, 3, 10, 3, 2.0);
  RowSet rows(0);
  for (size_t i = 0; i < 3; ++i) {
    const std::string path = folder / (std::to_string(i) + ".safetensors");
    write_safetensors(path, adapter(data, i));
    rows.add_adapter_file(path);
  }
  EXPECT(read_all(rows) == data.values);
  EXPECT(rows.tensors().size() == 2 && rows.tensors()[0] == (NamedTensor{"a.weight", {2, 3}, 0}) &&
         rows.tensors()[1] == (NamedTensor{"b.weight", {4}, 6}));
  EXPECT(rows.row_name(1).find("1.safetensors") != std::string::npos, rows.row_name(1));
  write_safetensors(folder / "other.safetensors",
                    {{"a.weight", at::ones({3, 2})}, {"b.weight", at::ones({4})}});
  EXPECT_FAILS(ErrorCode::Shape, "same tensors", rows.add_adapter_file(folder / "other.safetensors"));
  write_safetensors(folder / "short.safetensors", {{"a.weight", at::ones({3, 2})}});
  EXPECT_FAILS(ErrorCode::Shape, "hold 6 values, expected 10",
               rows.add_adapter_file(folder / "short.safetensors"));
  EXPECT_FAILS(ErrorCode::Io, "none.safetensors", rows.add_adapter_file(folder / "none.safetensors"));
  EXPECT_FAILS(ErrorCode::MissingWeight, "absent", rows.add_file_tensor(folder / "0.safetensors", "absent"));
}

// Rows of a bank, of a file and of another tensor, in blocks of any size: the same clustering bit for bit.
void where_rows_lie_has_no_influence() {
  const TemporaryFolder folder;
  const Data data = blobs(3, 24, 4000, 3, 1.0, 50.0);
  const at::Tensor matrix = matrix_of(data);
  write_safetensors(folder / "x.safetensors", {{"x", matrix.narrow(0, 8, 9).clone()}});
  const auto pointers = data.rows();
  RowSet joined(4000);
  for (size_t i = 0; i < 8; ++i) joined.add_row(pointers[i]);
  joined.add_file_tensor(folder / "x.safetensors", "x");
  joined.add_tensor(matrix.narrow(0, 17, 7).to(at::kDouble));
  KmeansOptions options;
  options.k = 3;
  const KmeansResult expected = kmeans(pointers, 4000, options);
  for (const int64_t bytes : {int64_t{1}, int64_t{100'000}, int64_t{1} << 30}) {
    joined.set_block_bytes(bytes);
    for (const KmeansPath path : {KmeansPath::kGram, KmeansPath::kFused}) {
      options.path = path;
      const KmeansResult result = kmeans(joined, options);
      const KmeansResult here = path == KmeansPath::kGram ? expected : kmeans(pointers, 4000, options);
      EXPECT(result.labels == here.labels && result.inertia == here.inertia, "block bytes", bytes);
      EXPECT(result.centroids == here.centroids && result.quality.own == here.quality.own, "block bytes",
             bytes);
    }
  }
  // Without centroids everything is read once.
  options.path = KmeansPath::kGram;
  options.centroids = false;
  RowSet once(4000);
  once.add_file_tensor(folder / "x.safetensors", "x");
  once.set_block_bytes(20'000);
  const KmeansResult result = kmeans(once, options);
  EXPECT(result.bytes_read == 9 * 4000 * 4, result.bytes_read);
}

void a_file_that_is_cut_short_is_an_error() {
  const TemporaryFolder folder;
  const Data data = blobs(4, 6, 3000, 2, 1.0);
  write_safetensors(folder / "x.safetensors", {{"x", matrix_of(data)}});
  RowSet rows(0);
  rows.add_file_tensor(folder / "x.safetensors", "x");
  std::filesystem::resize_file(folder / "x.safetensors", 40'000);
  KmeansOptions options;
  options.k = 2;
  EXPECT_FAILS(ErrorCode::Io, "ends at byte", kmeans(rows, options));
  std::filesystem::remove(folder / "x.safetensors");
  EXPECT_FAILS(ErrorCode::Io, "x.safetensors", kmeans(rows, options));
}

void bad_values_are_named_with_their_tensor() {
  const TemporaryFolder folder;
  Data data = blobs(5, 3, 10, 3, 2.0);
  data.values[1][7] = std::numeric_limits<float>::quiet_NaN();
  RowSet rows(0);
  for (size_t i = 0; i < 3; ++i) {
    const std::string path = folder / (std::to_string(i) + ".safetensors");
    write_safetensors(path, adapter(data, i));
    rows.add_adapter_file(path);
  }
  KmeansOptions options;
  options.k = 2;
  EXPECT_FAILS(ErrorCode::NonFinite, "1.safetensors", kmeans(rows, options));
  EXPECT_FAILS(ErrorCode::NonFinite, "value 1 of tensor \"b.weight\"", kmeans(rows, options));
}

void layouts_must_fit() {
  const Data data = blobs(6, 2, 10, 2, 1.0);
  RowSet rows(data.rows(), 10);
  EXPECT_FAILS(ErrorCode::Shape, "hold 9 values, expected 10", rows.set_tensors({{"a", {9}, 0}}));
  EXPECT_FAILS(ErrorCode::Shape, "expected at column 4", rows.set_tensors({{"a", {4}, 0}, {"b", {5}, 5}}));
  rows.set_tensors({{"a", {4}, 0}, {"b", {6}, 4}});
  EXPECT_FAILS(ErrorCode::Shape, "same tensors", rows.set_tensors({{"a", {5}, 0}, {"b", {5}, 5}}));
}

}  // namespace

int main() {
  return run("kmeans_rows_test", [] {
    at::set_num_threads(2);
    files_of_all_types_give_their_values();
    adapters_in_files_are_rows();
    where_rows_lie_has_no_influence();
    a_file_that_is_cut_short_is_an_error();
    bad_values_are_named_with_their_tensor();
    layouts_must_fit();
  });
}
