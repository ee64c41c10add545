#include "process/instance_lock.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <rapidcheck/gtest.h>
#include <spawn.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <atomic>
#include <functional>
#include <optional>
#include <thread>

#include "process/test_support.h"

namespace talaria {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr const char* boot_id = "6f1d2c3b-0a9e-4b5f-8c7d-1234567890ab";
constexpr uid_t nobody = 65534;

LockRecord example() {
  return {{4711, 987654, boot_id},
          "user",
          "talaria-gateway@default.service",
          "0.1.0",
          "/run/user/1000/talaria/control.sock",
          1'772'368'496'789};
}

TEST(LockRecord, RoundTrip) {
  const auto parsed = parse_lock_record(format_lock_record(example()));
  ASSERT_TRUE(parsed) << parsed.error().what;
  EXPECT_EQ(*parsed, example());
}

TEST(LockRecord, WhateverTheTextWhatIsWrittenCanBeRead) {
  rc::check([](const std::string& unit, const std::string& version, const std::string& socket) {
    LockRecord record = example();
    record.unit = unit;
    record.version = version;
    record.control_socket = socket;
    const auto once = parse_lock_record(format_lock_record(record));
    RC_ASSERT(once.has_value());
    const auto twice = parse_lock_record(format_lock_record(*once));
    RC_ASSERT(twice.has_value());
    RC_ASSERT(*twice == *once);
  });
  LockRecord record = example();
  record.unit = std::string(100'000, '"');
  record.version = std::string(100'000, '\\');
  record.control_socket = std::string(100'000, '\x01');
  const std::string text = format_lock_record(record);
  EXPECT_TRUE(parse_lock_record(text));
  EXPECT_LE(text.size(), 2048U) << "larger than what it is padded to";
}

TEST(LockRecord, EveryTruncationIsRefused) {
  const std::string text = format_lock_record(example());
  for (std::size_t length = 0; length + 1 < text.size(); ++length)
    EXPECT_FALSE(parse_lock_record(std::string_view(text).substr(0, length))) << length;
}

TEST(LockRecord, EveryFlippedBitIsRefusedOrStillARecord) {
  const std::string text = format_lock_record(example());
  for (std::size_t at = 0; at < text.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string broken = text;
      broken[at] = static_cast<char>(broken[at] ^ (1 << bit));
      const auto parsed = parse_lock_record(broken);
      if (parsed) EXPECT_TRUE(parse_lock_record(format_lock_record(*parsed)));
    }
  }
}

RC_GTEST_PROP(LockRecord, NoBytesHarm, (const std::string& bytes)) { (void)parse_lock_record(bytes); }

TEST(LockRecord, IsStrict) {
  const std::string good = format_lock_record(example());
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const auto at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  };
  const std::string deep = "{\"pid\":" + std::string(10'000, '[') + std::string(10'000, ']') + "}";
  for (const std::string& text : {std::string(),
                                  std::string("\n"),
                                  std::string("4711\n"),
                                  std::string("[]"),
                                  std::string("null"),
                                  std::string("{}"),
                                  deep,
                                  good + "x",
                                  good + good,
                                  with("4711", "0"),
                                  with("4711", "-4711"),
                                  with("4711", "2147483648"),
                                  with("4711", "4711.0"),
                                  with("4711", "\"4711\""),
                                  with("4711", "1e3"),
                                  with("987654", "-1"),
                                  with("987654", "18446744073709551616"),
                                  with("\"user\"", "\"root\""),
                                  with("\"user\"", "null"),
                                  with("0.1.0", "0.1.0\\u001b[31m"),
                                  with("0.1.0", "\xff"),
                                  with("0.1.0", std::string(200, '1')),
                                  with(boot_id, "0"),
                                  with("1772368496789", "-1"),
                                  with("\"since\"", "\"sinse\""),
                                  std::string(20 * 1024, ' ') + good}) {
    const auto parsed = parse_lock_record(text);
    ASSERT_FALSE(parsed) << text.substr(0, 300);
    EXPECT_EQ(parsed.error().kind, ErrorKind::invalid);
    EXPECT_EQ(parsed.error().what.find('\x1b'), std::string::npos);
  }
  EXPECT_TRUE(parse_lock_record(with("{", "{\"of_a_later_version\":[1,2],")));
}

void expect_example_in(const std::string& path) {
  const std::string text = test::get(path);
  const auto record = parse_lock_record(text);
  ASSERT_TRUE(record) << record.error().what;
  EXPECT_EQ(*record, example());
  EXPECT_TRUE(text.ends_with('\n'));
  EXPECT_EQ(std::ranges::count(text, '\n'), 1) << "one line for people";
}

TEST(InstanceLock, OneOwnerAndAQuestionTellsWho) {
  const test::TemporaryDirectory home;
  auto question = ask_instance_lock(home.path());
  ASSERT_TRUE(question);
  EXPECT_FALSE(question->held);
  EXPECT_FALSE(std::filesystem::exists(home.file("gateway.lock"))) << "a question must not create the file";

  {
    auto lock = InstanceLock::acquire(home.path());
    ASSERT_TRUE(lock) << lock.error().what;
    EXPECT_EQ(std::filesystem::status(home.file("gateway.lock")).permissions(), std::filesystem::perms(0600));
    ASSERT_TRUE(lock->write(example()));
    expect_example_in(home.file("gateway.lock"));

    const auto second = InstanceLock::acquire(home.path());
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().kind, ErrorKind::conflict);
    EXPECT_THAT(second.error().what, AllOf(HasSubstr("4711"), HasSubstr("talaria-gateway@default.service"),
                                           HasSubstr(home.file("gateway.lock"))));
    question = ask_instance_lock(home.path());
    ASSERT_TRUE(question);
    EXPECT_TRUE(question->held);
    EXPECT_EQ(question->record, example());
    EXPECT_EQ(question->problem, "");
  }
  question = ask_instance_lock(home.path());
  ASSERT_TRUE(question);
  EXPECT_FALSE(question->held);
  EXPECT_EQ(question->record, example()) << "what the last owner left";
  EXPECT_TRUE(InstanceLock::acquire(home.path()));
}

TEST(InstanceLock, AMovedLockIsHeldOnce) {
  const test::TemporaryDirectory home;
  auto first = InstanceLock::acquire(home.path());
  ASSERT_TRUE(first);
  {
    const InstanceLock moved = std::move(*first);
    EXPECT_TRUE(moved.path_is_ours());
    EXPECT_FALSE(InstanceLock::acquire(home.path()));
  }
  EXPECT_TRUE(InstanceLock::acquire(home.path()));
}

TEST(InstanceLock, OfTwentyStartsOneOwns) {
  const test::TemporaryDirectory home;
  const test::Pipe go;
  const test::Pipe over;
  const test::Pipe results;
  std::vector<pid_t> starters;
  for (int i = 0; i < 20; ++i) {
    const pid_t pid = ::fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      // Our copies of the write ends must not keep the parent's signal back.
      ::close(go.write.get());
      ::close(over.write.get());
      (void)go.wait();
      const auto lock = InstanceLock::acquire(home.path());
      const char result = lock ? 'o' : lock.error().kind == ErrorKind::conflict ? 'c' : 'e';
      if (::write(results.write.get(), &result, 1) != 1) ::_exit(2);
      (void)over.wait();
      ::_exit(0);
    }
    starters.push_back(pid);
  }
  const_cast<test::Pipe&>(go).write.reset();  // all at once
  std::string seen;
  for (int i = 0; i < 20; ++i) {
    char result = 0;
    ASSERT_EQ(::read(results.read.get(), &result, 1), 1);
    seen += result;
  }
  const_cast<test::Pipe&>(over).write.reset();
  for (const pid_t pid : starters) {
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(std::ranges::count(seen, 'o'), 1) << seen;
  EXPECT_EQ(std::ranges::count(seen, 'c'), 19) << seen;
}

TEST(InstanceLock, AQuestionNeverMakesAStartFail) {
  const test::TemporaryDirectory home;
  std::atomic<bool> stop = false;
  std::atomic<int> asked = 0;
  std::atomic<int> bad = 0;
  std::thread asker([&] {
    while (!stop) {
      if (!ask_instance_lock(home.path())) ++bad;
      ++asked;
    }
  });
  for (int i = 0; i < 1000; ++i) {
    const auto lock = InstanceLock::acquire(home.path());
    EXPECT_TRUE(lock) << i << ": " << lock.error().what;
  }
  while (asked < 100) std::this_thread::yield();
  stop = true;
  asker.join();
  EXPECT_EQ(bad, 0);
}

TEST(InstanceLock, AReaderNeverSeesHalfARecord) {
  const test::TemporaryDirectory home;
  auto lock = InstanceLock::acquire(home.path());
  ASSERT_TRUE(lock);
  LockRecord small = example();
  LockRecord large = example();
  large.control_socket = std::string(250, 's');
  ASSERT_TRUE(lock->write(large));
  // The reason why it works; the rest of this test would need luck to find out without it.
  const auto size = std::filesystem::file_size(home.file("gateway.lock"));
  ASSERT_TRUE(lock->write(small));
  EXPECT_EQ(std::filesystem::file_size(home.file("gateway.lock")), size);
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    for (int i = 0; !stop; ++i) EXPECT_TRUE(lock->write(i % 2 == 0 ? small : large));
  });
  for (int i = 0; i < 2000; ++i) {
    const auto question = ask_instance_lock(home.path());
    ASSERT_TRUE(question);
    EXPECT_TRUE(question->held);
    EXPECT_EQ(question->problem, "");
  }
  stop = true;
  writer.join();
}

