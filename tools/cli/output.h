// An output file that is whole or absent. Takes a path ("-" is standard output) and bytes; gives a file that exists only once Commit has
// succeeded.
//
//   CM_ASSIGN_OR_RETURN(cli::Output out, cli::Output::Create("report.json"));
//   CM_RETURN_IF_ERROR(out.Write(text));
//   CM_RETURN_IF_ERROR(out.Commit());
#ifndef COUNTERMARK_TOOLS_CLI_OUTPUT_H_
#define COUNTERMARK_TOOLS_CLI_OUTPUT_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace countermark::cli {

inline constexpr int kPublicFile = 0644;
inline constexpr int kSecretFile = 0600;

class Output {
 public:
  // AlreadyExists if the path is taken (O_EXCL: nothing is ever overwritten); NotFound, PermissionDenied and so on by the system's word.
  // Until Commit the file is removed when the Output goes or when the program is ended by SIGINT, SIGTERM or SIGHUP.
  static absl::StatusOr<Output> Create(const std::string& path, int mode = kPublicFile);
  static Output Standard();  // standard output

  Output(Output&& other) noexcept;
  Output& operator=(Output&&) = delete;
  Output(const Output&) = delete;
  ~Output();

  // Buffered. Cancelled where standard output's reader has gone, ResourceExhausted on a full disk, Unavailable for other faults.
  absl::Status Write(std::string_view bytes);
  absl::Status Flush();
  // Flushes, and for a file syncs and closes it: from here on it stays.
  absl::Status Commit();

 private:
  Output(std::string path, int descriptor, int slot);
  std::string path_;  // empty: standard output
  int descriptor_ = -1;
  int slot_ = -1;  // in the list of files a signal removes
  std::string buffer_;
};

}  // namespace countermark::cli

#endif  // COUNTERMARK_TOOLS_CLI_OUTPUT_H_
