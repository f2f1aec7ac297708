#include "tests/kernels/parity.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <limits>
#include <optional>
#include <random>
#include <sstream>
#include <vector>

#include "countermark/mark/weight.h"
#include "src/server/half.h"
#include "tests/kernels/device_table.h"
#include "src/sampling/request_access.h"
#include "tests/sampling/fixture.h"

namespace countermark::testing {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// Choices from a case's own stream of numbers.
class Dice {
 public:
  explicit Dice(uint64_t seed) : rng_(seed) {}
  uint64_t Below(uint64_t n) { return rng_() % n; }
  bool OneIn(uint64_t n) { return Below(n) == 0; }
  template <typename T, size_t n>
  T Of(const T (&choices)[n]) {
    return choices[Below(n)];
  }
  float Normal(float spread) { return std::normal_distribution<float>(0, spread)(rng_); }

 private:
  std::mt19937_64 rng_;
};

enum Pattern { kNormal, kPeaked, kFlat, kTies, kOneLeft, kBlocks, kHoles, kZeros, kDenormal, kWithNan, kWithInfinity, kNothing, kHuge, kPatterns };

std::vector<float> MakeRow(Dice* dice, int32_t n, Pattern pattern) {
  static constexpr float kSpreads[] = {0.5f, 2.0f, 3.0f, 6.0f};
  const float spread = dice->Of(kSpreads);
  std::vector<float> z(static_cast<size_t>(n));
  for (float& x : z) x = dice->Normal(spread);
  const auto any = [&] { return static_cast<size_t>(dice->Below(static_cast<uint64_t>(n))); };
  switch (pattern) {
    case kPeaked:
      for (int i = 0; i < 5; ++i) z[any()] += 4 * spread;
      break;
    case kFlat:
      for (float& x : z) x = x * 1e-3f + 7.0f;
      break;
    case kTies:
      for (float& x : z) x = std::round(x);
      break;
    case kOneLeft: {
      const size_t left = any();
      for (size_t i = 0; i < z.size(); ++i) {
        if (i != left) z[i] = -kInf;
      }
      break;
    }
    case kBlocks: {
      const size_t width = 1 + any();
      for (size_t i = 0; i < z.size(); ++i) {
        if (i / width % 2 == 0 && i + 1 < z.size()) z[i] = -kInf;
      }
      break;
    }
    case kHoles:
      for (size_t i = 0; i + 1 < z.size(); ++i) {
        if (dice->OneIn(2)) z[i] = -kInf;
      }
      break;
    case kZeros:
      for (float& x : z) x = x > 0 ? 0.0f : -0.0f;
      break;
    case kDenormal:
      for (float& x : z) x *= 1e-40f;
      break;
    case kWithNan:
      for (int i = 0; i < 3; ++i) z[any()] = std::numeric_limits<float>::quiet_NaN();
      break;
    case kWithInfinity:
      for (int i = 0; i < 3; ++i) z[any()] = kInf;
      break;
    case kNothing:
      std::fill(z.begin(), z.end(), dice->OneIn(2) ? -kInf : std::numeric_limits<float>::quiet_NaN());
      break;
    case kHuge:
      for (float& x : z) x *= 1e4f;
      break;
    default:
      break;
  }
  return z;
}

SamplingParameters MakeParameters(Dice* dice, int32_t vocabulary) {
  static constexpr float kTemperatures[] = {1e-3f, 0.3f, 0.7f, 1.0f, 1.0f, 1.5f, 5.0f, 0.0f};
  static constexpr double kTopP[] = {1e-6, 0.1, 0.5, 0.9, 0.95, 0.999, 1.0, 1.0, 1.0, 1.0};
  static constexpr double kMinP[] = {0, 0, 0, 0, 0.01, 0.1, 1.0};
  SamplingParameters p;
  p.temperature = dice->Of(kTemperatures);
  const int kTopK[] = {0, 0, 0, 1, 2, 50, 1000, vocabulary};
  p.top_k = dice->Of(kTopK);
  p.top_p = dice->Of(kTopP);
  p.min_p = dice->Of(kMinP);
  return p;
}

// What a batch's logits are as its type holds them, and what the hook sees of them.
struct Logits {
  LogitType type;
  std::vector<uint8_t> bytes;
  void Put(size_t at, float x) {
    if (type == kFloat32) {
      std::memcpy(bytes.data() + 4 * at, &x, 4);
    } else {
      const uint16_t h = type == kFloat16 ? server::HalfOf(x) : server::BfloatOf(x);
      std::memcpy(bytes.data() + 2 * at, &h, 2);
    }
  }
  float Get(size_t at) const {
    if (type == kFloat32) {
      float x;
      std::memcpy(&x, bytes.data() + 4 * at, 4);
      return x;
    }
    uint16_t h;
    std::memcpy(&h, bytes.data() + 2 * at, 2);
    return type == kFloat16 ? server::FloatOfHalf(h) : server::FloatOfBfloat(h);
  }
};

struct RowCase {
  const Hook* hook;
  std::optional<Request> request;  // as the hook has it
  SlotState state;
  std::string told;                // for messages
};

// ln of the chosen token's share of the truncated, unmarked distribution.
float LogShare(const RowScratch& scratch, const Choice& choice) {
  const CandidateSet& set = scratch.last;
  for (size_t i = 0; i < set.ids.size(); ++i) {
    if (set.ids[i] == choice.token) return static_cast<float>(std::log(static_cast<double>(set.weights[i]) / static_cast<double>(set.total)));
  }
  return 1;
}

// A row of a batch: its slot, and how many drafts go before it.
struct Place {
  int32_t slot, depth;
};

// Rows of a batch of at most `most`: each slot once; with drafts, some slots have several rows, one after another.
std::vector<Place> MakePlaces(Dice* dice, const std::vector<int32_t>& slots, int32_t most, bool drafts) {
  static constexpr int32_t kDepths[] = {0, 0, 1, 2, 3, 5, kMaxDepth};
  std::vector<Place> places;
  for (int32_t slot : slots) {
    const int32_t deepest = drafts ? dice->Of(kDepths) : 0, left = most - static_cast<int32_t>(places.size());
    for (int32_t d = 0; d <= deepest && d < left; ++d) places.push_back({slot, d});
  }
  return places;
}

// What the hook gives for a row.
struct Expected {
  int32_t token = kNoToken;
  Cause cause = Cause::kFault;
  float logprob = -kInf;
  int32_t holds = 0;
};

// The rows of one slot from `first` on. Drafts are what the hook chooses, mostly; the request takes what holds.
void ExpectSlot(Dice* dice, const std::vector<Place>& places, size_t first, const std::vector<std::vector<float>>& logits, RowCase* c, RowScratch* scratch,
                std::vector<int32_t>* drafts, std::vector<Expected>* expected) {
  const int32_t vocabulary = static_cast<int32_t>(logits[first].size());
  size_t n = 1;
  while (first + n < places.size() && places[first + n].depth > 0) ++n;
  for (size_t d = 0; d < n; ++d) {
    Expected& e = (*expected)[first + d];
    const std::vector<float>& z = logits[first + d];
    const absl::StatusOr<Choice> choice = c->hook->Choose(*c->request, {z.data(), z.size()}, scratch);
    if (choice.ok()) {
      e.token = static_cast<int32_t>(choice->token);
      e.cause = choice->cause;
      e.logprob = c->state == kSlotGreedy ? 0.0f : LogShare(*scratch, *choice);
    }
    int32_t& draft = (*drafts)[first + d];
    draft = dice->OneIn(8) || !choice.ok() ? static_cast<int32_t>(dice->Below(static_cast<uint64_t>(vocabulary))) : e.token;
    if (dice->OneIn(60)) draft = kNoToken;  // what is no token
    if (d + 1 < n) c->request->Commit(static_cast<uint32_t>(draft), Cause::kForced);
  }
  (void)c->request->Rollback(n - 1);
  int32_t& holds = (*expected)[first].holds;
  for (size_t d = 0; d < n && (*expected)[first + d].token != kNoToken; ++d) {
    const Expected& e = (*expected)[first + d];
    c->request->Commit(static_cast<uint32_t>(e.token), e.cause);
    ++holds;
    if (d + 1 < n && e.token != (*drafts)[first + d]) break;
  }
}

}  // namespace

