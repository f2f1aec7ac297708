// The pieces of an audit on a cluster (src/audit/cluster.h), for countermark.spark.
#include "src/audit/cluster.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "python/src/audit_run.h"
#include "python/src/bindings.h"
#include "python/src/errors.h"
#include "python/src/table_source.h"

namespace countermark::python {
namespace {

using namespace nb::literals;
using audit::ClusterGather;
using audit::ClusterKind;
using audit::ClusterPiece;
using audit::ClusterReduce;
using audit::ClusterRun;
using audit::ClusterShape;
using Numbers = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Keys = std::shared_ptr<const AuditKeys>;
using Names = std::optional<std::vector<std::optional<std::string>>>;

// (group, key, kind, bytes)
nb::list ListOf(const std::vector<ClusterPiece>& pieces) {
  nb::list out;
  for (const ClusterPiece& piece : pieces) {
    out.append(nb::make_tuple(static_cast<int>(piece.group), piece.key, static_cast<int>(piece.kind), nb::bytes(piece.bytes.data(), piece.bytes.size())));
  }
  return out;
}

std::string_view View(const nb::bytes& bytes) { return {bytes.c_str(), bytes.size()}; }

// What a piece of work hangs on, kept alive beside it.
class Mapper {
 public:
  Mapper(Keys keys, std::shared_ptr<Tokenizer> tokenizer, std::vector<std::string> paths, uint64_t max_record_mib, uint64_t stripe, uint32_t buckets)
      : keys_(std::move(keys)), tokenizer_(std::move(tokenizer)), paths_(std::move(paths)), most_bytes_(max_record_mib << 20), map_(*keys_, tokenizer_.get(), paths_, ClusterShape{stripe, buckets}) {
    CheckTokenizer(keys_->record, tokenizer_.get());
  }
  void Add(const Numbers& numbers, const Numbers& files, const Numbers& lines, const Column& contents, const Column* prompts, const Names& names) {
    const size_t size = contents.size();
    if (numbers.size() != size || files.size() != size || lines.size() != size || (prompts != nullptr && prompts->size() != size) || (names && names->size() != size)) {
      Raise("InvalidArgumentError", "the columns are not of one length");
    }
    absl::Status status;
    {
      nb::gil_scoped_release unlocked;
      const std::vector<std::optional<std::string>> none;
      std::vector<RawRecord> records;
      std::vector<uint64_t> places;
      for (size_t i = 0; i < size && status.ok(); ++i) {
        const auto file = static_cast<uint64_t>(files.data()[i]);
        if (file >= paths_.size() || numbers.data()[i] < 0 || lines.data()[i] < 1) status = absl::InvalidArgumentError("a record of a file that was not named");
        if (!status.ok()) break;
        records.push_back(RowRecord(contents, prompts, names ? *names : none, i, static_cast<uint32_t>(file), paths_[file], static_cast<uint64_t>(lines.data()[i]), most_bytes_));
        places.push_back(static_cast<uint64_t>(numbers.data()[i]));
      }
      if (status.ok()) status = map_.Add(records, places);
    }
    RaiseIfError(status);
  }
  nb::list Take(bool all) {
    std::vector<ClusterPiece> pieces;
    {
      nb::gil_scoped_release unlocked;
      pieces = map_.Take(all);
    }
    return ListOf(pieces);
  }

 private:
  Keys keys_;
  std::shared_ptr<Tokenizer> tokenizer_;
  std::vector<std::string> paths_;
  size_t most_bytes_;
  audit::ClusterMap map_;
};

class Reducer {
 public:
  Reducer(Keys keys, uint64_t stripe, uint32_t buckets) : keys_(std::move(keys)), reduce_(*keys_, ClusterShape{stripe, buckets}) {}
  void Add(int64_t bucket, const nb::bytes& pairs) {
    absl::Status status;
    {
      nb::gil_scoped_release unlocked;
      status = reduce_.Add(bucket, View(pairs));
    }
    RaiseIfError(status);
  }
  nb::list FinishBucket() {
    std::vector<ClusterPiece> pieces;
    {
      nb::gil_scoped_release unlocked;
      pieces = reduce_.FinishBucket();
    }
    return ListOf(pieces);
  }
  nb::list FinishCandidates() { return ListOf(reduce_.FinishCandidates()); }

