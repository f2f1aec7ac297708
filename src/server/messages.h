// The message of a handle's last failure: one line, cut to a fixed size, so that saying that memory is short needs none.
#ifndef COUNTERMARK_SRC_SERVER_MESSAGES_H_
#define COUNTERMARK_SRC_SERVER_MESSAGES_H_

#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <string_view>
#include <thread>

namespace countermark::server {

struct Message {
  char text[512] = "";

  void Set(std::string_view line) {
    const size_t n = line.size() < sizeof text ? line.size() : sizeof text - 1;
    for (size_t i = 0; i < n; ++i) text[i] = static_cast<unsigned char>(line[i]) < 0x20 || line[i] == 0x7F ? '?' : line[i];
    text[n] = '\0';
  }
};

// One a thread, for a handle that many use at once.
class ThreadMessages {
 public:
  // The calling thread's own; null where there is no memory for it.
  Message* Mine() {
    const std::lock_guard<std::mutex> lock(mutex_);
    try {
      return &messages_[std::this_thread::get_id()];
    } catch (const std::bad_alloc&) {
      return nullptr;
    }
  }
  void Clear() {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto it = messages_.find(std::this_thread::get_id());
    if (it != messages_.end()) it->second.text[0] = '\0';
  }

 private:
  std::mutex mutex_;
  std::map<std::thread::id, Message> messages_;  // their places do not move
};

}  // namespace countermark::server

#endif  // COUNTERMARK_SRC_SERVER_MESSAGES_H_
