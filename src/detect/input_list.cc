// Which files the arguments mean, and how many records they hold.
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "countermark/detect/input.h"
#include "src/base/file.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark {
namespace {

// Every regular file below a folder, by name. Links to files are followed, links to folders are not, so that no walk goes in circles.
absl::Status Walk(const std::string& folder, std::vector<std::string>* files) {
  DIR* dir = opendir(folder.c_str());
  if (dir == nullptr) return ErrnoStatus(errno, "cannot open the folder", folder);
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(dir)) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
    errno = 0;
  }
  const int error = errno;
  closedir(dir);
  if (error != 0) return ErrnoStatus(error, "cannot list the folder", folder);
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    const std::string path = folder.ends_with('/') ? folder + name : folder + "/" + name;
    struct stat link_info = {};
    struct stat info = {};
    if (lstat(path.c_str(), &link_info) != 0 || stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, "cannot look at", path);
    if (S_ISREG(info.st_mode)) {
      files->push_back(path);
    } else if (S_ISDIR(link_info.st_mode)) {
      CM_RETURN_IF_ERROR(Walk(path, files));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ListInputs(std::span<const std::string> arguments) {
  std::vector<std::string> files;
  for (const std::string& argument : arguments) {
    struct stat info = {};
    if (argument != "-" && stat(argument.c_str(), &info) != 0) return ErrnoStatus(errno, "cannot open", argument);
    if (argument == "-" || !S_ISDIR(info.st_mode)) {
      files.push_back(argument);
      continue;
    }
    const size_t before = files.size();
    CM_RETURN_IF_ERROR(Walk(argument, &files));
    if (files.size() == before) return absl::InvalidArgumentError(Cat("'", argument, "': no files in this folder"));
  }
  std::set<std::string_view> seen;
  for (const std::string& file : files) {
    if (!seen.insert(file).second) return absl::InvalidArgumentError(Cat("'", file, "' is given twice"));
    struct stat info = {};
    // A pipe is opened only once, by the reader: closing it here would lose its writer.
    if (file != "-" && stat(file.c_str(), &info) == 0 && S_ISREG(info.st_mode)) CM_RETURN_IF_ERROR(OpenForReading(file).status());
  }
  return files;
}

bool InputsAreCountable(std::span<const std::string> files) {
  return std::all_of(files.begin(), files.end(), [](const std::string& file) {
    struct stat info = {};
    return file != "-" && stat(file.c_str(), &info) == 0 && S_ISREG(info.st_mode);
  });
}

absl::StatusOr<uint64_t> CountRecords(std::span<const std::string> files, const InputOptions& options) {
  InputOptions plain = options;
  plain.hash = false;
  InputReader reader(std::vector<std::string>(files.begin(), files.end()), plain);
  RawRecord record;
  uint64_t count = 0;
  while (reader.Next(&record)) {
    if (!record.ends_file) ++count;
  }
  return count;
}

}  // namespace countermark
