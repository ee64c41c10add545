#include "lifecycle/run_ledger.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>

#include "base/sha256.h"
#include "process/small_file.h"
#include "store/cursor.h"

namespace talaria {
namespace json = boost::json;
namespace {

constexpr std::size_t max_exit_log_read = 256 * 1024;

// No channel has this name; the other part names what it is a mark of.
constexpr const char* mark_owner = "";
constexpr const char* mark_name = "testimony";
constexpr std::size_t mark_bytes = 256;  // more than a line of the manager's, which has its time and invocation

Incarnation incarnation_of_run(const RunRow& run) {
  return {static_cast<pid_t>(run.pid), run.process_start, run.boot_id};
}

json::object object_of(const std::string& text) {
  boost::system::error_code ec;
  json::value value = json::parse(text, ec);
  return !ec && value.is_object() ? std::move(value.get_object()) : json::object{};
}

// Nobody but the absence of words spoke for this end: better testimony replaces it.
bool is_guess(const RunRow& run) {
  return run.kind == to_string(CauseKind::vanished) || run.kind == to_string(CauseKind::power_cut);
}

void set_words(RunRow& run, const Explanation& words, UnixMillis at) {
  run.verdict = to_string(words.verdict);
  run.kind = to_string(words.kind);
  run.cause = words.cause;
  run.exit_code = words.exit_code;
  run.ended_at = at;
}

// One run with all that was said about it.
struct Case {
  RunRow run;
  bool told = false;  // by itself, beside the ledger
  const ManagerExit* seen = nullptr;
  const CrashRecord* crash = nullptr;  // the last of "signal" and "stuck-stop"
  const CrashRecord* stuck = nullptr;  // the last of "stuck"
};

class Court {
 public:
  Court(const std::vector<RunRow>& runs, const Testimony& testimony, const Settling& settling) : settling_(settling) {
    cases_.reserve(runs.size() + testimony.exits.seen.size() + testimony.exits.told.size() + testimony.crashes.size());
    for (auto run = runs.rbegin(); run != runs.rend(); ++run) cases_.push_back({*run});
    for (const RunRow& told : testimony.exits.told) hear(told);
    for (const CrashRecord& crash : testimony.crashes) hear(crash);
    hear(testimony.exits.seen);
  }

  std::vector<RunRow> judge() {
    std::vector<RunRow> changed;
    for (Case& each : cases_) {
      if (judge(each)) changed.push_back(std::move(each.run));
    }
    return changed;
  }

 private:
  bool too_old(UnixMillis at) const { return at < settling_.oldest; }

  void hear(const RunRow& told) {
    if (too_old(told.ended_at.value_or(0))) return;
    for (Case& each : cases_) {
      RunRow& run = each.run;
      if (incarnation_of_run(run) != incarnation_of_run(told)) continue;
      if (run.started_at != told.started_at && (told.id == 0 || run.id != told.id)) continue;
      // It came to begin in the ledger, but not to end there.
      if (!run.verdict.empty()) return;
      each.told = true;
      run.verdict = told.verdict;
      run.kind = told.kind;
      run.cause = told.cause;
      run.evidence = told.evidence;
      run.exit_code = told.exit_code;
      run.ended_at = told.ended_at;
      return;
    }
    cases_.push_back({told});
    cases_.back().run.id = 0;
  }

  void hear(const CrashRecord& crash) {
    if (too_old(crash.at)) return;
    Case* found = nullptr;
    for (Case& each : cases_) {  // the last: a process that went on as another program has several
      if (incarnation_of_run(each.run) == crash.who) found = &each;
    }
    if (found == nullptr) {
      if (crash.type != "signal") return;  // stuck and nothing else: it may go on
      cases_.emplace_back();
      RunRow& run = cases_.back().run;
      run.pid = crash.who.pid;
      run.process_start = crash.who.start_time;
      run.boot_id = crash.who.boot_id;
      run.version = crash.version;
      run.started_at = crash.at;
      run.invocation_id = crash.invocation_id;
      found = &cases_.back();
    }
    (crash.type == "stuck" ? found->stuck : found->crash) = &crash;
  }

