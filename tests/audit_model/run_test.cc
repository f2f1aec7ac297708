// What a run keeps and reads: frames of rows under any bytes, logs in their order, softmax.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>

#include "src/audit/model/evaluate.h"
#include "src/audit/model/probes.h"
#include "src/audit/model/rows.h"
#include "src/audit/model/seen_windows.h"

namespace countermark::audit {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<ProbeRows> SomeRows(std::mt19937* rng, int subjects) {
  std::vector<ProbeRows> probes((*rng)() % 5);
  for (ProbeRows& probe : probes) {
    probe.account = (*rng)() % 2 ? "org" : "";
    probe.error = (*rng)() % 4 ? "" : "log.jsonl:3: broken";
    probe.counts = {(*rng)(), 2, 3, 4, (*rng)() % 7};
    for (uint64_t i = (*rng)() % 4; i > 0; --i) {
      PositionRow& row = probe.rows.emplace_back();
      row.window[0] = (*rng)() % kTokenLimit;
      row.window[1] = kTokenLimit - 1;
      row.first_in_log = (*rng)() % 2;
      for (int s = 0; s < subjects; ++s) {
        row.subject[s].top1 = (*rng)() % 3 ? static_cast<int64_t>((*rng)() % kTokenLimit) : -1;
        uint32_t token = (*rng)() % 100;
        for (uint64_t k = (*rng)() % 41; k > 0; --k, token += 1 + (*rng)() % 1000) {
          const auto weight = static_cast<int64_t>((*rng)() % (1 << 24)) + 1;
          row.subject[s].weights.push_back({token, (*rng)() % 2 ? weight : -weight});
        }
      }
    }
  }
  return probes;
}

TEST(Rows, ComeBackAsTheyWere) {
  std::mt19937 rng(1);
  for (int round = 0; round < 300; ++round) {
    const int subjects = 1 + round % 2;
    const std::string payload = EncodeRows(SomeRows(&rng, subjects), 2, subjects);
    const absl::StatusOr<std::vector<ProbeRows>> read = ParseRows(payload, 2, subjects);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(EncodeRows(*read, 2, subjects), payload);
  }
}

TEST(Rows, OfAnyBytesAreReadOrRefused) {
  std::mt19937 rng(2);
  uint64_t refused = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string payload = EncodeRows(SomeRows(&rng, 1), 2, 1);
    for (uint64_t i = 1 + rng() % 3; i > 0 && !payload.empty(); --i) {
      const size_t at = rng() % payload.size();
      switch (rng() % 3) {
        case 0: payload[at] = static_cast<char>(rng()); break;
        case 1: payload.resize(at); break;
        default: payload.insert(at, 1, static_cast<char>(rng()));
      }
    }
    const absl::StatusOr<std::vector<ProbeRows>> read = ParseRows(payload, 2, 1);
    refused += !read.ok();
    if (read.ok()) {  // what is read keeps the promises that scores rely on
      for (const ProbeRows& probe : *read) {
        for (const PositionRow& row : probe.rows) {
          const std::vector<TokenWeight>& weights = row.subject[0].weights;
          for (size_t k = 0; k < weights.size(); ++k) {
            ASSERT_NE(weights[k].weight, 0);
            ASSERT_LT(weights[k].token, kTokenLimit);
            if (k > 0) {
              ASSERT_LT(weights[k - 1].token, weights[k].token);
            }
          }
        }
      }
    }
  }
  EXPECT_GT(refused, 10000u);
}

class Log {
 public:
  explicit Log(const std::string& text) : path_(std::filesystem::path(testing::TempDir()) / ("log-" + std::to_string(next_++) + ".jsonl")) {
    std::ofstream(path_, std::ios::binary) << text;
  }
  std::string path() const { return path_.string(); }

 private:
  static inline int next_ = 0;
  std::filesystem::path path_;
};

std::vector<std::string> Accounts(const ProbeSource& source) {
  std::vector<std::string> accounts;
  ModelProbe probe;
  for (uint64_t i = 0; i < source.size(); ++i) {
    EXPECT_TRUE(source.Read(i, &probe).ok());
    accounts.push_back(probe.account + ":" + std::to_string(probe.answer_ids.empty() ? 0 : probe.answer_ids[0]));
  }
  return accounts;
}