 private:
  Keys keys_;
  ClusterReduce reduce_;
};

class Gatherer {
 public:
  Gatherer(Keys keys, uint64_t stripe, uint32_t buckets) : keys_(std::move(keys)), gather_(*keys_, ClusterShape{stripe, buckets}) {}
  void Add(int64_t stripe, int kind, const nb::bytes& bytes) { RaiseIfError(gather_.Add(stripe, static_cast<ClusterKind>(kind), View(bytes))); }
  nb::list FinishStripe() { return ListOf(ValueOrRaise(gather_.FinishStripe())); }
  void AddCandidates(int64_t key, const nb::bytes& bytes) { RaiseIfError(gather_.AddCandidates(key, View(bytes))); }
  nb::list FinishCandidates() { return ListOf(gather_.FinishCandidates()); }

 private:
  Keys keys_;
  ClusterGather gather_;
};

class Run {
 public:
  Run(Keys keys, const std::shared_ptr<Tokenizer>& tokenizer, std::vector<std::string> paths, const std::string& directory, const nb::dict& options, uint64_t documents)
      : keys_(std::move(keys)), judge_(JudgeOptionsOf(options)), source_(paths, nb::none(), InputOptions()) {
    CheckTokenizer(keys_->record, tokenizer.get());
    DatasetOptions all = DatasetOptionsOf(options, tokenizer == nullptr);
    all.files = std::move(paths);
    all.directory = directory;
    all.source = &source_;
    run_ = ValueOrRaise(ClusterRun::Open(*keys_, tokenizer.get(), all, documents));
  }
  bool whole() const { return run_->whole(); }
  void Add(int group, int64_t key, int kind, const nb::bytes& bytes) {
    RaiseIfError(run_->Add({static_cast<audit::ClusterGroup>(group), key, static_cast<ClusterKind>(kind), std::string(View(bytes))}));
  }
  nb::tuple Finish(const nb::object& progress) {
    const AuditObserver observer = ObserverOf(progress);
    absl::StatusOr<DatasetResult> result = [&] {
      nb::gil_scoped_release unlocked;
      return run_->Finish(judge_, observer);
    }();
    return TupleOf(ValueOrRaise(std::move(result)));
  }

