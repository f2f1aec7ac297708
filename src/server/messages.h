// The message of a handle's last failure: one line, cut to a fixed size, so that saying that memory is short needs none.
#ifndef COUNTERMARK_SRC_SERVER_MESSAGES_H_
#define COUNTERMARK_SRC_SERVER_MESSAGES_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>

namespace countermark::server {

struct Message {
  char text[512] = "";

  void Set(std::string_view line) {
    const size_t n = line.size() < sizeof text ? line.size() : sizeof text - 1;
    for (size_t i = 0; i < n; ++i) text[i] = static_cast<unsigned char>(line[i]) < 0x20 || line[i] == 0x7F ? '?' : line[i];
    text[n] = '\0';
  }
};

// One a thread, for a handle that many use at once. They are the threads' own: nothing is kept of a thread that has ended, and a thread keeps those of the kThreadHandles
// handles that it used last.
class ThreadMessages {
 public:
  static constexpr size_t kThreadHandles = 8;

  // The calling thread's own; null where there is no memory for it.
  Message* Mine() const {
    thread_local std::unique_ptr<std::array<Entry, kThreadHandles>> mine;
    thread_local uint64_t calls = 0;
    if (mine == nullptr) mine.reset(new (std::nothrow) std::array<Entry, kThreadHandles>);
    if (mine == nullptr) return nullptr;
    Entry* oldest = &mine->front();
    for (Entry& entry : *mine) {
      if (entry.handle == id_) {
        entry.used = ++calls;
        return &entry.message;
      }
      if (entry.used < oldest->used) oldest = &entry;
    }
    *oldest = {id_, ++calls, {}};
    return &oldest->message;
  }

 private:
  struct Entry {
    uint64_t handle = 0, used = 0;
    Message message;
  };
  static uint64_t NextId() {
    static std::atomic<uint64_t> last{0};
    return ++last;
  }
  uint64_t id_ = NextId();  // an address may be another handle's later
};

}  // namespace countermark::server

#endif  // COUNTERMARK_SRC_SERVER_MESSAGES_H_
