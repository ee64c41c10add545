# Every folder of src/ is a room: one static library of its *.cpp files; its *_test.cpp files make one test program.

function(talaria_target target)
  target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(${target} PRIVATE talaria_flags PUBLIC talaria_deps)
endfunction()

# The heavy headers, compiled once.
file(WRITE ${CMAKE_BINARY_DIR}/pch_anchor.cpp "// Anchor of the precompiled header.\n")
add_library(talaria_pch STATIC ${CMAKE_BINARY_DIR}/pch_anchor.cpp)
talaria_target(talaria_pch)
target_precompile_headers(talaria_pch PRIVATE
  <algorithm> <chrono> <cstdint> <expected> <filesystem> <functional> <map> <memory> <optional> <string> <string_view>
  <unordered_map> <utility> <variant> <vector> <fmt/format.h> <boost/asio.hpp> <boost/json.hpp>)

set_property(GLOBAL PROPERTY TALARIA_ROOMS "")

function(talaria_room name)
  cmake_parse_arguments(ROOM "" "" "USES" ${ARGN})
  set_property(GLOBAL APPEND PROPERTY TALARIA_ROOMS ${name})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${name}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "_test\\.cpp$")
  if(NOT sources)
    add_library(talaria_${name} INTERFACE)
    foreach(used IN LISTS ROOM_USES)
      target_link_libraries(talaria_${name} INTERFACE talaria_${used})
    endforeach()
    target_link_libraries(talaria_${name} INTERFACE talaria_deps)
    return()
  endif()
  add_library(talaria_${name} STATIC ${sources})
  talaria_target(talaria_${name})
  target_precompile_headers(talaria_${name} REUSE_FROM talaria_pch)
  if(TALARIA_SANITIZE)
    # Half the time of a build goes into inline functions of libraries, which every object file would have anew. The price: a
    # name may stand in the unnamed namespaces of a room's files only once.
    set_target_properties(talaria_${name} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 12)
  endif()
  foreach(used IN LISTS ROOM_USES)
    target_link_libraries(talaria_${name} PUBLIC talaria_${used})
  endforeach()
endfunction()

function(talaria_unit_tests)
  find_package(GTest REQUIRED)
  include(GoogleTest)
  get_property(rooms GLOBAL PROPERTY TALARIA_ROOMS)
  foreach(room IN LISTS rooms)
    file(GLOB_RECURSE tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${room}/*_test.cpp)
    if(tests)
      add_executable(${room}_test ${tests})
      talaria_target(${room}_test)
      target_precompile_headers(${room}_test REUSE_FROM talaria_pch)
      # talaria_runtime: the precompiled header holds Asio, whose one compiled copy lies there.
      target_link_libraries(${room}_test PRIVATE
        talaria_${room} talaria_runtime PkgConfig::SYSTEMD GTest::gmock GTest::gtest GTest::gtest_main rapidcheck)
      # rapidcheck's headers shadow names, which are not ours to mend; and a test names only the fields that matter to it.
      # On the sources, because what a target links comes after its own options and would win.
      set_source_files_properties(${tests} PROPERTIES COMPILE_OPTIONS
        "-Wno-shadow;-Wno-missing-designated-field-initializers")
      add_test(NAME unit.${room} COMMAND ${room}_test --gtest_brief=1)
    endif()
  endforeach()
endfunction()
