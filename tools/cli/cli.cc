#include "tools/cli/cli.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <vector>

#include "countermark_cli_build.h"

namespace countermark::cli {
namespace {

std::string EnvironmentName(std::string_view option) {
  std::string name = "COUNTERMARK_";
  for (char c : option) name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

// CLI11 lets the configuration file win over the environment; here it is the other way round, so entries whose option the environment
// sets are left out.
class EnvironmentFirstConfig : public CLI::ConfigTOML {
 public:
  std::vector<CLI::ConfigItem> from_config(std::istream& in) const override {
    std::vector<CLI::ConfigItem> found = CLI::ConfigTOML::from_config(in);
    std::erase_if(found, [](const CLI::ConfigItem& item) { return std::getenv(EnvironmentName(item.name).c_str()) != nullptr; });
    return found;
  }
  // Without what is empty or not set, so that the output can be read back as a configuration file.
  std::string to_config(const CLI::App* app, bool defaults, bool descriptions, std::string prefix) const override {
    std::istringstream lines(CLI::ConfigTOML::to_config(app, defaults, descriptions, std::move(prefix)));
    std::string out;
    for (std::string line; std::getline(lines, line);) {
      if (!line.ends_with("=\"\"") && !line.ends_with("=[]") && !line.ends_with("=false")) out += line + "\n";
    }
    return out;
  }
};

// Options that steer one run and have no place in the environment.
bool OfOneRun(const std::string& name) {
  return name == "help" || name == "help-all" || name == "version" || name == "config" || name == "print-config";
}

void NameEnvironment(CLI::App* app) {
  for (CLI::Option* option : app->get_options()) {
    if (option->get_default_str() == "[]") option->default_str("");
    if (option->get_lnames().empty() || OfOneRun(option->get_lnames().front())) continue;
    if (option->get_envname().empty()) option->envname(EnvironmentName(option->get_lnames().front()));
  }
  for (CLI::App* sub : app->get_subcommands([](CLI::App*) { return true; })) {
    sub->allow_config_extras(CLI::config_extras_mode::error);
    NameEnvironment(sub);
  }
}

// One line, no full stop, first word in lower case unless it is an acronym or a name with capitals inside.
std::string Plain(std::string_view message) {
  std::string out(message);
  while (!out.empty() && (out.back() == '.' || out.back() == '\n' || out.back() == ' ')) out.pop_back();
  std::replace(out.begin(), out.end(), '\n', ' ');
  if (out.size() > 1 && std::isupper(static_cast<unsigned char>(out[0])) && std::islower(static_cast<unsigned char>(out[1]))) {
    out[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(out[0])));
  }
  return out;
}

}  // namespace

Program::Program(std::string name, std::string description) : name_(std::move(name)), app_(std::move(description), name_) {
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
  // A core file would hold the keys.
  const struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  app_.option_defaults()->always_capture_default();  // so that --help and --print-config show defaults
  app_.set_version_flag("--version", VersionText(name_), "print the version, the commit and the format versions");
  app_.set_config("--config", "", "TOML file with options; command line and environment win over it");
  app_.allow_config_extras(CLI::config_extras_mode::error);
  app_.config_formatter(std::make_shared<EnvironmentFirstConfig>());
  app_.add_flag("--print-config", print_config_, "print the options as they came out, as TOML, and exit")->configurable(false);
  app_.add_option("--color", color_, "colour: auto, always or never")->check(CLI::IsMember({"auto", "always", "never"}));
  app_.add_flag("--no-progress", no_progress_, "say nothing of the progress");
}

void Program::Examples(std::string_view lines) {
  std::string footer = "Examples:";
  while (!lines.empty()) {
    size_t end = std::min(lines.find('\n'), lines.size());
    footer += "\n  " + std::string(lines.substr(0, end));
    lines.remove_prefix(std::min(end + 1, lines.size()));
  }
  footer += "\nExit: 0 ran, no evidence; 1 evidence found; 2 usage, input or key error; 3 inconclusive or incomplete";
  app_.footer(footer);
}

std::optional<int> Program::Parse(int argc, char** argv) {
  NameEnvironment(&app_);
  try {
    app_.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return ExitFor(error);
  }
  if (print_config_) {
    std::cout << app_.config_to_str(true, false) << std::flush;
    return std::cout ? kNoEvidence : kError;
  }
  return std::nullopt;
}

int Program::ExitFor(const CLI::ParseError& error) {
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
    if (dynamic_cast<const CLI::CallForVersion*>(&error) != nullptr) {
      std::cout << error.what() << std::endl;
    } else {
      // CLI11 keeps the chosen subcommand's help behind App::help.
      std::cout << app_.help("", dynamic_cast<const CLI::CallForAllHelp*>(&error) != nullptr ? CLI::AppFormatMode::All : CLI::AppFormatMode::Normal) << std::flush;
    }
    return std::cout ? kNoEvidence : kError;
  }
  std::string command = name_;
  for (const CLI::App* sub : app_.get_subcommands()) command += " " + sub->get_name();
  std::string message = error.what();
  constexpr std::string_view kUnknownKey = "INI was not able to parse ";  // CLI11's words
  if (message.starts_with(kUnknownKey)) message = "configuration file: unknown key '" + message.substr(kUnknownKey.size()) + "'";
  return Fail(message, "see '" + command + " --help'");
}

