# Compilers, warnings, sanitizers.
#
# GCC 12 is refused: it silently miscompiles common coroutine code (temporaries in co_await expressions are destroyed
# twice or not at all), which no test of ours could be trusted to find.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 14)
  message(FATAL_ERROR
    "GCC ${CMAKE_CXX_COMPILER_VERSION} miscompiles C++20 coroutines. Use clang 19 (apt-get install clang-19; "
    "cmake --preset dev) or GCC 14 and later.")
endif()

set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_SCAN_FOR_MODULES OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_COMPILE_OPTIONS_PIE -fPIC)  # programs like libraries, so that both share one precompiled header

find_program(CCACHE ccache)
if(CCACHE)
  # Without this sloppiness ccache refuses every translation unit that uses a precompiled header.
  set(CMAKE_CXX_COMPILER_LAUNCHER
    env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
endif()

set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g1")

add_library(talaria_flags INTERFACE)
target_compile_options(talaria_flags INTERFACE
  -Wall -Wextra -Wpedantic -Werror -Wshadow -Wconversion -Wno-sign-conversion -Wnon-virtual-dtor -Wold-style-cast
  -Woverloaded-virtual -Wimplicit-fallthrough
  -fstack-protector-strong -fno-omit-frame-pointer -ffunction-sections -fdata-sections
  "$<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>"
  "$<$<CXX_COMPILER_ID:Clang>:SHELL:-Xclang -fno-pch-timestamp>"
  "$<$<CONFIG:Release>:SHELL:-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2>")
target_link_options(talaria_flags INTERFACE -fuse-ld=lld -Wl,--gc-sections -Wl,-z,relro -Wl,-z,now -Wl,-z,pack-relative-relocs
  -Wl,--as-needed -pie)

set(TALARIA_SANITIZE "" CACHE STRING "Sanitizers for -fsanitize=, comma separated")
if(TALARIA_SANITIZE)
  target_compile_options(talaria_flags INTERFACE -fsanitize=${TALARIA_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(talaria_flags INTERFACE -fsanitize=${TALARIA_SANITIZE})
else()
  # Nothing else we load is C++. As a shared library the runtime costs each start the look-up of its 4,000 symbols. Sanitizers
  # watch exceptions from outside of it.
  target_link_options(talaria_flags INTERFACE -static-libstdc++ -static-libgcc)
endif()
if(TALARIA_FUZZ)
  target_compile_options(talaria_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
