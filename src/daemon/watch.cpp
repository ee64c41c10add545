#include "daemon/watch.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include <boost/asio/post.hpp>
#include <boost/json.hpp>

#include "base/alternate_stack.h"
#include "base/fd.h"
#include "lifecycle/crash_handler.h"
#include "net/http_client.h"
#include "runtime/event.h"
#include "runtime/log.h"

namespace talaria {
namespace json = boost::json;
namespace {

// Does the answer of a control socket come from this very process?
bool is_ours(const HttpResponse& response, const Incarnation& self) {
  if (response.status != 200) return true;  // it answers, and is only too busy to say more
  boost::system::error_code ec;
  const json::value value = json::parse(response.body, ec);
  const json::object* status = ec ? nullptr : value.if_object();
  if (status == nullptr) return false;
  const auto number = [status](const char* name) {
    const json::value* value = status->if_contains(name);
    boost::system::error_code no_number;
    return value == nullptr ? std::uint64_t{0} : value->to_number<std::uint64_t>(no_number);
  };
  return number("pid") == static_cast<std::uint64_t>(self.pid) && number("start_time") == self.start_time;
}

}  // namespace

Watch::Watch(asio::any_io_executor executor, Parts parts)
    : executor_(std::move(executor)),
      parts_(std::move(parts)),
      period_(watch_period(parts_.notifier->watchdog_interval())),
      thread_([this] { look_at_loop(); }) {
  pthread_setname_np(thread_.native_handle(), "watch");
}

Task<> Watch::run() {
  ProgressWatch watch(period_);
  parts_.notifier->watchdog();
  for (;;) {
    const Deadline next = Deadline::in(period_);
    WatchFacts facts;
    facts.control = co_await ask_control();
    if (const Store* store = parts_.store(); store != nullptr) {
      const Store::Progress p = store->progress();
      facts.store = StoreFacts{.steps = p.steps, .busy = p.busy, .waiting = p.waiting, .cpu = p.cpu};
    }
    facts.at = SteadyClock::now();
    const WatchFinding finding = watch.look(facts);
    tell(finding);
    if (finding.stuck.empty()) parts_.notifier->watchdog();
    co_await sleep_until(next);
  }
}

void Watch::tell(const WatchFinding& finding) {
  if (finding.slow != slow_) {
    // The words change with every look; the log hears the beginning and the end.
    if (slow_.empty()) log::warning("{}", finding.slow);
    if (finding.slow.empty()) log::info("the store's disk answers again");
    slow_ = finding.slow;
  }
  if (finding.stuck == stuck_) return;
  if (stuck_.empty()) {
    log::error("stuck: {}; what every thread does is in {}", finding.stuck, "crash.log");
    parts_.notifier->status("stuck: " + finding.stuck);
    write_stuck_record("stuck", finding.stuck);
  } else if (finding.stuck.empty()) {
    log::info("no longer stuck: {}", stuck_);
    parts_.notifier->status(parts_.status_detail());
  }
  note_crash_reason(finding.stuck);
  stuck_ = finding.stuck;
}

Task<ControlFact> Watch::ask_control() {
  if (!parts_.control_is_open()) co_return ControlFact::unknown;
  // Where descriptors have run out we can't ask, and a process that serves as many as it may is not stuck.
  if (!UniqueFd(::eventfd(0, EFD_CLOEXEC))) co_return ControlFact::unknown;
  HttpClient client(executor_);
  HttpRequest request;
  request.method = "GET";
  request.target = "/control/status";
  request.headers.set("Host", "localhost");
  auto response =
      co_await client.request({.tls = false, .host = "localhost", .port = 80, .unix_path = parts_.control_socket},
                              std::move(request), Deadline::in(period_ / 2));
  if (response && is_ours(*response, parts_.self)) co_return ControlFact::answered;
  if (!response && response.error().error.kind == ErrorKind::timeout) co_return ControlFact::silent;
  if (!response && response.error().sent) co_return ControlFact::silent;
  // Deleted, or another one's: made anew, it is ours with the next look.
  if (auto reopened = parts_.reopen_control(); reopened)
    log::warning("{} no longer led to this process; it does again", parts_.control_socket);
  co_return ControlFact::lost;
}

void Watch::look_at_loop() {
  const AlternateStack signal_stack;
  LoopWatch watch;
  bool told = false;
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, period_, [this] { return ending_; })) {
    const std::uint64_t answered = answered_->load();
    if (watch.look(asked_, answered)) {
      const std::string what = fmt::format("the event loop has stood still for more than {:.1f} s",
                                           std::chrono::duration<double>(period_).count());
      note_crash_reason(what);
      parts_.notifier->status("stuck: " + what);
      log::error("stuck: {}; what every thread does is in crash.log", what);
      write_stuck_record("stuck", what);
      told = true;
    } else if (told && !watch.stuck()) {
      note_crash_reason({});
      log::info("no longer stuck: the event loop moves again");
      asio::post(executor_, [this] { parts_.notifier->status(parts_.status_detail()); });  // it knows, we don't
      told = false;
    }
    if (answered == asked_) {
      ++asked_;
      asio::post(executor_, [count = answered_] { count->fetch_add(1); });
    }
  }
}

void Watch::end() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

std::vector<std::string> Watch::warnings() const {
  std::vector<std::string> found;
  if (!stuck_.empty()) found.push_back("stuck: " + stuck_);
  if (!slow_.empty()) found.push_back(slow_);
  return found;
}

}  // namespace talaria
