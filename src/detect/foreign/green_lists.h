// KGW's green lists as transformers draws them: is a token among the first G of torch.randperm(V) under a seed?
//
//   GreenLists lists(128256, 32064);
//   GreenLists::Scanner scanner(lists);               // one a thread
//   scanner.Ask(seed, token, &answer);                // as many as there are, the answers being there after
//   scanner.Answer();
//
// The permutation is never made for a question. A token's place is followed through the G swaps: it moves to the list when a swap takes it there, and stays. That is G
// words of the generator for a seed and one comparison a word for each token asked about. A seed that is asked about again and again gets its list as bits, V/8 bytes,
// kept for all threads up to a bound; frequent words are few, so most of a text is then a look into those.
#ifndef COUNTERMARK_SRC_DETECT_FOREIGN_GREEN_LISTS_H_
#define COUNTERMARK_SRC_DETECT_FOREIGN_GREEN_LISTS_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "src/detect/foreign/torch_random.h"

namespace countermark {

class GreenLists {
 public:
  // 0 < green ≤ vocabulary < 2³¹. At most `keep_bytes` of lists are kept.
  GreenLists(uint32_t vocabulary, uint32_t green, size_t keep_bytes = size_t{256} << 20);
  ~GreenLists();
  GreenLists(const GreenLists&) = delete;
  GreenLists& operator=(const GreenLists&) = delete;

  class Scanner {
   public:
    explicit Scanner(GreenLists& lists) : lists_(lists) {}
    // token < vocabulary. *answer is 1 if green, else 0, at the latest after Answer().
    void Ask(uint32_t seed, uint32_t token, uint8_t* answer);
    void Answer();

   private:
    struct Question {
      uint32_t seed, token;
      uint8_t* answer;
    };
    void Scan(size_t begin, size_t end);
    std::vector<uint64_t> MakeList(uint32_t seed);

    GreenLists& lists_;
    std::vector<Question> questions_;
    struct Track {
      uint32_t place;
      uint8_t* answer;
    };
    std::vector<Track> tracks_;
    std::vector<uint32_t> order_;  // of MakeList: the identity between calls
    std::vector<uint32_t> places_;
    TorchRandom random_{0};
    alignas(64) uint32_t block_[TorchRandom::kBlock];
  };

 private:
  struct List {
    uint32_t seed;
    std::vector<uint64_t> bits;
  };
  struct Slot {
    std::atomic<const List*> list{nullptr};
    std::atomic<uint32_t> asked{0};  // scans of seeds that fall here
  };
  // A list is made when its seed has been scanned so often: making one costs about as much as so many scans.
  static constexpr uint32_t kScansBeforeList = 8;

  Slot& SlotOf(uint32_t seed) { return slots_[(seed * 0x9E3779B97F4A7C15ull) >> shift_]; }

  const uint32_t vocabulary_, green_;
  std::vector<float> reciprocal_;  // of vocabulary − i, i < green
  int shift_;
  std::vector<Slot> slots_;
  std::atomic<int64_t> bytes_left_;
};

}  // namespace countermark

#endif  // COUNTERMARK_SRC_DETECT_FOREIGN_GREEN_LISTS_H_
