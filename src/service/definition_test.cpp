#include "service/definition.h"

#include <gtest/gtest.h>

#include <cstdio>

#include "service/host_manager.h"

namespace talaria {
namespace {

DefinitionSpec spec() {
  DefinitionSpec s;
  s.binary = "/opt/a b/it's \"50%\" $HOME & <co>; # 數/talaria";
  s.profile = "work";
  s.log_folder = "/Users/ann/Library/Logs";
  return s;
}

// What a real shell makes of a word.
std::string through_shell(const std::string& word) {
  const std::string command = "printf %s " + word;
  FILE* pipe = ::popen(command.c_str(), "r");  // NOLINT(cert-env33-c)
  std::string out(4096, '\0');
  out.resize(std::fread(out.data(), 1, out.size(), pipe));
  ::pclose(pipe);
  return out;
}

TEST(ShellWord, ComesOutOfAShellAsItWentIn) {
  for (const std::string text : {"/usr/local/bin/talaria", "", "a b", "it's", "$HOME `id` \\ \"x\" !", "數 %"})
    EXPECT_EQ(through_shell(shell_word(text)), text);
}

TEST(SupervisordWord, LeavesNoBlankBeforeACommentAndNoLonePercent) {
  EXPECT_EQ(supervisord_word("/usr/bin/talaria"), "/usr/bin/talaria");
  EXPECT_EQ(supervisord_word("a ;b"), "a\\ \\;b");
  EXPECT_EQ(supervisord_word("50%"), "50\\%%");
  EXPECT_EQ(supervisord_word("數"), "\\數");
}

TEST(Definition, EveryKindNamesTheProgramAndTheProfile) {
  for (const auto name : definition_names) {
    const auto kind = parse_definition_kind(name);
    ASSERT_TRUE(kind) << name;
    DefinitionSpec plain = spec();
    plain.binary = "/usr/local/bin/talaria";
    const auto text = render_definition(*kind, plain);
    ASSERT_TRUE(text) << name;
    EXPECT_TRUE(text->contains("/usr/local/bin/talaria")) << *text;
    EXPECT_TRUE(text->contains("work")) << *text;
    EXPECT_FALSE(text->contains("--system")) << *text;
    EXPECT_TRUE(render_definition(*kind, spec())) << name;
  }
  EXPECT_FALSE(parse_definition_kind("upstart"));
}

TEST(Definition, TheMachinesServiceRunsAsItsUserInItsOwnDirectories) {
  DefinitionSpec s = spec();
  s.system = true;
  s.user = "talaria";
  const auto runit = render_definition(DefinitionKind::runit, s);
  ASSERT_TRUE(runit);
  EXPECT_TRUE(runit->contains("exec chpst -u talaria '"));
  EXPECT_TRUE(runit->contains("-o talaria /var/lib/talaria/work /run/talaria/work"));
  EXPECT_TRUE(runit->contains(" --system -p work gateway run"));
  EXPECT_TRUE(render_definition(DefinitionKind::supervisord, s)->contains("\nuser=talaria\n"));
  EXPECT_TRUE(
      render_definition(DefinitionKind::launchd, s)->contains("<key>UserName</key>\n  <string>talaria</string>"));
}

TEST(Definition, WhatNoFormatCanNameIsRefused) {
  for (const std::string path : {"talaria", "/a\nb", "/a\x01", "/a\xff", "/a\u0085"}) {
    DefinitionSpec s = spec();
    s.binary = path;
    EXPECT_FALSE(render_definition(DefinitionKind::runit, s)) << path;
    s = spec();
    s.home = path;
    EXPECT_FALSE(render_definition(DefinitionKind::supervisord, s)) << path;
  }
  DefinitionSpec s = spec();
  s.user = "a; rm -rf /";
  EXPECT_FALSE(render_definition(DefinitionKind::runit, s));
}

HostFacts host(std::string first, std::vector<std::string> processes = {}, bool container = false) {
  return {std::move(first), std::move(processes), container};
}

TEST(HostManager, ARunningManagerCountsMoreThanTheContainerAroundIt) {
  EXPECT_EQ(decide_host_manager(host("runit")).kind, ManagerKind::runit);
  EXPECT_EQ(decide_host_manager(host("tini", {"tini", "supervisord"}, true)).kind, ManagerKind::supervisord);
  EXPECT_EQ(decide_host_manager(host("s6-svscan", {}, true)).kind, ManagerKind::s6);
  EXPECT_EQ(decide_host_manager(host("launchd")).kind, ManagerKind::launchd);
  EXPECT_EQ(decide_host_manager(host("sh", {"sh"}, true)).kind, ManagerKind::container);
  EXPECT_EQ(decide_host_manager(host("docker-init")).kind, ManagerKind::container);
  EXPECT_EQ(decide_host_manager(host("init", {"init", "bash"})).kind, ManagerKind::none);
}

TEST(HostManager, TheAdviceNamesTheKindToPrint) {
  EXPECT_TRUE(advice(decide_host_manager(host("init", {"runsvdir"}))).contains("--print runit"));
  EXPECT_TRUE(advice(decide_host_manager(host("init", {"supervisord"}))).contains("--print supervisord"));
  EXPECT_TRUE(advice(decide_host_manager(host("init"))).contains("PID 1 is init"));
}

}  // namespace
}  // namespace talaria