int Program::Fail(const absl::Status& status, std::string_view hint) const {
  if (absl::IsCancelled(status)) return kError;
  return Fail(std::string(status.message()), hint);
}

int Program::Fail(std::string_view message, std::string_view hint) const {
  Error(message);
  if (!hint.empty()) Hint(hint);
  return kError;
}

void Program::Say(std::string_view kind, std::string_view paint, std::string_view message) const {
  std::string line = name_ + ": ";
  if (!kind.empty()) line += Paint(kind, paint, ColorErr()) + ": ";
  line += Printable(Plain(message)) + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

void Program::Error(std::string_view message) const { Say("error", "31", message); }
void Program::Hint(std::string_view message) const { Say("hint", "36", message); }
void Program::Warn(std::string_view message) const { Say("warning", "33", message); }
void Program::Note(std::string_view message) const { Say("", "", message); }

bool Program::Color(int descriptor) const {
  if (color_ != "auto") return color_ == "always";
  const char* no_color = std::getenv("NO_COLOR");
  if (no_color != nullptr && no_color[0] != '\0') return false;
  const char* term = std::getenv("TERM");
  if (term != nullptr && std::string_view(term) == "dumb") return false;
  return isatty(descriptor) == 1;
}

bool Program::ColorOut() const { return Color(STDOUT_FILENO); }
bool Program::ColorErr() const { return Color(STDERR_FILENO); }

std::string Printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : 0);
    if (byte == 0xC2 && next >= 0x80 && next <= 0x9F) {  // C1 in UTF-8: C2 9B is as good as ESC [
      out += '?';
      ++i;
    } else {
      out += byte < 0x20 || byte == 0x7F ? '?' : text[i];
    }
  }
  return out;
}

std::string Paint(std::string_view text, std::string_view style, bool on) {
  if (!on) return std::string(text);
  return "\033[" + std::string(style) + "m" + std::string(text) + "\033[0m";
}

std::string_view Version() { return COUNTERMARK_BUILD_VERSION; }
std::string_view Commit() { return COUNTERMARK_BUILD_COMMIT; }

std::string VersionText(std::string_view program) {
  return std::string(program) + " " + std::string(Version()) + "\ncommit " + std::string(Commit()) + "\ncuda " +
         (COUNTERMARK_BUILD_CUDA ? "yes" : "no") + "\nmark format 1";
}

}  // namespace countermark::cli
