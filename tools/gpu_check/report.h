// What gpu_check has found: checks that hold or do not, parts that were left out and why, and figures. Printed as it comes in, and written as JSON in
// the form of docs/results: {"command", "commit", "date", "machine", "checks", "figures": [{"name", "value", "unit", "against"}]}.
#ifndef COUNTERMARK_TOOLS_GPU_CHECK_REPORT_H_
#define COUNTERMARK_TOOLS_GPU_CHECK_REPORT_H_

#include <string>

#include "nlohmann/json.hpp"

namespace countermark::gpu_check {

class Report {
 public:
  Report(std::string command, std::string commit);

  // `difference`: "" if the check holds, else what is wrong. Returns whether it holds.
  bool Check(const std::string& name, const std::string& difference, const std::string& detail = "");
  void LeftOut(const std::string& name, const std::string& why);
  // `against` holds "target <= 30" where a target was set beforehand (docs/gpu.md). `spread`: half of what lies between the quartiles, in the same unit.
  void Figure(const std::string& name, double value, const std::string& unit, const std::string& against = "", double spread = 0);
  void Machine(const std::string& key, const nlohmann::ordered_json& value) { machine_[key] = value; }
  void Section(const std::string& title) const;

  int failed() const { return failed_; }
  int missed() const { return missed_; }
  // Prints the sum of it all. False: the file could not be written.
  bool Finish(const std::string& json_path) const;

 private:
  std::string command_, commit_;
  nlohmann::ordered_json machine_ = nlohmann::ordered_json::object(), checks_ = nlohmann::ordered_json::array(), figures_ = nlohmann::ordered_json::array();
  int failed_ = 0, missed_ = 0, targets_ = 0;
};

}  // namespace countermark::gpu_check

#endif  // COUNTERMARK_TOOLS_GPU_CHECK_REPORT_H_
