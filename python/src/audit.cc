// audit_dataset and audit_program: the audit of a data set over tables that Python reads.
#include "countermark/audit/dataset.h"

#include <nanobind/stl/function.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "python/src/audit_run.h"
#include "python/src/bindings.h"
#include "python/src/errors.h"
#include "python/src/table_source.h"
#include "src/base/strings.h"
#include "tools/audit/program.h"

namespace countermark::python {
namespace {

using namespace nb::literals;

// The inputs that a command line names: open(inputs, options) gives (paths, batches).
audit_tool::OpenSource OpenerOf(const nb::object& open) {
  return [open](const std::vector<std::string>& inputs, const InputOptions& o) -> absl::StatusOr<std::unique_ptr<RecordSource>> {
    nb::gil_scoped_acquire locked;
    try {
      const nb::tuple opened = nb::cast<nb::tuple>(
          open(inputs, "content"_a = o.content_field(), "ids"_a = o.wants_ids(), "id_field"_a = o.id_field, "prompt_field"_a = o.prompt_field, "prompt_ids_field"_a = o.prompt_ids_field));
      auto source = std::make_unique<TableSource>(nb::cast<std::vector<std::string>>(opened[0]), nb::object(opened[1]), o);
      return source;
    } catch (nb::python_error& error) {
      const nb::object library = nb::module_::import_("countermark.errors").attr("Error");
      if (!error.matches(library)) throw;
      return absl::InvalidArgumentError(nb::cast<std::string>(nb::str(error.value())));
    }
  };
}

}  // namespace

void BindAudit(nb::module_& m) {
  m.def(
      "audit_dataset",
      [](const EpochKeys& epoch, const std::shared_ptr<Tokenizer>& tokenizer, std::vector<std::string> accounts, std::string requests_of, std::vector<std::string> requests,
         std::vector<std::string> paths, nb::object batches, const std::string& directory, const nb::dict& o, const nb::object& progress) {
        CheckTokenizer(epoch.record, tokenizer.get());
        DatasetOptions options = DatasetOptionsOf(o, tokenizer == nullptr);
        options.files = std::move(paths);
        options.directory = directory;
        const JudgeOptions judge = JudgeOptionsOf(o);
        TableSource source(options.files, std::move(batches), options.input);
        options.source = &source;
        const AuditObserver observer = ObserverOf(progress);
        absl::StatusOr<DatasetResult> result = [&]() -> absl::StatusOr<DatasetResult> {
          nb::gil_scoped_release unlocked;
          absl::StatusOr<AuditKeys> keys = AuditKeys::Create(epoch, std::move(accounts), std::move(requests_of), std::move(requests), options.threads);
          if (!keys.ok()) return keys.status();
          return RunDataset(*keys, tokenizer.get(), options, judge, observer);
        }();
        source.Rethrow();
        return TupleOf(ValueOrRaise(std::move(result)));
      },
      "keys"_a, "tokenizer"_a.none(), "accounts"_a, "requests_of"_a, "requests"_a, "paths"_a, "batches"_a, "directory"_a, "options"_a, "progress"_a.none(),
      nb::sig("def audit_dataset(keys: EpochKeys, tokenizer: Tokenizer | None, accounts: collections.abc.Sequence[str], requests_of: str, requests: collections.abc.Sequence[str], "
              "paths: collections.abc.Sequence[str], batches: collections.abc.Iterator[tuple[typing.Any, ...]], directory: str, options: dict[str, typing.Any], "
              "progress: collections.abc.Callable[[str, str, int], None] | None) -> tuple[str, bool, float, bool, bool, list[str]]"),
      "Use countermark.audit.");
  m.def(
      "list_inputs", [](const std::vector<std::string>& inputs) { return ValueOrRaise(ListInputs(inputs)); }, "inputs"_a,
      nb::sig("def list_inputs(inputs: collections.abc.Sequence[str]) -> list[str]"), "The files behind paths: a folder gives every file below it, by name.");
  m.def(
      "audit_program",
      [](std::vector<std::string> arguments, const nb::object& open) {
        std::vector<char*> argv;
        for (std::string& argument : arguments) argv.push_back(argument.data());
        argv.push_back(nullptr);
        const audit_tool::OpenSource opener = OpenerOf(open);
        nb::gil_scoped_release unlocked;
        return audit_tool::RunAudit(arguments.empty() ? "countermark.audit" : arguments[0], static_cast<int>(arguments.size()), argv.data(), opener);
      },
      "arguments"_a, "open"_a, nb::sig("def audit_program(arguments: collections.abc.Sequence[str], open: collections.abc.Callable[..., typing.Any]) -> int"),
      "watermark-audit, over what `open` opens. Gives the exit status.");
}

}  // namespace countermark::python
