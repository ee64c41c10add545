#include "service/unit_control.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

namespace talaria {
namespace {

template <std::string UnitState::* field>
int read_text(sd_bus_message* message, UnitState& into) {
  const char* text = nullptr;
  const int r = sd_bus_message_read(message, "v", "s", &text);
  if (r > 0) into.*field = text;
  return r;
}

template <int UnitState::* field, char type>
int read_number(sd_bus_message* message, UnitState& into) {
  std::uint32_t number = 0;  // as wide as an 'i'
  const char signature[] = {type, '\0'};
  const int r = sd_bus_message_read(message, "v", signature, &number);
  if (r > 0) into.*field = static_cast<int>(number);
  return r;
}

template <std::uint64_t UnitState::* field>
int read_usec(sd_bus_message* message, UnitState& into) {
  return sd_bus_message_read(message, "v", "t", &(into.*field));
}

template <std::uint32_t UnitState::* field>
int read_count(sd_bus_message* message, UnitState& into) {
  return sd_bus_message_read(message, "v", "u", &(into.*field));
}

// The strings of an array that was not entered yet.
int read_strings(sd_bus_message* message, std::vector<std::string>& into) {
  int r = sd_bus_message_enter_container(message, 'a', "s");
  const char* entry = nullptr;
  while (r >= 0 && (r = sd_bus_message_read(message, "s", &entry)) > 0) into.emplace_back(entry);
  return r < 0 ? r : sd_bus_message_exit_container(message);
}

template <std::vector<std::string> UnitState::* field>
int read_list(sd_bus_message* message, UnitState& into) {
  int r = sd_bus_message_enter_container(message, 'v', "as");
  if (r >= 0) r = read_strings(message, into.*field);
  return r < 0 ? r : sd_bus_message_exit_container(message);
}

// ExecStart: path, arguments, and how its last run went. A service has one unless it is Type=oneshot; the last counts.
int read_command(sd_bus_message* message, UnitState& into) {
  constexpr const char* one = "sasbttttuii";
  int r = sd_bus_message_enter_container(message, 'v', "a(sasbttttuii)");
  if (r >= 0) r = sd_bus_message_enter_container(message, 'a', "(sasbttttuii)");
  while (r >= 0 && (r = sd_bus_message_enter_container(message, 'r', one)) > 0) {
    into.command.clear();
    const char* path = nullptr;
    r = sd_bus_message_read(message, "s", &path);
    if (r >= 0) r = read_strings(message, into.command);
    if (r >= 0) r = sd_bus_message_skip(message, "bttttuii");
    if (r >= 0) r = sd_bus_message_exit_container(message);
  }
  if (r >= 0) r = sd_bus_message_exit_container(message);
  return r < 0 ? r : sd_bus_message_exit_container(message);
}

int read_need_reload(sd_bus_message* message, UnitState& into) {
  int flag = 0;
  const int r = sd_bus_message_read(message, "v", "b", &flag);
  into.need_daemon_reload = flag != 0;
  return r;
}

// The properties that we read, of both interfaces of a service.
struct StateField {
  std::string_view name;
  int (*read)(sd_bus_message*, UnitState&);
};
constexpr StateField state_fields[] = {
    {"LoadState", read_text<&UnitState::load_state>},
    {"ActiveState", read_text<&UnitState::active_state>},
    {"SubState", read_text<&UnitState::sub_state>},
    {"Result", read_text<&UnitState::result>},
    {"StatusText", read_text<&UnitState::status_text>},
    {"FragmentPath", read_text<&UnitState::fragment_path>},
    {"MainPID", read_number<&UnitState::main_pid, 'u'>},
    {"ExecMainCode", read_number<&UnitState::exec_main_code, 'i'>},
    {"ExecMainStatus", read_number<&UnitState::exec_main_status, 'i'>},
    {"TimeoutStopUSec", read_usec<&UnitState::timeout_stop_usec>},
    {"NeedDaemonReload", read_need_reload},
    {"UnitFileState", read_text<&UnitState::unit_file_state>},
    {"DropInPaths", read_list<&UnitState::drop_in_paths>},
    {"Environment", read_list<&UnitState::environment>},
    {"ExecStart", read_command},
    {"Type", read_text<&UnitState::type>},
    {"User", read_text<&UnitState::user>},
    {"Restart", read_text<&UnitState::restart>},
    {"KillMode", read_text<&UnitState::kill_mode>},
    {"StartLimitIntervalUSec", read_usec<&UnitState::start_limit_interval_usec>},
    {"StartLimitBurst", read_count<&UnitState::start_limit_burst>},
    {"NRestarts", read_count<&UnitState::restarts>},
};

int read_dictionary(sd_bus_message* message, UnitState& into) {
  int r = sd_bus_message_enter_container(message, 'a', "{sv}");
  while (r >= 0 && (r = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
    const char* name = nullptr;
    if (r = sd_bus_message_read(message, "s", &name); r < 0) return r;
    const auto* field = std::ranges::find(state_fields, std::string_view(name), &StateField::name);
    r = field != std::end(state_fields) ? field->read(message, into) : sd_bus_message_skip(message, "v");
    if (r < 0) return r;
    r = sd_bus_message_exit_container(message);
  }
  return r;
}

std::uint64_t micros_left(Deadline deadline) {
  if (deadline.is_never()) return UINT64_MAX;
  const auto left = std::chrono::duration_cast<std::chrono::microseconds>(deadline.left());
  return static_cast<std::uint64_t>(std::max<std::chrono::microseconds::rep>(left.count(), 1));
}

// An error answer in our words. The names are those of D-Bus and systemd (bus-common-errors.h).
std::unexpected<Error> refused(const sd_bus_error& error, int r, const std::string& tried) {
  const std::string_view name = error.name == nullptr ? "" : error.name;
  const std::string_view words = error.message == nullptr ? std::strerror(-r) : error.message;
  ErrorKind kind = ErrorKind::unavailable;
  if (name == SD_BUS_ERROR_ACCESS_DENIED || name == SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED ||
      name == "org.freedesktop.PolicyKit1.Error.NotAuthorized")
    return fail(ErrorKind::permission, fmt::format("{}: {} (try again as root)", tried, words));
  if (name == "org.freedesktop.systemd1.NoSuchUnit" || name == SD_BUS_ERROR_FILE_NOT_FOUND) kind = ErrorKind::not_found;
  if (name.starts_with("org.freedesktop.systemd1.") && kind != ErrorKind::not_found) kind = ErrorKind::conflict;
  if (r == -ETIMEDOUT || name == SD_BUS_ERROR_NO_REPLY || name == SD_BUS_ERROR_TIMEOUT) kind = ErrorKind::timeout;
  return fail(kind, fmt::format("{}: {}", tried, words));
}

struct ErrorBox {
  sd_bus_error error{};
  ErrorBox() = default;
  ErrorBox(const ErrorBox&) = delete;
  ErrorBox& operator=(const ErrorBox&) = delete;
  ~ErrorBox() { sd_bus_error_free(&error); }
};

JobResult job_result(std::string_view word) {
  if (word == "done" || word == "skipped") return JobResult::done;
  if (word == "canceled") return JobResult::canceled;
  if (word == "timeout") return JobResult::timeout;
  return JobResult::failed;  // failed, dependency, assert, invalid, unsupported, collected, once
}

}  // namespace

int UnitControl::Jobs::on_removed(sd_bus_message* message, void* userdata, sd_bus_error*) {
  std::uint32_t id = 0;
  const char *object = nullptr, *unit = nullptr, *result = nullptr;
  if (sd_bus_message_read(message, "uoss", &id, &object, &unit, &result) < 0) return 0;
  // A busy machine ends many jobs meanwhile; only ours are of interest.
  if (std::string_view(unit).starts_with("talaria-gateway@")) static_cast<Jobs*>(userdata)->ended[object] = result;
  return 0;
}

UnitControl::UnitControl(BusPtr bus, std::string via)
    : jobs_(std::make_unique<Jobs>()), bus_(std::move(bus)), via_(std::move(via)) {}

Result<UnitControl> UnitControl::connect(ManagerKind manager, Deadline deadline) {
  const auto endpoints = manager_endpoints(manager);
  if (endpoints.empty()) return fail(ErrorKind::not_found, "there is no service manager to talk to");
  return connect(endpoints, deadline);
}

Result<UnitControl> UnitControl::connect(const std::vector<BusEndpoint>& endpoints, Deadline deadline) {
  Error problem{ErrorKind::not_found, "there is no service manager to talk to"};
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    auto bus = open_bus(endpoints[i]);
    if (bus) {
      UnitControl control(std::move(*bus), to_string(endpoints[i]));
      // The next one keeps its share of the time.
      const auto share = Deadline::in(deadline.left() / static_cast<int>(endpoints.size() - i)).earlier(deadline);
      auto ready = control.wait_ready(share);
      if (ready) ready = control.listen_for_jobs(share);
      if (ready) return control;
      problem = ready.error();
    } else if (i == 0 || problem.kind == ErrorKind::not_found) {
      problem = bus.error();
    }
  }
  return std::unexpected(problem);
}

Result<> UnitControl::pump(Deadline deadline) {
  const auto tried = "talk to systemd over its " + via_;
  const int processed = sd_bus_process(bus_.get(), nullptr);
  if (processed < 0) return fail_errno(-processed, tried);
  if (deadline.expired()) return fail(ErrorKind::timeout, tried + ": no answer in time");
  if (processed > 0) return {};
  if (const int r = sd_bus_wait(bus_.get(), micros_left(deadline)); r < 0 && r != -EINTR) return fail_errno(-r, tried);
  return {};
}

// sd-bus's own synchronous calls wait for a peer's authentication without a limit of ours; so it is waited for here.
Result<> UnitControl::wait_ready(Deadline deadline) {
  for (int r = 0; (r = sd_bus_is_ready(bus_.get())) <= 0;) {
    if (r < 0) return fail_errno(-r, "connect to systemd's " + via_);
    if (auto round = pump(deadline); !round) return round;
  }
  return {};
}

Result<> UnitControl::listen_for_jobs(Deadline deadline) {
  sd_bus_slot* slot = nullptr;
  const int r = sd_bus_match_signal(bus_.get(), &slot, nullptr, systemd1::path, systemd1::manager, "JobRemoved",
                                    &Jobs::on_removed, jobs_.get());
  if (r < 0) return fail_errno(-r, "listen to systemd over its " + via_);
  job_slot_.reset(slot);
  auto message = make_call("Subscribe");
  if (!message) return std::unexpected(message.error());
  auto answer = call(message->get(), "subscribe to systemd's signals", deadline);
  // Not every manager lets its private connections subscribe; they hear its signals anyway.
  if (!answer && via_.starts_with("bus")) return std::unexpected(answer.error());
  return {};
}

Result<MessagePtr> UnitControl::call(sd_bus_message* message, const std::string& tried, Deadline deadline) {
  ErrorBox box;
  sd_bus_message* reply = nullptr;
  (void)sd_bus_message_set_allow_interactive_authorization(message, 1);  // a desktop's polkit may ask for a password
  const int r = sd_bus_call(bus_.get(), message, micros_left(deadline), &box.error, &reply);
  if (r < 0) return refused(box.error, r, tried);
  return MessagePtr(reply);
}

Result<MessagePtr> UnitControl::make_call(const char* member) const {
  sd_bus_message* raw = nullptr;
  const int r =
      sd_bus_message_new_method_call(bus_.get(), &raw, systemd1::service, systemd1::path, systemd1::manager, member);
  if (r < 0) return fail_errno(-r, fmt::format("make D-Bus call {}", member));
  return MessagePtr(raw);
}

Result<> UnitControl::simple_call(const char* member, const std::string& unit, const std::string& tried,
                                  Deadline deadline) {
  auto message = make_call(member);
  if (!message) return std::unexpected(message.error());
  if (!unit.empty()) {
    if (const int r = sd_bus_message_append(message->get(), "s", unit.c_str()); r < 0) return fail_errno(-r, tried);
  }
  auto answer = call(message->get(), tried, deadline);
  if (!answer) return std::unexpected(answer.error());
  return {};
}

Result<> UnitControl::reload(Deadline deadline) {
  return simple_call("Reload", "", "reload systemd's units", deadline);
}
Result<> UnitControl::reset_failed(const std::string& unit, Deadline deadline) {
  return simple_call("ResetFailedUnit", unit, "reset " + unit, deadline);
}
Result<> UnitControl::enable(const std::string& unit, Deadline deadline) {
  return unit_files_call("EnableUnitFiles", unit, deadline);
}
Result<> UnitControl::disable(const std::string& unit, Deadline deadline) {
  return unit_files_call("DisableUnitFiles", unit, deadline);
}

// EnableUnitFiles(as files, b runtime, b force), DisableUnitFiles(as files, b runtime).
Result<> UnitControl::unit_files_call(const char* member, const std::string& unit, Deadline deadline) {
  const bool enables = std::string_view(member).starts_with("Enable");
  const auto tried = (enables ? "enable " : "disable ") + unit;
  auto message = make_call(member);
  if (!message) return std::unexpected(message.error());
  int r = sd_bus_message_append(message->get(), "as", 1, unit.c_str());
  if (r >= 0) r = sd_bus_message_append(message->get(), "b", 0);
  if (r >= 0 && enables) r = sd_bus_message_append(message->get(), "b", 0);
  if (r < 0) return fail_errno(-r, tried);
  auto answer = call(message->get(), tried, deadline);
  if (!answer) return std::unexpected(answer.error());
  return {};
}

Result<MessagePtr> UnitControl::manager_property(const char* name, Deadline deadline) {
  const auto tried = fmt::format("read systemd's {}", name);
  sd_bus_message* raw = nullptr;
  int r =
      sd_bus_message_new_method_call(bus_.get(), &raw, systemd1::service, systemd1::path, systemd1::properties, "Get");
  const MessagePtr message(raw);
  if (r >= 0) r = sd_bus_message_append(raw, "ss", systemd1::manager, name);
  if (r < 0) return fail_errno(-r, tried);
  return call(raw, tried, deadline);
}

Result<std::string> UnitControl::version(Deadline deadline) {
  auto answer = manager_property("Version", deadline);
  if (!answer) return std::unexpected(answer.error());
  const char* text = nullptr;
  if (const int r = sd_bus_message_read(answer->get(), "v", "s", &text); r < 0)
    return fail_errno(-r, "read systemd's version");
  return text;
}

Result<std::vector<std::string>> UnitControl::manager_list(const char* name, Deadline deadline) {
  auto answer = manager_property(name, deadline);
  if (!answer) return std::unexpected(answer.error());
  std::vector<std::string> found;
  int r = sd_bus_message_enter_container(answer->get(), 'v', "as");
  if (r >= 0) r = read_strings(answer->get(), found);
  if (r < 0) return fail_errno(-r, fmt::format("read systemd's {}", name));
  return found;
}

Result<std::vector<std::string>> UnitControl::environment(Deadline deadline) {
  return manager_list("Environment", deadline);
}
Result<std::vector<std::string>> UnitControl::unit_path(Deadline deadline) {
  return manager_list("UnitPath", deadline);
}

Result<> UnitControl::read_properties(const std::string& object, const char* interface, UnitState& into,
                                      Deadline deadline) {
  const auto tried = fmt::format("read {} of {}", interface, object);
  sd_bus_message* raw = nullptr;
  int r = sd_bus_message_new_method_call(bus_.get(), &raw, systemd1::service, object.c_str(), systemd1::properties,
                                         "GetAll");
  const MessagePtr message(raw);
  if (r >= 0) r = sd_bus_message_append(raw, "s", interface);
  if (r < 0) return fail_errno(-r, tried);
  auto answer = call(raw, tried, deadline);
  if (!answer) return std::unexpected(answer.error());
  if (r = read_dictionary(answer->get(), into); r < 0) return fail_errno(-r, tried);
  return {};
}

Result<UnitState> UnitControl::state(const std::string& unit, Deadline deadline) {
  UnitState found;
  const auto object = unit_object(unit);  // the manager loads the unit of an object that it is asked about
  for (const char* interface : {systemd1::unit_interface, systemd1::service_interface})
    if (auto read = read_properties(object, interface, found, deadline); !read) return std::unexpected(read.error());
  return found;
}

Result<std::vector<std::pair<std::string, std::string>>> UnitControl::list(const std::string& pattern,
                                                                           Deadline deadline) {
  const auto tried = "list units " + pattern;
  auto message = make_call("ListUnitsByPatterns");
  if (!message) return std::unexpected(message.error());
  int r = sd_bus_message_append(message->get(), "as", 0);  // any state
  if (r >= 0) r = sd_bus_message_append(message->get(), "as", 1, pattern.c_str());
  if (r < 0) return fail_errno(-r, tried);
  auto answer = call(message->get(), tried, deadline);
  if (!answer) return std::unexpected(answer.error());
  std::vector<std::pair<std::string, std::string>> units;
  r = sd_bus_message_enter_container(answer->get(), 'a', "(ssssssouso)");
  const char *name, *description, *load, *active, *sub, *following, *object, *job_type, *job_object;
  std::uint32_t job = 0;
  while (r >= 0 && (r = sd_bus_message_read(answer->get(), "(ssssssouso)", &name, &description, &load, &active, &sub,
                                            &following, &object, &job, &job_type, &job_object)) > 0)
    units.emplace_back(name, active);
  if (r < 0) return fail_errno(-r, tried);
  return units;
}

Result<JobResult> UnitControl::run_job(JobKind kind, const std::string& unit, Deadline deadline) {
  const char* member = kind == JobKind::start ? "StartUnit" : kind == JobKind::stop ? "StopUnit" : "RestartUnit";
  const char* verb = kind == JobKind::start ? "start" : kind == JobKind::stop ? "stop" : "restart";
  const auto tried = fmt::format("{} {}", verb, unit);
  auto message = make_call(member);
  if (!message) return std::unexpected(message.error());
  if (const int r = sd_bus_message_append(message->get(), "ss", unit.c_str(), "replace"); r < 0)
    return fail_errno(-r, tried);
  auto answer = call(message->get(), tried, deadline);
  if (!answer) return std::unexpected(answer.error());
  const char* object = nullptr;
  if (const int r = sd_bus_message_read(answer->get(), "o", &object); r < 0) return fail_errno(-r, tried);
  // The signal may have come before the answer did; it is kept then.
  const std::string job = object;
  while (!jobs_->ended.contains(job)) {
    if (deadline.expired()) return JobResult::pending;
    if (auto round = pump(deadline); !round) {
      if (round.error().kind == ErrorKind::timeout) return JobResult::pending;
      return std::unexpected(round.error());
    }
  }
  return job_result(jobs_->ended[job]);
}

}  // namespace talaria
