#include "kmeans/rows.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "core/file_descriptor.h"
#include "model/safetensors.h"
#include "model/safetensors_header.h"

namespace fltac {
namespace {

// Columns of a block are a multiple of this, so that where blocks end has no influence on sums over them.
constexpr int64_t kColumnStep = 1024;

at::ScalarType float_type(const TensorEntry& entry, const std::string& name) {
  const SafetensorsType* type = find_safetensors_type(entry.dtype);
  if (type == nullptr || !type->scalar || !at::isFloatingType(*type->scalar)) {
    fail(ErrorCode::Unsupported, entry.file->path(), ": tensor \"", name, "\" is ", entry.dtype,
         "; K-means needs a floating type");
  }
  return *type->scalar;
}

// A file to read from by position. Reading, unlike a mapping, survives a file that is cut short meanwhile.
class InputFile {
 public:
  // Errors: Io.
  explicit InputFile(const std::string& path)
      : path_(path), file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (file_.get() < 0) fail(ErrorCode::Io, path, ": cannot be opened for reading: ", std::strerror(errno));
  }

  // Bytes [begin, begin + bytes). Errors: Io.
  void read(uint64_t begin, int64_t bytes, char* out) const {
    const int64_t wanted = bytes;
    while (bytes > 0) {
      const ssize_t got = ::pread(file_.get(), out, static_cast<size_t>(bytes), static_cast<off_t>(begin));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) fail(ErrorCode::Io, path_, ": cannot be read at byte ", begin, ": ", std::strerror(errno));
      if (got == 0)
        fail(ErrorCode::Io, path_, ": ends at byte ", begin, ", where ", bytes, " more were expected");
      out += got;
      begin += static_cast<uint64_t>(got);
      bytes -= got;
    }
#if defined(POSIX_FADV_WILLNEED)
    // What follows is read next: the disk can work while this is used.
    ::posix_fadvise(file_.get(), static_cast<off_t>(begin), wanted, POSIX_FADV_WILLNEED);
#endif
  }

 private:
  const std::string& path_;
  FileDescriptor file_;
};

}  // namespace

int64_t NamedTensor::size() const {
  int64_t values = 1;
  for (const int64_t d : shape) values *= d;
  return values;
}

RowSet::RowSet(std::span<const float* const> rows, int64_t columns) : columns_(columns) {
  for (const float* row : rows) add_row(row);
}

std::string RowSet::row_name(int64_t row) const {
  const std::string& origin = rows_[static_cast<size_t>(row)].origin;
  return "row " + std::to_string(row) + (origin.empty() ? "" : " (" + origin + ")");
}

void RowSet::set_tensors(std::vector<NamedTensor> tensors) {
  int64_t next = 0;
  for (const NamedTensor& tensor : tensors) {
    if (tensor.offset != next) {
      fail(ErrorCode::Shape, "tensor \"", tensor.name, "\" was expected at column ", next, ", found at ",
           tensor.offset);
    }
    next += tensor.size();
  }
  expect_columns(next, "the tensors of a row");
  if (!tensors_.empty() && tensors_ != tensors) {
    fail(ErrorCode::Shape, "the rows do not all consist of the same tensors; \"", tensors.front().name,
         "\" comes first in one, \"", tensors_.front().name, "\" in another, or their shapes differ");
  }
  tensors_ = std::move(tensors);
}

void RowSet::expect_columns(int64_t found, const std::string& where) {
  if (columns_ == 0) columns_ = found;
  if (found != columns_) fail(ErrorCode::Shape, where, " hold ", found, " values, expected ", columns_);
}

void RowSet::add_row(const float* values, std::shared_ptr<const void> keep) {
  rows_.push_back({values, {}});
  if (keep) kept_.push_back(std::move(keep));
}

