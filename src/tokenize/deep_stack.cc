#include "src/tokenize/deep_stack.h"

#include <pthread.h>

#include <cstring>

#include "src/base/strings.h"

namespace countermark {

absl::Status RunOnStack(size_t bytes, const std::function<void()>& run) {
  constexpr size_t kPage = 65536;
  bytes = (bytes + kPage - 1) / kPage * kPage;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_t thread;
  int error = pthread_attr_setstacksize(&attributes, bytes);
  if (error == 0) {
    error = pthread_create(
        &thread, &attributes,
        [](void* function) -> void* {
          (*static_cast<const std::function<void()>*>(function))();
          return nullptr;
        },
        const_cast<std::function<void()>*>(&run));
  }
  pthread_attr_destroy(&attributes);
  if (error != 0) return absl::ResourceExhaustedError(Cat("no thread with a stack of ", bytes, " bytes: ", std::strerror(error)));
  pthread_join(thread, nullptr);
  return absl::OkStatus();
}

}  // namespace countermark
