#include "src/tokenize/llama_log.h"

#include <new>

namespace countermark {
namespace {

std::mutex& ProcessMutex() {
  static std::mutex mutex;
  return mutex;
}

}  // namespace

LlamaLogHolder::LlamaLogHolder() : lock_(ProcessMutex()) {
  llama_log_get(&before_, &before_data_);
  llama_log_set(&LlamaLogHolder::Keep, this);
}

LlamaLogHolder::~LlamaLogHolder() { llama_log_set(before_, before_data_); }

std::string LlamaLogHolder::Error() {
  const std::lock_guard<std::mutex> guard(mutex_);
  return error_;
}

void LlamaLogHolder::Keep(ggml_log_level level, const char* text, void* holder) {
  if (level != GGML_LOG_LEVEL_ERROR || text == nullptr) return;
  auto* self = static_cast<LlamaLogHolder*>(holder);
  const std::lock_guard<std::mutex> guard(self->mutex_);
  if (!self->error_.empty()) return;  // the first names the cause; the others follow from it
  try {
    self->error_ = text;
  } catch (const std::bad_alloc&) {  // libllama calls this; the error goes without its reason
    return;
  }
  while (!self->error_.empty() && (self->error_.back() == '\n' || self->error_.back() == ' ')) self->error_.pop_back();
}

}  // namespace countermark
