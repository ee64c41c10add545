#include "service/units.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "service/exit_recorder.h"
#include "service/printable_utf8.h"

namespace talaria {
namespace {

constexpr std::string_view mark = "written by \"talaria gateway install\"";

// What systemd takes for the path of a program: no control character, quote or backslash, however escaped.
bool is_safe_path(std::string_view text) {
  if (text.find_first_of("\"'\\") != std::string_view::npos) return false;
  return is_printable_utf8(text);
}

std::string header(std::string_view file, std::string_view edit) {
  return fmt::format(
      "# {0}, {1} (Talaria {2}).\n"
      "# The next \"install\" overwrites what is changed here; put changes into a drop-in: {3}\n",
      file, mark, TALARIA_VERSION, edit);
}

// How the manager learns how a run ended, and what it does about it (lifecycle.md, 2 and 8).
constexpr std::string_view restart_rules = R"(
# What an exit means: 0 a planned end, 75 "start me again", 64, 77 and 78 what a restart can't mend (command line, permission,
# configuration); all else is a failure and is restarted. A signal that hits before our handlers stand would count as clean.
Restart=on-failure
RestartForceExitStatus=75 SIGTERM SIGINT SIGHUP SIGPIPE
SuccessExitStatus=75
RestartPreventExitStatus=64 77 78
# Any other delay is rounded up, by as much as 250 ms, to a moment when systemd wakes up anyway (sd_event_add_time(3)).
RestartSec=0
)";

// Crash loops are slowed down inside the gateway, which knows an operator's start from its own.
constexpr std::string_view unit_section_end = "StartLimitIntervalSec=0\n";

constexpr std::string_view system_sandbox = R"(
# The sandbox. Left open on purpose: the network (platforms and models), executable memory (agents with a JIT compiler), and
# /proc (who sent a signal is part of the record of an end). Without ProtectHostname=, ProtectKernelTunables=,
# ProtectKernelLogs= and ProtectControlGroups=: they forbid what takes root or a capability, which nothing here has or can
# get, and every start would pay for them with mounts and filters of its own.
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateUsers=yes
ProtectClock=yes
ProtectKernelModules=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
LockPersonality=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
)";

// As one word of a command line (systemd.syntax(7), "Quoting"; systemd.unit(5), "Specifiers").
std::string escaped(std::string_view path) {
  std::string word;
  for (const char c : path) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("/._-+,=@:~$").contains(c);
    if (c == '%')
      word += "%%";
    else if (plain)
      word += c;
    else
      word += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  }
  return word;
}

std::string exec_lines(const UnitSpec& spec) {
  const auto command = [&](const std::string& program, std::string_view verb) {
    const auto* scope = spec.scope == UnitScope::system ? " --system" : "";
    return fmt::format("{}{} -p %i gateway {}\n", program, scope, verb);
  };
  return "ExecStart=" + command(exec_word("", spec.binary), "run") +
         "ExecReload=" + command(exec_word("", spec.binary), "reload") +
         "ExecStop=" + command(exec_word("-", spec.binary), "announce-stop") +
         "ExecStopPost=" + command(exit_recorder(spec.scope) + escaped(spec.binary), "record-exit");
}

std::string system_directories() {
  // Kept when the unit stops: another gateway of this profile, started by hand, may own what is in the runtime
  // directory.
  return fmt::format(
      "\nUser={}\n"
      "ConfigurationDirectory=talaria/%i\n"
      "ConfigurationDirectoryMode=0750\n"
      "StateDirectory=talaria/%i\n"
      "StateDirectoryMode=0700\n"
      "RuntimeDirectory=talaria/%i\n"
      "RuntimeDirectoryMode=0700\n"
      "RuntimeDirectoryPreserve=yes\n"
      "WorkingDirectory=%S/talaria/%i\n"
      "Environment=HOME=%S/talaria/%i\n",
      default_service_user);
}

constexpr std::string_view user_directories =
    "\nRuntimeDirectory=talaria/%i\n"
    "RuntimeDirectoryMode=0700\n"
    "RuntimeDirectoryPreserve=yes\n";

