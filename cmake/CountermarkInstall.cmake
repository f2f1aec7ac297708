# install(): programs, headers, the stage libraries, a CMake package and pkg-config files.
#
#   find_package(countermark COMPONENTS sampling detect)   countermark::sampling, countermark::detect
#   find_package(countermark)                              everything that was built; countermark::countermark is mark … evidence at once
#   pkg-config --libs countermark                          the same, static
#   pkg-config --libs countermark_c                        libcountermark.so, the C interface of servers; in CMake countermark::c
#   pkg-config --libs countermark_llama                    libcountermark_llama.so, the C interface of llama.cpp; in CMake countermark::llama_shared
#
# What a library needs is read from its target, so that a stage's new dependency is written in its own CMakeLists and nowhere else.

# mark … evidence at once; also there for those who take the sources by add_subdirectory.
add_library(countermark_countermark INTERFACE)
add_library(countermark::countermark ALIAS countermark_countermark)
set_target_properties(countermark_countermark PROPERTIES EXPORT_NAME countermark)
target_link_libraries(countermark_countermark INTERFACE countermark::mark countermark::keys countermark::sampling countermark::tokenize
  countermark::detect countermark::evidence)
add_library(countermark::c ALIAS countermark_c)
set_target_properties(countermark_c PROPERTIES EXPORT_NAME c)
if(TARGET countermark_llama_shared)
  add_library(countermark::llama_shared ALIAS countermark_llama_shared)
  set_target_properties(countermark_llama_shared PROPERTIES EXPORT_NAME llama_shared)
endif()

if(NOT COUNTERMARK_INSTALL)
  return()
endif()
include(CMakePackageConfigHelpers)
get_property(_libraries GLOBAL PROPERTY COUNTERMARK_LIBRARIES)
get_property(_programs GLOBAL PROPERTY COUNTERMARK_PROGRAMS)

# ---- What each library needs: find_ for CMake, pc_ for pkg-config --------------------------------------------------------
# countermark_needs(TARGET): sets NEEDS_CMAKE and NEEDS_PC, both of the target and all that it stands on.
function(countermark_needs target)
  set(cmake "")
  set(pc "")
  get_target_property(items ${target} LINK_LIBRARIES)
  if(NOT items)
    get_target_property(items ${target} INTERFACE_LINK_LIBRARIES)
  endif()
  if(NOT items)
    set(items "")
  endif()
  foreach(item IN LISTS items)
    if(item MATCHES "^countermark::(.*)$")
      countermark_needs(countermark_${CMAKE_MATCH_1})
      list(APPEND cmake ${NEEDS_CMAKE})
      list(APPEND pc ${NEEDS_PC})
    elseif(item MATCHES "^absl::(.*)$")
      list(APPEND cmake absl)
      list(APPEND pc absl_${CMAKE_MATCH_1})
    elseif(item STREQUAL "OpenSSL::Crypto")
      list(APPEND cmake OpenSSL)
      list(APPEND pc libcrypto)
    elseif(item STREQUAL "ZLIB::ZLIB")
      list(APPEND cmake ZLIB)
      list(APPEND pc zlib)
    elseif(item MATCHES "^ICU::(.*)$")
      list(APPEND cmake ICU)
      list(APPEND pc icu-${CMAKE_MATCH_1})
    elseif(item STREQUAL "PkgConfig::SENTENCEPIECE")
      list(APPEND cmake SENTENCEPIECE)
      list(APPEND pc sentencepiece)
    elseif(item STREQUAL "PkgConfig::ZSTD")
      list(APPEND cmake ZSTD)
      list(APPEND pc libzstd)
    elseif(item STREQUAL "Threads::Threads")
      list(APPEND cmake Threads)   # pkg-config: -pthread is in Libs
    elseif(item STREQUAL "llama")
      list(APPEND cmake llama)     # pkg-config: its place is in Libs
    elseif(NOT item MATCHES "^\\$<BUILD_INTERFACE:")
      message(FATAL_ERROR "${target} links ${item}; cmake/CountermarkInstall.cmake does not know how an installed countermark finds it")
    endif()
  endforeach()
  list(REMOVE_DUPLICATES cmake)
  list(REMOVE_DUPLICATES pc)
  set(NEEDS_CMAKE "${cmake}" PARENT_SCOPE)
  set(NEEDS_PC "${pc}" PARENT_SCOPE)
endfunction()

set(COUNTERMARK_COMPONENT_NEEDS "")   # lines of the package's configuration
set(COUNTERMARK_COMPONENTS "")
foreach(_target IN LISTS _libraries ITEMS countermark_countermark)
  string(REPLACE "countermark_" "" _component ${_target})
  if(_target STREQUAL "countermark_countermark")
    set(_component countermark)
  endif()
  countermark_needs(${_target})
  list(APPEND COUNTERMARK_COMPONENTS ${_component})
  string(APPEND COUNTERMARK_COMPONENT_NEEDS "set(_countermark_needs_${_component} ${NEEDS_CMAKE})\n")
