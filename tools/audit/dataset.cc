// watermark-audit dataset: is the mark in a data set, where, how much, whose.
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "tools/audit/commands.h"

namespace countermark::audit_tool {
namespace {

struct Options : CommonOptions {
  std::string part = "1/1";
  bool dry_run = false;
  uint64_t max_record_mib = 4;
};

// Parquet and Arrow files say so in their first bytes; Arrow streams, as Hugging Face saves them, by their name.
bool IsTable(const std::string& path) {
  for (const std::string_view end : {".parquet", ".arrow", ".feather"}) {
    if (path.ends_with(end)) return true;
  }
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return false;
  char first[6] = {};
  std::ifstream(path, std::ios::binary).read(first, sizeof first);
  return std::string_view(first, 4) == "PAR1" || std::string_view(first, 6) == "ARROW1";
}

// "3/8": the third of eight.
absl::Status ParsePart(std::string_view text, uint32_t* part, uint32_t* parts) {
  const size_t slash = text.find('/');
  const char* end = text.data() + text.size();
  if (slash != std::string_view::npos) {
    const auto first = std::from_chars(text.data(), text.data() + slash, *part);
    const auto second = std::from_chars(text.data() + slash + 1, end, *parts);
    if (first.ec == std::errc() && first.ptr == text.data() + slash && second.ec == std::errc() && second.ptr == end && *part >= 1 && *part <= *parts && *parts <= 65536) {
      --*part;
      return absl::OkStatus();
    }
  }
  return absl::InvalidArgumentError(Cat("--part '", text, "': must be I/N, the I-th of N, 1 ≤ I ≤ N ≤ 65536"));
}

// The files that the arguments name. A table's is no text: what would be scored is its bytes.
absl::StatusOr<std::vector<std::string>> ListTexts(const std::vector<std::string>& arguments) {
  CM_ASSIGN_OR_RETURN(std::vector<std::string> files, ListInputs(arguments));
  for (const std::string& file : files) {
    if (file != "-" && IsTable(file)) {
      return absl::InvalidArgumentError(Cat("'", file, "': a Parquet or Arrow file; read it with the Python package: python -m countermark.audit dataset …, with the same options"));
    }
  }
  return files;
}

absl::StatusOr<DatasetOptions> Settle(Options& o, const OpenSource& open, std::unique_ptr<RecordSource>* source) {
  detect_tool::Options& d = o.detect;
  if (d.files.empty()) {
    if (isatty(STDIN_FILENO) == 1) return absl::InvalidArgumentError("no input: name files or folders, or - for standard input");
    d.files.push_back("-");
  }
  if (o.run.empty() && !o.dry_run) return absl::InvalidArgumentError("no run directory: give --run DIR");
  if (!d.input.text_field.empty() && d.tokenizer.empty()) return absl::InvalidArgumentError("--text-field needs --tokenizer");
  if (!d.input.prompt_field.empty() && d.tokenizer.empty()) return absl::InvalidArgumentError("--prompt-field needs --tokenizer");
  d.input.default_ids = d.tokenizer.empty();
  d.input.format = d.format == "text"    ? InputFormat::kText
                   : d.format == "jsonl" ? InputFormat::kJsonl
                   : d.format == "csv"   ? InputFormat::kCsv
                                         : InputFormat::kAuto;
  d.input.max_record_bytes = o.max_record_mib << 20;
  DatasetOptions options;
  if (open == nullptr) {
    CM_ASSIGN_OR_RETURN(options.files, ListTexts(d.files));
  } else {
    CM_ASSIGN_OR_RETURN(*source, open(d.files, d.input));
    options.files = (*source)->paths();
    options.source = source->get();
  }
  options.directory = o.run;
  options.input = d.input;
  options.limit = d.limit;
  CM_RETURN_IF_ERROR(ParsePart(o.part, &options.part, &options.parts));
  options.threads = d.threads;
  options.memory = o.memory_mib << 20;
  return options;
}

int Plan(const cli::Program& program, const AuditKeys& keys, const Tokenizer* tokenizer, const DatasetOptions& options) {
  const absl::StatusOr<DatasetPlan> plan = PlanDataset(keys, tokenizer, options);
  if (!plan.ok()) return program.Fail(plan.status());
  const auto bytes = static_cast<double>(plan->bytes_on_disk);
  uint64_t candidates = 0;
  for (const CandidateFamily& family : keys.families) candidates += family.labels.size();
  std::printf("files        %llu, %.6g MB on disk%s\n", static_cast<unsigned long long>(plan->files), bytes / 1e6,
              plan->compressed ? ", compressed ones among them: the estimates below are too low by what they unpack to" : "");
  std::printf("sample       %llu bytes: %.3f tokens a byte, %.3g MB/s a thread\n", static_cast<unsigned long long>(plan->sample_bytes), plan->tokens_per_byte, plan->bytes_per_second / 1e6);
  std::printf("disk         about %.4g MB in the run directory\n", bytes * plan->spill_per_byte / 1e6);
  std::printf("time         about %.3g s of one thread for the input\n", bytes / plan->bytes_per_second);
  std::printf("candidates   %llu, on about %.4g pairs: %.4g scores\n", static_cast<unsigned long long>(candidates), bytes * plan->tokens_per_byte / 2,
              static_cast<double>(candidates) * bytes * plan->tokens_per_byte / 2);
  std::printf("nothing was written\n");
  return cli::kNoEvidence;
}

}  // namespace

Command AddDataset(cli::Program* program, const OpenSource& open) {
  auto options = std::make_shared<Options>();
  CLI::App* app = program->app().add_subcommand("dataset", "tests a data set of any size, in bounded memory, in a run directory that survives a kill");
  detect_tool::Options& d = options->detect;
  app->add_option("files", d.files, "texts, JSON lines, CSV, folders; - for standard input, which is also read if nothing is named");
  app->add_option("--run", options->run, "run directory: made, or gone on with");
  app->add_flag("--dry-run", options->dry_run, "say what would be done; write nothing");
  options->AddKeysTo(*app);
  const std::string input = "Input";
  app->add_option("--tokenizer", d.tokenizer, "tokenizer file (SentencePiece .model, GGUF or Hugging Face tokenizer.json), for text")->group(input);
  CLI::Option* text = app->add_option("--text-field", d.input.text_field, "member or column with the text (default: text)")->group(input);
  app->add_option("--token-ids-field", d.input.token_ids_field, "member or column with token ids (default, without a tokenizer: token_ids)")->group(input)->excludes(text);
  app->add_option("--id-field", d.input.id_field, "member or column with the record's id")->group(input);
  CLI::Option* prompt = app->add_option("--prompt-field", d.input.prompt_field, "member or column with the prompt, whose windows are not scored")->group(input);
  app->add_option("--prompt-ids-field", d.input.prompt_ids_field, "the same as token ids")->group(input)->excludes(prompt);
  app->add_option("--format", d.format, "auto, text, jsonl or csv")->group(input)->check(CLI::IsMember({"auto", "text", "jsonl", "csv"}));
  app->add_option("--limit", d.limit, "stop after so many records (0: never)")->group(input);
  app->add_option("--max-record-mib", options->max_record_mib, "a record longer than this is an error; a text at work takes up to 200 times its length of memory")->group(input)->check(CLI::Range(1, 512));
  app->add_option("--part", options->part, "I/N: only the pairs whose hash falls into the I-th of N parts; 'merge' adds the parts up")->group(input);
  options->AddRestTo(*app);
  return {app, [program, options, open]() -> int {
            std::unique_ptr<RecordSource> source;
            absl::StatusOr<DatasetOptions> settled = Settle(*options, open, &source);
            if (!settled.ok()) return program->Fail(settled.status(), Cat("see '", program->name(), " dataset --help'"));
            absl::StatusOr<Loaded> loaded = Load(*program, *options);
            if (!loaded.ok()) return program->Fail(loaded.status());
            if (options->dry_run) return Plan(*program, loaded->keys, loaded->tokenizer.get(), *settled);
            Watcher watcher(*program);
            const absl::StatusOr<DatasetResult> result = RunDataset(loaded->keys, loaded->tokenizer.get(), *settled, options->judge, watcher.observer());
            watcher.Finish();
            return Conclude(*program, *options, loaded->keys, result);
          }};
}

}  // namespace countermark::audit_tool
