#include "src/audit/model/score.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <thread>
#include <unordered_map>

#include "countermark/detect/multiplicity.h"
#include "countermark/mark/chacha.h"
#include "countermark/mark/channel.h"
#include "src/audit/parallel.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark::audit {
namespace {

constexpr size_t kFlushRows = 8192;
constexpr size_t kKeptErrors = 20;

// A channel's rows of one subject as they come in, and what keys say of them. Served probes: each window stands once under its key, so rows are scored and forgotten.
struct Lane {
  explicit Lane(int window) : table(window), pairs(window) {}
  WeightTable table;
  PairSet pairs;       // (window, top-1)
  Evidence evidence;
};

void AddTop1(const uint32_t* window, int h, int64_t top1, PairSet* pairs) {
  if (top1 < 0) return;
  uint32_t ids[kMaxWindow + 1];
  std::copy_n(window, h, ids);
  ids[h] = static_cast<uint32_t>(top1);
  pairs->Add(std::span<const uint32_t>(ids, static_cast<size_t>(h) + 1));
}

ChannelCount CountOf(const PairSet& pairs, const Secret32& key, const MarkParameters& mark) {
  const std::vector<uint8_t> channel(pairs.size(), 0);
  return ScoreChannel(pairs, channel, 0, key, mark);
}

// `decoys`: their sums so far, one a key.
void AddDecoys(const MatchedFilter& filter, const WeightTable& table, const std::vector<Secret32>& keys, int threads, std::vector<FilterSum>* decoys) {
  std::vector<std::thread> workers;
  const auto count = static_cast<size_t>(threads);
  for (size_t t = 0; t < count; ++t) {
    workers.emplace_back([&, t] {
      for (size_t k = t; k < keys.size(); k += count) (*decoys)[k] += filter.Sum(table, keys[k]);
    });
  }
  for (std::thread& worker : workers) worker.join();
}

// `scale`: how a sum becomes p, with `key`'s own evidence for what does not hang on the key.
DecoyControl Summarise(const EvidenceScale& scale, const Evidence& key, const std::vector<FilterSum>& decoys) {
  const MatchedFilter& filter = *scale.filter;
  DecoyControl control;
  control.count = decoys.size();
  if (decoys.empty()) return control;
  std::vector<double> z;
  for (const FilterSum decoy : decoys) {
    control.at_least += decoy >= key.sum;
    z.push_back(filter.Z(decoy, key.squares));
    double log10_p = 0;
    if (scale.served) {
      std::array<long double, kFilterBets> ln = key.ln_filter;
      const long double more = filter.Real(decoy - key.sum);
      for (int j = 0; j < kFilterBets; ++j) ln[j] += std::ldexp(more, -j - 1);
      log10_p = std::min(0.0, -Log10OfBets(ln));
    } else {
      log10_p = scale.bound->Log10P(decoy);
    }
    control.log10_p_least = std::min(control.log10_p_least, log10_p);
    for (int level = 0; level < 3; ++level) control.p_at_most[level] += log10_p <= -1 - level;
  }
  std::sort(z.begin(), z.end());
  const auto n = static_cast<double>(z.size());
  control.mean = std::accumulate(z.begin(), z.end(), 0.0) / n;
  double squared = 0;
  for (const double x : z) squared += (x - control.mean) * (x - control.mean);
  control.sd = z.size() > 1 ? std::sqrt(squared / (n - 1)) : 0;
  control.largest = z.back();
  for (int q = 0; q <= 20; ++q) control.quantiles.push_back(z[static_cast<size_t>(std::llround(static_cast<double>(q) / 20 * (n - 1)))]);
  return control;
}

class Scorer {
 public:
  Scorer(const AuditKeys& keys, const ModelOptions& options, const FrameLog& weights, uint64_t frames, int subjects, const Secret32& decoy_seed,
         const AuditObserver& observer)
      : keys_(keys), options_(options), weights_(weights), frames_(frames), subjects_(subjects), observer_(observer), mark_(keys.record.mark), filter_(mark_),
        threads_(ThreadsOr(options.threads)) {
    LoadKeyWords(keys.route.Reveal(SecretAccess()), route_words_);
    base_channel_ = std::max(0, keys.record.ChannelIndex("base"));
    for (const CandidateFamily& family : keys.families) {
      if (family.name == "accounts") family_ = &family;
    }
    for (uint64_t d = 0; d < options.decoys; ++d) decoy_keys_.push_back(DeriveKey(decoy_seed, {"decoy", std::to_string(d)}));
  }
  ~Scorer() {
    std::fill(std::begin(route_words_), std::end(route_words_), 0u);
    __asm__ __volatile__("" : : "r"(route_words_) : "memory");
  }

