# Configures, builds and runs one consumer in a fresh WORK.
file(REMOVE_RECURSE "${WORK}")
file(MAKE_DIRECTORY "${WORK}")
set(ENV{PKG_CONFIG_PATH} "${PREFIX}/${LIBDIR}/pkgconfig:$ENV{PKG_CONFIG_PATH}")
set(ENV{CC} "${CC}")
set(ENV{CXX} "${CXX}")
set(ENV{CFLAGS} "${FLAGS}")
set(ENV{CXXFLAGS} "${FLAGS}")
if(HOW STREQUAL "make")
  # The folder beside the work, as the Makefile's ../ has it.
  get_filename_component(_sources "${FOLDER}" DIRECTORY)
  get_filename_component(_name "${FOLDER}" NAME)
  file(GLOB _shared "${_sources}/*.cc")
  file(COPY ${_shared} "${FOLDER}" DESTINATION "${WORK}")
  execute_process(COMMAND make ${PROGRAMS} WORKING_DIRECTORY "${WORK}/${_name}" COMMAND_ERROR_IS_FATAL ANY)
  set(_bin "${WORK}/${_name}")
else()
  set(_bin "${WORK}/build")
  execute_process(COMMAND_ERROR_IS_FATAL ANY
    COMMAND ${CMAKE_COMMAND} -S "${FOLDER}" -B "${_bin}" -G "${GENERATOR}" "-DCMAKE_BUILD_TYPE=${BUILD_TYPE}" "-DCMAKE_PREFIX_PATH=${PREFIX}"
      "-DCMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER}" "-DCOUNTERMARK=${SOURCE}" "-DCOUNTERMARK_LLAMA=${LLAMA}" "-DCOUNTERMARK_CUDA=${CUDA}"
      "-DCOUNTERMARK_SANITIZE=${SANITIZE}" "-DCOUNTERMARK_WERROR=${WERROR}" --no-warn-unused-cli)
  execute_process(COMMAND ${CMAKE_COMMAND} --build "${_bin}" --target ${PROGRAMS} COMMAND_ERROR_IS_FATAL ANY)
endif()
foreach(_program IN LISTS PROGRAMS)
  execute_process(COMMAND "${_bin}/${_program}" WORKING_DIRECTORY "${WORK}" COMMAND_ERROR_IS_FATAL ANY)
endforeach()
