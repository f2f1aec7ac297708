#include <unordered_set>

#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "tools/audit/commands.h"
#include "tools/audit/summary.h"
#include "tools/cli/output.h"
#include "tools/detect/setup.h"

namespace countermark::audit_tool {

void CommonOptions::AddKeysTo(CLI::App& app) {
  detect_tool::Options& o = detect;
  const std::string keys = "Keys (one of the three)";
  CLI::Option* epoch_key = app.add_option("--epoch-key", o.epoch_key, "exported epoch key (64 hex digits), with its record FILE.json beside it")->group(keys);
  CLI::Option* keystore = app.add_option("--keystore", o.keystore, "key store; the epoch is named by --epoch")->group(keys)->excludes(epoch_key);
  app.add_option("--bundle", o.bundle, "encrypted epoch bundle")->group(keys)->excludes(epoch_key)->excludes(keystore);
  app.add_option("--epoch", o.epoch, "epoch in the key store; elsewhere it must be the record's")->group(keys);
  o.passphrase.AddTo(app);
  const std::string mark = "Parameters of a bare key (one without a record)";
  app.add_option("--scheme", o.scheme, "partition, tournament or gumbel (default: gumbel)")->group(mark);
  app.add_option("--window", o.window, "window, 1 to 4 tokens (default: 2)")->group(mark);
  app.add_option("--weights", o.weights, "shares of the channels base, account, request (default: 0.5,0.5)")->group(mark);
  app.add_option("--green", o.green, "partition: green tokens in 256 (default: 64)")->group(mark);
  app.add_option("--layers", o.layers, "tournament: layers (default: 30)")->group(mark);
  app.add_option("--vocabulary", o.vocabulary, "number of token ids; one beyond it is an error (default: the tokenizer's)")->group(mark);

  const std::string candidates = "Candidates";
  CLI::Option* file = app.add_option("--accounts", o.accounts_file, "file of candidate accounts, one a line; up to a million and more")->group(candidates);
  app.add_flag("--registered-accounts", o.registered_accounts, "every account registered in the key store or bundle")->group(candidates)->excludes(file);
  CLI::Option* requests = app.add_option("--requests", requests_file, "file of candidate requests of one account, one a line")->group(candidates);
  app.add_option("--requests-of", requests_of, "the account whose requests they are")->group(candidates)->needs(requests);
}

void CommonOptions::AddRestTo(CLI::App& app) {
  const std::string output = "Verdict and output";
  app.add_option("--alpha", judge.alpha, "chance of one or more false claims in the verdict: pool, sparse test and every candidate together")
      ->group(output)
      ->check(cli::Between(1e-300, 0.5));
  app.add_option("--fdr", judge.fdr, "of the documents listed, the expected share that is unmarked, at most")->group(output)->check(cli::Between(1e-12, 0.5));
  app.add_option("--confidence", judge.confidence, "of the two lower bounds of how much is marked, together")->group(output)->check(cli::Between(0.5, 0.999999999));
  app.add_option("--min-coverage", judge.min_coverage, "share of records that must be readable for a verdict")->group(output)->check(cli::Between(0.0, 1.0));
  app.add_option("--top", judge.top, "candidates shown; those that are named are shown in any case")->group(output);
  CLI::Option* html = app.add_option("--html", pages.html, "write one self-contained page for people to this new file (docs/report-page.md)")->group(output);
  app.add_option("--csv", pages.csv, "write a row a test to this new file, the documents' among them")->group(output);
  app.add_option("--decoys", pages.decoys, "for the page: decoy keys of the control (0: none)")->group(output)->check(CLI::Range(0, 1'000'000))->needs(html);
  app.add_option("--decoy-seed", pages.decoy_seed, "for the page: the seed that an earlier page states, to run its control again (64 hex digits; default: drawn afresh)")->group(output)->needs(html);
  app.add_flag("--json", json, "the result as one JSON object on standard output")->group(output);
  app.add_option("--threads", detect.threads, "threads (0: one a core)")->group(output)->check(CLI::Range(0, 1024));
  app.add_option("--memory", memory_mib, "memory to work in, MiB")->group(output)->check(CLI::Range(256, 1 << 24));
}

absl::StatusOr<Loaded> Load(const cli::Program& program, const CommonOptions& options) {
  const detect_tool::Options& o = options.detect;
  if (o.epoch_key.empty() && o.keystore.empty() && o.bundle.empty()) return absl::InvalidArgumentError("no key: give one of --epoch-key, --keystore, --bundle");
  if (!o.keystore.empty() && o.epoch.empty()) return absl::InvalidArgumentError("--keystore needs --epoch");
  CM_RETURN_IF_ERROR(CheckPages(options.pages));
  if (!options.requests_file.empty() && options.requests_of.empty()) return absl::InvalidArgumentError("--requests needs --requests-of, the account whose requests they are");
  CM_ASSIGN_OR_RETURN(detect_tool::LoadedKeys loaded, detect_tool::LoadKeys(o));
  if (!loaded.has_record && !o.scheme && !o.window && !o.weights && !o.green && !o.layers) {
    program.Warn(Cat(o.epoch_key, ": no record beside it; gumbel, window 2, weights 0.5,0.5 assumed"));
  }
  CM_ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer, detect_tool::LoadTokenizer(o, loaded.has_record, &loaded.keys));
  std::vector<std::string> accounts, requests;
  if (o.registered_accounts) {
    accounts = loaded.keys.accounts;
    if (accounts.empty()) return absl::InvalidArgumentError("--registered-accounts: no accounts are registered there");
  } else if (!o.accounts_file.empty()) {
    CM_ASSIGN_OR_RETURN(accounts, detect_tool::ReadLabels(o.accounts_file));
  }
  if (!options.requests_file.empty()) {
    CM_ASSIGN_OR_RETURN(requests, detect_tool::ReadLabels(options.requests_file));
  }
  const std::unordered_set<std::string_view> registered(loaded.keys.accounts.begin(), loaded.keys.accounts.end());
  uint64_t strangers = 0;
  for (const std::string& account : accounts) strangers += !registered.empty() && !registered.contains(account);
  if (strangers > 0) program.Warn(Cat(strangers, " of the accounts are not registered there; they are tested all the same"));
  CM_ASSIGN_OR_RETURN(AuditKeys keys, AuditKeys::Create(loaded.keys, std::move(accounts), options.requests_of, std::move(requests), o.threads));
  return Loaded{std::move(keys), std::move(tokenizer)};
}

