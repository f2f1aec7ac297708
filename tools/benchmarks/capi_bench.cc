// capi_bench LOGITS [ROUNDS]: what the C interface of servers costs on the host beside the C++ hook it stands on, and what the mark costs in it.
//
// Rows as in hook_bench. Everything that is compared is timed in turn on the same row.
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "countermark/countermark.h"
#include "countermark/keys/key_store.h"
#include "src/server/half.h"
#include "tools/benchmarks/epoch.h"
#include "tools/benchmarks/figures.h"
#include "tools/benchmarks/wide_rows.h"

namespace {

using namespace countermark;
using bench::Figures;
using bench::Rows;

constexpr int32_t kSlots = 8;
constexpr float kTopP = 0.95f;

// A hook of the C interface for an epoch of the bench, its slots begun and standing at windows of their own, as bench::MakeRequests gives them.
class Server {
 public:
  Server(Scheme scheme, uint32_t vocabulary, bool marking) : vocabulary_(vocabulary) {
    const std::string path = (std::filesystem::temp_directory_path() / ("countermark-capi-bench-" + std::to_string(getpid()))).string();
    const auto check = [&](countermark_status status, const char* message) {
      if (status == COUNTERMARK_OK) return;
      std::filesystem::remove(path);
      bench::Die(message);
    };
    const absl::Status written = WriteBundle(path, bench::MakeEpoch(scheme, vocabulary), SecretBytes(std::string_view("bench")));
    if (!written.ok()) bench::Die(std::string(written.message()));
    const countermark_keys_options clock = {sizeof clock, [](void*) { return int64_t{1795000000}; }, nullptr};
    countermark_keys* keys = countermark_keys_new(&clock);
    const auto give = [](void*, char* buffer, size_t size) { return static_cast<int>(std::string("bench").copy(buffer, size)); };
    const countermark_passphrase source = {sizeof source, -1, give, nullptr};
    check(countermark_keys_open_bundle(keys, path.c_str(), &source), countermark_keys_message(keys));
    std::filesystem::remove(path);
    countermark_hook_options options = countermark_hook_default_options();
    options.max_slots = kSlots;
    options.marking = marking;
    check(countermark_hook_create(keys, &options, &hook_), countermark_keys_message(keys));
    countermark_keys_free(keys);
    std::mt19937 random(2);
    for (int32_t s = 0; s < kSlots; ++s) {
      countermark_request request = countermark_default_request();
      request.account = "org-1";
      request.top_p = kTopP;
      request.seeded = 1;
      request.seed = static_cast<uint64_t>(s);
      check(countermark_begin(hook_, s, &request, nullptr), countermark_hook_message(hook_));
      uint32_t tokens[8];
      for (uint32_t& t : tokens) t = static_cast<uint32_t>(random() % vocabulary);
      check(countermark_commit(hook_, s, tokens, 8, nullptr), countermark_hook_message(hook_));
      slots_[s] = s;
    }
  }
  ~Server() { countermark_hook_free(hook_); }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // `rows` rows of one block of logits, for the slots from `first` on.
  int32_t Sample(const void* logits, countermark_dtype dtype, int32_t rows, int32_t first) {
    int32_t tokens[kSlots];
    countermark_batch batch = countermark_default_batch();
    batch.rows = rows;
    batch.slots = slots_ + first;
    batch.logits = const_cast<void*>(logits);  // sample reads it alone
    batch.dtype = dtype;
    batch.columns = static_cast<int32_t>(vocabulary_);
    batch.row_stride = vocabulary_;
    batch.out_tokens = tokens;
    if (countermark_sample(hook_, &batch) != COUNTERMARK_OK) bench::Die(countermark_hook_message(hook_));
    return tokens[0];
  }

 private:
  uint32_t vocabulary_;
  countermark_hook* hook_ = nullptr;
  int32_t slots_[kSlots];
};

void Time(const Rows& rows, size_t rounds, Figures& figures) {
  const uint32_t v = rows.vocabulary;
  const std::string of = ", " + rows.name + ", " + SamplingIsa();
  const SamplingParameters top_p = {1.0f, 0, static_cast<double>(kTopP), 0.0};
  volatile uint32_t sink = 0;
  size_t call = 0;
  const auto next_slot = [&] { return static_cast<int32_t>(call++ % kSlots); };
  const auto row_of = [&](size_t round) { return rows.rows[round % rows.rows.size()].data(); };
  std::vector<uint16_t> half(v);
  const auto touch = [&](size_t round) {  // the row lies in the cache, as when a model has just written it
    float sum = 0;
    for (uint32_t i = 0; i < v; i += 16) sum += row_of(round)[i];
    sink = sink + static_cast<uint32_t>(sum != 0);
  };
  const auto micro = [&](const std::string& what, double seconds) { figures.Add(what + of, 1e6 * seconds, "us"); };
  const struct {
    Scheme scheme;
    const char* target;  // of marked / unmarked, at V = 128256
  } schemes[] = {{Scheme::kGumbel, ""}, {Scheme::kPartition, "; target <= 1.05"}, {Scheme::kTournament, ""}};
  for (const auto& [scheme, target] : schemes) {
    const std::string called(SchemeName(scheme));
    Server marked(scheme, v, true), unmarked(scheme, v, false);
    const auto hook = bench::MakeHook(scheme, v);
    const std::vector<Request> requests = bench::MakeRequests(*hook, top_p, kSlots);
    RowScratch scratch;
    bench::Interleaved works;
    const size_t cpp = works.Add([&](size_t round) { sink = hook->Choose(requests[static_cast<size_t>(next_slot())], {row_of(round), v}, &scratch)->token; }, touch);
    const size_t c = works.Add([&](size_t round) { sink = static_cast<uint32_t>(marked.Sample(row_of(round), COUNTERMARK_F32, 1, next_slot())); }, touch);
    const size_t off = works.Add([&](size_t round) { sink = static_cast<uint32_t>(unmarked.Sample(row_of(round), COUNTERMARK_F32, 1, next_slot())); }, touch);
    const size_t bf16 = works.Add([&](size_t) { sink = static_cast<uint32_t>(marked.Sample(half.data(), COUNTERMARK_BF16, 1, next_slot())); },
                                  [&](size_t round) {
                                    for (uint32_t i = 0; i < v; ++i) half[i] = server::BfloatOf(row_of(round)[i]);
                                  });
    works.Run(rounds);
    micro(called + " by the C++ hook, top-p 0.95", works.Median(cpp));
    micro(called + " by the C interface, top-p 0.95", works.Median(c));
    figures.Add(called + ", C interface / C++ hook" + of, works.MedianRatio(c, cpp), "x", "the C++ hook; target <= 1.02");
    micro(called + " by the C interface, bf16", works.Median(bf16));
    figures.Add(called + ", C interface, marked / unmarked" + of, works.MedianRatio(c, off), "x", std::string("the same hook with marking = 0") + (rows.has_targets ? target : ""));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) bench::Die("give a file of logits: capi_bench LOGITS [ROUNDS]");
  const size_t rounds = argc > 2 ? static_cast<size_t>(std::atoi(argv[2])) : 300;
  const bench::LogitsRows model = bench::ReadLogits(argv[1]);
  Figures figures;
  Time(bench::RandomRows(16), rounds, figures);
  Time({"SmolLM2's rows, V=" + std::to_string(model.vocabulary), model.vocabulary, false, model.rows}, rounds, figures);
  Time(bench::Widen(model), rounds, figures);
  figures.Print();
}
