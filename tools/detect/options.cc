#include "tools/detect/options.h"

#include <unistd.h>

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "countermark/detect/foreign/format.h"
#include "src/base/hex.h"
#include "src/base/strings.h"

namespace countermark::detect_tool {
namespace {

const std::vector<std::string> kInputFormats = {"auto", "text", "jsonl", "csv"};

std::vector<std::string> AllFormats() {
  std::vector<std::string> names = kInputFormats;
  for (const ForeignFormatInfo& format : ForeignFormats()) names.emplace_back(format.name);
  return names;
}

}  // namespace

bool IsForeign(const Options& options) { return std::find(kInputFormats.begin(), kInputFormats.end(), options.format) == kInputFormats.end(); }

void AddOptions(cli::Program& program, Options* o) {
  CLI::App& app = program.app();
  app.add_option("files", o->files, "texts, JSON lines, CSV, folders; - for standard input, which is also read if nothing is named");

  const std::string keys = "Keys (one of the three)";
  CLI::Option* epoch_key = app.add_option("--epoch-key", o->epoch_key, "exported epoch key (64 hex digits), with its record FILE.json beside it")->group(keys);
  CLI::Option* keystore = app.add_option("--keystore", o->keystore, "key store; the epoch is named by --epoch")->group(keys)->excludes(epoch_key);
  app.add_option("--bundle", o->bundle, "encrypted epoch bundle")->group(keys)->excludes(epoch_key)->excludes(keystore);
  app.add_option("--epoch", o->epoch, "epoch in the key store; elsewhere it must be the record's")->group(keys);
  o->passphrase.AddTo(app);

  const std::string accounts = "Accounts";
  CLI::Option* account = app.add_option("--account", o->accounts,
                                        "candidate accounts; repeat it, or give several names, up to the next option (where no FILES stand "
                                        "elsewhere, the first is the name and FILES follow)")
                             ->group(accounts);
  CLI::Option* file = app.add_option("--accounts", o->accounts_file, "file of candidate accounts, one a line")->group(accounts)->excludes(account);
  app.add_flag("--registered-accounts", o->registered_accounts, "every account registered in the key store or bundle")
      ->group(accounts)
      ->excludes(account)
      ->excludes(file);

  const std::string input = "Input";
  app.add_option("--tokenizer", o->tokenizers, "tokenizer file (SentencePiece .model, GGUF or Hugging Face tokenizer.json), for text; may be repeated where the suspect's is not known, and every one is counted")
      ->group(input)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--views", o->views, "how a text is taken: raw, as it stands; cleaned, with disguises undone (look-alike, full-width, zero-width characters); raw,cleaned both, and both are counted")
      ->group(input);
  CLI::Option* text = app.add_option("--text-field", o->input.text_field, "member or column with the text (default: text)")->group(input);
  app.add_option("--token-ids-field", o->input.token_ids_field, "member or column with token ids (default, without a tokenizer: token_ids)")
      ->group(input)
      ->excludes(text);
  app.add_option("--id-field", o->input.id_field, "member or column with the record's id")->group(input);
  CLI::Option* prompt = app.add_option("--prompt-field", o->input.prompt_field, "member or column with the prompt, whose windows are not scored")->group(input);
  app.add_option("--prompt-ids-field", o->input.prompt_ids_field, "the same as token ids")->group(input)->excludes(prompt);
  app.add_option("--format", o->format, "of the input: auto, text, jsonl or csv; or of another project's mark, which is then looked for in place of ours (docs/foreign-formats.md)")
      ->group(input)
      ->check(CLI::IsMember(AllFormats()));
  app.add_option("--format-config", o->foreign_config, "that project's configuration, JSON, with vocab_size")->group(input);
  app.add_option("--records", o->records, "number of records that verdicts are given for, where it cannot be counted (a pipe) or more are tested elsewhere")
      ->group(input)
      ->check(CLI::PositiveNumber);
  app.add_option("--limit", o->limit, "stop after so many records (0: never)")->group(input);

  const std::string mark = "Parameters of a bare key (one without a record)";
  app.add_option("--scheme", o->scheme, "partition, tournament or gumbel (default: gumbel)")->group(mark);
  app.add_option("--window", o->window, "window, 1 to 4 tokens (default: 2)")->group(mark);
  app.add_option("--weights", o->weights, "shares of the channels base, account, request (default: 0.5,0.5)")->group(mark);
  app.add_option("--green", o->green, "partition: green tokens in 256 (default: 64)")->group(mark);
  app.add_option("--delta", o->delta, "partition: bias of green tokens; the tests do not depend on it (default: 2)")->group(mark);
  app.add_option("--layers", o->layers, "tournament: layers (default: 30)")->group(mark);
  app.add_option("--vocabulary", o->vocabulary, "number of token ids; one beyond it is an error (default: the tokenizer's)")->group(mark);

  const std::string output = "Verdict and output";
  app.add_option("--alpha", o->alpha, "chance of one or more false claims in the whole run, over all records and their pool")->group(output)->check(cli::Between(1e-300, 0.5));
  app.add_option("--min-coverage", o->min_coverage, "share of records that must be readable for a verdict")->group(output)->check(cli::Between(0.0, 1.0));
  app.add_flag("--regions", o->regions, "look for marked passages in each record, and say where they stand (docs/regions.md)")->group(output);
  app.add_option("--weights-model", o->weights_model, "GGUF model, never exposed to marked text: test again with each pair weighted by its entropy (docs/weights.md)")->group(output);
  CLI::Option* json = app.add_flag("--json", o->json, "one JSON object on standard output")->group(output);
  app.add_flag("--jsonl", o->jsonl, "one JSON object a record, in order (its log10_p is the base channel's; accounts are tested apart); a summary on standard error")->group(output)->excludes(json);
  app.add_option("--report", o->report, "write a signed report (DSSE) to this new file")->group(output);
  app.add_option("--html", o->html, "write one self-contained page for people to this new file (docs/report-page.md)")->group(output);
  app.add_option("--csv", o->csv, "write a row a test to this new file")->group(output);
  app.add_option("--decoys", o->decoys, "for the page: decoy keys of the control (0: none)")->group(output)->check(CLI::Range(0, 1'000'000));
  app.add_option("--decoy-seed", o->decoy_seed, "for the page: the seed that an earlier page states, to run its control again (64 hex digits; default: drawn afresh)")->group(output);
  app.add_option("--signing-keystore", o->signing_keystore, "key store with the signing key, where the epoch's key comes from elsewhere")->group(output);
  app.add_option("--commitments-published", o->commitments_published, "for the report: key commitments this provider has published in all (0: not known)")->group(output);
  app.add_option("--threads", o->threads, "threads (0: one a core)")->group(output)->check(CLI::Range(0, 1024));

  program.Examples(
      "watermark-detect suspect.jsonl --keystore keys.cmks --epoch 2026-11 --passphrase-file pass --tokenizer model.gguf --text-field text\n"
      "watermark-detect answers.jsonl.zst --epoch-key epoch.key --token-ids-field token_ids --accounts accounts.txt --jsonl\n"
      "zcat crawl.jsonl.gz | watermark-detect - --bundle epoch.bundle --tokenizer model.gguf --text-field text --records 120000 --json\n"
      "watermark-detect book.txt --epoch-key epoch.key --tokenizer model.gguf --regions\n"
      "watermark-detect answers.jsonl --epoch-key epoch.key --tokenizer model.gguf --text-field text --weights-model base.gguf\n"
      "watermark-detect essay.txt --epoch-key bare.key --scheme gumbel --window 2 --weights 0.5,0.5 --tokenizer spiece.model");
}

namespace {

// `--account a.jsonl`-like lines: with no input elsewhere, what follows the first name of the last group of --account is input.
void TakeFilesFromAccounts(int argc, char** argv, Options* options) {
  if (!options->files.empty() || options->accounts.size() < 2) return;
  size_t group = 0;
  bool in_group = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--account") {
      in_group = true;
      group = 0;
    } else if (argument.size() > 1 && argument[0] == '-') {
      in_group = false;
    } else if (in_group) {
      ++group;
    }
  }
  if (group < 2 || group > options->accounts.size()) return;
  const auto first = options->accounts.end() - static_cast<std::ptrdiff_t>(group - 1);
  options->files.assign(first, options->accounts.end());
  options->accounts.erase(first, options->accounts.end());
}

}  // namespace

