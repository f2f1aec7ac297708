#include "tools/detect/pipeline.h"

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <new>
#include <thread>

#include "src/base/status_macros.h"
#include "tools/detect/weights.h"

namespace countermark::detect_tool {
namespace {

// Records travel in batches, so that locks cost nothing: so many records, or so many bytes.
constexpr size_t kBatchRecords = 64;
constexpr size_t kBatchBytes = 1 << 18;

struct Batch {
  std::vector<Item> items;
  bool done = false;
};

// One worker's tools; its memory is reused from record to record.
class Worker {
 public:
  Worker(ItemScorer score, const std::vector<Reading>& readings, const PipelineOptions& options, const std::vector<std::string>& paths)
      : score_(std::move(score)), readings_(readings), input_(options.input), keep_text_(options.keep_text), keep_spans_(options.passage_level.has_value()), paths_(paths) {}

  void Work(Item& item) {
    if (item.raw.ends_file) {
      item.record.error_byte = item.raw.byte;
      item.status = item.raw.error;
      return;
    }
    try {
      item.status = Read(item);
      if (item.status.ok()) item.status = score_(item);
      if (!item.status.ok()) item.readings.clear();
    } catch (const std::bad_alloc&) {  // in a worker's thread it would end the process; as a record that could not be read, it is counted
      item.status = absl::ResourceExhaustedError("no memory for this record");
    }
    item.raw.bytes = std::string();
    item.raw.cells.clear();
    if (!keep_text_) item.record.text = std::string();
    item.record.prompt_text = std::string();
  }

 private:
  absl::Status Read(Item& item) {
    InputRecord& record = item.record;
    CM_RETURN_IF_ERROR(ParseRecord(item.raw, paths_[item.raw.file], input_, &record));
    item.readings.resize(readings_.size());
    for (size_t i = 0; i < readings_.size(); ++i) {
      ReadRecord& read = item.readings[i];
      if (record.has_ids) {
        read.ids = record.ids;
      } else {
        CM_RETURN_IF_ERROR(ReadText(readings_[i], record.text, &tokens_, &read.ids, keep_spans_ ? &read.spans : nullptr));
      }
      if (record.has_prompt && record.prompt_ids.empty() && !record.prompt_text.empty()) {
        CM_RETURN_IF_ERROR(ReadText(readings_[i], record.prompt_text, &tokens_, &read.prompt_ids, nullptr));
      } else {
        read.prompt_ids = record.prompt_ids;
      }
    }
    return absl::OkStatus();
  }

