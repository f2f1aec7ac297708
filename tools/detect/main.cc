// watermark-detect: does a text, or a set of texts, carry a mark, and whose.
#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "countermark/detect/pairs.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "tools/cli/cli.h"
#include "tools/cli/output.h"
#include "tools/cli/progress.h"
#include "tools/detect/foreign.h"
#include "tools/detect/page.h"
#include "tools/detect/run.h"

namespace countermark::detect_tool {

namespace {

// A report's verdict knows the records that were read and not that others were lost: on an incomplete run it could say "evidence" where the
// exit status says 3. So there is none then, nor where there is no record whose reading could be judged.
bool ReportStands(const Run& run) { return !run.incomplete && run.records > 0; }

constexpr uint64_t kStrangersSaid = 5;

// Takes the records in order: counts them, writes results, fills the pool.
class Sink {
 public:
  Sink(const cli::Program& program, const Options& options, const Setup& setup, const InputReader& reader, Run* run, cli::Progress* progress)
      : program_(program), options_(options), setup_(setup), reader_(reader), run_(run), counter_(program, options, reader, run, progress),
        report_(options, setup), page_(options, setup), out_(cli::Output::Standard()), color_(program.ColorOut()) {
    for (size_t i = 0; i < setup.readings.size(); ++i) pools_.emplace_back(setup.detector.window());
    if (setup.weights != nullptr) pool_weights_.resize(pools_.size());
  }

  absl::Status Begin() {
    if (!options_.report.empty()) {  // made now, so that a taken path is known before the work is done
      CM_ASSIGN_OR_RETURN(cli::Output file, cli::Output::Create(options_.report));
      report_file_.emplace(std::move(file));
    }
    CM_RETURN_IF_ERROR(page_.Begin());
    if (options_.json) return out_.Write(JsonHead(options_, setup_));
    if (!options_.jsonl) return out_.Write(TableHead(setup_.detector, color_));
    return absl::OkStatus();
  }

  absl::Status Take(Item& item) {
    const Met met = counter_.Meet(item);
    if (met == Met::kNoRecord) return absl::OkStatus();
    RecordVerdict verdict = RecordVerdict::kInconclusive;
    if (item.status.ok()) {
      for (const ReadRecord& read : item.readings) {
        verdict = Together(verdict, met == Met::kBeyond ? RecordVerdict::kUncorrected : setup_.detector.Judge(read.result, run_->ledger, options_.alpha));
        if (read.passages && !read.passages->empty()) {
          run_->passages += read.passages->size();
          if (verdict == RecordVerdict::kNoEvidence) verdict = RecordVerdict::kMarked;  // each has passed its own part of alpha
        }
        if (read.weighted && met != Met::kBeyond) verdict = Together(verdict, Detector::JudgeWeighted(*read.weighted, run_->ledger, options_.alpha));
      }
      run_->marked += verdict == RecordVerdict::kMarked;
      run_->too_short += std::all_of(item.readings.begin(), item.readings.end(), [](const ReadRecord& read) { return read.result.scored == 0; });
      CM_RETURN_IF_ERROR(Pool(item));
    }
    if (report_file_ || Paged()) report_.Add(item, run_->records);
    if (Paged()) page_.Add(item, run_->records);
    return Show(item, verdict);
  }

  absl::Status End() {
    run_->pooled_verdict = RecordVerdict::kInconclusive;
    for (size_t i = 0; i < pools_.size(); ++i) {
      run_->pooled.push_back(pooled_records_ == 1 ? std::move(only_[i]) : setup_.detector.Score(pools_[i]));
      run_->pooled_verdict = Together(run_->pooled_verdict, setup_.detector.Judge(run_->pooled.back(), run_->ledger, options_.alpha, /*of_record=*/false));
    }
    for (size_t i = 0; i < pool_weights_.size(); ++i) {
      run_->pooled_weighted.push_back(setup_.detector.ScoreWeighted(pools_[i], pool_weights_[i]));
      run_->pooled_verdict = Together(run_->pooled_verdict, Detector::JudgeWeighted(run_->pooled_weighted.back(), run_->ledger, options_.alpha, /*of_record=*/false));
    }
    if ((report_file_ || Paged()) && run_->records > 0) {
      CM_ASSIGN_OR_RETURN(const Report report, report_.Make(*run_, reader_));
      if (report_file_ && ReportStands(*run_)) CM_RETURN_IF_ERROR(report_.Write(report, *report_file_));
      CM_RETURN_IF_ERROR(page_.Write(report, *run_, pools_));
    }
    if (report_file_ && run_->records > 0 && !ReportStands(*run_)) {
      program_.Error(Cat("no report is written to ", options_.report, ": the run is incomplete, and a report would give a verdict on what it did not see"));
    }
    if (options_.json) {
      CM_RETURN_IF_ERROR(out_.Write(JsonTail(*run_, options_, setup_)));
    } else if (!options_.jsonl) {
      CM_RETURN_IF_ERROR(out_.Write("\n" + Summary(*run_, options_, setup_, color_)));
    }
    return out_.Commit();
  }

 private:
  bool Paged() const { return !options_.html.empty() || !options_.csv.empty(); }

  // Pairs distinct over the whole input, a pool a reading. A single record's pool is the record itself, which has been scored.
  absl::Status Pool(Item& item) {
    ++pooled_records_;
    only_.clear();
    for (size_t i = 0; i < pools_.size(); ++i) {
      const ReadRecord& read = item.readings[i];
      if (pooled_records_ == 1) only_.push_back(read.result);
      if (item.record.has_prompt) pools_[i].ExcludeWindowsOf(read.prompt_ids);
      pools_[i].Add(read.ids);
      pools_[i].ForgetExcludedWindows();
      if (!pool_weights_.empty()) CM_RETURN_IF_ERROR(AppendEntropyWeights(pools_[i], read.ids, read.nats, &pool_weights_[i]));
    }
    return absl::OkStatus();
  }

