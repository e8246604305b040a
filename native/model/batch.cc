#include "model/batch.h"

#include "core/error.h"

namespace fltac {

void check_sequences(const Sequences& sequences, const Architecture& architecture, int64_t num_labels,
                     const std::string& what) {
  const auto& offsets = sequences.offsets;
  if (offsets.empty() || offsets.front() != 0 ||
      offsets.back() != static_cast<int64_t>(sequences.ids.size())) {
    fail(ErrorCode::Shape, what, ": offsets must start at 0 and end at the number of ids, ",
         sequences.ids.size());
  }
  if (!sequences.types.empty() && sequences.types.size() != sequences.ids.size()) {
    fail(ErrorCode::Shape, what, ": ", sequences.types.size(), " type ids for ", sequences.ids.size(),
         " ids");
  }
  if (static_cast<int64_t>(sequences.labels.size()) != sequences.count()) {
    fail(ErrorCode::Shape, what, ": ", sequences.labels.size(), " labels for ", sequences.count(),
         " sequences");
  }
  for (size_t s = 0; s + 1 < offsets.size(); ++s) {
    const int64_t length = int64_t{offsets[s + 1]} - offsets[s];
    if (length < 1) fail(ErrorCode::Shape, what, ": sequence ", s, " is empty");
    if (length > architecture.positions) {
      fail(ErrorCode::Shape, what, ": sequence ", s, " has ", length, " tokens, the backbone has ",
           architecture.positions, " positions; lower max_len");
    }
    if (sequences.labels[s] < 0 || sequences.labels[s] >= num_labels) {
      fail(ErrorCode::Shape, what, ": sequence ", s, " has label ", sequences.labels[s], ", expected 0 to ",
           num_labels - 1);
    }
  }
  for (size_t i = 0; i < sequences.ids.size(); ++i) {
    if (sequences.ids[i] < 0 || sequences.ids[i] >= architecture.vocab) {
      fail(ErrorCode::Shape, what, ": token id ", sequences.ids[i], " at ", i,
           " is not in the backbone's vocabulary of ", architecture.vocab,
           "; does the tokenizer belong to this model?");
    }
  }
  for (size_t i = 0; i < sequences.types.size(); ++i) {
    if (sequences.types[i] >= architecture.types) {
      fail(ErrorCode::Shape, what, ": token type ", int{sequences.types[i]}, " at ", i, ", the backbone has ",
           architecture.types);
    }
  }
}

void PackedBatch::add_job(int64_t bank_row, uint64_t stream, const Sequences& source, int64_t begin,
                          int64_t end) {
  const int64_t first_token = token_count(), first_sequence = sequence_count();
  for (int64_t s = begin; s < end; ++s) {
    const auto i = static_cast<size_t>(s);
    const int32_t from = source.offsets[i], to = source.offsets[i + 1];
    for (int32_t t = from; t < to; ++t) {
      ids.push_back(source.ids[static_cast<size_t>(t)]);
      types.push_back(source.types.empty() ? 0 : source.types[static_cast<size_t>(t)]);
      positions.push_back(t - from);
      tokens.keys.push_back({stream, static_cast<uint32_t>(token_count() - 1 - first_token)});
    }
    offsets.push_back(token_count());
    labels.push_back(source.labels[i]);
    sequences.keys.push_back({stream, static_cast<uint32_t>(s - begin)});
  }
  tokens.jobs.push_back({bank_row, first_token, token_count()});
  sequences.jobs.push_back({bank_row, first_sequence, sequence_count()});
}

}  // namespace fltac
