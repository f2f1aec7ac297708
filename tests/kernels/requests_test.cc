// Slots on the device against countermark::Request: random commits, rollbacks and rebuilds; ended slots are zero; rows and slots that do not exist.
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "tests/kernels/device_table.h"
#include "tests/sampling/fixture.h"
#include "tests/simt/control.h"

namespace countermark::testing {
namespace {

constexpr uint32_t kVocabulary = 40;

struct Served {
  Hook hook = *Hook::Create(MakeEpoch(Scheme::kGumbel, kVocabulary));
  Request request = *hook.Begin({.account = "org-1", .request = "", .parameters = {}, .seed = 1, .prompt = {}});
};

void ExpectSame(const DeviceTable& device, int32_t slot, const Request& request) {
  const Slot held = device.SlotAt(slot);
  ASSERT_EQ(held.length, request.size());
  for (size_t c = 0; c < kCauses; ++c) ASSERT_EQ(held.counters[c], request.counters().by_cause[c]) << CauseName(static_cast<Cause>(c));
  const std::vector<uint8_t> causes = device.Causes(slot);
  for (size_t i = 0; i < causes.size(); ++i) ASSERT_EQ(causes[i], static_cast<uint8_t>(request.causes()[i])) << i;
}

// One row for `slot`: the device's token and the hook's.
void Step(DeviceTable* device, const Served& served, int32_t slot, uint64_t seed, bool commit, Request* request, Choice* said = nullptr) {
  std::vector<float> z = RowAfter(static_cast<uint32_t>(seed), kVocabulary, 2);
  DeviceArray<float> logits(std::span<const float>(z.data(), z.size()));
  DeviceArray<int32_t> slots(std::span<const int32_t>(&slot, 1)), tokens(1);
  SampleBatch batch = {};
  batch.slots = slots.get();
  batch.rows = 1;
  batch.columns = batch.vocabulary = kVocabulary;
  batch.logits = logits.get();
  batch.stride = kVocabulary;
  batch.out_tokens = tokens.get();
  batch.commit = commit;
  ASSERT_EQ(countermark_launch_sample(device->table(), device->space(), batch, nullptr), cudaSuccess) << simt::Report();
  RowScratch scratch;
  const Choice choice = *served.hook.Choose(*request, {z.data(), z.size()}, &scratch);
  ASSERT_EQ(tokens.Get()[0], static_cast<int32_t>(choice.token));
  if (commit) request->Commit(choice.token, choice.cause);
  if (said != nullptr) *said = choice;
}

TEST(Requests, AreThoseOfTheHost) {
  const int rounds = simt::kSanitized ? 12 : 120;
  for (uint64_t seed = 1; seed <= (simt::kSanitized ? 1 : 4); ++seed) {
    simt::Configure({.seed = seed, .schedule = simt::kSchedules[seed % 4], .resident = 2});
    Served served;
    DeviceTable device(3, 300, 1, kVocabulary);
    device.Begin(1, RecordOf(served.hook, served.request, kSlotMarked));
    std::mt19937_64 random(seed);
    Choice said;  // what the last step said of the next token
    const auto some = [&](size_t n) {
      std::vector<uint32_t> tokens(n);
      for (uint32_t& t : tokens) t = static_cast<uint32_t>(random() % 4);  // few, so that windows come again
      return tokens;
    };
    for (int i = 0; i < rounds; ++i) {
      switch (random() % 5) {
        case 0: {
          const std::vector<uint32_t> tokens = some(1 + random() % 4);
          if (served.request.size() + tokens.size() > 290) break;
          device.Commit(1, tokens);
          for (size_t k = 0; k < tokens.size(); ++k) {
            served.request.Commit(tokens[k], k == 0 && i > 0 && tokens[0] == said.token ? said.cause : Cause::kForced);
          }
          break;
        }
        case 1: {
          const size_t n = random() % (served.request.size() + 1);
          device.Rollback(1, static_cast<int32_t>(n / 3));
          ASSERT_TRUE(served.request.Rollback(n / 3).ok());
          break;
        }
        case 2: {
          std::vector<uint32_t> tokens(served.request.tokens().begin(), served.request.tokens().end());
          const std::vector<uint32_t> more = some(random() % 30);
          tokens.insert(tokens.end(), more.begin(), more.end());
          if (tokens.size() > 280) tokens.resize(200);
          if (!tokens.empty() && random() % 2) tokens[random() % tokens.size()] ^= 1;
          device.Rebuild(1, tokens);
          served.request.Rebuild(tokens);
          break;
        }
        default:
          if (served.request.size() < 290) Step(&device, served, 1, random() % 50, true, &served.request);
      }
      ASSERT_NO_FATAL_FAILURE(ExpectSame(device, 1, served.request)) << "round " << i << " seed " << seed;
      ASSERT_NO_FATAL_FAILURE(Step(&device, served, 1, 77, false, &served.request, &said));  // windows known to the device are those known to the host
    }
    const TableMetrics metrics = device.Metrics();
    for (size_t c = 0; c < kCauses; ++c) EXPECT_EQ(metrics.tokens[c], served.request.counters().by_cause[c]);
    EXPECT_TRUE(device.IsZero(0) && device.IsZero(2)) << "neighbours are untouched";
    EXPECT_FALSE(device.IsZero(1));
    device.End(1);
    EXPECT_TRUE(device.IsZero(1));
  }
}

// A slot that begins anew knows nothing of what it held: a window that stood before is marked again.
TEST(Requests, ReuseStartsAfresh) {
  simt::Configure({.seed = 3});
  Served first, second;
  DeviceTable device(1, 64, 1, kVocabulary);
  const std::vector<uint32_t> tokens = {1, 2, 3, 1, 2, 3, 1, 2};
  device.Begin(0, RecordOf(first.hook, first.request, kSlotMarked));
  device.Commit(0, tokens);
  device.Begin(0, RecordOf(second.hook, second.request, kSlotMarked));
  const std::vector<uint32_t> once = {1, 2};
  device.Commit(0, once);
  for (uint32_t t : once) second.request.Commit(t, Cause::kForced);
  Step(&device, second, 0, 5, true, &second.request);
  EXPECT_EQ(second.request.causes().back(), Cause::kMarked);
  ExpectSame(device, 0, second.request);
}

TEST(Requests, BeyondTheLengthAreCountedAndHarmNothing) {
  simt::Configure({.seed = 4});
  Served served;
  DeviceTable device(2, 8, 1, kVocabulary);
  device.Begin(0, RecordOf(served.hook, served.request, kSlotMarked));
  const std::vector<uint32_t> tokens(30, 2);
  device.Commit(0, tokens);
  const Slot held = device.SlotAt(0);
  EXPECT_EQ(held.length, 30u);
  EXPECT_EQ(held.counters[kRowForced], 8u);
  EXPECT_EQ(held.counters[kRowFault], 22u);
  EXPECT_EQ(device.Metrics().too_long, 22u);
  EXPECT_TRUE(device.IsZero(1));
  device.Rollback(0, 25);
  EXPECT_EQ(device.SlotAt(0).counters[kRowFault], 0u);
  EXPECT_EQ(device.SlotAt(0).counters[kRowForced], 5u);
  device.Rollback(0, 1000);
  EXPECT_EQ(device.SlotAt(0).length, 0u);
}

TEST(Requests, SlotsThatDoNotExistAreRefusedOrCounted) {
  simt::Configure({.seed = 5});
  Served served;
  DeviceTable device(1, 8, 2, kVocabulary);
  const SlotRecord record = RecordOf(served.hook, served.request, kSlotMarked);
  DeviceArray<SlotRecord> copy(std::span<const SlotRecord>(&record, 1));
  EXPECT_EQ(countermark_launch_begin(device.table(), 1, copy.get(), nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(countermark_launch_begin(device.table(), -1, copy.get(), nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(countermark_launch_begin(device.table(), 0, nullptr, nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(countermark_launch_end(device.table(), 7, nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(countermark_launch_rollback(device.table(), 0, -1, nullptr), cudaErrorInvalidValue);
  device.Commit(0, std::vector<uint32_t>{1});  // it has not begun
  device.Rebuild(0, std::vector<uint32_t>{1});
  EXPECT_EQ(device.Metrics().bad_slots, 2u);
  EXPECT_TRUE(device.IsZero(0));

  const std::vector<int32_t> slots = {0, 0}, tokens = {3, 4};
  device.Begin(0, record);
  DeviceArray<int32_t> slots_on_device(std::span<const int32_t>(slots.data(), 2)), tokens_on_device(std::span<const int32_t>(tokens.data(), 2));
  EXPECT_EQ(countermark_launch_commit_rows(device.table(), slots_on_device.get(), tokens_on_device.get(), 2, nullptr), cudaSuccess);
  EXPECT_EQ(device.SlotAt(0).length, 1u) << "a slot that stands twice is committed once";
  EXPECT_EQ(device.Metrics().bad_slots, 3u);
  EXPECT_EQ(countermark_launch_commit_rows(device.table(), slots_on_device.get(), tokens_on_device.get(), 1, nullptr), cudaSuccess);
  EXPECT_EQ(device.SlotAt(0).length, 2u) << "and again in the next call";
}

}  // namespace
}  // namespace countermark::testing
