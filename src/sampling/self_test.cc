// What a hook must reproduce before it may serve. The numbers are those of tests/vectors (written by programs that share no code with
// this one); the rows are worked both by the widest loops of this machine and by the plain ones.
#include <cstring>
#include <string>
#include <vector>

#include "countermark/mark/channel.h"
#include "countermark/mark/gumbel.h"
#include "countermark/mark/partition.h"
#include "countermark/mark/prf.h"
#include "countermark/mark/select.h"
#include "countermark/mark/tournament.h"
#include "countermark/mark/weight.h"
#include "countermark/mark/wide.h"
#include "countermark/sampling/hook.h"
#include "src/sampling/row_kernels.h"

namespace countermark {
namespace {

absl::Status Failed(const char* what) {
  return absl::InternalError(std::string("self-test failed: ") + what +
                             " differs from the format's known answer; this build or machine must not mark or detect");
}

// HChaCha20 of draft-irtf-cfrg-xchacha-03, section 2.2.1, and the ChaCha8 block of the zero key.
absl::Status TestPseudorandomFunction() {
  uint8_t bytes[32];
  for (int i = 0; i < 32; ++i) bytes[i] = static_cast<uint8_t>(i);
  uint32_t key[8], out[8];
  LoadKeyWords(bytes, key);
  const uint32_t input[4] = {0x09000000, 0x4A000000, 0x00000000, 0x27594131};
  HChaCha20(key, input, out);
  const uint32_t expected[8] = {0x423B4182, 0xFE7BB227, 0x50420ED3, 0x737D878A, 0xD5E4F9A0, 0x53A8748A, 0x13C42EC1, 0xDCECD326};
  if (std::memcmp(out, expected, sizeof out) != 0) return Failed("HChaCha20");

  const uint32_t zero[8] = {};
  uint32_t block[16], row[67];
  ChaCha8Block(zero, 0, block);
  const uint32_t first[4] = {0x2FEF003E, 0xD6405F89, 0xE8B85B7F, 0xA1A5091F};
  if (std::memcmp(block, first, sizeof first) != 0) return Failed("the ChaCha8 block");
  WordRow(zero, 0, 67, row);
  for (uint32_t t = 0; t < 67; ++t) {
    if (row[t] != WordOf(zero, t)) return Failed("a row of words");
  }
  return absl::OkStatus();
}

absl::Status TestArithmetic() {
  const float scale = InverseTemperature(1.0f);
  if (Weight(0.0f, 0.0f, scale) != uint64_t{1} << 40 || Weight(-0.5f, 0.0f, scale) != 666887520256 ||
      Weight(-10.0f, 0.0f, scale) != 49917756 || Weight(-30.0f, 0.0f, scale) != 0) {
    return Failed("a token's weight");
  }
  const double log = NegativeLog(1000);  // 15.272454623894461
  uint64_t bits;
  std::memcpy(&bits, &log, sizeof bits);
  if (bits != 0x402E8B7F2C268A98 || GumbelScore(0x80000000u) != 762123384785 || GumbelScore(0xFFFFFFFFu) != 24387948313145) {
    return Failed("a logarithm");
  }
  return absl::OkStatus();
}

// A window's seed and channel.
absl::Status TestWindow() {
  const uint32_t key[8] = {0x424FE672, 0x8DF95420, 0x2A854256, 0xDA2C624B, 0x378E9CE4, 0x7D800092, 0xEFBF8FD0, 0xCF1DA98F};
  const uint32_t window[3] = {167077, 27328, 1}, expected[8] = {0x01BD7D3B, 0xD750B6B3, 0x62F6FBE5, 0x3E009DA4, 0xE1677AA9, 0xCDBF0BF2, 0xD26A3CCF, 0xA59C5945};
  uint32_t seed[8];
  MarkSeed(key, Scheme::kGumbel, window, 3, seed);
  if (std::memcmp(seed, expected, sizeof seed) != 0) return Failed("a window's seed");
  const uint32_t route[8] = {0x83584734, 0x66415093, 0x9E3AEDD3, 0x6943F99C, 0x17DFF442, 0x80D6476A, 0x2060D15D, 0xA0F027CB};
  const uint32_t routed[2] = {62009, 50480}, weights[3] = {26214, 26214, 13108};
  if (RouteWindow(route, static_cast<Scheme>(3), routed, 2, weights, 3) != 2) return Failed("a window's channel");
  return absl::OkStatus();
}

// 60,000 weights and logarithms by the hash of their bits: a change in the last place of one coefficient shows in one of a thousand.
absl::Status TestDigests() {
  const auto mix = [](uint64_t x) {
    x += 0x9E3779B97F4A7C15;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
    return x ^ (x >> 31);
  };
  const auto add = [](uint64_t* state, uint64_t item) { *state = (*state ^ item) * 0x100000001B3; };
  const float scales[] = {InverseTemperature(0.3f), InverseTemperature(0.7f), InverseTemperature(1.0f), InverseTemperature(1.3f)};
  uint64_t weights = 0xCBF29CE484222325, doubles = weights, integers = weights;
  for (uint64_t i = 0; i < 60000; ++i) {
    const uint64_t x = mix(i);
    const float max = static_cast<float>(static_cast<int64_t>(x & 0xFFFFFF) - 0x800000) * 0x1p-18f;
    add(&weights, Weight(max - static_cast<float>(x >> 40) * 0x1p-19f, max, scales[x >> 24 & 3]));
    const double log = NegativeLog(static_cast<uint32_t>(x));
    uint64_t bits;
    std::memcpy(&bits, &log, sizeof bits);
    add(&doubles, bits);
    add(&integers, GumbelScore(static_cast<uint32_t>(x)));
  }
  if (weights != 0x039C91CC42ECDC18) return Failed("one of many tokens' weights");
  if (doubles != 0xF85C7A89CB839A78) return Failed("one of many logarithms");
  if (integers != 0xA92748B6F7F2A228) return Failed("one of many scores");
  return absl::OkStatus();
}

// What the schemes make of weights, and a plain draw.
absl::Status TestSelection() {
  if (RedFactor(2.0) != 1135275 || RedWeight(8388607, 1135275) != 1135274 || RedWeight(844166443577, 1135275) != 114245541004) {
    return Failed("a red token's weight");
  }
  uint64_t weights[5] = {8589934592, 128, 268435456, 16, 68719476736}, total = 0, ones = 0;
  const uint32_t words[5] = {2623774697, 1966941019, 4055149606, 3259151562, 2712314137};
  for (uint64_t w : weights) total += w;
  const int shift = TournamentShift(total);
  for (int i = 0; i < 5; ++i) ones += words[i] & 1 ? weights[i] << shift : 0;
  const uint64_t ratio = TournamentRatio(total << shift, ones);
  const uint64_t expected[5] = {72306928287751956, 1077457193, 7791695307000, 464421, 578455426302015651};
  if (shift != 23 || ratio != 31914783977474620 || TournamentRatioByDoubles(total << shift, ones) != ratio) return Failed("a tournament's layer");
  for (int i = 0; i < 5; ++i) {
    if (TournamentWeight(weights[i] << shift, words[i] & 1, ratio) != expected[i]) return Failed("a tournament's weight");
  }
  if (Threshold(0.95) != 4080218931) return Failed("a threshold");
  const uint32_t key[8] = {0xE0A651BA, 0xDB8F5D06, 0x3BABB668, 0xBFD782A6, 0x4E0DE414, 0xEC4476AE, 0xDD330398, 0x6ED6B6AC};
  if (DrawBits(key, 4095, 0) != 6713242194572036290 || DrawTarget(6713242194572036290, 9895604649984) != 3601263746687) return Failed("a plain draw");
  return absl::OkStatus();
}

// The widest loops against the plain ones on a row with every kind of logit.
absl::Status TestRows() {
  const row_kernels::Kernels& wide = row_kernels::Best();
  const row_kernels::Kernels& plain = row_kernels::kScalar;
  constexpr size_t n = 331;
  std::vector<float> z(n), a(n + 16), b(n + 16), c(n + 16), d(n + 16);
  std::vector<uint32_t> words(n), ids(n + 16), other_ids(n + 16);
  uint32_t x = 1;
  for (size_t i = 0; i < n; ++i) {
    x = x * 1664525u + 1013904223u;
    words[i] = x;
    z[i] = i % 17 == 3 ? -__builtin_inff() : static_cast<float>(x >> 8) * 0x1p-20f - 12.0f;
  }
  bool nan = false, infinite = false;
  const float max = wide.max(z.data(), n, &nan, &infinite);
  bool plain_nan = false, plain_infinite = false;
  if (max != plain.max(z.data(), n, &plain_nan, &plain_infinite) || nan || infinite) return Failed("the largest logit");
  const float scale = InverseTemperature(0.7f);
  if (wide.weights(z.data(), n, max, scale, a.data()) != plain.weights(z.data(), n, max, scale, b.data()) ||
      std::memcmp(a.data(), b.data(), n * sizeof(float)) != 0) {
    return Failed("a row of weights");
  }
  uint64_t sum, other_sum;
  const size_t kept = wide.keep(a.data(), nullptr, n, 0x1p25f, c.data(), ids.data(), &sum);
  if (kept != plain.keep(a.data(), nullptr, n, 0x1p25f, d.data(), other_ids.data(), &other_sum) || sum != other_sum ||
      std::memcmp(ids.data(), other_ids.data(), kept * sizeof(uint32_t)) != 0 || kept == 0) {
    return Failed("truncation");
  }
  if (wide.race(words.data(), c.data(), kept) != plain.race(words.data(), c.data(), kept)) return Failed("the race of the gumbel scheme");
  return absl::OkStatus();
}

}  // namespace

absl::Status SelfTest() {
  absl::Status status = TestPseudorandomFunction();
  if (status.ok()) status = TestArithmetic();
  if (status.ok()) status = TestWindow();
  if (status.ok()) status = TestSelection();
  if (status.ok()) {
    static const absl::Status digests = TestDigests();  // some milliseconds: once a process
    status = digests;
  }
  if (status.ok()) status = TestRows();
  return status;
}

}  // namespace countermark
