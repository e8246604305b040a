// The stack machine that a pickle is a program for. Values are nodes of one arena and refer to each other by
// index, so that shared and cyclic structures are harmless until ArchiveBuilder (pickle_reader.cc) walks them
// with bounds.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "archive/pickle_opcodes.h"
#include "archive/pickle_reader.h"
#include "core/error.h"

namespace fltac {

using NodeId = uint32_t;

// The names that a pickle may use, all of them.
enum class KnownGlobal : uint8_t { RebuildTensor, RebuildParameter, OrderedDict, Storage };

struct GlobalNode {
  KnownGlobal kind;
  at::ScalarType storage_type;  // of a Storage
};
struct TupleNode {
  std::vector<NodeId> items;
};
struct ListNode {
  std::vector<NodeId> items;
};
struct DictNode {
  std::vector<std::pair<NodeId, NodeId>> items;
  bool ordered = false;  // an OrderedDict
};
struct StorageNode {
  at::Tensor values;
};

using Node = std::variant<std::monostate, bool, int64_t, double, std::string, TupleNode, ListNode, DictNode,
                          GlobalNode, StorageNode, at::Tensor>;

class PickleMachine {
 public:
  explicit PickleMachine(const PickleSource& source) : source_(source) {}

  // Runs the whole pickle; the index of the value it leaves.
  NodeId run();

  const Node& node(NodeId id) const { return nodes_[id]; }

  template <typename... Parts>
  [[noreturn]] void bad(const Parts&... parts) const {
    fail(ErrorCode::Format, source_.path, ": offset ", source_.offset + start_, ": data.pkl: ", parts...);
  }

 private:
  using Action = void (PickleMachine::*)();
  static const std::array<Action, 256>& actions();

  // reading the program
  uint64_t little_endian(int bytes);
  std::string_view take(uint64_t bytes);
  std::string_view line();

  // the stack
  void push(Node node);
  NodeId pop();
  std::vector<NodeId> pop_to_mark();
  NodeId top() const;
  template <typename T>
  T& expect(NodeId id, const char* what);

  // opcodes
  void proto();
  void mark() { marks_.push_back(stack_.size()); }
  void none() { push(std::monostate{}); }
  void yes() { push(true); }
  void no() { push(false); }
  void int1() { push(static_cast<int64_t>(little_endian(1))); }
  void int2() { push(static_cast<int64_t>(little_endian(2))); }
  void int4() { push(int64_t{static_cast<int32_t>(little_endian(4))}); }
  void long1();
  void real();
  void unicode();
  void empty_list() { push(ListNode{}); }
  void empty_dict() { push(DictNode{}); }
  void empty_tuple() { push(TupleNode{}); }
  void append();
  void appends();
  void set_item();
  void set_items();
  void tuple() { push(TupleNode{pop_to_mark()}); }
  void tuple1() { tuple_of(1); }
  void tuple2() { tuple_of(2); }
  void tuple3() { tuple_of(3); }
  void put1() { memo_[little_endian(1)] = top(); }
  void put4() { memo_[little_endian(4)] = top(); }
  void get1() { get(little_endian(1)); }
  void get4() { get(little_endian(4)); }
  void global();
  void reduce();
  void build();
  void persistent_id();

  void tuple_of(size_t count);
  void get(uint64_t index);
  void add_items(NodeId dict, const std::vector<NodeId>& keys_and_values);
  at::Tensor rebuild_tensor(const TupleNode& arguments);
  at::Tensor rebuild_parameter(const TupleNode& arguments);
  std::vector<int64_t> integers(NodeId id, const char* what);

  const PickleSource& source_;
  uint64_t position_ = 0;
  uint64_t start_ = 0;  // of the opcode at work
  std::vector<Node> nodes_;
  std::vector<NodeId> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint64_t, NodeId> memo_;
};

}  // namespace fltac
