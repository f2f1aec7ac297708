// watermark-keys epoch: a new epoch, that is the record of how its texts are marked.
#include <memory>
#include <optional>

#include "countermark/keys/digest.h"
#include "countermark/tokenize/tokenizer.h"
#include "src/base/hex.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/base/utc.h"
#include "tools/keys/commands.h"

namespace countermark::cli {
namespace {

struct Options {
  StoreOptions store;
  std::string name, scheme = "gumbel", weights = "0.5,0.5", channels, tokenizer, tokenizer_sha256, low_entropy = "floor", first_use, last_use;
  std::optional<uint32_t> vocabulary;
  EpochRecord record;
};

// A day stands for its first second, or for its last where the epoch ends with it.
std::string CompleteTime(std::string text, std::string_view of_day) {
  constexpr size_t kDaySize = 10;
  return text.size() == kDaySize ? Cat(text, of_day) : text;
}

absl::Status Run(const Options& options, Program* program) {
  EpochRecord record = options.record;
  record.epoch = options.name;
  CM_ASSIGN_OR_RETURN(record.mark.scheme, ParseScheme(options.scheme));
  CM_ASSIGN_OR_RETURN(record.low_entropy, ParseLowEntropyPolicy(options.low_entropy));
  CM_ASSIGN_OR_RETURN(record.channels, ParseChannels(options.weights, options.channels));
  constexpr time_t kYear = time_t{365} * 24 * 3600;
  const time_t now = time(nullptr);
  record.first_use = options.first_use.empty() ? FormatUtc(now) : CompleteTime(options.first_use, "T00:00:00Z");
  record.last_use = options.last_use.empty() ? FormatUtc(now + kYear) : CompleteTime(options.last_use, "T23:59:59Z");
  if (options.tokenizer.empty() == options.tokenizer_sha256.empty()) {
    return absl::InvalidArgumentError("give either --tokenizer or --tokenizer-sha256");
  }
  record.tokenizer_sha256 = options.tokenizer_sha256;
  if (!options.tokenizer.empty()) {
    CM_ASSIGN_OR_RETURN(const Digest32 digest, Sha256File(options.tokenizer));
    record.tokenizer_sha256 = HexEncode(digest);
    if (!options.vocabulary) {
      CM_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, OpenTokenizer(options.tokenizer));
      record.vocabulary = tokenizer->vocabulary();
    }
  }
  if (options.vocabulary) {
    record.vocabulary = *options.vocabulary;
  } else if (options.tokenizer.empty()) {
    return absl::InvalidArgumentError("--vocabulary is required where there is no --tokenizer to ask");
  }
  // Said before the passphrase is asked for: the tenant alone comes from the store.
  record.tenant = "tenant";
  CM_RETURN_IF_ERROR(record.Validate());
  CM_ASSIGN_OR_RETURN(KeyStore store, options.store.Open());
  CM_RETURN_IF_ERROR(store.AddEpoch(std::move(record)));
  CM_RETURN_IF_ERROR(store.Save());
  program->Note(Cat("added epoch '", options.name, "'; publish what 'watermark-keys list --commitments' prints before its first use"));
  return absl::OkStatus();
}

}  // namespace

Command AddEpoch(Program* program) {
  auto options = std::make_shared<Options>();
  CLI::App* app = program->app().add_subcommand("epoch", "Adds an epoch: a key of its own and the record of how its texts are marked.");
  options->store.AddTo(*app);
  app->option_defaults()->always_capture_default();
  app->add_option("--name", options->name, "the epoch's name")->required()->type_name("NAME");
  app->add_option("--scheme", options->scheme, "gumbel, partition or tournament");
  app->add_option("--window", options->record.mark.window, "tokens before the chosen one that seed its mark, 1 to 4");
  app->add_option("--weights", options->weights, "each channel's share of the windows, decimals that sum to 1");
  app->add_option("--channels", options->channels, "the channels' names; by default the first so many of base,account,request");
  app->add_option("--green", options->record.mark.green, "partition: green tokens in 256, 1 to 255");
  app->add_option("--delta", options->record.mark.delta, "partition: what a green token's logit gains, up to 16, three decimals");
  app->add_option("--layers", options->record.mark.layers, "tournament: layers, 1 to 32");
  CLI::Option* tokenizer = app->add_option("--tokenizer", options->tokenizer, "tokenizer file (SentencePiece model or GGUF); its SHA-256 is kept");
  app->add_option("--tokenizer-sha256", options->tokenizer_sha256, "that SHA-256 itself, where the file is not at hand")->excludes(tokenizer);
  app->add_option("--vocabulary", options->vocabulary, "tokens of the vocabulary (default: what the tokenizer file says)")->type_name("N");
  app->add_option("--low-entropy", options->low_entropy, "requests that ask for nearly no randomness: floor, deny or allow");
  app->add_option("--first-use", options->first_use, "UTC, 2026-11-01 or 2026-11-01T00:00:00Z; by default now");
  app->add_option("--last-use", options->last_use, "UTC; by default a year from now");
  SetExamples(app,
              "watermark-keys epoch --store keys.cmks --name 2026-11 --tokenizer tokenizer.model\n"
              "watermark-keys epoch --store keys.cmks --name 2026-12 --scheme partition --green 64 --delta 2 \\\n"
              "    --weights 0.4,0.4,0.2 --tokenizer model.gguf --first-use 2026-12-01 --last-use 2026-12-31");
  return {app, [options, program] { return Run(*options, program); }};
}

}  // namespace countermark::cli