void RowSet::add_tensor(const at::Tensor& matrix) {
  if (matrix.dim() != 2)
    fail(ErrorCode::Shape, "K-means needs a tensor [rows, columns], found shape ", matrix.sizes());
  expect_columns(matrix.size(1), "the rows of a tensor");
  if (!at::isFloatingType(matrix.scalar_type())) {
    fail(ErrorCode::Unsupported, "K-means needs rows of a floating type, found ", matrix.scalar_type());
  }
  const bool here = matrix.is_cpu() && matrix.scalar_type() == at::kFloat && matrix.stride(1) == 1;
  if (here) kept_.push_back(std::make_shared<const at::Tensor>(matrix));
  in_memory_ = in_memory_ && here;
  for (int64_t i = 0; i < matrix.size(0); ++i) {
    if (here) {
      rows_.push_back({matrix.const_data_ptr<float>() + i * matrix.stride(0), {}});
    } else {
      rows_.push_back({matrix[i], {}});
    }
  }
}

void RowSet::add_file_tensor(const std::string& path, const std::string& name) {
  const SafetensorsModel model = SafetensorsModel::open(path);
  const TensorEntry& entry = model.entry(name);
  const at::ScalarType type = float_type(entry, name);
  const size_t rank = entry.shape.size();
  if (rank < 1 || rank > 2) {
    fail(ErrorCode::Shape, path, ": tensor \"", name, "\" has shape ", at::IntArrayRef(entry.shape),
         "; expected [rows, columns] or [columns]");
  }
  expect_columns(entry.shape.back(), path + ": the rows of \"" + name + "\"");
  const auto shared_path = std::make_shared<const std::string>(entry.file->path());
  const uint64_t row_bytes = static_cast<uint64_t>(columns_) * at::elementSize(type);
  const int64_t count = rank == 2 ? entry.shape[0] : 1;
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t begin = entry.begin + static_cast<uint64_t>(i) * row_bytes;
    std::vector<FilePiece> pieces = {{shared_path, begin, type, 0, columns_}};
    rows_.push_back({std::move(pieces), *shared_path + ", " + name});
  }
  in_memory_ = false;
}

void RowSet::add_adapter_file(const std::string& path) {
  const SafetensorsModel model = SafetensorsModel::open(path);
  std::vector<NamedTensor> tensors;
  std::vector<FilePiece> pieces;
  int64_t next = 0;
  std::shared_ptr<const std::string> shared_path;
  for (const auto& [name, entry] : model.entries()) {
    if (!shared_path || *shared_path != entry.file->path())
      shared_path = std::make_shared<const std::string>(entry.file->path());
    pieces.push_back({shared_path, entry.begin, float_type(entry, name), next, entry.values});
    tensors.push_back({name, entry.shape, next});
    next += entry.values;
  }
  expect_columns(next, path + ": the tensors together");
  set_tensors(std::move(tensors));
  rows_.push_back({std::move(pieces), path});
  in_memory_ = false;
}

int64_t RowSet::block_columns() const {
  if (in_memory_) return columns_;
  const int64_t fit = block_bytes_ / static_cast<int64_t>(sizeof(float)) / std::max<int64_t>(1, rows());
  return std::min(columns_, std::max(kColumnStep, fit / kColumnStep * kColumnStep));
}

ColumnBlock RowSet::read(int64_t first, int64_t width) const {
  ColumnBlock block;
  block.rows.resize(rows_.size());
  std::vector<size_t> away;
  for (size_t i = 0; i < rows_.size(); ++i) {
    const float* here = in_place(static_cast<int64_t>(i));
    if (here == nullptr) {
      away.push_back(i);
    } else {
      block.rows[i] = here + first;
      bytes_read_ += width * static_cast<int64_t>(sizeof(float));
    }
  }
  if (away.empty()) return block;
  const auto memory = std::make_shared<std::vector<float>>(away.size() * static_cast<size_t>(width));
  at::parallel_for(0, static_cast<int64_t>(away.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const size_t row = away[static_cast<size_t>(i)];
      float* out = memory->data() + i * width;
      copy(static_cast<int64_t>(row), first, width, out);
      block.rows[row] = out;
    }
  });
  block.memory = memory;
  return block;
}

