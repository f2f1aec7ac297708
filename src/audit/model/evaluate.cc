#include "src/audit/model/evaluate.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "src/audit/model/seen_windows.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark::audit {
namespace {

constexpr uint64_t kProbabilityBytes = uint64_t{64} << 20;  // of one model's rows at once

// A probe in the provider's tokens.
struct Context {
  std::vector<uint32_t> prompt, answer;
};

// A context in a model's tokens, and after which of them each position of the answer is expected (−1: after none).
struct Path {
  std::vector<uint32_t> tokens;
  std::vector<int64_t> after;
};

absl::Status IdsOf(std::string_view what, std::string_view text, const std::vector<uint32_t>& ids, bool is_ids, const Tokenizer* tokenizer, uint32_t vocabulary,
                   std::vector<uint32_t>* out) {
  if (!is_ids) {
    out->clear();
    if (text.empty()) return absl::OkStatus();
    if (tokenizer == nullptr) return absl::FailedPreconditionError(Cat("the ", what, " is text; give --tokenizer, the one that the marks are on"));
    TokenizedText tokens;
    CM_RETURN_IF_ERROR(tokenizer->Encode(text, &tokens));
    *out = std::move(tokens.ids);
  } else {
    *out = ids;
  }
  for (const uint32_t id : *out) {
    if (id >= vocabulary) return absl::InvalidArgumentError(Cat("the ", what, " holds token ", id, " of a vocabulary of ", vocabulary));
  }
  return absl::OkStatus();
}

absl::StatusOr<Path> PathOf(const Context& context, const ModelSet& set, size_t m, bool begins_text) {
  Path path;
  const std::optional<uint32_t> begin = begins_text || set.mapped() ? set.models[m]->begin_token() : std::nullopt;
  if (begin) path.tokens.push_back(*begin);
  if (!set.mapped()) {
    path.tokens.insert(path.tokens.end(), context.prompt.begin(), context.prompt.end());
    for (size_t t = 0; t < context.answer.size(); ++t) path.after.push_back(static_cast<int64_t>(path.tokens.size() + t) - 1);
    path.tokens.insert(path.tokens.end(), context.answer.begin(), context.answer.end());
    return path;
  }
  std::string text;
  for (const uint32_t id : context.prompt) text += set.pieces[id];
  std::vector<size_t> begins;
  for (const uint32_t id : context.answer) {
    begins.push_back(text.size());
    text += set.pieces[id];
  }
  CM_ASSIGN_OR_RETURN(const std::vector<uint32_t> tokens, set.models[m]->Tokenize(text));
  path.after.assign(context.answer.size(), -1);
  // Where the model's own pieces do not spell the text (a space put before it, a byte that is none), nothing after is known to be aligned.
  size_t at = 0, next = 0;
  for (const uint32_t token : tokens) {
    for (; next < begins.size() && begins[next] <= at; ++next) {
      if (begins[next] == at && !path.tokens.empty()) path.after[next] = static_cast<int64_t>(path.tokens.size()) - 1;
    }
    std::string piece = set.models[m]->Piece(token);
    if (at == 0 && piece.size() > 1 && piece[0] == ' ' && !text.starts_with(' ')) piece.erase(0, 1);
    if (text.compare(at, piece.size(), piece) != 0) break;
    at += piece.size();
    path.tokens.push_back(token);
  }
  return path;
}

class Evaluator {
 public:
  Evaluator(const ModelOptions& options, int window, uint64_t salt, ModelSet& set)
      : options_(options), window_(window), set_(set), in_context_(salt), in_log_(salt), of_account_(salt) {}

  // Which positions count. Reads and takes note of the answer's windows: to be called for every probe, in order.
  void Choose(const ModelProbe& probe, const Context& context, std::vector<uint8_t>* wanted, std::vector<uint8_t>* first_in_log, PositionCounts* counts) {
    wanted->assign(context.answer.size(), 0);
    first_in_log->assign(context.answer.size(), 0);
    in_context_.Clear();
    std::vector<uint32_t> all = context.prompt;
    all.insert(all.end(), context.answer.begin(), context.answer.end());
    const size_t h = static_cast<size_t>(window_), prompt = context.prompt.size();
    uint64_t account = 0;
    if (options_.served && !probe.account.empty()) account = accounts_.try_emplace(probe.account, accounts_.size() + 1).first->second;
    for (size_t i = h; i < all.size(); ++i) {
      const uint32_t* window = &all[i - h];
      const bool repeated = !in_context_.Insert(0, window, window_);
      if (i < prompt + h) continue;  // the window reaches into the prompt
      const size_t t = i - prompt;
      ++counts->positions;
      bool first = true, first_of_account = true;
      if (options_.served) {
        first = in_log_.Insert(0, window, window_);
        first_of_account = account == 0 ? first : of_account_.Insert(account, window, window_);
      }
      if (repeated) {
        ++counts->in_context;
      } else if (!first_of_account) {
        ++counts->earlier;
      } else {
        (*wanted)[t] = 1;
        (*first_in_log)[t] = first;
      }
    }
  }

