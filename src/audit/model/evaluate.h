// Probes put to the models: a frame of the run directory for every few of them.
#ifndef COUNTERMARK_SRC_AUDIT_MODEL_EVALUATE_H_
#define COUNTERMARK_SRC_AUDIT_MODEL_EVALUATE_H_

#include <memory>
#include <string>
#include <vector>

#include "countermark/audit/model.h"
#include "src/audit/frame_log.h"
#include "src/audit/model/language_model.h"
#include "src/audit/model/probes.h"
#include "src/audit/model/rows.h"

namespace countermark::audit {

inline constexpr uint64_t kProbesAFrame = 8;

// The models, the reference last, and how their tokens become the provider's.
struct ModelSet {
  std::vector<std::unique_ptr<LanguageModel>> models;  // suspect, control if any, reference
  std::vector<std::vector<int32_t>> maps;              // of each: its id → the provider's, −1: none; all empty: the same ids
  std::vector<std::string> pieces;                     // the provider's, where there are maps
  uint32_t vocabulary = 0;                             // the provider's
  bool mapped() const { return !pieces.empty(); }
  int subjects() const { return static_cast<int>(models.size()) - 1; }
};

// InvalidArgument where the vocabularies differ and `map_vocabulary` was not asked for, or cannot be had without a tokenizer.
absl::StatusOr<ModelSet> LoadModels(const ModelOptions& options, const Tokenizer* tokenizer, uint32_t provider_vocabulary);

// Which of `size` probes are evaluated: `wanted` of them, evenly spaced; 0: all. Chosen by their places alone.
bool IsEvaluated(uint64_t index, uint64_t size, uint64_t wanted);

// Every probe in order: those that `weights` has no frame of are evaluated. `salt`: the run's.
absl::Status EvaluateProbes(const ProbeSource& source, const ModelOptions& options, const Tokenizer* tokenizer, int window, uint64_t salt, ModelSet& models,
                            FrameLog* weights, const AuditObserver& observer);

}  // namespace countermark::audit

#endif  // COUNTERMARK_SRC_AUDIT_MODEL_EVALUATE_H_
