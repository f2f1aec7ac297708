// Checks of the kernels on the device at hand, GPU or emulator, against the CPU hook and against themselves. Each returns "" or what is wrong.
#ifndef COUNTERMARK_TOOLS_GPU_CHECK_CHECKS_H_
#define COUNTERMARK_TOOLS_GPU_CHECK_CHECKS_H_

#include <cstdint>
#include <functional>
#include <string>

#include "tests/kernels/parity.h"

namespace countermark::gpu_check {

// Cases first … first + count − 1 of the grid (tests/kernels/parity.h), by several threads. `said`: now and then, how many are done.
std::string ParityGrid(uint64_t first, uint64_t count, const testing::CaseLimits& limits, int threads, const std::function<void(uint64_t)>& said);

// How large a row and a batch the checks below use.
struct CheckSize {
  int32_t vocabulary = 128256;
  int32_t rows = 256;
};
// Steps captured in a CUDA graph and replayed give the tokens, and leave the slots, of steps launched one by one.
std::string GraphReplay(const CheckSize& size);
// A row alone gives the token and the very log-probability that it gives among `rows` others, wherever it stands.
std::string BatchInvariance(const CheckSize& size);
// Drafts verified in one call give what steps one by one give.
std::string Drafts(const CheckSize& size);
// countermark_launch_bias leaves logits as Hook::Bias does: partition bit for bit, the others the one token.
std::string Bias(const CheckSize& size);
// Tokens taken back and rebuilt leave what a slot has that never had them; an ended slot is zero from end to end.
std::string Lifecycle(const CheckSize& size);

}  // namespace countermark::gpu_check

#endif  // COUNTERMARK_TOOLS_GPU_CHECK_CHECKS_H_
