# Three kinds of target, one function each, so that a stage's CMakeLists is a list of its files and nothing else.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
option(COUNTERMARK_INSTALL "Install the programs, the libraries and their CMake and pkg-config packages" ${PROJECT_IS_TOP_LEVEL})
if(PROJECT_IS_TOP_LEVEL)
  set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
  set(CMAKE_LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib")
  set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib")
  if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
  endif()
  find_program(COUNTERMARK_CCACHE ccache)
  if(COUNTERMARK_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_CXX_COMPILER_LAUNCHER "${COUNTERMARK_CCACHE}")
    set(CMAKE_CUDA_COMPILER_LAUNCHER "${COUNTERMARK_CCACHE}")
  endif()
endif()

# Compile options that every C++ file of ours shares. -Wno-restrict: GCC 12 warns of std::string + const char* (GCC bug 105651). -ffp-contract=off: the bits of a mark must not hang on whether a
# compiler fuses a multiplication into an addition; where a fused one is meant, std::fma says so.
add_library(countermark_options INTERFACE)
target_compile_options(countermark_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wshadow;-Wnon-virtual-dtor;-Wno-psabi;-Wno-restrict;-ffp-contract=off;-fno-strict-aliasing>
  $<$<COMPILE_LANG_AND_ID:CXX,Clang,AppleClang>:-Wno-unknown-warning-option>   # GCC's own warnings, switched off by name
  $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<BOOL:${COUNTERMARK_WERROR}>>:-Werror>)
if(COUNTERMARK_SANITIZE)
  target_compile_options(countermark_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${COUNTERMARK_SANITIZE};-fno-omit-frame-pointer;-fno-sanitize-recover=all>)
  target_link_options(countermark_options INTERFACE -fsanitize=${COUNTERMARK_SANITIZE})
endif()

# countermark_library(STAGE SOURCES file... [DEPS target...] [PRIVATE_DEPS target...]): countermark::STAGE
function(countermark_library stage)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  set(target countermark_${stage})
  add_library(${target} STATIC ${ARG_SOURCES})
  add_library(countermark::${stage} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${stage})
  target_include_directories(${target} PUBLIC
    $<BUILD_INTERFACE:${countermark_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_include_directories(${target} PRIVATE ${countermark_SOURCE_DIR})
  target_compile_features(${target} PUBLIC cxx_std_20)
  # Headers alone, and in no public header of ours: whoever links the installed library need not have them.
  list(TRANSFORM ARG_PRIVATE_DEPS REPLACE "^nlohmann_json::nlohmann_json$" "$<BUILD_INTERFACE:nlohmann_json::nlohmann_json>")
  target_link_libraries(${target} PUBLIC ${ARG_DEPS} PRIVATE ${ARG_PRIVATE_DEPS} $<BUILD_INTERFACE:countermark_options>)
  set_property(GLOBAL APPEND PROPERTY COUNTERMARK_LIBRARIES ${target})
endfunction()

# countermark_tool(NAME SOURCES file... [DEPS target...]): an installed program build/bin/NAME
function(countermark_tool name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${countermark_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} CLI11::CLI11 countermark_options)
  set_property(GLOBAL APPEND PROPERTY COUNTERMARK_PROGRAMS ${name})
endfunction()

# countermark_test(NAME SOURCES file... [DEPS target...] [LABELS label...] [TIMEOUT seconds]): one gtest program, one ctest entry
function(countermark_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPS;LABELS;ARGS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${countermark_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} GTest::gmock GTest::gtest_main countermark_options)
  target_compile_definitions(${name} PRIVATE
    COUNTERMARK_TEST_VECTORS="${countermark_SOURCE_DIR}/tests/vectors"
    COUNTERMARK_SOURCE_DIR="${countermark_SOURCE_DIR}"
    COUNTERMARK_CACHE_DIR="${COUNTERMARK_CACHE_DIR}")
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests/bin")
  add_test(NAME ${name} COMMAND ${name} ${ARG_ARGS})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT})
endfunction()

# countermark_pytest(NAME FILE LABEL TIMEOUT [SKIPS] [ENVIRONMENT setting...]): one file of Python tests, one ctest entry, in the environment that tools/setup makes. It finds the programs, the
# sources and the cache in COUNTERMARK_BIN, _SOURCE and _CACHE. SKIPS: exit 77 says that what it needs cannot be had here.
function(countermark_pytest name file label timeout)
  cmake_parse_arguments(ARG "SKIPS" "" "ENVIRONMENT" ${ARGN})
  add_test(NAME ${name} COMMAND "${countermark_SOURCE_DIR}/build/venv/bin/python3" -P -m pytest -q -rs -p no:cacheprovider "${file}")
  set_tests_properties(${name} PROPERTIES LABELS ${label} TIMEOUT ${timeout}
    ENVIRONMENT "COUNTERMARK_BIN=${CMAKE_RUNTIME_OUTPUT_DIRECTORY};COUNTERMARK_SOURCE=${countermark_SOURCE_DIR};COUNTERMARK_CACHE=${COUNTERMARK_CACHE_DIR};PYTHONDONTWRITEBYTECODE=1;${ARG_ENVIRONMENT}")
  if(ARG_SKIPS)
    set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77)
  endif()
endfunction()

# countermark_pytests(PREFIX LABEL TIMEOUT [SKIPS] [ENVIRONMENT setting...]): every X_test.py of this folder, as PREFIX_X; their names in <PREFIX>_tests
function(countermark_pytests prefix label timeout)
  file(GLOB files CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*_test.py")
  set(names "")
  foreach(file IN LISTS files)
    get_filename_component(stem "${file}" NAME_WE)
    string(REGEX REPLACE "_test$" "" name "${stem}")
    countermark_pytest(${prefix}_${name} "${file}" ${label} ${timeout} ${ARGN})
    list(APPEND names ${prefix}_${name})
  endforeach()
  set(${prefix}_tests ${names} PARENT_SCOPE)
endfunction()
