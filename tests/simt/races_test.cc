// What the race check must call a race, and must not. Run test by test by CMakeLists.txt, which knows which of them must end with TSan's status.
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "tests/simt/control.h"
#include "tests/simt/probe_kernels.h"

namespace countermark {
namespace {

TEST(Races, TwoBlocksAddWithoutAtomics) {
  uint32_t count = 0;
  simt::Configure({.resident = 2});
  ASSERT_EQ(probe::RacyBlocks(&count, nullptr), cudaSuccess);
  EXPECT_EQ(count, 2u) << "right, and a race all the same";
}
TEST(Races, AFlagWithoutAFence) {
  uint32_t data = 0, flag = 0;
  simt::Configure({.resident = 2});
  ASSERT_EQ(probe::RacyPublish(&data, &flag, false, nullptr), cudaSuccess);
  EXPECT_EQ(data, 42u);
}
TEST(NoRaces, AFlagWithAFence) {
  for (uint64_t seed = 1; seed < 20; ++seed) {
    uint32_t data = 0, flag = 0;
    simt::Configure({.seed = seed, .resident = 2});
    ASSERT_EQ(probe::RacyPublish(&data, &flag, true, nullptr), cudaSuccess);
    EXPECT_EQ(data, 42u);
  }
}
TEST(NoRaces, LaunchesFollowOneAnother) {
  uint32_t word = 0;
  simt::Configure({.resident = 2});
  for (int i = 0; i < 4; ++i) {
    uint32_t data = word, flag = 0;
    ASSERT_EQ(probe::RacyPublish(&data, &flag, true, nullptr), cudaSuccess);
    word = data;
  }
}

}  // namespace
}  // namespace countermark
