#include "tools/gpu_check/report.h"

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <utility>

namespace countermark::gpu_check {
namespace {

// −1 no target, 0 missed, 1 met.
int Met(double value, const std::string& against) {
  for (const char* sense : {"target <= ", "target >= "}) {
    const size_t at = against.find(sense);
    if (at == std::string::npos) continue;
    const double limit = std::strtod(against.c_str() + at + 10, nullptr);
    return sense[7] == '<' ? value <= limit : value >= limit;
  }
  return -1;
}

}  // namespace

Report::Report(std::string command, std::string commit) : command_(std::move(command)), commit_(std::move(commit)) {}

bool Report::Check(const std::string& name, const std::string& difference, const std::string& detail) {
  const bool holds = difference.empty();
  std::printf("%-8s %s%s%s\n", holds ? "holds" : "FAILS", name.c_str(), detail.empty() ? "" : ": ", detail.c_str());
  if (!holds) {
    std::printf("         %s\n", difference.c_str());
    ++failed_;
  }
  std::fflush(stdout);
  nlohmann::ordered_json check = {{"name", name}, {"holds", holds}};
  if (!detail.empty()) check["detail"] = detail;
  if (!holds) check["difference"] = difference;
  checks_.push_back(check);
  return holds;
}

void Report::LeftOut(const std::string& name, const std::string& why) {
  std::printf("%-8s %s: %s\n", "left out", name.c_str(), why.c_str());
  std::fflush(stdout);
  checks_.push_back({{"name", name}, {"left out", why}});
}

void Report::Figure(const std::string& name, double value, const std::string& unit, const std::string& against, double spread) {
  const int met = Met(value, against);
  targets_ += met >= 0;
  missed_ += met == 0;
  char spread_text[32] = "";
  if (spread > 0) std::snprintf(spread_text, sizeof spread_text, "+-%.2g", spread);
  std::printf("%10.4g %-8s %-4s %-7s %s%s%s%s\n", value, spread_text, unit.c_str(), met < 0 ? "" : met ? "met" : "MISSED", name.c_str(), against.empty() ? "" : "  [",
              against.c_str(), against.empty() ? "" : "]");
  std::fflush(stdout);
  char rounded[32];
  std::snprintf(rounded, sizeof rounded, "%.4g", value);
  nlohmann::ordered_json figure = {{"name", name}, {"value", std::strtod(rounded, nullptr)}, {"unit", unit}, {"against", against}};
  if (spread > 0) {
    std::snprintf(rounded, sizeof rounded, "%.2g", spread);
    figure["spread"] = std::strtod(rounded, nullptr);
  }
  figures_.push_back(figure);
}

void Report::Section(const std::string& title) const {
  std::printf("\n-- %s\n", title.c_str());
  std::fflush(stdout);
}

bool Report::Finish(const std::string& json_path) const {
  std::printf("\n%s; %d of %d targets met\n", failed_ == 0 ? "every check that ran holds" : (std::to_string(failed_) + " checks FAIL").c_str(), targets_ - missed_,
              targets_);
  if (json_path.empty()) return true;
  const std::time_t now = std::time(nullptr);
  char date[32];
  std::strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  const nlohmann::ordered_json all = {{"command", command_}, {"commit", commit_}, {"date", date}, {"machine", machine_}, {"checks", checks_}, {"figures", figures_}};
  std::ofstream out(json_path);
  out << all.dump(1) << "\n";
  out.close();
  if (out) return true;
  std::fprintf(stderr, "gpu-check: error: cannot write %s\n", json_path.c_str());
  return false;
}

}  // namespace countermark::gpu_check