TEST(InstanceLock, DiesWithItsOwnerEvenUnreaped) {
  const test::TemporaryDirectory home;
  test::Forked owner([&](const auto& ready) {
    const auto lock = InstanceLock::acquire(home.path());
    if (!lock) return 1;
    ready();
    return test::hang();
  });
  ASSERT_TRUE(owner.ready());
  EXPECT_EQ(InstanceLock::acquire(home.path()).error().kind, ErrorKind::conflict);
  owner.kill(SIGKILL);
  owner.wait_dead();  // a zombie from here on
  const auto lock = InstanceLock::acquire(home.path());
  EXPECT_TRUE(lock) << lock.error().what;
}

TEST(InstanceLock, AFrozenOwnerStillOwns) {
  const test::TemporaryDirectory home;
  const test::Forked owner([&](const auto& ready) {
    const auto lock = InstanceLock::acquire(home.path());
    if (!lock) return 1;
    ready();
    return test::hang();
  });
  ASSERT_TRUE(owner.ready());
  owner.kill(SIGSTOP);
  EXPECT_EQ(InstanceLock::acquire(home.path()).error().kind, ErrorKind::conflict);
  EXPECT_TRUE(ask_instance_lock(home.path())->held);
}

TEST(InstanceLock, ProgramsThatTheOwnerStartedDontInheritIt) {
  const test::TemporaryDirectory home;
  pid_t child = -1;
  {
    const auto lock = InstanceLock::acquire(home.path());
    ASSERT_TRUE(lock);
    char name[] = "sleep";
    char time[] = "1000";
    char* arguments[] = {name, time, nullptr};
    ASSERT_EQ(::posix_spawnp(&child, "sleep", nullptr, nullptr, arguments, environ), 0);
  }
  // execve(2) wakes the parent of a vfork a moment before it closes what is close-on-exec.
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  auto next = InstanceLock::acquire(home.path());
  while (!next && std::chrono::steady_clock::now() < patience) next = InstanceLock::acquire(home.path());
  EXPECT_TRUE(next);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
}

