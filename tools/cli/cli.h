// The manners every watermark-* program shares: how options are read, how errors are said, how a run ends.
//
//   int main(int argc, char** argv) {
//     cli::Program program("watermark-example", "Counts the lines of files.");
//     std::vector<std::string> files;
//     program.app().add_option("files", files, "files to read, - for standard input");
//     program.Examples("watermark-example a.txt b.txt");
//     if (std::optional<int> exit = program.Parse(argc, argv)) return *exit;
//     absl::Status done = Run(files);
//     return done.ok() ? cli::kNoEvidence : program.Fail(done);
//   }
//
// Options come from the command line, else from the environment (--text-field is COUNTERMARK_TEXT_FIELD), else from the TOML file
// named by --config, where an unknown key is an error. --print-config shows what came out. Data goes to standard output and all else
// to standard error.
#ifndef COUNTERMARK_TOOLS_CLI_CLI_H_
#define COUNTERMARK_TOOLS_CLI_CLI_H_

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"

namespace countermark::cli {

// What a program's exit status says.
enum ExitCode : int {
  kNoEvidence = 0,  // ran; no evidence (for programs that test nothing: ran)
  kEvidence = 1,    // ran; evidence found
  kError = 2,       // usage, input or key error
  kIncomplete = 3,  // inconclusive, or incomplete and resumable
};

// A number from low to high, as CLI::Range, which lets "nan" pass, and with it no evidence at any alpha.
inline CLI::Validator Between(double low, double high) {
  const CLI::Range range(low, high);
  return CLI::Validator(
      [range](std::string& text) -> std::string {
        double value = 0;
        return CLI::detail::lexical_cast(text, value) && value != value ? "Value " + text + " is no number" : range(text);
      },
      range.get_description());
}

class Program {
 public:
  // Ignores SIGPIPE and SIGXFSZ from here on, so that a closed pipe and a full quota are errors of write(2) and are handled. Forbids core
  // files, which would hold keys.
  Program(std::string name, std::string description);
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  CLI::App& app() { return app_; }
  const std::string& name() const { return name_; }
  // Whole command lines, one a line, shown at the end of --help.
  void Examples(std::string_view lines);

  // Call once, after every option and subcommand was added. A value: the program is over (help, version, --print-config, or an error
  // that has been said) and exits with it.
  std::optional<int> Parse(int argc, char** argv);

  // Says "name: error: message" and, if there is one, "name: hint: hint"; gives kError. A closed pipe (absl::IsCancelled) says nothing.
  int Fail(const absl::Status& status, std::string_view hint = "") const;
  int Fail(std::string_view message, std::string_view hint = "") const;
  void Error(std::string_view message) const;
  void Hint(std::string_view message) const;
  void Warn(std::string_view message) const;
  // "name: message", for what is neither: where a file was written, a summary.
  void Note(std::string_view message) const;

  bool ColorOut() const;  // paint standard output? --color, NO_COLOR, whether it is a terminal
  bool ColorErr() const;
  bool progress() const { return !no_progress_; }

 private:
  int ExitFor(const CLI::ParseError& error);
  void Say(std::string_view kind, std::string_view paint, std::string_view message) const;
  bool Color(int descriptor) const;

  std::string name_;
  CLI::App app_;
  std::string color_ = "auto";
  bool no_progress_ = false;
  bool print_config_ = false;
};

// `text` with each control character (C0, DEL, and C1 as UTF-8, C2 80 to C2 9F) made a '?'. For whatever comes from a file, a file name or
// a report: an escape sequence in it would otherwise drive the reader's terminal. Of any bytes; gives UTF-8 where it got UTF-8.
std::string Printable(std::string_view text);

// `text` in an ANSI style ("1" bold, "31" red, "32" green, "33" yellow, "2" dim) if `on`.
std::string Paint(std::string_view text, std::string_view style, bool on);

// What --version prints.
std::string VersionText(std::string_view program);

// Version and commit of this build, "0.1.0" and 12 hex digits (or "unknown" where it was built outside a Git checkout).
std::string_view Version();
std::string_view Commit();

}  // namespace countermark::cli

#endif  // COUNTERMARK_TOOLS_CLI_CLI_H_
