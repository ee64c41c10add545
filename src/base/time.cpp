#include "base/time.h"

#include <fmt/format.h>

#include <charconv>
#include <ctime>
#include <limits>

#include "base/text.h"

namespace talaria {

UnixMillis SystemWallClock::now() const {
  return std::chrono::duration_cast<Millis>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string format_rfc3339(UnixMillis t) {
  // Floor division: a time before 1970 has negative milliseconds otherwise.
  std::int64_t seconds = t / 1000;
  std::int64_t millis = t % 1000;
  if (millis < 0) {
    millis += 1000;
    --seconds;
  }
  const std::time_t time = seconds;
  std::tm utc{};
  if (gmtime_r(&time, &utc) == nullptr) return "-";
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
                     utc.tm_hour, utc.tm_min, utc.tm_sec, millis);
}

namespace {

struct Unit {
  std::string_view name;
  std::int64_t millis;
};
// Longest first: "ms" before "m".
constexpr Unit units[] = {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}};

}  // namespace

Result<Millis> parse_duration(std::string_view text) {
  const std::string_view whole = text;
  const auto bad = [&](std::string_view why) {
    return fail(ErrorKind::invalid,
                fmt::format("\"{}\" is not a duration: {}; write for example \"30s\", \"250ms\", \"1h30m\"",
                            printable(truncate_utf8(whole, 64)), why));
  };
  if (text.empty()) return bad("it is empty");
  double total = 0;
  while (!text.empty()) {
    double number = 0;
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
    if (ec != std::errc{} || number < 0) return bad("a number from 0 is expected");
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    const Unit* found = nullptr;
    for (const Unit& unit : units) {
      if (text.starts_with(unit.name)) {
        found = &unit;
        break;
      }
    }
    if (found == nullptr) return bad("a unit (ms, s, m, h, d) is missing");
    text.remove_prefix(found->name.size());
    total += number * static_cast<double>(found->millis);
    if (!(total < 1e15)) return bad("it is too long");
  }
  return Millis(static_cast<std::int64_t>(total + 0.5));
}

std::string format_duration(Millis d) {
  std::int64_t left = d.count();
  if (left == 0) return "0s";
  std::string out;
  if (left < 0) {
    out = "-";
    left = -left;
  }
  for (const auto& [name, millis] : {units[4], units[3], units[2], units[1], units[0]}) {
    if (left >= millis) {
      out += fmt::format("{}{}", left / millis, name);
      left %= millis;
    }
  }
  return out;
}

}  // namespace talaria
