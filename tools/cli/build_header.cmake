# Writes HEADER with the version, the commit of SOURCE and whether CUDA code was built.
cmake_minimum_required(VERSION 3.25)
set(commit unknown)
find_program(GIT git)
if(GIT AND EXISTS "${SOURCE}/.git")
  execute_process(COMMAND ${GIT} -C "${SOURCE}" rev-parse --short=12 HEAD OUTPUT_VARIABLE out OUTPUT_STRIP_TRAILING_WHITESPACE
                  ERROR_QUIET RESULT_VARIABLE failed)
  if(NOT failed)
    set(commit "${out}")
  endif()
endif()
file(CONFIGURE OUTPUT "${HEADER}" @ONLY CONTENT
"// Made by the build.
#define COUNTERMARK_BUILD_VERSION \"@VERSION@\"
#define COUNTERMARK_BUILD_COMMIT \"@commit@\"
#define COUNTERMARK_BUILD_CUDA @CUDA@
")