  // The run of that invocation; of a run that went on as another program, its last row.
  Case* case_of_invocation(const std::string& id) {
    for (auto each = cases_.rbegin(); !id.empty() && each != cases_.rend(); ++each) {
      if (each->run.invocation_id == id) return &*each;
    }
    return nullptr;
  }

  // Whose end the manager saw, where no invocation says it: the one that has been told so already, else the newest of
  // that PID which had begun by then.
  Case* case_of_pid(const ManagerExit& seen) {
    for (Case& each : cases_) {
      if (each.run.manager_at == seen.at && (seen.invocation_id.empty() || each.run.invocation_id.empty()))
        return &each;
    }
    for (auto each = cases_.rbegin(); each != cases_.rend(); ++each) {
      const RunRow& run = each->run;
      if (each->seen != nullptr || run.manager_at) continue;  // that one's end has been seen
      if (!seen.invocation_id.empty() && !run.invocation_id.empty()) continue;
      if (seen.pid != 0 && run.pid == seen.pid && run.started_at <= seen.at) return &*each;
    }
    return nullptr;
  }

  void hear(const std::vector<ManagerExit>& all) {
    std::vector<const ManagerExit*> others;  // after those that are sure of their run
    for (const ManagerExit& seen : all) {
      if (too_old(seen.at)) continue;
      if (Case* found = case_of_invocation(seen.invocation_id); found != nullptr) {
        take(*found, seen);
      } else {
        others.push_back(&seen);
      }
    }
    for (const ManagerExit* seen : others) {
      Case* found = case_of_invocation(seen->invocation_id);
      if (found == nullptr) found = case_of_pid(*seen);
      take(found != nullptr ? *found : add_early(*seen), *seen);
    }
  }

  static void take(Case& each, const ManagerExit& seen) {
    if (!each.run.manager_at) each.seen = &seen;
  }

  // A run that ended before its store was open. The PID of such a line may be that of the lock's last owner: with an
  // invocation of its own it is not trusted.
  Case& add_early(const ManagerExit& seen) {
    cases_.emplace_back();
    RunRow& run = cases_.back().run;
    run.pid = seen.invocation_id.empty() ? seen.pid : 0;
    run.started_at = seen.at;
    run.invocation_id = seen.invocation_id;
    return cases_.back();
  }

  bool alive(const RunRow& run) const { return settling_.alive && incarnation_of_run(run) == *settling_.alive; }

  bool judge(Case& each) const {
    RunRow& run = each.run;
    if (run.verdict.empty() && alive(run)) return false;
    const bool told_itself = !run.verdict.empty() && !is_guess(run);
    if (run.id != 0 && !run.verdict.empty() && !each.told && each.seen == nullptr &&
        (each.crash == nullptr || has_crash(run)))
      return false;
    add_evidence(each);
    if (told_itself) {
      add_to_own_words(each);
    } else {
      explain_silence(each);
    }
    if (each.seen != nullptr) run.manager_at = each.seen->at;
    return true;
  }

  static bool has_crash(const RunRow& run) { return object_of(run.evidence).contains("crash"); }

  void add_evidence(Case& each) const {
    json::object evidence = object_of(each.run.evidence);
    if (each.seen != nullptr) {
      evidence["service_result"] = each.seen->result;
      evidence["exit_code"] = each.seen->code;
      evidence["exit_status"] = each.seen->status;
      if (each.seen->oom_kills > 0) evidence["oom_kills"] = each.seen->oom_kills;
    }
    if (each.crash != nullptr) {
      evidence["crash"] = crash_json(*each.crash);
      if (each.crash->type == "signal") evidence["fatal_signal"] = signal_name(each.crash->signal);
    }
    if (each.stuck != nullptr) evidence["stuck"] = crash_json(*each.stuck);
    if (each.run.verdict.empty() && !each.run.boot_id.empty())
      evidence["boot_id_changed"] = each.run.boot_id != settling_.boot_id;
    each.run.evidence = json::serialize(evidence);
  }

