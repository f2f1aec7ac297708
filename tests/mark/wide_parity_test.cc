// The wide forms against the format's scalar headers, word for word, for every instruction set this machine has.
#include "countermark/mark/wide.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "countermark/mark/channel.h"
#include "countermark/mark/gumbel.h"
#include "countermark/mark/partition.h"
#include "countermark/mark/prf.h"
#include "countermark/mark/tournament.h"
#include "gtest/gtest.h"
#include "src/mark/wide_kernels.h"

namespace countermark {
namespace {

using wide::Kernels;

constexpr uint32_t kVocabulary = 128256;
constexpr uint32_t kLastToken = kTokenLimit - 1;

// One of the sets the environment names, or all when it names none.
class WideParity : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const char* asked = std::getenv("COUNTERMARK_ISA");
    if (asked != nullptr && *asked != '\0' && std::string(asked) != GetParam()) GTEST_SKIP() << "not the set that was asked for";
    kernels_ = wide::KernelsNamed(GetParam());
    if (kernels_ == nullptr) {
      std::printf("skipped: this machine has no %s; its wide forms were not run\n", GetParam());
      GTEST_SKIP();
    }
    for (uint32_t& x : seed_) x = Random();
  }
  uint32_t Random() { return static_cast<uint32_t>(random_()); }
  uint32_t RandomToken() {
    static constexpr uint32_t kEdges[] = {0, 1, 15, 16, 63, 64, kVocabulary - 1, 65535, 65536, kLastToken, kLastToken - 1};
    return Random() % 4 == 0 ? kEdges[Random() % 11] : Random() % kVocabulary;
  }
  const Kernels* kernels_ = nullptr;
  std::mt19937 random_{20261124};
  uint32_t seed_[8];
};

TEST_P(WideParity, RowsOfAnyStartLengthAndAlignment) {
  for (uint32_t n : {0u, 1u, 3u, 15u, 16u, 17u, 63u, 127u, 128u, 129u, 255u, 256u, 257u, 511u, 1023u, 1025u, 2049u, 4100u}) {
    for (uint32_t first : {0u, 1u, 15u, 16u, 17u, 63u, 64u, 100u, kVocabulary - 5, kLastToken - 300}) {
      const uint32_t shift = Random() % 16;  // from a 64-byte line's start
      std::vector<uint32_t> words(n + 40, 0xABABABAB);
      kernels_->stream(seed_, uint64_t{4} * first, uint64_t{4} * n, reinterpret_cast<uint8_t*>(words.data() + shift));
      std::vector<uint8_t> bytes(n + 80, 0xAB);
      kernels_->stream(seed_, first, n, bytes.data() + shift * 3);
      for (uint32_t i = 0; i < n; ++i) {
        ASSERT_EQ(words[shift + i], WordOf(seed_, first + i)) << "first " << first << " n " << n << " i " << i;
        ASSERT_EQ(bytes[3 * shift + i], ByteOf(seed_, first + i)) << "first " << first << " n " << n << " i " << i;
      }
      for (size_t i = 0; i < words.size(); ++i) {
        if (i < shift || i >= shift + n) {
          ASSERT_EQ(words[i], 0xABABABAB) << "written outside, at " << i;
        }
      }
      for (size_t i = 0; i < bytes.size(); ++i) {
        if (i < 3 * shift || i >= 3 * shift + n) {
          ASSERT_EQ(bytes[i], 0xAB) << "written outside, at " << i;
        }
      }
    }
  }
}

TEST_P(WideParity, WholeVocabulary) {
  std::vector<uint32_t> words(kVocabulary);
  std::vector<uint8_t> bytes(kVocabulary);
  kernels_->stream(seed_, 0, uint64_t{4} * kVocabulary, reinterpret_cast<uint8_t*>(words.data()));
  kernels_->stream(seed_, 0, kVocabulary, bytes.data());
  for (uint32_t t = 0; t < kVocabulary; ++t) {
    ASSERT_EQ(words[t], WordOf(seed_, t)) << t;
    ASSERT_EQ(bytes[t], ByteOf(seed_, t)) << t;
  }
}

