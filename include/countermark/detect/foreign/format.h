// Watermarks of other projects: token ids and a project's own configuration in; the counts that project's detector gives, and an exact p-value, out.
//
//   CM_ASSIGN_OR_RETURN(std::unique_ptr<ForeignFormat> format, OpenForeignFormat("hf-kgw", config_json, "config.json"));
//   std::unique_ptr<ForeignScorer> scorer = format->NewScorer();          // one a thread
//   ForeignScore score = scorer->Score(ids, prompt_ids, nullptr);
//   score.log10_p;                                                         // each draw of the key once, exact tail
//   score.figures;                                                         // {"hits", 61}, {"hf_scored", 199}, {"hf_hits", 63}
//
// H0: the text is independent of the key. What a key draws for a (window, token) is one random number however often the text repeats it, so the test
// knows it by what the format's own hash makes of window and token (ForeignDraw::id) and counts it once: within a text, and over a whole input by
// ForeignPool. Each format's page of facts, limits and the members of its configuration: docs/foreign-formats.md.
//
// A format is one file, src/detect/foreign/format_NAME.cc, and nothing else: the build finds it by its name.
#ifndef COUNTERMARK_DETECT_FOREIGN_FORMAT_H_
#define COUNTERMARK_DETECT_FOREIGN_FORMAT_H_

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "countermark/detect/pairs.h"

namespace countermark {

// One random number of the key's and what the text made of it. Two draws with equal ids are the same random number.
struct ForeignDraw {
  std::array<uint64_t, 2> id;
  std::array<uint64_t, 2> value;  // hit or set bits or a score in 1/2⁴⁰; the second only where a format has two keys
  bool placed = false;            // id[0] is a place on a public table: the null of a count hangs on the places of its draws
};

struct ForeignCount {
  uint64_t draws = 0;
  std::array<Statistic, 2> statistic{};
  std::vector<uint32_t> places;  // of the draws that have one
  void Add(const ForeignDraw& draw) {
    ++draws;
    if (draw.placed) places.push_back(static_cast<uint32_t>(draw.id[0]));
    for (int i = 0; i < 2; ++i) statistic[i] += draw.value[i];
  }
};

struct ForeignScore {
  uint64_t scored = 0;   // what stands beside the p-value: docs/foreign-formats.md says of what, a format
  ForeignCount count;    // what the p-value is of
  double log10_p = 0;    // ≤ 0, never NaN
  // What else the format's users compare, in a fixed order; names are members of a JSON object and have static storage.
  std::vector<std::pair<std::string_view, std::variant<uint64_t, double>>> figures;
};

// Scores texts, one at a time. Holds memory for one thread.
class ForeignScorer {
 public:
  virtual ~ForeignScorer() = default;
  // `prompt`: the ids before the text; only formats whose first windows reach into the prompt look at it. Adds the draws to `draws` unless that is
  // null. Ids ≥ 2³¹ must not occur (ForeignFormat::CheckIds).
  virtual ForeignScore Score(std::span<const uint32_t> ids, std::span<const uint32_t> prompt, std::vector<ForeignDraw>* draws) = 0;
};

// A format with its configuration. Safe on several threads at once.
class ForeignFormat {
 public:
  virtual ~ForeignFormat() = default;
  virtual std::unique_ptr<ForeignScorer> NewScorer() const = 0;
  // log10 p of a count, of one text or of a pool. 0 for no draws.
  virtual double Log10P(const ForeignCount& count) const = 0;

  const std::string& name() const { return name_; }    // "hf-kgw"
  const std::string& label() const { return label_; }  // for people: "KGW lefthash of transformers"
  const std::string& hash() const { return hash_; }    // which of a format's hash versions, "" where there is one: "table", "iv"
  uint32_t vocab_size() const { return vocab_size_; }  // 0: the configuration does not say
  // InvalidArgument names the first id that the vocabulary (where unknown: 2³¹) does not hold.
  absl::Status CheckIds(std::span<const uint32_t> ids) const;

 protected:
  std::string name_, label_, hash_;
  uint32_t vocab_size_ = 0;

 private:
  friend absl::StatusOr<std::unique_ptr<ForeignFormat>> OpenForeignFormat(std::string_view, std::string_view, std::string_view);
};

// The formats there are, by name.
struct ForeignFormatInfo {
  std::string_view name;
  std::string_view about;  // a line for --help and for docs
};
std::span<const ForeignFormatInfo> ForeignFormats();

// `config`: the JSON text. `where` names it in errors, which say line and column and the member, and never a value, as a value may be a key.
// NotFound for a name there is not; InvalidArgument for a configuration that is not exactly right: an unknown member, one twice, one out of its range.
absl::StatusOr<std::unique_ptr<ForeignFormat>> OpenForeignFormat(std::string_view name, std::string_view config, std::string_view where);

// Draws distinct over many texts, in constant time a draw and about 40 bytes each. The order of texts does not matter.
class ForeignPool {
 public:
  ForeignPool();
  ~ForeignPool();
  ForeignPool(const ForeignPool&) = delete;
  ForeignPool& operator=(const ForeignPool&) = delete;
  void Add(std::span<const ForeignDraw> draws);
  const ForeignCount& count() const { return count_; }

 private:
  struct Set;
  std::unique_ptr<Set> seen_;
  ForeignCount count_;
};

}  // namespace countermark

#endif  // COUNTERMARK_DETECT_FOREIGN_FORMAT_H_
