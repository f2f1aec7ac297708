#include "countermark/sampling/hook.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include <openssl/crypto.h>

#include "countermark/keys/derive.h"
#include "countermark/mark/channel.h"
#include "countermark/mark/partition.h"
#include "countermark/mark/prf.h"
#include "countermark/mark/select.h"
#include "countermark/mark/tournament.h"
#include "countermark/mark/weight.h"
#include "countermark/mark/wide.h"
#include "src/base/hex.h"
#include "src/base/status_macros.h"
#include "src/sampling/row_kernels.h"

namespace countermark {
namespace {

constexpr uint32_t kDrawPlain = 0;  // draw numbers of a position: the plain draw, or the tournament's choice of in or beyond its candidates
constexpr uint32_t kDrawInside = 1;  // within the side that draw 0 chose

// A key as the words ChaCha takes, wiped when it goes.
struct KeyWords {
  uint32_t words[8];
  explicit KeyWords(const Secret32& key) { LoadKeyWords(key.Reveal(SecretAccess()), words); }
  ~KeyWords() { OPENSSL_cleanse(words, sizeof words); }
  KeyWords(const KeyWords&) = delete;
  KeyWords& operator=(const KeyWords&) = delete;
};

// What the plain draws of requests without an account come from. A key of its own under the epoch's, which is never revealed: the base key may be, and then
// whoever had it could foretell these draws. No label of the format begins with "sampling", so it is no account's, and nothing is marked with it.
Secret32 BaseOnlyKey(const Secret32& epoch_key) { return DeriveKey(epoch_key, {"sampling", "base-only"}); }

constexpr std::array<uint8_t, Secret32::kSize> kNoKey = {};

// The draws of a floored request: from its account's key, its prompt and its parameters, so that a request which asked for no randomness
// still gets the same answer every time. Where the prompt is not known, nobody can tell the same request from another: see Begin.
Secret32 FlooredSamplingKey(const Secret32& noise_key, const RequestOptions& options) {
  std::string seen;
  for (uint32_t token : options.prompt) {
    for (int b = 0; b < 4; ++b) seen.push_back(static_cast<char>(token >> (8 * b) & 0xFF));
  }
  const SamplingParameters& p = options.parameters;
  seen += "|" + std::to_string(p.temperature) + "|" + std::to_string(p.top_k) + "|" + std::to_string(p.top_p) + "|" + std::to_string(p.min_p);
  const Digest32 digest = Sha256(seen);
  return DeriveKey(noise_key, {"sampling", "floor", HexEncode(digest)});
}

uint64_t NextHookId() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

}  // namespace

// What is known of the next token before its logits are: its window's channel, or the reason that it has none.
struct Hook::Position {
  Cause cause = Cause::kMarked;
  int channel = -1;
  uint32_t seed[8] = {};
  ~Position() { OPENSSL_cleanse(seed, sizeof seed); }
};

Hook::Hook(EpochKeys keys, const HookOptions& options)
    : id_(NextHookId()), keys_(std::move(keys)), options_(options), red_factor_(RedFactor(keys_.record.mark.delta)), base_(keys_.Base()), route_(keys_.Route()),
      base_only_(BaseOnlyKey(keys_.epoch_key)) {
  for (const ChannelSpec& channel : keys_.record.channels) weights_.push_back(channel.weight);
}

absl::StatusOr<Hook> Hook::Create(EpochKeys keys, const HookOptions& options) {
  CM_RETURN_IF_ERROR(SelfTest());
  CM_RETURN_IF_ERROR(keys.record.Validate());
  if (keys.record.vocabulary == 0 || keys.record.vocabulary >= kTokenLimit) {
    return absl::InvalidArgumentError("the epoch's vocabulary is " + std::to_string(keys.record.vocabulary) +
                                      "; a token id must fit three bytes");
  }
  if (options.tournament_candidates < 1) return absl::InvalidArgumentError("a tournament needs one candidate at least");
  return Hook(std::move(keys), options);
}

absl::StatusOr<Request> Hook::Begin(const RequestOptions& options) const {
  if (options.base_only) {
    if (!options.account.empty()) {
      return absl::InvalidArgumentError("the request is of account '" + options.account + "' and base_only, and can be one of these");
    }
    return BeginWith(options, base_only_, nullptr);
  }
  if (options.account.empty()) return absl::InvalidArgumentError("the request names no account; one that is to be marked in the base channel alone says so by base_only");
  if (options_.require_registered_accounts && !keys_.HasAccount(options.account)) {
    return absl::NotFoundError("unknown account '" + options.account + "' in epoch '" + keys_.record.epoch +
                               "'; register it with watermark-keys account add");
  }
  return Begin(options, keys_.Account(options.account));
}

absl::StatusOr<Request> Hook::Begin(const RequestOptions& options, const Secret32& account_key) const {
  if (options.base_only) return absl::InvalidArgumentError("a request that is base_only has no account's key");
  return BeginWith(options, account_key, &account_key);
}

absl::StatusOr<Request> Hook::BeginWith(const RequestOptions& options, const Secret32& noise_key, const Secret32* account_key) const {
  CM_ASSIGN_OR_RETURN(const PolicyOutcome policy,
                      ApplyLowEntropyPolicy(options.parameters, keys_.record.low_entropy, options_.floor));
  const Secret32 sampling_key =
      policy.floored && !options.prompt.empty() ? FlooredSamplingKey(noise_key, options)
      : options.seed   ? DeriveKey(noise_key, {"sampling", "seed", std::to_string(*options.seed)})
                       : Secret32::Random();
  Request request(keys_.record.mark.window, sampling_key);
  request.hook_ = id_;
  request.parameters_ = policy.parameters;
  request.floored_ = policy.floored;
  for (const ChannelSpec& channel : keys_.record.channels) {
    if (channel.name == "base") {
      request.channel_keys_.push_back(base_);
    } else if (account_key == nullptr) {
      request.plain_channels_ |= 1u << request.channel_keys_.size();
      request.channel_keys_.emplace_back(std::span(kNoKey));
    } else if (channel.name == "account") {
      request.channel_keys_.push_back(*account_key);
    } else {
      request.channel_keys_.push_back(DeriveRequestKey(*account_key, options.request));
    }
  }
  return request;
}

absl::Status Hook::CheckBegunHere(const Request& request) const {
  if (request.hook_ == id_) return absl::OkStatus();
  return absl::InvalidArgumentError("this request was begun by another hook; a request keeps its epoch's hook to its end");
}

Hook::Position Hook::Locate(const Request& request) const {
  Position position;
  const SamplingParameters& p = request.parameters();
  if (p.temperature < kMinTemperature || p.top_k == 1) {
    position.cause = Cause::kGreedy;
  } else if (!options_.marking) {
    position.cause = Cause::kOff;
  } else if (request.Window() == nullptr) {
    position.cause = Cause::kStart;
  } else if (const uint32_t* w = request.Window(); std::any_of(w, w + keys_.record.mark.window, [](uint32_t t) { return t >= kTokenLimit; })) {
    position.cause = Cause::kFault;  // a host committed what is no token: such a window has no encoding
  } else if (request.WindowRepeats()) {
    position.cause = Cause::kRepeatedWindow;
  } else {
    const MarkParameters& mark = keys_.record.mark;
    const uint32_t* window = request.Window();
    const int channel = RouteWindow(KeyWords(route_).words, mark.scheme, window, mark.window, weights_.data(), static_cast<int>(weights_.size()));
    // The same work whether or not the channel has a key.
    const KeyWords key(request.channel_keys_[static_cast<size_t>(channel)]);
    MarkSeed(key.words, mark.scheme, window, mark.window, position.seed);
    const bool plain = (request.plain_channels_ >> channel & 1) != 0;
    position.cause = plain ? Cause::kOff : Cause::kMarked;
    position.channel = plain ? -1 : channel;
  }
  return position;
}

uint64_t Hook::Random(const Request& request, uint32_t draw, uint32_t attempt) const {
  return DrawBits(KeyWords(request.sampling_key_).words, request.size(), 2 * attempt + draw);  // two draws an attempt
}

absl::StatusOr<Choice> Hook::Choose(const Request& request, const Row& full_row, RowScratch* scratch, uint32_t attempt) const {
  CM_RETURN_IF_ERROR(CheckBegunHere(request));
  Row row = full_row;
  const uint32_t vocabulary = keys_.record.vocabulary;
  if (row.ids == nullptr) {
    if (row.size < vocabulary) {
      return absl::InvalidArgumentError("the row has " + std::to_string(row.size) + " logits and the epoch's vocabulary " +
                                        std::to_string(vocabulary) + " tokens; is this the model the epoch was made for?");
    }
    row.size = vocabulary;  // rows padded beyond the vocabulary are never chosen
  } else {
    while (row.size > 0 && row.ids[row.size - 1] >= vocabulary) --row.size;
  }

  const Position position = Locate(request);
  Choice choice;
  if (position.cause == Cause::kGreedy) {
    RowFault fault;
    if (!Greedy(row, &choice.token, &fault)) return absl::UnavailableError("no finite logit in the row: there is no token to choose");
    choice.cause = fault == RowFault::kNone ? Cause::kGreedy : Cause::kFault;
    choice.candidates = 1;
    return choice;
  }
  const CandidateSet set = Truncate(row, request.parameters(), scratch);
  if (set.fault == RowFault::kEmpty) return absl::UnavailableError("no finite logit in the row: there is no token to choose");
  if (set.fault != RowFault::kNone || position.cause != Cause::kMarked) {
    choice.cause = set.fault != RowFault::kNone ? Cause::kFault : position.cause;
    choice.token = DrawPlainly(set, Random(request, kDrawPlain, attempt));
  } else if (set.ids.size() == 1) {
    choice.cause = Cause::kForced;
    choice.token = set.ids[0];
  } else if (attempt > 0 && keys_.record.mark.scheme == Scheme::kTournament) {
    choice.cause = Cause::kForced;
    choice.token = DrawPlainly(set, Random(request, kDrawPlain, attempt));
  } else {
    CM_ASSIGN_OR_RETURN(choice, ChooseMarked(request, position, set, scratch, attempt));
  }
  choice.candidates = static_cast<uint32_t>(set.ids.size());
  return choice;
}

namespace {

// The words of the set's tokens.
void WordsOf(const uint32_t seed[8], std::span<const uint32_t> ids, std::vector<uint32_t>* words) {
  words->resize(ids.size());
  WordsAt(seed, ids.data(), static_cast<uint32_t>(ids.size()), words->data());
}

// The place of a plain draw over 64-bit weights.
size_t DrawPlace(std::span<const uint64_t> weights, uint64_t total, uint64_t random) {
  const uint64_t x = DrawTarget(random, total);
  uint64_t cumulative = 0;
  size_t i = 0;
  for (constexpr size_t kBlock = 256; i + kBlock <= weights.size(); i += kBlock) {
    uint64_t block = 0;
    for (size_t j = 0; j < kBlock; ++j) block += weights[i + j];
    if (cumulative + block > x) break;
    cumulative += block;
  }
  for (; i + 1 < weights.size(); ++i) {
    cumulative += weights[i];
    if (cumulative > x) break;
  }
  return i;
}

// m layers on the candidates' words; weights in place. Returns their sum. One pass a layer: it makes the new weights and sums those of the next
// layer's ones at once.
uint64_t RunTournament(std::span<const uint32_t> words, int layers, std::vector<uint64_t>* weights) {
  uint64_t* __restrict w = weights->data();
  const uint32_t* __restrict word = words.data();
  const size_t n = words.size();
  const auto mask = [word](size_t i, int layer) { return 0 - (static_cast<uint64_t>(word[i]) >> layer & 1); };
  uint64_t total = 0;
  for (size_t i = 0; i < n; ++i) total += w[i];
  const int shift = TournamentShift(total);
  total <<= shift;
  uint64_t ones = 0;
  for (size_t i = 0; i < n; ++i) {
    w[i] <<= shift;
    ones += w[i] & mask(i, 0);
  }
  for (int layer = 0; layer < layers; ++layer) {
    const uint64_t ratio = TournamentRatio(total, ones);
    total = ones = 0;
    for (size_t i = 0; i < n; ++i) {
      w[i] = TournamentWeight(w[i], static_cast<uint32_t>(mask(i, layer)), ratio);
      total += w[i];
      ones += w[i] & mask(i, layer + 1);
    }
  }
  return total;
}

}  // namespace

absl::StatusOr<Choice> Hook::ChooseMarked(const Request& request, const Position& position, const CandidateSet& set,
                                          RowScratch* scratch, uint32_t attempt) const {
  const MarkParameters& mark = keys_.record.mark;
  Choice choice;
  choice.cause = Cause::kMarked;
  choice.channel = position.channel;
  const size_t n = set.ids.size();
  switch (mark.scheme) {
    case Scheme::kGumbel: {
      WordsOf(position.seed, set.ids, &scratch->words);
      choice.token = set.ids[row_kernels::Best().race(scratch->words.data(), set.weights.data(), n)];
      return choice;
    }
    case Scheme::kPartition: {
      scratch->bytes.resize(n);
      BytesAt(position.seed, set.ids.data(), static_cast<uint32_t>(n), scratch->bytes.data());
      scratch->tournament.resize(n);
      const uint64_t total = row_kernels::Best().tilt(scratch->bytes.data(), set.weights.data(), n, static_cast<uint32_t>(mark.green),
                                                      red_factor_, scratch->tournament.data());
      if (total == 0) {  // every candidate is red and lighter than 2²³/factor: the tilt is the same for all, so draw plainly
        choice.token = DrawPlainly(set, Random(request, kDrawPlain, attempt));
        return choice;
      }
      choice.token = set.ids[DrawPlace(scratch->tournament, total, Random(request, kDrawPlain, attempt))];
      return choice;
    }
    case Scheme::kTournament: {
      // The M heaviest play; with the probability of the others, one of them is drawn plainly instead.
      TopIndices(set, static_cast<size_t>(options_.tournament_candidates), scratch, &scratch->top);
      const std::vector<uint32_t>& top = scratch->top;
      scratch->ids.resize(top.size());
      scratch->tournament.resize(top.size());
      uint64_t inside = 0;
      for (size_t i = 0; i < top.size(); ++i) {
        scratch->ids[i] = set.ids[top[i]];
        scratch->tournament[i] = static_cast<uint64_t>(set.weights[top[i]]);
        inside += scratch->tournament[i];
      }
      if (inside < set.total && DrawTarget(Random(request, kDrawPlain, attempt), set.total) >= inside) {
        // Those beyond, ascending: the set less the places in `top`.
        std::vector<float>& beyond_weights = scratch->other_weights;
        std::vector<uint32_t>& beyond_ids = scratch->ids;
        beyond_weights.clear();
        beyond_ids.clear();
        for (size_t i = 0, t = 0; i < n; ++i) {
          if (t < top.size() && top[t] == i) {
            ++t;
            continue;
          }
          beyond_weights.push_back(set.weights[i]);
          beyond_ids.push_back(set.ids[i]);
        }
        const CandidateSet beyond = {beyond_ids, beyond_weights, set.total - inside, RowFault::kNone};
        choice.token = DrawPlainly(beyond, Random(request, kDrawInside, attempt));
        choice.cause = Cause::kTail;
        choice.channel = -1;
        return choice;
      }
      WordsOf(position.seed, scratch->ids, &scratch->words);
      const uint64_t total = RunTournament(scratch->words, mark.layers, &scratch->tournament);
      choice.token = scratch->ids[DrawPlace(scratch->tournament, total, Random(request, kDrawInside, attempt))];
      return choice;
    }
  }
  return absl::InternalError("unknown scheme");
}

absl::StatusOr<Choice> Hook::Bias(const Request& request, std::span<float> logits, RowScratch* scratch) const {
  CM_RETURN_IF_ERROR(CheckBegunHere(request));
  if (logits.size() > keys_.record.vocabulary) {  // rows padded beyond the vocabulary are never chosen
    std::fill(logits.begin() + keys_.record.vocabulary, logits.end(), -std::numeric_limits<float>::infinity());
  }
  const Row row = {logits.data(), logits.size()};
  const MarkParameters& mark = keys_.record.mark;
  if (mark.scheme == Scheme::kPartition && logits.size() >= keys_.record.vocabulary) {
    const Position position = Locate(request);
    if (position.cause == Cause::kMarked) {
      bool nan = false, infinite = false;
      const float max = row_kernels::Best().max(row.logits, keys_.record.vocabulary, &nan, &infinite);
      if (max == -std::numeric_limits<float>::infinity()) {
        return absl::UnavailableError("no finite logit in the row: there is no token to choose");
      }
      if (!nan && !infinite) {
        scratch->bytes.resize(keys_.record.vocabulary);
        ByteRow(position.seed, 0, keys_.record.vocabulary, scratch->bytes.data());
        // The host divides by the temperature after this, so that δ is multiplied by it here.
        row_kernels::Best().add_green(scratch->bytes.data(), keys_.record.vocabulary, static_cast<uint32_t>(mark.green),
                                      GreenGain(mark.delta, request.parameters().temperature), logits.data());
        Choice choice;
        choice.cause = Cause::kMarked;
        choice.channel = position.channel;
        return choice;
      }
    }
    if (position.cause == Cause::kStart || position.cause == Cause::kRepeatedWindow || position.cause == Cause::kOff) {
      Choice choice;
      choice.cause = position.cause;
      return choice;  // the host's own sampler draws plainly
    }
  }
  CM_ASSIGN_OR_RETURN(const Choice choice, Choose(request, row, scratch));
  std::fill(logits.begin(), logits.end(), -std::numeric_limits<float>::infinity());
  logits[choice.token] = 0.0f;
  return choice;
}

}  // namespace countermark
