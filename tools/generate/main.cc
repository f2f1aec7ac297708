// watermark-generate: answers prompts with a GGUF model, each answer marked for the account it is served to.
#include <chrono>
#include <map>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "countermark/keys/key_store.h"
#include "countermark/sampling/hook.h"
#include "nlohmann/json.hpp"
#include "src/base/status_macros.h"
#include "src/llama/sampler.h"
#include "tools/cli/cli.h"
#include "tools/cli/output.h"
#include "tools/cli/passphrase.h"
#include "tools/cli/progress.h"
#include "tools/generate/model.h"
#include "tools/generate/prompts.h"

namespace countermark::generate {
namespace {

struct Options {
  ModelOptions model;
  std::string keystore, bundle, epoch, account, prompts, out = "-";
  cli::PassphraseOptions passphrase;
  SamplingParameters sampling = {0.8f, 0, 0.95, 0.0};
  std::optional<uint64_t> seed;
  bool no_mark = false;
};

absl::StatusOr<EpochKeys> OpenKeys(const Options& o) {
  if (o.keystore.empty() == o.bundle.empty()) {
    return absl::InvalidArgumentError("give --bundle FILE, or --keystore FILE with --epoch NAME (or --no-mark)");
  }
  const std::string& path = o.keystore.empty() ? o.bundle : o.keystore;
  CM_ASSIGN_OR_RETURN(const SecretBytes passphrase, ReadPassphrase(o.passphrase.source, absl::StrCat("passphrase of ", path, ": ")));
  if (!o.bundle.empty()) {
    CM_ASSIGN_OR_RETURN(EpochKeys keys, OpenBundle(path, passphrase));
    if (!o.epoch.empty() && keys.record.epoch != o.epoch) {
      return absl::InvalidArgumentError(absl::StrCat(path, " holds epoch '", keys.record.epoch, "', not '", o.epoch, "'"));
    }
    return keys;
  }
  CM_ASSIGN_OR_RETURN(KeyStore store, KeyStore::Open(path, passphrase));
  if (o.epoch.empty()) return absl::InvalidArgumentError("--keystore needs --epoch NAME");
  return store.Epoch(o.epoch);
}

// llama.cpp's own samplers, for --no-mark: what a server runs that does not mark.
llama_sampler* PlainChain(const SamplingParameters& p, uint32_t seed) {
  llama_sampler_chain_params params = llama_sampler_chain_default_params();
  llama_sampler* chain = llama_sampler_chain_init(params);
  if (p.top_k > 0) llama_sampler_chain_add(chain, llama_sampler_init_top_k(p.top_k));
  llama_sampler_chain_add(chain, llama_sampler_init_temp(p.temperature));
  if (p.top_p < 1) llama_sampler_chain_add(chain, llama_sampler_init_top_p(static_cast<float>(p.top_p), 1));
  if (p.min_p > 0) llama_sampler_chain_add(chain, llama_sampler_init_min_p(static_cast<float>(p.min_p), 1));
  llama_sampler_chain_add(chain, llama_sampler_init_dist(seed));
  return chain;
}

nlohmann::ordered_json Counters(const llama_sampler* sampler, size_t tokens) {
  // Of the answer's tokens alone: an end token was sampled, too, and is not part of it.
  nlohmann::ordered_json counters;
  const Request* request = LlamaSamplerRequest(sampler);
  std::array<uint64_t, kCauses> by_cause = {};
  for (size_t i = 0; i < tokens; ++i) ++by_cause[static_cast<size_t>(request ? request->causes()[i] : Cause::kOff)];
  for (int c = 0; c < kCauses; ++c) counters[CauseName(static_cast<Cause>(c))] = by_cause[static_cast<size_t>(c)];
  return counters;
}

absl::Status Run(const Options& o, const cli::Program& program) {
  CM_ASSIGN_OR_RETURN(const std::vector<Prompt> prompts, ReadPrompts(o.prompts, o.account));
  std::shared_ptr<const Hook> hook;
  if (!o.no_mark) {
    CM_ASSIGN_OR_RETURN(EpochKeys keys, OpenKeys(o));
    CM_ASSIGN_OR_RETURN(Hook made, Hook::Create(std::move(keys)));
    hook = std::make_shared<const Hook>(std::move(made));
    // Every record's account and parameters, before anything is generated.
    for (const Prompt& p : prompts) {
      if (p.account.empty()) return absl::InvalidArgumentError(absl::StrCat("record ", p.id, ": no account; use --account or an 'account' member"));
      const absl::StatusOr<Request> request = hook->Begin({.account = p.account, .request = p.id, .parameters = o.sampling, .seed = {}, .prompt = {}});
      if (!request.ok()) return absl::Status(request.status().code(), absl::StrCat("record ", p.id, ": ", request.status().message()));
    }
  }
  CM_ASSIGN_OR_RETURN(cli::Output out, cli::Output::Create(o.out));
  CM_ASSIGN_OR_RETURN(Model model, Model::Load(o.model));
  if (hook && hook->record().vocabulary != model.vocabulary()) {
    return absl::InvalidArgumentError(absl::StrCat(o.model.path, " has ", model.vocabulary(), " tokens and the epoch was made for ",
                                                   hook->record().vocabulary, "; make an epoch with --tokenizer ", o.model.path));
  }
  std::vector<std::vector<llama_token>> tokens;
  for (const Prompt& p : prompts) {
    absl::StatusOr<std::vector<llama_token>> t = model.Tokenize(p.prompt);
    if (!t.ok()) return absl::Status(t.status().code(), absl::StrCat("record ", p.id, ": ", t.status().message()));
    tokens.push_back(*std::move(t));
  }

  cli::Progress progress(program, "answers", prompts.size());
  std::map<size_t, std::string> waiting;  // answers that ended before an earlier one
  size_t written = 0, generated = 0;
  const auto start = std::chrono::steady_clock::now();
  const auto chain = [&](size_t i) -> absl::StatusOr<llama_sampler*> {
    if (!hook) return PlainChain(o.sampling, o.seed ? static_cast<uint32_t>(*o.seed + i) : LLAMA_DEFAULT_SEED);
    RequestOptions request;
    request.account = prompts[i].account;
    request.request = prompts[i].id;
    request.parameters = o.sampling;
    if (o.seed) request.seed = *o.seed + i;
    CM_ASSIGN_OR_RETURN(llama_sampler * marked, MakeLlamaSampler(hook, request));
    llama_sampler* c = llama_sampler_chain_init(llama_sampler_chain_default_params());
    llama_sampler_chain_add(c, marked);
    return c;
  };
  const auto done = [&](size_t i, const Answer& answer, llama_sampler* c) -> absl::Status {
    nlohmann::ordered_json record = {{"id", prompts[i].id}};
    record["account"] = hook ? nlohmann::ordered_json(prompts[i].account) : nlohmann::ordered_json(nullptr);
    record["text"] = answer.text;
    record["token_ids"] = answer.tokens;
    record["counters"] = Counters(llama_sampler_chain_get(c, 0), answer.tokens.size());
    record["finish"] = answer.ended ? "end" : "length";
    waiting[i] = record.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    progress.Add(1);
    for (auto it = waiting.begin(); it != waiting.end() && it->first == written; it = waiting.erase(it), ++written) {
      CM_RETURN_IF_ERROR(out.Write(it->second));
    }
    return absl::OkStatus();
  };
  CM_RETURN_IF_ERROR(model.Run(tokens, chain, done, [&](size_t n) { generated += n; }));
  progress.Finish();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  CM_RETURN_IF_ERROR(out.Commit());
  program.Note(absl::StrFormat("%d answers, %d tokens in %.1f s (%.1f tokens/s, prompts included), %s", prompts.size(), generated, seconds,
                               static_cast<double>(generated) / seconds,
                               hook ? absl::StrCat("marked: ", std::string(SchemeName(hook->record().mark.scheme))) : "unmarked"));
  return absl::OkStatus();
}

}  // namespace
}  // namespace countermark::generate

