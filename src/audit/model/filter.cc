#include "countermark/audit/model_filter.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <thread>

#include "countermark/mark/chacha.h"
#include "countermark/mark/prf.h"
#include "countermark/mark/wide.h"

namespace countermark {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr long double kUp = 1 + 0x1p-40L;
constexpr long double kLn10 = 2.302585092994045684017991454684364208L;

struct WipedKey {
  explicit WipedKey(const Secret32& key) { LoadKeyWords(key.Reveal(SecretAccess()), words); }
  ~WipedKey() {
    std::memset(words, 0, sizeof words);
    std::memset(seed, 0, sizeof seed);
    __asm__ __volatile__("" : : "r"(words), "r"(seed) : "memory");
  }
  uint32_t words[8], seed[8];
};

// exp(x) − 1 − x ≥ 0, without the cancellation.
double Expm1Minus(double x) {
  if (std::fabs(x) > 0.25) return std::expm1(x) - x;
  double term = x * x / 2, sum = 0;
  for (int k = 3; k < 20; ++k) {
    sum += term;
    term *= x / k;
  }
  return sum;
}

// −x − ln(1 − x) ≥ 0 for x < 1, without the cancellation.
double MinusLog1pMinus(double x) {
  if (std::fabs(x) > 0.0625) return -x - std::log1p(-x);
  // x²/2 + x³/3 + …: the first left out, x¹⁶/16, is below 2⁻⁵⁷ of the first.
  double sum = 0;
  for (int k = 15; k >= 2; --k) sum = sum * x + 1.0 / k;
  return sum * x * x;
}

}  // namespace

FilterSum MatchedFilter::Sum(const WeightTable& table, const Secret32& key) const {
  WipedKey wiped(key);
  std::vector<uint32_t> tokens, words;
  std::vector<uint8_t> bytes;
  std::vector<uint64_t> scores;
  const bool partition = parameters_.scheme == Scheme::kPartition;
  FilterSum sum = 0;
  for (size_t row = 0; row < table.rows(); ++row) {
    const std::span<const TokenWeight> weights = table.Weights(row);
    const size_t n = weights.size();
    if (n == 0) continue;
    if (words.size() < n) tokens.resize(n), words.resize(n), bytes.resize(n), scores.resize(n);
    for (size_t i = 0; i < n; ++i) tokens[i] = weights[i].token;
    MarkSeed(wiped.words, parameters_.scheme, table.Window(row), parameters_.window, wiped.seed);
    if (partition) {
      BytesAt(wiped.seed, tokens.data(), static_cast<uint32_t>(n), bytes.data());
      std::copy_n(bytes.begin(), n, words.begin());
    } else {
      WordsAt(wiped.seed, tokens.data(), static_cast<uint32_t>(n), words.data());
    }
    ScoresOfWords(std::span(words).first(n), parameters_, std::span(scores).first(n));
    for (size_t i = 0; i < n; ++i) {
      const auto score = static_cast<int64_t>(scores[i]);
      const int64_t centred = parameters_.scheme == Scheme::kGumbel     ? score - (int64_t{1} << 40)
                              : parameters_.scheme == Scheme::kPartition ? 256 * score - parameters_.green
                                                                         : 2 * score - parameters_.layers;
      sum += static_cast<FilterSum>(weights[i].weight) * centred;
    }
  }
  return sum;
}

long double MatchedFilter::Real(FilterSum sum) const {
  const int bits = parameters_.scheme == Scheme::kGumbel ? 40 : parameters_.scheme == Scheme::kPartition ? 8 : 1;
  return std::ldexp(static_cast<long double>(sum), -bits - kWeightBits);
}

double MatchedFilter::Variance() const {
  const double gamma = parameters_.green / 256.0;
  return parameters_.scheme == Scheme::kGumbel ? 1 : parameters_.scheme == Scheme::kPartition ? gamma * (1 - gamma) : parameters_.layers / 4.0;
}

double MatchedFilter::Z(FilterSum sum, double squares) const {
  return squares > 0 ? static_cast<double>(Real(sum) / std::sqrt(static_cast<long double>(squares * Variance()))) : 0;
}

