#include "python/src/detect_run.h"

#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <atomic>
#include <new>
#include <thread>

#include "python/src/bindings.h"
#include "python/src/errors.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark::python {
namespace {

using namespace nb::literals;

constexpr uint64_t kTestsListed = 200000;  // as watermark-detect: beyond, tests are counted and not listed in a report

nb::object IntegerOf(Statistic value) {
  const nb::int_ low(static_cast<uint64_t>(value));
  const uint64_t high = static_cast<uint64_t>(value >> 64);
  if (high == 0) return low;
  const nb::object shifted = nb::steal(PyNumber_Lshift(nb::int_(high).ptr(), nb::int_(64).ptr()));
  return nb::steal(PyNumber_Or(shifted.ptr(), low.ptr()));
}

// (scored, [(channel, scored, statistic, log10_p, log10_e)], [(account, scored, statistic, log10_p, log10_p_adjusted)])
nb::tuple TupleOf(const DetectionResult& result, const Detector& detector) {
  nb::list channels, accounts;
  for (const ChannelTest& t : result.channels) channels.append(nb::make_tuple(t.name, t.count.scored, IntegerOf(t.count.statistic), t.log10_p, t.log10_e));
  for (size_t i = 0; i < result.accounts.size(); ++i) {
    const AccountTest& t = result.accounts[i];
    accounts.append(nb::make_tuple(detector.accounts()[i], t.count.scored, IntegerOf(t.count.statistic), t.log10_p, t.log10_p_adjusted));
  }
  return nb::make_tuple(result.scored, channels, accounts);
}

Detector MakeDetector(const EpochKeys& keys, std::vector<std::string> accounts, const Tokenizer* tokenizer) {
  if (tokenizer != nullptr && keys.record.tokenizer_sha256 != tokenizer->sha256()) {
    Raise("InvalidArgumentError", Cat("this is not the epoch's tokenizer: its SHA-256 is ", tokenizer->sha256(), ", and the epoch record says ", keys.record.tokenizer_sha256));
  }
  return ValueOrRaise(Detector::Create(keys, std::move(accounts)));
}

}  // namespace

Column::Column(Data data, Offsets offsets, std::map<size_t, std::string> errors, bool text)
    : data_(std::move(data)), offsets_(std::move(offsets)), errors_(std::move(errors)), text_(text), size_(offsets_.size() == 0 ? 0 : offsets_.size() - 1) {
  using Code = nb::dlpack::dtype_code;
  const nb::dlpack::dtype type = data_.dtype();
  const bool integer = type.code == static_cast<uint8_t>(Code::Int) || type.code == static_cast<uint8_t>(Code::UInt);
  if (text ? !(type.code == static_cast<uint8_t>(Code::UInt) && type.bits == 8) : !(integer && (type.bits == 32 || type.bits == 64))) {
    Raise("InvalidArgumentError", text ? "text must be bytes" : "token ids must be 32- or 64-bit integers");
  }
  if (offsets_.size() == 0) return;
  const int64_t* o = offsets_.data();
  for (size_t i = 0; i < size_; ++i) {
    if (o[i] > o[i + 1]) Raise("InvalidArgumentError", Cat("offset ", i + 1, " lies before offset ", i));
  }
  if (o[0] < 0 || o[size_] > static_cast<int64_t>(data_.size())) Raise("InvalidArgumentError", "the offsets lead outside the data");
}

template <typename Integer>
absl::Status Column::Convert(int64_t begin, int64_t end, std::vector<uint32_t>* ids) const {
  const Integer* data = static_cast<const Integer*>(static_cast<const void*>(data_.data()));
  ids->resize(static_cast<size_t>(end - begin));
  for (int64_t i = begin; i < end; ++i) {
    const Integer id = data[i];
    bool fits = id <= static_cast<Integer>(0x7fffffff);
    if constexpr (std::is_signed_v<Integer>) fits = fits && id >= 0;
    if (!fits) return absl::InvalidArgumentError(Cat("position ", i - begin, ": ", id, " is no token id"));
    (*ids)[static_cast<size_t>(i - begin)] = static_cast<uint32_t>(id);
  }
  return absl::OkStatus();
}

