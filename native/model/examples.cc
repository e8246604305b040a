#include "model/examples.h"

#include <algorithm>

#include "core/error.h"

namespace fltac {
namespace {

void check_class(int32_t label, int64_t num_labels, const char* kind, int64_t index,
                 const std::string& what) {
  if (label >= 0 && label < num_labels) return;
  fail(ErrorCode::Shape, what, ": ", kind, " ", index, " has label ", label, ", expected 0 to ",
       num_labels - 1);
}

void check_sequence_labels(const Sequences& sequences, const Architecture& a, int64_t num_labels,
                           const std::string& what) {
  const bool next_token = a.family->output == Output::NextToken;
  const auto labels = static_cast<int64_t>(sequences.labels.size());
  const int64_t expected = next_token ? static_cast<int64_t>(sequences.ids.size()) : sequences.count();
  if (labels != expected) {
    fail(ErrorCode::Shape, what, ": ", labels, " labels for ", expected,
         next_token ? " tokens" : " sequences");
  }
  for (int64_t i = 0; i < labels; ++i) {
    const int32_t label = sequences.labels[static_cast<size_t>(i)];
    if (!next_token) {
      check_class(label, num_labels, "sequence", i, what);
    } else if (label != kIgnored && (label < 0 || label >= a.vocab)) {
      fail(ErrorCode::Shape, what, ": token ", i, " has label ", label, ", expected 0 to ", a.vocab - 1,
           " or ", kIgnored);
    }
  }
}

void check_sequences(const Sequences& sequences, const Architecture& a, int64_t num_labels,
                     const std::string& what) {
  check_tokens(sequences, a, what);
  check_sequence_labels(sequences, a, num_labels, what);
  if (a.types == 0) return;
  if (!sequences.types.empty() && sequences.types.size() != sequences.ids.size()) {
    fail(ErrorCode::Shape, what, ": ", sequences.types.size(), " type ids for ", sequences.ids.size(),
         " ids");
  }
  for (size_t i = 0; i < sequences.types.size(); ++i) {
    if (sequences.types[i] >= a.types) {
      fail(ErrorCode::Shape, what, ": token type ", int{sequences.types[i]}, " at ", i, ", the backbone has ",
           a.types);
    }
  }
}

void check_images(const Images& images, const Architecture& a, int64_t num_labels, const std::string& what) {
  const ImagePreprocess& how = images.preprocess;
  if (how.height != a.image.height || how.width != a.image.width) {
    fail(ErrorCode::Shape, what, ": the preprocessor makes images of ", how.height, " x ", how.width,
         ", the backbone reads ", a.image.height, " x ", a.image.width,
         "; does preprocessor_config.json belong to this model?");
  }
  if (static_cast<int64_t>(images.labels.size()) != images.count()) {
    fail(ErrorCode::Shape, what, ": ", images.labels.size(), " labels for ", images.count(), " images");
  }
  for (size_t i = 0; i < images.labels.size(); ++i) {
    check_class(images.labels[i], num_labels, "image", static_cast<int64_t>(i), what);
  }
}

}  // namespace

int64_t count(const Examples& examples) {
  return std::visit([](const auto& all) { return all.count(); }, examples);
}

int64_t token_count(const Examples& examples, const Architecture& architecture, int64_t index) {
  const auto* sequences = std::get_if<Sequences>(&examples);
  if (!sequences) return architecture.positions;
  const auto i = static_cast<size_t>(index);
  return int64_t{sequences->offsets[i + 1]} - sequences->offsets[i];
}

int64_t target_count(const Examples& examples, const Architecture& architecture, int64_t index) {
  if (architecture.family->output == Output::Classes) return 1;
  const auto& sequences = std::get<Sequences>(examples);
  const auto first = static_cast<size_t>(sequences.offsets[static_cast<size_t>(index)]) + 1;
  const auto labels =
      sequences.labels.subspan(first, static_cast<size_t>(token_count(examples, architecture, index)) - 1);
  return std::count_if(labels.begin(), labels.end(), [](int32_t label) { return label != kIgnored; });
}

void check_examples(const Examples& examples, const Architecture& architecture, int64_t num_labels,
                    const std::string& what) {
  const auto* sequences = std::get_if<Sequences>(&examples);
  const bool wants_images = architecture.family->input == Input::Images;
  if ((sequences == nullptr) != wants_images) {
    fail(ErrorCode::Usage, what, ": ", architecture.family->model_type, " reads ",
         wants_images ? "images" : "token sequences", ", found ", sequences ? "token sequences" : "images");
  }
  if (sequences) {
    check_sequences(*sequences, architecture, num_labels, what);
  } else {
    check_images(std::get<Images>(examples), architecture, num_labels, what);
  }
}

void check_targets(const Examples& examples, const Architecture& architecture, int64_t begin, int64_t end,
                   const std::string& what) {
  if (architecture.family->output == Output::Classes) return;
  for (int64_t i = begin; i < end; ++i) {
    if (target_count(examples, architecture, i) > 0) return;
  }
  fail(ErrorCode::Shape, what, ": none of its ", end - begin,
       " sequences has a token to predict: all labels are ", kIgnored,
       " or a first token's; does max_len cut the answers off?");
}

void check_tokens(const Sequences& sequences, const Architecture& architecture, const std::string& what) {
  const auto& offsets = sequences.offsets;
  if (offsets.empty() || offsets.front() != 0 ||
      offsets.back() != static_cast<int64_t>(sequences.ids.size())) {
    fail(ErrorCode::Shape, what, ": offsets must start at 0 and end at the number of ids, ",
         sequences.ids.size());
  }
  for (size_t s = 0; s + 1 < offsets.size(); ++s) {
    const int64_t length = int64_t{offsets[s + 1]} - offsets[s];
    if (length < 1) fail(ErrorCode::Shape, what, ": sequence ", s, " is empty");
    if (length > architecture.max_tokens()) {
      fail(ErrorCode::Shape, what, ": sequence ", s, " has ", length, " tokens, the backbone has ",
           architecture.max_tokens(), " positions; lower max_len");
    }
  }
  for (size_t i = 0; i < sequences.ids.size(); ++i) {
    if (sequences.ids[i] < 0 || sequences.ids[i] >= architecture.vocab) {
      fail(ErrorCode::Shape, what, ": token id ", sequences.ids[i], " at ", i,
           " is not in the backbone's vocabulary of ", architecture.vocab,
           "; does the tokenizer belong to this model?");
    }
  }
}

}  // namespace fltac
