// A folder for a test's files, removed with all that is in it, and the epoch record that the key tests share.
#ifndef COUNTERMARK_TESTS_KEYS_TEST_FILES_H_
#define COUNTERMARK_TESTS_KEYS_TEST_FILES_H_

#include <stdlib.h>
#include <sys/stat.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "countermark/keys/epoch.h"

namespace countermark {

class TestFolder {
 public:
  TestFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "countermark-keys-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~TestFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }
  size_t Count() const {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(path_), std::filesystem::directory_iterator()));
  }

 private:
  std::string path_;
};

inline std::string Slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

inline void Spill(const std::string& path, std::string_view bytes, mode_t mode = 0600) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  chmod(path.c_str(), mode);
}

inline mode_t ModeOf(const std::string& path) {
  struct stat info = {};
  return stat(path.c_str(), &info) == 0 ? info.st_mode & 07777 : 0;
}

inline EpochRecord TestRecord(std::string epoch = "2026-11") {
  EpochRecord record;
  record.tenant = "acme";
  record.epoch = std::move(epoch);
  record.vocabulary = 49152;
  record.tokenizer_sha256 = std::string(64, 'a');
  record.first_use = "2026-11-01T00:00:00Z";
  record.last_use = "2026-11-30T23:59:59Z";
  return record;
}

}  // namespace countermark

#endif  // COUNTERMARK_TESTS_KEYS_TEST_FILES_H_
