#include "cli/history_view.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <iterator>

#include "base/text.h"
#include "lifecycle/run_json.h"

namespace talaria::cli {
namespace json = boost::json;
namespace {

constexpr std::string_view indent = "            ";

// "2026-03-01 12:34:56Z": to the second.
std::string moment(UnixMillis at) {
  std::string text = format_rfc3339(at);
  text[10] = ' ';
  return text.substr(0, 19) + "Z";
}

std::string ago(UnixMillis at, UnixMillis now) {
  return at <= now ? rough_duration(now - at) + " ago" : "in the future";  // a clock was set
}

const char* colour_of(const RunRow& run) {
  if (run.verdict.empty()) return "\x1b[32m";
  if (run.verdict == "crash" || run.verdict == "unplanned") return "\x1b[31m";
  return run.verdict == "config" ? "\x1b[33m" : "\x1b[36m";
}

std::string label(const RunRow& run, bool paint) {
  std::string text = run.verdict.empty() ? "running" : run.verdict;
  if (!run.kind.empty() && run.kind != run.verdict) text += ", " + printable(run.kind);
  return paint ? fmt::format("{}{}\x1b[0m", colour_of(run), text) : text;
}

std::string member(const json::object& object, const char* name) {
  const json::value* value = object.if_contains(name);
  if (value == nullptr || value->is_null()) return {};
  return value->is_string() ? printable(value->get_string()) : json::serialize(*value);
}

// Who or what wanted it, as far as the record knows.
std::string who_asked(const json::object& evidence) {
  for (const char* name : {"asked_by", "announced_by"}) {
    if (std::string who = member(evidence, name); !who.empty()) return who;
  }
  const std::string pid = member(evidence, "sender_pid");
  if (pid.empty() || pid == "0") return {};
  const std::string command = member(evidence, "sender_command");
  return fmt::format("PID {}{}", pid, command.empty() ? "" : " (" + command + ")");
}

// {"turns":2,"replies":0} → "2 turns"; {"drain":900} → "drain 0.9 s".
template <class Show>
std::string list(const json::value* value, Show show) {
  const json::object* object = value == nullptr ? nullptr : value->if_object();
  std::string text;
  if (object == nullptr) return text;
  for (const auto& [name, amount] : *object) {
    if (!amount.is_int64() || amount.get_int64() <= 0) continue;
    if (!text.empty()) text += ", ";
    text += show(std::string(name), amount.get_int64());
  }
  return text;
}

void add_details(std::string& out, const RunRow& run) {
  const json::object all = to_json(run);
  const auto line = [&](std::string_view name, const std::string& text) {
    if (!text.empty()) fmt::format_to(std::back_inserter(out), "{}{}{}\n", indent, name, text);
  };
  const auto counts = [](const std::string& name, std::int64_t n) { return fmt::format("{} {}", n, name); };
  const auto times = [](const std::string& name, std::int64_t ms) {
    return fmt::format("{} {}", name, rough_duration(ms));
  };
  line("", printable(run.cause));
  line("took: ", list(&all.at("phases"), times));
  const json::object* evidence = all.at("evidence").if_object();
  if (evidence == nullptr) return;
  line("asked for by ", who_asked(*evidence));
  line("cut off: ", list(evidence->if_contains("cut_off"), counts));
  // What the stop itself says of its steps.
  const json::value* found = evidence->if_contains("stop");
  const json::object* stop = found == nullptr ? nullptr : found->if_object();
  if (stop == nullptr) return;
  line("stopping took: ", list(stop->if_contains("milliseconds"), times));
  if (const json::value* turns = stop->if_contains("cut_off");
      turns != nullptr && turns->is_int64() && turns->get_int64() > 0)
    line("cut off: ", counts("turns", turns->get_int64()));
}

}  // namespace

std::string rough_duration(std::int64_t milliseconds) {
  const std::int64_t ms = std::max<std::int64_t>(milliseconds, 0);
  const std::int64_t s = ms / 1000;
  if (ms < 1000) return fmt::format("{} ms", ms);
  if (s < 10) return fmt::format("{:.1f} s", static_cast<double>(ms) / 1000);
  if (s < 120) return fmt::format("{} s", s);
  const std::int64_t minutes = s / 60;
  if (minutes < 120) return fmt::format("{} min", minutes);
  const std::int64_t hours = minutes / 60;
  if (hours < 48) return fmt::format("{} h {} min", hours, minutes % 60);
  return fmt::format("{} d {} h", hours / 24, hours % 24);
}

std::string history_text(const std::vector<RunRow>& runs, bool lives, UnixMillis now, bool paint) {
  std::string out;
  const RunRow* later = nullptr;
  for (const RunRow& run : runs) {
    const bool running = run.verdict.empty();
    if (later != nullptr && run.ended_at && later->started_at > *run.ended_at) {
      fmt::format_to(std::back_inserter(out), "{}· down for {}\n", indent,
                     rough_duration(later->started_at - *run.ended_at));
    } else if (later == nullptr && !lives && run.ended_at) {
      fmt::format_to(std::back_inserter(out), "{}· down since {}\n", indent, moment(*run.ended_at));
    }
    later = &run;
    fmt::format_to(std::back_inserter(out), "{:<12}{}",
                   running ? "now" : ago(run.ended_at.value_or(run.started_at), now), label(run, paint));
    if (running) {
      fmt::format_to(std::back_inserter(out), " for {}, since {}", rough_duration(now - run.started_at),
                     moment(run.started_at));
    } else if (run.started_at == run.ended_at) {
      fmt::format_to(std::back_inserter(out), ", at {}, before it was in the ledger", moment(run.started_at));
    } else {
      fmt::format_to(
          std::back_inserter(out), " after {}{}, {} to {}", rough_duration(run.ended_at.value_or(now) - run.started_at),
          run.ready_at ? "" : " and never ready", moment(run.started_at), moment(run.ended_at.value_or(now)));
    }
    if (run.pid != 0) fmt::format_to(std::back_inserter(out), ", PID {}", run.pid);
    if (!running && run.exit_code >= 0) fmt::format_to(std::back_inserter(out), ", exit code {}", run.exit_code);
    out += '\n';
    if (!running) add_details(out, run);
  }
  return out;
}

}  // namespace talaria::cli
