// result.json, told to people.
#ifndef COUNTERMARK_TOOLS_AUDIT_SUMMARY_H_
#define COUNTERMARK_TOOLS_AUDIT_SUMMARY_H_

#include <string>

namespace countermark::audit_tool {

std::string Summary(const std::string& result_json, const std::string& run, bool color);

}  // namespace countermark::audit_tool

#endif  // COUNTERMARK_TOOLS_AUDIT_SUMMARY_H_