double MatchedFilter::LogMgf(double theta) const {
  switch (parameters_.scheme) {
    case Scheme::kGumbel: {
      if (theta >= 1) return kInfinity;
      const double a = -theta;
      const double floor_error = theta >= 0 ? 0 : a * 0x1p-40 + (1 + a) * std::min(1.0, 25 * a) * 0x1p-32;
      return MinusLog1pMinus(theta) + floor_error;
    }
    case Scheme::kTournament: {
      const double half = std::sinh(theta / 4);  // ln cosh(θ/2) = ln(1 + 2 sinh²(θ/4))
      if (std::fabs(theta) > 1000) return parameters_.layers * std::fabs(theta) / 2;
      return parameters_.layers * std::log1p(2 * half * half);
    }
    case Scheme::kPartition: {
      const double gamma = parameters_.green / 256.0;
      if (std::fabs(theta) > 500) return std::max(theta, 0.0) - gamma * theta;
      return std::log1p((1 - gamma) * Expm1Minus(-gamma * theta) + gamma * Expm1Minus((1 - gamma) * theta));
    }
  }
  return kInfinity;
}

long double MatchedFilter::LogMgfSum(const WeightTable& table, double lambda) const {
  const double unit = std::ldexp(lambda, -kWeightBits);
  long double sum = 0;
  for (size_t row = 0; row < table.rows(); ++row) {
    double of_row = 0;  // every term ≥ 0: what rounding takes is a share of the sum, far below 2⁻⁴⁰
    for (const TokenWeight& w : table.Weights(row)) of_row += LogMgf(unit * static_cast<double>(w.weight));
    sum += of_row;
  }
  return sum * kUp;
}

BetSums MatchedFilter::Bets(const WeightTable& table, double scale) const {
  BetSums sums;
  double lambda = scale;
  for (int j = 0; j < kFilterBets; ++j) sums.log_mgf[j] = LogMgfSum(table, lambda /= 2);
  return sums;
}

std::array<long double, kFilterBets> LnOfBets(const MatchedFilter& filter, FilterSum sum, const BetSums& bets, double scale) {
  std::array<long double, kFilterBets> ln{};
  const long double real = filter.Real(sum);
  long double lambda = scale;
  for (int j = 0; j < kFilterBets; ++j) {
    const long double gain = (lambda /= 2) * real;
    ln[j] = gain - std::fabs(gain) * 0x1p-50L - bets.log_mgf[j];
  }
  return ln;
}

double Log10OfBets(const std::array<long double, kFilterBets>& ln) {
  const long double most = *std::max_element(ln.begin(), ln.end());
  if (!(most > -std::numeric_limits<long double>::infinity())) return -kInfinity;
  long double sum = 0;
  for (const long double x : ln) sum += std::exp(x - most);
  return static_cast<double>((most + std::log(sum / kFilterBets)) / kLn10);
}

ChernoffBound::ChernoffBound(const MatchedFilter& filter, const WeightTable& table, int threads) : filter_(filter) {
  if (table.terms() == 0) return;
  const double unit = std::ldexp(1.0, -kWeightBits);
  const double size = unit * static_cast<double>(table.largest_size()), largest = unit * static_cast<double>(table.largest());
  // From far above any useful λ, and for gumbel from below 1/max w, down to where S = ½ standard deviation has its best λ.
  double top = 64 / size;
  if (filter.parameters().scheme == Scheme::kGumbel && largest > 0 && top * largest >= 1) {
    top = 1 / largest;
    for (int k = 10; k >= 3; --k) lambda_.push_back(top * (1 - std::ldexp(1.0, -k)));
    top *= 0.8;
  }
  const double bottom = 0.5 / std::sqrt(table.squares() * filter.Variance());
  for (double lambda = top; lambda > bottom / 1.2; lambda /= 1.122462048309373) lambda_.push_back(lambda);  // 2^(1/6)
  log_mgf_.resize(lambda_.size());
  std::vector<std::thread> workers;
  const auto count = static_cast<size_t>(std::max(1, threads));
  for (size_t t = 1; t < count; ++t) {
    workers.emplace_back([this, &table, t, count] {
      for (size_t i = t; i < lambda_.size(); i += count) log_mgf_[i] = filter_.LogMgfSum(table, lambda_[i]);
    });
  }
  for (size_t i = 0; i < lambda_.size(); i += count) log_mgf_[i] = filter_.LogMgfSum(table, lambda_[i]);
  for (std::thread& worker : workers) worker.join();
}

double ChernoffBound::Log10P(FilterSum sum, uint64_t copies) const {
  const long double real = filter_.Real(sum);
  long double best = 0;
  for (size_t i = 0; i < lambda_.size(); ++i) {
    const long double gain = lambda_[i] * real;
    best = std::min(best, static_cast<long double>(copies) * log_mgf_[i] - gain + std::fabs(gain) * 0x1p-50L);
  }
  return static_cast<double>(best / kLn10);
}

double BetterOfTwo(double log10_a, double log10_b) {
  const double a = std::isnan(log10_a) ? 0 : log10_a, b = std::isnan(log10_b) ? 0 : log10_b;
  return std::min(0.0, std::min(a, b) + 0.30102999566398119521);
}

}  // namespace countermark
