// Runs a fuzz target without libFuzzer: every seed as it is, then random changes of the seeds, for a while.
//
//   X_fuzz SEEDS_FOLDER [--seconds S] [--iterations N] [--first I]
//
// Iteration I depends on I and the seeds alone, so that a crash, which names its iteration, is seen again with --first I --iterations 1.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using Bytes = std::vector<uint8_t>;

char where[256] = "fuzz: crashed before the first input\n";

void SayWhere(int number) {
  (void)!write(STDERR_FILENO, where, std::strlen(where));
  signal(number, SIG_DFL);
  raise(number);
}

// One change, of the kinds that break parsers: bits, bytes, numbers, pieces cut out, doubled, moved in from elsewhere.
void Change(std::mt19937_64& random, const std::vector<Bytes>& seeds, Bytes* bytes) {
  const auto below = [&random](size_t n) { return n == 0 ? size_t{0} : static_cast<size_t>(random() % n); };
  const size_t at = below(bytes->size());
  const size_t length = std::min(bytes->size() - at, 1 + below(random() % 4 == 0 ? 256 : 8));
  const auto place = bytes->begin() + static_cast<std::ptrdiff_t>(at);
  static constexpr char kTokens[] = "{}[]\",:\\\n\r\0-.0123456789eE+ntf\x7f\xff\xc0\xef";
  switch (random() % 8) {
    case 0:
      if (!bytes->empty()) (*bytes)[at] ^= static_cast<uint8_t>(1u << (random() % 8));
      break;
    case 1:
      if (!bytes->empty()) (*bytes)[at] = static_cast<uint8_t>(random());
      break;
    case 2:
      bytes->insert(place, static_cast<uint8_t>(kTokens[below(sizeof kTokens - 1)]));
      break;
    case 3:
      bytes->erase(place, place + static_cast<std::ptrdiff_t>(length));
      break;
    case 4: {
      const Bytes piece(place, place + static_cast<std::ptrdiff_t>(length));
      bytes->insert(bytes->begin() + static_cast<std::ptrdiff_t>(below(bytes->size() + 1)), piece.begin(), piece.end());
      break;
    }
    case 5: {
      const Bytes& other = seeds[below(seeds.size())];
      const size_t from = below(other.size());
      const size_t count = std::min(other.size() - from, 1 + below(64));
      bytes->insert(place, other.begin() + static_cast<std::ptrdiff_t>(from), other.begin() + static_cast<std::ptrdiff_t>(from + count));
      break;
    }
    case 6:
      bytes->resize(at);
      break;
    default:
      if (!bytes->empty()) std::fill(place, place + static_cast<std::ptrdiff_t>(length), static_cast<uint8_t>(random() % 2 == 0 ? 0 : 0xff));
  }
}

}  // namespace

int main(int argc, char** argv) {
  double seconds = 30;
  uint64_t iterations = UINT64_MAX, first = 0;
  for (int i = 2; i + 1 < argc; i += 2) {
    const std::string option = argv[i];
    if (option == "--seconds") seconds = std::strtod(argv[i + 1], nullptr);
    if (option == "--iterations") iterations = std::strtoull(argv[i + 1], nullptr, 10);
    if (option == "--first") first = std::strtoull(argv[i + 1], nullptr, 10);
  }
  std::vector<std::string> names;
  if (argc > 1 && std::filesystem::is_directory(argv[1])) {
    for (const auto& entry : std::filesystem::directory_iterator(argv[1])) names.push_back(entry.path().string());
  }
  std::sort(names.begin(), names.end());
  if (names.empty()) {
    std::fprintf(stderr, "fuzz: no seeds; usage: %s SEEDS_FOLDER [--seconds S] [--iterations N] [--first I]\n", argv[0]);
    return 2;
  }
  for (const int number : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) signal(number, SayWhere);

  std::vector<Bytes> seeds;
  for (const std::string& name : names) {
    std::ifstream file(name, std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    std::snprintf(where, sizeof where, "fuzz: crashed at seed %s\n", name.c_str());
    LLVMFuzzerTestOneInput(seeds.back().data(), seeds.back().size());
  }
  const auto start = std::chrono::steady_clock::now();
  uint64_t done = 0;
  for (; done < iterations && std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < seconds; ++done) {
    std::mt19937_64 random(first + done + 1);
    Bytes bytes = seeds[random() % seeds.size()];
    for (uint64_t changes = 1 + random() % 6; changes > 0; --changes) Change(random, seeds, &bytes);
    std::snprintf(where, sizeof where, "fuzz: crashed at iteration %llu\n", static_cast<unsigned long long>(first + done));
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  std::printf("fuzz: %zu seeds and %llu changed inputs\n", seeds.size(), static_cast<unsigned long long>(done));
  return done > 0 ? 0 : 1;
}