int main(int argc, char** argv) {
  using namespace countermark;
  generate::Options o;
  cli::Program program("watermark-generate", "Answers prompts with a GGUF model; every answer carries the mark of the account it is served to.");
  CLI::App& app = program.app();
  app.add_option("--model", o.model.path, "GGUF model")->required();
  app.add_option("--prompts", o.prompts, "one prompt a line, or JSONL with prompt, account and id; - for standard input")->required();
  app.add_option("--keystore", o.keystore, "key store (with --epoch)");
  app.add_option("--bundle", o.bundle, "epoch bundle, what a serving host holds");
  app.add_option("--epoch", o.epoch, "name of the epoch");
  app.add_option("--account", o.account, "account of the records that name none");
  o.passphrase.AddTo(app);
  app.add_flag("--no-mark", o.no_mark, "llama.cpp's own samplers, no mark");
  app.add_option("--jsonl,--out", o.out, "where the answers go, a line each: id, account, text, token_ids, counters (default: standard output)");
  app.add_option("--parallel", o.model.parallel, "prompts at once")->check(CLI::Range(1, 256));
  app.add_option("--threads", o.model.threads, "threads (default: all cores)")->check(CLI::NonNegativeNumber);
  app.add_option("--max-tokens", o.model.max_tokens, "tokens an answer at most")->check(CLI::Range(1, 1 << 20));
  app.add_option("--max-prompt", o.model.max_prompt, "tokens a prompt at most")->check(CLI::Range(1, 1 << 20));
  app.add_flag("!--no-chat", o.model.chat, "give the prompt to the model as it is, without its chat template");
  app.add_option("--temperature", o.sampling.temperature, "temperature")->capture_default_str();
  app.add_option("--top-k", o.sampling.top_k, "keep the k likeliest tokens (0: off)")->capture_default_str();
  app.add_option("--top-p", o.sampling.top_p, "keep the likeliest tokens up to this probability (1: off)")->capture_default_str();
  app.add_option("--min-p", o.sampling.min_p, "keep tokens at least this likely beside the likeliest (0: off)")->capture_default_str();
  app.add_option("--seed", o.seed, "makes the answers repeatable");
  program.Examples(
      "watermark-generate --model m.gguf --keystore keys.cmks --epoch 2026-11 --account org-1 --prompts p.txt --jsonl answers.jsonl\n"
      "watermark-generate --model m.gguf --bundle epoch.bundle --passphrase-fd 3 --prompts p.jsonl --parallel 8 3<secret");
  if (std::optional<int> exit = program.Parse(argc, argv)) return *exit;
  const absl::Status status = generate::Run(o, program);
  return status.ok() ? cli::kNoEvidence : program.Fail(status);
}