  const ItemScorer score_;
  const std::vector<Reading>& readings_;
  const InputOptions& input_;
  const bool keep_text_;
  const bool keep_spans_;
  const std::vector<std::string>& paths_;
  TokenizedText tokens_;
};

// Batches in order; workers take them, the caller's thread adds at the back and waits for the front.
class Queue {
 public:
  void Add(std::shared_ptr<Batch> batch) {
    std::lock_guard<std::mutex> lock(mutex_);
    waiting_.push_back(std::move(batch));
    work_.notify_one();
  }
  std::shared_ptr<Batch> Take() {
    std::unique_lock<std::mutex> lock(mutex_);
    work_.wait(lock, [this] { return !waiting_.empty() || closed_; });
    if (waiting_.empty()) return nullptr;
    std::shared_ptr<Batch> batch = std::move(waiting_.front());
    waiting_.pop_front();
    return batch;
  }
  void Done(Batch& batch) {
    std::lock_guard<std::mutex> lock(mutex_);
    batch.done = true;
    done_.notify_one();
  }
  void WaitFor(const Batch& batch) {
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [&batch] { return batch.done; });
  }
  bool IsDone(const Batch& batch) {
    std::lock_guard<std::mutex> lock(mutex_);
    return batch.done;
  }
  void Close() {
    std::lock_guard<std::mutex> lock(mutex_);
    closed_ = true;
    waiting_.clear();
    work_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable done_;
  std::deque<std::shared_ptr<Batch>> waiting_;
  bool closed_ = false;
};

// The next batch; null at the end of the input or of the limit.
std::shared_ptr<Batch> ReadBatch(InputReader& reader, uint64_t limit, uint64_t* read) {
  auto batch = std::make_shared<Batch>();
  size_t bytes = 0;
  while (batch->items.size() < kBatchRecords && bytes < kBatchBytes && (limit == 0 || *read < limit)) {
    Item item;
    if (!reader.Next(&item.raw)) break;
    if (!item.raw.ends_file) ++*read;
    bytes += item.raw.bytes.size();
    for (const std::string& cell : item.raw.cells) bytes += cell.size();
    batch->items.push_back(std::move(item));
  }
  return batch->items.empty() ? nullptr : batch;
}

}  // namespace

absl::Status RunPipeline(InputReader& reader, const Detector& detector, const std::vector<Reading>& readings, const PipelineOptions& options,
                         const std::function<absl::Status(Item&)>& sink) {
  const auto make_scorer = [&] {
    return [&, pairs = std::make_shared<PairSet>(detector.window()), weights = std::vector<PairWeight>()](Item& item) mutable -> absl::Status {
      if (options.weights != nullptr) CM_RETURN_IF_ERROR(EvaluateReadings(*options.weights, readings, item.record.text, &item.readings));
      for (size_t i = 0; i < readings.size(); ++i) {
        ReadRecord& read = item.readings[i];
        if (readings[i].of_epoch) CM_RETURN_IF_ERROR(detector.CheckIds(read.ids));
        pairs->Clear();
        if (item.record.has_prompt) pairs->ExcludeWindowsOf(read.prompt_ids);
        pairs->Add(read.ids);
        read.result = detector.Score(*pairs);
        if (options.weights != nullptr) {
          weights.clear();
          CM_RETURN_IF_ERROR(AppendEntropyWeights(*pairs, read.ids, read.nats, &weights));
          read.weighted = detector.ScoreWeighted(*pairs, weights);
        }
        if (!options.passage_level) continue;
        read.passages = FindPassages(detector, *pairs, read.ids, read.spans, item.record.text, *options.passage_level);
        read.spans = std::vector<ByteSpan>();
      }
      return absl::OkStatus();
    };
  };
  return RunPipeline(reader, readings, options, make_scorer, sink);
}

absl::Status RunPipeline(InputReader& reader, const std::vector<Reading>& readings, const PipelineOptions& options, const std::function<ItemScorer()>& make_scorer,
                         const std::function<absl::Status(Item&)>& sink) {
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const int threads = options.threads > 0 ? options.threads : cores;
  const std::vector<std::string>& paths = reader.paths();
  uint64_t read = 0;
  if (threads == 1) {
    Worker worker(make_scorer(), readings, options, paths);
    while (std::shared_ptr<Batch> batch = ReadBatch(reader, options.limit, &read)) {
      for (Item& item : batch->items) {
        worker.Work(item);
        CM_RETURN_IF_ERROR(sink(item));
      }
    }
    return absl::OkStatus();
  }

  Queue queue;
  std::vector<std::thread> workers;
  for (int i = 0; i < threads; ++i) {
    workers.emplace_back([&] {
      Worker worker(make_scorer(), readings, options, paths);
      while (std::shared_ptr<Batch> batch = queue.Take()) {
        for (Item& item : batch->items) worker.Work(item);
        queue.Done(*batch);
      }
    });
  }
  std::deque<std::shared_ptr<Batch>> in_flight;
  const size_t bound = static_cast<size_t>(threads) * 4;
  bool more = true;
  absl::Status status;
  while (status.ok() && (more || !in_flight.empty())) {
    // Keep the workers fed first, then give out what is ready.
    while (more && in_flight.size() < bound) {
      std::shared_ptr<Batch> batch = ReadBatch(reader, options.limit, &read);
      more = batch != nullptr;
      if (!more) break;
      in_flight.push_back(batch);
      queue.Add(std::move(batch));
      if (queue.IsDone(*in_flight.front())) break;
    }
    if (in_flight.empty()) continue;
    queue.WaitFor(*in_flight.front());
    for (Item& item : in_flight.front()->items) {
      status = sink(item);
      if (!status.ok()) break;
    }
    in_flight.pop_front();
  }
  queue.Close();
  for (std::thread& thread : workers) thread.join();
  return status;
}

}  // namespace countermark::detect_tool
