#include "cli/status_text.h"

#include <fmt/format.h>

#include <ctime>
#include <optional>

#include "base/text.h"
#include "service/manager.h"

namespace talaria::cli {
namespace json = boost::json;
namespace {

bool is_given(const json::value& value) {
  return !value.is_null() && !(value.is_string() && value.get_string().empty());
}

std::string plain_text(const json::value& value) {
  if (value.is_null()) return "-";
  if (value.is_string()) return printable(value.get_string());
  return json::serialize(value);
}

// Where a newer or older gateway has no such member, there is none to show.
const json::value& member_of(const json::object& object, const char* key) {
  static const json::value none;
  const auto* found = object.if_contains(key);
  return found == nullptr ? none : *found;
}

// The inverse of format_rfc3339(), to the second.
std::optional<UnixMillis> read_time(const std::string& text) {
  std::tm parts{};
  const char* rest = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (rest == nullptr) return {};
  return static_cast<UnixMillis>(::timegm(&parts)) * 1000;
}

std::string since(const json::value& value, UnixMillis now) {
  if (!is_given(value)) return "";
  const auto text = plain_text(value);
  const auto at = read_time(text);
  return at ? fmt::format(" since {} ({})", text, duration_words(now - *at)) : " since " + text;
}

const char* paint(std::string_view state) {
  if (state == "running") return "\x1b[32m";
  if (state == "failed") return "\x1b[31m";
  return "\x1b[33m";
}

class Lines {
 public:
  void add(const char* name, const std::string& value) { text_ += fmt::format("{:<10} {}\n", name, value); }
  void more(const std::string& value) { text_ += fmt::format("{:<10}   {}\n", "", value); }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

void add_process(Lines& lines, const json::object& status, UnixMillis now) {
  // systemd is known by its unit.
  if (const auto& manager = member_of(status, "manager"); manager.is_string()) {
    const std::string_view name = manager.get_string();
    if (name != "none" && !is_systemd_scope(name)) lines.add("manager", std::string(name));
  }
  if (is_given(status.at("unit"))) lines.add("unit", plain_text(status.at("unit")));
  if (is_given(status.at("pid")))
    lines.add("PID",
              fmt::format("{}{}{}", plain_text(status.at("pid")), since(status.at("since"), now),
                          is_given(status.at("version")) ? ", version " + plain_text(status.at("version")) : ""));
  if (const auto* owner = member_of(status, "owner").if_object())
    lines.add("owner",
              fmt::format("PID {}{}{}{}", plain_text(member_of(*owner, "pid")),
                          is_given(member_of(*owner, "unit"))
                              ? fmt::format(", {} service {}", plain_text(member_of(*owner, "scope")),
                                            plain_text(member_of(*owner, "unit")))
                              : ", by hand",
                          is_given(member_of(*owner, "state")) ? ", " + plain_text(member_of(*owner, "state")) : "",
                          since(member_of(*owner, "since"), now)));
  else if (is_given(status.at("standby_for")))
    lines.add("waits for", plain_text(status.at("standby_for")));
  if (is_given(status.at("backoff_until"))) lines.add("next try", plain_text(status.at("backoff_until")));
}

void add_work(Lines& lines, const json::object& status) {
  for (const json::value& channel : status.at("channels").as_array()) {
    const auto& row = channel.as_object();
    lines.add("channel",
              fmt::format("{} ({}): {}, {}{}", plain_text(member_of(row, "name")), plain_text(member_of(row, "kind")),
                          plain_text(member_of(row, "state")),
                          is_given(member_of(row, "last_progress"))
                              ? "last progress " + plain_text(member_of(row, "last_progress"))
                              : "no progress yet",
                          is_given(member_of(row, "error")) ? ": " + plain_text(member_of(row, "error")) : ""));
  }
  if (const auto* queues = status.at("queues").if_object())
    lines.add("queues", fmt::format("{} inbound, {} turns, {} on their way out, {} dead",
                                    plain_text(member_of(*queues, "inbound")), plain_text(member_of(*queues, "turns")),
                                    plain_text(member_of(*queues, "outbox")), plain_text(member_of(*queues, "dead"))));
}

}  // namespace

std::string duration_words(std::int64_t milliseconds) {
  const std::int64_t seconds = std::max<std::int64_t>(milliseconds, 0) / 1000;
  const auto minutes = seconds / 60;
  const auto hours = minutes / 60;
  if (minutes < 1) return fmt::format("{} s", seconds);
  if (hours < 1) return fmt::format("{} min", minutes);
  if (hours < 24) return fmt::format("{} h {} min", hours, minutes % 60);
  return fmt::format("{} d {} h", hours / 24, hours % 24);
}

std::string status_text(const json::object& status, UnixMillis now, bool colour) {
  Lines lines;
  const std::string state = plain_text(status.at("state"));
  std::string detail = is_given(member_of(status, "detail")) ? plain_text(status.at("detail")) : "";
  if (detail.starts_with(state)) detail.erase(0, state.size());  // "running, API on …" after "running"
  const bool joined = detail.empty() || detail.starts_with(',') || detail.starts_with(' ') || detail.starts_with(':');
  lines.add("state", fmt::format("{}{}{}{}{}", colour ? paint(state) : "", state, colour ? "\x1b[0m" : "",
                                 joined ? "" : ": ", detail));
  lines.add("profile", fmt::format("{} ({})", plain_text(status.at("profile")), plain_text(status.at("scope"))));
  add_process(lines, status, now);
  lines.add("home", plain_text(status.at("home")));
  if (is_given(status.at("api"))) lines.add("API", plain_text(status.at("api")));
  const bool alive = is_given(status.at("pid"));
  if (alive) add_work(lines, status);
  if (const auto* end = status.at("last_end").if_object())
    lines.add("last end", fmt::format("{}{}: {}", plain_text(member_of(*end, "verdict")),
                                      is_given(member_of(*end, "at")) ? " at " + plain_text(member_of(*end, "at")) : "",
                                      plain_text(member_of(*end, "cause"))));
  for (const json::value& duplicate : status.at("duplicates").as_array()) {
    const auto& row = duplicate.as_object();
    lines.add("duplicate", plain_text(member_of(row, "text")));
    if (is_given(member_of(row, "remedy"))) lines.more("to end it: " + plain_text(member_of(row, "remedy")));
  }
  for (const json::value& warning : status.at("warnings").as_array()) lines.add("warning", plain_text(warning));
  return lines.take();
}

}  // namespace talaria::cli
