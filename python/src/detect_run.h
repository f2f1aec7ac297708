// A detection over records that Python holds: columns of texts or token ids in, results out, record by record and pooled.
#ifndef COUNTERMARK_PYTHON_SRC_DETECT_RUN_H_
#define COUNTERMARK_PYTHON_SRC_DETECT_RUN_H_

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "countermark/detect/detector.h"
#include "countermark/tokenize/tokenizer.h"

namespace countermark::python {

namespace nb = nanobind;

// Many records end to end, as Arrow lays them out: record i is data[offsets[i] … offsets[i + 1]). Text is UTF-8; ids are 32- or 64-bit integers.
class Column {
 public:
  using Data = nb::ndarray<nb::ro, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
  using Offsets = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

  // errors: what is wrong with records that could not be put into the column, by position. Raises InvalidArgumentError where offsets lead outside.
  Column(Data data, Offsets offsets, std::map<size_t, std::string> errors, bool text);

  size_t size() const { return size_; }
  bool is_text() const { return text_; }
  // The ids of record i: those it holds, or those of its text.
  absl::Status IdsOf(size_t i, const Tokenizer* tokenizer, TokenizedText* scratch, std::vector<uint32_t>* ids) const;
  // Record i as it stands: its text in `text`, or its ids in `ids`.
  absl::Status Take(size_t i, std::string_view* text, std::vector<uint32_t>* ids) const;

 private:
  template <typename Integer>
  absl::Status Convert(int64_t begin, int64_t end, std::vector<uint32_t>* ids) const;

  Data data_;
  Offsets offsets_;
  std::map<size_t, std::string> errors_;
  bool text_;
  size_t size_;
};

struct RecordOutcome {
  absl::Status status;
  std::vector<uint32_t> ids, prompt;
  DetectionResult result;
  RecordVerdict verdict = RecordVerdict::kInconclusive;
};

class DetectRun {
 public:
  struct Kept {  // of a record, for a report
    uint64_t position = 0;  // from 1
    std::string id;
    DetectionResult result;
  };

  // records: how many verdicts will be asked for; 0: not known.
  DetectRun(const EpochKeys& keys, std::vector<std::string> accounts, std::shared_ptr<Tokenizer> tokenizer, uint64_t records, double alpha, double coverage_floor,
            bool keep_results);

  // Scores a batch on `threads` threads (0: all). Raises where more records come than were announced.
  std::vector<RecordOutcome> Add(const Column& records, const Column* prompts, const std::vector<std::string>* ids, int threads);

  DetectionResult Pooled() const { return detector_.Score(pool_); }
  RecordVerdict PooledVerdict(const DetectionResult& pooled) const { return detector_.Judge(pooled, ledger_, alpha_, /*of_record=*/false); }

  const Detector& detector() const { return detector_; }
  const Tokenizer* tokenizer() const { return tokenizer_.get(); }
  const TestLedger& ledger() const { return ledger_; }
  double alpha() const { return alpha_; }
  double coverage_floor() const { return coverage_floor_; }
  uint64_t met() const { return met_; }
  uint64_t unreadable() const { return unreadable_; }
  uint64_t marked() const { return marked_; }
  double coverage() const { return met_ == 0 ? 1.0 : static_cast<double>(met_ - unreadable_) / static_cast<double>(met_); }
  const std::vector<Kept>& kept() const { return kept_; }
  uint64_t left_out() const { return left_out_; }
  const std::vector<uint64_t>& unreadable_positions() const { return unreadable_positions_; }

 private:
  Detector detector_;
  std::shared_ptr<Tokenizer> tokenizer_;
  TestLedger ledger_;
  double alpha_, coverage_floor_;
  bool keep_results_;
  std::mutex mutex_;
  PairSet pool_;
  uint64_t met_ = 0, unreadable_ = 0, marked_ = 0, listed_ = 0, left_out_ = 0;
  std::vector<Kept> kept_;
  std::vector<uint64_t> unreadable_positions_;  // from 1, with keep_results
};

}  // namespace countermark::python

#endif  // COUNTERMARK_PYTHON_SRC_DETECT_RUN_H_
