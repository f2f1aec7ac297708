// The mark format's published answers, tests/vectors/mark-v1.json, through the scalar headers alone.
#include <array>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "countermark/mark/channel.h"
#include "countermark/mark/chacha.h"
#include "countermark/mark/gumbel.h"
#include "countermark/mark/partition.h"
#include "countermark/mark/prf.h"
#include "countermark/mark/scheme.h"
#include "countermark/mark/tournament.h"
#include "countermark/mark/window.h"
#include "tests/mark/vectors.h"

namespace countermark {
namespace {

using testing::HexBytes;
using testing::HexWords;
using testing::LoadVectors;

const nlohmann::json& Vectors() {
  static const nlohmann::json vectors = LoadVectors("mark-v1.json");
  return vectors;
}

TEST(MarkVectors, HChaCha20) {
  ASSERT_EQ(Vectors()["hchacha20"].size(), 9u);
  for (const auto& v : Vectors()["hchacha20"]) {
    std::array<uint32_t, 8> out;
    HChaCha20(HexWords<8>(v["key"]).data(), HexWords<4>(v["input"]).data(), out.data());
    EXPECT_EQ(out, HexWords<8>(v["out"])) << v;
    std::array<uint32_t, 8> in_place = HexWords<8>(v["key"]);
    HChaCha20(in_place.data(), HexWords<4>(v["input"]).data(), in_place.data());
    EXPECT_EQ(in_place, out) << "output over the key: " << v;
  }
}

TEST(MarkVectors, ChaCha8) {
  ASSERT_EQ(Vectors()["chacha8"].size(), 6u);
  for (const auto& v : Vectors()["chacha8"]) {
    std::array<uint32_t, 16> out;
    ChaCha8Block(HexWords<8>(v["key"]).data(), v["counter"], out.data());
    EXPECT_EQ(out, HexWords<16>(v["out"])) << v;
  }
}

// RFC 8439, section 2.3.2: the 20-round block that plain draws come from.
TEST(MarkVectors, ChaCha20OfRfc8439) {
  std::array<uint32_t, 8> key;
  std::array<uint8_t, 32> bytes;
  for (int i = 0; i < 32; ++i) bytes[i] = static_cast<uint8_t>(i);
  LoadKeyWords(bytes.data(), key.data());
  const uint32_t nonce[3] = {0x09000000, 0x4A000000, 0};
  std::array<uint32_t, 16> out;
  ChaChaBlock<20>(key.data(), 1, nonce, out.data());
  EXPECT_EQ(out, (std::array<uint32_t, 16>{0xe4e7f110, 0x15593bd1, 0x1fdd0f50, 0xc47120a3, 0xc7f4d1c7, 0x0368c033, 0x9aaa2204,
                                           0x4e6cd4c3, 0x466482d2, 0x09aa9f07, 0x05d7c214, 0xa2028bd9, 0xd19c12b5, 0xb94e16de,
                                           0xe883d0cb, 0x4e3c50a2}));
}

TEST(MarkVectors, Seed) {
  ASSERT_EQ(Vectors()["seed"].size(), 48u);
  for (const auto& v : Vectors()["seed"]) {
    const std::vector<uint32_t> window = v["window"];
    std::array<uint32_t, 8> key, seed;
    LoadKeyWords(HexBytes(v["key"]).data(), key.data());
    MarkSeed(key.data(), Scheme{v["scheme"].get<uint8_t>()}, window.data(), static_cast<int>(window.size()), seed.data());
    EXPECT_EQ(seed, HexWords<8>(v["seed"])) << v;
  }
}

TEST(MarkVectors, Word) {
  ASSERT_EQ(Vectors()["word"].size(), 48u);
  for (const auto& v : Vectors()["word"]) EXPECT_EQ(WordOf(HexWords<8>(v["seed"]).data(), v["token"]), v["word"]) << v;
}

TEST(MarkVectors, Byte) {
  ASSERT_EQ(Vectors()["byte"].size(), 48u);
  for (const auto& v : Vectors()["byte"]) EXPECT_EQ(ByteOf(HexWords<8>(v["seed"]).data(), v["token"]), v["byte"]) << v;
}

TEST(MarkVectors, Route) {
  ASSERT_EQ(Vectors()["route"].size(), 64u);
  for (const auto& v : Vectors()["route"]) {
    const std::vector<uint32_t> window = v["window"], weights = v["weights"];
    EXPECT_EQ(RouteWindow(HexWords<8>(v["key"]).data(), Scheme{v["scheme"].get<uint8_t>()}, window.data(),
                          static_cast<int>(window.size()), weights.data(), static_cast<int>(weights.size())),
              v["channel"])
        << v;
  }
}

// What a detector adds up, without its speed: every distinct (window, token) pair once, on the channel of its window.
uint64_t PairScore(Scheme scheme, const uint32_t seed[8], uint32_t token, uint32_t green, int layers) {
  switch (scheme) {
    case Scheme::kPartition: return IsGreen(ByteOf(seed, token), green) ? 1 : 0;
    case Scheme::kTournament: return TournamentScore(WordOf(seed, token), layers);
    case Scheme::kGumbel: return GumbelScore(WordOf(seed, token));
  }
  return 0;
}

TEST(MarkVectors, Score) {
  ASSERT_EQ(Vectors()["score"].size(), 18u);
  for (const auto& v : Vectors()["score"]) {
    const Scheme scheme{v["scheme"].get<uint8_t>()};
    const int h = v["h"];
    const std::vector<uint32_t> tokens = v["tokens"], weights = v["weights"];
    std::vector<std::array<uint32_t, 8>> keys;
    for (const auto& key : v["keys"]) keys.push_back(HexWords<8>(key));
    std::vector<std::pair<uint64_t, uint64_t>> channels(keys.size());
    std::set<std::vector<uint32_t>> seen;
    for (size_t i = h; i < tokens.size(); ++i) {
      if (!seen.insert({tokens.begin() + (i - h), tokens.begin() + i + 1}).second) continue;
      const int c = RouteWindow(HexWords<8>(v["route_key"]).data(), scheme, &tokens[i - h], h, weights.data(),
                                static_cast<int>(weights.size()));
      uint32_t seed[8];
      MarkSeed(keys[c].data(), scheme, &tokens[i - h], h, seed);
      ++channels[c].first;
      channels[c].second += PairScore(scheme, seed, tokens[i], v["green"], v["layers"]);
    }
    EXPECT_EQ(nlohmann::json(channels), v["channels"]) << "scheme " << v["scheme"] << ", h " << h << ", channels " << keys.size();
  }
}

// Windows that differ in a token, in order, in length or in purpose have different inputs, though zero is a token too.
TEST(Window, EncodingIsInjective) {
  const uint32_t edges[] = {0, 1, 0xFF, 0x100, 0xFFFF, 0x10000, 0xFFFFFE};
  std::set<std::array<uint32_t, 4>> inputs;
  size_t made = 0;
  for (const Scheme scheme : {Scheme::kPartition, Scheme::kTournament, Scheme::kGumbel}) {
    for (const Purpose purpose : {Purpose::kMark, Purpose::kRoute}) {
      for (int h = kMinWindow; h <= kMaxWindow; ++h) {
        size_t combinations = 1;
        for (int j = 0; j < h; ++j) combinations *= std::size(edges);
        for (size_t n = 0; n < combinations; ++n) {
          uint32_t window[kMaxWindow];
          for (size_t j = 0, rest = n; j < static_cast<size_t>(h); ++j, rest /= std::size(edges)) window[j] = edges[rest % std::size(edges)];
          std::array<uint32_t, 4> input;
          EncodeWindow(scheme, window, h, purpose, input.data());
          inputs.insert(input);
          ++made;
          // The bytes, as the format lists them.
          std::array<uint8_t, 16> bytes = {1, static_cast<uint8_t>(scheme), static_cast<uint8_t>(h), static_cast<uint8_t>(purpose)};
          for (int j = 0; j < h; ++j) {
            for (int b = 0; b < 3; ++b) bytes[4 + 3 * j + b] = static_cast<uint8_t>(window[j] >> (8 * b));
          }
          for (int j = 0; j < 4; ++j) {
            ASSERT_EQ(input[j], bytes[4 * j] | uint32_t{bytes[4 * j + 1]} << 8 | uint32_t{bytes[4 * j + 2]} << 16 |
                                    uint32_t{bytes[4 * j + 3]} << 24);
          }
        }
      }
    }
  }
  EXPECT_EQ(inputs.size(), made);
}

TEST(Channel, BoundariesFallWhereTheWeightsSay) {
  const uint32_t weights[] = {26214, 26214, 13108};
  EXPECT_EQ(ChannelOf(0, weights, 3), 0);
  EXPECT_EQ(ChannelOf(26214u * 65536 - 1, weights, 3), 0);
  EXPECT_EQ(ChannelOf(26214u * 65536, weights, 3), 1);
  EXPECT_EQ(ChannelOf(52428u * 65536 - 1, weights, 3), 1);
  EXPECT_EQ(ChannelOf(52428u * 65536, weights, 3), 2);
  EXPECT_EQ(ChannelOf(0xFFFFFFFF, weights, 3), 2);
  const uint32_t empty_first[] = {0, 65536};
  EXPECT_EQ(ChannelOf(0, empty_first, 2), 1);
  const uint32_t all_first[] = {65536, 0};
  EXPECT_EQ(ChannelOf(0xFFFFFFFF, all_first, 2), 0);
}

TEST(Tournament, ScoreCountsTheFirstBits) {
  for (int layers = 1; layers <= kMaxLayers; ++layers) {
    for (const uint32_t word : {0u, 1u, 0x80000000u, 0xFFFFFFFFu, 0x40000000u, 0x12345678u, 0xDEADBEEFu}) {
      uint32_t count = 0;
      for (int l = 0; l < layers; ++l) count += word >> l & 1;
      EXPECT_EQ(TournamentScore(word, layers), count) << word << " " << layers;
    }
  }
}

}  // namespace
}  // namespace countermark