AuditObserver Watcher::observer() {
  AuditObserver observer;
  observer.begin = [this](std::string_view phase, std::string_view unit, uint64_t total) {
    bar_.reset();
    bar_.emplace(program_, std::string(unit) + " (" + std::string(phase) + ")", total);
  };
  observer.add = [this](uint64_t done) {
    if (bar_) bar_->Add(done);
  };
  observer.note = [this](std::string_view text) {
    if (bar_) bar_->Clear();
    program_.Note(text);
  };
  return observer;
}

int Conclude(const cli::Program& program, const CommonOptions& options, const AuditKeys& keys, const absl::StatusOr<DatasetResult>& result) {
  if (!result.ok()) {
    const absl::Status& status = result.status();
    program.Fail(status);
    if (!absl::IsResourceExhausted(status) && !absl::IsUnavailable(status)) return cli::kError;
    program.Hint(Cat("what is done is kept in ", options.run, "; start the same command again to go on"));
    return cli::kIncomplete;
  }
  for (const std::string& error : result->errors) program.Error(error);
  if (result->error_count > result->errors.size()) program.Note(Cat(result->error_count - result->errors.size(), " further errors are counted and not said"));
  if (absl::Status pages = WritePages(options.pages, keys, options.run, *result, options.detect.threads); !pages.ok()) return program.Fail(pages);
  cli::Output out = cli::Output::Standard();
  absl::Status written = out.Write(options.json ? result->json : Summary(result->json, options.run, program.ColorOut()));
  if (written.ok()) written = out.Commit();
  if (!written.ok()) return program.Fail(written);
  if (!result->complete || result->coverage < options.judge.min_coverage || !result->decided) return cli::kIncomplete;
  return result->evidence ? cli::kEvidence : cli::kNoEvidence;
}

}  // namespace countermark::audit_tool
