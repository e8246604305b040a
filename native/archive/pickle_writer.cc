#include "archive/pickle_writer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <set>
#include <string_view>

#include "archive/pickle_opcodes.h"
#include "archive/storage_types.h"
#include "archive/utf8.h"
#include "core/error.h"

namespace fltac {
namespace {

std::string_view storage_class(const at::Tensor& tensor) {
  const bool plain = tensor.defined() && tensor.device().is_cpu() && tensor.layout() == at::kStrided;
  for (const StorageType& type : kStorageTypes) {
    if (plain && type.scalar == tensor.scalar_type()) return type.class_name;
  }
  fail(ErrorCode::Shape, "a tensor in an archive must be a dense CPU tensor of a plain number type, found ",
       tensor.defined() ? tensor.toString() : "none");
}

class PickleWriter {
 public:
  PickledArchive write(const ArchiveValue& root) {
    op(Opcode::Proto);
    byte(kPickleProtocol);
    value(root, 0);
    op(Opcode::Stop);
    return std::move(result_);
  }

 private:
  void byte(uint8_t b) { result_.pickle.push_back(static_cast<char>(b)); }
  void op(Opcode code) { byte(static_cast<uint8_t>(code)); }

  void little_endian(uint64_t bits, int bytes) {
    for (int i = 0; i < bytes; ++i) byte(static_cast<uint8_t>(bits >> (8 * i)));
  }

  void value(const ArchiveValue& item, int depth) {
    if (depth > kMaxArchiveDepth)
      fail(ErrorCode::Usage, "an archive nests at most ", kMaxArchiveDepth, " deep");
    std::visit([&](const auto& content) { put(content, depth); }, item.value);
  }

  void put(std::monostate, int) { op(Opcode::None); }
  void put(bool flag, int) { op(flag ? Opcode::NewTrue : Opcode::NewFalse); }

  void put(int64_t number, int) {
    if (number >= 0 && number <= std::numeric_limits<uint8_t>::max()) {
      op(Opcode::BinInt1);
      little_endian(static_cast<uint64_t>(number), 1);
    } else if (number >= 0 && number <= std::numeric_limits<uint16_t>::max()) {
      op(Opcode::BinInt2);
      little_endian(static_cast<uint64_t>(number), 2);
    } else if (number >= std::numeric_limits<int32_t>::min() &&
               number <= std::numeric_limits<int32_t>::max()) {
      op(Opcode::BinInt);
      little_endian(static_cast<uint64_t>(number), 4);
    } else {
      op(Opcode::Long1);
      byte(8);
      little_endian(static_cast<uint64_t>(number), 8);
    }
  }

  void put(double number, int) {
    op(Opcode::BinFloat);
    const auto bits = std::bit_cast<uint64_t>(number);
    for (int i = 7; i >= 0; --i) byte(static_cast<uint8_t>(bits >> (8 * i)));
  }

  void put(const std::string& text, int) {
    if (!is_utf8(text)) fail(ErrorCode::Usage, "a string in an archive must be UTF-8, found \"", text, "\"");
    if (text.size() > std::numeric_limits<uint32_t>::max()) {
      fail(ErrorCode::Usage, "a string in an archive has at most 2^32 bytes, found ", text.size());
    }
    op(Opcode::BinUnicode);
    little_endian(text.size(), 4);
    result_.pickle += text;
  }

  void put(const ArchiveList& list, int depth) {
    op(Opcode::EmptyList);
    op(Opcode::Mark);
    for (const ArchiveValue& item : list) value(item, depth + 1);
    op(Opcode::Appends);
  }

  void put(const ArchiveDict& dict, int depth) {
    std::set<ArchiveKey> seen;
    op(Opcode::EmptyDict);
    op(Opcode::Mark);
    for (const auto& [key, item] : dict.items) {
      if (!seen.insert(key).second) fail(ErrorCode::Usage, "a dict in an archive has the same key twice");
      std::visit([&](const auto& content) { put(content, depth); }, key);
      value(item, depth + 1);
    }
    op(Opcode::SetItems);
  }

  void global(std::string_view module, std::string_view name) {
    op(Opcode::Global);
    result_.pickle.append(module).append("\n").append(name).append("\n");
  }

  void tuple(at::IntArrayRef numbers) {
    op(Opcode::Mark);
    for (const int64_t number : numbers) put(number, 0);
    op(Opcode::Tuple);
  }

  // _rebuild_tensor_v2(storage, storage_offset, size, stride, requires_grad, backward_hooks), where storage
  // is the persistent id ("storage", class, record, location, number of values): torch/serialization.py,
  // torch/_utils.py.
  void put(const at::Tensor& tensor, int) {
    const std::string_view storage = storage_class(tensor);
    const at::Tensor contiguous = tensor.contiguous();
    global("torch._utils", "_rebuild_tensor_v2");
    op(Opcode::Mark);
    op(Opcode::Mark);
    put(std::string("storage"), 0);
    global("torch", storage);
    put(std::to_string(result_.storages.size()), 0);
    put(std::string("cpu"), 0);
    put(contiguous.numel(), 0);
    op(Opcode::Tuple);
    op(Opcode::BinPersId);
    put(int64_t{0}, 0);
    tuple(contiguous.sizes());
    tuple(contiguous.strides());
    put(false, 0);
    global("collections", "OrderedDict");
    op(Opcode::EmptyTuple);
    op(Opcode::Reduce);
    op(Opcode::Tuple);
    op(Opcode::Reduce);
    result_.storages.push_back(contiguous);
  }

  PickledArchive result_;
};

}  // namespace

PickledArchive pickle_archive(const ArchiveValue& value) { return PickleWriter().write(value); }

}  // namespace fltac
