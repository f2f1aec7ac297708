// The JSON of watermark-detect. Written piece by piece, so that a run over millions of records holds none of them.
#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "tools/detect/run.h"
#include "tools/detect/weights.h"

namespace countermark::detect_tool {
namespace {

void AppendString(std::string_view text, std::string* out) {
  // Bytes that are not UTF-8 (a file name may hold any) become U+FFFD.
  *out += nlohmann::json(std::string(text)).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void AppendNumber(double value, std::string* out) {
  if (value == 0) value = 0;  // no minus zero
  char text[40];
  const auto [end, error] = std::to_chars(text, text + sizeof text, value);
  out->append(text, end);
}

void AppendNumber(uint64_t value, std::string* out) {
  char text[24];
  out->append(text, std::to_chars(text, text + sizeof text, value).ptr);
}

// 128 bits, as a JSON integer.
void AppendStatistic(Statistic value, std::string* out) {
  char text[40];
  char* at = text + sizeof text;
  do {
    *--at = static_cast<char>('0' + static_cast<int>(value % 10));
    value /= 10;
  } while (value != 0);
  out->append(at, text + sizeof text);
}

void AppendTests(const DetectionResult& result, const Detector& detector, std::string* out) {
  *out += "\"channels\":[";
  for (const ChannelTest& test : result.channels) {
    if (out->back() != '[') *out += ',';
    *out += "{\"name\":";
    AppendString(test.name, out);
    *out += ",\"scored\":";
    AppendNumber(test.count.scored, out);
    *out += ",\"statistic\":";
    AppendStatistic(test.count.statistic, out);
    *out += ",\"log10_p\":";
    AppendNumber(test.log10_p, out);
    *out += ",\"log10_e\":";
    AppendNumber(test.log10_e, out);
    *out += '}';
  }
  *out += "],\"accounts\":[";
  for (size_t i = 0; i < result.accounts.size(); ++i) {
    const AccountTest& test = result.accounts[i];
    if (i > 0) *out += ',';
    *out += "{\"account\":";
    AppendString(detector.accounts()[i], out);
    *out += ",\"scored\":";
    AppendNumber(test.count.scored, out);
    *out += ",\"statistic\":";
    AppendStatistic(test.count.statistic, out);
    *out += ",\"log10_p\":";
    AppendNumber(test.log10_p, out);
    *out += ",\"log10_p_adjusted\":";
    AppendNumber(test.log10_p_adjusted, out);
    *out += '}';
  }
  *out += ']';
}

void AppendPassages(const std::vector<Passage>& passages, size_t reading, const Detector& detector, std::string* out) {
  for (const Passage& passage : passages) {
    const Region& region = passage.placed.region;
    if (out->back() != '[') *out += ',';
    *out += "{\"reading\":";
    AppendNumber(uint64_t{reading}, out);
    *out += ",\"name\":";
    AppendString(detector.record().channels[0].name, out);
    *out += ",\"begin\":";
    AppendNumber(passage.placed.begin, out);
    *out += ",\"end\":";
    AppendNumber(passage.placed.end, out);
    *out += ",\"scored\":";
    AppendNumber(region.count.scored, out);
    *out += ",\"statistic\":";
    AppendStatistic(region.count.statistic, out);
    *out += ",\"tries\":\"";
    AppendStatistic(region.tries, out);
    *out += "\",\"log10_p\":";
    AppendNumber(region.log10_p, out);
    *out += ",\"log10_p_adjusted\":";
    AppendNumber(region.log10_p_adjusted, out);
    *out += '}';
  }
}

// The tests of every reading, with which it is; nothing where there is one.
void AppendReadings(const std::vector<const DetectionResult*>& results, const Setup& setup, std::string* out) {
  if (results.size() < 2) return;
  *out += ",\"readings\":[";
  for (size_t i = 0; i < results.size(); ++i) {
    *out += i > 0 ? ",{\"view\":" : "{\"view\":";
    AppendString(setup.readings[i].view(), out);
    *out += ",\"tokenizer_sha256\":";
    AppendString(setup.readings[i].sha256(), out);
    *out += ",\"scored\":";
    AppendNumber(results[i]->scored, out);
    *out += ',';
    AppendTests(*results[i], setup.detector, out);
    *out += '}';
  }
  *out += ']';
}

double BaseLog10P(const DetectionResult& result) { return result.channels.empty() ? 0.0 : result.channels[0].log10_p; }

}  // namespace

void AppendRecordJson(const Item& item, const Setup& setup, RecordVerdict verdict, uint64_t tests_counted, std::string* out) {
  static const DetectionResult kNothing;
  const bool read = item.status.ok();
  const uint64_t reading = read ? Foremost(item.readings) : 0;
  const DetectionResult& result = read ? item.readings[reading].result : kNothing;
  *out += "{\"id\":";
  AppendString(item.record.id, out);
  *out += ",\"scored\":";
  AppendNumber(result.scored, out);
  *out += ",\"log10_p\":";
  AppendNumber(BaseLog10P(result), out);
  *out += ",\"verdict\":";
  AppendString(RecordVerdictName(verdict), out);
  *out += ',';
  AppendTests(result, setup.detector, out);
  if (setup.readings.size() > 1) {
    *out += ",\"reading\":";
    AppendNumber(reading, out);
  }
  std::vector<const DetectionResult*> results;
  for (const ReadRecord& one : item.readings) results.push_back(&one.result);
  AppendReadings(results, setup, out);
  if (read && item.readings[0].passages) {
    *out += ",\"regions\":[";
    for (size_t i = 0; i < item.readings.size(); ++i) AppendPassages(*item.readings[i].passages, i, setup.detector, out);
    *out += ']';
  }
  if (read && item.readings[0].weighted) {
    *out += ",\"weighted\":[";
    for (size_t i = 0; i < item.readings.size(); ++i) {
      AppendWeightedJson(*item.readings[i].weighted, i, setup.weights->sha256(), setup.detector.accounts(), out);
    }
    *out += ']';
  }
  *out += ",\"tests_counted\":";
  AppendNumber(tests_counted, out);
  if (!item.status.ok()) {
    *out += ",\"error\":";
    AppendString(std::string(item.status.message()), out);
  }
  *out += '}';
}

std::string JsonHead(const Options& options, const Setup& setup) {
  const EpochRecord& record = setup.detector.record();
  nlohmann::ordered_json head;
  head["schema_version"] = 2;
  head["tool"] = "watermark-detect";
  head["version"] = std::string(cli::Version());
  head["mark_format"] = 1;
  if (setup.has_record) {
    head["epoch_record"] = nlohmann::ordered_json::parse(record.CanonicalJson());
  } else {
    head["epoch_record"] = nullptr;
  }
  nlohmann::ordered_json mark = {{"scheme", std::string(SchemeName(record.mark.scheme))}, {"window", record.mark.window}};
  if (record.mark.scheme == Scheme::kPartition) mark["green"] = record.mark.green;
  if (record.mark.scheme == Scheme::kTournament) mark["layers"] = record.mark.layers;
  for (const ChannelSpec& channel : record.channels) mark["channels"].push_back({{"name", channel.name}, {"weight", channel.weight}});
  head["mark"] = std::move(mark);
  for (const Reading& reading : setup.readings) head["readings"].push_back({{"view", std::string(reading.view())}, {"tokenizer_sha256", reading.sha256()}});
  head["alpha"] = options.alpha;
  std::string text = head.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  text.back() = ',';  // the object goes on
  return text + "\"records\":[\n";
}

std::string JsonTail(const Run& run, const Options& options, const Setup& setup) {
  const TestLedger& ledger = run.ledger;
  const uint64_t reading = Foremost(run.pooled);
  const DetectionResult& pooled = run.pooled[reading];
  std::string text = "\n],\"pooled\":{\"scored\":";
  AppendNumber(pooled.scored, &text);
  text += ",\"log10_p\":";
  AppendNumber(BaseLog10P(pooled), &text);
  text += ",\"verdict\":";
  AppendString(RecordVerdictName(run.pooled_verdict), &text);
  text += ',';
  AppendTests(pooled, setup.detector, &text);
  if (setup.readings.size() > 1) {
    text += ",\"reading\":";
    AppendNumber(reading, &text);
  }
  std::vector<const DetectionResult*> results;
  for (const DetectionResult& one : run.pooled) results.push_back(&one);
  AppendReadings(results, setup, &text);
  if (!run.pooled_weighted.empty()) {
    text += ",\"weighted\":[";
    for (size_t i = 0; i < run.pooled_weighted.size(); ++i) {
      AppendWeightedJson(run.pooled_weighted[i], i, setup.weights->sha256(), setup.detector.accounts(), &text);
    }
    text += ']';
  }
  text += ",\"tests_counted\":";
  AppendNumber(ledger.Total(), &text);
  text += "},";
  nlohmann::ordered_json tail;
  tail["ledger"] = {{"records", ledger.records == 0 ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(ledger.records)},
                    {"keys", ledger.keys},
                    {"channels", ledger.channels},
                    {"candidates", ledger.candidates},
                    {"schemes", ledger.schemes},
                    {"views", ledger.views},
                    {"tokenizers", ledger.tokenizers},
                    {"questions", ledger.questions},
                    {"regions", ledger.regions},
                    {"weighted", ledger.weighted},
                    {"tests_counted", ledger.Total()}};
  tail["errors"] = nlohmann::ordered_json::array();
  for (const RunError& error : run.first_errors) {
    tail["errors"].push_back({{"file", error.file}, {"line", error.line}, {"byte", error.byte}, {"message", error.message}});
  }
  tail["coverage"] = {{"records", run.records}, {"unreadable", run.unreadable}, {"too_short", run.too_short}, {"errors", run.errors},
                      {"share", run.coverage()}, {"floor", options.min_coverage}, {"complete", !run.incomplete}};
  tail["records_marked"] = run.marked;
  tail["verdict"] = std::string(OverallVerdict(run, options.min_coverage));
  std::string rest = tail.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  return text + rest.substr(1) + "\n";
}

}  // namespace countermark::detect_tool
