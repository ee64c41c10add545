// One question to the manager, on the event loop: four D-Bus calls are sent at once and their answers awaited together,
// so that it costs one round trip. sd-bus does the protocol; Asio waits on its descriptor. Nothing here trusts the peer
// to answer.

#include <sys/poll.h>

#include <boost/asio/error.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/system/system_error.hpp>

#include <fcntl.h>
#include <fmt/format.h>

#include "base/fd.h"
#include "runtime/event.h"
#include "service/bus.h"
#include "service/stop_timeout.h"

namespace talaria {
namespace {

// The bus's descriptor as something a coroutine can wait on. sd-bus owns and closes its own descriptor, so Asio gets a
// duplicate.
class BusWatch {
 public:
  BusWatch(asio::any_io_executor executor, UniqueFd fd) : state_(std::make_shared<State>(std::move(executor))) {
    state_->descriptor.assign(fd.release());
  }
  BusWatch(const BusWatch&) = delete;
  BusWatch& operator=(const BusWatch&) = delete;
  ~BusWatch() { state_->descriptor.close(); }

  // Until the descriptor has one of `events` (POLLIN, POLLOUT) or the deadline runs out.
  Task<> wait(int events, Deadline deadline) {
    state_->changed.reset();
    if ((events & POLLIN) != 0) arm(asio::posix::stream_descriptor::wait_read, state_->reading);
    if ((events & POLLOUT) != 0) arm(asio::posix::stream_descriptor::wait_write, state_->writing);
    co_await state_->changed.wait(deadline);
  }

 private:
  struct State {
    explicit State(asio::any_io_executor executor) : descriptor(executor), changed(executor) {}
    asio::posix::stream_descriptor descriptor;
    Event changed;
    bool reading = false;
    bool writing = false;
  };

  // A wait of an earlier round may still be pending; it then serves this round too. The handler owns the state, because
  // it runs after close() as well.
  void arm(asio::posix::stream_descriptor::wait_type type, bool& armed) {
    if (std::exchange(armed, true)) return;
    state_->descriptor.async_wait(type, [state = state_, &armed](error_code) {
      armed = false;
      state->changed.set();
    });
  }

  std::shared_ptr<State> state_;
};

// The question: its calls and what has been answered so far.
class Question {
 public:
  Question(sd_bus* bus, std::string unit) : bus_(bus), unit_(std::move(unit)) {}
  Question(const Question&) = delete;  // sd-bus's slots point here
  Question& operator=(const Question&) = delete;

  Result<> send() {
    const auto object = unit_object(unit_);
    const char* unit_path = object.c_str();
    if (auto sent = send_list(); !sent) return sent;
    if (auto sent = send_get(unit_path, systemd1::service_interface, "Result", &Question::on_result); !sent)
      return sent;
    if (auto sent = send_get(unit_path, systemd1::service_interface, "MainPID", &Question::on_main_pid); !sent)
      return sent;
    if (auto sent = send_get(unit_path, systemd1::service_interface, "StatusText", &Question::on_status_text); !sent)
      return sent;
    if (auto sent = send_get(unit_path, systemd1::service_interface, "NRestarts", &Question::on_restarts); !sent)
      return sent;
    return send_get(systemd1::path, systemd1::manager, "SystemState", &Question::on_system_state);
  }

  // Another question: only how long a stop may take.
  Result<> send_stop_timeout() {
    return send_get(unit_object(unit_).c_str(), systemd1::service_interface, "TimeoutStopUSec",
                    &Question::on_stop_timeout);
  }
  [[nodiscard]] std::optional<Millis> stop_timeout() const { return stop_timeout_; }

  [[nodiscard]] bool complete() const { return waiting_ == 0; }
  [[nodiscard]] Result<UnitAnswer> take() {
    if (!problem_.empty()) return fail(ErrorKind::unavailable, problem_);
    return std::move(answer_);
  }

 private:
  using Handler = int (Question::*)(sd_bus_message*);
  struct Call {
    Question* question;
    Handler handler;
    const char* name;
    SlotPtr slot;
  };

