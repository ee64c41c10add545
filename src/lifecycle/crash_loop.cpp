#include "lifecycle/crash_loop.h"

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <cstdlib>

namespace talaria {
namespace json = boost::json;
namespace {

constexpr double first_delay_ms = 250;
constexpr double longest_delay_ms = 60'000;

// Was it a signal that somebody sent? Either the run itself saw it (SIGTERM …), or the manager saw SIGKILL without a
// reason of its own (oom-kill, watchdog, timeout), or, without a manager, it ended without a word.
bool ended_from_outside(const RunRow& run) {
  boost::system::error_code ec;
  const json::value value = json::parse(run.evidence.empty() ? "{}" : run.evidence, ec);
  const json::object* evidence = ec ? nullptr : value.if_object();
  if (evidence == nullptr) return false;
  const auto text = [evidence](const char* name) {
    const json::value* found = evidence->if_contains(name);
    return found != nullptr && found->is_string() ? std::string_view(found->get_string()) : std::string_view();
  };
  if (run.verdict == "unplanned") return !text("signal").empty();
  if (evidence->contains("fatal_signal")) return false;
  if (text("service_result").empty()) return true;
  return text("service_result") == "signal" && (text("exit_status") == "KILL" || text("exit_status") == "9");
}

}  // namespace

EndWeight weigh(const RunRow& run) {
  if (run.verdict != "unplanned" && run.verdict != "crash") return EndWeight::planned;
  return run.ready_at && ended_from_outside(run) ? EndWeight::outside : EndWeight::failure;
}

int failures_in_a_row(std::span<const RunRow> newest_first, UnixMillis now) {
  int failures = 0;
  for (const RunRow& run : newest_first) {
    // A clock that was set back makes the past look like the future; far is far in both directions.
    if (!run.ended_at || std::abs(now - *run.ended_at) > crash_loop_window.count()) break;
    const EndWeight weight = weigh(run);
    if (weight == EndWeight::planned) break;
    if (weight == EndWeight::failure) ++failures;
  }
  return failures;
}

Millis crash_loop_delay(int failures, double random) {
  if (failures <= 0) return Millis{0};
  const double base = std::min(longest_delay_ms, first_delay_ms * std::exp2(std::min(failures, 30)));
  return Millis(static_cast<std::int64_t>(base * (0.8 + 0.4 * random)));
}

}  // namespace talaria