TEST_P(WideParity, ListedTokens) {
  std::vector<std::vector<uint32_t>> lists = {{}, {0}, {kLastToken}, {kVocabulary - 1, 0, kVocabulary - 1}};
  for (uint32_t n : {7u, 8u, 9u, 16u, 17u, 100u, 1024u, 3000u}) {
    std::vector<uint32_t> random(n), ascending(n), one_block(n), same(n, 77);
    for (uint32_t i = 0; i < n; ++i) {
      random[i] = RandomToken();
      ascending[i] = 5 * i;
      one_block[i] = 160 + i % 16;
    }
    for (const auto& list : {random, ascending, one_block, same}) lists.push_back(list);
  }
  for (const auto& tokens : lists) {
    const uint32_t n = static_cast<uint32_t>(tokens.size());
    std::vector<uint32_t> words(n + 1, 0xABABABAB);
    std::vector<uint8_t> bytes(n + 1, 0xAB);
    kernels_->words_at(seed_, tokens.data(), n, words.data());
    kernels_->bytes_at(seed_, tokens.data(), n, bytes.data());
    for (uint32_t i = 0; i < n; ++i) {
      ASSERT_EQ(words[i], WordOf(seed_, tokens[i])) << tokens[i];
      ASSERT_EQ(bytes[i], ByteOf(seed_, tokens[i])) << tokens[i];
    }
    EXPECT_EQ(words[n], 0xABABABAB);
    EXPECT_EQ(bytes[n], 0xAB);
    std::vector<uint32_t> in_place = tokens;
    kernels_->words_at(seed_, in_place.data(), n, in_place.data());
    words.resize(n);
    EXPECT_EQ(in_place, words);
  }
}

// Words at the edges, and one in 1009 of all: about 4 million, some thousand of which a double cannot decide.
TEST_P(WideParity, GumbelScores) {
  std::vector<uint32_t> words = {0, 1, 2, 3, 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD};
  for (int b = 1; b < 32; ++b) {
    for (uint32_t d : {0u, 1u, 0xFFFFFFFFu}) {
      words.push_back((1u << b) + d);
      words.push_back(0u - (1u << b) + d);
    }
  }
  for (uint64_t w = 0; w < uint64_t{1} << 32; w += 1009) words.push_back(static_cast<uint32_t>(w));
  std::vector<uint64_t> scores(words.size());
  kernels_->gumbel_scores(words.data(), static_cast<uint32_t>(words.size()), scores.data());
  for (size_t i = 0; i < words.size(); ++i) ASSERT_EQ(scores[i], GumbelScore(words[i])) << "word " << words[i];
}

uint64_t ScalarScore(const MarkParameters& mark, const uint32_t seed[8], uint32_t token) {
  if (mark.scheme == Scheme::kPartition) return IsGreen(ByteOf(seed, token), static_cast<uint32_t>(mark.green));
  if (mark.scheme == Scheme::kTournament) return TournamentScore(WordOf(seed, token), mark.layers);
  return GumbelScore(WordOf(seed, token));
}

wide::ScoreSpec SpecOf(const MarkParameters& mark) {
  return {mark.scheme, mark.window, static_cast<uint32_t>(mark.green), mark.layers == 32 ? 0xFFFFFFFFu : (1u << mark.layers) - 1};
}

TEST_P(WideParity, RoutesAndScores) {
  const std::vector<std::vector<uint32_t>> shares = {{65536}, {32768, 32768}, {26214, 26214, 13108}, {58982, 3277, 1966, 1311},
                                                     {0, 65536}, {65536, 0}, {1, 0, 65535}};
  for (Scheme scheme : {Scheme::kPartition, Scheme::kTournament, Scheme::kGumbel}) {
    for (int h = 1; h <= kMaxWindow; ++h) {
      for (const auto& weights : shares) {
        const int channels = static_cast<int>(weights.size());
        MarkParameters mark{scheme, h, 1 + static_cast<int>(Random() % 255), 2.0, 1 + static_cast<int>(Random() % 32)};
        wide::ChannelKeys keys = {};
        keys.channels = channels;
        uint32_t total = 0;
        for (int c = 0; c < channels; ++c) {
          keys.total[c] = total += weights[static_cast<size_t>(c)];
          for (int j = 0; j < 8; ++j) keys.key[j][c] = Random();
        }
        for (uint32_t& word : keys.route_key) word = Random();
        for (uint32_t n : {0u, 1u, 7u, 8u, 9u, 15u, 16u, 17u, 33u, 200u}) {
          std::vector<uint32_t> column[kMaxWindow], token(n);
          wide::PairColumns pairs = {};
          for (int j = 0; j < h; ++j) {
            for (uint32_t i = 0; i < n; ++i) column[j].push_back(RandomToken());
            pairs.window[j] = column[j].data();
          }
          for (uint32_t& t : token) t = RandomToken();
          pairs.token = token.data();
          pairs.n = n;

          wide::BatchCount expected = {}, count;
          std::vector<uint8_t> channel(n, 9), expected_channel(n);
          for (uint32_t i = 0; i < n; ++i) {
            uint32_t window[kMaxWindow], key[8], seed[8];
            for (int j = 0; j < h; ++j) window[j] = column[j][i];
            const int c = RouteWindow(keys.route_key, scheme, window, h, weights.data(), channels);
            for (int j = 0; j < 8; ++j) key[j] = keys.key[j][c];
            MarkSeed(key, scheme, window, h, seed);
            expected_channel[i] = static_cast<uint8_t>(c);
            ++expected.scored[c];
            expected.statistic[c] += ScalarScore(mark, seed, token[i]);
          }
          kernels_->score(SpecOf(mark), keys, pairs, &count);
          for (int c = 0; c < kMaxChannels; ++c) {
            ASSERT_EQ(count.scored[c], expected.scored[c]) << "scheme " << static_cast<int>(scheme) << " h " << h << " n " << n;
            ASSERT_EQ(count.statistic[c], expected.statistic[c]) << "scheme " << static_cast<int>(scheme) << " h " << h << " n " << n;
          }
          if (channels > 1) {
            kernels_->route(SpecOf(mark), keys, pairs, channel.data());
            ASSERT_EQ(channel, expected_channel);
          }
        }
      }
    }
  }
}