  static json::object crash_json(const CrashRecord& crash) {
    json::array stack;
    for (const std::string& line : crash.stack) stack.push_back(json::string(line));
    return {{"at", format_rfc3339(crash.at)}, {"what", describe(crash)},
            {"signal", crash.signal},         {"code", crash.code},
            {"sender", crash.sender},         {"thread", crash.thread_name},
            {"stack", std::move(stack)}};
  }

  static std::string stuck_words(const CrashRecord& crash, const std::string& cause) {
    return fmt::format("{}{}stuck on the way out and ended by its own guard{}{}", cause, cause.empty() ? "" : "; ",
                       crash.reason.empty() ? "" : ": ", crash.reason);
  }

  // It ended without saying so.
  void explain_silence(Case& each) const {
    RunRow& run = each.run;
    const CrashRecord* crash = each.crash;
    if (crash != nullptr && crash->type == "stuck-stop") {
      // It knew its end and could not write it; the guard did, and left with the right exit code.
      set_words(run,
                {parse_verdict_kind(crash->verdict).value_or(VerdictKind::unplanned), CauseKind::stuck_stop,
                 stuck_words(*crash, crash->cause), crash->exit_code},
                each.seen != nullptr ? each.seen->at : crash->at);
    } else if (each.seen != nullptr) {
      set_words(run, explain(*each.seen, run.ready_at.has_value()), each.seen->at);
      const auto kind = std::string_view(run.kind);
      if (crash != nullptr && crash->type == "signal" && kind == to_string(CauseKind::fatal_signal)) {
        run.cause = "died by " + describe(*crash);
      } else if (kind == to_string(CauseKind::watchdog)) {
        // Our own watch tells which part stood still, in the record that the manager's SIGABRT made or before it.
        const CrashRecord* why = crash != nullptr && !crash->reason.empty() ? crash : each.stuck;
        if (why != nullptr) run.cause += ": " + why->reason;
      }
    } else if (crash != nullptr) {
      set_words(run, {VerdictKind::crash, CauseKind::fatal_signal, "died by " + describe(*crash), -1}, crash->at);
    } else if (run.boot_id != settling_.boot_id) {
      set_words(run, {VerdictKind::crash, CauseKind::power_cut, "power cut, or a reboot that gave no time to stop", -1},
                run.ended_at.value_or(settling_.now));
    } else {
      set_words(
          run,
          {VerdictKind::crash, CauseKind::vanished,
           "ended without a word, and no manager saw it: SIGKILL, from somebody or from the kernel (out of memory)",
           -1},
          run.ended_at.value_or(settling_.now));
    }
  }

  // The first cause is kept; what happened on the way out is added to it.
  static void add_to_own_words(Case& each) {
    RunRow& run = each.run;
    if (each.crash != nullptr && each.crash->type == "stuck-stop") {
      run.kind = to_string(CauseKind::stuck_stop);
      run.cause = stuck_words(*each.crash, run.cause);
      return;
    }
    const bool killed = each.seen != nullptr && (each.seen->code == "killed" || each.seen->code == "dumped");
    if (!killed && each.crash == nullptr) return;
    Explanation after{VerdictKind::crash, CauseKind::fatal_signal, "", -1};
    // It had been asked to end: what ran out was the time to stop.
    if (killed) after = explain(*each.seen, true);
    if (each.crash != nullptr && after.kind == CauseKind::fatal_signal)
      after.cause = "died by " + describe(*each.crash);
    run.kind = to_string(after.kind);
    run.cause += "; then, on the way out, " + after.cause;
    run.exit_code = -1;
  }