std::string CheckCase(uint64_t number, const CaseLimits& limits) {
  Dice dice(number * 0x9E3779B97F4A7C15ull + 1);
  static constexpr int32_t kVocabularies[] = {1, 31, 32, 1000, 4096, 49152, 50257, 128256, 151936, 256000};
  static constexpr int32_t kRows[] = {1, 2, 33, 256};
  int32_t vocabulary, rows;
  do {
    vocabulary = dice.Of(kVocabularies);
    rows = dice.Of(kRows);
  } while (vocabulary > limits.largest_vocabulary || rows > limits.most_rows || static_cast<int64_t>(vocabulary) * rows > limits.most_logits);
  const int32_t columns = vocabulary + (dice.OneIn(2) ? 0 : static_cast<int32_t>(dice.Below(130)));
  const int64_t stride = columns + (dice.OneIn(2) ? 0 : static_cast<int64_t>(dice.Below(9)));
  static constexpr LogitType kTypes[] = {kFloat32, kFloat16, kBfloat16};
  const LogitType type = dice.Of(kTypes);
  const bool drafts = dice.OneIn(3);
  const int32_t kMaxLength = drafts ? 48 + 2 * (kMaxDepth + 1) : 48;

  // A few epochs at once: schemes, window lengths and channels of their own.
  std::vector<Hook> hooks;
  for (int e = 0; e < 3; ++e) {
    static constexpr Scheme kSchemes[] = {Scheme::kPartition, Scheme::kTournament, Scheme::kGumbel};
    EpochKeys keys = MakeEpoch(kSchemes[(number + static_cast<uint64_t>(e)) % 3], static_cast<uint32_t>(vocabulary), number + 100 * static_cast<uint64_t>(e));
    keys.record.mark.window = 1 + static_cast<int>(dice.Below(4));
    static constexpr int kGreen[] = {64, 128, 1, 255};
    keys.record.mark.green = dice.Of(kGreen);
    static constexpr double kDelta[] = {2.0, 0.001, 16.0};
    keys.record.mark.delta = dice.Of(kDelta);
    static constexpr int kLayers[] = {30, 1, 32};
    keys.record.mark.layers = dice.Of(kLayers);
    const std::vector<ChannelSpec> channels[] = {{{"base", 65536}}, {{"base", 32768}, {"account", 32768}}, {{"base", 26214}, {"account", 26214}, {"request", 13108}}};
    keys.record.channels = channels[dice.Below(3)];
    keys.record.low_entropy = LowEntropyPolicy::kAllow;
    HookOptions options;
    static constexpr int kCandidates[] = {1024, 1024, 2, 50, 1};
    options.tournament_candidates = dice.Of(kCandidates);
    options.marking = !dice.OneIn(8);
    hooks.push_back(*Hook::Create(std::move(keys), options));
  }

  DeviceTable device(rows, kMaxLength, rows, columns);
  std::deque<RowCase> cases;  // never copied: a copied table would be made by sanitized code and read by code that is not
  std::vector<int32_t> slots;
  for (int32_t r = 0; r < rows; ++r) {
    const Hook& hook = hooks[dice.Below(hooks.size())];
    RequestOptions options;
    options.base_only = dice.OneIn(4);
    if (!options.base_only) options.account = dice.OneIn(2) ? "org-1" : "org-2";
    options.request = std::to_string(r);
    options.parameters = MakeParameters(&dice, vocabulary);
    options.seed = dice.Below(1000);
    Request request = *hook.Begin(options);
    const SlotState state = StateOf(hook, request);
    device.Begin(r, RecordOf(hook, request, state));
    // A few tokens said over and over, so that windows come again; sometimes one that is no token.
    std::vector<uint32_t> history(dice.Below(46));
    const uint64_t alphabet = 1 + dice.Below(3);
    for (uint32_t& t : history) t = static_cast<uint32_t>(dice.Below(std::min<uint64_t>(alphabet, static_cast<uint64_t>(vocabulary))));
    if (!history.empty() && dice.OneIn(20)) history.back() = 0xFFFFFF;
    if (!history.empty()) device.Commit(r, history);
    for (uint32_t t : history) request.Commit(t, Cause::kForced);
    std::ostringstream told;
    const SamplingParameters& p = options.parameters;
    told << SchemeName(hook.record().mark.scheme) << " h=" << hook.record().mark.window << " T=" << p.temperature << " k=" << p.top_k << " p=" << p.top_p
         << " min-p=" << p.min_p << " base-only=" << options.base_only << " length=" << history.size() << " M=" << RequestAccess::Options(hook).tournament_candidates;
    cases.push_back({&hook, std::move(request), state, told.str()});
    slots.push_back(r);
  }
  std::shuffle(slots.begin(), slots.end(), std::mt19937(static_cast<unsigned>(number)));  // a row's place is not its slot's

  DeviceArray<int32_t> tokens(static_cast<size_t>(rows)), accepted(static_cast<size_t>(rows));
  DeviceArray<float> logprobs(static_cast<size_t>(rows));
  DeviceArray<uint8_t> causes(static_cast<size_t>(rows));
  RowScratch scratch;
  for (int step = 0; step < 2; ++step) {
    const std::vector<Place> places = MakePlaces(&dice, slots, rows, drafts);
    Logits logits = {type, std::vector<uint8_t>(static_cast<size_t>(rows) * static_cast<size_t>(stride) * (type == kFloat32 ? 4 : 2) + 16, 0xFF)};
    std::vector<Pattern> patterns;
    std::vector<std::vector<float>> stored;  // as the batch's type holds them
    for (int32_t r = 0; r < static_cast<int32_t>(places.size()); ++r) {
      patterns.push_back(dice.OneIn(2) ? kNormal : static_cast<Pattern>(dice.Below(kPatterns)));
      const std::vector<float> z = MakeRow(&dice, vocabulary, patterns.back());
      for (size_t i = 0; i < z.size(); ++i) logits.Put(static_cast<size_t>(r * stride) + i, z[i]);
      for (int32_t i = vocabulary; i < columns; ++i) logits.Put(static_cast<size_t>(r * stride + i), 1e4f);  // padding that must never be chosen
      stored.emplace_back(z.size());
      for (size_t i = 0; i < z.size(); ++i) stored.back()[i] = logits.Get(static_cast<size_t>(r * stride) + i);
    }
    std::vector<int32_t> drafted(places.size()), slot_of, depth_of;
    std::vector<Expected> expected(places.size());
    for (size_t r = 0; r < places.size(); ++r) {
      slot_of.push_back(places[r].slot);
      depth_of.push_back(places[r].depth);
      if (places[r].depth == 0) ExpectSlot(&dice, places, r, stored, &cases[static_cast<size_t>(places[r].slot)], &scratch, &drafted, &expected);
    }
    DeviceArray<int32_t> slots_on_device{std::span<const int32_t>(slot_of)}, depths_on_device{std::span<const int32_t>(depth_of)},
        drafts_on_device{std::span<const int32_t>(drafted)};
    DeviceArray<uint8_t> on_device(std::span<const uint8_t>(logits.bytes.data(), logits.bytes.size()));
    SampleBatch batch = {};
    batch.slots = slots_on_device.get();
    batch.rows = static_cast<int32_t>(places.size());
    batch.depths = drafts ? depths_on_device.get() : nullptr;
    batch.drafts = drafts ? drafts_on_device.get() : nullptr;
    batch.columns = columns;
    batch.vocabulary = vocabulary;
    batch.type = type;
    batch.logits = on_device.get();
    batch.stride = stride;
    batch.out_tokens = tokens.get();
    batch.out_logprobs = logprobs.get();
    batch.out_causes = causes.get();
    batch.out_accepted = accepted.get();
    batch.commit = 1;
    if (const cudaError_t error = countermark_launch_sample(device.table(), device.space(), batch, nullptr); error != cudaSuccess) {
      return std::string("case ") + std::to_string(number) + ": launch: " + cudaGetErrorString(error);
    }
    if (const cudaError_t error = cudaDeviceSynchronize(); error != cudaSuccess) return std::string("run: ") + cudaGetErrorString(error);
    const std::vector<int32_t> got = tokens.Get(), holds = accepted.Get();
    const std::vector<float> got_logprobs = logprobs.Get();
    const std::vector<uint8_t> got_causes = causes.Get();
    for (size_t r = 0; r < places.size(); ++r) {
      const Expected& e = expected[r];
      if (got[r] == e.token && got_causes[r] == static_cast<uint8_t>(e.cause) && holds[r] == e.holds &&
          (got_logprobs[r] == e.logprob || std::abs(got_logprobs[r] - e.logprob) < 1e-5f)) {
        continue;
      }
      std::ostringstream out;
      out << "case " << number << " step " << step << " row " << r << " of " << places.size() << " depth " << places[r].depth << " V=" << vocabulary << " columns=" << columns
          << " type=" << type << " pattern=" << patterns[r] << " [" << cases[static_cast<size_t>(places[r].slot)].told << "]: device token " << got[r] << " cause "
          << int{got_causes[r]} << " logprob " << got_logprobs[r] << " holds " << holds[r] << "; hook token " << e.token << " cause " << CauseName(e.cause) << " logprob "
          << e.logprob << " holds " << e.holds;
      return out.str();
    }
  }
  for (int32_t s = 0; s < rows; ++s) {
    const Slot slot = device.SlotAt(s);
    const RowCase& c = cases[static_cast<size_t>(s)];
    for (int k = 0; k < kCauses; ++k) {
      if (slot.counters[k] != c.request->counters().by_cause[static_cast<size_t>(k)]) {
        return "case " + std::to_string(number) + ": counters of slot " + std::to_string(s) + " differ [" + c.told + "]";
      }
    }
    if (slot.length != c.request->size()) return "case " + std::to_string(number) + ": lengths differ";
  }
  return "";
}

}  // namespace countermark::testing
