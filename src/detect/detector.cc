#include "countermark/detect/detector.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_set>

#include "countermark/detect/pair_words.h"
#include "countermark/detect/tails.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark {
namespace {

absl::Status CheckRange(std::string_view what, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(Cat(what, " is ", value, ", and must be ", low, " to ", high));
}

// The part of EpochRecord::Validate that holds for a record made from flags too.
absl::Status CheckMark(const EpochRecord& record) {
  CM_RETURN_IF_ERROR(CheckRange("window", record.mark.window, kMinWindow, kMaxWindow));
  CM_RETURN_IF_ERROR(CheckRange("green", record.mark.green, 1, 255));
  CM_RETURN_IF_ERROR(CheckRange("layers", record.mark.layers, 1, kMaxLayers));
  CM_RETURN_IF_ERROR(CheckRange("vocabulary", record.vocabulary, 0, kTokenLimit));
  CM_RETURN_IF_ERROR(CheckRange("number of channels", static_cast<int64_t>(record.channels.size()), 1, kMaxChannels));
  uint64_t sum = 0;
  for (const ChannelSpec& channel : record.channels) sum += channel.weight;
  if (sum != 65536) return absl::InvalidArgumentError(Cat("the channels' weights sum to ", sum, ", and must sum to 65536"));
  if (record.channels[0].name != "base") return absl::InvalidArgumentError("the first channel must be base");
  return absl::OkStatus();
}

}  // namespace

std::string_view RecordVerdictName(RecordVerdict verdict) {
  switch (verdict) {
    case RecordVerdict::kMarked:
      return "marked";
    case RecordVerdict::kInconclusive:
      return "inconclusive";
    case RecordVerdict::kUncorrected:
      return "uncorrected";
    case RecordVerdict::kNoEvidence:
      break;
  }
  return "no evidence";
}

Detector::Detector(const EpochKeys& keys, std::vector<std::string> accounts)
    : record_(keys.record), base_key_(keys.Base()), route_key_(keys.Route()), accounts_(std::move(accounts)) {
  for (const ChannelSpec& channel : record_.channels) weights_.push_back(channel.weight);
  account_channel_ = record_.ChannelIndex("account");
  account_keys_.reserve(accounts_.size());
  for (const std::string& account : accounts_) account_keys_.push_back(keys.Account(account));
}

absl::StatusOr<Detector> Detector::Create(const EpochKeys& keys, std::vector<std::string> accounts) {
  CM_RETURN_IF_ERROR(CheckMark(keys.record));
  if (!accounts.empty() && keys.record.ChannelIndex("account") < 0) {
    return absl::InvalidArgumentError("accounts were given, and this epoch has no account channel");
  }
  std::unordered_set<std::string_view> seen;
  for (const std::string& account : accounts) {
    CM_RETURN_IF_ERROR(ValidateLabel("an account's name", account));
    if (!seen.insert(account).second) return absl::InvalidArgumentError(Cat("account '", account, "' is named twice"));
  }
  return Detector(keys, std::move(accounts));
}

absl::Status Detector::CheckIds(std::span<const uint32_t> ids) const {
  const uint32_t limit = id_limit();
  const auto beyond = std::find_if(ids.begin(), ids.end(), [limit](uint32_t id) { return id >= limit; });
  if (beyond == ids.end()) return absl::OkStatus();
  return absl::InvalidArgumentError(Cat("token id ", *beyond, " at position ", beyond - ids.begin(), " is beyond the vocabulary of ", limit));
}

