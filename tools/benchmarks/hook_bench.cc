// hook_bench LOGITS [ROUNDS]: times the sampling hook on whole rows, by scheme, under the instruction set COUNTERMARK_ISA allows.
//
// Rows: random normal of standard deviation 3 at V = 128256; a model's, from a file of logits; and the same widened to 128256 tokens. Everything
// that is compared is timed in turn on the same row, with fresh windows.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "src/sampling/row_kernels.h"
#include "tools/benchmarks/epoch.h"
#include "tools/benchmarks/figures.h"
#include "tools/benchmarks/wide_rows.h"

namespace {

using namespace countermark;
using bench::Figures;
using bench::RandomRows;
using bench::Rows;
using bench::TargetFor;
using bench::Widen;

constexpr size_t kPlaces = 16;

template <typename T>
T Checked(absl::StatusOr<T> value) {
  if (!value.ok()) bench::Die(std::string(value.status().message()));
  return *std::move(value);
}

void Time(const Rows& rows, size_t rounds, Figures& figures) {
  const std::string isa = SamplingIsa();
  const SamplingParameters top_p = {1.0f, 0, 0.95, 0.0}, top_k = {1.0f, 1024, 1.0, 0.0};
  const uint32_t v = rows.vocabulary;
  const auto gumbel = bench::MakeHook(Scheme::kGumbel, v), unmarked = bench::MakeHook(Scheme::kGumbel, v, false);
  const auto partition = bench::MakeHook(Scheme::kPartition, v), tournament = bench::MakeHook(Scheme::kTournament, v);
  const std::vector<Request> at = bench::MakeRequests(*gumbel, top_p, kPlaces), at_k = bench::MakeRequests(*tournament, top_k, kPlaces);
  const std::vector<Request> at_partition = bench::MakeRequests(*partition, top_p, kPlaces), at_tournament = bench::MakeRequests(*tournament, top_p, kPlaces);
  const std::vector<Request> at_unmarked = bench::MakeRequests(*unmarked, top_p, kPlaces);
  RowScratch scratch;
  std::vector<float> copy;
  volatile uint32_t sink = 0;
  size_t call = 0;
  const auto row_of = [&](size_t round) { return Row{rows.rows[round % rows.rows.size()].data(), v}; };
  const auto choose = [&](const Hook& hook, const std::vector<Request>& requests) {
    return [&](size_t round) { sink = Checked(hook.Choose(requests[call++ % kPlaces], row_of(round), &scratch)).token; };
  };

  bool nan, infinite;
  const auto read_row = [&](size_t round) { sink = static_cast<uint32_t>(row_kernels::Best().max(row_of(round).logits, v, &nan, &infinite)); };
  // The row lies in the cache, as when a model has just written it; the steps that the work takes in it are not yet in the branch predictors.
  bench::Interleaved works;
  const size_t read = works.Add(read_row, read_row, 16);
  const size_t truncate = works.Add([&](size_t round) { sink = static_cast<uint32_t>(Truncate(row_of(round), top_p, &scratch).ids.size()); }, read_row);
  const size_t plain = works.Add(choose(*unmarked, at_unmarked), read_row);
  const size_t race = works.Add(choose(*gumbel, at), read_row);
  const size_t tilt = works.Add(choose(*partition, at_partition), read_row);
  const size_t bias = works.Add([&](size_t) { sink = static_cast<uint32_t>(Checked(partition->Bias(at_partition[call++ % kPlaces], copy, &scratch)).channel); },
                                [&](size_t round) { copy.assign(row_of(round).logits, row_of(round).logits + v); });
  const size_t duels = works.Add(choose(*tournament, at_tournament), read_row);
  const size_t truncate_k = works.Add([&](size_t round) { sink = static_cast<uint32_t>(Truncate(row_of(round), top_k, &scratch).ids.size()); }, read_row);
  const size_t duels_k = works.Add(choose(*tournament, at_k), read_row);
  works.Run(rounds);

  std::vector<double> left;
  for (size_t r = 0; r < rows.rows.size(); ++r) left.push_back(static_cast<double>(Truncate(row_of(r), top_p, &scratch).ids.size()));
  const std::string of = ", " + rows.name + ", " + isa;
  const auto target = [&](const char* avx512, const char* avx2) { return rows.has_targets ? TargetFor(isa, "<=", avx512, avx2) : ""; };
  const auto micro = [&](const std::string& name, size_t work, const std::string& against) { figures.Add(name + of, 1e6 * works.Median(work), "us", against); };
  figures.Add("tokens that top-p 0.95 leaves, median" + of, bench::MedianOf(left), "tokens");
  micro("reading the row once (its maximum)", read, "");
  micro("truncation to top-p 0.95, no draw", truncate, "");
  micro("unmarked choice, top-p 0.95", plain, "");
  micro("gumbel choice, top-p 0.95", race, target("60", "120"));
  figures.Add("gumbel choice / unmarked choice" + of, works.MedianRatio(race, plain), "x", "the same hook, unmarked");
  micro("partition, logits changed in place", bias, target("30", "60"));
  micro("partition choice, top-p 0.95", tilt, "");
  figures.Add("partition choice / unmarked choice" + of, works.MedianRatio(tilt, plain), "x", "the same hook, unmarked");
  micro("tournament choice, top-p 0.95", duels, "");
  figures.Add("tournament choice / unmarked choice" + of, works.MedianRatio(duels, plain), "x", "the same hook, unmarked");
  figures.Add("tournament beyond truncation, top-k 1024" + of, 1e6 * works.MedianDifference(duels_k, truncate_k), "us", target("60", "120"));
  figures.Add("tournament beyond truncation, top-p 0.95, the 1,024 heaviest picked" + of, 1e6 * works.MedianDifference(duels, truncate), "us", target("60", "120"));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) bench::Die("give a file of logits: hook_bench LOGITS [ROUNDS]");
  const size_t rounds = argc > 2 ? static_cast<size_t>(std::atoi(argv[2])) : 300;
  const bench::LogitsRows model = bench::ReadLogits(argv[1]);
  Figures figures;
  Time(RandomRows(16), rounds, figures);
  Time({"SmolLM2's rows, V=" + std::to_string(model.vocabulary), model.vocabulary, false, model.rows}, rounds, figures);
  Time(Widen(model), rounds, figures);
  figures.Print();
}
