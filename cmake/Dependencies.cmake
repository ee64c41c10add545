# Debian 12 packages; tools/install-packages lists them.
#
# A shared library costs each start its mapping and the search for its symbols, and each idle gateway its pages. So what is ours alone
# is linked in, the C++ runtime with it (Toolchain.cmake): Debian has fmt and spdlog as shared C++ libraries only, so both are compiled
# from their headers (cmake/fmt.cpp, runtime/log.cpp). OpenSSL stays shared: its mends must reach us without a new
# build of ours. libsystemd is loaded when it is needed (base/libsystemd.cpp): of it, only the headers are used here.
set(Boost_USE_STATIC_LIBS ON)
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenSSL 3 REQUIRED)
find_package(Boost 1.81 REQUIRED COMPONENTS json url)
find_package(CLI11 REQUIRED)
pkg_check_modules(SYSTEMD REQUIRED IMPORTED_TARGET libsystemd)  # linked with the tests, whose fake manager is a server
find_library(SQLITE libsqlite3.a REQUIRED)
find_library(UTF8PROC libutf8proc.a REQUIRED)
find_library(CMARK_EXTENSIONS libcmark-gfm-extensions.a REQUIRED)
find_library(CMARK libcmark-gfm.a REQUIRED)

add_library(talaria_fmt STATIC ${CMAKE_CURRENT_LIST_DIR}/fmt.cpp)
target_compile_options(talaria_fmt PRIVATE -ffunction-sections -fdata-sections)

add_library(talaria_deps INTERFACE)
target_link_libraries(talaria_deps INTERFACE
  Boost::headers Boost::json Boost::url OpenSSL::SSL OpenSSL::Crypto talaria_fmt
  ${SQLITE} ${UTF8PROC} ${CMARK_EXTENSIONS} ${CMARK} Threads::Threads ${CMAKE_DL_LIBS})
target_compile_definitions(talaria_deps INTERFACE
  BOOST_ASIO_SEPARATE_COMPILATION BOOST_ASIO_NO_DEPRECATED BOOST_BEAST_SEPARATE_COMPILATION
  SPDLOG_FMT_EXTERNAL TALARIA_VERSION="${PROJECT_VERSION}")
