// The times of decoding steps on a GPU, beside a kernel that only reads the same logits, one that copies them, and the same step unmarked.
//
// A figure is the median over rounds of the mean time of a step in a CUDA graph of many; works that are compared take turns, in another order each
// round. Steps go through as many buffers of logits as fill the L2 cache four times, so that logits come from memory, unless a figure says "in L2".
#ifndef COUNTERMARK_TOOLS_GPU_CHECK_TIMING_H_
#define COUNTERMARK_TOOLS_GPU_CHECK_TIMING_H_

#include "tools/gpu_check/report.h"

namespace countermark::gpu_check {

// `small`: rows of 1,000 tokens, few of them, once: to see that all of it works.
void RunTimings(bool quick, bool small, Report* report);

}  // namespace countermark::gpu_check

#endif  // COUNTERMARK_TOOLS_GPU_CHECK_TIMING_H_
