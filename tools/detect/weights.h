// Weighted tests of records (--weights-model): what a record's readings get from the model, while its text is at hand.
#ifndef COUNTERMARK_TOOLS_DETECT_WEIGHTS_H_
#define COUNTERMARK_TOOLS_DETECT_WEIGHTS_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "countermark/detect/detector.h"
#include "countermark/detect/entropy.h"
#include "countermark/evidence/report.h"
#include "tools/detect/reading.h"

namespace countermark::detect_tool {

// Fills `nats` of each reading of a text: the model is asked once a view.
absl::Status EvaluateReadings(EntropyModel& model, const std::vector<Reading>& readings, std::string_view text, std::vector<ReadRecord>* read);

// The smallest of the values that are not yet corrected for the run: of channels, and of accounts after Holm.
double MostExtreme(const WeightedResult& result);

// Appends the tests as elements of a JSON array, with commas between and before them where the array has begun.
void AppendWeightedJson(const WeightedResult& result, size_t reading, const std::string& model_sha256, const std::vector<std::string>& accounts, std::string* out);

// Appends them as a report lists them: of very many accounts those with the smallest p. record 0: of the pool.
void AddWeighted(const WeightedResult& result, size_t reading, const std::string& model_sha256, const std::vector<std::string>& accounts, uint64_t record,
                 const std::string& subject, size_t accounts_listed, std::vector<ReportWeighted>* tests);

}  // namespace countermark::detect_tool

#endif  // COUNTERMARK_TOOLS_DETECT_WEIGHTS_H_