absl::Status Settle(int argc, char** argv, Options* o) {
  o->input.default_ids = o->tokenizers.empty();
  TakeFilesFromAccounts(argc, argv, o);
  if (o->files.empty()) {
    if (isatty(STDIN_FILENO) == 1) return absl::InvalidArgumentError("no input: name files or folders, or - for standard input");
    o->files.push_back("-");
  }
  const int sources = !o->epoch_key.empty() + !o->keystore.empty() + !o->bundle.empty();
  if (IsForeign(*o)) {
    if (o->foreign_config.empty()) return absl::InvalidArgumentError(Cat("--format ", o->format, " needs --format-config"));
    if (sources != 0 || !o->accounts.empty() || !o->accounts_file.empty() || o->registered_accounts || o->scheme || o->window || o->weights || o->green || o->layers || o->delta || o->vocabulary) {
      return absl::InvalidArgumentError(Cat("--format ", o->format, " takes its key and all else from --format-config: keys, accounts and parameters of our mark have no part in it"));
    }
    if (!o->report.empty()) return absl::InvalidArgumentError("--report signs findings of our own mark; another project's key is committed to nowhere");
    if (!o->html.empty() || !o->csv.empty()) return absl::InvalidArgumentError("--html and --csv show findings of our own mark");
    if (o->regions) return absl::InvalidArgumentError("--regions looks for passages with our own mark");
  } else if (!o->foreign_config.empty()) {
    return absl::InvalidArgumentError("--format-config belongs to another project's mark: name it by --format");
  }
  if (sources == 0 && !IsForeign(*o)) return absl::InvalidArgumentError("no key: give one of --epoch-key, --keystore, --bundle");
  if (!o->keystore.empty() && o->epoch.empty()) return absl::InvalidArgumentError("--keystore needs --epoch");
  if (!o->report.empty() && o->keystore.empty() && o->signing_keystore.empty()) {
    return absl::InvalidArgumentError("--report needs a signing key: give --keystore, or --signing-keystore");
  }
  for (const auto& [flag, path] : {std::pair{"--report", &o->report}, {"--html", &o->html}, {"--csv", &o->csv}}) {
    if (*path == "-") return absl::InvalidArgumentError(Cat(flag, " needs a file of its own"));
  }
  if (!o->decoy_seed.empty() && o->html.empty()) return absl::InvalidArgumentError("--decoy-seed needs --html: the control is shown on the page");
  if (!o->decoy_seed.empty() && !IsLowerHex(o->decoy_seed, 32)) return absl::InvalidArgumentError("--decoy-seed must be 64 lower-case hex digits, as a page states them");
  std::set<std::string> seen;
  for (const std::string& view : ViewNames(*o)) {
    if (view != "raw" && view != "cleaned") return absl::InvalidArgumentError(Cat("--views: '", view, "' is no view; raw, cleaned or raw,cleaned is expected"));
    if (!seen.insert(view).second) return absl::InvalidArgumentError("--views names a view twice");
  }
  if (o->input.wants_ids() && !o->weights_model.empty()) return absl::InvalidArgumentError("--weights-model is for texts: a model's entropies follow from the text; give --tokenizer and --text-field");
  if (o->input.wants_ids() && o->views != "raw") return absl::InvalidArgumentError("--views is for texts: token ids are taken as they are");
  if (o->input.wants_ids() && o->tokenizers.size() > 1) return absl::InvalidArgumentError("several tokenizers are for texts: token ids are taken as they are");
  if (IsForeign(*o) && (o->views != "raw" || o->tokenizers.size() > 1)) {
    return absl::InvalidArgumentError("another project's mark is looked for in one reading: the raw text, by one tokenizer");
  }
  if (!o->weights_model.empty() && IsForeign(*o)) return absl::InvalidArgumentError("--weights-model is for our own mark");
  if (!o->input.text_field.empty() && o->tokenizers.empty()) return absl::InvalidArgumentError("--text-field needs --tokenizer");
  if (!o->input.prompt_field.empty() && o->tokenizers.empty()) return absl::InvalidArgumentError("--prompt-field needs --tokenizer");
  o->input.hash = !o->report.empty() || !o->html.empty() || !o->csv.empty();
  o->input.format = o->format == "text"    ? InputFormat::kText
                    : o->format == "jsonl" ? InputFormat::kJsonl
                    : o->format == "csv"   ? InputFormat::kCsv
                                           : InputFormat::kAuto;
  return absl::OkStatus();
}

}  // namespace countermark::detect_tool
