// The prompts file of watermark-generate: one record a line.
//
//   {"prompt": "Why is the sky blue?", "account": "org-1", "id": "q1"}     id and account may be left out (--account)
//   Why is the sky blue?                                                    a plain line is a prompt
#ifndef COUNTERMARK_TOOLS_GENERATE_PROMPTS_H_
#define COUNTERMARK_TOOLS_GENERATE_PROMPTS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace countermark::generate {

struct Prompt {
  std::string id;  // the line's number where the record has none
  std::string prompt;
  std::string account;  // the record's own, else the default; may be empty when nothing is to be marked
};

// "-" is standard input. Errors name the file and the line. A prompt with a NUL is one: a chat template would end there.
absl::StatusOr<std::vector<Prompt>> ReadPrompts(const std::string& path, const std::string& default_account);

}  // namespace countermark::generate

#endif  // COUNTERMARK_TOOLS_GENERATE_PROMPTS_H_
