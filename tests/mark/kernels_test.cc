// The device launchers of kernels/mark_words.h: refusals need no GPU; on one, every output is bit for bit the host headers'.
#include "kernels/mark_words.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "countermark/mark/channel.h"
#include "countermark/mark/gumbel.h"
#include "countermark/mark/partition.h"
#include "countermark/mark/prf.h"
#include "countermark/mark/select.h"
#include "countermark/mark/tournament.h"
#include "countermark/mark/weight.h"

namespace countermark {
namespace {

TEST(Launchers, RefuseBadArgumentsBeforeTouchingADevice) {
  uint32_t word = 0;
  int32_t token = 0;
  uint8_t byte = 0;
  uint64_t weight = 0;
  float logit = 0;
  const uint32_t channel_weights[] = {32768, 32768};
  EXPECT_EQ(countermark_launch_word_rows(nullptr, 1, 16, &word, 16, nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(countermark_launch_word_rows(&word, 1, 16, &word, 15, nullptr), cudaErrorInvalidValue) << "stride below the vocabulary";
  EXPECT_EQ(countermark_launch_word_rows(&word, -1, 16, &word, 16, nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(countermark_launch_word_rows(&word, 1, 0x1000000, &word, 0x1000000, nullptr), cudaErrorInvalidValue) << "ids of four bytes";
  EXPECT_EQ(countermark_launch_word_rows(&word, 0, 16, &word, 16, nullptr), cudaSuccess) << "no rows, no work";
  EXPECT_EQ(countermark_launch_byte_rows(&word, 1, 64, &byte, 63, nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(countermark_launch_seeds(&word, 1, 5, 3, &word, &word, channel_weights, 2, &word, &token, nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(countermark_launch_seeds(&word, 1, 2, 4, &word, &word, channel_weights, 2, &word, &token, nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(countermark_launch_seeds(&word, 1, 2, 3, &word, nullptr, channel_weights, 2, &word, &token, nullptr), cudaErrorInvalidValue)
      << "two channels need a route key";
  EXPECT_EQ(countermark_launch_seeds(&word, 1, 2, 3, &word, &word, channel_weights, 5, &word, &token, nullptr), cudaErrorInvalidValue);
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(countermark_launch_candidates(&logit, infinity, 1, 2, &word, 30, 1, {}, nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(countermark_launch_candidates(&logit, 0, 0, 2, &word, 30, 1, {}, nullptr), cudaErrorInvalidValue) << "greedy is not for here";
  EXPECT_EQ(countermark_launch_candidates(&logit, 0, NAN, 2, &word, 30, 1, {}, nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(countermark_launch_candidates(&logit, 0, 1, 17, &word, 30, 1, {}, nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(countermark_launch_candidates(&logit, 0, 1, 2, &word, 33, 1, {}, nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(countermark_launch_tournament_rows(&weight, &word, 1, 2, 1, 30, nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(countermark_launch_plain_draws(&weight, 1, 0, 1, &word, &weight, 0, &token, nullptr), cudaErrorInvalidValue);
}

// Memory on the device, given back at the end of its scope. The cast of a failed allocation ends the test by the EXPECT.
template <typename T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t n) : n_(n) { EXPECT_EQ(cudaMalloc(reinterpret_cast<void**>(&data_), n * sizeof(T)), cudaSuccess); }
  explicit DeviceArray(const std::vector<T>& host) : DeviceArray(host.size()) {
    EXPECT_EQ(cudaMemcpy(data_, host.data(), n_ * sizeof(T), cudaMemcpyHostToDevice), cudaSuccess);
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  T* get() { return data_; }
  std::vector<T> Host() const {
    std::vector<T> host(n_);
    EXPECT_EQ(cudaMemcpy(host.data(), data_, n_ * sizeof(T), cudaMemcpyDeviceToHost), cudaSuccess);
    return host;
  }

 private:
  size_t n_;
  T* data_ = nullptr;
};

class OnDevice : public ::testing::Test {
 protected:
  void SetUp() override {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) GTEST_SKIP() << "no CUDA device: device parity is not tested here";
  }
  std::mt19937_64 random_{20261124};
};

TEST_F(OnDevice, SeedsWordsAndBytes) {
  constexpr int kRows = 37;
  constexpr uint32_t kVocabulary = 1003;  // no multiple of 16 or 64
  const std::vector<uint32_t> weights = {26214, 26214, 13108};
  for (int h = kMinWindow; h <= kMaxWindow; ++h) {
    for (const int scheme : {1, 2, 3}) {
      std::vector<uint32_t> windows(kRows * h), keys(24), route(8);
      for (uint32_t& t : windows) t = static_cast<uint32_t>(random_() % kTokenLimit);
      for (uint32_t& k : keys) k = static_cast<uint32_t>(random_());
      for (uint32_t& k : route) k = static_cast<uint32_t>(random_());
      DeviceArray<uint32_t> d_windows(windows), d_keys(keys), d_route(route), seeds(kRows * 8), words(kRows * kVocabulary);
      DeviceArray<int32_t> channels(kRows);
      DeviceArray<uint8_t> bytes(kRows * kVocabulary);
      ASSERT_EQ(countermark_launch_seeds(d_windows.get(), kRows, h, scheme, d_keys.get(), d_route.get(), weights.data(), 3, seeds.get(),
                                         channels.get(), nullptr),
                cudaSuccess);
      ASSERT_EQ(countermark_launch_word_rows(seeds.get(), kRows, kVocabulary, words.get(), kVocabulary, nullptr), cudaSuccess);
      ASSERT_EQ(countermark_launch_byte_rows(seeds.get(), kRows, kVocabulary, bytes.get(), kVocabulary, nullptr), cudaSuccess);
      const auto got_channels = channels.Host();
      const auto got_words = words.Host();
      const auto got_bytes = bytes.Host();
      for (int row = 0; row < kRows; ++row) {
        const uint32_t* window = &windows[row * h];
        const int c = RouteWindow(route.data(), Scheme{static_cast<uint8_t>(scheme)}, window, h, weights.data(), 3);
        ASSERT_EQ(got_channels[row], c);
        uint32_t seed[8];
        MarkSeed(&keys[8 * c], Scheme{static_cast<uint8_t>(scheme)}, window, h, seed);
        for (uint32_t t = 0; t < kVocabulary; ++t) {
          ASSERT_EQ(got_words[row * kVocabulary + t], WordOf(seed, t));
          ASSERT_EQ(got_bytes[row * kVocabulary + t], ByteOf(seed, t));
        }
      }
    }
  }
}

TEST_F(OnDevice, Candidates) {
  constexpr int kCount = 1 << 20;
  std::vector<float> logits(kCount);
  std::vector<uint32_t> words(kCount);
  for (int i = 0; i < kCount; ++i) {
    logits[i] = 12.0f - static_cast<float>(random_() >> 40) * 0x1p-19f;
    words[i] = static_cast<uint32_t>(random_());
  }
  logits[0] = 12.0f;
  logits[1] = -std::numeric_limits<float>::infinity();
  words[0] = 0;
  words[1] = 0xFFFFFFFF;
  DeviceArray<float> d_logits(logits);
  DeviceArray<uint32_t> d_words(words), counts(kCount);
  DeviceArray<uint64_t> weights(kCount), red(kCount), scores(kCount);
  DeviceArray<double> arrivals(kCount);
  for (const float temperature : {0.3f, 1.0f, 1.7f}) {
    ASSERT_EQ(countermark_launch_candidates(d_logits.get(), 12.0f, temperature, 2.0, d_words.get(), 30, kCount,
                                            {weights.get(), red.get(), arrivals.get(), scores.get(), counts.get()}, nullptr),
              cudaSuccess);
    const auto got_weights = weights.Host(), got_red = red.Host(), got_scores = scores.Host();
    const auto got_arrivals = arrivals.Host();
    const auto got_counts = counts.Host();
    const float scale = InverseTemperature(temperature);
    for (int i = 0; i < kCount; ++i) {
      const uint64_t w = Weight(logits[i], 12.0f, scale);
      ASSERT_EQ(got_weights[i], w) << logits[i];
      ASSERT_EQ(got_red[i], RedWeight(w, RedFactor(2.0)));
      const double arrival = w > 0 ? GumbelArrival(words[i], static_cast<double>(w)) : std::numeric_limits<double>::infinity();
      ASSERT_EQ(std::bit_cast<uint64_t>(got_arrivals[i]), std::bit_cast<uint64_t>(arrival)) << words[i];
      ASSERT_EQ(got_scores[i], GumbelScore(words[i])) << words[i];
      ASSERT_EQ(got_counts[i], TournamentScore(words[i], 30));
    }
  }
}

TEST_F(OnDevice, TournamentAndDraws) {
  constexpr int kRows = 9, kCandidates = 700, kStride = 1024, kLayers = 30;
  std::vector<uint64_t> weights(kRows * kStride), positions(kRows);
  std::vector<uint32_t> words(kRows * kStride), keys(kRows * 8);
  for (uint64_t& w : weights) w = random_() >> (24 + random_() % 40);
  for (uint32_t& w : words) w = static_cast<uint32_t>(random_());
  for (uint32_t& k : keys) k = static_cast<uint32_t>(random_());
  for (uint64_t& p : positions) p = random_();
  std::fill(weights.begin() + kStride, weights.begin() + 2 * kStride, 0);  // an empty row
  DeviceArray<uint64_t> d_weights(weights), d_positions(positions);
  DeviceArray<uint32_t> d_words(words), d_keys(keys);
  DeviceArray<int32_t> tokens(kRows);
  ASSERT_EQ(countermark_launch_tournament_rows(d_weights.get(), d_words.get(), kRows, kCandidates, kStride, kLayers, nullptr), cudaSuccess);
  ASSERT_EQ(countermark_launch_plain_draws(d_weights.get(), kRows, kCandidates, kStride, d_keys.get(), d_positions.get(), 3, tokens.get(),
                                           nullptr),
            cudaSuccess);
  const auto got = d_weights.Host();
  const auto got_tokens = tokens.Host();
  for (int row = 0; row < kRows; ++row) {
    uint64_t* w = &weights[row * kStride];
    const uint32_t* g = &words[row * kStride];
    const auto sum = [&] {
      uint64_t total = 0;
      for (int i = 0; i < kCandidates; ++i) total += w[i];
      return total;
    };
    int32_t token = -1;
    if (sum() > 0) {
      const int shift = TournamentShift(sum());
      for (int i = 0; i < kCandidates; ++i) w[i] <<= shift;
      for (int layer = 0; layer < kLayers; ++layer) {
        uint64_t ones = 0;
        for (int i = 0; i < kCandidates; ++i) ones += g[i] >> layer & 1 ? w[i] : 0;
        const uint64_t ratio = TournamentRatio(sum(), ones);
        for (int i = 0; i < kCandidates; ++i) w[i] = TournamentWeight(w[i], g[i] >> layer & 1, ratio);
      }
      const uint64_t target = DrawTarget(DrawBits(&keys[8 * row], positions[row], 3), sum());
      uint64_t cumulative = 0;
      do cumulative += w[++token];
      while (cumulative <= target);
    }
    ASSERT_EQ(got_tokens[row], token);
    ASSERT_EQ(0, std::memcmp(&got[row * kStride], w, kStride * sizeof *w)) << "row " << row;
  }
}

}  // namespace
}  // namespace countermark
