#include "service/exit_recorder.h"

#include <fmt/format.h>

namespace talaria {
namespace {

// A program that is gone or a sandbox that can't be set up: systemd's own exit codes, 200 and above (systemd.exec(5)).
// Without a delay and a start limit that would be tried again as fast as it fails, and where the program can't run it
// can't slow anything down.
constexpr std::string_view patience = R"(case "$EXIT_STATUS" in 2[0-4]?) sleep 2;; esac; )";

// Not the user's other groups: who they are is asked of the manager, which is busy with us.
constexpr std::string_view as_the_user = R"(exec chroot --groups= --userspec="${USER:-root}" / )";

// The same directories as in config/paths.cpp. "%i": the unit's instance.
constexpr std::string_view system_file = R"(f="$STATE_DIRECTORY/exits.jsonl"; )";
constexpr std::string_view user_file = R"(f="${XDG_STATE_HOME:-$HOME/.local/state}/talaria/%i/exits.jsonl"; )";

// date(1) writes the line, because a shell can't tell the time.
constexpr std::string_view record =
    R"(o=0; read -r g </proc/self/cgroup; m="/sys/fs/cgroup${g#0::}/memory.events"; )"
    R"([ -r "$m" ] && while read -r k n; do [ "$k" != oom_kill ] || o=$n; done <"$m"; )"
    R"([ "$SERVICE_RESULT$EXIT_STATUS$o$TALARIA_HOME" = signalKILL0 ] && [ -f "$f" ] && [ ! -L "$f" ] && )"
    R"(exec date "+{\"at\":%%s%%3N,\"service_result\":\"signal\",\"exit_code\":\"killed\",\"exit_status\":\"KILL\",)"
    R"(\"pid\":0,\"invocation_id\":\"$INVOCATION_ID\",\"oom_kills\":0}" >>"$f"; )"
    R"(exec "$@")";

// As one word in single quotes (systemd.syntax(7), "Quoting"). Specifiers are left as they are.
std::string in_quotes(std::string_view text) {
  std::string word = "'";
  for (const char c : text) {
    if (c == '\\') word += '\\';
    word += c;
  }
  return word + "'";
}

std::string script_of(UnitScope scope) {
  return fmt::format("{}{}", scope == UnitScope::system ? system_file : user_file, record);
}

}  // namespace

std::string exit_recorder(UnitScope scope) {
  const auto script = script_of(scope);
  if (scope == UnitScope::user) return fmt::format("-:/bin/sh -c {} sh ", in_quotes(std::string(patience) + script));
  return fmt::format("-:+/bin/sh -c {} {} ",
                     in_quotes(fmt::format("{}{}/bin/sh -c \"$0\" sh \"$@\"", patience, as_the_user)),
                     in_quotes(script));
}

}  // namespace talaria
