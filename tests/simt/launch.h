// Launches and shared memory, as kernels/device.cuh promises them.
#ifndef COUNTERMARK_TESTS_SIMT_LAUNCH_H_
#define COUNTERMARK_TESTS_SIMT_LAUNCH_H_

#include <cuda_runtime.h>

#include <cstddef>
#include <functional>
#include <tuple>
#include <utility>

namespace countermark::simt {

// The place of a static array in the running block's shared memory: made at the first call with this key, the same for all its threads.
void* SharedArray(const void* key, size_t bytes, size_t alignment, const char* name, const char* file, int line);
void* DynamicShared();

// Runs body() in each thread of the grid, now, or adds it to the graph that `stream` captures. `kernel` names it for cudaFuncSetAttribute.
cudaError_t Launch(const void* kernel, dim3 grid, dim3 block, size_t smem_bytes, cudaStream_t stream, std::function<void()> body);

}  // namespace countermark::simt

// The key is the address of a static of the enclosing function: one for each instantiation of a template.
#define SHARED_ARRAY(T, name, N)              \
  static char name##_key;                     \
  using name##_type = T[N];                   \
  name##_type& name = *static_cast<name##_type*>( \
      ::countermark::simt::SharedArray(&name##_key, sizeof(name##_type), alignof(name##_type), #name, __FILE__, __LINE__))
#define DYN_SHARED(T, name) T* const name = static_cast<T*>(::countermark::simt::DynamicShared())

namespace countermark {

template <typename... Params, typename... Args>
cudaError_t Launch(void (*kernel)(Params...), dim3 grid, dim3 block, size_t smem_bytes, cudaStream_t stream, Args... args) {
  static_assert(sizeof...(Params) == sizeof...(Args), "as many arguments as the kernel has parameters");
  return simt::Launch(reinterpret_cast<const void*>(kernel), grid, block, smem_bytes, stream,
                      [kernel, parameters = std::tuple<Params...>(static_cast<Params>(args)...)] { std::apply(kernel, parameters); });
}

}  // namespace countermark

#endif  // COUNTERMARK_TESTS_SIMT_LAUNCH_H_
