#include "lifecycle/takeover.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <csignal>

#include "base/time.h"
#include "net/http_client.h"
#include "process/announcement.h"
#include "process/small_file.h"
#include "process/wait_ended.h"
#include "service/supervision.h"

namespace talaria {
namespace {

constexpr int max_owners = 5;  // who takes the home from us that often wants it more
constexpr Millis short_pause{10};

// In a PID namespace below ours, where it has another PID than the one we see (proc(5), NSpid), so its record doesn't
// name it. It is its runtime's to end.
bool is_in_a_container(pid_t pid) {
  const auto status = read_small_file(fmt::format("/proc/{}/status", pid), 16 * 1024);
  if (!status) return false;
  const auto at = status->find("\nNSpid:\t");
  if (at == std::string::npos) return false;
  const auto line = status->substr(at + 8, status->find('\n', at + 1) - at - 8);
  return line.contains('\t');
}

// A process whose record can't be read: does a systemd have it as a service's main process?
HomeOwner owner_from_facts(const Incarnation& incarnation) {
  HomeOwner owner;
  owner.incarnation = incarnation;
  if (is_in_a_container(incarnation.pid)) {
    owner.scope = to_string(ManagerKind::container);
    return owner;
  }
  const auto facts = facts_of(incarnation.pid);
  if (!facts) return owner;
  const auto parent = facts_of(facts->parent);
  const std::string unit = unit_of_cgroup_path(facts->cgroup);
  if (!parent || parent->comm != "systemd" || unit.empty()) return owner;
  owner.unit = unit;
  owner.scope = is_below_user_manager(facts->cgroup) ? "user" : "system";
  return owner;
}

HomeOwner owner_from_record(const LockRecord& record) {
  return {.incarnation = record.incarnation,
          .unit = record.unit,
          .scope = record.scope == "none" ? std::string() : record.scope,
          .control_socket = record.control_socket,
          .since = record.since};
}

class Attempt {
 public:
  Attempt(TakeoverRequest request, Event& give_up, std::function<void(std::string)> say, asio::any_io_executor executor)
      : request_(std::move(request)), give_up_(give_up), say_(std::move(say)), client_(std::move(executor)) {}

  Task<Result<InstanceLock>> run() {
    for (int owners = 0; owners < max_owners; ++owners) {
      auto gone = co_await end_owner();
      if (!gone) co_return std::unexpected(gone.error());
      auto lock = InstanceLock::acquire(request_.state_directory);
      if (lock || lock.error().kind != ErrorKind::conflict) co_return lock;
    }
    co_return fail(ErrorKind::conflict, "the home was taken by others again and again while we tried to take it");
  }

 private:
  // Success: whoever owned the home does not any more.
  Task<Result<>> end_owner() {
    const Deadline patience = Deadline::in(request_.answer_time);
    for (;;) {
      if (give_up_.is_set()) co_return fail(ErrorKind::cancelled, "told to end while taking the home over");
      if (auto lock = InstanceLock::acquire(request_.state_directory); lock) co_return Result<>{};
      const HomeOwner owner = find_owner(request_.state_directory);
      if (owner.supervised()) co_return refuse(owner);
      if (owner.incarnation) {
        auto process = ProcessHandle::open(*owner.incarnation);
        if (process) co_return co_await end_process(owner, std::move(*process));
      }
      // It is about to go, or has just come and not written its record yet.
      if (patience.expired()) co_return fail(ErrorKind::conflict, nobody_to_ask());
      co_await give_up_.wait(Deadline::in(short_pause));
    }
  }

  Task<Result<>> end_process(HomeOwner owner, ProcessHandle process) {
    say_(fmt::format("asking {} to leave", describe(owner)));
    if (!owner.control_socket.empty()) request_.control_socket = owner.control_socket;
    auto leaves = co_await ask_to_leave(owner, process);
    if (!leaves && leaves.error().kind == ErrorKind::conflict) co_return leaves;
    if (leaves && co_await await_leaving(owner, process)) co_return Result<>{};
    if (process.ended()) co_return Result<>{};
    if (give_up_.is_set()) co_return fail(ErrorKind::cancelled, "told to end while taking the home over");
    co_return co_await force_out(owner, process);
  }

  // Success: it said that it leaves. conflict: it refused. Anything else: it did not answer.
  Task<Result<>> ask_to_leave(const HomeOwner& owner, const ProcessHandle& process) {
    const Deadline deadline = Deadline::in(request_.answer_time);
    for (;;) {
      auto answer = co_await call("POST", "/control/leave",
                                  {{"by", request_.by}, {"target", to_string(*owner.incarnation)}}, deadline);
      if (answer && answer->status / 100 == 2) co_return Result<>{};
      if (answer && answer->status == 409) co_return refuse(owner);
      if (process.ended()) co_return Result<>{};
      // Between taking the lock and opening its socket an owner can't be asked yet.
      if (deadline.expired() || give_up_.is_set()) co_return fail(ErrorKind::timeout, "it does not answer");
      co_await give_up_.wait(Deadline::in(short_pause).earlier(deadline));
    }
  }

