#include "train/generate.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "core/error.h"
#include "model/transformer.h"

namespace fltac {
namespace {

// A prompt that waits or is being answered.
struct Answer {
  size_t job;
  int64_t bank_row;
  uint64_t stream;
  int64_t room;               // most tokens that can follow
  std::vector<int32_t> next;  // tokens that no pass has seen yet
  std::vector<int32_t> ids;   // of the answer
  bool finished = false;
  CachedPlace place{0, 0};
};

void check_options(const Architecture& architecture, const GenerateOptions& options) {
  if (architecture.family->output != Output::NextToken) {
    fail(ErrorCode::Usage, architecture.family->model_type,
         " models classify; only language models generate, such as llama");
  }
  if (options.max_new_tokens < 1)
    fail(ErrorCode::Usage, "maxNewTokens must be 1 or more, found ", options.max_new_tokens);
  if (options.batch_size < 1)
    fail(ErrorCode::Usage, "batchSize must be 1 or more, found ", options.batch_size);
  const auto [temperature, top_p] = options.sampling;
  if (!(temperature >= 0 && std::isfinite(temperature)))
    fail(ErrorCode::Usage, "temperature must be 0 or more, found ", temperature);
  if (!(top_p > 0 && top_p <= 1)) fail(ErrorCode::Usage, "topP must be above 0 and at most 1, found ", top_p);
  for (const int32_t id : options.end_ids) {
    if (id >= 0 && id < architecture.vocab) continue;
    fail(ErrorCode::Usage, "eosIds: ", id, " is not in the backbone's vocabulary of ", architecture.vocab);
  }
}

void check_jobs(const AdapterBank& bank, std::span<const GenerateJob> jobs, const GenerateOptions& options) {
  for (size_t j = 0; j < jobs.size(); ++j) {
    const std::string what = "generation job " + std::to_string(j);
    bank.row(jobs[j].bank_row);
    check_tokens(jobs[j].prompts, bank.backbone().architecture(), what);
    const auto streams = static_cast<int64_t>(jobs[j].streams.size());
    if (streams == jobs[j].prompts.count() || (streams == 0 && options.sampling.temperature == 0)) continue;
    fail(ErrorCode::Usage, what, ": ", streams, " streams for ", jobs[j].prompts.count(),
         " prompts; a temperature above 0 needs one for each");
  }
}

std::vector<Answer> list_answers(const Architecture& architecture, std::span<const GenerateJob> jobs,
                                 const GenerateOptions& options) {
  std::vector<Answer> all;
  for (size_t j = 0; j < jobs.size(); ++j) {
    const GenerateJob& job = jobs[j];
    for (size_t p = 0; p < static_cast<size_t>(job.prompts.count()); ++p) {
      const auto prompt =
          job.prompts.ids.subspan(static_cast<size_t>(job.prompts.offsets[p]),
                                  static_cast<size_t>(job.prompts.offsets[p + 1] - job.prompts.offsets[p]));
      const int64_t left = architecture.max_tokens() - static_cast<int64_t>(prompt.size());
      all.push_back({j,
                     job.bank_row,
                     job.streams.empty() ? 0 : job.streams[p],
                     std::min(options.max_new_tokens, left),
                     {prompt.begin(), prompt.end()},
                     {}});
    }
  }
  return all;
}

// Takes one token for an answer. Returns whether the answer goes on.
bool take_token(Answer& answer, int32_t token, const GenerateOptions& options) {
  answer.place.place += static_cast<int64_t>(answer.next.size());
  answer.finished = std::find(options.end_ids.begin(), options.end_ids.end(), token) != options.end_ids.end();
  if (answer.finished) return false;
  answer.ids.push_back(token);
  answer.next.assign(1, token);
  return static_cast<int64_t>(answer.ids.size()) < answer.room;
}

class Generator {
 public:
  Generator(const AdapterBank& bank, std::vector<Answer>& answers, const GenerateOptions& options)
      : bank_(bank),
        answers_(answers),
        options_(options),
        slots_(std::min<int64_t>(options.batch_size, static_cast<int64_t>(answers.size()))),
        cache_(bank.backbone().architecture(), slots_, longest(answers)) {
    for (int64_t slot = slots_ - 1; slot >= 0; --slot) free_.push_back(slot);
  }

