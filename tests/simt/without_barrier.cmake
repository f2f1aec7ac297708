# cmake -DIN=kernel.cu -DOUT=copy.cc -DBARRIER=name -P without_barrier.cmake: a copy of a kernel without the barrier `__syncthreads();  // [name] …`,
# line for line. Stops unless the source has exactly one of that name.
file(READ "${IN}" _text)
string(REGEX MATCHALL "__sync(threads|warp)\\([^\n;]*\\);  // \\[${BARRIER}\\]" _found "${_text}")
list(LENGTH _found _count)
if(NOT _count EQUAL 1)
  message(FATAL_ERROR "${IN}: ${_count} barriers are named [${BARRIER}]; name exactly one: __syncthreads();  // [${BARRIER}] why")
endif()
string(REPLACE "${_found}" "/* no barrier */  // [${BARRIER}]" _text "${_text}")
file(WRITE "${OUT}" "#line 1 \"${IN}\"\n${_text}")
