# SPDX-License-Identifier: BSL-1.0
# What can be chosen at configure time, and how our own targets are compiled. Consumers get none of these flags.

option(HALFPROXY_BUILD_EXAMPLES "Build the halfproxy program and the lessons" ${PROJECT_IS_TOP_LEVEL})
option(HALFPROXY_BUILD_TESTS "Build the tests" ${PROJECT_IS_TOP_LEVEL})
option(HALFPROXY_BUILD_BENCH "Build the benchmarks" ${PROJECT_IS_TOP_LEVEL})
option(HALFPROXY_INSTALL "Make install targets" ${PROJECT_IS_TOP_LEVEL})
option(HALFPROXY_WERROR "Treat warnings in our own sources as errors" ${PROJECT_IS_TOP_LEVEL})
set(HALFPROXY_SANITIZE "" CACHE STRING "Sanitizers for our own sources: address,undefined or thread")

if(PROJECT_IS_TOP_LEVEL)
  get_property(multi_config GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
  if(NOT CMAKE_BUILD_TYPE AND NOT multi_config)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
  endif()
  set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
endif()

# Whole directories, not single targets: an instrumented std::vector must not meet an uninstrumented one.
if(HALFPROXY_SANITIZE)
  add_compile_options(-fsanitize=${HALFPROXY_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${HALFPROXY_SANITIZE})
endif()

# Of what takes longer to optimise under sanitizers than it runs.
set(quickly_compiled $<$<CONFIG:Debug>:-O0>)

# Warnings, language and output rules of a target that is ours and never a consumer's.
function(halfproxy_own target)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
  target_compile_features(${target} PRIVATE cxx_std_20)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wconversion -Wshadow $<$<BOOL:${HALFPROXY_WERROR}>:-Werror>)
  # gcc 12 sees overlaps where strings are joined (its bug 105651).
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    target_compile_options(${target} PRIVATE -Wno-restrict)
  endif()
  # gcc 12 takes instrumented reads for uninitialized ones.
  if(HALFPROXY_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${target} PRIVATE -Wno-maybe-uninitialized)
  endif()
endfunction()
