// Runs a fuzz target over its corpus and a fixed number of mutations of it, without
// libFuzzer: the same inputs with every compiler and on every machine.
//
//   fuzz_NAME CORPUS [COUNT]
//
// KEYFOLD_TEST_SEED and KEYFOLD_TEST_STEPS set seed and count. What crashes is left in
// the working folder as crash-NAME, to be run again: fuzz_NAME crash-NAME.
#include <sanitizer/common_interface_defs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

extern "C" const char* __asan_default_options() {
  return "handle_abort=1:detect_leaks=1:allocator_may_return_null=0";
}
extern "C" const char* __ubsan_default_options() {
  return "halt_on_error=1:print_stacktrace=1";
}

namespace {

namespace files = std::filesystem;

constexpr size_t kLargest = 64 * 1024;
constexpr size_t kDefaultCount = 2000;

std::string program, running;
uint64_t seed = 1, step = 0;

void Tell() {
  const std::string left = "crash-" + program;
  std::ofstream(left, std::ios::binary) << running;
  fprintf(stderr, "fuzz: seed %lu, step %lu; the input is left in %s\n", seed, step,
          left.c_str());
}

std::string ReadAll(const files::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void Run(const std::string& input) {
  running = input;
  ++step;
  (void)LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(running.data()),
                               running.size());
}

// Mutator makes inputs from others; the same ones for the same seed.
class Mutator {
 public:
  explicit Mutator(std::vector<std::string> corpus) : corpus_(std::move(corpus)) {
    for (const std::string& input : corpus_) CollectWords(input);
  }

  std::string Next() {
    std::string input = Pick(corpus_);
    for (size_t left = 1 + Below(6); left > 0; --left) Mutate(input);
    if (input.size() > kLargest) input.resize(kLargest);
    return input;
  }

 private:
  size_t Below(size_t limit) { return limit == 0 ? 0 : random_() % limit; }
  template <typename T>
  const T& Pick(const std::vector<T>& from) {
    return from[Below(from.size())];
  }

  void CollectWords(const std::string& input) {
    std::string word;
    for (char c : input + "\n") {
      const auto byte = static_cast<unsigned char>(c);
      if (isalnum(byte) != 0 || c == ':' || c == '/' || c == '-' || c == '_') {
        word += c;
        continue;
      }
      if (word.size() > 2 && word.size() < 64) words_.push_back(word);
      word.clear();
    }
    if (words_.empty()) words_.push_back("0");
  }

  void Mutate(std::string& input) {
    static const std::string kMarks("\0\xff{}[]\"\\\n:,.*?-/ 0", 18);
    const size_t at = Below(input.size() + 1);
    const size_t length = 1 + Below(std::min<size_t>(input.size() - at + 1, 64));
    switch (Below(9)) {
      case 0:
        if (at < input.size())
          input[at] = static_cast<char>(input[at] ^ (1 << Below(8)));
        break;
      case 1:
        if (at < input.size()) input[at] = kMarks[Below(kMarks.size())];
        break;
      case 2:
        input.insert(at, 1, static_cast<char>(Below(256)));
        break;
      case 3:
        input.erase(at, length);
        break;
      case 4:
        input.insert(at, input.substr(at, length));
        break;
      case 5:
        input.insert(at, Pick(words_));
        break;
      case 6: {
        const std::string& other = Pick(corpus_);
        const size_t from = Below(other.size() + 1);
        input.replace(at, length, other.substr(from, 1 + Below(256)));
        break;
      }
      case 7:
        input.insert(at, 1 + Below(200), kMarks[Below(kMarks.size())]);
        break;
      default:
        input.resize(at);
    }
  }

  const std::vector<std::string> corpus_;
  std::vector<std::string> words_;
  std::mt19937_64 random_{seed};
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || !files::exists(argv[1])) {
    fprintf(stderr, "fuzz: name a corpus folder, or an input\n");
    return 2;
  }
  program = files::path(argv[0]).filename();
  size_t count = argc > 2 ? strtoull(argv[2], nullptr, 10) : kDefaultCount;
  if (const char* given = getenv("KEYFOLD_TEST_SEED"))
    seed = strtoull(given, nullptr, 10);
  if (const char* given = getenv("KEYFOLD_TEST_STEPS"))
    count = strtoull(given, nullptr, 10);
  __sanitizer_set_death_callback(Tell);
  if (!files::is_directory(argv[1])) {
    Run(ReadAll(argv[1]));
    return 0;
  }
  std::vector<files::path> paths;
  for (const auto& entry : files::directory_iterator(argv[1])) paths.push_back(entry);
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> corpus = {""};
  for (const files::path& path : paths) corpus.push_back(ReadAll(path));
  for (const std::string& input : corpus) Run(input);
  Mutator mutator(corpus);
  for (size_t i = 0; i < count; ++i) Run(mutator.Next());
  printf("fuzz: %lu inputs, seed %lu\n", step, seed);
  return 0;
}
