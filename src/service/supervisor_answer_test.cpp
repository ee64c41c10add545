#include "service/supervisor_answer.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace talaria {
namespace {

std::string unhex(std::string_view hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  return bytes;
}

// As runsv 2.1.2 wrote them: running, after `sv restart`'s SIGTERM, and while `sv down` waits.
TEST(RunitStatus, TheWishIsInTheLastButTwoBytes) {
  const auto up = parse_runit_status(unhex("400000006b019eb11f28ad4c0d66000000750101"));
  ASSERT_TRUE(up);
  EXPECT_EQ(up->pid, 0x660d);
  EXPECT_EQ(up->wanted, Wanted::up);
  const auto down = parse_runit_status(unhex("400000006b019eb61ae320142a66000000640101"));
  ASSERT_TRUE(down);
  EXPECT_EQ(down->wanted, Wanted::down);
  EXPECT_EQ(down->pid, 0x662a);
}

TEST(RunitStatus, AnythingElseIsRefused) {
  EXPECT_FALSE(parse_runit_status(""));
  EXPECT_FALSE(parse_runit_status("run\n"));
  EXPECT_FALSE(parse_runit_status(std::string(20, '\0')));
  EXPECT_FALSE(parse_runit_status(std::string(20, '\xff')));
  EXPECT_FALSE(parse_runit_status(unhex("400000006b019eb11f28ad4c0d6600000075010100")));
}

// As s6-supervise 2.11.3 wrote them.
TEST(S6Status, TheWishIsAFlag) {
  const auto up = parse_s6_status(unhex("400000006b019ecf35cb6da9400000006b019ece349195610000000000006621000004"));
  ASSERT_TRUE(up);
  EXPECT_EQ(up->pid, 0x6621);
  EXPECT_EQ(up->wanted, Wanted::up);
  const auto down = parse_s6_status(unhex("400000006b019ed21bfa0e02400000006b019ed11b05142a000000000000662e000000"));
  ASSERT_TRUE(down);
  EXPECT_EQ(down->pid, 0x662e);
  EXPECT_EQ(down->wanted, Wanted::down);
}

TEST(S6Status, LaterVersionsAddTheProcessGroup) {
  const auto up =
      parse_s6_status(unhex("400000006b019ecf35cb6da9400000006b019ece34919561"
                            "0000000000006621"
                            "0000000000006621"
                            "0000"
                            "0c"));
  ASSERT_TRUE(up);
  EXPECT_EQ(up->pid, 0x6621);
  EXPECT_EQ(up->wanted, Wanted::up);
}

TEST(S6Status, AnythingElseIsRefused) {
  EXPECT_FALSE(parse_s6_status(""));
  EXPECT_FALSE(parse_s6_status(std::string(34, '\0')));
  EXPECT_FALSE(parse_s6_status(std::string(35, '\xff')));
}

std::string info(int state, std::string_view name, int pid) {
  return "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n<value><struct>\n<member>\n<name>name</name>\n"
         "<value><string>talaria</string></value>\n</member>\n<member>\n<name>state</name>\n<value><int>" +
         std::to_string(state) + "</int></value>\n</member>\n<member>\n<name>statename</name>\n<value><string>" +
         std::string(name) + "</string></value>\n</member>\n<member>\n<name>pid</name>\n<value><int>" +
         std::to_string(pid) + "</int></value>\n</member>\n</struct></value>\n</param>\n</params>\n</methodResponse>\n";
}

TEST(SupervisordAnswer, StoppingIsDownAndRunningIsUp) {
  const auto stopping = parse_supervisord_answer(info(40, "STOPPING", 4711));
  ASSERT_TRUE(stopping);
  EXPECT_EQ(stopping->wanted, Wanted::down);
  EXPECT_EQ(stopping->pid, 4711);
  EXPECT_EQ(stopping->said, "STOPPING");
  EXPECT_EQ(parse_supervisord_answer(info(20, "RUNNING", 4711))->wanted, Wanted::up);
  EXPECT_EQ(parse_supervisord_answer(info(10, "STARTING", 4711))->wanted, Wanted::up);
  EXPECT_FALSE(parse_supervisord_answer(info(100, "EXITED", 0)));
}

TEST(SupervisordAnswer, AFaultIsNoAnswerButTheShutdown) {
  const auto fault = [](int code) {
    return "<methodResponse>\n<fault>\n<value><struct>\n<member>\n<name>faultCode</name>\n<value><int>" +
           std::to_string(code) + "</int></value>\n</member>\n</struct></value>\n</fault>\n</methodResponse>\n";
  };
  ASSERT_TRUE(parse_supervisord_answer(fault(6)));
  EXPECT_EQ(parse_supervisord_answer(fault(6))->wanted, Wanted::down);
  EXPECT_FALSE(parse_supervisord_answer(fault(10)));
  EXPECT_FALSE(parse_supervisord_answer(""));
  EXPECT_FALSE(parse_supervisord_answer("<name>state</name><int>forty</int>"));
}

TEST(SupervisordQuestion, NamesAreEscaped) {
  EXPECT_TRUE(supervisord_question("a&b:<c>").contains("<string>a&amp;b:&lt;c&gt;</string>"));
}

}  // namespace
}  // namespace talaria
