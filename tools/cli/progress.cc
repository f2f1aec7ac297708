#include "tools/cli/progress.h"

#include <unistd.h>

#include <cinttypes>
#include <cstdio>

namespace countermark::cli {
namespace {

constexpr std::chrono::milliseconds kBarEvery(100);
constexpr std::chrono::seconds kLineEvery(10);
constexpr int kBarWidth = 24;

std::string Time(double seconds) {
  uint64_t s = static_cast<uint64_t>(seconds + 0.5);
  char text[48];
  if (s >= 3600) {
    std::snprintf(text, sizeof text, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64, s / 3600, s / 60 % 60, s % 60);
  } else {
    std::snprintf(text, sizeof text, "%" PRIu64 ":%02" PRIu64, s / 60, s % 60);
  }
  return text;
}

}  // namespace

Progress::Progress(const Program& program, std::string unit, uint64_t total)
    : name_(program.name()),
      unit_(std::move(unit)),
      total_(total),
      on_(program.progress()),
      terminal_(isatty(STDERR_FILENO) == 1),
      start_(Clock::now()),
      next_(start_ + (terminal_ ? std::chrono::duration_cast<Clock::duration>(kBarEvery) : std::chrono::duration_cast<Clock::duration>(kLineEvery))) {}

Progress::~Progress() { Clear(); }

void Progress::Add(uint64_t count) {
  done_ += count;
  if (!on_) return;
  Clock::time_point now = Clock::now();
  if (now < next_) return;
  next_ = now + (terminal_ ? std::chrono::duration_cast<Clock::duration>(kBarEvery) : std::chrono::duration_cast<Clock::duration>(kLineEvery));
  Show(std::chrono::duration<double>(now - start_).count());
}

std::string Progress::Describe(const std::string& unit, uint64_t done, uint64_t total, double seconds) {
  double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
  char text[160];
  if (total > 0) {
    double left = rate > 0 && total > done ? static_cast<double>(total - done) / rate : 0;
    std::snprintf(text, sizeof text, "%" PRIu64 "/%" PRIu64 " %s, %.1f %%, %.3g/s, %s left", done, total, unit.c_str(),
                  100.0 * static_cast<double>(done) / static_cast<double>(total), rate, Time(left).c_str());
  } else {
    std::snprintf(text, sizeof text, "%" PRIu64 " %s, %.3g/s, %s", done, unit.c_str(), rate, Time(seconds).c_str());
  }
  return text;
}

void Progress::Show(double seconds) {
  std::string text = Describe(unit_, done_, total_, seconds);
  if (!terminal_) {
    std::fprintf(stderr, "%s: %s\n", name_.c_str(), text.c_str());
    return;
  }
  std::string bar;
  if (total_ > 0) {
    int full = static_cast<int>(static_cast<double>(kBarWidth) * static_cast<double>(std::min(done_, total_)) / static_cast<double>(total_));
    bar = "[" + std::string(full, '#') + std::string(kBarWidth - full, '.') + "] ";
  }
  std::fprintf(stderr, "\r\033[K%s%s", bar.c_str(), text.c_str());
  std::fflush(stderr);
  shown_ = true;
}

void Progress::Clear() {
  if (!shown_) return;
  std::fprintf(stderr, "\r\033[K");
  std::fflush(stderr);
  shown_ = false;
}

void Progress::Finish() {
  Clear();
  on_ = false;
}

}  // namespace countermark::cli
