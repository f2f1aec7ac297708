#include "src/llama/sampler.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "countermark/keys/derive.h"
#include "src/base/status_macros.h"

namespace countermark {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Memory for a row. Of no use to a clone, which gets its own.
struct Scratch {
  Scratch() = default;
  Scratch(const Scratch&) {}
  Scratch& operator=(const Scratch&) = delete;

  RowScratch row;
  std::vector<float> logits;
  std::vector<uint32_t> ids;
  std::vector<uint32_t> order;  // places of the host's candidates by ascending id, when they do not come so
};

struct State {
  std::shared_ptr<const Hook> hook;
  RequestOptions options;  // `prompt` is set from the member below when it is needed
  LlamaSeat seat;
  Request request;
  std::vector<uint32_t> prompt = {};
  bool started = false;  // an apply has been seen: what is accepted now is output
  std::optional<Choice> choice = {};  // what apply gave for the next position; accept tells whether the host kept it
  uint32_t attempt = 0;          // tokens that the host has refused at this position
  Scratch scratch = {};
};

absl::StatusOr<Request> Begin(const Hook& hook, const RequestOptions& options, const LlamaSeat& seat) {
  return seat.account_key ? hook.Begin(options, *seat.account_key) : hook.Begin(options);
}

// 64 bits of the prompt, for a request whose draws hang on it.
uint64_t DigestOf(std::span<const uint32_t> prompt) {
  std::string bytes;
  for (const uint32_t token : prompt) {
    for (int b = 0; b < 4; ++b) bytes.push_back(static_cast<char>(token >> (8 * b) & 0xFF));
  }
  const Digest32 digest = Sha256(bytes);
  uint64_t first = 0;
  for (size_t b = 0; b < 8; ++b) first |= static_cast<uint64_t>(digest[b]) << (8 * b);
  return first;
}

State& StateOf(const llama_sampler* sampler) { return *static_cast<State*>(sampler->ctx); }

const char* Name(const llama_sampler*) { return "countermark"; }

// libllama calls these as C functions: no exception may leave one. What can be thrown is that memory is short.
void Accept(llama_sampler* sampler, llama_token token) noexcept {
  State& s = StateOf(sampler);
  try {
    if (!s.started) {
      s.prompt.push_back(static_cast<uint32_t>(token));
      return;
    }
    const bool ours = s.choice && s.choice->token == static_cast<uint32_t>(token);
    const Cause cause = ours ? s.choice->cause : Cause::kForced;
    s.request.Commit(static_cast<uint32_t>(token), cause);
    if (s.seat.listener) s.seat.listener->Took(s.request.size() - 1, cause);
  } catch (...) {
    // A text with a gap would be marked behind windows that nobody finds: it starts anew after this token.
    (void)s.request.Rollback(s.request.size());
  }
  s.choice.reset();
  s.attempt = 0;
}

// Ids are compared without their sign: a negative one is no token, comes last, and is left out by the hook like any other beyond the vocabulary.
uint32_t IdOf(const llama_token_data& d) { return static_cast<uint32_t>(d.id); }

// The host's candidates as a row with ascending ids. Hosts hand over the whole vocabulary in order, or what their own truncation left, sorted by
// logit.
Row RowOf(const llama_token_data_array& candidates, const Hook& hook, Scratch* s) {
  const size_t n = candidates.size;
  s->logits.resize(n);
  bool whole = true, ascending = true;
  for (size_t i = 0; i < n; ++i) {
    s->logits[i] = candidates.data[i].logit;
    whole &= IdOf(candidates.data[i]) == i;
  }
  s->order.clear();
  if (whole && n >= hook.record().vocabulary) return {s->logits.data(), n, nullptr};
  for (size_t i = 1; i < n; ++i) ascending &= IdOf(candidates.data[i - 1]) < IdOf(candidates.data[i]);
  s->ids.resize(n);
  if (!ascending) {
    s->order.resize(n);
    std::iota(s->order.begin(), s->order.end(), 0u);
    std::sort(s->order.begin(), s->order.end(), [&](uint32_t a, uint32_t b) { return IdOf(candidates.data[a]) < IdOf(candidates.data[b]); });
  }
  for (size_t i = 0; i < n; ++i) {
    const llama_token_data& d = candidates.data[ascending ? i : s->order[i]];
    s->ids[i] = IdOf(d);
    s->logits[i] = d.logit;
  }
  return {s->logits.data(), n, s->ids.data()};
}

// Where the hook has nothing to draw from: the likeliest of what the host gave, whatever it is. Serving goes on, and the fault is counted.
void TakeLikeliest(State* s, llama_token_data_array* candidates) noexcept {
  size_t best = 0;
  for (size_t i = 1; i < candidates->size; ++i) {
    const float logit = candidates->data[best].logit;
    if (logit != logit || candidates->data[i].logit > logit) best = i;
  }
  for (size_t i = 0; i < candidates->size; ++i) candidates->data[i].p = i == best ? 1.0f : 0.0f;
  candidates->selected = static_cast<int64_t>(best);
  Choice fault;
  fault.token = static_cast<uint32_t>(candidates->data[best].id);
  fault.cause = Cause::kFault;
  s->choice = fault;
}

// Whether the row still offers `token`.
bool Offers(const Row& row, uint32_t token) {
  if (row.ids == nullptr) return token < row.size && row.logits[token] > -kInfinity;
  const uint32_t* const end = row.ids + row.size;
  const uint32_t* const at = std::lower_bound(row.ids, end, token);
  return at != end && *at == token && row.logits[at - row.ids] > -kInfinity;
}

void Choose(State& s, llama_token_data_array* candidates) {
  if (!s.started) {
    s.started = true;
    if (s.seat.listener) s.seat.listener->Began(!s.prompt.empty());
    if (s.request.floored() || (s.seat.floored && !s.prompt.empty())) {
      // A floored request draws from its prompt, which is known only now.
      RequestOptions options = s.options;
      options.prompt = s.prompt;
      if (s.seat.floored) options.seed = DigestOf(s.prompt);
      absl::StatusOr<Request> request = Begin(*s.hook, options, s.seat);
      if (request.ok()) s.request = *std::move(request);
    }
    std::vector<uint32_t>().swap(s.prompt);  // of no more use, and a clone would copy it
  }
  const Row row = RowOf(*candidates, *s.hook, &s.scratch);
  // llama.cpp's own loop samples first and looks at the grammar afterwards: a token that breaks it is masked, and the chain is applied again. The same
  // row once more gives the same token: nothing was refused.
  if (s.choice && !Offers(row, s.choice->token)) ++s.attempt;
  const absl::StatusOr<Choice> choice = s.hook->Choose(s.request, row, &s.scratch.row, s.attempt);
  if (!choice.ok()) return TakeLikeliest(&s, candidates);
  s.choice = *choice;
  // A terminal sampler leaves normalised probabilities: here those of the truncated, unmarked distribution, which is the truncated set still in
  // the scratch. Greedy choices have none; the token has all of it.
  const auto place_of = [&](uint32_t id) -> size_t {
    if (row.ids == nullptr) return id;
    const auto begin = s.scratch.ids.begin(), end = begin + static_cast<ptrdiff_t>(candidates->size);
    const size_t i = static_cast<size_t>(std::lower_bound(begin, end, id) - begin);
    return s.scratch.order.empty() ? i : s.scratch.order[i];
  };
  for (size_t i = 0; i < candidates->size; ++i) candidates->data[i].p = 0.0f;
  const size_t selected = place_of(choice->token);
  candidates->selected = static_cast<int64_t>(selected);
  if (s.scratch.row.last.ids.empty() || choice->candidates <= 1) {
    candidates->data[selected].p = 1.0f;
    return;
  }
  const float inverse = 1.0f / static_cast<float>(s.scratch.row.last.total);
  for (size_t i = 0; i < s.scratch.row.last.ids.size(); ++i) {
    candidates->data[place_of(s.scratch.row.last.ids[i])].p = s.scratch.row.last.weights[i] * inverse;
  }
}

void Apply(llama_sampler* sampler, llama_token_data_array* candidates) noexcept {
  if (candidates->size == 0) return;
  State& s = StateOf(sampler);
  try {
    Choose(s, candidates);
  } catch (...) {
    TakeLikeliest(&s, candidates);
  }
}

void Reset(llama_sampler* sampler) noexcept {
  State& s = StateOf(sampler);
  s.prompt.clear();
  s.started = false;
  s.choice.reset();
  s.attempt = 0;
  // A new request. One without a seed draws afresh; if that fails, the old draws are better than none.
  try {
    absl::StatusOr<Request> request = Begin(*s.hook, s.options, s.seat);
    if (request.ok()) {
      s.request = *std::move(request);
      return;
    }
  } catch (...) {
  }
  (void)s.request.Rollback(s.request.size());
}

llama_sampler* Clone(const llama_sampler* sampler) noexcept;

void Free(llama_sampler* sampler) { delete static_cast<State*>(sampler->ctx); }

// libllama's table of functions has grown (6, 10, 12 pointers); ours is padded with nulls, so that a later library finds nulls there too.
union Table {
  llama_sampler_i functions;
  void* padding[32];
};

Table* TheTable() {
  static Table table = [] {
    Table t;
    std::memset(&t, 0, sizeof t);
    t.functions.name = Name;
    t.functions.accept = Accept;
    t.functions.apply = Apply;
    t.functions.reset = Reset;
    t.functions.clone = Clone;
    t.functions.free = Free;
    return t;
  }();
  return &table;
}

// Null where memory is short.
llama_sampler* Clone(const llama_sampler* sampler) noexcept {
  try {
    auto state = std::make_unique<State>(StateOf(sampler));
    llama_sampler* const clone = llama_sampler_init(&TheTable()->functions, state.get());
    if (clone != nullptr) state.release();
    return clone;
  } catch (...) {
    return nullptr;
  }
}

}  // namespace

absl::StatusOr<llama_sampler*> MakeLlamaSampler(std::shared_ptr<const Hook> hook, const RequestOptions& options, const LlamaSeat& seat) {
  RequestOptions own = options;
  own.prompt = {};
  CM_ASSIGN_OR_RETURN(Request request, Begin(*hook, own, seat));
  std::unique_ptr<State> state(new State{std::move(hook), std::move(own), seat, std::move(request)});
  llama_sampler* sampler = llama_sampler_init(&TheTable()->functions, state.get());
  if (sampler == nullptr) return absl::ResourceExhaustedError("libllama gave no sampler");
  state.release();
  return sampler;
}

const Request* LlamaSamplerRequest(const llama_sampler* sampler) {
  if (sampler == nullptr || sampler->iface != &TheTable()->functions) return nullptr;
  return &StateOf(sampler).request;
}

}  // namespace countermark
