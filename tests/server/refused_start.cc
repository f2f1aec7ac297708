// A library whose arithmetic is not the format's must refuse to start. This test is linked with one source of the library compiled anew, against a copy of one header in which one number
// is another: on the host the self-test's, on a device its kernels'. COUNTERMARK_ALTERED says what the refusal must name.
#include <gmock/gmock.h>

#include "tests/server/serving.h"

namespace countermark::testing {
namespace {

using ::testing::HasSubstr;

TEST(RefusedStart, ByTheSelfTest) {
  TestKeys keys;
  keys.Open(MakeEpoch(Scheme::kGumbel, 64));
  countermark_hook_options options = countermark_hook_default_options();
  options.device = kTestDevice;
  options.max_slots = 2;
  for (int attempt = 0; attempt < 2; ++attempt) {  // asking again changes nothing
    countermark_hook* hook = reinterpret_cast<countermark_hook*>(&options);
    EXPECT_EQ(countermark_hook_create(keys.keys, &options, &hook), COUNTERMARK_SELF_TEST_FAILED);
    EXPECT_EQ(hook, nullptr);
    EXPECT_THAT(countermark_keys_message(keys.keys), HasSubstr("self-test failed"));
    EXPECT_THAT(countermark_keys_message(keys.keys), HasSubstr(COUNTERMARK_ALTERED));
    EXPECT_THAT(countermark_keys_message(keys.keys), HasSubstr("must not mark"));
  }
}

// The C++ hook knows the host alone.
TEST(RefusedStart, TheHooksOwn) {
  const absl::StatusOr<Hook> hook = Hook::Create(MakeEpoch(Scheme::kGumbel, 64));
  if (kOnHost) {
    EXPECT_EQ(hook.status().code(), absl::StatusCode::kInternal);
    EXPECT_THAT(std::string(hook.status().message()), HasSubstr(COUNTERMARK_ALTERED));
  } else {
    EXPECT_TRUE(hook.ok()) << hook.status();
  }
}

}  // namespace
}  // namespace countermark::testing
