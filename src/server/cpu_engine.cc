#include "src/server/cpu_engine.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include <openssl/crypto.h>

#include "absl/cleanup/cleanup.h"
#include "countermark/mark/select.h"
#include "countermark/mark/weight.h"
#include "src/base/status_macros.h"
#include "src/sampling/request_access.h"
#include "src/server/cpu_slot.h"
#include "src/server/half.h"

namespace countermark::server {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr SamplingParameters kPlain = {};  // rows without a request: temperature 1, nothing left out

uint64_t PlainBits(const Secret32& key, uint64_t position) {
  uint32_t words[8];
  LoadKeyWords(key.Reveal(SecretAccess()), words);
  const uint64_t bits = DrawBits(words, position, 0);
  OPENSSL_cleanse(words, sizeof words);
  return bits;
}

// What became of one row of a step.
struct Outcome {
  int32_t token = COUNTERMARK_NO_TOKEN;
  Cause cause = Cause::kFault;
  float logprob = -kInfinity;
  int32_t group = 0;      // rows of its slot that belong together, from this one on; 0: this row goes with one before it
  bool alone = false;     // its slot has not begun, or its depth does not follow
};

class CpuEngine : public Engine {
 public:
  explicit CpuEngine(const EngineShape& shape)
      : shape_(shape), slots_(static_cast<size_t>(shape.slots)), claimed_(slots_.size()), committed_(slots_.size()), outcomes_(static_cast<size_t>(shape.rows)),
        spare_key_(Secret32::Random()) {}

  absl::Status Begin(int32_t slot, BegunRequest request, void*) override {
    At(slot).Begin(std::move(request));
    return absl::OkStatus();
  }

  absl::Status Commit(int32_t slot, std::span<const uint32_t> tokens, void*) override {
    if (!At(slot).begun()) {
      ++metrics_.bad_slots;
      return absl::OkStatus();
    }
    At(slot).Commit(tokens, Length(), &metrics_);
    return absl::OkStatus();
  }

  absl::Status CommitRows(const int32_t* slots, const int32_t* tokens, int32_t rows, void*) override {
    ++commits_;
    for (int32_t r = 0; r < rows; ++r) {
      if (!Begun(slots[r]) || std::exchange(committed_[static_cast<size_t>(slots[r])], commits_) == commits_) {
        ++metrics_.bad_slots;
      } else if (tokens[r] >= 0) {
        const uint32_t token = static_cast<uint32_t>(tokens[r]);
        At(slots[r]).Commit({&token, 1}, Length(), &metrics_);
      }
    }
    return absl::OkStatus();
  }

  absl::Status Rollback(int32_t slot, size_t n, void*) override {
    if (n == 0) return absl::OkStatus();
    if (At(slot).begun()) {
      At(slot).Rollback(n, &metrics_);
    } else {
      ++metrics_.bad_slots;
    }
    return absl::OkStatus();
  }

  absl::Status Rebuild(int32_t slot, std::span<const uint32_t> tokens, void*) override {
    if (At(slot).begun()) {
      At(slot).Rebuild(tokens, Length(), &metrics_);
    } else {
      ++metrics_.bad_slots;
    }
    return absl::OkStatus();
  }

  absl::Status End(int32_t slot, void*) override {
    At(slot).End();
    return absl::OkStatus();
  }

  absl::Status Sample(const countermark_batch& batch) override { return Step(batch, /*bias=*/false); }
  absl::Status Bias(const countermark_batch& batch) override { return Step(batch, /*bias=*/true); }

  absl::StatusOr<EngineMetrics> Metrics() override { return metrics_; }
  absl::StatusOr<std::array<uint64_t, kTableCauses>> Counters(int32_t slot) override { return At(slot).Counters(); }

 private:
  CpuSlot& At(int32_t slot) { return slots_[static_cast<size_t>(slot)]; }
  bool Begun(int32_t slot) { return slot >= 0 && slot < shape_.slots && At(slot).begun(); }
  uint64_t Length() const { return static_cast<uint64_t>(shape_.max_length); }