// What systemd knows since a version later than the oldest: an older one would warn and pass over it (systemd's NEWS).
// Not here on purpose:
// - RestartSteps=, RestartMaxDelaySec= (254): the delay grows with NRestarts=, which only an operator resets, so a
//   gateway that ran for a year would come back from its tenth crash as slowly as from a crash loop.
// - Type=notify-reload (253): it can't say that a configuration was refused; ExecReload='s exit code can.
struct Addition {
  int since;
  bool system;
  bool user;
  std::string_view lines;
};
constexpr Addition additions[] = {
    // Before 254 the user manager puts it below XDG_CONFIG_HOME (systemd.exec(5)); the gateway makes its own directory.
    {254, false, true, "StateDirectory=talaria/%i\nStateDirectoryMode=0700\n"},
    // What every version before does: the sockets outlive a crash and a restart, and are closed by a stop.
    {254, true, true, "FileDescriptorStorePreserve=restart\n"},
};

std::string additions_for(const UnitSpec& spec) {
  std::string text;
  for (const auto& addition : additions)
    if (spec.systemd_version >= addition.since && (spec.scope == UnitScope::system ? addition.system : addition.user))
      text += addition.lines;
  return text;
}

}  // namespace

std::string unit_name(std::string_view profile) { return fmt::format("talaria-gateway@{}.service", profile); }

bool is_our_file(std::string_view text) { return text.substr(0, text.find('\n')).contains(mark); }

std::string exec_word(std::string_view prefix, std::string_view path) {
  return std::string(prefix) + (path.contains('$') ? ":" : "") + escaped(path);
}

Result<std::string> render_unit(const UnitSpec& spec) {
  if (!spec.binary.starts_with('/') || !is_safe_path(spec.binary))
    return fail(ErrorKind::invalid,
                fmt::format("a unit can't name the program \"{}\": install it under an absolute path of "
                            "printable UTF-8, such as /usr/local/bin/talaria",
                            spec.binary));
  if (spec.systemd_version < oldest_systemd)
    return fail(ErrorKind::invalid, fmt::format("systemd {} is too old: the service needs {} or later",
                                                spec.systemd_version, oldest_systemd));
  const bool system = spec.scope == UnitScope::system;
  std::string text = header(unit_template, system ? "systemctl edit talaria-gateway@PROFILE"
                                                  : "systemctl --user edit talaria-gateway@PROFILE");
  text += "\n[Unit]\nDescription=Talaria gateway (%i)\n";
  // The bus outlives us when the system goes down, so that the manager can still be asked. The network need not be
  // there: what can't be reached is tried again.
  if (system) text += "After=network.target dbus.service\n";
  text += unit_section_end;
  text += "\n[Service]\nType=notify\nNotifyAccess=main\n";
  text += exec_lines(spec);
  text += restart_rules;
  text += fmt::format(
      "\n"
      "# Longer than the drain; children that outlive the gateway are killed with it.\n"
      "KillMode=mixed\n"
      "TimeoutStartSec=90s\n"
      "TimeoutStopSec={}s\n"
      "WatchdogSec=60s\n"
      "OOMPolicy=continue\n"
      "FileDescriptorStoreMax=16\n"
      "LimitNOFILE=16384\n"
      "UMask=0077\n",
      unit_stop_seconds);
  text += system ? system_directories() : std::string(user_directories);
  text += additions_for(spec);
  if (system) text += system_sandbox;
  text += fmt::format("\n[Install]\nWantedBy={}\n", system ? "multi-user.target" : "default.target");
  return text;
}

Result<std::string> render_user_drop_in(std::string_view user) {
  // What useradd(8) takes, which is less than systemd does.
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  };
  if (user.empty() || user.size() > 31 || user.front() == '-' || !std::ranges::all_of(user, good))
    return fail(ErrorKind::invalid, fmt::format("\"{}\" is not the name of a user", user));
  // The service's own account may lose its IPC objects with it (RemoveIPC=yes); a person's must not.
  // Root may write the kernel's tunables and the control groups, and read what modules are, even without any
  // capability.
  constexpr std::string_view for_root =
      "ProtectKernelTunables=yes\n"
      "ProtectKernelLogs=yes\n"
      "ProtectControlGroups=yes\n";
  return header("50-run-as-user.conf", "another file beside this one") +
         fmt::format("[Service]\nUser={}\nRemoveIPC=no\n{}", user, user == "root" ? for_root : std::string_view());
}

Result<int> parse_systemd_version(std::string_view text) {
  auto digits = text;
  if (digits.starts_with('v')) digits.remove_prefix(1);
  int version = 0;
  const auto [end, error] = std::from_chars(digits.begin(), digits.end(), version);
  if (error != std::errc{} || version <= 0)
    return fail(ErrorKind::invalid, fmt::format("systemd says that its version is \"{}\"", text));
  return version;
}

}  // namespace talaria