endforeach()
set(_pc_requires "${NEEDS_PC}")       # of the last: mark … evidence
list(APPEND COUNTERMARK_COMPONENTS c)
string(APPEND COUNTERMARK_COMPONENT_NEEDS "set(_countermark_needs_c)\n")   # all that it stands on is inside it, or linked by it
if(TARGET countermark_llama_shared)
  list(APPEND COUNTERMARK_COMPONENTS llama_shared)
  string(APPEND COUNTERMARK_COMPONENT_NEEDS "set(_countermark_needs_llama_shared llama)\n")
endif()

# ---- Files -------------------------------------------------------------------------------------------------------------
set(_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/countermark")
set(_headers_but "")
if(NOT COUNTERMARK_HAVE_LLAMA)
  set(_headers_but PATTERN llama.h EXCLUDE)
endif()
install(DIRECTORY "${countermark_SOURCE_DIR}/include/countermark" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
  FILES_MATCHING PATTERN "*.h" ${_headers_but})
install(TARGETS ${_libraries} countermark_countermark EXPORT countermark ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(EXPORT countermark NAMESPACE countermark:: FILE countermarkTargets.cmake DESTINATION "${_package_dir}")

# What is linked from outside the system's own folders (libllama in the cache of tools/setup) is looked for where it was found.
file(RELATIVE_PATH _bin_to_lib "${CMAKE_INSTALL_FULL_BINDIR}" "${CMAKE_INSTALL_FULL_LIBDIR}")
if(_programs)
  set_target_properties(${_programs} PROPERTIES INSTALL_RPATH "$ORIGIN/${_bin_to_lib}" INSTALL_RPATH_USE_LINK_PATH ON)
  install(TARGETS ${_programs} RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()
# Exports of their own: a C program finds one of these libraries, and needs nothing of what is inside it.
set_target_properties(countermark_c PROPERTIES INSTALL_RPATH "$ORIGIN" INSTALL_RPATH_USE_LINK_PATH ON)
install(TARGETS countermark_c EXPORT countermark_c LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(EXPORT countermark_c NAMESPACE countermark:: FILE countermarkCTargets.cmake DESTINATION "${_package_dir}")
if(TARGET countermark_llama_shared)
  set_target_properties(countermark_llama_shared PROPERTIES INSTALL_RPATH "$ORIGIN" INSTALL_RPATH_USE_LINK_PATH ON)
  install(TARGETS countermark_llama_shared EXPORT countermark_llama LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
  install(EXPORT countermark_llama NAMESPACE countermark:: FILE countermarkLlamaTargets.cmake DESTINATION "${_package_dir}")
endif()

configure_package_config_file("${countermark_SOURCE_DIR}/cmake/countermarkConfig.cmake.in"
  "${countermark_BINARY_DIR}/cmake/countermarkConfig.cmake" INSTALL_DESTINATION "${_package_dir}")
write_basic_package_version_file("${countermark_BINARY_DIR}/cmake/countermarkConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${countermark_BINARY_DIR}/cmake/countermarkConfig.cmake" "${countermark_BINARY_DIR}/cmake/countermarkConfigVersion.cmake"
  DESTINATION "${_package_dir}")

# ---- pkg-config --------------------------------------------------------------------------------------------------------
file(RELATIVE_PATH PC_UP "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig" "${CMAKE_INSTALL_PREFIX}")
string(REGEX REPLACE "/$" "" PC_UP "${PC_UP}")
list(JOIN _pc_requires " " PC_REQUIRES)
set(PC_LIBS "")
foreach(_target IN LISTS _libraries)
  get_target_property(_type ${_target} TYPE)
  if(_type STREQUAL "STATIC_LIBRARY" AND NOT _target STREQUAL "countermark_llama")
    string(PREPEND PC_LIBS "-l${_target} ")   # a static library stands before what it needs
  endif()
endforeach()
set(PC_LLAMA_CFLAGS "")
set(PC_LLAMA_LIBS "")
if(COUNTERMARK_HAVE_LLAMA)
  get_target_property(_llama llama LOCATION)
  get_filename_component(_llama_dir "${_llama}" DIRECTORY)
  set(PC_LLAMA_CFLAGS "-I${LLAMA_INCLUDE_DIR}")
  set(PC_LLAMA_LIBS "-L${_llama_dir} -lllama -lggml -lggml-base")
  if(NOT _llama_dir IN_LIST CMAKE_CXX_IMPLICIT_LINK_DIRECTORIES)
    string(APPEND PC_LLAMA_LIBS " -Wl,-rpath,${_llama_dir}")
  endif()
  configure_file("${countermark_SOURCE_DIR}/cmake/countermark_llama.pc.in" "${countermark_BINARY_DIR}/cmake/countermark_llama.pc" @ONLY)
  install(FILES "${countermark_BINARY_DIR}/cmake/countermark_llama.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
endif()
configure_file("${countermark_SOURCE_DIR}/cmake/countermark_c.pc.in" "${countermark_BINARY_DIR}/cmake/countermark_c.pc" @ONLY)
install(FILES "${countermark_BINARY_DIR}/cmake/countermark_c.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
configure_file("${countermark_SOURCE_DIR}/cmake/countermark.pc.in" "${countermark_BINARY_DIR}/cmake/countermark.pc" @ONLY)
install(FILES "${countermark_BINARY_DIR}/cmake/countermark.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
