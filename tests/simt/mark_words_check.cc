// Tournaments of kernels/mark_words.cu under seeded schedules: ends with 1 if any run differs from the host headers, as it must where a barrier is
// missing (CMakeLists.txt), and with 0 otherwise.
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

#include "countermark/mark/tournament.h"
#include "kernels/mark_words.h"
#include "tests/simt/control.h"

int main() {
  using namespace countermark;
  constexpr int kCandidates = 300, kLayers = 3;  // 300: threads with one candidate and with two
  std::mt19937_64 random(7);
  std::vector<uint64_t> weights(kCandidates), expected;
  std::vector<uint32_t> words(kCandidates);
  for (uint64_t& w : weights) w = random() >> 24;
  for (uint32_t& w : words) w = static_cast<uint32_t>(random());

  expected = weights;
  const auto sum = [&](auto keep) {
    uint64_t total = 0;
    for (int i = 0; i < kCandidates; ++i) total += keep(i) ? expected[i] : 0;
    return total;
  };
  const auto all = [](int) { return true; };
  const int shift = TournamentShift(sum(all));
  for (uint64_t& w : expected) w <<= shift;
  for (int layer = 0; layer < kLayers; ++layer) {
    const uint64_t ratio = TournamentRatio(sum(all), sum([&](int i) { return words[i] >> layer & 1; }));
    for (int i = 0; i < kCandidates; ++i) expected[i] = TournamentWeight(expected[i], words[i] >> layer & 1, ratio);
  }

  int runs = 0, wrong = 0;
  simt::ForEachSchedule(simt::kSanitized ? 1 : 20, {1}, [&](const simt::Options&) {
    std::vector<uint64_t> got = weights;
    const cudaError_t error = countermark_launch_tournament_rows(got.data(), words.data(), 1, kCandidates, kCandidates, kLayers, nullptr);
    ++runs;
    wrong += error != cudaSuccess || got != expected;
  });
  std::printf("%d of %d runs are wrong\n", wrong, runs);
  return wrong > 0;
}
