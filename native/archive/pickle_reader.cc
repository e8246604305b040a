#include "archive/pickle_reader.h"

#include <ATen/ATen.h>

#include <set>

#include "archive/pickle_machine.h"

namespace fltac {
namespace {

// A pickle of this size describes some 50,000 tensors; its nodes take up to 50 times as much memory.
constexpr uint64_t kMaxPickle = uint64_t{16} << 20;

// Bytes of text that a byte of the pickle may come to through references: names of parameters repeat in each
// cluster.
constexpr uint64_t kMaxTextPerByte = 16;

// Turns the machine's nodes into a tree.
class ArchiveBuilder {
 public:
  ArchiveBuilder(const PickleMachine& machine, const PickleSource& source)
      : machine_(machine), source_(source) {}

  ArchiveValue build(NodeId id, int depth) {
    if (depth > kMaxArchiveDepth) machine_.bad("values nest deeper than ", kMaxArchiveDepth);
    spend(values_, 1, source_.bytes.size(), "values");
    return std::visit([&](const auto& content) { return value(content, depth); }, machine_.node(id));
  }

 private:
  // Counts what the tree takes: references can make a small pickle into a huge tree.
  void spend(uint64_t& used, uint64_t amount, uint64_t limit, const char* what) const {
    if (amount > limit - used)
      machine_.bad("references repeat ", what, " beyond what a file of this size may hold");
    used += amount;
  }

  ArchiveValue value(std::monostate none, int) { return {none}; }
  ArchiveValue value(bool flag, int) { return {flag}; }
  ArchiveValue value(int64_t number, int) { return {number}; }
  ArchiveValue value(double number, int) { return {number}; }

  ArchiveValue value(const std::string& text, int) {
    spend(text_, text.size(), kMaxTextPerByte * source_.bytes.size(), "text");
    return {text};
  }

  ArchiveValue value(const at::Tensor& tensor, int) {
    spend(tensor_bytes_, tensor.nbytes(), source_.max_tensor_bytes, "tensors");
    return {tensor};
  }

  ArchiveValue value(const TupleNode& tuple, int depth) { return {list(tuple.items, depth)}; }
  ArchiveValue value(const ListNode& nodes, int depth) { return {list(nodes.items, depth)}; }

  ArchiveList list(const std::vector<NodeId>& items, int depth) {
    ArchiveList result;
    for (const NodeId item : items) result.push_back(build(item, depth + 1));
    return result;
  }

  ArchiveValue value(const DictNode& dict, int depth) {
    ArchiveDict result;
    std::set<ArchiveKey> seen;
    for (const auto& [key_node, item] : dict.items) {
      ArchiveKey key = this->key(build(key_node, depth + 1));
      if (!seen.insert(key).second) machine_.bad("a dict has the same key twice");
      result.items.emplace_back(std::move(key), build(item, depth + 1));
    }
    return {std::move(result)};
  }

  ArchiveKey key(ArchiveValue value) const {
    if (const auto* number = std::get_if<int64_t>(&value.value)) return *number;
    if (auto* text = std::get_if<std::string>(&value.value)) return std::move(*text);
    machine_.bad("a dict has a key that is neither int nor str");
  }

  ArchiveValue value(const GlobalNode&, int) { machine_.bad("a name stands where a value is expected"); }
  ArchiveValue value(const StorageNode&, int) { machine_.bad("a storage stands where a tensor is expected"); }

  const PickleMachine& machine_;
  const PickleSource& source_;
  uint64_t values_ = 0, text_ = 0, tensor_bytes_ = 0;
};

}  // namespace

ArchiveValue unpickle(const PickleSource& source) {
  if (source.bytes.size() > kMaxPickle) {
    fail(ErrorCode::Format, source.path, ": offset ", source.offset, ": data.pkl has ", source.bytes.size(),
         " bytes; at most ", kMaxPickle, " are taken");
  }
  PickleMachine machine(source);
  const NodeId root = machine.run();
  return ArchiveBuilder(machine, source).build(root, 0);
}

}  // namespace fltac
