// The emulator's own tests: what CUDA promises of barriers, warp operations, atomics and waiting blocks, under every schedule; and that wrong
// kernels are reported with their line. Expected values are worked out here by CUDA's definitions, or by plain loops.
#include <algorithm>
#include <bit>
#include <cmath>
#include <fstream>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/device.cuh"
#include "tests/simt/probe_kernels.h"

namespace countermark {
namespace {

using ::testing::HasSubstr;

// "probe_kernels.cu:LINE" of the line that ends with the comment `mark`.
std::string Line(const std::string& mark) {
  std::ifstream source(COUNTERMARK_SOURCE_DIR "/tests/simt/probe_kernels.cu");
  std::string line;
  for (int number = 1; std::getline(source, line); ++number) {
    if (line.ends_with("// " + mark)) return "probe_kernels.cu:" + std::to_string(number);
  }
  return "no line is marked " + mark;
}

TEST(Emulator, BlockSumsUnderEverySchedule) {
  constexpr int kBlocks = 7, kCount = 1000;
  std::mt19937 random(1);
  std::vector<uint32_t> values(kBlocks * kCount);
  for (uint32_t& v : values) v = random();
  std::vector<uint64_t> expected(kBlocks);
  for (int b = 0; b < kBlocks; ++b) expected[b] = std::accumulate(&values[b * kCount], &values[b * kCount] + kCount, uint64_t{0});
  // The race check takes time by the square of the threads.
  simt::ForEachSchedule(simt::kSanitized ? 1 : 3, {1, 3}, [&](const simt::Options& options) {
    for (const int threads : {32, 96, simt::kSanitized ? 128 : 1024}) {
      std::vector<uint64_t> sums(kBlocks);
      ASSERT_EQ(probe::BlockSums(values.data(), kCount, kBlocks, threads, sums.data(), nullptr), cudaSuccess) << simt::Report();
      EXPECT_EQ(sums, expected) << simt::Describe(options);
    }
  });
}

TEST(Emulator, WarpOperationsGiveWhatCudaDefines) {
  constexpr int kThreads = 44;  // the second warp has 12 lanes
  simt::ForEachSchedule(3, {1}, [&](const simt::Options& options) {
    std::vector<uint32_t> results(kThreads * probe::kWarpResults);
    ASSERT_EQ(probe::WarpResults(kThreads, results.data(), nullptr), cudaSuccess) << simt::Report();
    for (uint32_t i = 0; i < kThreads; ++i) {
      const uint32_t base = i / 32 * 32, lane = i % 32, live = std::min(32u, kThreads - base);
      const uint32_t* got = &results[i * probe::kWarpResults];
      const auto over = [&](auto f) {
        uint32_t bits = 0;
        for (uint32_t l = 0; l < live; ++l) bits |= static_cast<uint32_t>(f(base + l)) << l;
        return bits;
      };
      const auto expect = [&](int place, uint32_t from, uint32_t value) {  // undefined where the source lane does not live
        if (from < live) {
          EXPECT_EQ(got[place], value) << "place " << place << " thread " << i << " " << simt::Describe(options);
        }
      };
      expect(0, 3, base + 3);
      expect(1, lane / 8 * 8 + (lane + 1) % 8, base + lane / 8 * 8 + (lane + 1) % 8);
      expect(2, 0, lane % 16 >= 2 ? i - 2 : i);
      expect(3, lane + 1, lane % 4 == 3 ? i : i + 1);
      expect(4, lane ^ 5, i ^ 5);
      expect(5, 0, over([](uint32_t t) { return t % 3 == 0; }));
      expect(6, 0, base == 0 ? 1 : 0);
      expect(7, 0, 1);
      expect(8, 0, over([i](uint32_t t) { return t % 4 == i % 4; }));
      expect(9, 0, live * base + live * (live - 1) / 2);
      expect(10, 0, base - 20);
      expect(11, 0, base == 0 ? 0xffffffffu : base + live - 1 - 20);
      uint32_t all_or = 0, all_and = ~0u;
      for (uint32_t l = 0; l < live; ++l) {
        all_or |= base + l;
        all_and &= (base + l) | 64;
      }
      expect(12, 0, over([](uint32_t) { return true; }) ^ all_or ^ all_and);
      expect(13, lane ^ 1, 2 * (i ^ 1) + 1);
      expect(14, 2, std::bit_cast<uint32_t>(static_cast<float>(base + 2)));
      expect(15, 0, 1);
    }
  });
}

TEST(Emulator, HalvesOfAWarpGoTheirOwnWays) {
  uint32_t value[32];
  for (uint32_t l = 0; l < 32; ++l) value[l] = l;
  for (uint32_t round = 0; round < 3; ++round) {
    uint32_t next[32];
    for (uint32_t l = 0; l < 32; l += 2) next[l] = value[l] + value[l ^ (2u << round)];
    for (uint32_t l = 0; l < 32; l += 2) value[l] = next[l];
  }
  uint32_t odd = 31;
  for (uint32_t round = 1; round < 5; ++round) odd -= round;
  simt::ForEachSchedule(5, {1}, [&](const simt::Options& options) {
    std::vector<uint32_t> out(32);
    ASSERT_EQ(probe::Divergence(out.data(), nullptr), cudaSuccess) << simt::Report();
    for (uint32_t l = 0; l < 32; ++l) EXPECT_EQ(out[l], l % 2 == 0 ? odd : value[l ^ 1]) << l << " " << simt::Describe(options);
  });
}

TEST(Emulator, WarpsExchangeThroughSharedMemory) {
  constexpr uint32_t kThreads = 96, kRounds = 5;
  for (const bool halves : {false, true}) {
    std::vector<uint32_t> expected(kThreads), next(kThreads);
    std::iota(expected.begin(), expected.end(), 0u);
    for (uint32_t round = 0; round < kRounds; ++round) {
      for (uint32_t i = 0; i < kThreads; ++i) next[i] = expected[i / 32 * 32 + (i + (halves ? 2 : 1)) % 32] + i % 32;
      expected.swap(next);
    }
    simt::ForEachSchedule(4, {1}, [&](const simt::Options& options) {
      std::vector<uint32_t> out(kThreads);
      ASSERT_EQ(probe::WarpExchange(kThreads, kRounds, halves, out.data(), nullptr), cudaSuccess) << simt::Report();
      EXPECT_EQ(out, expected) << simt::Describe(options);
    });
  }
}

TEST(Emulator, ThreadsThatHaveExitedAreNotWaitedFor) {
  simt::ForEachSchedule(2, {1}, [&](const simt::Options& options) {
    for (const int live : {1, 31, 33, 200, 256}) {
      std::vector<uint32_t> out(static_cast<size_t>(live));
      ASSERT_EQ(probe::EarlyExit(live, out.data(), nullptr), cudaSuccess) << simt::Report();
      for (const uint32_t sum : out) EXPECT_EQ(sum, static_cast<uint32_t>(live * (live + 1) / 2)) << simt::Describe(options);
    }
  });
}

TEST(Emulator, BarriersVote) {
  simt::ForEachSchedule(2, {1}, [&](const simt::Options& options) {
    for (const int set : {0, 1, 77, 100}) {
      std::vector<int> predicate(100), out(300);
      for (int i = 0; i < set; ++i) predicate[static_cast<size_t>(i * 7 % 100)] = 4 << i % 8;
      ASSERT_EQ(probe::BarrierVotes(predicate.data(), 100, out.data(), nullptr), cudaSuccess) << simt::Report();
      for (size_t i = 0; i < 100; ++i) {
        EXPECT_EQ(out[3 * i] != 0, set > 0) << simt::Describe(options);
        EXPECT_EQ(out[3 * i + 1] != 0, set == 100);
        EXPECT_EQ(out[3 * i + 2], set);
      }
    }
  });
}

TEST(Emulator, AtomicsLoseNothing) {
  constexpr uint32_t kBlocks = 3, kThreads = 50, kCount = kBlocks * kThreads;
  uint32_t bits = 0, parity = 0, power = 1;
  for (uint32_t i = 0; i < kCount; ++i) {
    bits |= 1u << (i % 32);
    parity ^= i;
    power *= 3;
  }
  simt::ForEachSchedule(3, {1, 3}, [&](const simt::Options& options) {
    std::vector<uint64_t> places(probe::kAtomics);
    auto* words = reinterpret_cast<uint32_t*>(places.data());
    words[4] = ~0u;
    words[14] = 1;
    ASSERT_EQ(probe::Atomics(kBlocks, kThreads, places.data(), nullptr), cudaSuccess) << simt::Report();
    EXPECT_EQ(words[0], kCount * (kCount - 1) / 2) << simt::Describe(options);
    EXPECT_EQ(places[1], uint64_t{kCount * (kCount - 1) / 2} << 30);
    EXPECT_EQ(words[4], 1000 - (kCount - 1));
    EXPECT_EQ(places[3], uint64_t{kCount - 1} << 33);
    EXPECT_EQ(words[8], bits);
    EXPECT_EQ(words[10], parity);
    EXPECT_EQ(words[12], 0u - kCount);
    EXPECT_EQ(words[14], power);
    EXPECT_EQ(words[17], 1u) << "one thread finds the 0";
    EXPECT_EQ(words[18], kCount % 7);
  });
}

TEST(Emulator, BlocksThatWaitForOneAnotherFinishWithAnyNumberResident) {
  constexpr int kBlocks = 20;
  std::vector<uint32_t> values(kBlocks);
  std::iota(values.begin(), values.end(), 5u);
  std::vector<uint64_t> expected(kBlocks);
  std::partial_sum(values.begin(), values.end(), expected.begin());
  simt::ForEachSchedule(simt::kSanitized ? 1 : 4, {1, 2, 7, 20}, [&](const simt::Options& options) {
    for (const bool flags : {false, true}) {
      std::vector<uint64_t> state(kBlocks + 1), sums(kBlocks);
      ASSERT_EQ(probe::TicketedSums(values.data(), kBlocks, state.data(), sums.data(), flags, nullptr), cudaSuccess) << simt::Report();
      EXPECT_EQ(sums, expected) << simt::Describe(options);
    }
  });
}

TEST(Emulator, AWaitForABlockThatIsNotResidentIsHopeless) {
  std::set<bool> finished;
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    std::vector<uint32_t> flags(4);
    simt::Configure({.seed = seed, .resident = 4});
    ASSERT_EQ(probe::WaitForNextBlock(4, flags.data(), nullptr), cudaSuccess) << simt::Report();
    std::fill(flags.begin(), flags.end(), 0);
    simt::Configure({.seed = seed, .resident = 1, .patience = 1000});
    const cudaError_t error = probe::WaitForNextBlock(4, flags.data(), nullptr);
    finished.insert(error == cudaSuccess);  // where the last block happens to start first
    if (error != cudaSuccess) {
      EXPECT_EQ(error, cudaErrorLaunchFailure);
      EXPECT_THAT(simt::Report(), HasSubstr("nothing has changed"));
    }
  }
  EXPECT_EQ(finished, (std::set<bool>{false, true})) << "blocks start in more than one order";
}

TEST(Emulator, IndicesOfAThreeDimensionalGrid) {
  std::vector<uint32_t> out(144);
  simt::Configure({});
  ASSERT_EQ(probe::Indices(out.data(), nullptr), cudaSuccess);
  size_t i = 0;
  for (uint32_t bz = 0; bz < 2; ++bz)
    for (uint32_t by = 0; by < 3; ++by)
      for (uint32_t bx = 0; bx < 2; ++bx)
        for (uint32_t tz = 0; tz < 2; ++tz)
          for (uint32_t ty = 0; ty < 3; ++ty)
            for (uint32_t tx = 0; tx < 2; ++tx) EXPECT_EQ(out[i++], bx | by << 4 | bz << 8 | tx << 12 | ty << 16 | tz << 20);
}

TEST(Emulator, WhatNobodyWroteDependsOnTheSeed) {
  uint64_t first[2], second[2];
  simt::Configure({.seed = 1});
  ASSERT_EQ(probe::Unwritten(first, nullptr), cudaSuccess);
  simt::Configure({.seed = 2});
  ASSERT_EQ(probe::Unwritten(second, nullptr), cudaSuccess);
  EXPECT_NE(first[0], second[0]);
  EXPECT_NE(first[1], second[1]);
}

TEST(Emulator, ARunIsReplayedBySeedAndSchedule) {
  const auto switches = [](const simt::Options& options) {
    std::vector<uint32_t> values(600, 1);
    std::vector<uint64_t> sums(3), state(21);
    simt::Configure(options);
    const uint64_t before = simt::Switches();
    EXPECT_EQ(probe::BlockSums(values.data(), 200, 3, 64, sums.data(), nullptr), cudaSuccess);
    std::vector<uint64_t> running(20);
    EXPECT_EQ(probe::TicketedSums(values.data(), 20, state.data(), running.data(), false, nullptr), cudaSuccess);
    return simt::Switches() - before;
  };
  std::set<uint64_t> seen;
  for (uint64_t seed = 1; seed < 6; ++seed) {
    const uint64_t once = switches({.seed = seed, .resident = 5});
    EXPECT_EQ(once, switches({.seed = seed, .resident = 5}));
    seen.insert(once);
  }
  EXPECT_GT(seen.size(), 1u) << "and another seed is another run";
}

// ---- Wrong kernels -----------------------------------------------------------------------------------------------------------------
TEST(Report, AThreadThatDoesNotReachTheBarrier) {
  std::vector<uint32_t> out(65);
  simt::Configure({.patience = 5000});
  EXPECT_EQ(probe::MissedBarrier(out.data(), nullptr), cudaErrorLaunchFailure);
  EXPECT_THAT(simt::Report(), HasSubstr("63 in __syncthreads at "));
  EXPECT_THAT(simt::Report(), HasSubstr(Line("kMissedBarrierLine")));
}
TEST(Report, DifferentBarriers) {
  simt::ForEachSchedule(2, {1}, [](const simt::Options&) {
    EXPECT_EQ(probe::DifferentBarriers(nullptr), cudaErrorLaunchFailure);
    EXPECT_THAT(simt::Report(), HasSubstr(Line("kFirstBarrierLine")));
    EXPECT_THAT(simt::Report(), HasSubstr(Line("kSecondBarrierLine")));
  });
}
TEST(Report, LanesThatNeverMeet) {
  std::vector<uint32_t> out(32);
  simt::Configure({});
  EXPECT_EQ(probe::LonelyShuffle(out.data(), nullptr), cudaErrorLaunchFailure);
  EXPECT_THAT(simt::Report(), HasSubstr("no thread can go on"));
  EXPECT_THAT(simt::Report(), HasSubstr("31 in __shfl_sync at "));
  EXPECT_THAT(simt::Report(), HasSubstr(Line("kLonelyShuffleLine")));
}
TEST(Report, AMaskWithoutItsCallerAndATrap) {
  std::vector<uint32_t> out(32);
  simt::Configure({.schedule = simt::Schedule::kAscending});
  EXPECT_EQ(probe::ForeignMask(out.data(), nullptr), cudaErrorLaunchFailure);
  EXPECT_THAT(simt::Report(), HasSubstr(Line("kForeignMaskLine")));
  EXPECT_EQ(probe::Trap(nullptr), cudaErrorLaunchFailure);
  EXPECT_THAT(simt::Report(), HasSubstr("thread (7,0,0)"));
  EXPECT_THAT(simt::Report(), HasSubstr(Line("kTrapLine")));
  EXPECT_EQ(probe::TooMuchShared(nullptr), cudaErrorLaunchFailure);
  EXPECT_THAT(simt::Report(), HasSubstr("48 KiB"));
}
TEST(Report, TheMachineIsSoundAfterAFailure) {
  std::vector<uint32_t> values(1000, 3);
  uint64_t sum = 0;
  simt::Configure({});
  ASSERT_EQ(probe::DifferentBarriers(nullptr), cudaErrorLaunchFailure);
  ASSERT_EQ(probe::BlockSums(values.data(), 1000, 1, 64, &sum, nullptr), cudaSuccess) << simt::Report();
  EXPECT_EQ(sum, 3000u);
}

#if defined(COUNTERMARK_SIMT_ASAN)
TEST(Report, OverrunsAndMisalignedLoadsEndTheProgram) {
  simt::Configure({});
  std::vector<uint32_t> out(32);
  EXPECT_DEATH(probe::StaticOverrun(32, nullptr), "use-after-poison|index 32 out of bounds");
  EXPECT_DEATH(probe::StaticOverrun(-3, nullptr), "use-after-poison");
  EXPECT_DEATH(probe::DynamicOverrun(32, nullptr), "use-after-poison");
  EXPECT_DEATH(probe::WideLoad(out.data(), nullptr), "misaligned address");
}
#elif !defined(COUNTERMARK_SIMT_TSAN)
TEST(Report, Overruns) {
  simt::Configure({});
  EXPECT_EQ(probe::StaticOverrun(32, nullptr), cudaErrorLaunchFailure);
  EXPECT_THAT(simt::Report(), HasSubstr("a write outside words of "));
  EXPECT_EQ(probe::StaticOverrun(-1, nullptr), cudaErrorLaunchFailure);
  EXPECT_EQ(probe::DynamicOverrun(33, nullptr), cudaErrorLaunchFailure);
  EXPECT_THAT(simt::Report(), HasSubstr("the dynamic shared memory"));
  EXPECT_EQ(probe::StaticOverrun(31, nullptr), cudaSuccess);
  EXPECT_EQ(probe::DynamicOverrun(31, nullptr), cudaSuccess);
}
#endif

TEST(Intrinsics, BitsAgainstSlowForms) {
  std::mt19937_64 random(3);
  for (int n = 0; n < 2000; ++n) {
    const uint64_t a = random() >> (random() % 64), b = random();
    const auto x = static_cast<uint32_t>(a);
    int count = 0, first = 0;
    uint32_t reversed = 0;
    for (int i = 31; i >= 0; --i) {
      count += x >> i & 1;
      if (x >> i & 1) first = i + 1;
      if (x >> i & 1) reversed += uint32_t{1} << (31 - i);
    }
    EXPECT_EQ(__popc(x), count);
    EXPECT_EQ(__ffs(static_cast<int>(x)), first);
    EXPECT_EQ(__brev(x), reversed);
    EXPECT_EQ(__clz(static_cast<int>(x)), x == 0 ? 32 : 31 - static_cast<int>(std::floor(std::log2(static_cast<double>(x)))));
    // (a·b) >> 64 by 32-bit halves.
    const uint64_t al = a & 0xffffffff, ah = a >> 32, bl = b & 0xffffffff, bh = b >> 32;
    const uint64_t middle = ah * bl + (al * bl >> 32);
    EXPECT_EQ(__umul64hi(a, b), ah * bh + (middle >> 32) + ((al * bh + (middle & 0xffffffff)) >> 32));
    EXPECT_EQ(__funnelshift_l(x, static_cast<uint32_t>(b), 5), static_cast<uint32_t>(b) << 5 | x >> 27);
    EXPECT_EQ(__funnelshift_r(x, static_cast<uint32_t>(b), 5), x >> 5 | static_cast<uint32_t>(b) << 27);
  }
  EXPECT_EQ(__half2float(__float2half_rn(1.5f)), 1.5f);
  EXPECT_EQ(__bfloat162float(__float2bfloat16_rn(-2.0f)), -2.0f);
}

}  // namespace
}  // namespace countermark
