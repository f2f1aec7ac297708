#include "tools/detect/page.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "countermark/detect/decoys.h"
#include "countermark/detect/pair_words.h"
#include "countermark/detect/regions.h"
#include "src/base/hex.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark::detect_tool {
namespace {

constexpr size_t kTextsKept = 3;
constexpr size_t kCurvePoints = 200;
constexpr uint64_t kTextBytesShaded = uint64_t{64} << 20;  // of one text; a longer one is shown by its first part

std::optional<size_t> NearestAccount(const DetectionResult& result) {
  const auto nearest = std::min_element(result.accounts.begin(), result.accounts.end(), [](const AccountTest& a, const AccountTest& b) { return a.log10_p < b.log10_p; });
  if (nearest == result.accounts.end()) return std::nullopt;
  return static_cast<size_t>(nearest - result.accounts.begin());
}

// Counts of the first n pairs, n from one to all in about equal steps.
ReportCurve CurveOf(std::string name, const PairScores& pairs) {
  ReportCurve curve{std::move(name), {}};
  ChannelCount count;
  const size_t n = pairs.score.size(), points = std::min(kCurvePoints, n);
  for (size_t i = 0, point = 1; i < n; ++i) {
    ++count.scored;
    count.statistic += pairs.score[i];
    if (i + 1 < n * point / std::max<size_t>(points, 1)) continue;
    curve.counts.push_back(count);
    ++point;
  }
  return curve;
}

// How many of the levels a pair's score reaches, and the levels' chances.
class Levels {
 public:
  explicit Levels(const MarkParameters& mark) : hits_(TopHits::Of(mark)), mark_(mark) {
    // A score is reached by words of that score and above: the least score of each level.
    for (int j = 0; j < hits_.levels; ++j) {
      chances_.push_back(static_cast<double>(hits_.numerator[j]) / TopHits::kDenominator);
      if (mark.scheme == Scheme::kGumbel) {
        uint64_t score = 0;
        ScoresOfWords(std::span(&hits_.threshold[j], 1), mark, std::span(&score, 1));
        least_.push_back(score);
      } else {
        least_.push_back(mark.scheme == Scheme::kTournament ? hits_.threshold[j] : 1);
      }
    }
  }
  int Of(uint64_t score) const { return static_cast<int>(std::count_if(least_.begin(), least_.end(), [score](uint64_t least) { return score >= least; })); }
  const std::vector<double>& chances() const { return chances_; }

 private:
  TopHits hits_;
  MarkParameters mark_;
  std::vector<double> chances_;
  std::vector<uint64_t> least_;
};

}  // namespace

absl::Status PageWriter::Begin() {
  if (!options_.html.empty()) {
    CM_ASSIGN_OR_RETURN(cli::Output file, cli::Output::Create(options_.html));
    html_.emplace(std::move(file));
  }
  if (!options_.csv.empty()) {
    CM_ASSIGN_OR_RETURN(cli::Output file, cli::Output::Create(options_.csv));
    csv_.emplace(std::move(file));
  }
  return absl::OkStatus();
}

void PageWriter::Add(Item& item, uint64_t position) {
  if (!html_ || !item.status.ok()) return;
  const size_t reading = Foremost(item.readings);
  ReadRecord& read = item.readings[reading];
  if (read.result.scored == 0) return;
  Kept kept{MostExtreme(read), position, reading, NearestAccount(read.result), {}, {}, {}};
  const auto more_extreme = [](const Kept& a, const Kept& b) { return a.log10_p < b.log10_p; };
  const auto at = std::upper_bound(kept_.begin(), kept_.end(), kept, more_extreme);
  if (at == kept_.end() && kept_.size() == kTextsKept) return;
  kept.record = item.record;
  kept.ids = read.ids;
  kept.prompt_ids = read.prompt_ids;
  kept_.insert(at, std::move(kept));
  if (kept_.size() > kTextsKept) kept_.pop_back();
}

// The nearest of very many looks near by selection: the name says of how many.
std::string PageWriter::AccountName(size_t account) const {
  const std::vector<std::string>& accounts = setup_.detector.accounts();
  return Cat("account ", accounts[account], accounts.size() > 1 ? Cat(", nearest of ", accounts.size()) : "");
}