DetectionResult Detector::Score(const PairSet& pairs) const {
  DetectionResult result;
  result.scored = pairs.size();
  const std::vector<uint8_t> channel = RoutePairs(pairs, route_key_, record_.mark.scheme, weights_);

  ChannelTest base;
  base.name = record_.channels[0].name;
  base.count = ScoreChannel(pairs, channel, 0, base_key_, record_.mark);
  base.log10_p = Log10P(base.count, record_.mark);
  base.log10_e = Log10E(base.count, record_.mark);
  result.channels.push_back(std::move(base));

  if (accounts_.empty()) return result;
  const std::vector<uint32_t> which = PairsOnChannel(channel, account_channel_);
  const std::vector<ChannelCount> counts = ScoreCandidates(pairs, which, account_keys_, record_.mark);
  std::vector<double> log10_p;
  log10_p.reserve(counts.size());
  for (const ChannelCount& count : counts) log10_p.push_back(Log10P(count, record_.mark));
  const std::vector<double> adjusted = HolmAdjust(log10_p);
  result.accounts.reserve(counts.size());
  for (size_t i = 0; i < counts.size(); ++i) result.accounts.push_back({counts[i], log10_p[i], adjusted[i]});
  return result;
}

PairScores Detector::ScoreEachPair(const PairSet& pairs, int channel, const Secret32& key) const {
  constexpr size_t kBatch = 4096;
  PairScores scores;
  scores.which = PairsOnChannel(RoutePairs(pairs, route_key_, record_.mark.scheme, weights_), channel);
  scores.score.resize(scores.which.size());
  std::vector<uint32_t> column[kMaxWindow + 1], words(std::min(kBatch, scores.which.size()));
  for (size_t begin = 0; begin < scores.which.size(); begin += kBatch) {
    const auto which = std::span(scores.which).subspan(begin, std::min(kBatch, scores.which.size() - begin));
    PairSpan batch;
    batch.size = which.size();
    const auto gather = [&](std::span<const uint32_t> from, std::vector<uint32_t>& to) {
      to.resize(which.size());
      for (size_t i = 0; i < which.size(); ++i) to[i] = from[which[i]];
      return to.data();
    };
    for (int j = 0; j < window(); ++j) batch.window[j] = gather(pairs.window_token(j), column[j]);
    batch.token = gather(pairs.token(), column[kMaxWindow]);
    PairWords(batch, key, record_.mark.scheme, window(), std::span(words).first(which.size()));
    ScoresOfWords(std::span(words).first(which.size()), record_.mark, std::span(scores.score).subspan(begin, which.size()));
  }
  return scores;
}

TestLedger Detector::Ledger(uint64_t records) const {
  TestLedger ledger;
  ledger.records = records;
  ledger.channels = 1;
  ledger.candidates = accounts_.size();
  ledger.questions = TestLedger::QuestionsOf(records);
  return ledger;
}

uint64_t Detector::Multiplier(const TestLedger& ledger, bool of_record) {
  TestLedger families = ledger;  // Total() saturates and takes 0 for 1
  families.records = of_record ? ledger.records : 1;
  families.candidates = ledger.candidates > 0 ? 1 : 0;
  families.questions = 1;
  families.regions = families.weighted = 0;  // these questions correct for their own tests
  uint64_t tests;
  if (__builtin_mul_overflow(families.Total(), std::max<uint64_t>(ledger.questions, 1), &tests)) tests = std::numeric_limits<uint64_t>::max();
  return tests;
}

RecordVerdict Detector::Judge(const DetectionResult& result, const TestLedger& ledger, double alpha, bool of_record) const {
  const auto counted = [](const auto& test) { return test.count.scored > 0; };
  if (std::none_of(result.channels.begin(), result.channels.end(), counted) &&
      std::none_of(result.accounts.begin(), result.accounts.end(), counted)) {
    return RecordVerdict::kInconclusive;
  }
  if (of_record && ledger.records == 0) return RecordVerdict::kUncorrected;
  const uint64_t tests = Multiplier(ledger, of_record);
  const double level = std::log10(alpha);
  for (const ChannelTest& test : result.channels) {
    if (BonferroniAdjust(test.log10_p, tests) <= level) return RecordVerdict::kMarked;
  }
  for (const AccountTest& test : result.accounts) {
    if (BonferroniAdjust(test.log10_p_adjusted, tests) <= level) return RecordVerdict::kMarked;
  }
  return RecordVerdict::kNoEvidence;
}

}  // namespace countermark