const float* RowSet::in_place(int64_t row) const {
  const auto* here = std::get_if<const float*>(&rows_[static_cast<size_t>(row)].values);
  return here == nullptr ? nullptr : *here;
}

bool RowSet::equal(int64_t a, int64_t b) const {
  constexpr int64_t kWidth = 1 << 16;
  std::vector<float> of_a(static_cast<size_t>(std::min(kWidth, columns_))), of_b(of_a.size());
  for (int64_t first = 0; first < columns_; first += kWidth) {
    const int64_t width = std::min(kWidth, columns_ - first);
    copy(a, first, width, of_a.data());
    copy(b, first, width, of_b.data());
    if (!std::equal(of_a.begin(), of_a.begin() + width, of_b.begin())) return false;
  }
  return true;
}

void RowSet::copy(int64_t row, int64_t first, int64_t width, float* out) const {
  const auto& values = rows_[static_cast<size_t>(row)].values;
  if (const auto* here = std::get_if<const float*>(&values)) {
    std::copy_n(*here + first, width, out);
    bytes_read_ += width * static_cast<int64_t>(sizeof(float));
  } else if (const auto* tensor = std::get_if<at::Tensor>(&values)) {
    const at::Tensor part = tensor->narrow(0, first, width);
    at::from_blob(out, {width}, at::kFloat).copy_(part);
    bytes_read_ += width * static_cast<int64_t>(part.element_size());
  } else {
    copy_pieces(std::get<std::vector<FilePiece>>(values), first, width, out);
  }
}

void RowSet::copy_pieces(const std::vector<FilePiece>& pieces, int64_t first, int64_t width,
                         float* out) const {
  std::unique_ptr<const InputFile> file;
  const std::string* opened = nullptr;
  for (const FilePiece& piece : pieces) {
    const int64_t from = std::max(first, piece.first);
    const int64_t to = std::min(first + width, piece.first + piece.values);
    if (from >= to) continue;
    if (opened != piece.path.get()) {
      opened = piece.path.get();
      file = std::make_unique<const InputFile>(*opened);
    }
    const auto size = static_cast<int64_t>(at::elementSize(piece.type));
    const uint64_t begin = piece.begin + static_cast<uint64_t>((from - piece.first) * size);
    const int64_t bytes = (to - from) * size;
    float* target = out + (from - first);
    if (piece.type == at::kFloat) {
      file->read(begin, bytes, reinterpret_cast<char*>(target));
    } else {
      const at::Tensor stored = at::empty({to - from}, piece.type);
      file->read(begin, bytes, static_cast<char*>(stored.mutable_data_ptr()));
      at::from_blob(target, {to - from}, at::kFloat).copy_(stored);
    }
    bytes_read_ += bytes;
  }
}

void fail_non_finite(const RowSet& set, std::span<const float> at_column, int64_t column) {
  for (size_t i = 0; i < at_column.size(); ++i) {
    if (std::isfinite(at_column[i])) continue;
    const auto& tensors = set.tensors();
    const auto found = std::find_if(tensors.begin(), tensors.end(), [&](const NamedTensor& tensor) {
      return column >= tensor.offset && column < tensor.offset + tensor.size();
    });
    const std::string within = found == tensors.end() ? std::string()
                                                      : ", value " + std::to_string(column - found->offset) +
                                                            " of tensor \"" + found->name + "\"";
    fail(ErrorCode::NonFinite, set.row_name(static_cast<int64_t>(i)), " is ", at_column[i], " at column ",
         column, within, ": every value must be finite");
  }
  fail(ErrorCode::Internal, "column ", column, " was said to hold a value that is not finite, but does not");
}

}  // namespace fltac