TEST(InstanceLock, ADeletedFileMakesNoSecondOwnerAndIsRestored) {
  const test::TemporaryDirectory home;
  auto first = InstanceLock::acquire(home.path());
  ASSERT_TRUE(first);
  ASSERT_TRUE(first->write(example()));
  for (const bool recreated : {false, true}) {
    std::filesystem::remove(home.file("gateway.lock"));
    if (recreated) test::put(home.file("gateway.lock"), "not ours");
    EXPECT_FALSE(first->path_is_ours());
    const auto second = InstanceLock::acquire(home.path());
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().kind, ErrorKind::conflict);
    const auto restored = first->restore();
    ASSERT_TRUE(restored) << restored.error().what;
    EXPECT_TRUE(first->path_is_ours());
    const auto question = ask_instance_lock(home.path());
    ASSERT_TRUE(question);
    EXPECT_TRUE(question->held);
    EXPECT_EQ(question->record, example());
  }
}

TEST(InstanceLock, AHomeThatIsGoneCannotBeRestored) {
  const test::TemporaryDirectory outer;
  const std::string home = outer.file("home");
  std::filesystem::create_directory(home);
  auto lock = InstanceLock::acquire(home);
  ASSERT_TRUE(lock);
  std::filesystem::remove_all(home);
  EXPECT_EQ(lock->restore().error().kind, ErrorKind::not_found);
  std::filesystem::create_directory(home);
  EXPECT_FALSE(lock->path_is_ours());
  EXPECT_EQ(lock->restore().error().kind, ErrorKind::not_found) << "the new one is another home";
  EXPECT_TRUE(InstanceLock::acquire(home)) << "and free";
}

