// The distinct (window, token) pairs of token sequences, and their exact integer scores under a key.
//
//   PairSet pairs(h);  pairs.Add(ids);
//   std::vector<uint8_t> channel = RoutePairs(pairs, route_key, scheme, weights);
//   ChannelCount base = ScoreChannel(pairs, channel, 0, base_key, parameters);
#ifndef COUNTERMARK_DETECT_PAIRS_H_
#define COUNTERMARK_DETECT_PAIRS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "countermark/detect/zeroed_array.h"
#include "countermark/keys/secret.h"
#include "countermark/mark/scheme.h"

namespace countermark {

// The exact integer of mark-format.md: green hits, set bits, or the sum of ⌊−ln(1 − word/2³²)·2⁴⁰⌋. The last outgrows 64 bits
// at 16 million pairs, hence 128.
using Statistic = unsigned __int128;

struct ChannelCount {
  uint64_t scored = 0;      // distinct pairs that this channel's key was asked about
  Statistic statistic = 0;
};

// A set of pairs in the order of their first appearance, as columns, so that wide code can read them. Exact: a hash finds candidates for
// equality, the tokens decide. The hash is keyed afresh in every process, so no text can be written to make the set slow. At most 2³² − 2 pairs
// (more ends the process; a larger data set is split by its pairs' hash). 28 to 44 bytes a pair at h = 2. Movable, not
// copyable.
class PairSet {
 public:
  // 1 ≤ window ≤ kMaxWindow.
  explicit PairSet(int window);
  // Adds the pairs of one output: from position h on, (the h tokens before, the token). A pair that is there already is not added
  // again. A token ≥ kTokenLimit breaks the sequence: no pair may contain it. Returns how many were new.
  size_t Add(std::span<const uint32_t> ids);
  // Makes every window of `prompt` known, so that later Add calls skip pairs with such a window. Call before Add.
  void ExcludeWindowsOf(std::span<const uint32_t> prompt);
  // Forgets what ExcludeWindowsOf made known. In a pool, call it after each record's Add: a record's prompt is no reason to leave out
  // another's pairs, and the pool must not hang on the records' order.
  void ForgetExcludedWindows();
  // Forgets pairs and excluded windows; keeps the memory. Costs what the last contents were, not what the memory has ever held.
  void Clear();

  int window() const { return window_; }
  size_t size() const { return size_; }
  std::span<const uint32_t> token() const { return {token_.data(), size_}; }
  // Column j of the windows, 0 ≤ j < window(), j = 0 the oldest token of each.
  std::span<const uint32_t> window_token(int j) const { return {window_token_[j].data(), size_}; }
  // For tests of the calibration alone: keep repeated pairs. Never use it for a verdict.
  void KeepRepeatsForCalibration(bool keep) { keep_repeats_ = keep; }

 private:
  // Open addressing with linear probing. A slot is 0, or 32 bits of hash above (entry + 1); the hash's top bits are the place.
  struct Table {
    ZeroedArray slots;  // the first 2^bits are in use, the others 0
    int bits = 0;
    size_t used = 0;
    void Reserve(size_t entries);
    void Clear();
  };

  template <int kWindow>
  size_t AddTemplate(std::span<const uint32_t> ids);
  template <int kWindow>
  void ExcludeTemplate(std::span<const uint32_t> prompt);
  template <int kWindow>
  bool IsExcluded(const uint32_t* window) const;

  int window_;
  bool keep_repeats_ = false;
  size_t size_ = 0;
  std::vector<uint32_t> token_;  // the columns: size_ entries in use
  std::vector<uint32_t> window_token_[kMaxWindow];
  Table table_;
  std::vector<uint32_t> excluded_;  // windows known from the prompt, window_ words each
  Table excluded_table_;
};

// The channel of every pair. weights: in 1/65536, one a channel, 1…4 channels; with one channel all are 0.
std::vector<uint8_t> RoutePairs(const PairSet& pairs, const Secret32& route_key, Scheme scheme, std::span<const uint32_t> weights);

// The indices, ascending, of the pairs on one channel.
std::vector<uint32_t> PairsOnChannel(std::span<const uint8_t> channel, int which);

// The count of the pairs on channel `which` under that channel's key.
ChannelCount ScoreChannel(const PairSet& pairs, std::span<const uint8_t> channel, int which, const Secret32& key,
                          const MarkParameters& parameters);

// Routes and scores in one pass: what RoutePairs and then ScoreChannel for each channel give, in less time. keys: one a channel, in
// the order of weights. The route key is not read with one channel.
std::vector<ChannelCount> ScoreAllChannels(const PairSet& pairs, const Secret32& route_key, std::span<const Secret32> keys,
                                           std::span<const uint32_t> weights, const MarkParameters& parameters);

// The count of the listed pairs under each of many keys, one result a key: candidate accounts. `which`: indices of pairs, those of the account
// channel. Windows that several pairs share are looked at once. One thread; split `keys` to use more.
std::vector<ChannelCount> ScoreCandidates(const PairSet& pairs, std::span<const uint32_t> which, std::span<const Secret32> keys,
                                          const MarkParameters& parameters);

// Which instructions the wide code uses: "scalar", "avx2", "avx512". COUNTERMARK_ISA (one of these) caps the choice, for tests.
const char* DetectIsa();

}  // namespace countermark

#endif  // COUNTERMARK_DETECT_PAIRS_H_
