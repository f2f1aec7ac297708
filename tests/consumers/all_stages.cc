// One call into each of the other stages, so that linking countermark::countermark or `pkg-config countermark` has to bring them.
#include <cstdio>
#include <string>

#include "countermark/detect/multiplicity.h"
#include "countermark/evidence/report.h"
#include "countermark/mark/log.h"
#include "countermark/tokenize/tokenizer.h"

int main() {
  const std::string missing = "no-such-file.model";
  const absl::Status tokenizer = countermark::OpenTokenizer(missing).status();
  const absl::Status report = countermark::ParseReportPayload("{\"half\": ").status();
  std::printf("%s\n%s\n", std::string(tokenizer.message()).c_str(), std::string(report.message()).c_str());
  return !tokenizer.ok() && tokenizer.message().find(missing) != absl::string_view::npos && !report.ok() ? 0 : 1;
}