absl::Status Column::IdsOf(size_t i, const Tokenizer* tokenizer, TokenizedText* scratch, std::vector<uint32_t>* ids) const {
  std::string_view text;
  CM_RETURN_IF_ERROR(Take(i, &text, ids));
  if (!text_) return absl::OkStatus();
  if (tokenizer == nullptr) return absl::InvalidArgumentError("this is text, and there is no tokenizer");
  CM_RETURN_IF_ERROR(tokenizer->Encode(text, scratch));
  ids->assign(scratch->ids.begin(), scratch->ids.end());
  return absl::OkStatus();
}

absl::Status Column::Take(size_t i, std::string_view* text, std::vector<uint32_t>* ids) const {
  if (const auto found = errors_.find(i); found != errors_.end()) return absl::InvalidArgumentError(found->second);
  const int64_t begin = offsets_.data()[i], end = offsets_.data()[i + 1];
  if (text_) {
    *text = std::string_view(static_cast<const char*>(static_cast<const void*>(data_.data())) + begin, static_cast<size_t>(end - begin));
    return absl::OkStatus();
  }
  const nb::dlpack::dtype type = data_.dtype();
  const bool is_signed = type.code == static_cast<uint8_t>(nb::dlpack::dtype_code::Int);
  if (type.bits == 32) return is_signed ? Convert<int32_t>(begin, end, ids) : Convert<uint32_t>(begin, end, ids);
  return is_signed ? Convert<int64_t>(begin, end, ids) : Convert<uint64_t>(begin, end, ids);
}

DetectRun::DetectRun(const EpochKeys& keys, std::vector<std::string> accounts, std::shared_ptr<Tokenizer> tokenizer, uint64_t records, double alpha,
                     double coverage_floor, bool keep_results)
    : detector_(MakeDetector(keys, std::move(accounts), tokenizer.get())),
      tokenizer_(std::move(tokenizer)),
      ledger_(detector_.Ledger(records)),
      alpha_(alpha),
      coverage_floor_(coverage_floor),
      keep_results_(keep_results),
      pool_(detector_.window()) {
  if (!(alpha > 0 && alpha < 1)) Raise("InvalidArgumentError", Cat("alpha is ", alpha, ", and must be between 0 and 1"));
  if (!(coverage_floor >= 0 && coverage_floor <= 1)) Raise("InvalidArgumentError", Cat("min_coverage is ", coverage_floor, ", and must be from 0 to 1"));
}

std::vector<RecordOutcome> DetectRun::Add(const Column& records, const Column* prompts, const std::vector<std::string>* ids, int threads) {
  const size_t n = records.size();
  if (prompts != nullptr && prompts->size() != n) Raise("InvalidArgumentError", Cat("there are ", n, " records and ", prompts->size(), " prompts"));
  if (ids != nullptr && ids->size() != n) Raise("InvalidArgumentError", Cat("there are ", n, " records and ", ids->size(), " names"));
  std::vector<RecordOutcome> outcomes;
  bool beyond = false;
  {
    nb::gil_scoped_release unlocked;
    std::lock_guard<std::mutex> lock(mutex_);
    beyond = ledger_.records != 0 && met_ + n > ledger_.records;
    if (!beyond) {
      outcomes.resize(n);
      std::atomic<size_t> next = 0;
      const auto work = [&] {
        TokenizedText scratch;
        PairSet pairs(detector_.window());
        for (size_t i; (i = next.fetch_add(1)) < n;) {
          RecordOutcome& outcome = outcomes[i];
          const auto score = [&]() -> absl::Status {
            CM_RETURN_IF_ERROR(records.IdsOf(i, tokenizer_.get(), &scratch, &outcome.ids));
            CM_RETURN_IF_ERROR(detector_.CheckIds(outcome.ids));
            if (prompts != nullptr) CM_RETURN_IF_ERROR(prompts->IdsOf(i, tokenizer_.get(), &scratch, &outcome.prompt));
            pairs.Clear();
            pairs.ExcludeWindowsOf(outcome.prompt);
            pairs.Add(outcome.ids);
            outcome.result = detector_.Score(pairs);
            outcome.verdict = detector_.Judge(outcome.result, ledger_, alpha_);
            return absl::OkStatus();
          };
          try {
            outcome.status = score();
          } catch (const std::bad_alloc&) {
            outcome.status = absl::ResourceExhaustedError("no memory for this record");
          }
        }
      };
      const size_t most = threads > 0 ? static_cast<size_t>(threads) : std::max(1u, std::thread::hardware_concurrency());
      std::vector<std::thread> workers;
      for (size_t t = 1; t < std::min(most, n); ++t) workers.emplace_back(work);
      work();
      for (std::thread& worker : workers) worker.join();

      for (size_t i = 0; i < n; ++i) {
        RecordOutcome& outcome = outcomes[i];
        ++met_;
        if (!outcome.status.ok()) {
          ++unreadable_;
          if (keep_results_) unreadable_positions_.push_back(met_);
          continue;
        }
        pool_.ExcludeWindowsOf(outcome.prompt);
        pool_.Add(outcome.ids);
        pool_.ForgetExcludedWindows();
        marked_ += outcome.verdict == RecordVerdict::kMarked;
        if (!keep_results_) continue;
        const uint64_t tests = outcome.result.channels.size() + outcome.result.accounts.size();
        if (listed_ + tests > kTestsListed) {
          ++left_out_;
          continue;
        }
        listed_ += tests;
        kept_.push_back({met_, ids != nullptr ? (*ids)[i] : std::to_string(met_), outcome.result});
      }
    }
  }
  if (beyond) Raise("InvalidArgumentError", Cat("these would be more than the ", ledger_.records, " records that the run was told of: verdicts are not corrected for all of them"));
  return outcomes;
}

