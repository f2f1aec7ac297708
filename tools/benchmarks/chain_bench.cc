// chain_bench LOGITS [ROUNDS]: llama.cpp's own chain [temp, top-p, dist] and ours in the same place, apply and accept of one token, in turn on the
// same rows of logits.
#include <llama.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "src/llama/sampler.h"
#include "tools/benchmarks/epoch.h"
#include "tools/benchmarks/figures.h"

namespace {

using namespace countermark;

constexpr float kTemperature = 0.8f;
constexpr float kTopP = 0.95f;

using Chain = std::unique_ptr<llama_sampler, void (*)(llama_sampler*)>;

Chain MakeChain(std::vector<llama_sampler*> samplers) {
  llama_sampler_chain_params params = llama_sampler_chain_default_params();
  Chain chain(llama_sampler_chain_init(params), llama_sampler_free);
  for (llama_sampler* s : samplers) llama_sampler_chain_add(chain.get(), s);
  return chain;
}

llama_sampler* Marked(Scheme scheme, uint32_t vocabulary, const SamplingParameters& parameters) {
  RequestOptions options;
  options.account = "org-1";
  options.parameters = parameters;
  options.seed = 1;
  absl::StatusOr<llama_sampler*> sampler = MakeLlamaSampler(bench::MakeHook(scheme, vocabulary), options);
  if (!sampler.ok()) bench::Die(std::string(sampler.status().message()));
  return *sampler;
}

// A chain with the candidates of the row it is to work on, laid out afresh (untimed) as llama_sampler_sample lays them out.
struct Seat {
  std::string name;
  Chain chain;
  std::vector<llama_token_data> data = {};
  llama_token_data_array array = {};

  uint64_t tokens = 0, marked = 0;

  // Every pass over the rows is a new answer, or its windows would soon all be repeats, which are drawn plainly.
  void Begin() {
    Count();
    llama_sampler_reset(chain.get());
  }
  void Count() {
    const Request* request = LlamaSamplerRequest(llama_sampler_chain_get(chain.get(), llama_sampler_chain_n(chain.get()) - 1));
    if (request == nullptr) return;
    tokens += request->size();
    marked += request->counters().of(Cause::kMarked);
  }
  void Lay(const std::vector<float>& row) {
    data.resize(row.size());
    for (size_t i = 0; i < row.size(); ++i) data[i] = {static_cast<llama_token>(i), row[i], 0.0f};
    array = {data.data(), data.size(), -1, false};
  }
  void Take() {
    llama_sampler_apply(chain.get(), &array);
    llama_sampler_accept(chain.get(), array.data[array.selected].id);
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) bench::Die("give a file of logits: chain_bench LOGITS [ROUNDS]");
  const size_t rounds = argc > 2 ? static_cast<size_t>(std::atoi(argv[2])) : 1000;
  const bench::LogitsRows rows = bench::ReadLogits(argv[1]);
  const SamplingParameters ours = {kTemperature, 0, kTopP, 0.0}, hosts = {1.0f, 0, 1.0, 0.0};
  const uint32_t v = rows.vocabulary;
  std::vector<Seat> seats;
  seats.push_back({"llama.cpp's temp, top-p, dist", MakeChain({llama_sampler_init_temp(kTemperature), llama_sampler_init_top_p(kTopP, 1), llama_sampler_init_dist(1)})});
  for (Scheme scheme : {Scheme::kGumbel, Scheme::kPartition, Scheme::kTournament}) {
    seats.push_back({"countermark, " + std::string(SchemeName(scheme)), MakeChain({Marked(scheme, v, ours)})});
  }
  seats.push_back({"temp, top-p, then countermark, gumbel",
                   MakeChain({llama_sampler_init_temp(kTemperature), llama_sampler_init_top_p(kTopP, 1), Marked(Scheme::kGumbel, v, hosts)})});

  bench::Interleaved works;
  std::vector<size_t> work;
  for (Seat& seat : seats) {
    work.push_back(works.Add([&seat](size_t) { seat.Take(); }, [&seat, &rows](size_t round) {
      if (round % rows.rows.size() == 0) seat.Begin();
      seat.Lay(rows.rows[round % rows.rows.size()]);
    }));
  }
  works.Run(rounds);
  for (Seat& seat : seats) seat.Count();

  bench::Figures figures;
  const std::string of = std::string(", ") + SamplingIsa();
  for (size_t i = 0; i < seats.size(); ++i) figures.Add(seats[i].name + ", a token" + of, 1e6 * works.Median(work[i]), "us");
  for (size_t i = 1; i < seats.size(); ++i) {
    figures.Add(seats[i].name + " / unmarked" + of, works.MedianRatio(work[i], work[0]), "x", seats[0].name + " on the same row; target <= 1.05");
  }
  for (size_t i = 1; i < seats.size(); ++i) {
    figures.Add("share of the timed tokens that were marked, " + seats[i].name + of, static_cast<double>(seats[i].marked) / static_cast<double>(seats[i].tokens), "", "the rest: start, repeated window, one candidate");
  }
  figures.Print();
}