  // All rows are sampled as the slots stand before the step; then what holds is committed. So a slot that is named twice gives both the same.
  absl::Status Step(const countermark_batch& batch, bool bias) {
    if (batch.rows == 0) return absl::OkStatus();
    const auto began = std::chrono::steady_clock::now();
    ++metrics_.steps;
    biasing_ = bias;
    for (int32_t r = 0; r < batch.rows;) r += SampleGroup(batch, r, bias);
    for (int32_t r = 0; r < batch.rows; ++r) Settle(batch, r);
    metrics_.last_step_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    metrics_.all_steps_seconds += metrics_.last_step_seconds;
    return absl::OkStatus();
  }

  // The rows of one slot from row `first` on, each with one draft more committed before it than the one before; returns how many.
  int32_t SampleGroup(const countermark_batch& batch, int32_t first, bool bias) {
    const int32_t slot = batch.slots[first], depth = batch.depths ? batch.depths[first] : 0;
    if (!Begun(slot) || depth != 0) {
      SampleAlone(batch, first, bias);
      return 1;
    }
    int32_t n = 1;
    if (batch.depths != nullptr) {
      while (first + n < batch.rows && n <= COUNTERMARK_MAX_DRAFTS && batch.slots[first + n] == slot && batch.depths[first + n] == n) ++n;
    }
    CpuSlot& at = At(slot);
    Request& request = at.request();
    size_t drafted = 0;
    const auto take_back = absl::MakeCleanup([&] { (void)request.Rollback(drafted); });  // also where memory is short
    for (int32_t d = 0; d < n; ++d) {
      if (d > 0 && request.size() < Length()) {
        request.Commit(static_cast<uint32_t>(batch.drafts[first + d - 1]), Cause::kForced);
        ++drafted;
      }
      Outcome& outcome = outcomes_[static_cast<size_t>(first + d)];
      outcome = {};
      outcome.group = d == 0 ? n : 0;
      if (bias) {
        BiasRow(batch, first + d, at, at.length() + static_cast<uint64_t>(d) - drafted, &outcome);
      } else {
        SampleRow(batch, first + d, at, at.length() + static_cast<uint64_t>(d) - drafted, &outcome);
      }
    }
    // Room for one token more, while nothing has changed: committing what holds cannot fail then.
    if (batch.commit && request.size() < Length()) {
      request.Commit(0, Cause::kForced);
      ++drafted;
    }
    return n;
  }

  // A row that is nobody's: drawn plainly at temperature 1, at a position that no such row had before; or left to the host.
  void SampleAlone(const countermark_batch& batch, int32_t r, bool bias) {
    const uint64_t position = metrics_.bad_slots++;
    Outcome& outcome = outcomes_[static_cast<size_t>(r)];
    outcome = {};
    outcome.group = 1;
    outcome.alone = true;
    const float* logits = Logits(batch, r);
    if (bias) {
      LookForFaults(logits);
      HidePadding(batch, r);
      return;
    }
    DrawRow(logits, kPlain, spare_key_, position, &outcome);
  }

  // Counts a row that nothing else looks at.
  void LookForFaults(const float* logits) {
    RowFault fault;
    uint32_t likeliest;
    (void)Greedy({logits, static_cast<size_t>(shape_.vocabulary)}, &likeliest, &fault);
    if (fault != RowFault::kNone) ++metrics_.bad_rows;
  }

  void SampleRow(const countermark_batch& batch, int32_t r, const CpuSlot& slot, uint64_t position, Outcome* outcome) {
    const float* logits = Logits(batch, r);
    if (slot.state() == kSlotFaulty || position >= Length()) {
      DrawRow(logits, DrawnBy(slot.request().parameters()), RequestAccess::SamplingKey(slot.request()), position, outcome);
      return;
    }
    const absl::StatusOr<Choice> choice = slot.hook().Choose(slot.request(), {logits, static_cast<size_t>(batch.columns)}, &scratch_);
    TakeChoice(choice, slot, outcome);
  }

