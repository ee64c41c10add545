#include "lifecycle/manager_exit.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <charconv>

#include "base/text.h"
#include "lifecycle/exit_code.h"

namespace talaria {
namespace json = boost::json;
namespace {

std::string text_of(const json::object& object, const char* name) {
  const json::value* value = object.if_contains(name);
  // A line may come from anywhere: what is shown later is made fit for a terminal here.
  return value != nullptr && value->is_string() ? printable(truncate_utf8(value->get_string(), 1024)) : std::string();
}

std::int64_t integer_of(const json::object& object, const char* name) {
  const json::value* value = object.if_contains(name);
  return value != nullptr && value->is_int64() ? value->get_int64() : 0;
}

ManagerExit seen_from(const json::object& line) {
  return {.at = integer_of(line, "at"),
          .result = text_of(line, "service_result"),
          .code = text_of(line, "exit_code"),
          .status = text_of(line, "exit_status"),
          .pid = integer_of(line, "pid"),
          .invocation_id = text_of(line, "invocation_id"),
          .oom_kills = integer_of(line, "oom_kills")};
}

RunRow told_from(const json::object& line) {
  RunRow run;
  run.id = integer_of(line, "run");
  run.pid = integer_of(line, "pid");
  run.process_start = static_cast<std::uint64_t>(integer_of(line, "process_start"));
  run.boot_id = text_of(line, "boot_id");
  run.scope = text_of(line, "scope");
  run.unit = text_of(line, "unit");
  run.version = text_of(line, "version");
  run.started_at = integer_of(line, "started_at");
  run.verdict = text_of(line, "verdict");
  run.kind = text_of(line, "kind");
  run.cause = text_of(line, "cause");
  run.exit_code = static_cast<int>(integer_of(line, "own_exit_code"));
  run.invocation_id = text_of(line, "invocation_id");
  run.ended_at = integer_of(line, "at");
  if (const json::value* evidence = line.if_contains("evidence"); evidence != nullptr && evidence->is_object())
    run.evidence = json::serialize(*evidence);
  return run;
}

// systemd.exec(5), "Process Exit Codes": what the manager itself uses between fork and exec.
bool is_managers_code(int code) { return code >= 200 && code <= 245; }

Explanation explain_code(int code) {
  const auto of = [&](VerdictKind verdict, CauseKind kind, std::string cause) {
    return Explanation{verdict, kind, std::move(cause), code};
  };
  if (code == static_cast<int>(ExitCode::planned))
    return of(VerdictKind::planned, CauseKind::stop, "ended as planned before its store was open");
  if (code == static_cast<int>(ExitCode::again))
    return of(VerdictKind::restart, CauseKind::restart, "asked to be started again before its store was open");
  if (code == static_cast<int>(ExitCode::config))
    return of(VerdictKind::config, CauseKind::config, "the configuration was wrong (the log names every mistake)");
  if (code == static_cast<int>(ExitCode::usage))
    return of(VerdictKind::config, CauseKind::config, "the command line was wrong");
  if (code == static_cast<int>(ExitCode::permission))
    return of(VerdictKind::unplanned, CauseKind::permission, "no permission for its home");
  if (code == static_cast<int>(ExitCode::owned))
    return of(VerdictKind::unplanned, CauseKind::owned, "another incarnation owned the profile");
  if (is_managers_code(code))
    return of(VerdictKind::unplanned, CauseKind::not_started,
              fmt::format("the service manager could not execute the program (status {}, systemd.exec(5))", code));
  return of(VerdictKind::unplanned, CauseKind::failure, fmt::format("ended by itself with exit code {}", code));
}

Explanation explain_signal(const ManagerExit& seen) {
  constexpr std::array fatal{"SEGV", "ABRT", "BUS", "FPE", "ILL", "SYS", "TRAP", "QUIT"};
  if (seen.status == "KILL") {
    if (seen.oom_kills > 0)
      return {VerdictKind::crash, CauseKind::oom_kill,
              "killed by the kernel: out of memory (memory.events of its cgroup)"};
    return {VerdictKind::crash, CauseKind::sigkill, "killed by SIGKILL"};
  }
  if (std::ranges::find(fatal, seen.status) != fatal.end())
    return {VerdictKind::crash, CauseKind::fatal_signal, fmt::format("died by SIG{}", seen.status)};
  if (seen.result == "success")
    return {VerdictKind::planned, CauseKind::stop,
            fmt::format("stopped by SIG{} before it could say why; to the manager that was a clean end", seen.status)};
  return {VerdictKind::unplanned, CauseKind::kill,
          fmt::format("ended by SIG{}, which nobody had planned, before it could say so", seen.status)};
}

}  // namespace

ExitLog parse_exit_log(std::string_view text) {
  ExitLog log;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    boost::system::error_code ec;
    const json::value value = json::parse(text.substr(0, end), ec);
    text.remove_prefix(std::min(end + 1, text.size()));
    const json::object* line = ec ? nullptr : value.if_object();
    if (line == nullptr) continue;
    if (line->contains("verdict")) {
      log.told.push_back(told_from(*line));
    } else if (line->contains("service_result")) {
      log.seen.push_back(seen_from(*line));
    }
  }
  return log;
}

std::string format_told_end(const RunRow& run) {
  json::object line{{"at", run.ended_at.value_or(0)},
                    {"pid", run.pid},
                    {"process_start", run.process_start},
                    {"boot_id", run.boot_id},
                    {"scope", run.scope},
                    {"unit", run.unit},
                    {"version", run.version},
                    {"started_at", run.started_at},
                    {"invocation_id", run.invocation_id},
                    {"verdict", run.verdict},
                    {"kind", run.kind},
                    {"cause", truncate_utf8(run.cause, 512)},
                    {"own_exit_code", run.exit_code}};
  if (run.id != 0) line["run"] = run.id;
  boost::system::error_code ec;
  if (json::value evidence = json::parse(run.evidence, ec); !ec && run.evidence.size() < 2048)
    line["evidence"] = std::move(evidence);
  return json::serialize(line) + "\n";
}

Explanation explain(const ManagerExit& seen, bool was_ready) {
  if (seen.result == "oom-kill") return {VerdictKind::crash, CauseKind::oom_kill, "ended by the out-of-memory killer"};
  if (seen.result == "watchdog")
    return {VerdictKind::crash, CauseKind::watchdog,
            "showed no progress for WatchdogSec= and was ended by the manager"};
  if (seen.result == "timeout" && !was_ready)
    return {VerdictKind::crash, CauseKind::start_timeout,
            "was not ready within TimeoutStartSec= and was ended by the manager"};
  if (seen.result == "timeout")
    return {VerdictKind::crash, CauseKind::stop_timeout,
            "did not end within TimeoutStopSec= and was killed by the manager"};
  if (seen.code == "exited") {
    int code = 0;
    const auto [end, error] = std::from_chars(seen.status.data(), seen.status.data() + seen.status.size(), code);
    if (error == std::errc{} && end == seen.status.data() + seen.status.size()) return explain_code(code);
  }
  if (seen.code == "killed" || seen.code == "dumped") return explain_signal(seen);
  return {VerdictKind::unplanned, CauseKind::not_started,
          fmt::format("the service manager could not run it (its result: {})",
                      seen.result.empty() ? "unknown" : seen.result)};
}

}  // namespace talaria
