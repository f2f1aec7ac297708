// Whole requests with their tokens, from tests/vectors/hook-v1.json (make_hook.py, which shares no code with this project).
//
//   for (const KnownAnswer& known : KnownAnswers()) … known.Row(position), known.tokens[position] …
#ifndef COUNTERMARK_TESTS_SAMPLING_KNOWN_ANSWERS_H_
#define COUNTERMARK_TESTS_SAMPLING_KNOWN_ANSWERS_H_

#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "countermark/sampling/hook.h"

namespace countermark::testing {

struct KnownAnswer {
  EpochKeys epoch;
  RequestOptions options;         // `prompt` is below
  std::vector<uint32_t> prompt;
  std::vector<uint32_t> tokens;
  std::vector<std::string> causes;
  std::string told;               // for messages

  std::vector<float> Row(uint64_t position) const {
    std::vector<float> z;
    for (uint64_t t = 0; t < epoch.record.vocabulary; ++t) {
      uint64_t x = 100000 * position + t + 0x9E3779B97F4A7C15;
      x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
      x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
      x ^= x >> 31;
      z.push_back(static_cast<float>(static_cast<int64_t>(x >> 40) - 0x800000) * 0x1p-21f);
    }
    return z;
  }
};

inline std::vector<KnownAnswer> KnownAnswers() {
  std::ifstream in(std::string(COUNTERMARK_TEST_VECTORS) + "/hook-v1.json");
  const nlohmann::json all = nlohmann::json::parse(in);
  const std::string hex = all["key"];
  std::array<uint8_t, 32> key;
  for (size_t i = 0; i < 32; ++i) key[i] = static_cast<uint8_t>(std::stoul(hex.substr(2 * i, 2), nullptr, 16));
  std::vector<KnownAnswer> out;
  for (const nlohmann::json& c : all["cases"]) {
    EpochRecord record;
    record.tenant = "test";
    record.epoch = "fixed";
    record.mark.scheme = *ParseScheme(c["scheme"].get<std::string>());
    record.vocabulary = all["vocabulary"];
    record.tokenizer_sha256 = std::string(64, 'a');
    record.first_use = "2020-01-01T00:00:00Z";
    record.last_use = "2999-12-31T23:59:59Z";
    KnownAnswer known = {{record, Secret32(key), {"org-a", "org-b", "org-c"}}, {}, c["prompt"], c["tokens"], c["causes"], c["scheme"].get<std::string>() + ", '" + c["account"].get<std::string>() + "'"};
    known.options.account = c["account"];
    known.options.base_only = known.options.account.empty();
    known.options.parameters = {c["temperature"], c["top_k"], c["top_p"], c["min_p"]};
    if (!c["seed"].is_null()) known.options.seed = c["seed"].get<uint64_t>();
    out.push_back(std::move(known));
  }
  return out;
}

}  // namespace countermark::testing

#endif  // COUNTERMARK_TESTS_SAMPLING_KNOWN_ANSWERS_H_
