// Damaged files of every parser that reads what comes from elsewhere: all truncations, and inputs damaged
// where the format's parts are (test/native/fuzz). Each gives a value or an fltac::Error, never anything
// else, within a time and memory that do not depend on what the file claims.
//   fuzz_test [--inputs N] [--seed S] [--only "PARSER"] [--input K]
// A failure names the parser, seed and input; with --only, --seed and --input that one runs alone.
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstring>
#include <map>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

#include <ATen/ATen.h>

#include "archive/pt_reader.h"
#include "archive/pt_writer.h"
#include "check.h"
#include "fuzz/subjects.h"
#include "model/architecture.h"
#include "model/safetensors.h"

namespace {

using namespace fltac;
using namespace fltac::test;

struct Options {
  uint64_t inputs = 4000;
  uint64_t seed = 2024;
  std::string only;
  std::optional<uint64_t> input;
};

constexpr unsigned kLongestSeconds = 20;             // of one input; a few milliseconds are usual
constexpr uint64_t kMostMemory = uint64_t{1} << 30;  // beyond what the program has at its start

// What runs now, for the handlers of a crash or a hang.
char running[200] = "nothing yet";

void say_running() { static_cast<void>(!::write(STDERR_FILENO, running, std::strlen(running))); }

void on_signal(int number) {
  const char* what =
      number == SIGALRM ? "\nfuzz_test: no end within the time for one input: " : "\nfuzz_test: crashed: ";
  static_cast<void>(!::write(STDERR_FILENO, what, std::strlen(what)));
  say_running();
  ::_exit(1);
}

// An allocation beyond the limit throws std::bad_alloc, which is not among the expected ends.
// AddressSanitizer reserves terabytes of addresses and has a limit of its own (scripts/fuzz.mjs sets it).
void limit_memory() {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_set_death_callback(say_running);
#else
  uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  if (pages == 0) return;
  const rlim_t most = pages * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)) + kMostMemory;
  const rlimit limit{most, most};
  EXPECT(::setrlimit(RLIMIT_AS, &limit) == 0);
  for (const int number : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL}) std::signal(number, on_signal);
#endif
  std::signal(SIGALRM, on_signal);
}

// How a damaged file may fail; any other exception fails the test, and a crash ends it.
bool expected(ErrorCode code) {
  return code == ErrorCode::Format || code == ErrorCode::Unsupported || code == ErrorCode::MissingWeight ||
         code == ErrorCode::Io;
}

// A message is a line for people, however long the names in a file are.
constexpr size_t kLongestMessage = 4000;

struct Outcomes {
  uint64_t read = 0;
  std::map<std::string, uint64_t> refused;
  double slowest = 0;  // seconds
};

void attempt(const std::function<void()>& read, Outcomes& outcomes) {
  const auto start = std::chrono::steady_clock::now();
  ::alarm(kLongestSeconds);
  const std::optional<Error> error = error_of(read);
  ::alarm(0);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  outcomes.slowest = std::max(outcomes.slowest, took.count());
  if (!error) {
    ++outcomes.read;
    return;
  }
  EXPECT(expected(error->code()), running, error->what());
  EXPECT(std::strlen(error->what()) <= kLongestMessage, running, "a message of", std::strlen(error->what()));
  ++outcomes.refused[code_name(error->code())];
}

void feed(const fuzz::Subject& subject, const Options& options) {
  Outcomes outcomes;
  const uint64_t first = options.input.value_or(0), end = options.input ? first + 1 : options.inputs;
  for (uint64_t input = first; input < end; ++input) {
    std::snprintf(running, sizeof running, "--only '%s' --seed %llu --input %llu\n", subject.name,
                  static_cast<unsigned long long>(options.seed), static_cast<unsigned long long>(input));
    fuzz::Draws draws(options.seed + input * 0x9E3779B97F4A7C15ULL);
    subject.damage(draws);
    const int64_t failed = counts().failed;
    attempt(subject.read, outcomes);
    if (counts().failed > failed) std::cerr << "again with: fuzz_test " << running;
  }
  std::cout << subject.name << ": " << end - first << " inputs of seed " << options.seed << ": "
            << outcomes.read << " read";
  for (const auto& [code, count] : outcomes.refused) std::cout << ", " << count << " " << code;
  std::cout << "; slowest " << outcomes.slowest * 1000 << " ms\n";
  EXPECT(options.input || (!outcomes.refused.empty() && outcomes.read > 0), subject.name,
         "the damage is never or always noticed");
}