  int64_t done() const { return done_; }

  // One pass over all running answers, new ones with their whole prompt. Returns false when all are done.
  bool step() {
    fill();
    if (running_.empty()) return false;
    const std::vector<int32_t> tokens = next_tokens();
    std::vector<Answer*> still;
    for (size_t i = 0; i < running_.size(); ++i) {
      if (take_token(*running_[i], tokens[i], options_)) {
        still.push_back(running_[i]);
      } else {
        free_.push_back(running_[i]->place.slot);
        ++done_;
      }
    }
    running_ = std::move(still);
    return true;
  }

 private:
  static int64_t longest(const std::vector<Answer>& answers) {
    int64_t most = 1;
    for (const Answer& answer : answers) {
      most = std::max(most, static_cast<int64_t>(answer.next.size()) + answer.room);
    }
    return most;
  }

  // Lets waiting answers begin while there are slots. Those that are full already are done.
  void fill() {
    while (waiting_ < answers_.size() && !free_.empty()) {
      Answer& answer = answers_[waiting_++];
      if (answer.room < 1) {
        ++done_;
        continue;
      }
      answer.place = {free_.back(), 0};
      free_.pop_back();
      running_.push_back(&answer);
    }
  }

  std::vector<int32_t> next_tokens() {
    PackedBatch batch;
    for (const Answer* answer : running_)
      batch.add_continuation(answer->bank_row, answer->next, answer->place);
    PassOptions options;
    options.cache = &cache_;
    const at::Tensor features = Pass(bank_, batch, options).forward();
    const at::Tensor logits = bank_.backbone().language_head.forward(features).to(at::kCPU).contiguous();
    const auto vocab = static_cast<size_t>(logits.size(1));
    std::vector<int32_t> tokens(running_.size());
    at::parallel_for(0, static_cast<int64_t>(running_.size()), 1, [&](int64_t begin, int64_t end) {
      for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
        tokens[i] = choose_token({logits.const_data_ptr<float>() + i * vocab, vocab}, options_.sampling,
                                 running_[i]->stream, static_cast<int64_t>(running_[i]->ids.size()));
      }
    });
    return tokens;
  }

  const AdapterBank& bank_;
  std::vector<Answer>& answers_;
  const GenerateOptions& options_;
  int64_t slots_;
  KeyValueCache cache_;
  std::vector<int64_t> free_;  // slots
  std::vector<Answer*> running_;
  size_t waiting_ = 0;  // first answer that has not begun
  int64_t done_ = 0;
};

}  // namespace

std::vector<Generation> generate(const AdapterBank& bank, std::span<const GenerateJob> jobs,
                                 const GenerateOptions& options, const Control& control) {
  if (bank.spec().full) {
    fail(ErrorCode::Unsupported, "a whole model in a bank does not write: save it and load it as a backbone");
  }
  const Architecture& architecture = bank.backbone().architecture();
  check_options(architecture, options);
  check_jobs(bank, jobs, options);
  std::vector<Answer> answers = list_answers(architecture, jobs, options);
  if (!answers.empty()) {
    Generator generator(bank, answers, options);
    do {
      control.progress(generator.done(), static_cast<int64_t>(answers.size()));
      control.check();
    } while (generator.step());
    control.progress(generator.done(), static_cast<int64_t>(answers.size()));
  }
  std::vector<Generation> results(jobs.size());
  for (const Answer& answer : answers) {
    Generation& result = results[answer.job];
    result.ids.insert(result.ids.end(), answer.ids.begin(), answer.ids.end());
    result.offsets.push_back(static_cast<int32_t>(result.ids.size()));
    result.finished.push_back(answer.finished ? 1 : 0);
  }
  return results;
}

}  // namespace fltac