// Locks the file alone, as a program without the directory's lock would.
UniqueFd lock_file_only(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  struct flock lock{};
  lock.l_type = F_WRLCK;
  if (!fd || ::fcntl(fd.get(), F_OFD_SETLK, &lock) != 0) std::abort();
  return fd;
}

TEST(InstanceLock, WhoeverLocksTheFileAloneOwnsIt) {
  const test::TemporaryDirectory home;
  {
    const UniqueFd stranger = lock_file_only(home.file("gateway.lock"));
    EXPECT_EQ(InstanceLock::acquire(home.path()).error().kind, ErrorKind::conflict);
  }
  EXPECT_TRUE(InstanceLock::acquire(home.path()));
}

TEST(InstanceLock, TheKernelSaysWhoOwnsAHomeWhateverTheFileSays) {
  const test::TemporaryDirectory home;
  EXPECT_EQ(find_home_owner(home.path()).error().kind, ErrorKind::not_found);
  test::Forked owner([&](const auto& ready) {
    auto lock = InstanceLock::acquire(home.path());
    if (!lock || !lock->write(example())) return 1;
    ready();
    return test::hang();
  });
  ASSERT_TRUE(owner.ready());
  const auto found = find_home_owner(home.path());
  ASSERT_TRUE(found) << found.error().what;
  EXPECT_EQ(*found, *incarnation_of(owner.pid()));
}

TEST(InstanceLock, LinesOfProcLocks) {
  const std::string text =
      "1: OFDLCK ADVISORY  WRITE -1 00:1f:77 0 EOF\n"
      "2: FLOCK  ADVISORY  WRITE 12 00:1f:7 0 EOF\n"
      "3: FLOCK  ADVISORY  READ  13 00:1f:77 0 EOF\n"
      "4: FLOCK  ADVISORY  WRITE 4711 00:1f:77 0 EOF\n"
      "4: -> FLOCK  ADVISORY  WRITE 99 00:1f:77 0 EOF\n"
      "5: FLOCK  ADVISORY  WRITE 0 fd:01:88 0 EOF\n"
      "6: -> FLOCK  ADVISORY  WRITE 98 00:1f:78 0 EOF";
  EXPECT_EQ(parse_proc_locks(text, 0, 0x1f, 77), 4711);
  EXPECT_EQ(parse_proc_locks(text, 0, 0x1f, 7), 12);
  EXPECT_EQ(parse_proc_locks(text, 0xfd, 1, 88), std::nullopt) << "of another PID namespace";
  EXPECT_EQ(parse_proc_locks(text, 0, 0x1f, 78), std::nullopt) << "it only waits";
  EXPECT_EQ(parse_proc_locks("", 0, 0, 0), std::nullopt);
}
RC_GTEST_PROP(InstanceLock, NoProcLocksHarm, (const std::string& bytes)) { (void)parse_proc_locks(bytes, 0, 0, 0); }

