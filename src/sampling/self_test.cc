// What a hook must reproduce before it may serve. The numbers are those of tests/vectors (written by programs that share no code with
// this one); the rows are worked both by the widest loops of this machine and by the plain ones.
#include <cstring>
#include <string>
#include <vector>

#include "countermark/mark/gumbel.h"
#include "countermark/mark/prf.h"
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
  if (status.ok()) status = TestRows();
  return status;
}

}  // namespace countermark
