// A server and a detector in one small program, as a user of the installed libraries writes it: a text is marked by the hook and found again.
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "countermark/detect/pairs.h"
#include "countermark/detect/tails.h"
#include "countermark/keys/epoch.h"
#include "countermark/sampling/hook.h"

namespace {

countermark::EpochKeys MakeKeys(uint8_t first) {
  std::array<uint8_t, 32> secret;
  for (size_t i = 0; i < secret.size(); ++i) secret[i] = static_cast<uint8_t>(first + i);
  countermark::EpochRecord record;
  record.tenant = "acme";
  record.epoch = "2026-11";
  record.vocabulary = 500;
  record.tokenizer_sha256 = std::string(64, 'a');
  record.first_use = "2026-11-01T00:00:00Z";
  record.last_use = "2026-11-30T23:59:59Z";
  return {record, countermark::Secret32(secret), {"org-1"}};
}

double BaseLog10P(const countermark::EpochKeys& keys, const std::vector<uint32_t>& text) {
  countermark::PairSet pairs(keys.record.mark.window);
  pairs.Add(text);
  std::vector<uint32_t> weights;
  for (const countermark::ChannelSpec& channel : keys.record.channels) weights.push_back(channel.weight);
  const std::vector<uint8_t> route = countermark::RoutePairs(pairs, keys.Route(), keys.record.mark.scheme, weights);
  const countermark::ChannelCount count = countermark::ScoreChannel(pairs, route, 0, keys.Base(), keys.record.mark);
  return countermark::Log10P(count, keys.record.mark);
}

}  // namespace

int main() {
  const countermark::EpochKeys keys = MakeKeys(1);
  absl::StatusOr<countermark::Hook> hook = countermark::Hook::Create(keys);
  if (!hook.ok()) return std::fprintf(stderr, "%s\n", std::string(hook.status().message()).c_str()), 1;
  countermark::RequestOptions options;
  options.account = "org-1";
  options.seed = 7;
  absl::StatusOr<countermark::Request> request = hook->Begin(options);
  if (!request.ok()) return std::fprintf(stderr, "%s\n", std::string(request.status().message()).c_str()), 1;

  std::mt19937 noise(42);
  std::vector<float> logits(keys.record.vocabulary);
  countermark::RowScratch scratch;
  for (int i = 0; i < 400; ++i) {
    for (float& x : logits) x = static_cast<float>(noise() % 1000) / 250.0f;
    absl::StatusOr<countermark::Choice> choice = hook->Choose(*request, {logits.data(), logits.size()}, &scratch);
    if (!choice.ok()) return std::fprintf(stderr, "%s\n", std::string(choice.status().message()).c_str()), 1;
    request->Commit(choice->token, choice->cause);
  }

  const std::vector<uint32_t> text(request->tokens().begin(), request->tokens().end());
  const double marked = BaseLog10P(keys, text);
  const double stranger = BaseLog10P(MakeKeys(2), text);
  std::printf("log10 p under its own key %.1f, under another %.1f\n", marked, stranger);
  return marked < -6 && stranger > -6 ? 0 : 1;   // every seed is fixed: the same figures on every machine
}