  absl::StatusOr<ModelScores> Run() {
    scores_.has_control = subjects_ > 1;
    scores_.candidates = family_ != nullptr ? family_->labels.size() : 0;
    CM_RETURN_IF_ERROR(options_.served ? Served() : Public());
    JudgeAccounts();
    return std::move(scores_);
  }

 private:
  using Visit = std::function<void(const ProbeRows&)>;
  absl::Status ForEachProbe(bool tally, const Visit& visit) {
    observer_.begin("keys", "pieces", frames_);
    for (uint64_t f = 0; f < frames_; ++f) {
      CM_ASSIGN_OR_RETURN(const std::string payload, weights_.Read(f));
      absl::StatusOr<std::vector<ProbeRows>> probes = ParseRows(payload, mark_.window, subjects_);
      if (!probes.ok()) return absl::DataLossError(Cat(weights_.Place(f), ": ", std::string(probes.status().message())));
      for (const ProbeRows& probe : *probes) {
        if (tally) {
          ++scores_.probes;
          scores_.counts.Add(probe.counts);
          scores_.evaluated_windows += probe.rows.size();
          if (!probe.error.empty()) {
            ++scores_.error_count;
            if (scores_.errors.size() < kKeptErrors) scores_.errors.push_back(probe.error);
          }
          for (const PositionRow& row : probe.rows) any_weight_ |= !row.subject[0].weights.empty();
        }
        visit(probe);
      }
      observer_.add(1);
    }
    scores_.same = scores_.evaluated_windows > 0 && !any_weight_;
    return absl::OkStatus();
  }

  int ChannelOfRow(const uint32_t* window) const {
    return RouteWindow(route_words_, mark_.scheme, window, mark_.window, keys_.weights.data(), static_cast<int>(keys_.weights.size()));
  }

  // ---- Served probes: e-values along the log. -----------------------------------------------------------------------------------------------
  void Flush(const Secret32& key, Lane* lane, std::vector<FilterSum>* decoys) {
    if (lane->table.rows() == 0) return;
    Evidence& e = lane->evidence;
    e.keys = 1;
    e.windows += lane->table.rows();
    e.squares += lane->table.squares();
    const FilterSum sum = filter_.Sum(lane->table, key);
    e.sum += sum;
    const auto ln = LnOfBets(filter_, sum, filter_.Bets(lane->table));
    for (size_t j = 0; j < ln.size(); ++j) e.ln_filter[j] += ln[j];
    const ChannelCount top1 = CountOf(lane->pairs, key, mark_);
    e.top1.scored += top1.scored;
    e.top1.statistic += top1.statistic;
    if (decoys != nullptr && !decoys->empty()) AddDecoys(filter_, lane->table, decoy_keys_, threads_, decoys);
    lane->table.Clear();
    lane->pairs.Clear();
  }
  void Put(const PositionRow& row, int subject, Lane* lane) {
    lane->table.Add(row.window, row.subject[subject].weights);
    AddTop1(row.window, mark_.window, row.subject[subject].top1, &lane->pairs);
  }

