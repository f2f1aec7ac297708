#include "countermark/detect/pairs.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/base/internal/raw_logging.h"

namespace countermark {
namespace {

constexpr size_t kMostPairs = 0xFFFFFFFE;
constexpr size_t kStep = 64;          // positions hashed before their look-up, so that the memory's answer is there when it is asked for
// In a table beyond the caches the look-up comes three shorter batches later: enough reads are under way then, and no more than a core keeps
// track of; and what a look-up will be compared with is asked for, too. In a small table that would only be work.
constexpr int kLargeBits = 22;  // 32 MiB
constexpr size_t kLargeStep = 16;
constexpr size_t kLargeAhead = 3;
constexpr size_t kReserveStep = 1u << 24;  // positions for which room is made at once; a multiple of kStep
constexpr int kLeastBits = 8;

// Multiply-add hashing over random 64-bit keys, whose high half is strongly universal (Lemire and Kaser, 1202.4961), then one more keyed
// multiplication, since linear probing suffers from what is only pairwise independent.
struct HashKeys {
  uint64_t k[kMaxWindow + 3];
};

const HashKeys& ProcessHashKeys() {
  static const HashKeys keys = [] {
    HashKeys made;
    static_assert(sizeof made.k <= 2 * Secret32::kSize);
    const Secret32 a = Secret32::Random(), b = Secret32::Random();
    uint8_t bytes[2 * Secret32::kSize];
    std::memcpy(bytes, a.Reveal(SecretAccess()), Secret32::kSize);
    std::memcpy(bytes + Secret32::kSize, b.Reveal(SecretAccess()), Secret32::kSize);
    std::memcpy(made.k, bytes, sizeof made.k);
    made.k[kMaxWindow + 2] |= 1;
    return made;
  }();
  return keys;
}

// The hash of kCount tokens.
template <int kCount>
inline uint32_t HashTokens(const HashKeys& keys, const uint32_t* tokens) {
  uint64_t h = keys.k[0];
  for (int j = 0; j < kCount; ++j) h += keys.k[j + 1] * tokens[j];
  h ^= h >> 32;
  return static_cast<uint32_t>(h * keys.k[kMaxWindow + 2] >> 32);
}

inline size_t PlaceOf(uint32_t hash, int bits) { return hash >> (32 - bits); }

}  // namespace

void PairSet::Table::Clear() {
  if (used > 0) std::fill_n(slots.data(), size_t{1} << bits, 0);
  used = 0;
  bits = std::min(bits, kLeastBits);
}

// At most half full, so that a look-up that finds nothing reads 2.5 slots on average.
void PairSet::Table::Reserve(size_t entries) {
  int want = std::max(bits, kLeastBits);
  while (want < 32 && (size_t{1} << want) < 2 * entries) ++want;
  if (want == bits) return;
  if (used == 0 && slots.size() >= size_t{1} << want) {
    bits = want;
    return;
  }
  // The place is the top of the hash, so the old slots in order fill the new ones nearly in order.
  ZeroedArray grown(size_t{1} << want);
  uint64_t* const to = grown.data();
  const uint64_t* const from = slots.data();
  const size_t mask = grown.size() - 1;
  for (size_t i = 0; used > 0 && i < size_t{1} << bits; ++i) {
    if (from[i] == 0) continue;
    size_t place = PlaceOf(static_cast<uint32_t>(from[i] >> 32), want);
    while (to[place] != 0) place = (place + 1) & mask;
    to[place] = from[i];
  }
  slots = std::move(grown);
  bits = want;
}

PairSet::PairSet(int window) : window_(window) {
  ABSL_RAW_CHECK(window >= kMinWindow && window <= kMaxWindow, "a window has 1 to 4 tokens");
}

void PairSet::Clear() {
  size_ = 0;
  table_.Clear();
  ForgetExcludedWindows();
}

void PairSet::ForgetExcludedWindows() {
  excluded_.clear();
  excluded_table_.Clear();
}

template <int kWindow>
bool PairSet::IsExcluded(const uint32_t* window) const {
  const uint32_t hash = HashTokens<kWindow>(ProcessHashKeys(), window);
  const size_t mask = (size_t{1} << excluded_table_.bits) - 1;
  for (size_t place = PlaceOf(hash, excluded_table_.bits);; place = (place + 1) & mask) {
    const uint64_t slot = excluded_table_.slots.data()[place];
    if (slot == 0) return false;
    if (slot >> 32 != hash) continue;
    const uint32_t* known = &excluded_[(static_cast<uint32_t>(slot) - 1) * size_t{kWindow}];
    if (std::equal(known, known + kWindow, window)) return true;
  }
}

template <int kWindow>
void PairSet::ExcludeTemplate(std::span<const uint32_t> prompt) {
  if (prompt.size() < kWindow) return;
  for (size_t i = 0; i + kWindow <= prompt.size(); ++i) {
    const uint32_t* window = &prompt[i];
    if (i % kReserveStep == 0) excluded_table_.Reserve(excluded_table_.used + std::min(kReserveStep, prompt.size() - i));
    if (IsExcluded<kWindow>(window)) continue;
    ABSL_RAW_CHECK(excluded_table_.used < kMostPairs, "too many windows for one set");
    const uint32_t hash = HashTokens<kWindow>(ProcessHashKeys(), window);
    const size_t mask = (size_t{1} << excluded_table_.bits) - 1;
    size_t place = PlaceOf(hash, excluded_table_.bits);
    while (excluded_table_.slots.data()[place] != 0) place = (place + 1) & mask;
    excluded_table_.slots.data()[place] = uint64_t{hash} << 32 | ++excluded_table_.used;
    excluded_.insert(excluded_.end(), window, window + kWindow);
  }
}

void PairSet::ExcludeWindowsOf(std::span<const uint32_t> prompt) {
  switch (window_) {
    case 1: return ExcludeTemplate<1>(prompt);
    case 2: return ExcludeTemplate<2>(prompt);
    case 3: return ExcludeTemplate<3>(prompt);
    default: return ExcludeTemplate<4>(prompt);
  }
}

namespace {

// Positions of a stretch of ids that may give a pair, and the hashes of those.
struct Batch {
  size_t begin = 0;
  size_t count = 0;
  uint32_t position[kStep];  // from begin
  uint32_t hash[kStep];
};

// Room for `size` entries, in huge pages where they are many.
void GrowColumn(std::vector<uint32_t>& column, size_t size) {
  column.reserve(size);
  AskForHugePages(column.data(), column.capacity() * sizeof(uint32_t));
  column.resize(size);
}

}  // namespace

template <int kWindow>
size_t PairSet::AddTemplate(std::span<const uint32_t> ids) {
  const size_t before = size_;
  const HashKeys keys = ProcessHashKeys();
  const bool excluding = !excluded_.empty();
  // The first position whose window holds only tokens that may stand in one.
  size_t usable_from = kWindow;
  for (size_t i = 0; i < std::min<size_t>(kWindow, ids.size()); ++i) {
    if (ids[i] >= kTokenLimit) usable_from = i + 1 + kWindow;
  }

  // First pass over a batch: which positions, and where their slots are.
  const auto hash = [&](size_t begin, size_t end, Batch& batch) {
    const uint64_t* slots = table_.slots.data();
    const int bits = table_.bits;
    size_t count = 0;
    for (size_t i = begin; i < end; ++i) {
      if (ids[i] >= kTokenLimit) usable_from = i + 1 + kWindow;
      if (i < usable_from) continue;
      if (excluding && IsExcluded<kWindow>(&ids[i - kWindow])) continue;
      batch.position[count] = static_cast<uint32_t>(i - begin);
      if (!keep_repeats_) {
        batch.hash[count] = HashTokens<kWindow + 1>(keys, &ids[i - kWindow]);
        __builtin_prefetch(slots + PlaceOf(batch.hash[count], bits), 1);
      }
      ++count;
    }
    batch.begin = begin;
    batch.count = count;
  };
  // Second, of large tables alone: asks for the entries that the look-up will most likely compare with.
  const auto peek = [&](const Batch& batch) {
    const uint64_t* slots = table_.slots.data();
    const int bits = table_.bits;
    for (size_t c = 0; c < batch.count; ++c) {
      const uint64_t slot = slots[PlaceOf(batch.hash[c], bits)];
      if (slot == 0 || slot >> 32 != batch.hash[c]) continue;
      const size_t entry = static_cast<uint32_t>(slot) - 1;
      __builtin_prefetch(token_.data() + entry);
      for (int j = 0; j < kWindow; ++j) __builtin_prefetch(window_token_[j].data() + entry);
    }
  };
  // Last: look up and append.
  const auto append = [&](const Batch& batch) {
    if (token_.size() < size_ + kStep) {
      const size_t room = std::max(2 * token_.size(), size_ + std::min(kReserveStep, ids.size() - batch.begin) + kStep);
      GrowColumn(token_, room);
      for (int j = 0; j < kWindow; ++j) GrowColumn(window_token_[j], room);
    }
    uint64_t* const table = table_.slots.data();
    const int bits = table_.bits;
    const size_t mask = (size_t{1} << bits) - 1;
    uint32_t* const token = token_.data();
    uint32_t* column[kWindow];
    for (int j = 0; j < kWindow; ++j) column[j] = window_token_[j].data();
    size_t size = size_;
    for (size_t c = 0; c < batch.count; ++c) {
      const uint32_t* const pair = &ids[batch.begin + batch.position[c] - kWindow];
      if (!keep_repeats_) {
        bool known = false;
        size_t place = PlaceOf(batch.hash[c], bits);
        for (uint64_t slot; (slot = table[place]) != 0; place = (place + 1) & mask) {
          if (slot >> 32 != batch.hash[c]) continue;
          const size_t entry = static_cast<uint32_t>(slot) - 1;
          bool equal = token[entry] == pair[kWindow];
          for (int j = 0; j < kWindow; ++j) equal &= column[j][entry] == pair[j];
          if (equal) {
            known = true;
            break;
          }
        }
        if (known) continue;
        table[place] = uint64_t{batch.hash[c]} << 32 | (size + 1);
        ++table_.used;
      }
      for (int j = 0; j < kWindow; ++j) column[j][size] = pair[j];
      token[size++] = pair[kWindow];
    }
    size_ = size;
  };

  Batch batches[kLargeAhead + 1];
  for (size_t begin = kWindow, end; begin < ids.size(); begin = end) {
    const size_t more = std::min(kReserveStep, ids.size() - begin);
    end = begin + more;
    ABSL_RAW_CHECK(size_ + more <= kMostPairs, "more than 4294967294 pairs in one set; split the data by the pairs' hash");
    if (!keep_repeats_) table_.Reserve(table_.used + more);
    if (keep_repeats_ || table_.bits < kLargeBits) {
      for (size_t i = begin; i < end; i += kStep) {
        hash(i, std::min(i + kStep, end), batches[0]);
        append(batches[0]);
      }
      continue;
    }
    // The table stays where it is until the last batch of this stretch is in.
    const size_t count = (more + kLargeStep - 1) / kLargeStep;
    const auto batch = [&](size_t b) -> Batch& { return batches[b % (kLargeAhead + 1)]; };
    for (size_t b = 0; b < count + kLargeAhead; ++b) {
      if (b < count) hash(begin + b * kLargeStep, std::min(begin + (b + 1) * kLargeStep, end), batch(b));
      if (b >= 1 && b <= count) peek(batch(b - 1));
      if (b >= kLargeAhead) append(batch(b - kLargeAhead));
    }
  }
  return size_ - before;
}

size_t PairSet::Add(std::span<const uint32_t> ids) {
  switch (window_) {
    case 1: return AddTemplate<1>(ids);
    case 2: return AddTemplate<2>(ids);
    case 3: return AddTemplate<3>(ids);
    default: return AddTemplate<4>(ids);
  }
}

std::vector<uint32_t> PairsOnChannel(std::span<const uint8_t> channel, int which) {
  std::vector<uint32_t> pairs;
  pairs.reserve(static_cast<size_t>(std::count(channel.begin(), channel.end(), static_cast<uint8_t>(which))));
  for (size_t i = 0; i < channel.size(); ++i) {
    if (channel[i] == which) pairs.push_back(static_cast<uint32_t>(i));
  }
  return pairs;
}

}  // namespace countermark
