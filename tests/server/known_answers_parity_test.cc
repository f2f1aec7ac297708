// The C interface, on the host and on a device, gives whole requests the tokens of an independent implementation: sampled, and by bias where that leaves one token.
#include "tests/sampling/known_answers.h"
#include "tests/server/serving.h"

namespace countermark::testing {
namespace {

TEST(ServerKnownAnswers, WholeRequests) {
  std::map<Scheme, std::unique_ptr<Serving>> servers;
  for (const KnownAnswer& known : KnownAnswers()) {
    std::unique_ptr<Serving>& made = servers[known.epoch.record.mark.scheme];
    if (made == nullptr) made = std::make_unique<Serving>(known.epoch);
    Serving& server = *made;
    Asked asked;
    asked.temperature = known.options.parameters.temperature;
    asked.top_k = known.options.parameters.top_k;
    asked.top_p = static_cast<float>(known.options.parameters.top_p);
    asked.min_p = static_cast<float>(known.options.parameters.min_p);
    asked.seed = known.options.seed;
    asked.prompt = known.prompt;
    for (int slot : {0, 1}) ASSERT_EQ(server.Begin(slot, known.options.account, asked), COUNTERMARK_OK) << known.told << ": " << server.message();
    const bool partition = known.epoch.record.mark.scheme == Scheme::kPartition;  // whose bias leaves the choice to the host
    for (size_t i = 0; i < std::min<size_t>(known.tokens.size(), static_cast<size_t>(Rounds(1000, 24))); ++i) {
      const std::vector<float> z = known.Row(i);
      const Rows sampled = server.Sample({.slots = {0}, .logits = {z}, .commit = true});
      ASSERT_EQ(sampled.tokens[0], static_cast<int32_t>(known.tokens[i])) << known.told << ", position " << i;
      ASSERT_EQ(CauseName(sampled.causes[0]), known.causes[i]) << known.told << ", position " << i;
      const Rows biased = server.Bias({.slots = {1}, .logits = {z}});
      if (!partition) {
        ASSERT_EQ(biased.tokens[0], static_cast<int32_t>(known.tokens[i])) << known.told << ", position " << i;
      }
      ASSERT_EQ(server.Commit(1, {known.tokens[i]}), COUNTERMARK_OK);
    }
  }
}

}  // namespace
}  // namespace countermark::testing
