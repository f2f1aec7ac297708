// Epochs and rows for the sampling tests.
#ifndef COUNTERMARK_TESTS_SAMPLING_FIXTURE_H_
#define COUNTERMARK_TESTS_SAMPLING_FIXTURE_H_

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "countermark/sampling/hook.h"

namespace countermark::testing {

inline Secret32 KeyFromSeed(uint64_t seed) {
  std::mt19937_64 rng(seed);
  std::array<uint8_t, 32> bytes;
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(rng());
  return Secret32(bytes);
}

inline EpochKeys MakeEpoch(Scheme scheme, uint32_t vocabulary, uint64_t seed = 1) {
  EpochRecord record;
  record.tenant = "acme";
  record.epoch = "2026-11";
  record.mark.scheme = scheme;
  record.vocabulary = vocabulary;
  record.tokenizer_sha256 = std::string(64, 'a');
  record.first_use = "2026-11-01T00:00:00Z";
  record.last_use = "2026-11-30T23:59:59Z";
  return EpochKeys{record, KeyFromSeed(seed), {"org-1", "org-2"}};
}

// A row that depends on the last token, so that a text made from it has structure, loops included.
inline std::vector<float> RowAfter(uint32_t last, uint32_t vocabulary, float spread) {
  std::mt19937 rng(last * 2654435761u + 17);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> z(vocabulary);
  for (float& x : z) x = normal(rng);
  return z;
}

}  // namespace countermark::testing

#endif  // COUNTERMARK_TESTS_SAMPLING_FIXTURE_H_
