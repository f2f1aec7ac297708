// Options, and what a failed launch says.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include "tests/simt/machine.h"

namespace countermark::simt {
namespace {

constexpr const char* kScheduleNames[] = {"uniform", "warp", "sticky", "ascending"};

// What the environment says goes before what `options` say.
Options WithEnvironment(Options options) {
  if (const char* seed = std::getenv("COUNTERMARK_SIMT_SEED")) options.seed = std::strtoull(seed, nullptr, 10);
  if (const char* resident = std::getenv("COUNTERMARK_SIMT_RESIDENT")) options.resident = std::atoi(resident);
  if (const char* name = std::getenv("COUNTERMARK_SIMT_SCHEDULE")) {
    bool known = false;
    for (const Schedule schedule : kSchedules) {
      if (std::strcmp(name, kScheduleNames[static_cast<int>(schedule)]) == 0) {
        options.schedule = schedule;
        known = true;
      }
    }
    if (!known) {
      std::fprintf(stderr, "countermark simt: COUNTERMARK_SIMT_SCHEDULE=%s: uniform, warp, sticky or ascending\n", name);
      std::exit(2);
    }
  }
  return options;
}

Options& Held() {
  static Options options = WithEnvironment({});
  return options;
}
uint64_t launches = 0;

std::string Place(const char* file, int line) { return std::string(file) + ":" + std::to_string(line); }
std::string Triple(const uint3& i) { return "(" + std::to_string(i.x) + "," + std::to_string(i.y) + "," + std::to_string(i.z) + ")"; }

}  // namespace

void Configure(const Options& options) {
  Held() = WithEnvironment(options);
  launches = 0;
}
Options Configured() { return Held(); }
uint64_t NextLaunchSeed() { return Held().seed * 1000003 + launches++; }

std::string Describe(const Options& options) {
  return "COUNTERMARK_SIMT_SEED=" + std::to_string(options.seed) + " COUNTERMARK_SIMT_SCHEDULE=" +
         kScheduleNames[static_cast<int>(options.schedule)] + " COUNTERMARK_SIMT_RESIDENT=" + std::to_string(options.resident);
}

const std::string& Report() { return Machine::Get().report(); }
void ClearReport() { Machine::Get().ClearReport(); }
uint64_t Switches() { return Machine::Get().switches(); }

void Machine::Describe() {
  report_.clear();
  switch (fault_) {
    case Fault::kBarriersDiffer:
      report_ = "threads of a block meet at different barriers: " + Place(fault_files_[0], fault_lines_[0]) + " and " +
                Place(fault_files_[1], fault_lines_[1]);
      break;
    case Fault::kMaskWithoutCaller:
      report_ = std::string(fault_thread_->what) + " with a mask that does not name the calling lane, at " + Place(fault_files_[0], fault_lines_[0]);
      break;
    case Fault::kSharedTooLarge:
      report_ = "static shared memory is more than 48 KiB, or more than 127 arrays, at " + Place(fault_files_[0], fault_lines_[0]);
      break;
    case Fault::kTrap: report_ = "__trap at " + Place(fault_files_[0], fault_lines_[0]); break;
    case Fault::kHopeless:
      report_ = std::to_string(options_.patience) + " looks at flags, and nothing has changed: threads wait for what nobody will do";
      break;
    case Fault::kStuck: report_ = "no thread can go on"; break;
    case Fault::kOverrun:
      report_ = std::string("a write outside ") + fault_files_[1];
      if (fault_lines_[0] != 0) report_ += " of " + Place(fault_files_[0], fault_lines_[0]);
      break;
    case Fault::kNone: break;
  }
  if (fault_thread_ != nullptr) {
    report_ += "; block " + Triple(fault_thread_->warp->block->index);
    if (fault_ != Fault::kOverrun) report_ += ", thread " + Triple(fault_thread_->index);
  }
  if (fault_ == Fault::kStuck || fault_ == Fault::kHopeless) {
    for (int b = 0; b < resident_; ++b) {
      const Block& block = *blocks_[static_cast<size_t>(b)];
      if (!block.running) continue;
      std::map<std::string, int> where;
      for (const Warp& warp : block.warps) {
        for (int lane = 0; lane < 32; ++lane) {
          if ((warp.live >> lane & 1) == 0) continue;
          const Thread& thread = *warp.threads[lane];
          ++where[thread.file[0] == '\0' ? std::string(thread.what) : std::string(thread.what) + " at " + Place(thread.file, thread.line)];
        }
      }
      report_ += "\n  block " + Triple(block.index) + ":";
      for (const auto& [place, threads] : where) report_ += " " + std::to_string(threads) + " in " + place + ";";
    }
  }
  std::fprintf(stderr, "countermark simt: %s\n  replay: %s\n", report_.c_str(), countermark::simt::Describe(options_).c_str());
}

}  // namespace countermark::simt
