#include "src/detect/foreign/green_lists.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "src/detect/foreign/isa.h"

namespace countermark {
namespace {

// The float quotient below names the only candidate multiple if quotients stay under 2.7 million: divisors of 4,096 and more keep them under 2^20.
constexpr uint32_t kLeastDivisor = 4096;

// Whether some i in [0, n) has words[i] ≡ place − (first + i) modulo vocabulary − (first + i), which is when swap first + i takes what stands at `place`.
// x = words[i] − (place − first − i) is then q·d for a whole q; float(x)·(1/d) is within q·2^−22 < 1/2 of q, so rounding finds it.
FOREIGN_INLINE bool AnyTakesBody(const uint32_t* __restrict words, const float* __restrict reciprocal, uint32_t n, uint32_t first, uint32_t vocabulary, uint32_t place) {
  uint32_t any = 0;
  const uint32_t distance = place - first, divisor = vocabulary - first;
  for (uint32_t i = 0; i < n; ++i) {
    const uint32_t back = distance - i;
    const uint32_t x = words[i] - back;
    const uint32_t q = static_cast<uint32_t>(static_cast<int32_t>(static_cast<float>(static_cast<int32_t>(x >> 1)) * reciprocal[i] * 2.0f + 0.5f));
    any |= static_cast<uint32_t>(q * (divisor - i) == x) & static_cast<uint32_t>(words[i] >= back);
  }
  return any != 0;
}
FOREIGN_WIDE(bool, AnyTakes, (const uint32_t* words, const float* reciprocal, uint32_t n, uint32_t first, uint32_t vocabulary, uint32_t place),
             AnyTakesBody(words, reciprocal, n, first, vocabulary, place));

bool AnyTakesExact(const uint32_t* words, uint32_t n, uint32_t first, uint32_t vocabulary, uint32_t place) {
  for (uint32_t i = 0; i < n; ++i) {
    if (words[i] % (vocabulary - first - i) == place - first - i) return true;
  }
  return false;
}

}  // namespace

GreenLists::GreenLists(uint32_t vocabulary, uint32_t green, size_t keep_bytes)
    : vocabulary_(vocabulary), green_(green), reciprocal_(green), bytes_left_(static_cast<int64_t>(keep_bytes)) {
  for (uint32_t i = 0; i < green; ++i) reciprocal_[i] = 1.0f / static_cast<float>(vocabulary - i);
  // Four slots a list that can be kept, within reason.
  const uint64_t lists = keep_bytes / (vocabulary / 8 + 64) + 1;
  const int bits = std::clamp<int>(std::bit_width(4 * lists), 4, 16);
  shift_ = 64 - bits;
  slots_ = std::vector<Slot>(size_t{1} << bits);
}

GreenLists::~GreenLists() {
  for (Slot& slot : slots_) delete slot.list.load();
}

void GreenLists::Scanner::Ask(uint32_t seed, uint32_t token, uint8_t* answer) {
  const List* const list = lists_.SlotOf(seed).list.load(std::memory_order_acquire);
  if (list != nullptr && list->seed == seed) {
    *answer = static_cast<uint8_t>(list->bits[token / 64] >> (token % 64) & 1);
    return;
  }
  questions_.push_back({seed, token, answer});
}

void GreenLists::Scanner::Answer() {
  if (questions_.empty()) return;
  std::sort(questions_.begin(), questions_.end(), [](const Question& a, const Question& b) { return a.seed < b.seed; });
  for (size_t begin = 0, end; begin < questions_.size(); begin = end) {
    const uint32_t seed = questions_[begin].seed;
    for (end = begin + 1; end < questions_.size() && questions_[end].seed == seed; ++end) {
    }
    Slot& slot = lists_.SlotOf(seed);
    const uint32_t weight = static_cast<uint32_t>(end - begin);
    if (slot.list.load(std::memory_order_acquire) == nullptr && slot.asked.fetch_add(weight, std::memory_order_relaxed) + weight > kScansBeforeList) {
      const int64_t bytes = lists_.vocabulary_ / 8 + 64;
      if (lists_.bytes_left_.fetch_sub(bytes, std::memory_order_relaxed) >= bytes) {
        const List* expected = nullptr;
        auto list = std::make_unique<List>(List{seed, MakeList(seed)});
        for (size_t i = begin; i < end; ++i) *questions_[i].answer = static_cast<uint8_t>(list->bits[questions_[i].token / 64] >> (questions_[i].token % 64) & 1);
        if (slot.list.compare_exchange_strong(expected, list.get(), std::memory_order_acq_rel)) {
          list.release();
        } else {
          lists_.bytes_left_.fetch_add(bytes, std::memory_order_relaxed);
        }
        continue;
      }
      lists_.bytes_left_.fetch_add(bytes, std::memory_order_relaxed);
    }
    Scan(begin, end);
  }
  questions_.clear();
}

void GreenLists::Scanner::Scan(size_t begin, size_t end) {
  static const auto any_takes = AnyTakesChoice();
  const uint32_t vocabulary = lists_.vocabulary_, green = lists_.green_;
  tracks_.clear();
  for (size_t i = begin; i < end; ++i) {
    *questions_[i].answer = 0;
    tracks_.push_back({questions_[i].token, questions_[i].answer});
  }
  random_.Seed(questions_[begin].seed);
  for (uint32_t first = 0; first < green && !tracks_.empty(); first += TorchRandom::kBlock) {
    random_.Next(block_);
    const uint32_t last = std::min<uint32_t>(first + TorchRandom::kBlock, green);  // swaps first … last − 1
    for (size_t t = 0; t < tracks_.size();) {
      Track& track = tracks_[t];
      bool taken = false;
      for (uint32_t at = first; at < last && !taken;) {
        // Until the swap at the token's own place, only a swap that names the place moves it, and moves it into the list.
        const uint32_t until = std::clamp(track.place, at, last);
        taken = vocabulary - until >= kLeastDivisor ? any_takes(block_ + (at - first), lists_.reciprocal_.data() + at, until - at, at, vocabulary, track.place)
                                                    : AnyTakesExact(block_ + (at - first), until - at, at, vocabulary, track.place);
        at = until;
        if (taken || at == last || track.place != at) break;
        // Its own swap: it goes wherever the word says, and if that is here, stays.
        const uint32_t to = at + block_[at - first] % (vocabulary - at);
        taken = to == at;
        track.place = to;
        ++at;
      }
      if (taken) {
        *track.answer = 1;
        track = tracks_.back();
        tracks_.pop_back();
      } else {
        ++t;
      }
    }
  }
}

std::vector<uint64_t> GreenLists::Scanner::MakeList(uint32_t seed) {
  const uint32_t vocabulary = lists_.vocabulary_, green = lists_.green_;
  if (order_.empty()) {
    order_.resize(vocabulary);
    std::iota(order_.begin(), order_.end(), 0u);
    places_.resize(green);
  }
  std::vector<uint64_t> bits((vocabulary + 63) / 64);
  random_.Seed(seed);
  for (uint32_t first = 0; first < green; first += TorchRandom::kBlock) {
    random_.Next(block_);
    const uint32_t last = std::min<uint32_t>(first + TorchRandom::kBlock, green);
    for (uint32_t i = first; i < last; ++i) {
      const uint32_t j = i + block_[i - first] % (vocabulary - i);
      places_[i] = j;
      const uint32_t token = order_[j];
      order_[j] = order_[i];
      bits[token / 64] |= uint64_t{1} << (token % 64);
    }
  }
  for (uint32_t i = 0; i < green; ++i) {
    order_[i] = i;
    order_[places_[i]] = places_[i];
  }
  return bits;
}

}  // namespace countermark
