// What an audit on one machine and one on a cluster share at the border to Python: options in, observer, result out.
#ifndef COUNTERMARK_PYTHON_SRC_AUDIT_RUN_H_
#define COUNTERMARK_PYTHON_SRC_AUDIT_RUN_H_

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <string>

#include "countermark/audit/dataset.h"
#include "python/src/errors.h"
#include "src/base/strings.h"

namespace countermark::python {

inline void CheckTokenizer(const EpochRecord& record, const Tokenizer* tokenizer) {
  if (tokenizer == nullptr || record.tokenizer_sha256 == tokenizer->sha256()) return;
  Raise("InvalidArgumentError", Cat("this is not the epoch's tokenizer: its SHA-256 is ", tokenizer->sha256(), ", and the epoch record says ", record.tokenizer_sha256));
}

// Of the members that countermark.audit gives; files, directory and source are left to the caller.
inline DatasetOptions DatasetOptionsOf(const nb::dict& o, bool default_ids) {
  DatasetOptions options;
  options.input.text_field = nb::cast<std::string>(o["text_field"]);
  options.input.token_ids_field = nb::cast<std::string>(o["token_ids_field"]);
  options.input.default_ids = default_ids;
  options.input.id_field = nb::cast<std::string>(o["id_field"]);
  options.input.prompt_field = nb::cast<std::string>(o["prompt_field"]);
  options.input.prompt_ids_field = nb::cast<std::string>(o["prompt_ids_field"]);
  options.input.max_record_bytes = nb::cast<uint64_t>(o["max_record_mib"]) << 20;
  options.limit = nb::cast<uint64_t>(o["limit"]);
  options.part = nb::cast<uint32_t>(o["part"]);
  options.parts = nb::cast<uint32_t>(o["parts"]);
  options.threads = nb::cast<int>(o["threads"]);
  options.memory = nb::cast<uint64_t>(o["memory_mib"]) << 20;
  return options;
}

inline JudgeOptions JudgeOptionsOf(const nb::dict& o) {
  JudgeOptions judge;
  judge.alpha = nb::cast<double>(o["alpha"]);
  judge.fdr = nb::cast<double>(o["fdr"]);
  judge.confidence = nb::cast<double>(o["confidence"]);
  judge.min_coverage = nb::cast<double>(o["min_coverage"]);
  judge.top = nb::cast<uint64_t>(o["top"]);
  return judge;
}

// Calls progress(phase, unit, total) as a phase begins, progress("", "", done) as it goes on and progress(text, "", 0) for a note, with the GIL. What it raises is said and lost.
inline AuditObserver ObserverOf(const nb::object& progress) {
  const auto call = [progress](const auto&... arguments) {
    if (progress.is_none()) return;
    nb::gil_scoped_acquire locked;
    try {
      progress(arguments...);
    } catch (nb::python_error& error) {
      error.discard_as_unraisable("countermark.audit: progress");
    }
  };
  AuditObserver observer;
  observer.begin = [call](std::string_view phase, std::string_view unit, uint64_t total) { call(std::string(phase), std::string(unit), total); };
  observer.add = [call](uint64_t done) { call(std::string(), std::string(), done); };
  observer.note = [call](std::string_view text) { call(std::string(text), std::string(), uint64_t{0}); };
  return observer;
}

inline nb::tuple TupleOf(const DatasetResult& result) {
  nb::list errors;
  for (const std::string& error : result.errors) errors.append(TextOf(error));
  return nb::make_tuple(TextOf(result.json), result.complete, result.coverage, result.decided, result.evidence, errors);
}

}  // namespace countermark::python

#endif  // COUNTERMARK_PYTHON_SRC_AUDIT_RUN_H_
