// Holds off libllama's log while a file is opened, and keeps its last error line.
//
// The logger is one for the whole process. A host's own is put back when the holder goes; holders wait for each other.
#ifndef COUNTERMARK_SRC_TOKENIZE_LLAMA_LOG_H_
#define COUNTERMARK_SRC_TOKENIZE_LLAMA_LOG_H_

#include <mutex>
#include <string>

#include "llama.h"

namespace countermark {

class LlamaLogHolder {
 public:
  LlamaLogHolder();
  ~LlamaLogHolder();
  LlamaLogHolder(const LlamaLogHolder&) = delete;
  LlamaLogHolder& operator=(const LlamaLogHolder&) = delete;

  // The most telling error line so far, without its end; empty if there was none.
  std::string Error();

 private:
  static void Keep(ggml_log_level level, const char* text, void* holder);

  std::unique_lock<std::mutex> lock_;
  std::mutex mutex_;  // of error_: libllama may log from threads of its own
  std::string error_;
  ggml_log_callback before_ = nullptr;
  void* before_data_ = nullptr;
};

}  // namespace countermark

#endif  // COUNTERMARK_SRC_TOKENIZE_LLAMA_LOG_H_
