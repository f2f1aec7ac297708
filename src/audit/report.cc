#include "src/audit/report.h"

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "countermark/audit/sparse.h"
#include "src/base/hex.h"

namespace countermark::audit {
namespace {

using nlohmann::json;

// Bytes that are not UTF-8 (a file name may hold any) become U+FFFD.
std::string Dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

double Plain(double value) { return value == 0 ? 0.0 : value; }  // no minus zero

std::string Decimal(Statistic value) {
  char text[40];
  char* at = text + sizeof text;
  do {
    *--at = static_cast<char>('0' + static_cast<int>(value % 10));
    value /= 10;
  } while (value != 0);
  return std::string(at, text + sizeof text);
}

json CountJson(const ChannelCount& count) { return {{"scored", count.scored}, {"statistic", Decimal(count.statistic)}}; }

void AppendMember(std::string_view name, double value, std::string* out) {
  char text[40];
  *out += ",\"";
  *out += name;
  *out += "\":";
  out->append(text, std::to_chars(text, text + sizeof text, Plain(value)).ptr);
}

void AppendMember(std::string_view name, uint64_t value, std::string* out) {
  *out += ",\"";
  *out += name;
  *out += "\":" + std::to_string(value);
}

}  // namespace

void AppendDocumentLine(uint64_t document, std::string_view file, const DocumentRow& row, const ChannelCount& first, bool listed, std::string* out) {
  *out += "{\"document\":" + std::to_string(document) + ",\"id\":" + Dump(row.id) + ",\"file\":" + Dump(std::string(file));
  AppendMember("line", row.line, out);
  if (row.kind == RowKind::kUnreadable) {
    AppendMember("byte", row.byte, out);
    *out += ",\"error\":" + Dump(row.error) + "}\n";
    return;
  }
  AppendMember("pairs", row.scored, out);
  AppendMember("scored", row.base.scored, out);
  *out += ",\"statistic\":\"" + Decimal(row.base.statistic) + "\"";
  AppendMember("log10_p", row.log10_p, out);
  AppendMember("log10_e", row.log10_e, out);
  AppendMember("first_scored", first.scored, out);
  *out += ",\"first_statistic\":\"" + Decimal(first.statistic) + "\",\"listed\":" + (listed ? "true" : "false") + "}\n";
}

std::string ResultJson(const RunDirectory& run, const AuditKeys& keys, const Conclusion& c, const JudgeOptions& judge, const FinishOptions& options) {
  const MarkParameters& mark = keys.record.mark;
  const Totals& t = c.totals;
  json out = {{"schema_version", 1}, {"tool", "watermark-audit"}, {"mark_format", 1}, {"verdict", std::string(c.verdict)}, {"alpha", judge.alpha}};
  out["run"] = {{"kind", options.kind}, {"format", kRunFormat}, {"options_sha256", HexEncode(run.digest)}, {"key_fingerprint", keys.Fingerprint()}};
  const json parsed = json::parse(run.options, nullptr, false);
  for (const char* name : {"part", "runs"}) {
    if (parsed.is_object() && parsed.contains(name)) out["run"][name] = parsed[name];
  }
  out["tokenizer_sha256"] = options.tokenizer_sha256.empty() ? json(nullptr) : json(options.tokenizer_sha256);
  out["mark"] = {{"scheme", std::string(SchemeName(mark.scheme))}, {"window", mark.window}};
  if (mark.scheme == Scheme::kPartition) out["mark"]["green"] = mark.green;
  if (mark.scheme == Scheme::kTournament) out["mark"]["layers"] = mark.layers;
  for (const ChannelSpec& channel : keys.record.channels) out["mark"]["channels"].push_back({{"name", channel.name}, {"weight", channel.weight}});

  out["pooled"] = CountJson(t.base);
  out["pooled"]["pairs"] = t.distinct;
  out["pooled"]["log10_p"] = Plain(c.pooled_log10_p);
  out["pooled"]["log10_p_corrected"] = Plain(c.pooled_corrected);
  out["pooled"]["log10_e"] = Plain(c.pooled_log10_e);
  out["sparse"] = {{"log10_e", Plain(t.log10_e)},
                   {"log10_e_highest", Plain(t.log10_e_highest)},
                   {"highest_after_documents", t.highest_after},
                   {"log10_p", Plain(c.sparse_log10_p)},
                   {"log10_p_corrected", Plain(c.sparse_corrected)},
                   {"order", std::string(options.order)},
                   {"shares", kSparseShares},
                   {"bets", kEValueBets}};

  const uint64_t read = t.records - t.unreadable;
  out["documents"] = {{"read", read}, {"fdr", judge.fdr}, {"listed", c.listed}, {"listing_log10_e", std::isinf(c.listing_log10_e) ? json(nullptr) : json(c.listing_log10_e)}};
  json levels = json::array();
  const TopHits hits = TopHits::Of(mark);
  for (int j = 0; j < hits.levels; ++j) {
    levels.push_back({{"chance", static_cast<double>(hits.numerator[j]) / TopHits::kDenominator}, {"hits", t.hits[j]}});
  }
  out["how_much"] = {{"confidence", judge.confidence},
                     {"documents_at_least", c.marked_documents},
                     {"documents_share_at_least", read == 0 ? 0 : std::floor(static_cast<double>(c.marked_documents) / static_cast<double>(read) * 1e9) / 1e9},
                     {"pairs_at_least", c.marked_pairs.pairs},
                     {"pairs_share_at_least", c.marked_pairs.share},
                     {"levels", std::move(levels)}};

  out["candidates"] = json::array();
  uint64_t candidates = 0;
  for (const FamilyResult& result : c.families) {
    const CandidateFamily& family = *result.family;
    candidates += family.labels.size();
    json one = {{"family", family.name}, {"count", family.labels.size()}, {"scored", result.scored}, {"named", result.named}, {"ranked", json::array()}};
    if (!family.of.empty()) one["of"] = family.of;
    for (const RankedCandidate& candidate : result.ranked) {
      one["ranked"].push_back({{"label", family.labels[candidate.index]},
                               {"statistic", Decimal(candidate.statistic)},
                               {"log10_p", Plain(candidate.log10_p)},
                               {"log10_p_adjusted", Plain(candidate.log10_p_adjusted)},
                               {"log10_p_corrected", Plain(candidate.log10_p_corrected)},
                               {"named", candidate.named}});
    }
    out["candidates"].push_back(std::move(one));
  }

  // Documents are tested by e-BH and bounded under a risk of their own, and no verdict hangs on them; they are counted all the same.
  out["ledger"] = {{"pooled", 1}, {"sparse", 1}, {"families", c.families.size()}, {"candidates", candidates}, {"documents", read}, {"bounds", 2},
                   {"parts_of_alpha", c.tests}, {"tests_counted", 4 + candidates + read}};
  out["coverage"] = {{"records", t.records}, {"unreadable", t.unreadable}, {"too_short", t.too_short}, {"broken_files", t.broken_files},
                     {"share", c.coverage}, {"floor", judge.min_coverage}, {"complete", c.complete}};
  out["error_count"] = t.error_count;
  out["errors"] = json::array();
  for (const RowError& error : t.errors) out["errors"].push_back({{"file", error.file}, {"line", error.line}, {"byte", error.byte}, {"message", error.message}});
  return Dump(out) + "\n";
}

}  // namespace countermark::audit