  absl::Status Show(const Item& item, RecordVerdict verdict) {
    line_.clear();
    if (options_.json || options_.jsonl) {
      if (options_.json && run_->records > 1) line_ += ",\n";
      AppendRecordJson(item, setup_, verdict, item.status.ok() ? run_->ledger.Total() : 0, &line_);
      if (options_.jsonl) line_ += '\n';
    } else {
      line_ = TableRow(item, setup_, verdict, color_);
    }
    return out_.Write(line_);
  }

  const cli::Program& program_;
  const Options& options_;
  const Setup& setup_;
  const InputReader& reader_;
  Run* run_;
  RecordCounter counter_;
  ReportWriter report_;
  PageWriter page_;
  std::optional<cli::Output> report_file_;
  cli::Output out_;
  std::vector<PairSet> pools_;  // by reading
  std::vector<std::vector<PairWeight>> pool_weights_;  // of their pairs; empty where no weighted tests are made
  uint64_t pooled_records_ = 0;
  std::vector<DetectionResult> only_;
  std::string line_;
  const bool color_;
};

absl::Status Detect(const cli::Program& program, const Options& options, Run* run) {
  CM_ASSIGN_OR_RETURN(std::vector<std::string> files, ListInputs(options.files));
  CM_ASSIGN_OR_RETURN(const Setup setup, MakeSetup(options));
  const std::unordered_set<std::string_view> registered(setup.registered.begin(), setup.registered.end());
  if (!setup.has_record && !options.scheme && !options.window && !options.weights && !options.green && !options.layers && !options.delta) {
    program.Warn(Cat(options.epoch_key, ": no record beside it; gumbel, window 2, weights 0.5,0.5 assumed"));
  }
  uint64_t strangers = 0;
  for (const std::string& account : setup.detector.accounts()) {
    if (registered.empty() || registered.contains(account)) continue;  // an exported key does not say who is registered
    if (++strangers <= kStrangersSaid) program.Warn(Cat("account '", account, "' is not registered there; it is tested all the same"));
  }
  if (strangers > kStrangersSaid) program.Warn(Cat(strangers - kStrangersSaid, " more accounts are not registered there; they are tested all the same"));
  uint64_t counted = 0;
  CM_ASSIGN_OR_RETURN(const uint64_t records, CountForVerdicts(files, options, &counted));
  run->ledger = setup.detector.Ledger(records);
  run->ledger.views = ViewNames(options).size();
  run->ledger.tokenizers = std::max<size_t>(setup.tokenizers.size(), 1);
  if (options.regions) {
    run->ledger.regions = 1;
    run->ledger.questions = TestLedger::QuestionsOf(records, /*regions=*/true);
  }
  if (setup.weights != nullptr) {
    run->ledger.weighted = 1;
    run->ledger.questions = TestLedger::QuestionsOf(records, options.regions, /*weighted=*/true);
  }
  cli::Progress progress(program, "records", counted != 0 ? counted : records);
  InputReader reader(std::move(files), options.input);
  Sink sink(program, options, setup, reader, run, &progress);
  CM_RETURN_IF_ERROR(sink.Begin());
  PipelineOptions pipeline;
  pipeline.input = options.input;
  pipeline.limit = options.limit;
  pipeline.threads = options.threads;
  if (options.regions) pipeline.passage_level = PassageLevel(run->ledger, options.alpha);
  pipeline.weights = setup.weights.get();
  pipeline.keep_text = !options.html.empty();
  CM_RETURN_IF_ERROR(RunPipeline(reader, setup.detector, setup.readings, pipeline, [&sink](Item& item) { return sink.Take(item); }));
  progress.Finish();
  CM_RETURN_IF_ERROR(sink.End());
  if (options.jsonl) {
    std::string summary = Summary(*run, options, setup, program.ColorErr());
    std::fwrite(summary.data(), 1, summary.size(), stderr);
  }
  if (!options.report.empty() && ReportStands(*run)) program.Note(Cat("signed report: ", options.report));
  if (!options.html.empty() && run->records > 0) program.Note(Cat("page: ", options.html));
  if (run->records == 0) return absl::InvalidArgumentError("there is no record in the input");
  return absl::OkStatus();
}

}  // namespace
}  // namespace countermark::detect_tool

int main(int argc, char** argv) {
  using namespace countermark;
  cli::Program program("watermark-detect", "Tests whether texts carry a watermark, and names the account whose answers they are.");
  detect_tool::Options options;
  detect_tool::AddOptions(program, &options);
  if (std::optional<int> exit = program.Parse(argc, argv)) return *exit;
  if (absl::Status status = detect_tool::Settle(argc, argv, &options); !status.ok()) {
    return program.Fail(status, "see 'watermark-detect --help'");
  }
  detect_tool::Run run;
  if (detect_tool::IsForeign(options)) {
    if (absl::Status status = detect_tool::DetectForeign(program, options, &run); !status.ok()) return program.Fail(status);
    return detect_tool::ExitOf(run, options.min_coverage);
  }
  if (absl::Status status = detect_tool::Detect(program, options, &run); !status.ok()) return program.Fail(status);
  return detect_tool::ExitOf(run, options.min_coverage);
}