TEST(InstanceLock, WhatAnExecutedProgramInheritsIsHeldAllTheTime) {
  const test::TemporaryDirectory home;
  auto lock = InstanceLock::acquire(home.path());
  ASSERT_TRUE(lock);
  // As after execve(2): the same open files under other numbers.
  auto adopted = InstanceLock::adopt(home.path(), UniqueFd(::dup(lock->fd())), UniqueFd(::dup(lock->home_fd())));
  ASSERT_TRUE(adopted) << adopted.error().what;
  {
    const auto gone = std::move(*lock);
  }
  EXPECT_TRUE(adopted->path_is_ours());
  EXPECT_EQ(InstanceLock::acquire(home.path()).error().kind, ErrorKind::conflict);
  EXPECT_EQ(::fcntl(adopted->fd(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(::fcntl(adopted->home_fd(), F_GETFD), FD_CLOEXEC);

  const UniqueFd other(::open(home.file("gateway.lock").c_str(), O_RDWR | O_CLOEXEC));
  EXPECT_EQ(InstanceLock::adopt(home.path(), UniqueFd(::dup(other.get())), {}).error().kind, ErrorKind::conflict);
}

// Runs `body` in a child and calls `meanwhile` once, when the child is about to try its first lock: between open and
// lock.
int run_with_pause_before_lock(const std::function<int()>& body, const std::function<void()>& meanwhile) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    ::raise(SIGSTOP);
    ::_exit(body());
  }
  int status = 0;
  if (::waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status)) return -1;
  ::ptrace(PTRACE_SETOPTIONS, pid, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
  bool done = false;
  while (::ptrace(PTRACE_SYSCALL, pid, nullptr, nullptr) == 0 && ::waitpid(pid, &status, 0) == pid &&
         WIFSTOPPED(status)) {
    struct __ptrace_syscall_info call{};
    ::ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof call, &call);
    if (done || call.op != PTRACE_SYSCALL_INFO_ENTRY || call.entry.nr != SYS_fcntl || call.entry.args[1] != F_OFD_SETLK)
      continue;
    meanwhile();
    done = true;
  }
  return done && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(InstanceLock, AFileReplacedBetweenOpenAndLockDoesNotCount) {
  const test::TemporaryDirectory home;
  const auto acquires_what_counts = [&] {
    const auto lock = InstanceLock::acquire(home.path());
    if (!lock) return lock.error().kind == ErrorKind::conflict ? 2 : 3;
    return lock->path_is_ours() ? 0 : 1;
  };
  EXPECT_EQ(
      run_with_pause_before_lock(acquires_what_counts, [&] { std::filesystem::remove(home.file("gateway.lock")); }), 0);

  // The old file is still locked by somebody: that is no conflict either.
  UniqueFd old;
  const auto lock_and_remove = [&] {
    old = lock_file_only(home.file("gateway.lock"));
    std::filesystem::remove(home.file("gateway.lock"));
  };
  EXPECT_EQ(run_with_pause_before_lock(acquires_what_counts, lock_and_remove), 0);

  // The new one is: whoever came second has lost.
  const auto replace_and_lock = [&] {
    std::filesystem::remove(home.file("gateway.lock"));
    old = lock_file_only(home.file("gateway.lock"));
  };
  EXPECT_EQ(run_with_pause_before_lock(acquires_what_counts, replace_and_lock), 2);
}

TEST(InstanceLock, WhileTheFileIsReplacedTheOwnerHoldsTheFileThatCounts) {
  const test::TemporaryDirectory home;
  std::atomic<bool> stop = false;
  std::atomic<int> replaced = 0;
  std::thread vandal([&] {
    while (!stop) {
      test::put(home.file("new"), "");
      std::filesystem::rename(home.file("new"), home.file("gateway.lock"));
      ++replaced;
    }
  });
  while (replaced == 0) std::this_thread::yield();
  int owned = 0;
  for (int i = 0; i < 500; ++i) {
    const auto lock = InstanceLock::acquire(home.path());
    if (lock)
      ++owned;
    else
      EXPECT_EQ(lock.error().kind, ErrorKind::unavailable) << lock.error().what;
  }
  stop = true;
  vandal.join();
  const auto lock = InstanceLock::acquire(home.path());
  ASSERT_TRUE(lock) << owned;
  EXPECT_TRUE(lock->path_is_ours());
}

TEST(InstanceLock, WhateverStandsInTheFileItCanBeLockedAndWritten) {
  const std::string whole = format_lock_record(example());
  std::vector<std::string> contents = {"",
                                       "\n",
                                       "4711\n",
                                       "\177ELF\002\001",
                                       std::string(1000, '\0'),
                                       std::string(100'000, 'x'),
                                       "{\"pid\":1}",
                                       whole + whole};
  for (std::size_t length = 0; length + 1 < whole.size(); ++length) contents.push_back(whole.substr(0, length));
  for (const auto& text : contents) {
    const test::TemporaryDirectory home;
    test::put(home.file("gateway.lock"), text);
    const auto question = ask_instance_lock(home.path());
    ASSERT_TRUE(question);
    EXPECT_FALSE(question->held);
    EXPECT_FALSE(question->record);
    EXPECT_THAT(question->problem, HasSubstr(home.file("gateway.lock")));
    auto lock = InstanceLock::acquire(home.path());
    ASSERT_TRUE(lock);
    EXPECT_EQ(test::get(home.file("gateway.lock")), text) << "locking changes nothing";
    ASSERT_TRUE(lock->write(example()));
    expect_example_in(home.file("gateway.lock"));
  }
}

TEST(InstanceLock, AHugeFileIsNotReadWhole) {
  const test::TemporaryDirectory home;
  test::put(home.file("gateway.lock"), "");
  ASSERT_EQ(::truncate(home.file("gateway.lock").c_str(), off_t{1} << 40), 0);
  const auto question = ask_instance_lock(home.path());
  ASSERT_TRUE(question);
  EXPECT_THAT(question->problem, HasSubstr("longer than"));
  auto lock = InstanceLock::acquire(home.path());
  ASSERT_TRUE(lock);
  ASSERT_TRUE(lock->write(example()));
  expect_example_in(home.file("gateway.lock"));
}

TEST(InstanceLock, ARecordThatCouldNotBeReadIsNotWritten) {
  const test::TemporaryDirectory home;
  auto lock = InstanceLock::acquire(home.path());
  ASSERT_TRUE(lock);
  LockRecord record = example();
  record.scope = "galactic";
  EXPECT_EQ(lock->write(record).error().kind, ErrorKind::invalid);
  record = example();
  record.incarnation.pid = 0;
  EXPECT_FALSE(lock->write(record));
  EXPECT_EQ(test::get(home.file("gateway.lock")), "");
}

// Everything that is no regular file is refused in words, at once, and left as it is.
TEST(InstanceLock, RefusesWhatIsNoRegularFile) {
  const auto refused = [](const test::TemporaryDirectory& home, const std::string& word) {
    const auto lock = InstanceLock::acquire(home.path());
    ASSERT_FALSE(lock) << word;
    EXPECT_EQ(lock.error().kind, ErrorKind::invalid);
    EXPECT_THAT(lock.error().what,
                AllOf(HasSubstr(home.file("gateway.lock")), HasSubstr(word), HasSubstr("move it away")));
    const auto question = ask_instance_lock(home.path());
    ASSERT_FALSE(question) << word;
    EXPECT_THAT(question.error().what, HasSubstr(word));
  };
  {
    const test::TemporaryDirectory home;
    test::put(home.file("precious"), "precious");
    std::filesystem::create_symlink(home.file("precious"), home.file("gateway.lock"));
    refused(home, "symbolic link");
    EXPECT_EQ(test::get(home.file("precious")), "precious");
  }
  {
    const test::TemporaryDirectory home;
    std::filesystem::create_symlink(home.file("nowhere"), home.file("gateway.lock"));
    refused(home, "symbolic link");
    EXPECT_FALSE(std::filesystem::exists(home.file("nowhere")));
  }
  {
    const test::TemporaryDirectory home;
    std::filesystem::create_directory(home.file("gateway.lock"));
    refused(home, "directory");
  }
  {
    const test::TemporaryDirectory home;
    ASSERT_EQ(::mkfifo(home.file("gateway.lock").c_str(), 0600), 0);
    refused(home, "FIFO");
  }
  {
    const test::TemporaryDirectory home;
    const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    home.file("gateway.lock").copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    refused(home, "socket");
  }
}

TEST(InstanceLock, MissingHome) {
  const test::TemporaryDirectory home;
  const auto lock = InstanceLock::acquire(home.file("missing"));
  ASSERT_FALSE(lock);
  EXPECT_EQ(lock.error().kind, ErrorKind::not_found);
  EXPECT_THAT(lock.error().what, HasSubstr(home.file("missing")));
  const auto question = ask_instance_lock(home.file("missing"));
  ASSERT_TRUE(question);
  EXPECT_FALSE(question->held);
}

TEST(InstanceLock, NoDescriptorsLeft) {
  const test::TemporaryDirectory home;
  test::Forked process([&](const auto&) {
    const rlimit none{3, 3};
    ::setrlimit(RLIMIT_NOFILE, &none);
    return InstanceLock::acquire(home.path()).error().kind == ErrorKind::unavailable ? 0 : 1;
  });
  EXPECT_EQ(process.reap(), 0);
}

TEST(InstanceLock, APermissionProblemNamesPathAndRemedy) {
  TALARIA_NEEDS_ROOT();
  const test::TemporaryDirectory home;
  ASSERT_EQ(::chown(home.path().c_str(), nobody, nobody), 0);
  test::put(home.file("gateway.lock"), "");
  ASSERT_EQ(::chmod(home.file("gateway.lock").c_str(), 0600), 0);  // root's
  test::Forked process([&](const auto&) {
    if (!test::become_user(nobody)) return 1;
    const auto lock = InstanceLock::acquire(home.path());
    if (lock || lock.error().kind != ErrorKind::permission) return 2;
    if (!lock.error().what.contains("chmod 600 " + home.file("gateway.lock"))) return 3;
    const auto question = ask_instance_lock(home.path());
    return !question && question.error().kind == ErrorKind::permission ? 0 : 4;
  });
  EXPECT_EQ(process.reap(), 0);
}

TEST(InstanceLock, AFileOfOurOwnThatNobodyMayOpenIsRepaired) {
  TALARIA_NEEDS_ROOT();
  const test::TemporaryDirectory home;
  ASSERT_EQ(::chown(home.path().c_str(), nobody, nobody), 0);
  test::put(home.file("gateway.lock"), "");
  ASSERT_EQ(::chown(home.file("gateway.lock").c_str(), nobody, nobody), 0);
  ASSERT_EQ(::chmod(home.file("gateway.lock").c_str(), 0), 0);
  test::Forked process([&](const auto&) {
    if (!test::become_user(nobody)) return 1;
    return InstanceLock::acquire(home.path()) ? 0 : 2;
  });
  EXPECT_EQ(process.reap(), 0);
  EXPECT_EQ(std::filesystem::status(home.file("gateway.lock")).permissions(), std::filesystem::perms(0600));
}

TEST(InstanceLock, WhatRootLocksTheUserCanLockLater) {
  TALARIA_NEEDS_ROOT();
  const test::TemporaryDirectory home;
  ASSERT_EQ(::chown(home.path().c_str(), nobody, nobody), 0);
  ASSERT_TRUE(InstanceLock::acquire(home.path()));
  test::Forked user([&](const auto&) {
    if (!test::become_user(nobody)) return 1;
    return InstanceLock::acquire(home.path()) ? 0 : 2;
  });
  EXPECT_EQ(user.reap(), 0);
}

TEST(InstanceLock, LeaksNoDescriptor) {
  const test::TemporaryDirectory home;
  const auto before = test::open_descriptors();
  for (int i = 0; i < 50; ++i) {
    const auto lock = InstanceLock::acquire(home.path());
    EXPECT_FALSE(InstanceLock::acquire(home.path()));
    (void)ask_instance_lock(home.path());
  }
  EXPECT_EQ(test::open_descriptors(), before);
}

}  // namespace
}  // namespace talaria