  void BiasRow(const countermark_batch& batch, int32_t r, const CpuSlot& slot, uint64_t position, Outcome* outcome) {
    if (slot.state() == kSlotFaulty || position >= Length()) {
      SampleRow(batch, r, slot, position, outcome);
      if (outcome->token >= 0) {
        LeaveOne(batch, r, outcome->token);
      } else {
        HidePadding(batch, r);
      }
      return;
    }
    const bool single = batch.dtype == COUNTERMARK_F32;
    const size_t columns = static_cast<size_t>(batch.columns);
    float* logits = single ? RowOf<float>(batch, r) : const_cast<float*>(Converted(batch, r, columns));
    const absl::StatusOr<Choice> choice = slot.hook().Bias(slot.request(), {logits, columns}, &scratch_);
    if (choice.ok() && shape_.scheme == Scheme::kPartition && (choice->cause == Cause::kMarked || choice->cause == Cause::kStart ||
                                                               choice->cause == Cause::kRepeatedWindow || choice->cause == Cause::kOff)) {
      outcome->cause = choice->cause;
      if (choice->cause != Cause::kMarked) LookForFaults(logits);  // the hook had no need to look at the row
    } else {
      TakeChoice(choice, slot, outcome);
    }
    if (!single) WriteBack(batch, r, logits, columns);
  }

  void TakeChoice(const absl::StatusOr<Choice>& choice, const CpuSlot& slot, Outcome* outcome) {
    if (!choice.ok()) {  // nothing finite
      ++metrics_.bad_rows;
      return;
    }
    outcome->token = static_cast<int32_t>(choice->token);
    outcome->cause = choice->cause;
    if (slot.state() == kSlotGreedy) {
      outcome->logprob = 0.0f;
      if (choice->cause == Cause::kFault) ++metrics_.bad_rows;
      return;
    }
    outcome->logprob = LogProbability(choice->token);
    if (scratch_.last.fault != RowFault::kNone) ++metrics_.bad_rows;
  }

  void DrawRow(const float* logits, const SamplingParameters& parameters, const Secret32& key, uint64_t position, Outcome* outcome) {
    const CandidateSet set = Truncate({logits, static_cast<size_t>(shape_.vocabulary)}, parameters, &scratch_);
    if (set.fault != RowFault::kNone) ++metrics_.bad_rows;
    if (set.fault == RowFault::kEmpty) return;
    const uint32_t token = DrawPlainly(set, PlainBits(key, position));
    outcome->token = static_cast<int32_t>(token);
    outcome->logprob = LogProbability(token);
  }

  // Of a token of the last row's candidates.
  float LogProbability(uint32_t token) const {
    const CandidateSet& set = scratch_.last;
    const auto it = std::lower_bound(set.ids.begin(), set.ids.end(), token);
    if (it == set.ids.end() || *it != token) return -kInfinity;
    return static_cast<float>(std::log(static_cast<double>(set.weights[static_cast<size_t>(it - set.ids.begin())]) / static_cast<double>(set.total)));
  }

  // Says what became of row r; of the first row of a slot's also what the slot's next tokens are, and commits them.
  void Settle(const countermark_batch& batch, int32_t r) {
    const Outcome& outcome = outcomes_[static_cast<size_t>(r)];
    batch.out_tokens[r] = outcome.token;
    if (batch.out_logprobs) batch.out_logprobs[r] = outcome.logprob;
    if (batch.out_causes) batch.out_causes[r] = static_cast<uint8_t>(outcome.cause);
    int32_t hold = 0;
    if (outcome.group > 0 && (outcome.alone || !ClaimedAlready(batch.slots[r]))) {
      for (int32_t d = 0; d < outcome.group; ++d) {
        const int32_t token = outcomes_[static_cast<size_t>(r + d)].token;
        if (token == COUNTERMARK_NO_TOKEN || outcome.alone) break;
        ++hold;
        if (d + 1 < outcome.group && token != batch.drafts[r + d]) break;
      }
      if (!outcome.alone) Tell(batch, r, hold);
    }
    if (batch.out_accepted) batch.out_accepted[r] = hold;
  }

  // A slot that is named twice in a step is told and committed once.
  bool ClaimedAlready(int32_t slot) {
    if (std::exchange(claimed_[static_cast<size_t>(slot)], metrics_.steps) != metrics_.steps) return false;
    ++metrics_.bad_slots;
    return true;
  }

