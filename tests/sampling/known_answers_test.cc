// The hook gives whole requests the tokens of an independent implementation.
#include <gtest/gtest.h>

#include "tests/sampling/known_answers.h"

namespace countermark::testing {
namespace {

TEST(HookKnownAnswers, WholeRequests) {
  RowScratch scratch;
  const std::vector<KnownAnswer> all = KnownAnswers();
  ASSERT_EQ(all.size(), 18u);
  for (const KnownAnswer& known : all) {
    const Hook hook = *Hook::Create(known.epoch);
    RequestOptions options = known.options;
    options.prompt = known.prompt;
    Request request = *hook.Begin(options);
    for (size_t i = 0; i < known.tokens.size(); ++i) {
      const std::vector<float> z = known.Row(i);
      const Choice choice = *hook.Choose(request, {z.data(), z.size()}, &scratch);
      ASSERT_EQ(choice.token, known.tokens[i]) << known.told << ", position " << i;
      ASSERT_EQ(CauseName(choice.cause), known.causes[i]) << known.told << ", position " << i;
      request.Commit(choice.token, choice.cause);
    }
  }
}

}  // namespace
}  // namespace countermark::testing
