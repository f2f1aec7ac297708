// A kernel that cannot fit in its registers: 64 values alive at once, and 32 registers a thread. It proves that the check of spills sees one.
__global__ void __launch_bounds__(1024, 2) Spilling(float* data, int rounds) {
  float x[64];
#pragma unroll
  for (int i = 0; i < 64; ++i) x[i] = data[i * 1024 + threadIdx.x];
  for (int r = 0; r < rounds; ++r) {
#pragma unroll
    for (int i = 0; i < 64; ++i) x[i] = x[i] * x[(i + 17) % 64] + x[(i + 31) % 64];
  }
#pragma unroll
  for (int i = 0; i < 64; ++i) data[i * 1024 + threadIdx.x] = x[i];
}
