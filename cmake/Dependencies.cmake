# Debian 12 packages; tools/install-packages lists them.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenSSL 3 REQUIRED)
find_package(Boost 1.81 REQUIRED COMPONENTS json url)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(CLI11 REQUIRED)
find_package(prometheus-cpp REQUIRED CONFIG)
pkg_check_modules(SYSTEMD REQUIRED IMPORTED_TARGET libsystemd)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(CMARK REQUIRED IMPORTED_TARGET libcmark-gfm)
find_library(CMARK_EXTENSIONS cmark-gfm-extensions REQUIRED)

add_library(talaria_deps INTERFACE)
target_link_libraries(talaria_deps INTERFACE
  Boost::headers Boost::json Boost::url OpenSSL::SSL OpenSSL::Crypto fmt::fmt spdlog::spdlog prometheus-cpp::core
  PkgConfig::SYSTEMD PkgConfig::SQLITE PkgConfig::UTF8PROC ${CMARK_EXTENSIONS}
  PkgConfig::CMARK Threads::Threads)
target_compile_definitions(talaria_deps INTERFACE
  BOOST_ASIO_SEPARATE_COMPILATION BOOST_ASIO_NO_DEPRECATED BOOST_BEAST_SEPARATE_COMPILATION
  SPDLOG_FMT_EXTERNAL TALARIA_VERSION="${PROJECT_VERSION}")
