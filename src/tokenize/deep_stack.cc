#include "src/tokenize/deep_stack.h"

#include <pthread.h>

#include <cstring>
#include <new>

#include "src/base/strings.h"

namespace countermark {

absl::Status RunOnStack(size_t bytes, const std::function<void()>& run) {
  constexpr size_t kPage = 65536;
  bytes = (bytes + kPage - 1) / kPage * kPage;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  // What `run` throws must not leave the thread's function: C calls it.
  struct Call {
    const std::function<void()>* run;
    bool no_memory;
  } call = {&run, false};
  pthread_t thread;
  int error = pthread_attr_setstacksize(&attributes, bytes);
  if (error == 0) {
    error = pthread_create(
        &thread, &attributes,
        [](void* argument) -> void* {
          auto* made = static_cast<Call*>(argument);
          try {
            (*made->run)();
          } catch (const std::bad_alloc&) {
            made->no_memory = true;
          }
          return nullptr;
        },
        &call);
  }
  pthread_attr_destroy(&attributes);
  if (error != 0) return absl::ResourceExhaustedError(Cat("no thread with a stack of ", bytes, " bytes: ", std::strerror(error)));
  pthread_join(thread, nullptr);
  if (call.no_memory) return absl::ResourceExhaustedError("out of memory");
  return absl::OkStatus();
}

}  // namespace countermark
