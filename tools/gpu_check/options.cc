#include "tools/gpu_check/options.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>

namespace countermark::gpu_check {
namespace {

constexpr char kUsage[] = R"(usage: gpu-check/run [--quick] [--json OUT] [--only PART,…]

Checks countermark's kernels on the first CUDA device (CUDA_VISIBLE_DEVICES chooses another) and times them. Exits with 0 only if every check holds;
a missed target fails nothing.

  --quick           a tenth of the parity grid, short timings
  --json OUT        the results, in the form of docs/results
  --only PART,…     some of: parity      the grid of cases against the CPU hook
                             checks      graph replay, batch invariance, drafts, bias, slots, at V = 128256
                             suites      the C interface's tests on the device, and the mark's words
                             sanitizer   memcheck, racecheck, synccheck and initcheck, where compute-sanitizer is
                             timing      every target of docs/gpu.md
  --cases N         parity: how many cases (3000; quick 300)
  --first N         parity: the first of them, to run one again: --only parity --first N --cases 1
  --threads N       parity: at once
  --most-logits N   parity: no case of more logits than this
  --small           checks and timing: at a vocabulary of 1000 and a few rows, to see that they run
  --commit ID       written into the results
)";

[[noreturn]] void Refuse(const std::string& what) {
  std::fprintf(stderr, "gpu-check: error: %s\ngpu-check: hint: --help says what there is\n", what.c_str());
  std::exit(2);
}

int64_t Number(const std::string& option, const std::string& text) {
  char* end = nullptr;
  const int64_t value = std::strtoll(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || value < 0) Refuse(option + " takes a number, not '" + text + "'");
  return value;
}

}  // namespace

bool Options::Wants(const char* part) const { return parts.empty() || std::find(parts.begin(), parts.end(), part) != parts.end(); }

Options ParseOptions(int argc, char** argv) {
  Options options;
  options.command = "gpu-check/run";
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    const auto value = [&]() -> std::string {
      if (i + 1 >= argc) Refuse(option + " takes a value");
      return argv[++i];
    };
    if (option == "--help" || option == "-h") {
      std::fputs(kUsage, stdout);
      std::exit(0);
    } else if (option == "--quick") {
      options.quick = true;
      options.command += " --quick";
    } else if (option == "--small") {
      options.small = true;
      options.command += " --small";
    } else if (option == "--json") {
      options.json = value();
    } else if (option == "--commit") {
      options.commit = value();
    } else if (option == "--only") {
      const std::string list = value();
      options.command += " --only " + list;
      std::istringstream parts(list);
      for (std::string part; std::getline(parts, part, ',');) {
        if (std::none_of(std::begin(kParts), std::end(kParts), [&](const char* p) { return part == p; })) Refuse("--only knows no part '" + part + "'");
        options.parts.push_back(part);
      }
    } else if (option == "--cases") {
      options.cases = static_cast<uint64_t>(Number(option, value()));
    } else if (option == "--first") {
      options.first_case = static_cast<uint64_t>(Number(option, value()));
    } else if (option == "--threads") {
      options.threads = static_cast<int>(Number(option, value()));
    } else if (option == "--most-logits") {
      options.most_logits = Number(option, value());
    } else {
      Refuse("unknown option '" + option + "'");
    }
  }
  return options;
}

}  // namespace countermark::gpu_check