  absl::Status Evaluate(const Context& context, bool begins_text, std::vector<uint8_t> wanted, const std::vector<uint8_t>& first_in_log, ProbeRows* out) {
    std::vector<Path> paths;
    for (size_t m = 0; m < set_.models.size(); ++m) {
      CM_ASSIGN_OR_RETURN(Path path, PathOf(context, set_, m, begins_text));
      paths.push_back(std::move(path));
    }
    std::vector<size_t> positions;
    for (size_t t = 0; t < wanted.size(); ++t) {
      if (!wanted[t]) continue;
      bool aligned = true, within = true;
      for (const Path& path : paths) {
        aligned &= path.after[t] >= 0;
        within &= path.after[t] < static_cast<int64_t>(options_.max_context);
      }
      if (!aligned) {
        ++out->counts.unaligned;
      } else if (!within) {
        ++out->counts.beyond;
      } else {
        positions.push_back(t);
      }
    }
    const size_t at_once = std::max<size_t>(1, std::min<size_t>(512, kProbabilityBytes / sizeof(float) / set_.vocabulary));
    rows_.resize(set_.models.size());
    std::vector<size_t> done(set_.models.size());
    for (const std::unique_ptr<LanguageModel>& model : set_.models) CM_RETURN_IF_ERROR(model->Begin());
    for (size_t first = 0; first < positions.size(); first += at_once) {
      const std::span<const size_t> group = std::span(positions).subspan(first, std::min(at_once, positions.size() - first));
      std::vector<std::vector<int64_t>> best(set_.models.size(), std::vector<int64_t>(group.size(), -1));
      for (size_t m = 0; m < set_.models.size(); ++m) {
        rows_[m].resize(std::max(rows_[m].size(), group.size() * set_.vocabulary));
        const Path& path = paths[m];
        const size_t end = static_cast<size_t>(path.after[group.back()]) + 1;
        std::vector<uint8_t> asked(end - done[m]);
        std::vector<std::vector<size_t>> of(end - done[m]);
        for (size_t g = 0; g < group.size(); ++g) {
          const size_t at = static_cast<size_t>(path.after[group[g]]) - done[m];
          asked[at] = 1;
          of[at].push_back(g);
        }
        CM_RETURN_IF_ERROR(set_.models[m]->Extend(std::span(path.tokens).subspan(done[m], end - done[m]), asked, [&](size_t i, std::span<const float> logits) {
          for (const size_t g : of[i]) {
            best[m][g] = Softmax(logits, set_.maps[m], {&rows_[m][g * set_.vocabulary], set_.vocabulary});
          }
        }));
        done[m] = end;
      }
      const std::vector<float>& reference = rows_.back();
      for (size_t g = 0; g < group.size(); ++g) {
        PositionRow& row = out->rows.emplace_back();
        std::copy_n(&context.answer[group[g] - static_cast<size_t>(window_)], window_, row.window);
        row.first_in_log = first_in_log[group[g]];
        for (int s = 0; s < set_.subjects(); ++s) {
          const size_t at = g * set_.vocabulary;
          row.subject[s].top1 = best[s][g];
          row.subject[s].weights = LargestWeights({&rows_[s][at], set_.vocabulary}, {&reference[at], set_.vocabulary});
        }
      }
    }
    return absl::OkStatus();
  }

 private:
  const ModelOptions& options_;
  int window_;
  ModelSet& set_;
  SeenWindows in_context_, in_log_, of_account_;
  std::unordered_map<std::string, uint64_t> accounts_;
  std::vector<std::vector<float>> rows_;
};

}  // namespace

bool IsEvaluated(uint64_t index, uint64_t size, uint64_t wanted) {
  if (wanted == 0 || wanted >= size) return true;
  using Wide = unsigned __int128;
  return static_cast<Wide>(index + 1) * wanted / size != static_cast<Wide>(index) * wanted / size;
}

absl::Status EvaluateProbes(const ProbeSource& source, const ModelOptions& options, const Tokenizer* tokenizer, int window, uint64_t salt, ModelSet& models,
                            FrameLog* weights, const AuditObserver& observer) {
  const uint64_t frames = (source.size() + kProbesAFrame - 1) / kProbesAFrame;
  uint64_t missing = 0;
  for (uint64_t f = 0; f < frames; ++f) missing += !weights->Has(f);
  if (missing == 0) return absl::OkStatus();
  observer.begin("models", "probes", source.size());
  Evaluator evaluator(options, window, salt, models);
  for (uint64_t f = 0; f < frames; ++f) {
    const uint64_t first = f * kProbesAFrame, end = std::min(source.size(), first + kProbesAFrame);
    const bool there = weights->Has(f);
    if (there && !options.served) {  // nothing hangs on the probes before
      observer.add(end - first);
      continue;
    }
    std::vector<ProbeRows> frame;
    for (uint64_t i = first; i < end; ++i) {
      ModelProbe probe;
      CM_RETURN_IF_ERROR(source.Read(i, &probe));
      Context context;
      ProbeRows& rows = frame.emplace_back();
      rows.account = probe.account;
      absl::Status read = IdsOf("prompt", probe.prompt, probe.prompt_ids, probe.prompt_is_ids, tokenizer, models.vocabulary, &context.prompt);
      if (read.ok()) read = IdsOf("answer", probe.answer, probe.answer_ids, probe.answer_is_ids, tokenizer, models.vocabulary, &context.answer);
      if (absl::IsFailedPrecondition(read)) return absl::InvalidArgumentError(Cat(source.Place(i), ": ", std::string(read.message())));
      if (!read.ok()) {
        rows.error = Cat(source.Place(i), ": ", std::string(read.message()));
        continue;
      }
      std::vector<uint8_t> wanted, first_in_log;
      evaluator.Choose(probe, context, &wanted, &first_in_log, &rows.counts);
      if (there || !IsEvaluated(i, source.size(), options.evaluate)) continue;
      CM_RETURN_IF_ERROR(evaluator.Evaluate(context, !probe.prompt_is_ids, wanted, first_in_log, &rows));
    }
    if (!there) {
      CM_RETURN_IF_ERROR(weights->Append(f, EncodeRows(frame, window, models.subjects())));
    }
    observer.add(end - first);
  }
  return weights->Sync();
}

}  // namespace countermark::audit
