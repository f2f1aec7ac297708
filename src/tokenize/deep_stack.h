// Runs a function on a stack of a wanted depth. For libraries that recurse once a character: std::regex, which libllama cuts words with,
// ends the process where the stack ends.
#ifndef COUNTERMARK_SRC_TOKENIZE_DEEP_STACK_H_
#define COUNTERMARK_SRC_TOKENIZE_DEEP_STACK_H_

#include <cstddef>
#include <functional>

#include "absl/status/status.h"

namespace countermark {

// Waits for `run` to end on a thread with `bytes` of stack; the pages that it does not touch cost nothing. ResourceExhausted if no such
// thread can be had, or memory is short in `run` (std::bad_alloc). It must throw nothing else.
absl::Status RunOnStack(size_t bytes, const std::function<void()>& run);

}  // namespace countermark

#endif  // COUNTERMARK_SRC_TOKENIZE_DEEP_STACK_H_
