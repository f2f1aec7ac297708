// What lets the mark's code be one source for hosts and CUDA devices.
#ifndef COUNTERMARK_MARK_PLATFORM_H_
#define COUNTERMARK_MARK_PLATFORM_H_

#if defined(__CUDACC__)
#define COUNTERMARK_HD __host__ __device__
#else
#define COUNTERMARK_HD
#endif

#endif  // COUNTERMARK_MARK_PLATFORM_H_