  absl::Status Served() {
    scale_ = {.served = true, .filter = &filter_, .bound = nullptr};
    Lane base(mark_.window), control(mark_.window);
    std::vector<FilterSum> decoys(decoy_keys_.size());
    const int account_channel = family_ != nullptr ? family_->channel : -1;
    std::unordered_map<std::string_view, size_t> index;
    for (size_t i = 0; family_ != nullptr && i < family_->labels.size(); ++i) index.emplace(family_->labels[i], i);
    std::vector<Evidence> accounts(index.size());
    Lane one(mark_.window);
    CM_RETURN_IF_ERROR(ForEachProbe(true, [&](const ProbeRows& probe) {
      const auto account = index.find(probe.account);
      for (const PositionRow& row : probe.rows) {
        const int channel = ChannelOfRow(row.window);
        if (channel == base_channel_ && row.first_in_log) {
          Put(row, 0, &base);
          if (subjects_ > 1) Put(row, 1, &control);
        } else if (channel == account_channel && account != index.end()) {
          Put(row, 0, &one);
        }
      }
      if (base.table.rows() >= kFlushRows) {
        Flush(keys_.base, &base, &decoys);
        Flush(keys_.base, &control, nullptr);
      }
      if (account != index.end()) {
        one.evidence = accounts[account->second];
        Flush(family_->keys[account->second], &one, nullptr);
        accounts[account->second] = one.evidence;
      }
    }));
    Flush(keys_.base, &base, &decoys);
    Flush(keys_.base, &control, nullptr);
    scores_.base = Tested(base.evidence);
    scores_.base_decoys = Summarise(scale_, base.evidence, decoys);
    if (subjects_ > 1) scores_.control = Tested(control.evidence);
    for (size_t i = 0; i < accounts.size(); ++i) {
      if (accounts[i].windows == 0) continue;
      TestedAccount& tested = scores_.accounts.emplace_back();
      static_cast<TestedKey&>(tested) = Tested(accounts[i]);
      tested.index = i;
    }
    if (scores_.accounts.empty()) return absl::OkStatus();
    FindStrongest();
    const TestedAccount& strongest = scores_.accounts[scores_.strongest];
    std::vector<FilterSum> of_account(decoy_keys_.size());
    one = Lane(mark_.window);
    CM_RETURN_IF_ERROR(ForEachProbe(false, [&](const ProbeRows& probe) {
      if (probe.account != family_->labels[strongest.index]) return;
      for (const PositionRow& row : probe.rows) {
        if (ChannelOfRow(row.window) == account_channel) Put(row, 0, &one);
      }
      if (one.table.rows() >= kFlushRows) Flush(family_->keys[strongest.index], &one, &of_account);
    }));
    Flush(family_->keys[strongest.index], &one, &of_account);
    scores_.account_decoys = Summarise(scale_, strongest.evidence, of_account);
    return absl::OkStatus();
  }

  // ---- Key-independent probes: one weight a window over all contexts. ----------------------------------------------------------------------
  Evidence OnTable(const WeightTable& table, const PairSet& pairs, const Secret32& key) const {
    Evidence e;
    e.keys = 1;
    e.windows = table.rows();
    e.squares = table.squares();
    e.sum = filter_.Sum(table, key);
    e.top1 = CountOf(pairs, key, mark_);
    return e;
  }

  absl::Status Public() {
    // The base channel of each subject, and the suspect's account channel.
    std::vector<WindowSums> base(static_cast<size_t>(subjects_), WindowSums(mark_.window));
    std::vector<PairSet> base_pairs;
    for (int s = 0; s < subjects_; ++s) base_pairs.emplace_back(mark_.window);
    WindowSums account(mark_.window);
    PairSet account_pairs(mark_.window);
    const int account_channel = family_ != nullptr ? family_->channel : -1;
    CM_RETURN_IF_ERROR(ForEachProbe(true, [&](const ProbeRows& probe) {
      for (const PositionRow& row : probe.rows) {
        const int channel = ChannelOfRow(row.window);
        for (int s = 0; s < subjects_ && channel == base_channel_; ++s) {
          base[static_cast<size_t>(s)].Add(row.window, row.subject[s].weights);
          AddTop1(row.window, mark_.window, row.subject[s].top1, &base_pairs[static_cast<size_t>(s)]);
        }
        if (channel == account_channel) {
          account.Add(row.window, row.subject[0].weights);
          AddTop1(row.window, mark_.window, row.subject[0].top1, &account_pairs);
        }
      }
    }));
    for (int s = 0; s < subjects_; ++s) {
      const WeightTable table = base[static_cast<size_t>(s)].Table();
      const ChernoffBound bound(filter_, table, threads_);
      scale_ = {.served = false, .filter = &filter_, .bound = &bound};
      TestedKey& to = s == 0 ? scores_.base : scores_.control;
      to = Tested(OnTable(table, base_pairs[static_cast<size_t>(s)], keys_.base));
      if (s > 0) continue;
      std::vector<FilterSum> decoys(decoy_keys_.size());
      AddDecoys(filter_, table, decoy_keys_, threads_, &decoys);
      scores_.base_decoys = Summarise(scale_, to.evidence, decoys);
    }
    base.clear();
    const WeightTable table = account.Table();
    account_bound_.emplace(filter_, table, threads_);
    scale_ = {.served = false, .filter = &filter_, .bound = &*account_bound_};
    if (family_ == nullptr || table.rows() == 0) return absl::OkStatus();
    scores_.accounts.resize(family_->keys.size());
    std::vector<std::thread> workers;
    for (int t = 0; t < threads_; ++t) {
      workers.emplace_back([&, t] {
        for (size_t i = static_cast<size_t>(t); i < family_->keys.size(); i += static_cast<size_t>(threads_)) {
          static_cast<TestedKey&>(scores_.accounts[i]) = Tested(OnTable(table, account_pairs, family_->keys[i]));
          scores_.accounts[i].index = i;
        }
      });
    }
    for (std::thread& worker : workers) worker.join();
    FindStrongest();
    std::vector<FilterSum> decoys(decoy_keys_.size());
    AddDecoys(filter_, table, decoy_keys_, threads_, &decoys);
    const Evidence& strongest = scores_.accounts[scores_.strongest].evidence;
    scores_.account_decoys = Summarise(scale_, strongest, decoys);
    return absl::OkStatus();
  }

