#include "tools/detect/foreign.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "countermark/detect/foreign/format.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "tools/cli/progress.h"

namespace countermark::detect_tool {
namespace {

using nlohmann::ordered_json;

constexpr size_t kMaxConfig = size_t{1} << 20;

std::string Dump(const ordered_json& json) { return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace); }

double NoMinusZero(double value) { return value == 0 ? 0.0 : value; }

RecordVerdict Judge(const ForeignCount& count, double log10_p, const TestLedger& ledger, double alpha, bool of_record) {
  if (count.draws == 0) return RecordVerdict::kInconclusive;
  if (of_record && ledger.records == 0) return RecordVerdict::kUncorrected;
  return BonferroniAdjust(log10_p, Detector::Multiplier(ledger, of_record)) <= std::log10(alpha) ? RecordVerdict::kMarked : RecordVerdict::kNoEvidence;
}

class ForeignSink {
 public:
  ForeignSink(const cli::Program& program, const Options& options, const ForeignFormat& format, const InputReader& reader, Run* run, cli::Progress* progress)
      : program_(program), options_(options), format_(format), run_(run), counter_(program, options, reader, run, progress), out_(cli::Output::Standard()) {}

  absl::Status Begin() {
    if (options_.json) {
      ordered_json head = {{"schema_version", 1}, {"tool", "watermark-detect"}, {"version", std::string(cli::Version())}};
      AddFormat(&head);
      head["alpha"] = options_.alpha;
      std::string text = Dump(head);
      text.back() = ',';
      return out_.Write(text + "\"records\":[\n");
    }
    if (!options_.jsonl) return out_.Write(cli::Paint(Cat(format_.label(), format_.hash().empty() ? "" : Cat(", hash ", format_.hash())), "1", program_.ColorOut()) + "\n");
    return absl::OkStatus();
  }

  absl::Status Take(Item& item) {
    const Met met = counter_.Meet(item);
    if (met == Met::kNoRecord) return absl::OkStatus();
    RecordVerdict verdict = RecordVerdict::kInconclusive;
    if (item.status.ok()) {
      verdict = met == Met::kBeyond ? RecordVerdict::kUncorrected : Judge(item.foreign.count, item.foreign.log10_p, run_->ledger, options_.alpha, true);
      run_->marked += verdict == RecordVerdict::kMarked;
      run_->too_short += item.foreign.count.draws == 0;
      if (++read_ == 1) only_ = item.foreign;
      pool_.Add(item.draws);
      item.draws = std::vector<ForeignDraw>();
    }
    return Show(item, verdict);
  }

  absl::Status End() {
    // One record's pool is the record.
    const ForeignCount& pooled = read_ == 1 ? only_.count : pool_.count();
    const double log10_p = read_ == 1 ? only_.log10_p : format_.Log10P(pooled);
    run_->pooled_verdict = Judge(pooled, log10_p, run_->ledger, options_.alpha, false);
    const std::string overall(OverallVerdict(*run_, options_.min_coverage));
    if (options_.json) {
      ordered_json tail;
      tail["pooled"] = {{"scored", pooled.draws}, {"log10_p", NoMinusZero(log10_p)}, {"verdict", std::string(RecordVerdictName(run_->pooled_verdict))}, {"tests_counted", run_->ledger.Total()}};
      tail["ledger"] = {{"records", run_->ledger.records == 0 ? ordered_json(nullptr) : ordered_json(run_->ledger.records)}, {"questions", run_->ledger.questions}, {"tests_counted", run_->ledger.Total()}};
      tail["errors"] = ordered_json::array();
      for (const RunError& error : run_->first_errors) tail["errors"].push_back({{"file", error.file}, {"line", error.line}, {"byte", error.byte}, {"message", error.message}});
      tail["coverage"] = {{"records", run_->records}, {"unreadable", run_->unreadable}, {"too_short", run_->too_short}, {"errors", run_->errors},
                          {"share", run_->coverage()}, {"floor", options_.min_coverage}, {"complete", !run_->incomplete}};
      tail["records_marked"] = run_->marked;
      tail["verdict"] = overall;
      CM_RETURN_IF_ERROR(out_.Write("\n]," + Dump(tail).substr(1) + "\n"));
      return out_.Commit();
    }
    char numbers[64], alpha[32];
    std::snprintf(numbers, sizeof numbers, "log10 p %.2f, corrected %.2f", NoMinusZero(log10_p), BonferroniAdjust(log10_p, Detector::Multiplier(run_->ledger, false)));
    std::snprintf(alpha, sizeof alpha, "%g", options_.alpha);
    const std::string summary = Cat("pooled: ", pooled.draws, " distinct draws of the key, ", numbers, "\ntests counted: ", run_->ledger.Total(), "; alpha ", alpha, "\ncoverage: ",
                                    run_->records - run_->unreadable, " of ", run_->records, " records read, ", run_->too_short, " of them too short to score",
                                    run_->incomplete ? "; the input is incomplete" : "", "\nverdict: ", overall, "\n");
    if (options_.jsonl) {
      std::fwrite(summary.data(), 1, summary.size(), stderr);
    } else {
      CM_RETURN_IF_ERROR(out_.Write("\n" + summary));
    }
    return out_.Commit();
  }