void BindDetectRun(nb::module_& m) {
  nb::class_<Column>(m, "Column", "Records end to end, as Arrow lays them out; nothing is copied.")
      .def(nb::init<Column::Data, Column::Offsets, std::map<size_t, std::string>, bool>(), "data"_a.noconvert(), "offsets"_a.noconvert(), "errors"_a, nb::kw_only(), "text"_a,
           nb::sig("def __init__(self, data: typing.Any, offsets: typing.Any, errors: collections.abc.Mapping[int, str], *, text: bool) -> None"))
      .def_prop_ro("is_text", &Column::is_text)
      .def("__len__", &Column::size);

  auto type = nb::class_<DetectRun>(m, "DetectRun", "Use countermark.Detector.");
  type.def(nb::init<const EpochKeys&, std::vector<std::string>, std::shared_ptr<Tokenizer>, uint64_t, double, double, bool>(), "keys"_a, "accounts"_a,
          "tokenizer"_a.none(), nb::kw_only(), "records"_a, "alpha"_a, "min_coverage"_a, "keep_results"_a)
      .def(
          "add",
          [](DetectRun& run, const Column& records, const Column* prompts, const std::optional<std::vector<std::string>>& ids, int threads) {
            nb::list out;
            for (const RecordOutcome& o : run.Add(records, prompts, ids ? &*ids : nullptr, threads)) {
              const nb::object error = o.status.ok() ? nb::none() : TextOf(std::string(o.status.message()));
              out.append(nb::make_tuple(error, std::string(RecordVerdictName(o.verdict)), TupleOf(o.result, run.detector())));
            }
            return out;
          },
          "records"_a, "prompts"_a.none(), "ids"_a.none(), "threads"_a,
          nb::sig("def add(self, records: Column, prompts: Column | None, ids: collections.abc.Sequence[str] | None, threads: int) -> list[tuple[typing.Any, ...]]"))
      .def(
          "pooled",
          [](const DetectRun& run) {
            const DetectionResult pooled = run.Pooled();
            return nb::make_tuple(std::string(RecordVerdictName(run.PooledVerdict(pooled))), TupleOf(pooled, run.detector()));
          },
          nb::sig("def pooled(self) -> tuple[str, tuple[typing.Any, ...]]"))
      .def_prop_ro("records", &DetectRun::met)
      .def_prop_ro("unreadable", &DetectRun::unreadable)
      .def_prop_ro("unreadable_positions", &DetectRun::unreadable_positions)
      .def_prop_ro("marked", &DetectRun::marked)
      .def_prop_ro("coverage", &DetectRun::coverage)
      .def_prop_ro("tests_counted", [](const DetectRun& run) { return run.ledger().Total(); });
  RefusePickle(type, "a detection holds keys: it is neither pickled nor copied");
}

}  // namespace countermark::python
