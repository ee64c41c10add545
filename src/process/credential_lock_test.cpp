#include "process/credential_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <fstream>

#include "runtime/task_group.h"

namespace talaria {
namespace {

using testing::HasSubstr;

// Nobody else's tests on this machine use this account.
Credential credential(const std::string& what) { return {"irc", what + "." + std::to_string(::getpid())}; }

Result<CredentialHolder> ask(const Credential& credential,
                             Task<> (*beside)(const CredentialLock&, TaskGroup&) = nullptr,
                             const CredentialLock* lock = nullptr) {
  asio::io_context loop(1);
  TaskGroup group(loop.get_executor());
  std::optional<Result<CredentialHolder>> found;
  if (beside != nullptr) asio::co_spawn(loop, beside(*lock, group), [](std::exception_ptr) {});
  asio::co_spawn(loop, ask_credential_holder(credential, Deadline::in(Millis{300})),
                 [&](std::exception_ptr, Result<CredentialHolder> holder) {
                   found.emplace(std::move(holder));
                   group.cancel();
                 });
  loop.run_for(std::chrono::seconds(5));
  return found.value_or(fail(ErrorKind::timeout, "the question hangs"));
}

// Runs `story` in a process of its own, which then waits to be killed.
pid_t in_child(const std::function<bool()>& story) {
  std::array<int, 2> ready{};
  EXPECT_EQ(::pipe2(ready.data(), O_CLOEXEC), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    const char done = story() ? 'y' : 'n';
    (void)!::write(ready[1], &done, 1);
    for (;;) ::pause();
  }
  char done = 0;
  EXPECT_EQ(::read(ready[0], &done, 1), 1);
  EXPECT_EQ(done, 'y');
  ::close(ready[0]);
  ::close(ready[1]);
  return pid;
}

void end(pid_t pid) {
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

TEST(CredentialLock, OneOwnerPerAccountAndPlatform) {
  const Credential account = credential("one");
  {
    auto mine = CredentialLock::acquire(account);
    ASSERT_TRUE(mine) << mine.error().what;
    const auto second = CredentialLock::acquire(account);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().kind, ErrorKind::conflict);
    EXPECT_TRUE(CredentialLock::acquire({"telegram", account.account}));
    EXPECT_TRUE(CredentialLock::acquire({"irc", account.account + "2"}));
  }
  EXPECT_TRUE(CredentialLock::acquire(account)) << "it outlives its owner";
  EXPECT_EQ(ask(account).error().kind, ErrorKind::not_found);
}

TEST(CredentialLock, DifferentPairsNeverMeet) {
  auto mine = CredentialLock::acquire(credential("a b"));
  Credential shifted = credential("a b");
  shifted.platform += " ";
  EXPECT_TRUE(mine);
  EXPECT_TRUE(CredentialLock::acquire(shifted));
}

TEST(CredentialLock, AKilledOwnerLeavesNothing) {
  const Credential account = credential("killed");
  const pid_t owner = in_child([&] {
    static auto lock = CredentialLock::acquire(account);
    return lock.has_value();
  });
  EXPECT_FALSE(CredentialLock::acquire(account));
  end(owner);
  EXPECT_TRUE(CredentialLock::acquire(account));
}

TEST(CredentialLock, AnOwnerThatSaysNothingIsNamedByItsPidAndCommand) {
  const Credential account = credential("silent");
  const pid_t owner = in_child([&] {
    static auto lock = CredentialLock::acquire(account);
    return lock.has_value();
  });
  const auto holder = ask(account);
  ASSERT_TRUE(holder) << holder.error().what;
  EXPECT_EQ(holder->pid, owner);
  EXPECT_THAT(describe(*holder), HasSubstr("process_test"));
  end(owner);
}

TEST(CredentialLock, TheOwnerSaysWhoItIs) {
  const Credential account = credential("talking");
  const auto lock = CredentialLock::acquire(account);
  ASSERT_TRUE(lock);
  const auto holder = ask(
      account,
      [](const CredentialLock& held, TaskGroup& group) -> Task<> {
        group.spawn("answer", held.answer({0, "work", "user", "talaria-gateway@work.service", "libera"}));
        co_return;
      },
      &*lock);
  ASSERT_TRUE(holder) << holder.error().what;
  EXPECT_EQ(describe(*holder), fmt::format("PID {}, profile work, user service talaria-gateway@work.service, channel "
                                           "libera",
                                           ::getpid()));
}

TEST(CredentialLock, TheNameGivesNothingAway) {
  const auto lock = CredentialLock::acquire(credential("irc.example:6697 alice"));
  std::ifstream names("/proc/net/unix");
  const std::string text{std::istreambuf_iterator<char>(names), {}};
  EXPECT_THAT(text, HasSubstr("@talaria/credential/"));
  EXPECT_THAT(text, testing::Not(HasSubstr("alice")));
}

TEST(CredentialHolder, AHostileAnswerIsNoAnswer) {
  for (const char* text : {"", "{}", "[]", R"({"profile":1,"scope":"","unit":"","channel":""})",
                           R"({"profile":"\u001b[2J","scope":"","unit":"","channel":""})"})
    EXPECT_FALSE(parse_credential_holder(text)) << text;
  const CredentialHolder holder{0, "grün \"work\"\n", "system", "u", "c"};
  const auto again = parse_credential_holder(format_credential_holder(holder));
  ASSERT_TRUE(again) << again.error().what;
  EXPECT_THAT(again->profile, HasSubstr("grün \"work\""));
}

}  // namespace
}  // namespace talaria
