#include "src/audit/model/report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "countermark/detect/multiplicity.h"
#include "src/base/hex.h"
#include "src/base/strings.h"

namespace countermark::audit {
namespace {

using nlohmann::json;

double Plain(double value) { return value == 0 || std::isnan(value) ? 0.0 : value; }  // no minus zero

std::string Decimal(Statistic value) {
  std::string text;
  do {
    text.insert(text.begin(), static_cast<char>('0' + static_cast<int>(value % 10)));
    value /= 10;
  } while (value != 0);
  return text;
}

json KeyJson(const TestedKey& key, bool served) {
  const Evidence& e = key.evidence;
  const Reading& r = key.reading;
  json out = {{"windows", e.windows},
              {"filter", {{"z", Plain(key.z)}, {"log10_p", Plain(r.log10_filter)}}},
              {"top1", {{"scored", e.top1.scored}, {"statistic", Decimal(e.top1.statistic)}, {"log10_p", Plain(r.log10_top1)}}},
              {"log10_p", Plain(r.log10_p)}};
  if (served) {
    out["filter"]["log10_e"] = Plain(r.log10_e_filter);
    out["top1"]["log10_e"] = Plain(r.log10_e_top1);
  }
  return out;
}

json DecoysJson(const DecoyControl& d) {
  json quantiles = json::array();
  for (const double z : d.quantiles) quantiles.push_back(Plain(z));
  return {{"keys", d.count}, {"at_least_as_high", d.at_least}, {"mean_z", Plain(d.mean)}, {"sd_z", Plain(d.sd)}, {"largest_z", Plain(d.largest)}, {"quantiles_z", std::move(quantiles)},
          {"log10_p_least", Plain(d.log10_p_least)}, {"p_at_most", {{"0.1", d.p_at_most[0]}, {"0.01", d.p_at_most[1]}, {"0.001", d.p_at_most[2]}}}};
}

json AccountsJson(const AuditKeys& keys, const JudgeOptions& judge, const ModelConclusion& c, bool served) {
  const ModelScores& s = c.scores;
  const CandidateFamily* family = nullptr;
  for (const CandidateFamily& f : keys.families) {
    if (f.name == "accounts") family = &f;
  }
  json out = {{"candidates", s.candidates}, {"tested", s.accounts.size()}, {"ranked", json::array()}, {"decoys_of_strongest", nullptr}};
  std::vector<size_t> order(s.accounts.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const TestedAccount &x = s.accounts[a], &y = s.accounts[b];
    return x.reading.log10_p != y.reading.log10_p ? x.reading.log10_p < y.reading.log10_p : x.z > y.z;
  });
  uint64_t named = 0;
  for (size_t rank = 0; rank < order.size(); ++rank) {
    const TestedAccount& account = s.accounts[order[rank]];
    const bool is_named = c.stands && account.log10_p_corrected <= std::log10(judge.alpha);
    named += is_named;
    if (rank >= judge.top && !is_named) continue;
    json one = KeyJson(account, served);
    one["label"] = family->labels[account.index];
    one["log10_p_adjusted"] = Plain(account.log10_p_adjusted);
    one["log10_p_corrected"] = Plain(account.log10_p_corrected);
    one["named"] = is_named;
    out["ranked"].push_back(std::move(one));
  }
  out["named"] = named;
  if (!s.accounts.empty()) out["decoys_of_strongest"] = DecoysJson(s.account_decoys);
  return out;
}

json RingsJson(const AuditKeys& keys, const ModelOptions& options, const ModelConclusion& c) {
  json out = {{"named", json::array()}, {"searched", nullptr}};
  const auto reading = [](const Reading& r) { return json{{"log10_filter", Plain(r.log10_filter)}, {"log10_top1", Plain(r.log10_top1)}, {"log10_p", Plain(r.log10_p)}}; };
  for (size_t i = 0; i < c.scores.rings.size(); ++i) {
    const NamedRing& ring = c.scores.rings[i];
    json one = reading(ring.reading);
    one["members"] = ring.members;
    one["without_windows"] = ring.without_windows;
    one["z"] = Plain(ring.z);
    one["log10_p_corrected"] = Plain(c.rings_corrected[i]);
    out["named"].push_back(std::move(one));
  }
  if (options.search_ring) {
    const RingFound& found = c.scores.searched;
    json one = reading(found.reading);
    one["members"] = json::array();
    for (const CandidateFamily& family : keys.families) {
      if (family.name != "accounts") continue;
      for (const size_t member : found.members) one["members"].push_back(family.labels[c.scores.accounts[member].index]);
    }
    one["log10_sets"] = Plain(found.log10_sets);
    one["log10_p_searched"] = Plain(found.log10_p);
    one["log10_p_corrected"] = Plain(c.searched_corrected);
    out["searched"] = std::move(one);
  }
  return out;
}

}  // namespace

