// Hostile runs given to merge, and gone on with: a small finished run of which one file is other bytes, as they are and with every checksum made to fit. Nothing may crash; what is refused is
// refused with a sentence.
//
// The first byte says which file (low four bits), whether checksums are mended (16), and what is done: merge with a run over other documents, merge of the two parts of one input (32), or going on
// with the run (64). The rest is the file. COUNTERMARK_FUZZ_WRITE_SEEDS=FOLDER writes the files as they should be, which are the seeds.
#include <stdlib.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "countermark/audit/dataset.h"
#include "src/audit/phases.h"
#include "tests/fuzz/mend.h"

namespace {

using namespace countermark;
namespace fs = std::filesystem;

constexpr const char* kFiles[] = {"run.json", "input.json", "pairs-000.log", "firsts-000.log", "sums-000.log", "candidates.state"};
using Files = std::map<std::string, std::string>;

std::string ReadAll(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void WriteAll(const fs::path& path, const std::string& bytes) {
  if (!std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size())).flush()) std::abort();
}

void Put(const std::string& folder, const Files& files) {
  fs::remove_all(folder);
  fs::create_directory(folder);
  for (const auto& [name, bytes] : files) WriteAll(folder + "/" + name, bytes);
}

AuditObserver Quiet() { return {[](std::string_view, std::string_view, uint64_t) {}, [](uint64_t) {}, [](std::string_view) {}}; }

// A folder of our own that all paths are relative to, so that run.json is the same in every process.
class Stage {
 public:
  Stage() : keys_(MakeKeys()) {
    const fs::path seeds = std::getenv("COUNTERMARK_FUZZ_WRITE_SEEDS") != nullptr ? fs::absolute(std::getenv("COUNTERMARK_FUZZ_WRITE_SEEDS")) : "";
    // In memory, where there is such a place: every try syncs its files.
    std::string name = std::string(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp") + "/merge_fuzz-XXXXXX";
    if (mkdtemp(name.data()) == nullptr || chdir(name.c_str()) != 0) std::abort();
    home_ = name;
    std::string one, two;
    for (uint32_t i = 0; i < 6; ++i) {
      std::string ids;
      for (uint32_t j = 0; j < 9; ++j) ids += (j > 0 ? "," : "") + std::to_string((i * i + 7 * j * (i % 4)) % 90);
      (i < 4 ? one : two) += "{\"token_ids\":[" + ids + "]}\n";
    }
    WriteAll("one.jsonl", one + "not a record\n");
    WriteAll("two.jsonl", two);
    Run("whole", "one.jsonl", 0, 1);
    Run("other", "two.jsonl", 0, 1);
    Run("part", "one.jsonl", 0, 2);
    Run("rest", "one.jsonl", 1, 2);
    for (const char* file : kFiles) {
      whole_[file] = ReadAll(std::string("whole/") + file);
      part_[file] = ReadAll(std::string("part/") + file);
    }
    for (int i = 0; !seeds.empty() && i < 6; ++i) {
      WriteAll(seeds / (std::string("whole_") + kFiles[i]), static_cast<char>(i) + whole_[kFiles[i]]);
      WriteAll(seeds / (std::string("mended_") + kFiles[i]), static_cast<char>(i | (i % 2 == 0 ? 16 : 16 | 64)) + whole_[kFiles[i]]);
      WriteAll(seeds / (std::string("part_") + kFiles[i]), static_cast<char>(i | 32) + part_[kFiles[i]]);
    }
  }
  ~Stage() {
    std::error_code error;
    fs::remove_all(home_, error);
  }

  void Try(uint8_t what, std::string bytes) {
    const std::string name = kFiles[(what & 15) % 6];
    Files files = (what & 32) != 0 ? part_ : whole_;
    files[name] = std::move(bytes);
    if ((what & 16) != 0) Mend(&files);
    const std::string folder = (what & 32) != 0 ? "part" : "whole";
    Put(folder, files);
    fs::remove_all("merged");
    const absl::StatusOr<DatasetResult> result = (what & 64) != 0 ? RunDataset(keys_, nullptr, Options(folder, "one.jsonl", 0, (what & 32) != 0 ? 2 : 1), {}, Quiet())
                                                 : MergeRuns(keys_, {folder, (what & 32) != 0 ? "rest" : "other"}, "merged", 1, uint64_t{256} << 20, {}, Quiet());
    if (!result.ok() && result.status().message().empty()) std::abort();
    if (result.ok() && result->json.empty()) std::abort();
  }

 private:
  static AuditKeys MakeKeys() {
    const EpochKeys epoch{EpochRecord(), Secret32(std::span<const uint8_t, 32>(reinterpret_cast<const uint8_t*>("0123456789abcdef0123456789abcdef"), 32)), {}};
    return *AuditKeys::Create(epoch, {"a", "b", "c"}, "", {});
  }

  static DatasetOptions Options(const std::string& folder, const std::string& input, uint32_t part, uint32_t parts) {
    DatasetOptions options;
    options.files = {input};
    options.directory = folder;
    options.input.default_ids = true;
    options.part = part;
    options.parts = parts;
    options.threads = 1;
    options.memory = uint64_t{256} << 20;
    return options;
  }

  void Run(const std::string& folder, const std::string& input, uint32_t part, uint32_t parts) {
    if (!RunDataset(keys_, nullptr, Options(folder, input, part, parts), {}, Quiet()).ok()) std::abort();
  }

  void Mend(Files* files) {
    const Digest32 digest = Sha256(std::string_view((*files)["run.json"]));
    for (const char* log : {"pairs-000.log", "firsts-000.log", "sums-000.log"}) audit::MendLog(&(*files)[log], digest, std::string_view(log).starts_with("pairs"));
    std::string& state = (*files)["candidates.state"];
    if (state.size() < 4) return;
    if (const size_t at = state.find(std::string_view(reinterpret_cast<const char*>(whole_digest().data()), 32)); at != std::string::npos) state.replace(at, 32, reinterpret_cast<const char*>(digest.data()), 32);
    audit::PutCrc(&state, state.size() - 4, std::string_view(state).substr(0, state.size() - 4));
  }
  const Digest32& whole_digest() {
    static const Digest32 digest = Sha256(std::string_view(whole_["run.json"]));
    return digest;
  }

  const AuditKeys keys_;
  fs::path home_;
  Files whole_, part_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Stage stage;
  if (size > 0) stage.Try(data[0], std::string(reinterpret_cast<const char*>(data) + 1, size - 1));
  return 0;
}
