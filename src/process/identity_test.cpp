#include "process/identity.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <linux/sched.h>
#include <rapidcheck/gtest.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>

#include <thread>

#include "process/test_support.h"

namespace talaria {
namespace {

using testing::HasSubstr;

constexpr const char* boot_id = "6f1d2c3b-0a9e-4b5f-8c7d-1234567890ab";

std::string stat_line(std::string_view name, char state = 'S', int parent = 1, std::uint64_t start = 987654321) {
  return fmt::format("4711 ({}) {} {} 4711 4711 34816 4711 4194304 1 2 3 4 5 6 7 8 20 0 1 0 {} 2703360 197 1844\n",
                     name, state, parent, start);
}

TEST(ProcStat, CountsFromTheLastParenthesis) {
  for (const std::string name : {"sh", "", " ", ")", "(", ") R 1 (", "a) S 1 2 3 (b", "((((", "))))", "tmux: server",
                                 "x\n4712 (y) Z 1", "1 2 3 4 5 6 7 8"}) {
    const auto facts = parse_proc_stat(stat_line(name, 'D', 4242, 77));
    ASSERT_TRUE(facts) << name << ": " << facts.error().what;
    EXPECT_EQ(facts->pid, 4711);
    EXPECT_EQ(facts->comm, name);
    EXPECT_EQ(facts->state, 'D');
    EXPECT_EQ(facts->parent, 4242);
    EXPECT_EQ(facts->group, 4711);
    EXPECT_EQ(facts->start_time, 77U);
  }
}

TEST(ProcStat, RefusesWhatIsNoStatLine) {
  for (const std::string text :
       {"", " ", "4711", "()", "(", ")", "4711 (sh", "4711 sh) S 1", "x (sh) S 1", "-1 (sh) S 1 1", "4711(sh) S 1",
        "0 (sh) S 1", "4711 (sh) SS 1", "4711 (sh) S x", "4711 (sh) S -1", "99999999999999999999 (sh) S 1"})
    EXPECT_FALSE(parse_proc_stat(text)) << text;
  auto overflow = stat_line("sh");
  overflow.replace(overflow.find("987654321"), 9, "99999999999999999999999");
  EXPECT_FALSE(parse_proc_stat(overflow));
}

TEST(ProcStat, ATruncatedLineNeverGivesAnotherStartTime) {
  const std::string line = stat_line("na) me");
  int accepted = 0;
  for (std::size_t length = 0; length <= line.size(); ++length) {
    const auto facts = parse_proc_stat(std::string_view(line).substr(0, length));
    if (!facts) continue;
    ++accepted;
    EXPECT_EQ(facts->start_time, 987654321U) << length;
  }
  EXPECT_GT(accepted, 0);
}

RC_GTEST_PROP(ProcStat, AnyNameAndAnyBytes, (const std::string& name, const std::string& noise)) {
  const auto facts = parse_proc_stat(stat_line(name));
  RC_ASSERT(facts.has_value());
  RC_ASSERT(facts->comm == name);
  (void)parse_proc_stat(noise);
}

TEST(IncarnationText, RoundTrip) {
  rc::check([](std::uint32_t pid, std::uint64_t start) {
    const Incarnation incarnation{static_cast<pid_t>(pid % INT32_MAX) + 1, start >> 1U, boot_id};
    const auto parsed = parse_incarnation(to_string(incarnation));
    RC_ASSERT(parsed.has_value());
    RC_ASSERT(*parsed == incarnation);
  });
}

TEST(IncarnationText, EveryTruncationAndExtensionIsRefused) {
  const std::string text = to_string(Incarnation{4711, 987654, boot_id});
  ASSERT_TRUE(parse_incarnation(text));
  for (std::size_t length = 0; length < text.size(); ++length)
    EXPECT_FALSE(parse_incarnation(std::string_view(text).substr(0, length))) << length;
  for (const std::string& tail :
       {std::string("0"), std::string(" "), std::string("\n"), std::string(":"), std::string(1, '\0')})
    EXPECT_FALSE(parse_incarnation(text + tail)) << tail;
}

TEST(IncarnationText, IsStrict) {
  const std::string id = boot_id;
  for (const std::string& text : {"0:1:" + id, "-1:1:" + id, "+1:1:" + id, " 1:1:" + id, "01:1:" + id, "1:01:" + id,
                                  "1:-1:" + id, "2147483648:1:" + id, "1:18446744073709551616:" + id, "1::" + id,
                                  ":1:" + id, std::string("1:1:6F1D2C3B-0a9e-4b5f-8c7d-1234567890ab"),
                                  std::string("1:1:6f1d2c3b00a9e-4b5f-8c7d-1234567890ab"), std::string("1:1:")}) {
    const auto parsed = parse_incarnation(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().kind, ErrorKind::invalid);
  }
}

TEST(Identity, ThisProcess) {
  const auto self = this_incarnation();
  ASSERT_TRUE(self) << self.error().what;
  EXPECT_EQ(self->pid, ::getpid());
  EXPECT_GT(self->start_time, 0U);
  EXPECT_EQ(*self, *this_incarnation());
  EXPECT_EQ(*parse_incarnation(to_string(*self)), *self);
}

TEST(Identity, NobodyThere) {
  for (const pid_t pid : {0, -1, INT32_MAX}) {
    ASSERT_FALSE(incarnation_of(pid));
    EXPECT_EQ(incarnation_of(pid).error().kind, ErrorKind::not_found);
    EXPECT_FALSE(ProcessHandle::open(Incarnation{pid, 1, boot_id}));
    EXPECT_FALSE(facts_of(pid));
  }
}

TEST(Identity, AThreadIsNoProcess) {
  const test::Pipe started;
  const test::Pipe finish;
  pid_t thread_id = 0;
  std::thread thread([&] {
    thread_id = ::gettid();
    started.tell();
    (void)finish.wait();
  });
  ASSERT_TRUE(started.wait());
  const auto found = incarnation_of(thread_id);
  EXPECT_FALSE(found);
  finish.tell();
  thread.join();
}

TEST(Identity, ANameThatLooksLikeAStatLine) {
  const test::Forked process([](const auto& ready) {
    ::prctl(PR_SET_NAME, ") Z 1 (a b");
    ready();
    return test::hang();
  });
  ASSERT_TRUE(process.ready());
  const auto facts = facts_of(process.pid());
  ASSERT_TRUE(facts) << facts.error().what;
  EXPECT_EQ(facts->comm, ") Z 1 (a b");
  EXPECT_EQ(facts->parent, ::getpid());
  const auto incarnation = incarnation_of(process.pid());
  ASSERT_TRUE(incarnation) << incarnation.error().what;
  EXPECT_EQ(incarnation->start_time, facts->start_time);
}

TEST(Identity, AZombieIsGone) {
  const test::Forked process([](const auto& ready) {
    ready();
    return test::hang();
  });
  ASSERT_TRUE(process.ready());
  const auto incarnation = incarnation_of(process.pid());
  ASSERT_TRUE(incarnation);
  const auto handle = ProcessHandle::open(*incarnation);
  ASSERT_TRUE(handle) << handle.error().what;
  EXPECT_FALSE(handle->ended());
  EXPECT_FALSE(handle->wait_ended(1));
  ASSERT_TRUE(handle->signal(SIGKILL));
  EXPECT_TRUE(handle->wait_ended(10'000));
  process.wait_dead();

  // kill(pid, 0) still says yes; we don't.
  ASSERT_EQ(::kill(process.pid(), 0), 0);
  EXPECT_TRUE(handle->ended());
  EXPECT_EQ(incarnation_of(process.pid()).error().kind, ErrorKind::not_found);
  EXPECT_EQ(ProcessHandle::open(*incarnation).error().kind, ErrorKind::not_found);
  EXPECT_EQ(facts_of(process.pid())->state, 'Z');
}

TEST(Identity, AnotherStartTimeOrBootIsAnotherProcess) {
  const auto self = *this_incarnation();
  auto other = self;
  other.start_time += 1;
  EXPECT_EQ(ProcessHandle::open(other).error().kind, ErrorKind::not_found);
  other = self;
  other.boot_id = boot_id;
  EXPECT_EQ(ProcessHandle::open(other).error().kind, ErrorKind::not_found);
  EXPECT_TRUE(ProcessHandle::open(self));
}

// A child with the PID that we want; -1 with errno EPERM where that is not allowed.
pid_t fork_with_pid(pid_t pid) {
  clone_args arguments{};
  arguments.exit_signal = SIGCHLD;
  arguments.set_tid = reinterpret_cast<std::uint64_t>(&pid);
  arguments.set_tid_size = 1;
  const auto result = static_cast<pid_t>(::syscall(SYS_clone3, &arguments, sizeof arguments));
  if (result == 0) {
    for (;;) ::syscall(SYS_pause);
  }
  return result;
}

TEST(Identity, AReusedPidIsAStranger) {
  Incarnation incarnation;
  Result<ProcessHandle> old_handle;
  {
    test::Forked process([](const auto& ready) {
      ready();
      return test::hang();
    });
    incarnation = *incarnation_of(process.pid());
    old_handle = ProcessHandle::open(incarnation);
    ASSERT_TRUE(old_handle);
    process.kill(SIGKILL);
    ASSERT_EQ(process.reap(), -SIGKILL);
  }
  // The start time counts in ticks of 1/100 s: let one go by, as any real reuse of a PID does.
  const timespec two_ticks{0, 20'000'000};
  ::nanosleep(&two_ticks, nullptr);
  const pid_t stranger = fork_with_pid(incarnation.pid);
  if (stranger < 0 && errno == EPERM) GTEST_SKIP() << "clone3 with set_tid needs CAP_CHECKPOINT_RESTORE";
  ASSERT_EQ(stranger, incarnation.pid) << errno;

  EXPECT_EQ(ProcessHandle::open(incarnation).error().kind, ErrorKind::not_found);
  EXPECT_THAT(ProcessHandle::open(incarnation).error().what, HasSubstr("another process"));
  EXPECT_EQ(old_handle->signal(SIGKILL).error().kind, ErrorKind::not_found);
  EXPECT_TRUE(old_handle->ended());
  // The stranger lives.
  const auto now = incarnation_of(stranger);
  ASSERT_TRUE(now) << now.error().what;
  EXPECT_NE(*now, incarnation);
  ::kill(stranger, SIGKILL);
  EXPECT_EQ(::waitpid(stranger, nullptr, 0), stranger);
}

TEST(Facts, OfThisProcess) {
  const auto facts = facts_of(::getpid());
  ASSERT_TRUE(facts);
  EXPECT_EQ(facts->pid, ::getpid());
  EXPECT_EQ(facts->parent, ::getppid());
  EXPECT_EQ(facts->group, ::getpgrp());
  EXPECT_EQ(facts->uid, static_cast<int>(::getuid()));
  EXPECT_EQ(facts->start_time, this_incarnation()->start_time);
  EXPECT_THAT(facts->command_line, HasSubstr("process_test"));
  EXPECT_TRUE(facts->cgroup.empty() || facts->cgroup.starts_with('/')) << facts->cgroup;
}

TEST(Facts, HostileArgumentsAreTamedAndBounded) {
  const test::Pipe input;
  const test::Pipe output;
  const std::string huge(100'000, 'y');
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(input.read.get(), 0);
    ::dup2(output.write.get(), 1);
    ::execl("/bin/sh", "sh", "-c", "echo x; read z", "\x1b[31mred\xff\n", huge.c_str(), nullptr);
    ::_exit(1);
  }
  ASSERT_TRUE(output.wait());  // it runs, under its new arguments
  const auto facts = facts_of(pid);
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  ASSERT_TRUE(facts);
  EXPECT_THAT(facts->command_line, HasSubstr("\\x1b[31mred\\xff\\n yyy"));
  EXPECT_LE(facts->command_line.size(), 512U);
  EXPECT_EQ(facts->command_line.find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace talaria
