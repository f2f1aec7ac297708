#include "tools/detect/weights.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "countermark/tokenize/cleaned_text.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark::detect_tool {
namespace {

std::string Decimal(Statistic value) {
  std::string digits;
  for (; value != 0; value /= 10) digits += static_cast<char>('0' + static_cast<int>(value % 10));
  std::reverse(digits.begin(), digits.end());
  return digits.empty() ? "0" : digits;
}

}  // namespace

absl::Status EvaluateReadings(EntropyModel& model, const std::vector<Reading>& readings, std::string_view text, std::vector<ReadRecord>* read) {
  // By view: the text, and the entropies of its tokens.
  struct View {
    std::string text;
    std::vector<TokenEntropy> entropies;
  };
  std::array<std::optional<View>, 2> views;
  TokenizedText tokens;
  for (size_t i = 0; i < readings.size(); ++i) {
    if (readings[i].ids || readings[i].tokenizer == nullptr) return absl::InvalidArgumentError("weights follow from the text, and this record has token ids alone");
    std::optional<View>& view = views[readings[i].cleaned];
    if (!view) {
      view.emplace();
      if (readings[i].cleaned) {
        CM_ASSIGN_OR_RETURN(const CleanedText cleaned, CleanText(text));
        view->text = cleaned.text();
      } else {
        view->text = text;
      }
      CM_RETURN_IF_ERROR(model.Evaluate(view->text, &view->entropies));
    }
    CM_RETURN_IF_ERROR(readings[i].tokenizer->Encode(view->text, &tokens));  // again, since the record keeps its spans in the original text
    (*read)[i].nats = EntropyOfSpans(view->entropies, tokens.spans);
  }
  return absl::OkStatus();
}

double MostExtreme(const WeightedResult& result) {
  double best = 0;
  for (const WeightedChannelTest& test : result.channels) best = std::min(best, test.test.log10_p);
  for (const WeightedAccountTest& test : result.accounts) best = std::min(best, test.log10_p_adjusted);
  return best;
}

void AppendWeightedJson(const WeightedResult& result, size_t reading, const std::string& model_sha256, const std::vector<std::string>& accounts, std::string* out) {
  const auto append = [&](const char* kind, const std::string& name, uint64_t scored, Statistic sum, const WeightedTest& test) -> nlohmann::ordered_json {
    return {{"reading", reading}, {"kind", kind}, {"name", name}, {"scored", scored}, {"model_sha256", model_sha256}, {"rule", std::string(kEntropyRule)}, {"lambda", test.lambda},
            {"sum", Decimal(sum)}, {"log_mgf", test.log_mgf}, {"log10_p", test.log10_p + 0.0}, {"display_log10_p", test.display_log10_p + 0.0}};
  };
  const auto write = [out](const nlohmann::ordered_json& json) {
    if (out->back() != '[') *out += ',';
    *out += json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  };
  for (const WeightedChannelTest& test : result.channels) write(append("channel", test.name, test.scored, test.sum, test.test));
  for (size_t i = 0; i < result.accounts.size(); ++i) {
    const WeightedAccountTest& test = result.accounts[i];
    nlohmann::ordered_json json = append("account", accounts[i], test.scored, test.sum, test.test);
    json["log10_p_adjusted"] = test.log10_p_adjusted + 0.0;
    write(json);
  }
}

void AddWeighted(const WeightedResult& result, size_t reading, const std::string& model_sha256, const std::vector<std::string>& accounts, uint64_t record,
                 const std::string& subject, size_t accounts_listed, std::vector<ReportWeighted>* tests) {
  const auto add = [&](TestKind kind, const std::string& name, const auto& test) {
    ReportWeighted out;
    out.record = record;
    out.subject = subject;
    out.reading = reading;
    out.kind = kind;
    out.name = name;
    out.scored = test.scored;
    out.model_sha256 = model_sha256;
    out.rule = kEntropyRule;
    out.lambda = test.test.lambda;
    out.sum = test.sum;
    out.log_mgf = test.test.log_mgf;
    out.display_log10_p = test.test.display_log10_p;
    tests->push_back(std::move(out));
  };
  for (const WeightedChannelTest& test : result.channels) add(TestKind::kChannel, test.name, test);
  std::vector<size_t> order(result.accounts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  if (order.size() > accounts_listed) {
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return result.accounts[a].test.log10_p < result.accounts[b].test.log10_p; });
    order.resize(accounts_listed);
  }
  for (const size_t i : order) add(TestKind::kAccount, accounts[i], result.accounts[i]);
}

}  // namespace countermark::detect_tool