TEST(Probes, OfAServingLogStandInTheOrderOfTheirStarts) {
  const Log first(
      R"({"v":1,"time":"2026-11-03T10:00:05.000Z","account":"slow","status":200,"choices":[{"index":0,"token_ids":[1,2]},{"index":1,"token_ids":[9]}],"ms":5000})"
      "\n"
      R"({"v":1,"time":"2026-11-03T10:00:06.000Z","account":"quick","status":200,"choices":[{"index":0,"token_ids":[3]}],"ms":100})"
      "\n\n"
      R"({"v":1,"time":"2026-11-03T10:00:06.100Z","account":"refused","status":400,"choices":[],"ms":1})"
      "\n");
  const Log second(R"({"v":1,"time":"2026-11-03T10:00:03.5Z","account":"other","status":200,"choices":[{"index":0,"token_ids":[4]}],"ms":10})" "\n");
  const absl::StatusOr<ProbeSource> source = ProbeSource::Open({first.path(), second.path()}, true);
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_THAT(Accounts(*source), ElementsAre("slow:1", "slow:9", "other:4", "quick:3"));
  EXPECT_EQ(source->clock(), "");
  EXPECT_EQ(source->counts().records, 4u);
  EXPECT_EQ(source->counts().unreadable, 0u);
}

TEST(Probes, AClockThatWentBackIsSaid) {
  const Log log(
      R"({"v":1,"time":"2026-11-03T10:00:05.000Z","account":"a","choices":[{"token_ids":[1]}],"ms":1})"
      "\n"
      R"({"v":1,"time":"2026-11-03T10:00:04.500Z","account":"b","choices":[{"token_ids":[1]}],"ms":1})"
      "\n"
      R"({"v":1,"time":"2026-11-03T09:00:05.000Z","account":"c","choices":[{"token_ids":[1]}],"ms":1})"
      "\n");
  const absl::StatusOr<ProbeSource> source = ProbeSource::Open({log.path()}, true);
  ASSERT_TRUE(source.ok());
  EXPECT_EQ(source->clock(), log.path() + ":3: the clock went back by 3600000 ms");
}

// The answer of one log may be made from that of another in the same second, and would then stand before it.
TEST(Probes, TheSameSecondInTwoFilesIsNoOrder) {
  const Log a("{\"token_ids\":[1],\"start\":\"2026-11-03T10:00:05Z\"}\n{\"token_ids\":[2],\"start\":\"2026-11-03T10:00:05Z\"}\n");
  const Log b("{\"token_ids\":[3],\"start\":\"2026-11-03T10:00:05Z\"}\n"), exact("{\"token_ids\":[3],\"start\":\"2026-11-03T10:00:05.001Z\"}\n");
  EXPECT_EQ(ProbeSource::Open({a.path()}, true)->clock(), "");
  EXPECT_EQ(ProbeSource::Open({a.path(), exact.path()}, true)->clock(), "");
  EXPECT_EQ(ProbeSource::Open({a.path(), b.path()}, true)->clock(), b.path() + ":1: began in the same second as " + a.path() + ":2, and which was first is not said");
  EXPECT_EQ(ProbeSource::Open({a.path(), b.path()}, false)->clock(), "");
}

TEST(Probes, WhatIsTornHashedOrBrokenIsCounted) {
  const Log log(
      R"({"v":1,"time":"2026-11-03T10:00:05.000Z","account":"a","choices":[{"token_ids":[1]}],"ms":1})"
      "\n"
      R"({"v":1,"time":"2026-11-03T10:00:06.000Z","acc)"
      "\n"
      R"({"v":1,"time":"2026-11-03T10:00:09.000Z","event":"recovered"})"
      "\n"
      R"({"v":1,"time":"2026-11-03T10:00:10.000Z","account":"b","choices":[{"index":0,"tokens":3,"token_ids_sha256":"00"}],"ms":1})"
      "\n"
      R"({"v":1,"time":"yesterday","account":"c","choices":[{"token_ids":[1]}]})"
      "\n"
      R"({"account":"d","choices":[{"token_ids":[-1]}],"time":"2026-11-03T10:00:11Z"})"
      "\n[1]\n"
      R"({"account":"d","answer":"a text","time":"2026-11-03T10:00:11Z"})"
      "\n");
  const absl::StatusOr<ProbeSource> source = ProbeSource::Open({log.path()}, true);
  ASSERT_TRUE(source.ok());
  EXPECT_EQ(source->size(), 1u);
  EXPECT_EQ(source->counts().torn, 1u);
  EXPECT_EQ(source->counts().without_ids, 1u);
  EXPECT_EQ(source->counts().unreadable, 4u);
  ASSERT_EQ(source->errors().size(), 4u);
  EXPECT_THAT(source->errors()[0], HasSubstr(":5: member 'time' is no time"));
  EXPECT_THAT(source->errors()[1], HasSubstr(":6: member 'token_ids' holds what is no token id"));
  EXPECT_THAT(source->errors()[2], HasSubstr(":7: this is no JSON object"));
  EXPECT_THAT(source->errors()[3], HasSubstr(":8: served probes need 'token_ids'"));
}

