// What an audit finds in documents that the sampling hook itself has marked, beside documents of the same model that it has not; and that neither
// threads nor memory, down to tables far too small for a partition, change a byte.
//
// The model is a table: logits that depend on the last token alone, drawn once. Keys and draws have fixed seeds. Expected values are given a wide margin; under
// the null each of the claims looked for has a chance below 1e-6.
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "countermark/audit/dataset.h"
#include "countermark/sampling/hook.h"
#include "gtest/gtest.h"
#include "tests/sampling/fixture.h"

namespace countermark {
namespace {

constexpr uint32_t kVocabulary = 400;

EpochKeys MakeEpoch(Scheme scheme, uint64_t seed) {
  EpochKeys epoch = testing::MakeEpoch(scheme, kVocabulary, seed);
  epoch.accounts.clear();
  for (int i = 0; i < 50; ++i) epoch.accounts.push_back("org-" + std::to_string(i));
  return epoch;
}

class Model {
 public:
  Model() : logits_(kVocabulary * kVocabulary) {
    std::mt19937 random(3);
    std::normal_distribution<float> normal(0, 1.5);
    for (float& z : logits_) z = normal(random);
  }
  std::vector<uint32_t> Write(const Hook& hook, const std::string& account, size_t length, uint64_t seed) const {
    RequestOptions options;
    options.account = account;
    options.parameters.temperature = 1.0f;
    options.seed = seed;
    absl::StatusOr<Request> request = hook.Begin(options);
    EXPECT_TRUE(request.ok()) << request.status();
    RowScratch scratch;
    std::vector<uint32_t> text;
    uint32_t last = static_cast<uint32_t>(seed * 2654435761u % kVocabulary);
    while (text.size() < length) {
      const Row row = {&logits_[last * kVocabulary], kVocabulary};
      const absl::StatusOr<Choice> choice = hook.Choose(*request, row, &scratch);
      EXPECT_TRUE(choice.ok()) << choice.status();
      request->Commit(choice->token, choice->cause);
      text.push_back(last = choice->token);
    }
    return text;
  }

 private:
  std::vector<float> logits_;
};

struct Folder {
  std::filesystem::path path;
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "audit_power-XXXXXX").string();
    path = mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path); }
};

std::string Content(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

AuditObserver Silent() {
  return {[](std::string_view, std::string_view, uint64_t) {}, [](uint64_t) {}, [](std::string_view) {}};
}

nlohmann::json Audit(const AuditKeys& keys, const std::filesystem::path& in, const std::filesystem::path& run, int threads, uint64_t memory) {
  DatasetOptions options;
  options.files = {in.string()};
  options.directory = run.string();
  options.input.default_ids = true;
  options.threads = threads;
  options.memory = memory;
  const absl::StatusOr<DatasetResult> result = RunDataset(keys, nullptr, options, JudgeOptions(), Silent());
  EXPECT_TRUE(result.ok()) << result.status();
  return nlohmann::json::parse(result->json);
}

class Power : public ::testing::TestWithParam<Scheme> {};
INSTANTIATE_TEST_SUITE_P(Schemes, Power, ::testing::Values(Scheme::kPartition, Scheme::kTournament, Scheme::kGumbel));

TEST_P(Power, AFewMarkedDocumentsAmongMany) {
  const EpochKeys epoch = MakeEpoch(GetParam(), 7);
  HookOptions off;
  off.marking = false;
  const absl::StatusOr<Hook> hook = Hook::Create(epoch), plain = Hook::Create(epoch, off);
  ASSERT_TRUE(hook.ok() && plain.ok());
  const Model model;
  const Folder folder;
  // 1,200 documents of 80 tokens; 12 of them marked (1 %), by three accounts.
  {
    std::ofstream out(folder.path / "in.jsonl");
    for (uint64_t i = 0; i < 1200; ++i) {
      const bool marked = i % 100 == 37;
      const std::vector<uint32_t> text = model.Write(marked ? *hook : *plain, "org-" + std::to_string(i / 100 % 3), 80, i);
      out << nlohmann::json{{"id", marked ? "marked" : "plain"}, {"token_ids", text}}.dump() << "\n";
    }
    std::ofstream all(folder.path / "all.jsonl");
    for (uint64_t i = 0; i < 200; ++i) all << nlohmann::json{{"id", "marked"}, {"token_ids", model.Write(*hook, "org-" + std::to_string(i % 3), 80, 5000 + i)}}.dump() << "\n";
  }
  const absl::StatusOr<AuditKeys> keys = AuditKeys::Create(epoch, epoch.accounts, "", {});
  ASSERT_TRUE(keys.ok()) << keys.status();
  const nlohmann::json sparse = Audit(*keys, folder.path / "in.jsonl", folder.path / "run", 2, uint64_t{1} << 30);
  const nlohmann::json full = Audit(*keys, folder.path / "all.jsonl", folder.path / "all", 2, uint64_t{1} << 30);
  std::printf("1 %% marked: pooled log10 p %.1f, sparse %.1f, listed %d; all marked: pooled %.1f, named %d of 3, at least %.2f of the documents and %.2f of the pairs\n",
              sparse["pooled"]["log10_p"].get<double>(), sparse["sparse"]["log10_p"].get<double>(), sparse["documents"]["listed"].get<int>(), full["pooled"]["log10_p"].get<double>(),
              full["candidates"][0]["named"].get<int>(), full["how_much"]["documents_share_at_least"].get<double>(), full["how_much"]["pairs_share_at_least"].get<double>());
  if (GetParam() != Scheme::kPartition) {
    EXPECT_LT(sparse["sparse"]["log10_p"], -10);
    EXPECT_LT(sparse["sparse"]["log10_p"].get<double>(), sparse["pooled"]["log10_p"].get<double>() - 5);  // what the sparse test is for
    EXPECT_EQ(sparse["verdict"], "marked");
    EXPECT_GE(sparse["documents"]["listed"], 5);
    EXPECT_GE(full["how_much"]["documents_at_least"], 100);
  }
  EXPECT_LT(full["pooled"]["log10_p"], -50);
  EXPECT_EQ(full["candidates"][0]["named"], 3);  // a ring of three, and no other
  std::vector<std::string> named;
  for (int i = 0; i < 3; ++i) named.push_back(full["candidates"][0]["ranked"][i]["label"]);
  std::sort(named.begin(), named.end());
  EXPECT_EQ(named, (std::vector<std::string>{"org-0", "org-1", "org-2"}));
  EXPECT_GT(full["how_much"]["pairs_share_at_least"], 0.1);
  std::istringstream lines(Content(folder.path / "run" / "documents.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    const nlohmann::json document = nlohmann::json::parse(line);
    if (document["listed"]) {
      EXPECT_EQ(document["id"], "marked") << line;
    }
  }

  // 64 KiB: a partition's table is made in many slices.
  for (const auto& [threads, memory] : {std::pair(1, uint64_t{64} << 10), std::pair(3, uint64_t{300} << 10)}) {
    const std::filesystem::path run = folder.path / ("small" + std::to_string(threads));
    Audit(*keys, folder.path / "in.jsonl", run, threads, memory);
    EXPECT_EQ(Content(run / "result.json"), Content(folder.path / "run" / "result.json"));
    EXPECT_EQ(Content(run / "documents.jsonl"), Content(folder.path / "run" / "documents.jsonl"));
  }
}

}  // namespace
}  // namespace countermark
