// How it runs and ran: duplicates, ends, and work that is stuck.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "cli/doctor/doctor.h"

namespace talaria::cli::doctor {
namespace json = boost::json;
namespace {

constexpr UnixMillis one_day = 24LL * 3'600'000;
constexpr int a_loop = 3;  // crashes in the last hour

std::string text_of(const json::object& object, const char* key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
}

}  // namespace

void check_duplicates(Patient& patient, Findings& findings) {
  for (const auto& value : patient.status.at("duplicates").as_array()) {
    const auto& row = value.as_object();
    findings.warn(text_of(row, "text"), text_of(row, "remedy"));
  }
  if (findings.all().empty()) findings.ok("no other gateway of this profile or home");
}

void check_ends(Patient& patient, Findings& findings) {
  const auto history = patient.talaria() + " gateway history";
  const auto recent = [&](const RunRow& run, UnixMillis span) {
    return run.ended_at && *run.ended_at > patient.now - span && *run.ended_at <= patient.now;
  };
  const auto count = [&](UnixMillis span, auto&& matches) {
    return std::ranges::count_if(patient.runs, [&](const RunRow& run) { return recent(run, span) && matches(run); });
  };
  const auto bad =
      count(one_hour, [](const RunRow& run) { return run.verdict == "crash" || run.verdict == "unplanned"; });
  if (bad >= a_loop)
    findings.fail(fmt::format("{} unplanned ends in the last hour; the newest: {}", bad,
                              std::ranges::find_if(patient.runs,
                                                   [](const RunRow& run) {
                                                     return run.verdict == "crash" || run.verdict == "unplanned";
                                                   })
                                  ->cause),
                  history);
  struct Kind {
    const char* kind;
    const char* what;
    std::string advice;
  };
  const Kind kinds[] = {
      {"oom-kill", "killed for want of memory", "give it more, or limit its agents with MemoryMax=: " + history},
      {"stop-timeout", "killed because a stop took too long", history},
      {"watchdog", "killed by the watchdog because it made no progress", history},
  };
  for (const auto& kind : kinds) {
    const auto times = count(one_day, [&](const RunRow& run) { return run.kind == kind.kind; });
    if (times > 0)
      findings.warn(
          fmt::format("in the last day {} {}", times == 1 ? "once" : fmt::format("{} times", times), kind.what),
          kind.advice);
  }
  if (findings.all().empty()) findings.ok(patient.runs.empty() ? "it has never run" : "no bad ends of late");
}

void check_work(Patient& patient, Findings& findings) {
  for (const auto& value : patient.status.at("channels").as_array()) {
    const auto& channel = value.as_object();
    if (const auto error = text_of(channel, "error"); !error.empty())
      findings.warn(fmt::format("channel {}: {}", text_of(channel, "name"), error),
                    patient.talaria() + " gateway logs -n 50");
  }
  if (const auto* queues = patient.status.at("queues").if_object()) {
    const auto* dead = queues->if_contains("dead");
    if (dead != nullptr && dead->is_int64() && dead->get_int64() > 0)
      findings.warn(fmt::format("{} answers could not be delivered", dead->get_int64()),
                    patient.talaria() + " outbox list");
  }
  for (const auto& warning : patient.status.at("warnings").as_array())
    if (warning.is_string()) findings.warn(std::string(warning.get_string()), patient.talaria() + " gateway status");
  if (findings.all().empty()) findings.ok(patient.alive() ? "nothing is stuck" : "it does not run");
}

}  // namespace talaria::cli::doctor
