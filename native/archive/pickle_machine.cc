#include "archive/pickle_machine.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>
#include <optional>
#include <string_view>

#include "archive/storage_types.h"
#include "archive/utf8.h"

namespace fltac {
namespace {

struct GlobalName {
  std::string_view module, name;
  KnownGlobal kind;
};

constexpr std::array kGlobals = {
    GlobalName{"torch._utils", "_rebuild_tensor_v2", KnownGlobal::RebuildTensor},
    GlobalName{"torch._utils", "_rebuild_parameter", KnownGlobal::RebuildParameter},
    GlobalName{"collections", "OrderedDict", KnownGlobal::OrderedDict},
};

std::optional<GlobalNode> find_global(std::string_view module, std::string_view name) {
  for (const GlobalName& row : kGlobals) {
    if (row.module == module && row.name == name) return GlobalNode{row.kind, at::ScalarType::Undefined};
  }
  for (const StorageType& row : kStorageTypes) {
    if (module == "torch" && row.class_name == name) return GlobalNode{KnownGlobal::Storage, row.scalar};
  }
  return std::nullopt;
}

}  // namespace

const std::array<PickleMachine::Action, 256>& PickleMachine::actions() {
  static const std::array<Action, 256> table = [] {
    constexpr std::pair<Opcode, Action> kRows[] = {
        {Opcode::Proto, &PickleMachine::proto},
        {Opcode::Mark, &PickleMachine::mark},
        {Opcode::None, &PickleMachine::none},
        {Opcode::NewTrue, &PickleMachine::yes},
        {Opcode::NewFalse, &PickleMachine::no},
        {Opcode::BinInt, &PickleMachine::int4},
        {Opcode::BinInt1, &PickleMachine::int1},
        {Opcode::BinInt2, &PickleMachine::int2},
        {Opcode::Long1, &PickleMachine::long1},
        {Opcode::BinFloat, &PickleMachine::real},
        {Opcode::BinUnicode, &PickleMachine::unicode},
        {Opcode::EmptyList, &PickleMachine::empty_list},
        {Opcode::Append, &PickleMachine::append},
        {Opcode::Appends, &PickleMachine::appends},
        {Opcode::EmptyDict, &PickleMachine::empty_dict},
        {Opcode::SetItem, &PickleMachine::set_item},
        {Opcode::SetItems, &PickleMachine::set_items},
        {Opcode::EmptyTuple, &PickleMachine::empty_tuple},
        {Opcode::Tuple, &PickleMachine::tuple},
        {Opcode::Tuple1, &PickleMachine::tuple1},
        {Opcode::Tuple2, &PickleMachine::tuple2},
        {Opcode::Tuple3, &PickleMachine::tuple3},
        {Opcode::BinPut, &PickleMachine::put1},
        {Opcode::LongBinPut, &PickleMachine::put4},
        {Opcode::BinGet, &PickleMachine::get1},
        {Opcode::LongBinGet, &PickleMachine::get4},
        {Opcode::Global, &PickleMachine::global},
        {Opcode::Reduce, &PickleMachine::reduce},
        {Opcode::Build, &PickleMachine::build},
        {Opcode::BinPersId, &PickleMachine::persistent_id},
    };
    std::array<Action, 256> actions{};
    for (const auto& [opcode, action] : kRows) actions[static_cast<uint8_t>(opcode)] = action;
    return actions;
  }();
  return table;
}

NodeId PickleMachine::run() {
  while (true) {
    start_ = position_;
    const auto code = static_cast<uint8_t>(little_endian(1));
    if (code == static_cast<uint8_t>(Opcode::Stop)) break;
    const Action action = actions()[code];
    if (action == nullptr) bad("opcode ", int{code}, " is not one that torch.save needs (pickle protocol 2)");
    (this->*action)();
  }
  const NodeId result = pop();
  if (!stack_.empty() || !marks_.empty() || position_ != source_.bytes.size()) {
    bad("the pickle does not end with one value");
  }
  return result;
}

uint64_t PickleMachine::little_endian(int bytes) {
  const std::string_view raw = take(static_cast<uint64_t>(bytes));
  uint64_t value = 0;
  for (size_t i = 0; i < raw.size(); ++i) value |= uint64_t{static_cast<uint8_t>(raw[i])} << (8 * i);
  return value;
}

std::string_view PickleMachine::take(uint64_t bytes) {
  if (bytes > source_.bytes.size() - position_)
    bad("the pickle is cut short: ", bytes, " more bytes are needed");
  const std::string_view raw(reinterpret_cast<const char*>(source_.bytes.data()) + position_, bytes);
  position_ += bytes;
  return raw;
}

std::string_view PickleMachine::line() {
  const auto begin = source_.bytes.begin() + static_cast<ptrdiff_t>(position_);
  const auto end = std::find(begin, source_.bytes.end(), std::byte{'\n'});
  if (end == source_.bytes.end()) bad("a name has no end");
  const std::string_view text = take(static_cast<uint64_t>(end - begin) + 1);
  return text.substr(0, text.size() - 1);
}

void PickleMachine::push(Node node) {
  stack_.push_back(static_cast<NodeId>(nodes_.size()));
  nodes_.push_back(std::move(node));
}

NodeId PickleMachine::top() const {
  const size_t bottom = marks_.empty() ? 0 : marks_.back();
  if (stack_.size() <= bottom) bad("a value is missing on the stack");
  return stack_.back();
}

NodeId PickleMachine::pop() {
  const NodeId id = top();
  stack_.pop_back();
  return id;
}

std::vector<NodeId> PickleMachine::pop_to_mark() {
  if (marks_.empty()) bad("a mark is missing on the stack");
  const auto begin = stack_.begin() + static_cast<ptrdiff_t>(marks_.back());
  std::vector<NodeId> items(begin, stack_.end());
  stack_.erase(begin, stack_.end());
  marks_.pop_back();
  return items;
}

template <typename T>
T& PickleMachine::expect(NodeId id, const char* what) {
  T* value = std::get_if<T>(&nodes_[id]);
  if (value == nullptr) bad("expected ", what, ", found a value of another type");
  return *value;
}

void PickleMachine::proto() {
  const uint64_t version = little_endian(1);
  if (version != kPickleProtocol) bad("pickle protocol ", version, ", expected ", int{kPickleProtocol});
}

void PickleMachine::long1() {
  const uint64_t bytes = little_endian(1);
  if (bytes > 8) bad("an integer of ", bytes, " bytes; at most 8 are taken");
  uint64_t value = little_endian(static_cast<int>(bytes));
  const bool negative = bytes > 0 && (value >> (8 * bytes - 1) & 1) != 0;
  if (negative && bytes < 8) value |= ~uint64_t{0} << (8 * bytes);
  push(static_cast<int64_t>(value));
}

void PickleMachine::real() {
  uint64_t bits = 0;
  for (const char byte : take(8)) bits = bits << 8 | static_cast<uint8_t>(byte);
  push(std::bit_cast<double>(bits));
}

void PickleMachine::unicode() {
  const std::string_view text = take(little_endian(4));
  if (!is_utf8(text)) bad("a string is not UTF-8");
  push(std::string(text));
}

void PickleMachine::append() {
  const NodeId item = pop();
  expect<ListNode>(top(), "a list to append to").items.push_back(item);
}

void PickleMachine::appends() {
  const std::vector<NodeId> added = pop_to_mark();
  auto& items = expect<ListNode>(top(), "a list to append to").items;
  items.insert(items.end(), added.begin(), added.end());
}

void PickleMachine::set_item() {
  const NodeId value = pop(), key = pop();
  add_items(top(), {key, value});
}

void PickleMachine::set_items() {
  const std::vector<NodeId> added = pop_to_mark();
  add_items(top(), added);
}

void PickleMachine::add_items(NodeId dict, const std::vector<NodeId>& keys_and_values) {
  if (keys_and_values.size() % 2 != 0) bad("a dict is given a key without a value");
  auto& items = expect<DictNode>(dict, "a dict to add to").items;
  for (size_t i = 0; i < keys_and_values.size(); i += 2)
    items.emplace_back(keys_and_values[i], keys_and_values[i + 1]);
}

void PickleMachine::tuple_of(size_t count) {
  std::vector<NodeId> items(count);
  for (size_t i = count; i-- > 0;) items[i] = pop();
  push(TupleNode{std::move(items)});
}

void PickleMachine::get(uint64_t index) {
  const auto found = memo_.find(index);
  if (found == memo_.end()) bad("the pickle refers to value ", index, ", which it has not stored");
  stack_.push_back(found->second);
}

void PickleMachine::global() {
  const std::string_view module = line(), name = line();
  const std::optional<GlobalNode> known = find_global(module, name);
  if (!known) {
    constexpr size_t kShown = 100;
    bad("refers to ", module.substr(0, kShown), ".", name.substr(0, kShown),
        ", which an archive of plain tensors does not need: refused, nothing of it was run");
  }
  push(*known);
}

void PickleMachine::reduce() {
  const TupleNode arguments = expect<TupleNode>(pop(), "a tuple of arguments");
  switch (expect<GlobalNode>(pop(), "a name to call").kind) {
    case KnownGlobal::RebuildTensor:
      return push(rebuild_tensor(arguments));
    case KnownGlobal::RebuildParameter:
      return push(rebuild_parameter(arguments));
    case KnownGlobal::OrderedDict:
      if (!arguments.items.empty()) bad("an OrderedDict must be made empty");
      return push(DictNode{{}, true});
    case KnownGlobal::Storage:
      bad("a storage class cannot be called");
  }
}

void PickleMachine::build() {
  expect<DictNode>(pop(), "a dict of attributes");
  if (!expect<DictNode>(top(), "an OrderedDict to give attributes to").ordered)
    bad("a dict has no attributes");
}

void PickleMachine::persistent_id() {
  const TupleNode parts = expect<TupleNode>(pop(), "a storage's tuple");
  if (parts.items.size() != 5) bad("a storage's tuple has 5 parts, found ", parts.items.size());
  if (expect<std::string>(parts.items[0], "the word \"storage\"") != "storage")
    bad("expected the word \"storage\"");
  const GlobalNode type = expect<GlobalNode>(parts.items[1], "a storage class");
  if (type.kind != KnownGlobal::Storage) bad("expected a storage class");
  const std::string key = expect<std::string>(parts.items[2], "a storage's key");
  expect<std::string>(parts.items[3], "a storage's device");
  const int64_t values = expect<int64_t>(parts.items[4], "a storage's length");
  if (values < 0) bad("a storage of ", values, " values");
  push(StorageNode{source_.storage(key, type.storage_type, values)});
}

std::vector<int64_t> PickleMachine::integers(NodeId id, const char* what) {
  constexpr size_t kMaxDimensions = 64;
  const TupleNode& tuple = expect<TupleNode>(id, what);
  if (tuple.items.size() > kMaxDimensions) bad("a tensor of ", tuple.items.size(), " dimensions");
  std::vector<int64_t> result;
  for (const NodeId item : tuple.items) {
    result.push_back(expect<int64_t>(item, what));
    if (result.back() < 0) bad(what, " holds ", result.back(), ", expected none below 0");
  }
  return result;
}

// (storage, offset, size, stride, requires_grad, backward_hooks[, metadata]): a strided view of the storage.
at::Tensor PickleMachine::rebuild_tensor(const TupleNode& arguments) {
  const std::vector<NodeId>& parts = arguments.items;
  if (parts.size() != 6 && parts.size() != 7)
    bad("a tensor is rebuilt from 6 or 7 parts, found ", parts.size());
  const at::Tensor storage = expect<StorageNode>(parts[0], "a storage").values;
  const int64_t offset = expect<int64_t>(parts[1], "a tensor's offset");
  const std::vector<int64_t> size = integers(parts[2], "a tensor's size"),
                             stride = integers(parts[3], "its stride");
  if (size.size() != stride.size())
    bad("a tensor has ", size.size(), " sizes but ", stride.size(), " strides");
  int64_t values = 1, last = offset;
  bool overflow = offset < 0;
  for (size_t d = 0; d < size.size(); ++d) {
    int64_t reach = 0;
    overflow |= __builtin_mul_overflow(values, size[d], &values);
    overflow |= __builtin_mul_overflow(std::max<int64_t>(size[d] - 1, 0), stride[d], &reach);
    overflow |= __builtin_add_overflow(last, reach, &last);
  }
  const int64_t held = storage.numel();
  const bool fits = values == 0 ? offset <= held : last < held && values <= held;
  if (overflow || !fits) bad("a tensor reaches beyond its storage of ", held, " values");
  return storage.as_strided(size, stride, offset);
}

// (tensor, requires_grad, backward_hooks): the tensor.
at::Tensor PickleMachine::rebuild_parameter(const TupleNode& arguments) {
  if (arguments.items.size() != 3) bad("a Parameter is rebuilt from 3 parts, found ", arguments.items.size());
  return expect<at::Tensor>(arguments.items[0], "a tensor");
}

}  // namespace fltac
