// watermark-keys account add: registers account labels, so that an unknown one can be told from a known one.
#include <memory>
#include <vector>

#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "tools/keys/commands.h"

namespace countermark::cli {
namespace {

struct Options {
  StoreOptions store;
  std::vector<std::string> labels;
  std::string from;
};

// One label a line; empty lines do not count. A label that is not valid is an error with its line.
absl::StatusOr<std::vector<std::string>> ReadLabels(const std::string& path) {
  constexpr size_t kMaxBytes = size_t{256} << 20;
  CM_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(path == "-" ? "/dev/stdin" : path, kMaxBytes));
  std::vector<std::string> labels;
  size_t line = 0;
  for (std::string_view rest = text; !rest.empty();) {
    ++line;
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view label = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (label.ends_with('\r')) label.remove_suffix(1);
    if (label.empty()) continue;
    CM_RETURN_IF_ERROR(ValidateLabel(Cat(path, ":", line, ": the account label"), label));
    labels.emplace_back(label);
  }
  if (labels.empty()) return absl::InvalidArgumentError(Cat("'", path, "' holds no account label"));
  return labels;
}

absl::Status Run(const Options& options, Program* program) {
  if (options.labels.empty() == options.from.empty()) return absl::InvalidArgumentError("give either labels or --from FILE");
  std::vector<std::string> labels = options.labels;
  if (!options.from.empty()) {
    CM_ASSIGN_OR_RETURN(labels, ReadLabels(options.from));
  }
  CM_ASSIGN_OR_RETURN(KeyStore store, options.store.Open());
  CM_RETURN_IF_ERROR(store.AddAccounts(labels));
  CM_RETURN_IF_ERROR(store.Save());
  program->Note(Cat("added ", labels.size(), labels.size() == 1 ? " account, " : " accounts, ", store.accounts().size(),
                    " in all; commitments that were published as one root change with it, and bundles made before do not know ",
                    labels.size() == 1 ? "it" : "them"));
  return absl::OkStatus();
}

}  // namespace

Command AddAccount(Program* program) {
  auto options = std::make_shared<Options>();
  CLI::App* group = program->app().add_subcommand("account", "Registers the API accounts that marks can name.");
  group->require_subcommand(1);
  CLI::App* app = group->add_subcommand("add", "Adds account labels, all of them or, on an error, none.");
  app->add_option("labels", options->labels, "account labels")->type_name("LABEL");
  app->add_option("--from", options->from, "file with a label a line, - for standard input")->type_name("FILE");
  options->store.AddTo(*app);
  SetExamples(app,
              "watermark-keys account add org-1 org-2 --store keys.cmks\n"
              "watermark-keys account add --from accounts.txt --store keys.cmks");
  return {app, [options, program] { return Run(*options, program); }};
}

}  // namespace countermark::cli
