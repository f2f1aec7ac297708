// Work on many threads, results in order.
//
//   CM_RETURN_IF_ERROR(ParallelOrdered<Loaded>(threads, count, prepare, produce, consume));
#ifndef COUNTERMARK_SRC_AUDIT_PARALLEL_H_
#define COUNTERMARK_SRC_AUDIT_PARALLEL_H_

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <new>
#include <optional>
#include <thread>
#include <vector>

#include "absl/status/status.h"

namespace countermark::audit {

inline int ThreadsOr(int threads) { return threads > 0 ? threads : static_cast<int>(std::max(1u, std::thread::hardware_concurrency())); }

// For each index from `first` to `end` − 1: prepare(index, Ticket*) one at a time and in order; produce(index, ticket, Item*) on any thread;
// consume(index, Item&) on the calling thread, in order. At most 2·threads + 1 items exist at once. The first error ends all.
template <typename Ticket, typename Item>
absl::Status ParallelOrdered(int threads, uint64_t first, uint64_t end, const std::function<absl::Status(uint64_t, Ticket*)>& prepare,
                             const std::function<absl::Status(uint64_t, const Ticket&, Item*)>& produce,
                             const std::function<absl::Status(uint64_t, Item&)>& consume) {
  std::mutex mutex;
  std::condition_variable changed;
  uint64_t next = first, consumed = first;
  std::map<uint64_t, Item> ready;
  absl::Status status;
  const uint64_t window = 2 * static_cast<uint64_t>(threads) + 1;
  const auto work = [&] {
    while (true) {
      Ticket ticket{};
      uint64_t index;
      {
        std::unique_lock<std::mutex> lock(mutex);
        changed.wait(lock, [&] { return !status.ok() || next == end || next < consumed + window; });
        if (!status.ok() || next == end) return;
        index = next;
        absl::Status prepared = prepare(index, &ticket);
        if (!prepared.ok()) {
          status = prepared;
          changed.notify_all();
          return;
        }
        ++next;
      }
      Item item{};
      absl::Status produced;
      try {
        produced = produce(index, ticket, &item);
      } catch (const std::bad_alloc&) {
        produced = absl::ResourceExhaustedError("no memory left; what is done is kept");
      }
      std::lock_guard<std::mutex> lock(mutex);
      if (!produced.ok() && status.ok()) status = produced;
      ready.emplace(index, std::move(item));
      changed.notify_all();
    }
  };
  std::vector<std::thread> workers;
  for (int i = 0; i < threads; ++i) workers.emplace_back(work);
  while (true) {
    std::optional<Item> item;
    {
      std::unique_lock<std::mutex> lock(mutex);
      changed.wait(lock, [&] { return !status.ok() || consumed == end || ready.contains(consumed); });
      if (!status.ok() || consumed == end) break;
      auto found = ready.find(consumed);
      item.emplace(std::move(found->second));
      ready.erase(found);
    }
    absl::Status taken = consume(consumed, *item);
    std::lock_guard<std::mutex> lock(mutex);
    ++consumed;
    if (!taken.ok() && status.ok()) status = taken;
    changed.notify_all();
  }
  {
    std::lock_guard<std::mutex> lock(mutex);
    changed.notify_all();
  }
  for (std::thread& worker : workers) worker.join();
  return status;
}

struct Nothing {};

}  // namespace countermark::audit

#endif  // COUNTERMARK_SRC_AUDIT_PARALLEL_H_
