# Debian 12 packages; tools/install-packages lists them.
#
# A shared library costs each start its mapping and the search for its symbols, and each idle gateway its pages. So what is ours alone
# is linked in. Shared stay: OpenSSL, whose mends must reach us without a new build of ours; and what has no archive in Debian.
set(Boost_USE_STATIC_LIBS ON)
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenSSL 3 REQUIRED)
find_package(Boost 1.81 REQUIRED COMPONENTS json url)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(CLI11 REQUIRED)
find_package(prometheus-cpp REQUIRED CONFIG)
pkg_check_modules(SYSTEMD REQUIRED IMPORTED_TARGET libsystemd)
find_library(SQLITE libsqlite3.a REQUIRED)
find_library(UTF8PROC libutf8proc.a REQUIRED)
find_library(CMARK_EXTENSIONS libcmark-gfm-extensions.a REQUIRED)
find_library(CMARK libcmark-gfm.a REQUIRED)

add_library(talaria_deps INTERFACE)
target_link_libraries(talaria_deps INTERFACE
  Boost::headers Boost::json Boost::url OpenSSL::SSL OpenSSL::Crypto fmt::fmt spdlog::spdlog prometheus-cpp::core
  PkgConfig::SYSTEMD ${SQLITE} ${UTF8PROC} ${CMARK_EXTENSIONS} ${CMARK} Threads::Threads ${CMAKE_DL_LIBS})
target_compile_definitions(talaria_deps INTERFACE
  BOOST_ASIO_SEPARATE_COMPILATION BOOST_ASIO_NO_DEPRECATED BOOST_BEAST_SEPARATE_COMPILATION
  SPDLOG_FMT_EXTERNAL TALARIA_VERSION="${PROJECT_VERSION}")