  // Active state, sub state and job in one snapshot (Manager.ListUnitsByNames, since 230).
  Result<> send_list() {
    auto message = new_call(systemd1::path, systemd1::manager, "ListUnitsByNames");
    if (!message) return std::unexpected(message.error());
    const char* names[] = {unit_.c_str(), nullptr};
    // sd-bus asks for char** and doesn't write to it.
    if (const int r = sd_bus_message_append_strv(message->get(), const_cast<char**>(names)); r < 0)
      return fail_errno(-r, "write D-Bus message");
    return send_call(message->get(), "ListUnitsByNames", &Question::on_list);
  }

  Result<> send_get(const char* object, const char* interface, const char* property, Handler handler) {
    auto message = new_call(object, systemd1::properties, "Get");
    if (!message) return std::unexpected(message.error());
    if (const int r = sd_bus_message_append(message->get(), "ss", interface, property); r < 0)
      return fail_errno(-r, "write D-Bus message");
    return send_call(message->get(), property, handler);
  }

  Result<MessagePtr> new_call(const char* object, const char* interface, const char* member) {
    sd_bus_message* raw = nullptr;
    if (const int r = sd_bus_message_new_method_call(bus_, &raw, systemd1::service, object, interface, member); r < 0)
      return fail_errno(-r, fmt::format("make D-Bus call {}", member));
    return MessagePtr(raw);
  }

  Result<> send_call(sd_bus_message* message, const char* name, Handler handler) {
    auto call = std::make_unique<Call>(Call{this, handler, name, {}});
    sd_bus_slot* slot = nullptr;
    // No time limit of sd-bus's own: the caller's deadline is the only one.
    if (const int r = sd_bus_call_async(bus_, &slot, message, &Question::on_reply, call.get(), UINT64_MAX); r < 0)
      return fail_errno(-r, fmt::format("send D-Bus call {}", name));
    call->slot.reset(slot);
    calls_.push_back(std::move(call));
    ++waiting_;
    return {};
  }

  static int on_reply(sd_bus_message* reply, void* userdata, sd_bus_error*) {
    auto& call = *static_cast<Call*>(userdata);
    auto& self = *call.question;
    --self.waiting_;
    if (const auto* error = sd_bus_message_get_error(reply)) {
      self.note(fmt::format("{}: {}", call.name, error->message != nullptr ? error->message : error->name));
    } else if (const int r = (self.*call.handler)(reply); r < 0) {
      self.note(fmt::format("{}: answer of an unexpected form", call.name));
    }
    return 1;
  }

  void note(std::string problem) {
    if (problem_.empty()) problem_ = std::move(problem);
  }

  int on_list(sd_bus_message* reply) {
    int r = sd_bus_message_enter_container(reply, 'a', "(ssssssouso)");
    if (r < 0) return r;
    const char *name, *description, *load, *active, *sub, *following, *object, *job_type, *job_object;
    std::uint32_t job = 0;
    r = sd_bus_message_read(reply, "(ssssssouso)", &name, &description, &load, &active, &sub, &following, &object, &job,
                            &job_type, &job_object);
    if (r <= 0) return r < 0 ? r : -ENOENT;
    answer_.active_state = active;
    answer_.sub_state = sub;
    if (job != 0) answer_.job_type = job_type;
    return 0;
  }