 private:
  void AddFormat(ordered_json* json) const {
    (*json)["format"] = format_.name();
    if (!format_.hash().empty()) (*json)["hash"] = format_.hash();
  }

  absl::Status Show(const Item& item, RecordVerdict verdict) {
    const ForeignScore& score = item.foreign;
    const bool read = item.status.ok();
    if (options_.json || options_.jsonl) {
      ordered_json line = {{"id", item.record.id}};
      AddFormat(&line);
      line["scored"] = read ? score.scored : 0;
      for (const auto& [name, value] : score.figures) {
        if (const uint64_t* count = std::get_if<uint64_t>(&value)) {
          line[std::string(name)] = *count;
        } else {
          line[std::string(name)] = std::get<double>(value);
        }
      }
      line["log10_p"] = NoMinusZero(score.log10_p);
      line["verdict"] = std::string(RecordVerdictName(verdict));
      line["tests_counted"] = read ? run_->ledger.Total() : 0;
      if (!read) line["error"] = std::string(item.status.message());
      return out_.Write(Cat(options_.json && run_->records > 1 ? ",\n" : "", Dump(line), options_.jsonl ? "\n" : ""));
    }
    std::string row = cli::Printable(item.record.id);
    if (!read) return out_.Write(row + "  unreadable\n");
    row += Cat("  scored ", score.scored);
    for (const auto& [name, value] : score.figures) {
      char number[40];
      if (const uint64_t* count = std::get_if<uint64_t>(&value)) {
        std::snprintf(number, sizeof number, "%llu", static_cast<unsigned long long>(*count));
      } else {
        std::snprintf(number, sizeof number, "%.4f", std::get<double>(value));
      }
      row += Cat("  ", name, " ", number);
    }
    char p[32];
    std::snprintf(p, sizeof p, "%.2f", NoMinusZero(score.log10_p));
    return out_.Write(Cat(row, "  log10 p ", p, "  ", RecordVerdictName(verdict), "\n"));
  }

  const cli::Program& program_;
  const Options& options_;
  const ForeignFormat& format_;
  Run* run_;
  RecordCounter counter_;
  cli::Output out_;
  ForeignPool pool_;
  uint64_t read_ = 0;
  ForeignScore only_;
};

}  // namespace

absl::Status DetectForeign(const cli::Program& program, const Options& options, Run* run) {
  CM_ASSIGN_OR_RETURN(std::vector<std::string> files, ListInputs(options.files));
  CM_ASSIGN_OR_RETURN(const std::string config, ReadWholeFile(options.foreign_config, kMaxConfig));
  CM_ASSIGN_OR_RETURN(const std::unique_ptr<ForeignFormat> format, OpenForeignFormat(options.format, config, options.foreign_config));
  std::unique_ptr<Tokenizer> tokenizer;
  if (!options.tokenizers.empty()) {
    CM_ASSIGN_OR_RETURN(tokenizer, OpenTokenizer(options.tokenizers[0]));
  }
  std::vector<Reading> readings(1);
  readings[0].tokenizer = tokenizer.get();
  uint64_t counted = 0;
  CM_ASSIGN_OR_RETURN(const uint64_t records, CountForVerdicts(files, options, &counted));
  run->ledger.records = records;
  run->ledger.questions = TestLedger::QuestionsOf(records);
  cli::Progress progress(program, "records", counted != 0 ? counted : records);
  InputReader reader(std::move(files), options.input);
  ForeignSink sink(program, options, *format, reader, run, &progress);
  CM_RETURN_IF_ERROR(sink.Begin());
  PipelineOptions pipeline;
  pipeline.input = options.input;
  pipeline.limit = options.limit;
  pipeline.threads = options.threads;
  const bool pooled = records != 1;
  const auto make_scorer = [&] {
    return [&format, pooled, scorer = std::shared_ptr<ForeignScorer>(format->NewScorer())](Item& item) -> absl::Status {
      const ReadRecord& read = item.readings[0];
      CM_RETURN_IF_ERROR(format->CheckIds(read.ids));
      CM_RETURN_IF_ERROR(format->CheckIds(read.prompt_ids));
      item.foreign = scorer->Score(read.ids, read.prompt_ids, pooled ? &item.draws : nullptr);
      return absl::OkStatus();
    };
  };
  CM_RETURN_IF_ERROR(RunPipeline(reader, readings, pipeline, make_scorer, [&sink](Item& item) { return sink.Take(item); }));
  progress.Finish();
  CM_RETURN_IF_ERROR(sink.End());
  if (run->records == 0) return absl::InvalidArgumentError("there is no record in the input");
  return absl::OkStatus();
}

}  // namespace countermark::detect_tool