TEST(Probes, OneOrderOrNone) {
  const Log timed("{\"token_ids\":[1],\"start\":\"2026-11-03T10:00:05Z\"}\n"), untimed("{\"token_ids\":[2]}\n"), packed("\x1f\x8b....");
  EXPECT_EQ(ProbeSource::Open({timed.path(), untimed.path()}, true).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ProbeSource::Open({untimed.path(), untimed.path()}, true).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(ProbeSource::Open({untimed.path()}, true).ok());
  EXPECT_EQ(ProbeSource::Open({timed.path(), untimed.path()}, false)->size(), 2u);
  EXPECT_THAT(std::string(ProbeSource::Open({packed.path()}, false).status().message()), HasSubstr("unpack it"));
  EXPECT_EQ(ProbeSource::Open({"/nonexistent"}, false).status().code(), absl::StatusCode::kNotFound);
}

TEST(Probes, TimesAreReadToTheMillisecond) {
  int64_t millis = 0;
  EXPECT_TRUE(ParseUtcMillis("1970-01-01T00:00:00Z", &millis));
  EXPECT_EQ(millis, 0);
  EXPECT_TRUE(ParseUtcMillis("2026-11-24T18:19:12.123Z", &millis));
  EXPECT_EQ(millis, 1795544352123);  // date -d 2026-11-24T18:19:12.123Z +%s%3N
  EXPECT_TRUE(ParseUtcMillis("2024-02-29T23:59:60.1239Z", &millis));
  for (const char* bad : {"", "2026-11-24", "2026-11-24T18:19:12", "2026-11-24T18:19:12+01:00", "2026-13-24T18:19:12Z", "2025-02-29T18:19:12Z", "2026-11-24T24:19:12Z", "2026-11-24T18:19:12.Z",
                          "2026-11-24T18:19:12.12aZ", "2026-11-24 18:19:12Z", "x026-11-24T18:19:12Z"}) {
    EXPECT_FALSE(ParseUtcMillis(bad, &millis)) << bad;
  }
}

TEST(SeenWindows, AreSeenOncePerOwner) {
  SeenWindows seen(5);
  for (uint64_t owner = 0; owner < 3; ++owner) {
    for (uint32_t i = 0; i < 20000; ++i) {
      const uint32_t window[2] = {i % 200, i / 200};
      ASSERT_TRUE(seen.Insert(owner, window, 2));
    }
    for (uint32_t i = 0; i < 20000; ++i) {
      const uint32_t window[2] = {i % 200, i / 200};
      ASSERT_FALSE(seen.Insert(owner, window, 2));
    }
  }
  EXPECT_EQ(seen.size(), 60000u);
}

TEST(Evaluated, ProbesAreEvenlySpaced) {
  for (const uint64_t size : {1, 7, 100, 1001}) {
    for (const uint64_t wanted : {1, 3, 7, 99, 100}) {
      uint64_t chosen = 0;
      for (uint64_t i = 0; i < size; ++i) chosen += IsEvaluated(i, size, wanted);
      EXPECT_EQ(chosen, std::min(size, wanted));
    }
    EXPECT_TRUE(IsEvaluated(0, size, 0));
  }
}

TEST(Softmax, IsTheSoftmaxNearly) {
  std::mt19937 rng(3);
  std::normal_distribution<float> normal(0, 8);
  for (const size_t n : {1, 7, 512, 513, 5000}) {
    std::vector<float> logits(n), got(n), mapped(3);
    for (float& x : logits) x = normal(rng);
    if (n > 7) logits[3] = -INFINITY;
    const double most = *std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (const float x : logits) sum += std::exp(x - most);
    const int64_t best = Softmax(logits, {}, got);
    EXPECT_EQ(best, std::max_element(logits.begin(), logits.end()) - logits.begin());
    for (size_t i = 0; i < n; ++i) EXPECT_NEAR(got[i], std::exp(logits[i] - most) / sum, 1e-6);
    std::vector<int32_t> map(n, -1);
    map[0] = 2;
    const int64_t mapped_best = Softmax(logits, map, mapped);
    EXPECT_EQ(mapped_best, best == 0 ? 2 : -1);
    EXPECT_NEAR(mapped[2], std::exp(logits[0] - most) / sum, 1e-6);
    EXPECT_EQ(mapped[0], 0);
  }
  std::vector<float> broken = {1, std::nanf(""), 2}, got(3);
  EXPECT_EQ(Softmax(broken, {}, got), 2);
  std::vector<float> nothing(3, -INFINITY);
  EXPECT_EQ(Softmax(nothing, {}, got), -1);
  EXPECT_EQ(got[0], 0);
}

}  // namespace
}  // namespace countermark::audit