  const Settling& settling_;
  std::vector<Case> cases_;  // oldest first
};

}  // namespace

TestimonyText read_testimony(const std::string& state_directory) {
  return {
      .exits = read_small_file(state_directory + "/exits.jsonl", max_exit_log_read).value_or(""),
      .crashes = read_small_file(fmt::format("{}/{}", state_directory, crash_log_name), max_crash_log).value_or("")};
}

Testimony parse_testimony(const TestimonyText& text) {
  return {.exits = parse_exit_log(text.exits), .crashes = parse_crash_log(text.crashes)};
}

std::vector<RunRow> settle(const std::vector<RunRow>& runs, const Testimony& testimony, const Settling& settling) {
  return Court(runs, testimony, settling).judge();
}

namespace {

Result<Settled> settle_these(Database& db, const std::vector<RunRow>& runs, const Testimony& testimony,
                             const Settling& settling) {
  Settled settled;
  for (const RunRow& run : settle(runs, testimony, settling)) {
    if (run.id == 0) {
      if (auto id = add_ended_run(db, run); !id) return std::unexpected(id.error());
    } else if (auto ok = amend_run(db, run); !ok) {
      return std::unexpected(ok.error());
    }
    ++settled.changed;
    if (run.verdict == to_string(VerdictKind::crash)) ++settled.crashed;
  }
  return settled;
}

// A text that only grows: how long it was, and how it ended then.
std::string mark_of(std::string_view text) {
  return fmt::format("{}:{}", text.size(),
                     to_hex(sha256(text.substr(text.size() - std::min(text.size(), mark_bytes)))));
}

std::string mark_of(const TestimonyText& text) {
  return fmt::format("{} {}", mark_of(text.exits), mark_of(text.crashes));
}

// What was appended since the mark was made; none: it is another text by now.
std::optional<std::string_view> appended(std::string_view text, std::string_view mark) {
  std::size_t size = 0;
  const auto colon = mark.find(':');
  const auto [end, error] = std::from_chars(mark.data(), mark.data() + std::min(colon, mark.size()), size);
  if (error != std::errc{} || size > text.size() || mark_of(text.substr(0, size)) != mark) return std::nullopt;
  return text.substr(size);
}

// The last run, if nothing new was said of any other one.
std::optional<RunRow> only_one_in_question(Database& db, const ExitLog& news) {
  auto runs = list_runs(db, 1);
  if (!runs || runs->empty() || !news.told.empty() || news.seen.size() > 1) return std::nullopt;
  RunRow last = std::move(runs->front());
  if (!news.seen.empty() && (last.invocation_id.empty() || news.seen[0].invocation_id != last.invocation_id))
    return std::nullopt;
  return last;
}

}  // namespace

Result<Settled> settle_runs(Database& db, const Testimony& testimony, const Settling& settling) {
  auto runs = list_runs(db, runs_to_settle);
  if (!runs) return std::unexpected(runs.error());
  Settling within = settling;
  // What belongs to runs further back than we look must not become new ones.
  if (runs->size() == runs_to_settle) within.oldest = std::max(within.oldest, runs->back().started_at);
  return settle_these(db, *runs, testimony, within);
}

Result<Settled> settle_runs(Database& db, const TestimonyText& text, const Settling& settling) {
  const auto mark = get_cursor(db, mark_owner, mark_name);
  if (!mark) return std::unexpected(mark.error());
  const auto space = mark->find(' ');
  const auto exits = appended(text.exits, std::string_view(*mark).substr(0, space));
  const bool crashed = space == mark->npos || mark_of(text.crashes) != std::string_view(*mark).substr(space + 1);
  std::optional<RunRow> last;
  Testimony news;
  if (exits && !crashed && !settling.alive) {
    news.exits = parse_exit_log(*exits);
    last = only_one_in_question(db, news.exits);
  }
  auto settled = last ? settle_these(db, {*last}, news, settling) : settle_runs(db, parse_testimony(text), settling);
  if (!settled) return settled;
  if (const auto now = mark_of(text); now != *mark)
    if (auto ok = put_cursor(db, mark_owner, mark_name, now); !ok) return std::unexpected(ok.error());
  return settled;
}

}  // namespace talaria