TEST_P(WideParity, ManyKeys) {
  const uint32_t lanes = kernels_->lanes;
  for (Scheme scheme : {Scheme::kPartition, Scheme::kTournament, Scheme::kGumbel}) {
    const MarkParameters mark{scheme, 3, 100, 2.0, 30};
    const uint32_t per_block = scheme == Scheme::kPartition ? 64 : 16;
    std::vector<uint32_t> key_words(8 * lanes);
    for (uint32_t& word : key_words) word = Random();
    std::vector<wide::EncodedPair> pairs(120);
    std::vector<std::vector<uint32_t>> windows(pairs.size());
    std::vector<uint32_t> tokens(pairs.size());
    for (size_t i = 0; i < pairs.size(); ++i) {
      const bool fresh = i == 0 || Random() % 3 != 0;
      windows[i] = fresh ? std::vector<uint32_t>{RandomToken(), RandomToken(), RandomToken()} : windows[i - 1];
      tokens[i] = RandomToken();
      EncodeWindow(scheme, windows[i].data(), 3, Purpose::kMark, pairs[i].input);
      pairs[i].counter = tokens[i] / per_block;
      pairs[i].place = static_cast<uint16_t>(tokens[i] % per_block);
      pairs[i].new_window = fresh;
    }
    std::vector<uint64_t> statistic(lanes);
    kernels_->score_keys(SpecOf(mark), key_words.data(), pairs.data(), static_cast<uint32_t>(pairs.size()), statistic.data());
    for (uint32_t k = 0; k < lanes; ++k) {
      uint32_t key[8], seed[8];
      for (uint32_t j = 0; j < 8; ++j) key[j] = key_words[lanes * j + k];
      uint64_t expected = 0;
      for (size_t i = 0; i < pairs.size(); ++i) {
        MarkSeed(key, scheme, windows[i].data(), 3, seed);
        expected += ScalarScore(mark, seed, tokens[i]);
      }
      ASSERT_EQ(statistic[k], expected) << "scheme " << static_cast<int>(scheme) << " key " << k;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, WideParity, testing::Values("scalar", "avx2", "avx512"),
                         [](const testing::TestParamInfo<const char*>& isa) { return std::string(isa.param); });

// The public functions stand on the set that the environment allows.
TEST(Wide, ChosenSetAnswersThePublicFunctions) {
  const char* cap = std::getenv("COUNTERMARK_ISA");
  if (cap != nullptr && wide::KernelsNamed(cap) != nullptr) {
    EXPECT_STREQ(WideIsa(), cap);
  }
  const uint32_t seed[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  uint32_t words[100];
  uint8_t bytes[100];
  WordRow(seed, 70, 100, words);
  ByteRow(seed, 70, 100, bytes);
  for (uint32_t i = 0; i < 100; ++i) {
    EXPECT_EQ(words[i], WordOf(seed, 70 + i));
    EXPECT_EQ(bytes[i], ByteOf(seed, 70 + i));
  }
  const uint32_t tokens[5] = {9, 3, 100000, 3, kLastToken};
  WordsAt(seed, tokens, 5, words);
  BytesAt(seed, tokens, 5, bytes);
  for (uint32_t i = 0; i < 5; ++i) {
    EXPECT_EQ(words[i], WordOf(seed, tokens[i]));
    EXPECT_EQ(bytes[i], ByteOf(seed, tokens[i]));
  }
}

}  // namespace
}  // namespace countermark
