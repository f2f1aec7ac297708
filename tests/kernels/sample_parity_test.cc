// A sampled part of the parity grid in the emulator: kernels/sample.cu against Hook::Choose, under several schedules and with blocks interleaved.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/kernels/parity.h"
#include "tests/simt/control.h"

namespace countermark::testing {
namespace {

void RunCases(uint64_t first, int count, const CaseLimits& limits) {
  const simt::Schedule schedules[] = {simt::Schedule::kUniform, simt::Schedule::kWarpFirst, simt::Schedule::kSticky, simt::Schedule::kAscending};
  for (int i = 0; i < count; ++i) {
    const uint64_t number = first + static_cast<uint64_t>(i);
    simt::Options options;
    options.seed = number + 1;
    options.schedule = schedules[number % 4];
    options.resident = 1 + static_cast<int>(number / 4 % 4);
    simt::Configure(options);
    const std::string difference = CheckCase(number, limits);
    ASSERT_EQ(difference, "") << simt::Report() << "\n" << simt::Describe(options);
  }
}

TEST(SampleParity, SmallRowsOfEveryKind) { RunCases(0, simt::kSanitized ? 12 : 150, {4096, 33, 40000}); }
TEST(SampleParity, VocabulariesAsServed) { RunCases(100000, simt::kSanitized ? 1 : 12, {256000, 2, 260000}); }
TEST(SampleParity, ManyRows) { RunCases(200000, simt::kSanitized ? 1 : 6, {1000, 256, 260000}); }

}  // namespace
}  // namespace countermark::testing