ReportText PageWriter::Shade(const Kept& kept) const {
  const Detector& detector = setup_.detector;
  const InputRecord& record = kept.record;
  ReportText out;
  out.record = kept.position;
  out.subject = record.id;
  const Reading& reading = setup_.readings[kept.reading];
  std::vector<uint32_t> ids = kept.ids;
  std::vector<ByteSpan> spans;
  if (record.has_ids || reading.tokenizer == nullptr) {
    out.ids = true;
    for (const uint32_t id : ids) {
      const uint64_t begin = out.text.size();
      out.text += std::to_string(id);
      spans.push_back({begin, out.text.size()});
      out.text += ' ';
      if (out.text.size() > kTextBytesShaded) break;
    }
    ids.resize(spans.size());
  } else {
    TokenizedText tokens;
    if (!ReadText(reading, record.text, &tokens, &ids, &spans).ok()) return out;  // it did once; without it there is no text to show
    out.text = record.text;
  }

  PairSet pairs(detector.window());
  if (record.has_prompt) pairs.ExcludeWindowsOf(kept.prompt_ids);
  pairs.Add(ids);
  const Levels levels(detector.record().mark);
  struct Lane {
    int lane = -1;
    int level = 0;
  };
  std::vector<Lane> of_pair(pairs.size());
  const auto add_lane = [&](std::string name, const PairScores& scores) {
    const int lane = static_cast<int>(out.lanes.size());
    out.lanes.push_back({std::move(name), levels.chances()});
    for (size_t i = 0; i < scores.which.size(); ++i) of_pair[scores.which[i]] = {lane, levels.Of(scores.score[i])};
  };
  add_lane("base channel", detector.ScoreEachPair(pairs));
  if (kept.account) add_lane(AccountName(*kept.account), detector.ScoreEachPair(pairs, *kept.account));
  for (const ByteSpan& span : spans) out.tokens.push_back({span.begin, span.end, -1, 0});
  const std::vector<uint32_t> positions = FirstPositions(pairs, ids);
  for (size_t i = 0; i < positions.size(); ++i) {
    out.tokens[positions[i]].lane = of_pair[i].lane;
    out.tokens[positions[i]].level = of_pair[i].level;
  }
  return out;
}

absl::Status PageWriter::Write(const Report& report, const Run& run, const std::vector<PairSet>& pools) {
  if (csv_) {
    CM_RETURN_IF_ERROR(csv_->Write(ReportCsv(report)));
    CM_RETURN_IF_ERROR(csv_->Commit());
  }
  if (!html_) return absl::OkStatus();
  const Detector& detector = setup_.detector;
  // Figures are of the reading that says most in the pool; the tests of all are in the report.
  const size_t reading = Foremost(run.pooled);
  const PairSet& pool = pools[reading];
  ReportFigures figures;
  figures.complete = !run.incomplete;
  figures.too_short = run.too_short;
  figures.error_count = run.errors;
  for (const RunError& error : run.first_errors) figures.errors.push_back({std::filesystem::path(error.file).filename().string(), error.line, error.byte, error.message});
  if (!options_.report.empty() && !run.incomplete) figures.signed_report = std::filesystem::path(options_.report).filename().string();

  const PairScores base = detector.ScoreEachPair(pool);
  if (!base.which.empty()) {
    figures.curves.push_back(CurveOf("base channel", base));
    if (options_.decoys > 0) {
      DecoySeed seed{};
      if (options_.decoy_seed.empty()) {
        seed = DrawDecoySeed();
      } else if (!HexDecodeInto(options_.decoy_seed, seed)) {
        return absl::InvalidArgumentError("--decoy-seed must be 64 hex digits");
      }
      figures.decoys = RunDecoys(pool, base.which, base.score, seed, options_.decoys, detector.record().mark, options_.threads);
    }
  }
  if (const std::optional<size_t> account = NearestAccount(run.pooled[reading])) {
    const PairScores scores = detector.ScoreEachPair(pool, *account);
    if (!scores.which.empty()) figures.curves.push_back(CurveOf(AccountName(*account), scores));
  }
  for (const Kept& kept : kept_) figures.texts.push_back(Shade(kept));
  CM_RETURN_IF_ERROR(html_->Write(ReportPage(report, figures)));
  return html_->Commit();
}

}  // namespace countermark::detect_tool
