// compute-sanitizer over a small part of the checks.
#ifndef COUNTERMARK_TOOLS_GPU_CHECK_SANITIZER_H_
#define COUNTERMARK_TOOLS_GPU_CHECK_SANITIZER_H_

#include <string>

#include "tools/gpu_check/report.h"

namespace countermark::gpu_check {

// Runs this very program (`program`: a path) under memcheck, racecheck, synccheck and initcheck; a check each in the report. Where compute-sanitizer is
// neither in PATH nor in /usr/local/cuda/bin nor beside the program, that is said and nothing fails.
void RunSanitizer(const std::string& program, bool quick, Report* report);

}  // namespace countermark::gpu_check

#endif  // COUNTERMARK_TOOLS_GPU_CHECK_SANITIZER_H_
