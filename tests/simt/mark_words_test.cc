// Every launcher of kernels/mark_words.h on the emulator, bit for bit the host headers', whatever the schedule and however many blocks run at once.
// (tests/mark/kernels_test.cc, which holds the same on a GPU with more values, is run on the emulator once as it stands.)
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "countermark/mark/channel.h"
#include "countermark/mark/gumbel.h"
#include "countermark/mark/partition.h"
#include "countermark/mark/prf.h"
#include "countermark/mark/select.h"
#include "countermark/mark/tournament.h"
#include "countermark/mark/weight.h"
#include "kernels/mark_words.h"
#include "tests/simt/control.h"

namespace countermark {
namespace {

constexpr int kSeeds = simt::kSanitized ? 1 : 4;

template <typename T>
std::vector<T> Values(size_t n, std::mt19937_64& random) {
  std::vector<T> values(n);
  for (T& v : values) v = static_cast<T>(random());
  return values;
}

TEST(MarkWords, SeedsWordsAndBytes) {
  constexpr int kRows = 5;
  constexpr uint32_t kVocabulary = 203, kStride = 210;
  std::mt19937_64 random(1);
  const std::vector<uint32_t> weights = {26214, 26214, 13108};
  simt::ForEachSchedule(kSeeds, {1, 3}, [&](const simt::Options& options) {
    SCOPED_TRACE(simt::Describe(options));
    for (int h = kMinWindow; h <= kMaxWindow; ++h) {
      const int scheme = 1 + static_cast<int>(random() % 3);
      auto windows = Values<uint32_t>(static_cast<size_t>(kRows * h), random);
      for (uint32_t& t : windows) t %= kTokenLimit;
      const auto keys = Values<uint32_t>(24, random), route = Values<uint32_t>(8, random);
      std::vector<uint32_t> seeds(kRows * 8), words(kRows * kStride, 7);
      std::vector<int32_t> channels(kRows);
      std::vector<uint8_t> bytes(kRows * kStride, 7);
      ASSERT_EQ(countermark_launch_seeds(windows.data(), kRows, h, scheme, keys.data(), route.data(), weights.data(), 3, seeds.data(),
                                         channels.data(), nullptr),
                cudaSuccess);
      ASSERT_EQ(countermark_launch_word_rows(seeds.data(), kRows, kVocabulary, words.data(), kStride, nullptr), cudaSuccess);
      ASSERT_EQ(countermark_launch_byte_rows(seeds.data(), kRows, kVocabulary, bytes.data(), kStride, nullptr), cudaSuccess);
      for (int row = 0; row < kRows; ++row) {
        const uint32_t* window = &windows[static_cast<size_t>(row * h)];
        const int c = RouteWindow(route.data(), Scheme{static_cast<uint8_t>(scheme)}, window, h, weights.data(), 3);
        ASSERT_EQ(channels[row], c);
        uint32_t seed[8];
        MarkSeed(&keys[8 * c], Scheme{static_cast<uint8_t>(scheme)}, window, h, seed);
        for (uint32_t t = 0; t < kStride; ++t) {
          ASSERT_EQ(words[row * kStride + t], t < kVocabulary ? WordOf(seed, t) : 7u);
          ASSERT_EQ(bytes[row * kStride + t], t < kVocabulary ? ByteOf(seed, t) : 7u);
        }
      }
    }
  });
}

TEST(MarkWords, Candidates) {
  constexpr int kCount = 700;
  std::mt19937_64 random(2);
  simt::ForEachSchedule(kSeeds, {1, 3}, [&](const simt::Options& options) {
    SCOPED_TRACE(simt::Describe(options));
    std::vector<float> logits(kCount);
    for (float& z : logits) z = 12.0f - static_cast<float>(random() >> 40) * 0x1p-19f;
    logits[0] = 12.0f;
    logits[1] = -std::numeric_limits<float>::infinity();
    auto words = Values<uint32_t>(kCount, random);
    words[0] = 0;
    words[1] = 0xFFFFFFFF;
    std::vector<uint64_t> weights(kCount), red(kCount), scores(kCount);
    std::vector<double> arrivals(kCount);
    std::vector<uint32_t> counts(kCount);
    const float temperature = 0.3f + static_cast<float>(options.seed) / 2;
    ASSERT_EQ(countermark_launch_candidates(logits.data(), 12.0f, temperature, 2.0, words.data(), 30, kCount,
                                            {weights.data(), red.data(), arrivals.data(), scores.data(), counts.data()}, nullptr),
              cudaSuccess);
    for (int i = 0; i < kCount; ++i) {
      const uint64_t w = Weight(logits[i], 12.0f, InverseTemperature(temperature));
      ASSERT_EQ(weights[i], w);
      ASSERT_EQ(red[i], RedWeight(w, RedFactor(2.0)));
      const double arrival = w > 0 ? GumbelArrival(words[i], static_cast<double>(w)) : std::numeric_limits<double>::infinity();
      ASSERT_EQ(std::bit_cast<uint64_t>(arrivals[i]), std::bit_cast<uint64_t>(arrival));
      ASSERT_EQ(scores[i], GumbelScore(words[i]));
      ASSERT_EQ(counts[i], TournamentScore(words[i], 30));
    }
  });
}

TEST(MarkWords, TournamentAndDraws) {
  constexpr int kRows = 3, kCandidates = 300, kStride = 310, kLayers = 5;
  std::mt19937_64 random(3);
  simt::ForEachSchedule(kSeeds, {1, 3}, [&](const simt::Options& options) {
    SCOPED_TRACE(simt::Describe(options));
    std::vector<uint64_t> weights(kRows * kStride);
    for (uint64_t& w : weights) w = random() >> (24 + random() % 40);
    std::fill(weights.begin() + kStride, weights.begin() + 2 * kStride, 0);  // an empty row
    const auto words = Values<uint32_t>(kRows * kStride, random), keys = Values<uint32_t>(kRows * 8, random);
    const auto positions = Values<uint64_t>(kRows, random);
    std::vector<uint64_t> got = weights;
    std::vector<int32_t> tokens(kRows);
    ASSERT_EQ(countermark_launch_tournament_rows(got.data(), words.data(), kRows, kCandidates, kStride, kLayers, nullptr), cudaSuccess)
        << simt::Report();
    ASSERT_EQ(countermark_launch_plain_draws(got.data(), kRows, kCandidates, kStride, keys.data(), positions.data(), 3, tokens.data(), nullptr),
              cudaSuccess);
    for (int row = 0; row < kRows; ++row) {
      uint64_t* w = &weights[row * kStride];
      const uint32_t* g = &words[row * kStride];
      const auto sum = [&](uint32_t layers) {
        uint64_t total = 0;
        for (int i = 0; i < kCandidates; ++i) total += layers == 0 || (g[i] & layers) ? w[i] : 0;
        return total;
      };
      int32_t token = -1;
      if (sum(0) > 0) {
        const int shift = TournamentShift(sum(0));
        for (int i = 0; i < kCandidates; ++i) w[i] <<= shift;
        for (int layer = 0; layer < kLayers; ++layer) {
          const uint64_t ratio = TournamentRatio(sum(0), sum(1u << layer));
          for (int i = 0; i < kCandidates; ++i) w[i] = TournamentWeight(w[i], g[i] >> layer & 1, ratio);
        }
        const uint64_t target = DrawTarget(DrawBits(&keys[8 * row], positions[row], 3), sum(0));
        uint64_t cumulative = 0;
        do cumulative += w[++token];
        while (cumulative <= target);
      }
      ASSERT_EQ(tokens[row], token);
      ASSERT_EQ(0, std::memcmp(&got[row * kStride], w, kStride * sizeof *w)) << "row " << row;
    }
  });
}

}  // namespace
}  // namespace countermark
