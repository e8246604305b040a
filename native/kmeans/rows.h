// The rows to cluster, wherever they lie: in memory, on another device, in files. They are read in blocks of
// columns of all rows at once, so that rows which do not fit in memory together can be clustered too.
#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace fltac {

// A named range of the columns: one tensor of an adapter.
struct NamedTensor {
  std::string name;
  std::vector<int64_t> shape;
  int64_t offset = 0;  // its first column

  int64_t size() const;
  bool operator==(const NamedTensor&) const = default;
};

// Values [first, first + width) of every row.
struct ColumnBlock {
  std::vector<const float*> rows;
  std::shared_ptr<const std::vector<float>> memory;  // of rows that had to be read; empty otherwise
};

class RowSet {
 public:
  // 0 columns: as many as the first row that is added has.
  explicit RowSet(int64_t columns) : columns_(columns) {}
  // Rows that lie in memory and are read in place; `rows` point to `columns` values each.
  RowSet(std::span<const float* const> rows, int64_t columns);
  RowSet(const RowSet&) = delete;
  RowSet& operator=(const RowSet&) = delete;

  int64_t rows() const { return static_cast<int64_t>(rows_.size()); }
  int64_t columns() const { return columns_; }
  // The tensors that the columns hold, in order and without gaps; empty for a plain matrix.
  const std::vector<NamedTensor>& tensors() const { return tensors_; }
  // "row 3", and where it came from.
  std::string row_name(int64_t row) const;
  // Bytes that reads have taken from memory, device or files until now.
  int64_t bytes_read() const { return bytes_read_; }
  // Whether every row lies in memory as float32.
  bool in_memory() const { return in_memory_; }

  // Says what the columns are. Errors: Shape (gaps, another size, another layout than said before).
  void set_tensors(std::vector<NamedTensor> tensors);
  // A row in place; `keep` lives as long as this set does. Null for none.
  void add_row(const float* values, std::shared_ptr<const void> keep = nullptr);
  // Every row of a [n, columns] tensor of any floating type on any device, read in place where it is
  // contiguous float32 in memory. Errors: Shape, Unsupported (not floating).
  void add_tensor(const at::Tensor& matrix);
  // Every row of tensor `name` of a safetensors file, [n, columns], or [columns] for a single one. Errors:
  // Io, Format, MissingWeight, Shape, Unsupported.
  void add_file_tensor(const std::string& path, const std::string& name);
  // One row: all floating tensors of a safetensors file in byte order of their names, as an adapter's file
  // holds them. Errors: as above.
  void add_adapter_file(const std::string& path);

  // Memory that a block of rows which have to be read may take; 64 MiB unless it is set.
  void set_block_bytes(int64_t bytes) { block_bytes_ = bytes; }
  // Most columns to read at once; all of them where nothing has to be read. A multiple of 1024 unless it is
  // all.
  int64_t block_columns() const;
  // Columns [first, first + width). Rows that are not in memory are read by all threads. Errors: Io.
  ColumnBlock read(int64_t first, int64_t width) const;
  // The whole row where it lies in memory, else null.
  const float* in_place(int64_t row) const;
  // Whether two rows hold equal values (-0 equals 0).
  bool equal(int64_t a, int64_t b) const;

 private:
  // A run of a row's values in a file.
  struct FilePiece {
    std::shared_ptr<const std::string> path;
    uint64_t begin;  // byte
    at::ScalarType type;
    int64_t first;  // column
    int64_t values;
  };
  struct Row {
    std::variant<const float*, at::Tensor, std::vector<FilePiece>> values;
    std::string origin;  // for messages; may be empty
  };

  void expect_columns(int64_t found, const std::string& where);
  void copy(int64_t row, int64_t first, int64_t width, float* out) const;
  void copy_pieces(const std::vector<FilePiece>& pieces, int64_t first, int64_t width, float* out) const;

  int64_t columns_;
  std::vector<NamedTensor> tensors_;
  std::vector<Row> rows_;
  std::vector<std::shared_ptr<const void>> kept_;
  bool in_memory_ = true;
  int64_t block_bytes_ = int64_t{64} << 20;
  mutable std::atomic<int64_t> bytes_read_{0};
};

// Throws ErrorCode::NonFinite naming the first row that is NaN or infinite in `column`, and the tensor it
// lies in. `at_column` holds every row's value there.
[[noreturn]] void fail_non_finite(const RowSet& set, std::span<const float> at_column, int64_t column);

}  // namespace fltac