  // It drains, however long that may take, as long as it says so. False: it fell silent.
  Task<bool> await_leaving(const HomeOwner& owner, const ProcessHandle& process) {
    bool told = false;
    while (!co_await wait_ended(process, Deadline::in(request_.answer_time))) {
      if (give_up_.is_set()) co_return false;
      auto answer = co_await call("GET", "/control/status", {}, Deadline::in(request_.answer_time));
      if (!answer && !process.ended()) co_return false;
      if (!std::exchange(told, true)) say_(fmt::format("{} finishes its turns; waiting for it", describe(owner)));
    }
    co_return true;
  }

  Task<Result<>> force_out(const HomeOwner& owner, const ProcessHandle& process) {
    say_(fmt::format("{} does not answer; ending it", describe(owner)));
    // Should it get as far as reading signals, it finds why.
    (void)leave_announcement(request_.runtime_directory, {*owner.incarnation, request_.by, boottime_now_ms()});
    // SIGCONT: a stopped process sees its SIGTERM then.
    for (const int signal : {SIGTERM, SIGCONT}) {
      if (auto sent = process.signal(signal); !sent && sent.error().kind == ErrorKind::permission)
        co_return fail(ErrorKind::permission, fmt::format("{} belongs to another user, who can end it; or try again "
                                                          "with sudo",
                                                          describe(owner)));
    }
    if (co_await wait_ended(process, Deadline::in(request_.term_time))) co_return Result<>{};
    say_(fmt::format("{} ignores SIGTERM; sending SIGKILL", describe(owner)));
    (void)process.signal(SIGKILL);
    if (co_await wait_ended(process, Deadline::in(request_.kill_time))) co_return Result<>{};
    co_return fail(ErrorKind::timeout, fmt::format("{} could not be ended: it waits inside the kernel, most likely for "
                                                   "a disk (`cat /proc/{}/stack` tells)",
                                                   describe(owner), owner.incarnation->pid));
  }

  Task<std::expected<HttpResponse, HttpFailure>> call(std::string method, std::string target, boost::json::object body,
                                                      Deadline deadline) {
    HttpRequest request;
    request.method = std::move(method);
    request.target = std::move(target);
    request.headers.set("Host", "localhost");
    if (request.method != "GET") {
      request.headers.set("Content-Type", "application/json");
      request.body = boost::json::serialize(body);
    }
    HttpOrigin origin{.tls = false, .host = "localhost", .port = 80, .unix_path = request_.control_socket};
    co_return co_await client_.request(std::move(origin), std::move(request), deadline);
  }

  [[nodiscard]] std::unexpected<Error> refuse(const HomeOwner& owner) const {
    return fail(ErrorKind::conflict, fmt::format("profile \"{}\" is run by {}, and what a service manager runs is not "
                                                 "replaced by hand; {}",
                                                 request_.profile, describe(owner), advice(owner, request_.profile)));
  }

  [[nodiscard]] std::string nobody_to_ask() const {
    return fmt::format("{} is owned by a process that can't be seen from here (another container?); end it there",
                       request_.state_directory);
  }

  TakeoverRequest request_;
  Event& give_up_;
  std::function<void(std::string)> say_;
  HttpClient client_;
};

}  // namespace

HomeOwner find_owner(const std::string& state_directory) {
  const auto kernel = find_home_owner(state_directory);
  const auto question = ask_instance_lock(state_directory);
  const LockRecord* record = question && question->record ? &*question->record : nullptr;
  if (kernel) {
    if (record != nullptr && record->incarnation == *kernel) return owner_from_record(*record);
    return owner_from_facts(*kernel);
  }
  // The kernel names nobody that we may see; the record does if it is about a living process.
  if (record != nullptr && question->held && ProcessHandle::open(record->incarnation))
    return owner_from_record(*record);
  return {};
}

std::string describe(const HomeOwner& owner) {
  std::string text = owner.incarnation ? fmt::format("PID {}", owner.incarnation->pid) : "another process";
  if (!owner.unit.empty()) text += fmt::format(" ({} service {})", owner.scope, owner.unit);
  if (owner.since != 0) text += fmt::format(" since {}", format_rfc3339(owner.since));
  return text;
}

std::string advice(const HomeOwner& owner, std::string_view profile) {
  if (!owner.supervised()) {
    const std::string command =
        profile == "default" ? std::string("talaria gateway") : fmt::format("talaria -p {} gateway", profile);
    return fmt::format("`{0} run --replace` takes its place, `{0} stop` ends it, `{0} run --wait` waits for it",
                       command);
  }
  if (owner.scope == "system" || owner.scope == "user") {
    const char* option = owner.scope == "user" ? " --user" : "";
    return fmt::format("`systemctl{0} restart {1}` starts it anew, `systemctl{0} stop {1}` ends it", option,
                       owner.unit);
  }
  return commands_for(owner.scope, owner.unit);
}

Task<Result<InstanceLock>> take_over(TakeoverRequest request, Event& give_up, std::function<void(std::string)> say) {
  Attempt attempt(std::move(request), give_up, std::move(say), co_await asio::this_coro::executor);
  co_return co_await attempt.run();
}

}  // namespace talaria