  // ---- Verdicts. ---------------------------------------------------------------------------------------------------------------------------
  TestedKey Tested(Evidence evidence) const {
    evidence.ln_top1 = LnEOfBets(evidence.top1, mark_);
    TestedKey tested;
    tested.reading = Judge(scale_, evidence);
    tested.z = filter_.Z(evidence.sum, evidence.squares);
    tested.evidence = std::move(evidence);
    return tested;
  }

  void FindStrongest() {
    const auto stronger = [](const TestedAccount& a, const TestedAccount& b) { return a.reading.log10_p != b.reading.log10_p ? a.reading.log10_p < b.reading.log10_p : a.z > b.z; };
    scores_.strongest = static_cast<size_t>(std::min_element(scores_.accounts.begin(), scores_.accounts.end(), stronger) - scores_.accounts.begin());
  }

  void JudgeAccounts() {
    std::vector<double> log10_p;
    std::vector<Evidence> evidence;
    std::unordered_map<std::string_view, size_t> place;
    for (size_t i = 0; i < scores_.accounts.size(); ++i) {
      log10_p.push_back(scores_.accounts[i].reading.log10_p);
      evidence.push_back(scores_.accounts[i].evidence);
      place.emplace(family_->labels[scores_.accounts[i].index], i);
    }
    const std::vector<double> adjusted = HolmAdjust(log10_p);
    for (size_t i = 0; i < adjusted.size(); ++i) scores_.accounts[i].log10_p_adjusted = adjusted[i];
    for (const std::vector<std::string>& names : options_.rings) {
      NamedRing& ring = scores_.rings.emplace_back();
      Evidence pooled;
      for (const std::string& name : names) {
        const auto found = place.find(name);
        if (found == place.end()) {
          ++ring.without_windows;
          continue;
        }
        ring.members.push_back(name);
        pooled = Pool(pooled, evidence[found->second]);
      }
      ring.reading = Judge(scale_, pooled);
      ring.z = filter_.Z(pooled.sum, pooled.squares);
    }
    if (options_.search_ring && !evidence.empty()) scores_.searched = SearchRing(scale_, evidence, log10_p);
  }

  const AuditKeys& keys_;
  const ModelOptions& options_;
  const FrameLog& weights_;
  uint64_t frames_;
  int subjects_;
  const AuditObserver& observer_;
  MarkParameters mark_;
  MatchedFilter filter_;
  int threads_;
  uint32_t route_words_[8] = {};
  int base_channel_ = 0;
  const CandidateFamily* family_ = nullptr;
  std::vector<Secret32> decoy_keys_;
  EvidenceScale scale_;
  std::optional<ChernoffBound> account_bound_;
  bool any_weight_ = false;
  ModelScores scores_;
};

}  // namespace

absl::StatusOr<ModelScores> ScoreModel(const AuditKeys& keys, const ModelOptions& options, const FrameLog& weights, uint64_t frames, int subjects,
                                       const Secret32& decoy_seed, const AuditObserver& observer) {
  Scorer scorer(keys, options, weights, frames, subjects, decoy_seed, observer);
  return scorer.Run();
}

}  // namespace countermark::audit
