# cmake -DIN=kernel.cu -DOUT=copy.cc -DBARRIER=name -P without_barrier.cmake: a copy of a kernel without the barrier `__syncthreads();  // [name] …`,
# line for line. Stops unless the source has exactly one of that name.
file(READ "${IN}" _text)
string(ASCII 1 _mark)   # not in any source; and a list of what was found will not do, since it is full of semicolons
string(REGEX REPLACE "__sync(threads|warp)\\([^\n;]*\\);  // \\[${BARRIER}\\]" "${_mark}" _text "${_text}")
string(REGEX REPLACE "[^${_mark}]" "" _found "${_text}")
string(LENGTH "${_found}" _count)
if(NOT _count EQUAL 1)
  message(FATAL_ERROR "${IN}: ${_count} barriers are named [${BARRIER}]; name exactly one: __syncthreads()\;  // [${BARRIER}] why")
endif()
string(REPLACE "${_mark}" "/* no barrier */  // [${BARRIER}]" _text "${_text}")
file(WRITE "${OUT}" "#line 1 \"${IN}\"\n${_text}")