// No shorter file is a whole one.
void truncate(const char* name, const std::function<void(const std::string&)>& read,
              const std::string& whole) {
  EXPECT(!whole.empty(), name, "cannot be read");
  const TemporaryFolder folder;
  const std::string path = folder / "cut";
  Outcomes outcomes;
  for (size_t size = 0; size < whole.size(); ++size) {
    std::snprintf(running, sizeof running, "%s cut to %zu bytes\n", name, size);
    write_bytes(path, whole.substr(0, size));
    attempt([&] { read(path); }, outcomes);
  }
  EXPECT(outcomes.read == 0, name, outcomes.read, "truncated files were read");
  std::cout << name << ": " << whole.size() << " truncations refused\n";
}

std::string written(const std::function<void(const std::string&)>& write) {
  const TemporaryFolder folder;
  write(folder / "x");
  return read_bytes(folder / "x");
}

void truncations() {
  const auto open = [](const std::string& path) { (void)SafetensorsModel::open(path); };
  const auto read = [](const std::string& path) { (void)read_pt(path); };
  truncate("safetensors", open, written([](const std::string& path) {
             write_safetensors(path, {{"a", at::ones({2, 3})}, {"b", at::ones({})}}, {{"format", "pt"}});
           }));
  truncate("safetensors of the reference", open,
           read_bytes(fuzz::sound_file("native/reference.safetensors")));
  const auto index = [](const std::string& path) {
    const TemporaryFolder folder;
    write_bytes(folder / "model.safetensors.index.json", read_bytes(path));
    for (const char* name : {"one", "two"}) {
      write_safetensors(folder / (std::string(name) + ".safetensors"), {{name, at::ones({2})}});
    }
    (void)SafetensorsModel::open(folder.path().string());
  };
  truncate("safetensors index", index,
           R"({"metadata":{},"weight_map":{"one":"one.safetensors","two":"two.safetensors"}})");
  const auto parse = [](const std::string& path) { (void)parse_architecture(read_bytes(path), path); };
  std::string config = read_bytes(fuzz::sound_file("families/llama3/config.json"));
  config.resize(config.find_last_of('}') + 1);
  truncate("config.json", parse, config);
  truncate("archive", read, written([](const std::string& path) {
             write_pt(path, {ArchiveDict{{{"w", {at::ones({2, 3})}}, {"round", {int64_t{1}}}}}});
           }));
  truncate("archive of torch.save", read, read_bytes(fuzz::sound_file("native/torch_save.pt")));
}

Options options_of(int count, char** arguments) {
  Options options;
  for (int i = 1; i < count; i += 2) {
    const std::string name = arguments[i];
    if (i + 1 == count) fail(ErrorCode::Usage, name, " needs a value");
    const std::string value = arguments[i + 1];
    if (name == "--inputs")
      options.inputs = std::stoull(value);
    else if (name == "--seed")
      options.seed = std::stoull(value);
    else if (name == "--only")
      options.only = value;
    else if (name == "--input")
      options.input = std::stoull(value);
    else
      fail(ErrorCode::Usage, "unknown argument ", name);
  }
  return options;
}

}  // namespace

int main(int count, char** arguments) {
  return run("fuzz_test", [&] {
    const Options options = options_of(count, arguments);
    limit_memory();
    if (options.only.empty()) truncations();
    const TemporaryFolder folder;
    uint64_t ran = 0;
    for (const fuzz::Subject& subject : fuzz::subjects(folder.path().string())) {
      if (!options.only.empty() && options.only != subject.name) continue;
      feed(subject, options);
      ++ran;
    }
    EXPECT(ran > 0, "no parser is called", options.only);
  });
}
