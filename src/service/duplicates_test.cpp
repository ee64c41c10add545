#include "service/duplicates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "service/fake_manager_test_support.h"

namespace talaria {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::TemporaryDirectory;

void write(const std::string& path, const std::string& text) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path) << text;
}

TEST(GatewayUnits, AreFoundByWhatTheyExecuteNotByTheirNames) {
  const TemporaryDirectory dir;
  write(dir / "etc/bot.service", "[Service]\nExecStart=/usr/bin/env A=1 talaria gateway run --replace\n");
  write(dir / "etc/talaria-gateway@.service", "[Service]\nExecStart=/usr/local/bin/talaria -p %i gateway run\n");
  write(dir / "etc/nginx.service", "[Service]\nExecStart=/usr/sbin/nginx\n");
  write(dir / "run/other.service.d/10-mine.conf", "[Service]\nExecStart=\nExecStart=/opt/talaria gateway run\n");
  write(dir / "etc/notes.txt", "ExecStart=talaria gateway run\n");
  EXPECT_THAT(gateway_units_in({dir / "etc", dir / "run", dir / "missing"}),
              ElementsAre("bot.service", "other.service", "talaria-gateway@.service"));
}

TEST(GatewayUnits, InstancesAreThoseThatAreEnabled) {
  const TemporaryDirectory dir;
  write(dir / "etc/multi-user.target.wants/talaria-gateway@work.service", "");
  write(dir / "etc/my.target.requires/talaria-gateway@home.service", "");
  write(dir / "etc/multi-user.target.wants/getty@tty1.service", "");
  write(dir / "etc/somewhere/talaria-gateway@no.service", "");
  EXPECT_THAT(enabled_instances_in({dir / "etc"}, "talaria-gateway@.service"),
              ElementsAre("talaria-gateway@home.service", "talaria-gateway@work.service"));
}

// A process with the command line of a gateway: yes(1), which takes any words after "--" and blocks on a full pipe.
class Impostor {
 public:
  explicit Impostor(std::vector<std::string> words, const std::string& home = "") {
    words.insert(words.begin(), {"/opt/talaria", "--"});
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
    output_ = UniqueFd(ends[0]);
    const UniqueFd input(ends[1]);
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    std::string variable = "TALARIA_HOME=" + home;
    char* environment[] = {home.empty() ? nullptr : variable.data(), nullptr};
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(input.get(), STDOUT_FILENO);
      ::execve("/usr/bin/yes", argv.data(), environment);
      ::_exit(127);
    }
    char byte = 0;
    if (::read(output_.get(), &byte, 1) != 1) throw std::runtime_error("yes(1) did not run");
  }
  Impostor(const Impostor&) = delete;
  Impostor& operator=(const Impostor&) = delete;
  ~Impostor() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  [[nodiscard]] int pid() const { return pid_; }

 private:
  UniqueFd output_;
  pid_t pid_ = 0;
};

// PIDs of the duplicates that are ours: other gateways may run on this machine.
std::vector<int> found_of(const DuplicateQuestion& question, std::initializer_list<int> ours) {
  std::vector<int> pids;
  for (const auto& duplicate : find_duplicate_processes(question))
    if (std::ranges::find(ours, duplicate.pid) != ours.end()) pids.push_back(duplicate.pid);
  return pids;
}

TEST(GatewayProcesses, AreKnownByProfileAndHome) {
  const TemporaryDirectory dir;
  std::filesystem::create_directories(dir / "t/state");
  const Impostor same_profile({"-p", "dup-test", "gateway", "run"});
  const Impostor other_profile({"-p", "dup-other", "gateway", "run"});
  const Impostor same_home({"-p", "dup-other", "gateway", "run", "--replace"}, dir / "t");
  const Impostor no_gateway({"-p", "dup-test", "gateway", "status"});
  const std::initializer_list<int> all{same_profile.pid(), other_profile.pid(), same_home.pid(), no_gateway.pid()};

  DuplicateQuestion question;
  question.profile = "dup-test";
  question.state_directory = dir / "t/state";
  EXPECT_THAT(found_of(question, all), ::testing::UnorderedElementsAre(same_profile.pid(), same_home.pid()));
  question.explicit_home = true;
  EXPECT_THAT(found_of(question, all), ElementsAre(same_home.pid()));
  question.own_pid = same_home.pid();
  EXPECT_THAT(found_of(question, all), IsEmpty());
}

TEST(GatewayProcesses, AreNamedWithWhatWouldEndThem) {
  const TemporaryDirectory dir;
  std::filesystem::create_directories(dir / "t/state");
  const Impostor twin({"gateway", "run", "--replace"}, dir / "t");
  DuplicateQuestion question;
  question.profile = "x";
  question.state_directory = dir / "t/state";
  for (const auto& duplicate : find_duplicate_processes(question)) {
    if (duplicate.pid != twin.pid()) continue;
    EXPECT_TRUE(duplicate.same_home);
    EXPECT_TRUE(duplicate.replaces);
    EXPECT_EQ(duplicate.home, dir / "t/state");
    EXPECT_EQ(duplicate.remedy, "kill " + std::to_string(twin.pid()));
    return;
  }
  FAIL() << "not found";
}

}  // namespace
}  // namespace talaria
