// How freely a language model could have chosen each token of a text, and weights for weighted.h from that: a mark can only show where there was a choice.
//
//   CM_ASSIGN_OR_RETURN(std::unique_ptr<EntropyModel> model, EntropyModel::Open("base.gguf", {}));
//   std::vector<TokenEntropy> entropies;
//   CM_RETURN_IF_ERROR(model->Evaluate(text, &entropies));                       // by the model's own tokens
//   std::vector<double> nats = EntropyOfSpans(entropies, tokens.spans);          // by the tokens that are scored
//   std::vector<PairWeight> weights;
//   CM_RETURN_IF_ERROR(AppendEntropyWeights(pairs, tokens.ids, nats, &weights)); // one a pair, for CountWeighted
//
// The weights must not depend on the key. They are made of the suspect's text, which under H0 does not, and of the model: so the model must never have
// seen text marked with this key, in training or in tuning. The provider's own model will do if it was trained before the epoch's first use or without its own
// served answers. Another model, or another rule, tried because the first did not please, is another test. docs/weights.md.
#ifndef COUNTERMARK_DETECT_ENTROPY_H_
#define COUNTERMARK_DETECT_ENTROPY_H_

#include <cmath>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "countermark/detect/pairs.h"
#include "countermark/detect/weighted.h"
#include "countermark/tokenize/tokenizer.h"

namespace countermark {

// One token of the model's own tokenisation.
struct TokenEntropy {
  uint64_t begin = 0;  // its first byte in the text
  double nats = 0;     // −Σ p·ln p of the model's distribution before it, at temperature 1; 0 for a first token that nothing stands before
};

struct EntropyModelOptions {
  int threads = 0;     // 0: one a core. Changes no figure in libllama's CPU code
  int window = 2048;   // tokens evaluated together; at most what the model was trained for
  int context = 512;   // of these, tokens of the window before, which give context alone; at most half a window
};

// A GGUF model in libllama, on the CPU. Memory: the model, and `window` tokens of its cache; whatever the text.
class EntropyModel {
 public:
  virtual ~EntropyModel() = default;
  // NotFound (and what else opening a file gives); DataLoss with libllama's reason for a file that is no model, has a vocabulary alone or ends early;
  // Unimplemented for a model that does not predict a next token; ResourceExhausted for want of memory; InvalidArgument for options out of range;
  // FailedPrecondition in a build without libllama.
  static absl::StatusOr<std::unique_ptr<EntropyModel>> Open(const std::string& path, const EntropyModelOptions& options);

  // Replaces *out: every token of the text, ascending. Texts do not influence one another. One text at a time: threads wait for each other. Time is linear in the
  // text, some hundred to thousand tokens a second on a CPU. The tokenizer's errors (tokenizer.h), or Internal from libllama with the token's place.
  virtual absl::Status Evaluate(std::string_view text, std::vector<TokenEntropy>* out) = 0;
  virtual const std::string& sha256() const = 0;  // of the file, 64 hex digits
};

// Of each span, the sum over the model's tokens that begin in it: where the two tokenisations agree, that token's own; where the model's are finer, their sum, as
// entropies of a chain add; where the model's are coarser, the first of the spans has it all and the others, which the model saw as settled, have 0.
// spans: ascending, as Tokenizer gives them, of the same text.
std::vector<double> EntropyOfSpans(std::span<const TokenEntropy> entropies, std::span<const ByteSpan> spans);

// The rule "entropy-1", published and fixed: round(256·(1 − e^−H/2)), H in nats. It rises as the expected excess of a score does: 0 where there was no choice, level where
// there was much. Of eight such functions it had the most power on marked code (docs/results/weights.json); power alone was looked at, and validity hangs on none.
inline constexpr std::string_view kEntropyRule = "entropy-1";
inline PairWeight EntropyWeight(double nats) { return static_cast<PairWeight>(std::lround(-256 * std::expm1(-nats / 2))); }

// Appends the weights of the pairs that have none yet: `weights` has one for each of the first pairs, and `ids` are what the last PairSet::Add added the others from.
// A pair's weight is that of the token at its first place. nats: one an id. InvalidArgument if those pairs do not stand in these ids in their order.
//
//   std::vector<PairWeight> weights;
//   pairs.Add(ids);  AppendEntropyWeights(pairs, ids, nats, &weights);  // and again with the next text of a pool
absl::Status AppendEntropyWeights(const PairSet& pairs, std::span<const uint32_t> ids, std::span<const double> nats, std::vector<PairWeight>* weights);

}  // namespace countermark

#endif  // COUNTERMARK_DETECT_ENTROPY_H_