  static int read_string(sd_bus_message* reply, std::string& into) {
    const char* text = nullptr;
    const int r = sd_bus_message_read(reply, "v", "s", &text);
    if (r >= 0) into = text;
    return r;
  }
  int on_result(sd_bus_message* reply) { return read_string(reply, answer_.result); }
  int on_status_text(sd_bus_message* reply) { return read_string(reply, answer_.status_text); }
  int on_restarts(sd_bus_message* reply) { return sd_bus_message_read(reply, "v", "u", &answer_.restarts); }
  int on_main_pid(sd_bus_message* reply) {
    std::uint32_t pid = 0;
    const int r = sd_bus_message_read(reply, "v", "u", &pid);
    answer_.main_pid = static_cast<int>(pid);
    return r;
  }
  int on_stop_timeout(sd_bus_message* reply) {
    std::uint64_t usec = UINT64_MAX;
    const int r = sd_bus_message_read(reply, "v", "t", &usec);
    if (usec < UINT64_MAX) stop_timeout_ = Millis{static_cast<std::int64_t>(usec / 1'000)};
    return r;
  }
  int on_system_state(sd_bus_message* reply) {
    std::string state;
    const int r = read_string(reply, state);
    answer_.system_stopping = state == "stopping";
    return r;
  }

  sd_bus* bus_;
  std::string unit_;
  std::vector<std::unique_ptr<Call>> calls_;
  int waiting_ = 0;
  std::string problem_;
  UnitAnswer answer_;
  std::optional<Millis> stop_timeout_;
};

// When sd-bus itself wants to be called again: 0 at once (something is queued), UINT64_MAX never; else CLOCK_MONOTONIC
// in µs, which is the clock of SteadyClock on Linux.
Deadline bus_wakeup(sd_bus* bus) {
  std::uint64_t until = UINT64_MAX;
  if (sd_bus_get_timeout(bus, &until) < 0 || until == UINT64_MAX) return Deadline::never();
  return Deadline(SteadyClock::time_point(std::chrono::microseconds(until)));
}

// `stop_timeout`: ask for that alone, and put it there.
Task<Result<UnitAnswer>> ask_one(BusEndpoint endpoint, std::string unit, Deadline deadline,
                                 std::optional<Millis>* stop_timeout = nullptr) {
  auto bus = open_bus(endpoint);
  if (!bus) co_return std::unexpected(bus.error());
  const auto tried = fmt::format("ask systemd over its {} about {}", to_string(endpoint), unit);
  UniqueFd fd(::fcntl(sd_bus_get_fd(bus->get()), F_DUPFD_CLOEXEC, 3));
  if (!fd) co_return fail_errno(errno, tried);
  BusWatch watch(co_await asio::this_coro::executor, std::move(fd));
  Question question(bus->get(), std::move(unit));
  if (auto sent = stop_timeout != nullptr ? question.send_stop_timeout() : question.send(); !sent)
    co_return std::unexpected(sent.error());

  while (!question.complete()) {
    const int r = sd_bus_process(bus->get(), nullptr);
    if (r < 0) co_return fail_errno(-r, tried);
    if (deadline.expired()) co_return fail(ErrorKind::timeout, tried + ": no answer in time");
    if (r > 0) continue;
    const int events = sd_bus_get_events(bus->get());
    if (events < 0) co_return fail_errno(-events, tried);
    co_await watch.wait(events, deadline.earlier(bus_wakeup(bus->get())));
  }
  auto answer = question.take();
  if (!answer) co_return fail(answer.error().kind, fmt::format("{}: {}", tried, answer.error().what));
  answer->via = to_string(endpoint);
  if (stop_timeout != nullptr) *stop_timeout = question.stop_timeout();
  co_return answer;
}

}  // namespace

Task<Result<UnitAnswer>> ask_unit_at(std::vector<BusEndpoint> endpoints, std::string unit, Deadline deadline) {
  Result<UnitAnswer> answer = fail(ErrorKind::not_found, "no service manager to ask");
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    // Those that come later keep their share of the time, whatever this one does with its own.
    const auto share =
        deadline.is_never() ? deadline : Deadline::in(deadline.left() / static_cast<int>(endpoints.size() - i));
    answer = co_await ask_one(endpoints[i], unit, deadline.earlier(share));
    if (answer || deadline.expired()) break;
  }
  co_return answer;
}

Task<Result<UnitAnswer>> ask_unit(ManagerKind manager, std::string unit, Deadline deadline) {
  co_return co_await ask_unit_at(manager_endpoints(manager), std::move(unit), deadline);
}

Task<Result<std::optional<Millis>>> ask_stop_timeout(ManagerKind manager, std::string unit, Deadline deadline) {
  Result<std::optional<Millis>> found = fail(ErrorKind::not_found, "no service manager to ask");
  for (const BusEndpoint& endpoint : manager_endpoints(manager)) {
    std::optional<Millis> timeout;
    auto answer = co_await ask_one(endpoint, unit, deadline, &timeout);
    if (answer) co_return timeout;
    found = std::unexpected(answer.error());
    if (deadline.expired()) break;
  }
  co_return found;
}

}  // namespace talaria
