// watermark-audit model: did a suspect model, its weights at hand, learn from our marked answers, and through which accounts?
#include "countermark/audit/model.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "tools/audit/commands.h"
#include "tools/cli/output.h"
#include "tools/detect/setup.h"

namespace countermark::audit_tool {
namespace {

using nlohmann::json;

struct Options : CommonOptions {
  ModelOptions model;
  bool open_text = false;
  std::vector<std::string> ring_files;
};

std::string Number(const json& value, const char* format = "%.2f") {
  char text[64];
  std::snprintf(text, sizeof text, format, value.get<double>());
  return text;
}

std::string Count(const json& value) { return std::to_string(value.get<uint64_t>()); }

std::string KeyLine(const json& key) {
  return "log10 p " + Number(key["log10_p"]) + " of two: filter " + Number(key["filter"]["log10_p"]) + " (z " + Number(key["filter"]["z"]) + "), top-1 " +
         Number(key["top1"]["log10_p"]) + "; " + Count(key["windows"]) + " windows";
}

std::string DecoyLine(const json& decoys) {
  if (decoys["keys"] == 0) return "none";
  return Count(decoys["at_least_as_high"]) + " of " + Count(decoys["keys"]) + " other keys reach as high; their z: mean " + Number(decoys["mean_z"]) + ", sd " + Number(decoys["sd_z"]) +
         ", largest " + Number(decoys["largest_z"]);
}

std::string RingLine(const json& ring) {
  std::string members;
  size_t shown = 0;
  for (const json& member : ring["members"]) {
    if (shown++ == 12) {
      members += Cat(", … (", ring["members"].size(), ")");
      break;
    }
    members += (members.empty() ? "" : ", ") + cli::Printable(member.get<std::string>());
  }
  return "log10 p " + Number(ring["log10_p"]) + ", corrected " + Number(ring["log10_p_corrected"]) + ": " + (members.empty() ? "none" : members) + "\n";
}

std::string ModelSummary(const std::string& result_json, const std::string& run, bool color) {
  const json r = json::parse(result_json);
  const std::string verdict = r["verdict"];
  std::string out = "verdict    " + cli::Paint(verdict, verdict == "evidence" ? "1;31" : "1", color) + " at alpha " + Number(r["alpha"], "%g") + "\n";
  for (const json& reason : r["reasons"]) out += "           " + cli::Printable(reason.get<std::string>()) + "\n";
  const json &probes = r["probes"], &base = r["base"], &accounts = r["accounts"], &rings = r["rings"];
  out += "base       " + KeyLine(base) + "; corrected " + Number(base["log10_p_corrected"]) + "\n";
  out += "decoys     " + DecoyLine(base["decoys"]) + (probes["mode"] == "served" ? " (indicative for served probes)" : "") + "\n";
  if (!r["control"].is_null()) out += "control    " + KeyLine(r["control"]) + "\n";
  if (accounts["candidates"] != 0) {
    out += "\naccounts: " + Count(accounts["candidates"]) + " candidates, " + Count(accounts["tested"]) + " with windows, " + Count(accounts["named"]) + " named\n";
    for (const json& account : accounts["ranked"]) {
      char line[160];
      std::snprintf(line, sizeof line, "  %10.2f raw %10.2f adjusted %10.2f corrected  z %7.2f  %8s windows  ", account["log10_p"].get<double>(), account["log10_p_adjusted"].get<double>(),
                    account["log10_p_corrected"].get<double>(), account["filter"]["z"].get<double>(), Count(account["windows"]).c_str());
      const bool named = account["named"];
      out += line + cli::Paint(cli::Printable(account["label"].get<std::string>()), "1;31", color && named) + (named ? "  named" : "") + "\n";
    }
    if (!accounts["decoys_of_strongest"].is_null()) out += "  decoys of the first: " + DecoyLine(accounts["decoys_of_strongest"]) + "\n";
  }
  for (const json& ring : rings["named"]) out += "ring       " + RingLine(ring);
  if (!rings["searched"].is_null()) out += "ring found " + RingLine(rings["searched"]);
  out += "\nprobes     " + Count(probes["records"]) + " (" + probes["mode"].get<std::string>() + "), " + Count(probes["unreadable"]) + " unreadable; of " + Count(probes["positions"]) + " positions " +
         Count(probes["evaluated"]) + " were asked about, " + Count(probes["in_context"]) + " repeat their own context, " + Count(probes["earlier"]) + " an earlier answer, " +
         Count(probes["unaligned"]) + " do not align, " + Count(probes["beyond"]) + " are beyond the context\n";
  out += "tests counted " + Count(r["ledger"]["tests_counted"]) + "; alpha in " + Count(r["ledger"]["parts_of_alpha"]) + " parts\n";
  out += "in " + cli::Printable(run) + ": result.json\n";
  return out;
}

int RunModel(const cli::Program& program, Options& o) {
  ModelOptions& m = o.model;
  if (m.served == o.open_text) return program.Fail("say what the probes are: --served (the complete serving log) or --public (text that does not hang on the key)");
  for (const std::string& file : o.ring_files) {
    absl::StatusOr<std::vector<std::string>> ring = detect_tool::ReadLabels(file);
    if (!ring.ok()) return program.Fail(ring.status());
    m.rings.push_back(*std::move(ring));
  }
  m.directory = o.run;
  m.threads = o.detect.threads;
  if (m.decoys > 0 && m.decoys < 1000) program.Warn("fewer than 1000 decoys: their rank says little");
  const absl::StatusOr<Loaded> loaded = Load(program, o);
  if (!loaded.ok()) return program.Fail(loaded.status());
  Watcher watcher(program);
  const absl::StatusOr<ModelResult> result = RunModelAudit(loaded->keys, loaded->tokenizer.get(), m, o.judge, watcher.observer());
  watcher.Finish();
  if (!result.ok()) {
    program.Fail(result.status());
    if (!absl::IsResourceExhausted(result.status()) && !absl::IsUnavailable(result.status())) return cli::kError;
    program.Hint(Cat("what is done is kept in ", o.run, "; start the same command again to go on"));
    return cli::kIncomplete;
  }
  for (const std::string& error : result->errors) program.Error(error);
  if (result->error_count > result->errors.size()) program.Note(Cat(result->error_count - result->errors.size(), " further errors are counted and not said"));
  cli::Output out = cli::Output::Standard();
  absl::Status written = out.Write(o.json ? result->json : ModelSummary(result->json, o.run, program.ColorOut()));
  if (written.ok()) written = out.Commit();
  if (!written.ok()) return program.Fail(written);
  if (!result->stands) return cli::kIncomplete;
  return result->evidence ? cli::kEvidence : cli::kNoEvidence;
}

}  // namespace

Command AddModel(cli::Program* program) {
  auto options = std::make_shared<Options>();
  CLI::App* app = program->app().add_subcommand("model", "tests whether a model, its weights at hand, learned from marked answers, and through which accounts");
  ModelOptions& m = options->model;
  const std::string models = "Models (GGUF)";
  app->add_option("--suspect", m.suspect, "the model in question")->required()->group(models);
  app->add_option("--reference", m.reference, "a model that never saw the marks, best the one the suspect was made from")->required()->group(models);
  app->add_option("--control", m.control, "another model that never saw the marks: it must show nothing")->group(models);
  app->add_option("--max-context", m.max_context, "tokens of a context; what stands beyond is not asked about")->group(models)->check(CLI::Range(16, 1 << 20));
  app->add_flag("--map-vocabulary", m.map_vocabulary, "models that read other tokens than ours: compare through text, where both cut it alike")->group(models);
  const std::string probes = "Probes";
  app->add_option("--probes", m.probes, "files of JSON lines: prompt or prompt_token_ids, answer or token_ids, account, start; or a serving log with token ids")->required()->group(probes);
  CLI::Option* served = app->add_flag("--served", m.served, "the probes are the complete serving log of the epoch")->group(probes);
  app->add_flag("--public", options->open_text, "the probes do not hang on the key: public text, the suspect's own samples")->group(probes)->excludes(served);
  app->add_option("--tokenizer", options->detect.tokenizer, "the tokenizer that the marks are on, for text (SentencePiece .model, GGUF or tokenizer.json)")->group(probes);
  app->add_option("--evaluate", m.evaluate, "probes put to the models, evenly spaced over all (default: all)")->group(probes);
  app->add_option("--run", options->run, "run directory: made, or gone on with")->required();
  options->AddKeysTo(*app);
  const std::string output = "Verdict and output";
  app->add_option("--ring", options->ring_files, "file of a set of accounts, one a line, tested together; may be given several times")->group(output);
  app->add_flag("--search-ring", m.search_ring, "look for the set of accounts that is most suspicious together; the search is paid for")->group(output);
  app->add_option("--decoys", m.decoys, "other keys that the same is computed under")->group(output)->check(CLI::Range(0, 1000000));
  app->add_option("--alpha", options->judge.alpha, "chance of one or more false claims in the verdict: base, accounts and rings together")->group(output)->check(cli::Between(1e-300, 0.5));
  app->add_option("--min-coverage", options->judge.min_coverage, "share of probes that must be readable for a verdict (served: all)")->group(output)->check(cli::Between(0.0, 1.0));
  app->add_option("--top", options->judge.top, "accounts shown; those that are named are shown in any case")->group(output);
  app->add_flag("--json", options->json, "the result as one JSON object on standard output")->group(output);
  app->add_option("--threads", options->detect.threads, "threads (0: one a core)")->group(output)->check(CLI::Range(0, 1024));
  return {app, [program, options]() -> int { return RunModel(*program, *options); }};
}

}  // namespace countermark::audit_tool
