// The SIMT emulator: runs the kernels of kernels/*.cu on the CPU, from the same sources, in every test run.
//
// How it works. A .cu file is compiled by g++ with COUNTERMARK_SIMT (countermark_simt_library in CMakeLists.txt here); kernels/device.cuh then
// takes the real CUDA headers in host mode and this header. Launch() runs the grid before it returns: one fiber a thread, `resident` blocks at
// a time. A fiber runs until a barrier, a warp operation, an atomic, LoadAcquire or __nanosleep; there a seeded schedule chooses who is next.
// Host code that calls the CUDA runtime links runtime.cc instead of cudart.
//
// How a test uses it:
//
//   include("${countermark_SOURCE_DIR}/tests/simt/CountermarkSimt.cmake")                          # in any CMakeLists.txt under tests/
//   countermark_simt_library(x_simt SOURCES "${countermark_SOURCE_DIR}/kernels/x.cu" DEPS countermark::mark)
//   countermark_simt_test(x_simt_test SOURCES x_simt_test.cc LIBRARIES x_simt)                     # and x_simt_test_asan, …_tsan
//   countermark_simt_broken_test(x_simt SOURCE "${countermark_SOURCE_DIR}/kernels/x.cu" CHECK x_check.cc BARRIERS name …)
//
//   #include "tests/simt/control.h"
//   simt::ForEachSchedule(5, {1, 3}, [&](const simt::Options& options) {      // 5 seeds × 4 schedules × 1 or 3 resident blocks
//     ASSERT_EQ(countermark_launch_x(…, stream), cudaSuccess) << simt::Report();
//     EXPECT_EQ(result, expected) << simt::Describe(options);
//   });
//
// What it reports. Launch returns cudaErrorLaunchFailure and Report() says what and where, for: a barrier that some threads never reach, or
// reach on another line; warp operations whose lanes never come together; a mask without the caller; writes around shared arrays (without
// sanitizers at the end of the block, under ASan at the access); waiting that nobody can end (say, for a block that is not resident); __trap.
// Shared and device memory is filled with a seeded pattern, so that what reads before writing differs from seed to seed. The _asan variant
// checks bounds and alignment at each access; the _tsan variant calls it a race when two threads touch one place with no barrier between,
// even where the result is right (its cost grows with the square of the block; TSan knows at most some 8,000 threads). In a failed run, COUNTERMARK_SIMT_SEED, _SCHEDULE and _RESIDENT as printed replay it.
//
// What it cannot stand for:
// - speed, occupancy, bank conflicts, coalescing, registers, spills; whether nvcc compiles the file (g++ is looser: nvcc -c stays in the build);
// - a weak memory model. Every access takes effect at once and in order. The race check knows that an atomic publishes only what a thread wrote
//   before if that thread has called __threadfence() at some time before; a fence in the wrong place, or missing on the reader's side, is not seen;
// - all schedules: threads change only at synchronisation points, so two plain accesses are never interleaved midway; races between blocks are
//   seen by the race check alone, and not between threads that follow one another on one fiber;
// - lanes that run in lockstep, clusters, cooperative groups, textures, __constant__ memory, TMA and mma, PTX, dynamic parallelism;
// - the bits of approximate functions (__expf, …), and of sums that nvcc would fuse: kernels say fma where they mean it;
// - streams that overlap: each call is complete when it returns, on whatever stream; and host memory is as good as device memory to a kernel.
#ifndef COUNTERMARK_TESTS_SIMT_SIMT_H_
#define COUNTERMARK_TESTS_SIMT_SIMT_H_

#include "tests/simt/control.h"
#include "tests/simt/intrinsics.h"
#include "tests/simt/atomics.h"
#include "tests/simt/launch.h"

#endif  // COUNTERMARK_TESTS_SIMT_SIMT_H_