 private:
  Keys keys_;
  JudgeOptions judge_;
  TableSource source_;  // says places
  std::unique_ptr<ClusterRun> run_;
};

#define COUNTERMARK_PIECES "list[tuple[int, int, int, bytes]]"
#define COUNTERMARK_SECRET "an audit's keys are secret: they are neither pickled nor copied"

}  // namespace

void BindCluster(nb::module_& m) {
  auto keys = nb::class_<AuditKeys>(m, "AuditKeys", "An epoch's keys with those of all candidates, derived once.");
  keys.def_static(
          "create",
          [](const EpochKeys& epoch, std::vector<std::string> accounts, std::string requests_of, std::vector<std::string> requests, int threads) {
            absl::StatusOr<AuditKeys> made = [&] {
              nb::gil_scoped_release unlocked;
              return AuditKeys::Create(epoch, std::move(accounts), std::move(requests_of), std::move(requests), threads);
            }();
            return std::make_shared<AuditKeys>(ValueOrRaise(std::move(made)));
          },
          "keys"_a, "accounts"_a, "requests_of"_a, "requests"_a, "threads"_a,
          nb::sig("def create(keys: EpochKeys, accounts: collections.abc.Sequence[str], requests_of: str, requests: collections.abc.Sequence[str], threads: int) -> AuditKeys"))
      .def("__repr__", [](const AuditKeys& k) { return Cat("<countermark._core.AuditKeys ", k.record.tenant, "/", k.record.epoch, ">"); });
  RefusePickle(keys, COUNTERMARK_SECRET);

  auto map = nb::class_<Mapper>(m, "ClusterMap", "Use countermark.spark.");
  map.def(nb::init<Keys, std::shared_ptr<Tokenizer>, std::vector<std::string>, uint64_t, uint64_t, uint32_t>(), "keys"_a, "tokenizer"_a.none(), "paths"_a, "max_record_mib"_a, "stripe"_a, "buckets"_a)
      .def("add", &Mapper::Add, "numbers"_a.noconvert(), "files"_a.noconvert(), "lines"_a.noconvert(), "contents"_a, "prompts"_a.none(), "names"_a.none(),
           nb::sig("def add(self, numbers: typing.Any, files: typing.Any, lines: typing.Any, contents: Column, prompts: Column | None, "
                   "names: collections.abc.Sequence[str | None] | None) -> None"))
      .def("take", &Mapper::Take, "all"_a, nb::sig("def take(self, all: bool) -> " COUNTERMARK_PIECES));
  RefusePickle(map, COUNTERMARK_SECRET);

  auto reduce = nb::class_<Reducer>(m, "ClusterReduce", "Use countermark.spark.");
  reduce.def(nb::init<Keys, uint64_t, uint32_t>(), "keys"_a, "stripe"_a, "buckets"_a)
      .def("add", &Reducer::Add, "bucket"_a, "pairs"_a)
      .def("finish_bucket", &Reducer::FinishBucket, nb::sig("def finish_bucket(self) -> " COUNTERMARK_PIECES))
      .def("finish_candidates", &Reducer::FinishCandidates, nb::sig("def finish_candidates(self) -> " COUNTERMARK_PIECES));
  RefusePickle(reduce, COUNTERMARK_SECRET);

  auto gather = nb::class_<Gatherer>(m, "ClusterGather", "Use countermark.spark.");
  gather.def(nb::init<Keys, uint64_t, uint32_t>(), "keys"_a, "stripe"_a, "buckets"_a)
      .def("add", &Gatherer::Add, "stripe"_a, "kind"_a, "data"_a)
      .def("finish_stripe", &Gatherer::FinishStripe, nb::sig("def finish_stripe(self) -> " COUNTERMARK_PIECES))
      .def("add_candidates", &Gatherer::AddCandidates, "key"_a, "data"_a)
      .def("finish_candidates", &Gatherer::FinishCandidates, nb::sig("def finish_candidates(self) -> " COUNTERMARK_PIECES));
  RefusePickle(gather, COUNTERMARK_SECRET);

  auto run = nb::class_<Run>(m, "ClusterRun", "Use countermark.spark.");
  run.def(nb::init<Keys, const std::shared_ptr<Tokenizer>&, std::vector<std::string>, const std::string&, const nb::dict&, uint64_t>(), "keys"_a, "tokenizer"_a.none(), "paths"_a,
          "directory"_a, "options"_a, "documents"_a,
          nb::sig("def __init__(self, keys: AuditKeys, tokenizer: Tokenizer | None, paths: collections.abc.Sequence[str], directory: str, options: dict[str, typing.Any], documents: int) -> None"))
      .def_prop_ro("whole", &Run::whole)
      .def("add", &Run::Add, "group"_a, "key"_a, "kind"_a, "data"_a)
      .def("finish", &Run::Finish, "progress"_a.none(),
           nb::sig("def finish(self, progress: collections.abc.Callable[[str, str, int], None] | None) -> tuple[str, bool, float, bool, bool, list[str]]"));
  RefusePickle(run, COUNTERMARK_SECRET);
}

}  // namespace countermark::python
