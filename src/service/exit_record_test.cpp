#include "service/exit_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <boost/json.hpp>
#include <fstream>
#include <sstream>

#include "service/fake_manager_test_support.h"

namespace talaria {
namespace {

using ::testing::HasSubstr;
using testing::TemporaryDirectory;

std::string slurp(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<boost::json::value> lines_of(const std::string& path) {
  std::vector<boost::json::value> values;
  std::istringstream text(slurp(path));
  for (std::string line; std::getline(text, line);) values.push_back(boost::json::parse(line));
  return values;
}

class ExitRecordTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::string file() const { return dir_ / "exits.jsonl"; }
  [[nodiscard]] std::string home() const { return dir_ / "."; }
  TemporaryDirectory dir_;
};

TEST_F(ExitRecordTest, AppendsOneLineEach) {
  ASSERT_TRUE(append_exit_record(
      home(), {.at = 1, .service_result = "signal", .exit_code = "killed", .exit_status = "KILL", .pid = 42}));
  ASSERT_TRUE(
      append_exit_record(home(), {.at = 2, .service_result = "success", .exit_code = "exited", .exit_status = "0"}));
  const auto lines = lines_of(file());
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0].at("exit_status"), "KILL");
  EXPECT_EQ(lines[0].at("pid"), 42);
  EXPECT_EQ(lines[1].at("at"), 2);
  struct stat found{};
  ASSERT_EQ(::stat(file().c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777, 0600u);
}

TEST_F(ExitRecordTest, StaysBelowItsLimitAndKeepsTheNewest) {
  for (int i = 0; i < 2'000; ++i)
    ASSERT_TRUE(append_exit_record(home(), {.at = i, .service_result = std::string(60, 'r')}));
  EXPECT_LE(slurp(file()).size(), max_exit_log);
  const auto lines = lines_of(file());
  ASSERT_GT(lines.size(), 100u);
  EXPECT_EQ(lines.back().at("at"), 1'999);
  for (std::size_t i = 1; i < lines.size(); ++i)
    ASSERT_EQ(lines[i].at("at").as_int64(), lines[i - 1].at("at").as_int64() + 1);
}

TEST_F(ExitRecordTest, AHugeForeignFileIsReplaced) {
  std::ofstream(file()) << std::string(10'000'000, 'x');
  ASSERT_TRUE(append_exit_record(home(), {.at = 7}));
  const auto lines = lines_of(file());
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].at("at"), 7);
}

TEST_F(ExitRecordTest, IsKeptShortForWhoMayNotLook) {
  keep_exit_log_short(home());  // none yet
  const auto line = format_exit_record({.at = 1, .service_result = "signal"});
  std::ofstream file(this->file());
  for (std::size_t size = 0; size <= max_exit_log; size += line.size()) file << line;
  file << "{\"at\":2";  // a power cut
  file.close();
  keep_exit_log_short(home());
  EXPECT_LE(slurp(this->file()).size(), max_exit_log / 2);
  const auto before = lines_of(this->file());
  EXPECT_GT(before.size(), 100u);
  keep_exit_log_short(home());
  EXPECT_EQ(lines_of(this->file()).size(), before.size());
}

TEST_F(ExitRecordTest, HostileTextStaysOneLine) {
  const auto line =
      format_exit_record({.service_result = "a\n{\"at\":1}\x1b[31m\xff", .exit_code = std::string(5'000, 'x')});
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  EXPECT_LT(line.size(), 500u);
  EXPECT_EQ(line.find('\x1b'), std::string::npos);
}

TEST_F(ExitRecordTest, WritesToRegularFilesOnly) {
  std::ofstream(dir_ / "victim") << "precious";
  std::filesystem::create_symlink(dir_ / "victim", file());
  EXPECT_FALSE(append_exit_record(home(), {.at = 1}));
  EXPECT_EQ(slurp(dir_ / "victim"), "precious");
  std::filesystem::remove(file());
  ASSERT_EQ(::mkfifo(file().c_str(), 0600), 0);
  EXPECT_FALSE(append_exit_record(home(), {.at = 1})) << "and it doesn't hang for a reader";
}

TEST_F(ExitRecordTest, AMissingDirectoryIsNamed) {
  const auto done = append_exit_record(dir_ / "gone", {.at = 1});
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().what, HasSubstr(dir_ / "gone"));
}

}  // namespace
}  // namespace talaria
