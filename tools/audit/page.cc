#include "tools/audit/page.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "countermark/audit/control.h"
#include "countermark/audit/sparse.h"
#include "countermark/detect/tails.h"
#include "src/base/hex.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/base/utc.h"
#include "src/evidence/dataset_page.h"
#include "tools/cli/cli.h"
#include "tools/cli/output.h"

namespace countermark::audit_tool {
namespace {

using nlohmann::json;

constexpr uint64_t kPoints = 200;      // of the curve, and stretches
constexpr size_t kListedKept = 100;

Statistic ParseStatistic(const std::string& digits) {
  Statistic value = 0;
  for (const char c : digits) value = value * 10 + static_cast<Statistic>(c - '0');
  return value;
}

// What the page shows of documents.jsonl, line by line: memory does not grow with their number.
class Collector {
 public:
  Collector(const MarkParameters& mark, uint64_t documents, DatasetFigures* figures) : mark_(mark), documents_(std::max<uint64_t>(documents, 1)), figures_(figures) {
    figures_->stretches.resize(std::min(documents_, kPoints));
  }

  void Add(const json& line) {
    const uint64_t stretches = figures_->stretches.size();
    DatasetStretch& stretch = figures_->stretches[std::min(seen_ * stretches / documents_, stretches - 1)];
    ++seen_;
    if (!line.contains("error")) {
      ++stretch.read;
      const ChannelCount count{line["first_scored"].get<uint64_t>(), ParseStatistic(line["first_statistic"].get<std::string>())};
      pooled_.scored += count.scored;
      pooled_.statistic += count.statistic;
      product_.Add(count, mark_);
      if (line["listed"].get<bool>()) {
        ++stretch.listed;
        Keep(line);
      }
    }
    if (seen_ * kPoints / documents_ == (seen_ - 1) * kPoints / documents_ && seen_ != documents_) return;
    figures_->curve.push_back({seen_, Log10P(pooled_, mark_), product_.Log10()});
  }

 private:
  void Keep(const json& line) {
    const double log10_e = line["log10_e"].get<double>();
    std::vector<ListedDocument>& listed = figures_->listed;
    const auto at = std::upper_bound(listed.begin(), listed.end(), log10_e, [](double e, const ListedDocument& d) { return e > d.log10_e; });
    if (at == listed.end() && listed.size() == kListedKept) return;
    listed.insert(at, {line["document"].get<uint64_t>(), line["id"].get<std::string>(), std::filesystem::path(line["file"].get<std::string>()).filename().string(), line["line"].get<uint64_t>(), line["scored"].get<uint64_t>(),
                       line["log10_p"].get<double>(), log10_e});
    if (listed.size() > kListedKept) listed.pop_back();
  }

  const MarkParameters mark_;
  const uint64_t documents_;
  DatasetFigures* figures_;
  uint64_t seen_ = 0;
  ChannelCount pooled_;
  SparseProduct product_;
};

}  // namespace

absl::Status CheckPages(const PageOptions& options) {
  for (const std::string& path : {options.html, options.csv}) {
    std::error_code error;
    if (path == "-") return absl::InvalidArgumentError("--html and --csv need files of their own");
    if (!path.empty() && std::filesystem::exists(std::filesystem::symlink_status(path, error))) return absl::AlreadyExistsError(Cat("'", path, "': exists already"));
  }
  if (!options.decoy_seed.empty() && !IsLowerHex(options.decoy_seed, 32)) return absl::InvalidArgumentError("--decoy-seed must be 64 lower-case hex digits, as a page states them");
  return absl::OkStatus();
}

absl::Status WritePages(const PageOptions& options, const AuditKeys& keys, const std::string& directory, const DatasetResult& result, int threads) {
  if (options.html.empty() && options.csv.empty()) return absl::OkStatus();
  std::optional<cli::Output> html, csv;
  if (!options.csv.empty()) {
    CM_ASSIGN_OR_RETURN(cli::Output made, cli::Output::Create(options.csv));
    csv.emplace(std::move(made));
    CM_ASSIGN_OR_RETURN(const std::string head, DatasetCsvHead(result.json));
    CM_RETURN_IF_ERROR(csv->Write(head));
  }
  if (!options.html.empty()) {
    CM_ASSIGN_OR_RETURN(cli::Output made, cli::Output::Create(options.html));
    html.emplace(std::move(made));
  }
  DatasetFigures figures;
  figures.created = UtcNow();
  figures.version = std::string(cli::Version());
  figures.run = std::filesystem::absolute(directory).lexically_normal().filename().string();
  if (figures.run.empty()) figures.run = std::filesystem::absolute(directory).lexically_normal().parent_path().filename().string();

  const std::string path = directory + "/documents.jsonl";
  std::ifstream in(path, std::ios::binary);
  if (!in) return absl::NotFoundError(Cat("cannot read '", path, "'"));
  const json parsed = json::parse(result.json, nullptr, false);
  uint64_t records = 0;
  if (parsed.is_object()) records = parsed.value(json::json_pointer("/coverage/records"), uint64_t{0});
  Collector collector(keys.record.mark, records, &figures);
  uint64_t number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (csv) {
      CM_ASSIGN_OR_RETURN(const std::string row, DatasetCsvDocument(line));
      CM_RETURN_IF_ERROR(csv->Write(row));
    }
    if (!html) continue;
    try {
      collector.Add(json::parse(line));
    } catch (const json::exception& error) {
      return absl::DataLossError(Cat("'", path, "', line ", number, ": ", error.what()));
    }
  }
  if (csv) CM_RETURN_IF_ERROR(csv->Commit());
  if (!html) return absl::OkStatus();
  if (options.decoys > 0) {
    DecoySeed seed{};
    if (options.decoy_seed.empty()) {
      seed = DrawDecoySeed();
    } else if (!HexDecodeInto(options.decoy_seed, seed)) {
      return absl::InvalidArgumentError("--decoy-seed must be 64 hex digits");
    }
    absl::StatusOr<DecoyControl> control = DatasetControl(keys, directory, seed, options.decoys, threads);
    if (!control.ok() && !absl::IsFailedPrecondition(control.status())) return control.status();
    if (control.ok() && control->pairs > 0) figures.decoys = *std::move(control);
  }
  CM_ASSIGN_OR_RETURN(const std::string page, DatasetPage(result.json, figures));
  CM_RETURN_IF_ERROR(html->Write(page));
  return html->Commit();
}

}  // namespace countermark::audit_tool