void Conclude(const ModelOptions& options, const JudgeOptions& judge, ModelConclusion* c) {
  ModelScores& s = c->scores;
  c->parts = 1 + (s.candidates > 0) + options.rings.size() + options.search_ring;
  c->base_corrected = BonferroniAdjust(s.base.reading.log10_p, c->parts);
  for (TestedAccount& account : s.accounts) account.log10_p_corrected = BonferroniAdjust(account.log10_p_adjusted, c->parts);
  for (const NamedRing& ring : s.rings) c->rings_corrected.push_back(BonferroniAdjust(ring.reading.log10_p, c->parts));
  c->searched_corrected = BonferroniAdjust(s.searched.log10_p, c->parts);

  const uint64_t lost = c->probes.unreadable + c->probes.torn + s.error_count, records = c->probes.records + c->probes.torn;
  c->coverage = records == 0 ? 0 : static_cast<double>(records - std::min(lost, records)) / static_cast<double>(records);
  if (c->reasons.empty()) {
    if (s.same) c->reasons.push_back("the suspect and the reference give the same probabilities everywhere: the reference must be another model");
    if (s.error_count > 0 && options.served) c->reasons.push_back(Cat(s.error_count, " answers of the log could not be read: a log that is not complete proves nothing"));
    if (c->coverage < judge.min_coverage) c->reasons.push_back("too few probes could be read");
    if (!s.same && s.base.evidence.windows == 0) {
      c->reasons.push_back(s.evaluated_windows == 0 ? "no window is left to score: the probes are too short, or all of them stands in the prompts"
                                                    : "no window on the base channel is left to score");
    }
    if (s.has_control && s.control.reading.log10_p <= std::log10(judge.alpha)) {
      c->reasons.push_back("the control model shows the same: either it has seen the marks, or the probes depend on the key in a way that the test does not allow for");
    }
  }
  c->stands = c->reasons.empty();
  const double level = std::log10(judge.alpha);
  c->evidence = c->base_corrected <= level || c->searched_corrected <= level;
  for (const TestedAccount& account : s.accounts) c->evidence |= account.log10_p_corrected <= level;
  for (const double corrected : c->rings_corrected) c->evidence |= corrected <= level;
  c->evidence &= c->stands;
}

std::string ModelResultJson(const RunDirectory& run, const AuditKeys& keys, const ModelOptions& options, const JudgeOptions& judge, const ModelConclusion& c) {
  const MarkParameters& mark = keys.record.mark;
  const ModelScores& s = c.scores;
  json out = {{"schema_version", 1}, {"tool", "watermark-audit"}, {"mark_format", 1}, {"alpha", judge.alpha}, {"reasons", c.reasons}};
  out["verdict"] = !c.stands ? "inconclusive" : c.evidence ? "evidence" : "no evidence";
  out["run"] = {{"kind", "model"}, {"format", kRunFormat}, {"options_sha256", HexEncode(run.digest)}, {"key_fingerprint", keys.Fingerprint()}};
  out["mark"] = {{"scheme", std::string(SchemeName(mark.scheme))}, {"window", mark.window}};
  if (mark.scheme == Scheme::kPartition) out["mark"]["green"] = mark.green;
  if (mark.scheme == Scheme::kTournament) out["mark"]["layers"] = mark.layers;
  for (const ChannelSpec& channel : keys.record.channels) out["mark"]["channels"].push_back({{"name", channel.name}, {"weight", channel.weight}});
  out["models"] = {{"suspect", c.suspect_sha256}, {"reference", c.reference_sha256}, {"control", c.control_sha256.empty() ? json(nullptr) : json(c.control_sha256)}};
  out["probes"] = {{"mode", options.served ? "served" : "public"},
                   {"records", c.probes.records},
                   {"unreadable", c.probes.unreadable + s.error_count},
                   {"torn", c.probes.torn},
                   {"without_ids", c.probes.without_ids},
                   {"coverage", c.coverage},
                   {"floor", judge.min_coverage},
                   {"positions", s.counts.positions},
                   {"evaluated", s.evaluated_windows},
                   {"in_context", s.counts.in_context},
                   {"earlier", s.counts.earlier},
                   {"unaligned", s.counts.unaligned},
                   {"beyond", s.counts.beyond}};
  out["base"] = KeyJson(s.base, options.served);
  out["base"]["log10_p_corrected"] = Plain(c.base_corrected);
  out["base"]["decoys"] = DecoysJson(s.base_decoys);
  out["control"] = s.has_control ? KeyJson(s.control, options.served) : json(nullptr);
  out["accounts"] = AccountsJson(keys, judge, c, options.served);
  out["rings"] = RingsJson(keys, options, c);
  out["ledger"] = {{"parts_of_alpha", c.parts},
                   {"readings", 2},
                   {"tests_counted", 2 * (1 + s.accounts.size() + s.rings.size() + (s.has_control ? 1 : 0)) + s.searched.members.size()}};
  return out.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace countermark::audit