  // The slot of row r learns what its next tokens are, and takes them if that is asked.
  void Tell(const countermark_batch& batch, int32_t r, int32_t hold) {
    CpuSlot& slot = At(batch.slots[r]);
    slot.ForgetNotes();
    uint32_t tokens[COUNTERMARK_MAX_DRAFTS + 1];
    for (int32_t d = 0; d < hold; ++d) {
      const Outcome& row = outcomes_[static_cast<size_t>(r + d)];
      tokens[d] = static_cast<uint32_t>(row.token);
      slot.Note(tokens[d], row.cause, false);
    }
    // After bias without a token the host chooses, and the cause holds for what it takes.
    if (hold == 0 && biasing_) slot.Note(0, outcomes_[static_cast<size_t>(r)].cause, true);
    if (batch.commit) slot.Commit({tokens, static_cast<size_t>(hold)}, Length(), &metrics_);
  }

  template <typename T>
  T* RowOf(const countermark_batch& batch, int32_t r) const {
    return static_cast<T*>(batch.logits) + static_cast<int64_t>(r) * batch.row_stride;
  }

  const float* Logits(const countermark_batch& batch, int32_t r) {
    if (batch.dtype == COUNTERMARK_F32) return RowOf<const float>(batch, r);
    return Converted(batch, r, static_cast<size_t>(shape_.vocabulary));
  }

  const float* Converted(const countermark_batch& batch, int32_t r, size_t n) {
    converted_.resize(std::max(converted_.size(), static_cast<size_t>(batch.columns)));
    const uint16_t* __restrict from = RowOf<const uint16_t>(batch, r);
    float* __restrict to = converted_.data();
    if (batch.dtype == COUNTERMARK_F16) {
      for (size_t i = 0; i < n; ++i) to[i] = FloatOfHalf(from[i]);
    } else {
      for (size_t i = 0; i < n; ++i) to[i] = FloatOfBfloat(from[i]);
    }
    return to;
  }

  void WriteBack(const countermark_batch& batch, int32_t r, const float* __restrict from, size_t n) const {
    uint16_t* __restrict to = RowOf<uint16_t>(batch, r);
    if (batch.dtype == COUNTERMARK_F16) {
      for (size_t i = 0; i < n; ++i) to[i] = from[i] > 65504.0f && from[i] < kInfinity ? uint16_t{0x7BFF} : HalfOf(from[i]);  // the gain makes nothing infinite
    } else {
      for (size_t i = 0; i < n; ++i) to[i] = BfloatOf(from[i]);
    }
  }

  // Every logit of the row is −∞ but the token's, which is 0.
  void LeaveOne(const countermark_batch& batch, int32_t r, int32_t token) const {
    if (batch.dtype == COUNTERMARK_F32) {
      std::fill_n(RowOf<float>(batch, r), batch.columns, -kInfinity);
      RowOf<float>(batch, r)[token] = 0.0f;
      return;
    }
    std::fill_n(RowOf<uint16_t>(batch, r), batch.columns, batch.dtype == COUNTERMARK_F16 ? HalfOf(-kInfinity) : BfloatOf(-kInfinity));
    RowOf<uint16_t>(batch, r)[token] = 0;
  }

  // Columns beyond the vocabulary are never chosen, by the host either.
  void HidePadding(const countermark_batch& batch, int32_t r) const {
    const ptrdiff_t from = shape_.vocabulary, to = batch.columns;
    if (batch.dtype == COUNTERMARK_F32) {
      std::fill(RowOf<float>(batch, r) + from, RowOf<float>(batch, r) + to, -kInfinity);
    } else {
      std::fill(RowOf<uint16_t>(batch, r) + from, RowOf<uint16_t>(batch, r) + to, batch.dtype == COUNTERMARK_F16 ? HalfOf(-kInfinity) : BfloatOf(-kInfinity));
    }
  }

  EngineShape shape_;
  std::vector<CpuSlot> slots_;
  std::vector<uint64_t> claimed_, committed_;  // the step that last settled a slot, and the call of CommitRows that last committed to it
  uint64_t commits_ = 0;
  std::vector<Outcome> outcomes_;
  Secret32 spare_key_;             // draws of rows without a request
  bool biasing_ = false;
  RowScratch scratch_;
  std::vector<float> converted_;
  EngineMetrics metrics_;
};

}  // namespace

std::unique_ptr<Engine> MakeCpuEngine(const EngineShape& shape) { return std::make_unique<CpuEngine>(shape); }

}  // namespace countermark::server
