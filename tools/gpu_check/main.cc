// gpu_check: whether countermark's kernels are right on the GPU at hand, and how fast. Built without one, carried there by tools/gpu-check pack. The
// same program linked against the emulator (tests/simt) runs its checks in every test run; it has no suites and no sanitizer there, and its
// timings, at a size that the emulator can bear, say nothing but that they run.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "tests/kernels/device_table.h"
#include "tools/gpu_check/checks.h"
#include "tools/gpu_check/options.h"
#include "tools/gpu_check/report.h"
#include "tools/gpu_check/timing.h"
#if !defined(COUNTERMARK_SIMT)
#include <gtest/gtest.h>

#include "tools/gpu_check/sanitizer.h"
#endif

namespace countermark::gpu_check {
namespace {

#if defined(COUNTERMARK_SIMT)
constexpr bool kEmulated = true;
#else
constexpr bool kEmulated = false;
#endif

void DescribeDevice(Report* report) {
  int runtime = 0, driver = 0;
  cudaDeviceProp properties;
  (void)cudaRuntimeGetVersion(&runtime);
  (void)cudaDriverGetVersion(&driver);
  testing::Check(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
  std::printf("%s, compute capability %d.%d, %d multiprocessors, L2 %d MiB; CUDA runtime %d, driver for %d\n", properties.name, properties.major, properties.minor,
              properties.multiProcessorCount, properties.l2CacheSize >> 20, runtime, driver);
  report->Machine("device", properties.name);
  report->Machine("compute capability", std::to_string(properties.major) + "." + std::to_string(properties.minor));
  report->Machine("multiprocessors", properties.multiProcessorCount);
  report->Machine("L2 bytes", properties.l2CacheSize);
  report->Machine("CUDA runtime", runtime);
  report->Machine("CUDA of the driver", driver);
}

void RunParity(const Options& options, Report* report) {
  report->Section("the kernels against the CPU hook");
  const uint64_t cases = options.cases > 0 ? options.cases : options.quick ? 300 : 3000;
  const int processors = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const int threads = kEmulated ? 1 : options.threads > 0 ? options.threads : std::min(processors, 16);
  testing::CaseLimits limits;
  if (options.most_logits > 0) limits.most_logits = options.most_logits;
  const std::string difference = ParityGrid(options.first_case, cases, limits, threads, [&](uint64_t done) {
    if (done % 100 == 0) std::fprintf(stderr, "gpu-check: %llu of %llu cases\n", static_cast<unsigned long long>(done), static_cast<unsigned long long>(cases));
  });
  report->Check("parity with the CPU hook", difference,
                std::to_string(cases) + " cases from " + std::to_string(options.first_case) + ": token, cause, log-probability, counters" +
                    (options.most_logits > 0 ? ", at most " + std::to_string(options.most_logits) + " logits a case" : ", up to 256 rows of 256000"));
}

void RunChecks(const Options& options, Report* report) {
  const CheckSize size = options.small ? CheckSize{1000, 8} : CheckSize{};
  const std::string told = std::to_string(size.rows) + " rows of " + std::to_string(size.vocabulary);
  report->Section("the kernels against themselves");
  report->Check("a CUDA graph replayed gives the steps' tokens", GraphReplay(size), told);
  report->Check("a row alone and in a batch", BatchInvariance(size), told);
  report->Check("drafts", Drafts(size));
  report->Check("bias", Bias(size));
  report->Check("slots: rolled back, rebuilt, ended", Lifecycle(size));
}

#if !defined(COUNTERMARK_SIMT)
// The tests of tests/server and tests/mark that are linked in, each named in the report only if it fails.
void RunSuites(Report* report) {
  report->Section("the C interface's tests on the device, and the mark's words");
  ::testing::UnitTest& tests = *::testing::UnitTest::GetInstance();
  ::testing::GTEST_FLAG(brief) = true;
  const int status = RUN_ALL_TESTS();
  std::string failed;
  for (int s = 0; s < tests.total_test_suite_count(); ++s) {
    const ::testing::TestSuite& suite = *tests.GetTestSuite(s);
    for (int t = 0; t < suite.total_test_count(); ++t) {
      const ::testing::TestInfo& test = *suite.GetTestInfo(t);
      if (test.should_run() && test.result()->Failed()) failed += (failed.empty() ? "" : ", ") + std::string(suite.name()) + "." + test.name();
    }
  }
  report->Check("tests of the C interface and of the words", status == 0 ? "" : "failed: " + failed,
                std::to_string(tests.successful_test_count()) + " tests, " + std::to_string(tests.skipped_test_count()) + " skipped");
  if (tests.successful_test_count() < 20) report->Check("the suites ran", "fewer than 20 tests ran");
}
#endif

int Main(int argc, char** argv) {
  const Options options = ParseOptions(argc, argv);
#if !defined(COUNTERMARK_SIMT)
  int none = 1;  // gtest would take --help for its own
  ::testing::InitGoogleTest(&none, argv);
#endif
  int devices = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&devices); error != cudaSuccess || devices == 0) {
    std::fprintf(stderr, "gpu-check: error: no CUDA device can be used (%s)\ngpu-check: hint: nvidia-smi must list one, and its driver must know CUDA 13.0 (580 or later)\n",
                 error != cudaSuccess ? cudaGetErrorString(error) : "none");
    return 2;
  }
  Report report(options.command, options.commit);
  DescribeDevice(&report);
  if (options.Wants("parity")) RunParity(options, &report);
  if (options.Wants("checks")) RunChecks(options, &report);
#if !defined(COUNTERMARK_SIMT)
  if (options.Wants("suites")) RunSuites(&report);
  if (options.Wants("sanitizer")) {
    report.Section("compute-sanitizer");
    RunSanitizer(std::filesystem::read_symlink("/proc/self/exe").string(), options.quick, &report);
  }
#endif
  if (options.Wants("timing")) RunTimings(options.quick, options.small || kEmulated, &report);
  const bool written = report.Finish(options.json);
  return report.failed() > 0 ? 1 : written ? 0 : 2;
}

}  // namespace
}  // namespace countermark::gpu_check

int main(int argc, char** argv) { return countermark::gpu_check::Main(argc, argv); }
