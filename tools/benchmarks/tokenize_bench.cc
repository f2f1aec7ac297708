// tokenize_bench TOKENIZER FILE… [--threads N]: reads the records of JSON lines and tokenises their texts, which any test of a data set has to do, and nothing else. Beside it tools/bench
// times watermark-audit. Prints {"wall", "cpu", "bytes", "tokens"}: seconds, the processors' seconds, and what there was.
#include <time.h>

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "countermark/detect/input.h"
#include "countermark/tokenize/tokenizer.h"
#include "nlohmann/json.hpp"

namespace {

using namespace countermark;

constexpr size_t kBatchBytes = 1 << 20;

double Seconds(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

[[noreturn]] void Die(const std::string& text) {
  std::fprintf(stderr, "bench: error: %s\n", text.c_str());
  std::exit(2);
}

// Batches of records between the thread that reads and those that tokenise.
class Queue {
 public:
  explicit Queue(size_t most) : most_(most) {}
  void Put(std::vector<RawRecord> batch) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return batches_.size() < most_; });
    batches_.push_back(std::move(batch));
    changed_.notify_all();
  }
  bool Take(std::vector<RawRecord>* batch) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return closed_ || !batches_.empty(); });
    if (batches_.empty()) return false;
    *batch = std::move(batches_.front());
    batches_.pop_front();
    changed_.notify_all();
    return true;
  }
  void Close() {
    std::lock_guard<std::mutex> lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

 private:
  const size_t most_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::vector<RawRecord>> batches_;
  bool closed_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  size_t threads = 1;
  std::vector<std::string> paths;
  for (int i = 1; i < argc; ++i) {
    if (std::string(argv[i]) == "--threads" && i + 1 < argc) {
      threads = std::strtoull(argv[++i], nullptr, 10);
    } else {
      paths.push_back(argv[i]);
    }
  }
  if (paths.size() < 2 || threads == 0) Die("tokenize_bench TOKENIZER FILE… [--threads N]");
  const auto tokenizer = OpenTokenizer(paths[0]);
  if (!tokenizer.ok()) Die(std::string(tokenizer.status().message()));
  paths.erase(paths.begin());
  const double wall = Seconds(CLOCK_MONOTONIC), cpu = Seconds(CLOCK_PROCESS_CPUTIME_ID);
  InputOptions options;
  InputReader reader(paths, options);
  Queue queue(2 * threads);
  std::mutex mutex;
  uint64_t bytes = 0, tokens = 0;
  std::vector<std::thread> workers;
  for (size_t t = 0; t < threads; ++t) {
    workers.emplace_back([&] {
      std::vector<RawRecord> batch;
      TokenizedText text;
      uint64_t own_bytes = 0, own_tokens = 0;
      while (queue.Take(&batch)) {
        for (const RawRecord& raw : batch) {
          InputRecord record;
          absl::Status status = ParseRecord(raw, reader.paths()[raw.file], options, &record);
          if (status.ok()) status = (*tokenizer)->Encode(record.text, &text);
          if (!status.ok()) Die(std::string(status.message()));
          own_bytes += raw.bytes.size() + 1;
          own_tokens += text.ids.size();
        }
      }
      std::lock_guard<std::mutex> lock(mutex);
      bytes += own_bytes;
      tokens += own_tokens;
    });
  }
  std::vector<RawRecord> batch;
  size_t size = 0;
  for (RawRecord raw; reader.Next(&raw); raw = RawRecord()) {
    size += raw.bytes.size();
    batch.push_back(std::move(raw));
    if (size < kBatchBytes) continue;
    queue.Put(std::exchange(batch, {}));
    size = 0;
  }
  queue.Put(std::move(batch));
  queue.Close();
  for (std::thread& worker : workers) worker.join();
  std::printf("%s\n", nlohmann::ordered_json{{"wall", Seconds(CLOCK_MONOTONIC) - wall}, {"cpu", Seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu}, {"bytes", bytes}, {"tokens", tokens}}.dump().c_str());
}
