#include "service/definition.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "service/printable_utf8.h"
#include "service/units.h"

namespace talaria {
namespace {

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("/._-+,@:").contains(c);
}

std::string xml(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '&')
      escaped += "&amp;";
    else if (c == '<')
      escaped += "&lt;";
    else if (c == '>')
      escaped += "&gt;";
    else
      escaped += c;
  }
  return escaped;
}

std::vector<std::string> arguments(const DefinitionSpec& spec) {
  std::vector<std::string> words{spec.binary};
  if (spec.system) words.emplace_back("--system");
  for (const char* word : {"-p", spec.profile.c_str(), "gateway", "run"}) words.emplace_back(word);
  return words;
}

std::string state_directory(const DefinitionSpec& spec) { return "/var/lib/talaria/" + spec.profile; }

// The machine's directories, which the service's user can't make for itself.
std::string make_directories_line(const DefinitionSpec& spec) {
  if (!spec.system || spec.user.empty() || !spec.home.empty()) return {};
  return fmt::format(
      "install -d -m 0755 /var/lib/talaria /run/talaria\n"
      "install -d -m 0700 -o {0} /var/lib/talaria/{1} /run/talaria/{1}\n",
      shell_word(spec.user), spec.profile);
}

// ---- runit and s6
// ---------------------------------------------------------------------------------------------------------

// A file of the service directory, written by the script; quoted here-documents are taken as they stand.
std::string write_file(std::string_view name, std::string_view text) {
  return fmt::format("cat >\"$directory/{}\" <<'END_OF_FILE'\n{}END_OF_FILE\n", name, text);
}

std::string run_script(const DefinitionSpec& spec, std::string_view as_user, std::string_view more) {
  std::string text =
      "#!/bin/sh\n"
      "exec 2>&1\n"
      "# When a signal comes from the supervisor, the gateway looks here whether it is wanted up or down.\n"
      "chmod 711 supervise\n";
  text += make_directories_line(spec);
  if (!spec.home.empty()) text += fmt::format("export TALARIA_HOME={}\n", shell_word(spec.home));
  if (spec.system && !spec.user.empty() && spec.home.empty())
    text += fmt::format("export HOME={}\n", state_directory(spec));
  text += more;
  text += "exec";
  if (!spec.user.empty()) text += fmt::format(" {} {}", as_user, shell_word(spec.user));
  for (const auto& word : arguments(spec)) text += " " + shell_word(word);
  return text + "\n";
}

std::string directory_script(std::string_view kind, std::string_view folder, const DefinitionSpec& spec,
                             std::string_view files) {
  return fmt::format(
      "#!/bin/sh\n"
      "# Makes the {0} service directory of the Talaria gateway, profile \"{1}\" (\"talaria gateway install --print "
      "{0}\").\n"
      "# Its argument is the directory to make; the default is {2}/talaria-{1}.\n"
      "set -eu\n"
      "directory=${{1:-{2}/talaria-{1}}}\n"
      "mkdir -p \"$directory/log\"\n"
      "{3}"
      "chmod 755 \"$directory/run\" \"$directory/finish\" \"$directory/log/run\"\n",
      kind, spec.profile, folder, files);
}

std::string render_runit(const DefinitionSpec& spec) {
  std::string files = write_file("run", run_script(spec, "chpst -u", ""));
  files +=
      write_file("finish",
                 "#!/bin/sh\n"
                 "# $1 is the exit code, or -1 after a signal. 0 was asked for; 64, 77 and 78 a restart can't mend: "
                 "stay down.\n"
                 "case $1 in\n"
                 "  0 | 64 | 77 | 78) exec sv down . ;;\n"
                 "esac\n");
  files += write_file("log/run",
                      "#!/bin/sh\n"
                      "mkdir -p main\n"
                      "exec svlogd -tt ./main\n");
  return directory_script("runit", "/etc/sv", spec, files);
}

std::string render_s6(const DefinitionSpec& spec) {
  std::string files = write_file(
      "run", run_script(spec, "s6-setuidgid", "# The descriptor in notification-fd.\nexport TALARIA_READY_FD=3\n"));
  files +=
      write_file("finish",
                 "#!/bin/sh\n"
                 "# $1 is the exit code, or 256 after a signal. 0 was asked for; 64, 77 and 78 a restart can't mend: "
                 "stay down.\n"
                 "case $1 in\n"
                 "  0 | 64 | 77 | 78) exit 125 ;;\n"
                 "esac\n"
                 "exit 0\n");
  files += write_file("log/run",
                      "#!/bin/sh\n"
                      "mkdir -p main\n"
                      "exec s6-log -b n20 s1000000 T ./main\n");
  files += write_file("notification-fd", "3\n");
  // Milliseconds from SIGTERM to SIGKILL, above the drain.
  files += write_file("timeout-kill", fmt::format("{}000\n", unit_stop_seconds));
  files += write_file("timeout-finish", "5000\n");
  return directory_script("s6", "/etc/s6/sv", spec, files);
}

// ---- supervisord
// ----------------------------------------------------------------------------------------------------------

std::string render_supervisord(const DefinitionSpec& spec) {
  // `environment=` knows no escapes, so a value that may be anything goes through env(1), which leaves its PID to the
  // program.
  std::string command;
  if (!spec.home.empty()) command = "/usr/bin/env TALARIA_HOME=" + supervisord_word(spec.home);
  for (const auto& word : arguments(spec)) command += (command.empty() ? "" : " ") + supervisord_word(word);
  std::string text = fmt::format(
      "; The Talaria gateway, profile \"{0}\", under supervisord (\"talaria gateway install --print supervisord\").\n"
      "[program:talaria-{0}]\n"
      "command={1}\n",
      spec.profile, command);
  if (spec.system && !spec.user.empty() && spec.home.empty())
    text += fmt::format("environment=HOME=\"{}\"\n", state_directory(spec));
  if (!spec.user.empty()) text += fmt::format("user={}\n", spec.user);
  text += fmt::format(
      "autostart=true\n"
      "; 0 was asked for; 64, 77 and 78 a restart can't mend: stay down. All else is started again.\n"
      "autorestart=unexpected\n"
      "exitcodes=0,64,77,78\n"
      "; An exit is judged by its code however soon it comes. A crash loop is slowed down inside the gateway.\n"
      "startsecs=0\n"
      "; The gateway ends its agents itself, within its drain; what is left after that is killed with it.\n"
      "stopsignal=TERM\n"
      "stopwaitsecs={}\n"
      "stopasgroup=false\n"
      "killasgroup=true\n"
      "umask=077\n"
      "redirect_stderr=true\n",
      unit_stop_seconds);
  if (const auto lines = make_directories_line(spec); !lines.empty()) {
    text += "; supervisord makes no directories. Once, and at boot for /run:\n";
    for (std::size_t at = 0; at < lines.size(); at = lines.find('\n', at) + 1)
      text += fmt::format(";   {}\n", lines.substr(at, lines.find('\n', at) - at));
  }
  return text;
}

// ---- launchd
// --------------------------------------------------------------------------------------------------------------

std::string string_key(std::string_view name, std::string_view value) {
  return fmt::format("  <key>{}</key>\n  <string>{}</string>\n", name, xml(value));
}

std::string integer_key(std::string_view name, int value) {
  return fmt::format("  <key>{}</key>\n  <integer>{}</integer>\n", name, value);
}

// launchd.plist(5). It knows success and failure only: after 64, 77 and 78 it tries again, every ThrottleInterval.
std::string render_launchd(const DefinitionSpec& spec) {
  const auto log = fmt::format("{}/talaria-{}.log", spec.log_folder, spec.profile);
  constexpr int umask = 077;
  std::string text =
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
      "<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n"
      "<plist version=\"1.0\">\n<dict>\n";
  text += string_key("Label", "talaria.gateway." + spec.profile);
  text += "  <key>ProgramArguments</key>\n  <array>\n";
  for (const auto& word : arguments(spec)) text += fmt::format("    <string>{}</string>\n", xml(word));
  text += "  </array>\n";
  if (!spec.home.empty())
    text += fmt::format(
        "  <key>EnvironmentVariables</key>\n  <dict>\n    <key>TALARIA_HOME</key>\n    <string>{}</string>\n  "
        "</dict>\n",
        xml(spec.home));
  if (!spec.user.empty()) text += string_key("UserName", spec.user);
  text +=
      "  <key>RunAtLoad</key>\n  <true/>\n"
      "  <key>KeepAlive</key>\n  <dict>\n    <key>SuccessfulExit</key>\n    <false/>\n  </dict>\n";
  text += integer_key("ExitTimeOut", unit_stop_seconds);
  text += integer_key("ThrottleInterval", 10);
  text += "  <key>AbandonProcessGroup</key>\n  <false/>\n";
  text += integer_key("Umask", umask);
  text +=
      "  <key>SoftResourceLimits</key>\n  <dict>\n    <key>NumberOfFiles</key>\n    <integer>16384</integer>\n  "
      "</dict>\n";
  text += string_key("StandardOutPath", log);
  text += string_key("StandardErrorPath", log);
  return text + "</dict>\n</plist>\n";
}

}  // namespace

std::optional<DefinitionKind> parse_definition_kind(std::string_view name) {
  for (std::size_t i = 0; i < definition_names.size(); ++i)
    if (definition_names[i] == name) return static_cast<DefinitionKind>(i);
  return {};
}

std::string shell_word(std::string_view text) {
  if (!text.empty() && std::ranges::all_of(text, is_plain)) return std::string(text);
  std::string word = "'";
  for (const char c : text) {
    if (c == '\'')
      word += "'\\''";
    else
      word += c;
  }
  return word + "'";
}

std::string supervisord_word(std::string_view text) {
  std::string word;
  for (const char c : text) {
    const bool continues = (static_cast<unsigned char>(c) & 0xc0) == 0x80;  // of a character of several bytes
    if (!is_plain(c) && !continues) word += '\\';
    if (c == '%') word += '%';
    word += c;
  }
  return word;
}

Result<std::string> render_definition(DefinitionKind kind, const DefinitionSpec& spec) {
  for (const auto& path : {spec.binary, spec.home, spec.log_folder})
    if (!path.empty() && (!path.starts_with('/') || !is_printable_utf8(path)))
      return fail(
          ErrorKind::invalid,
          fmt::format("a service definition can't name \"{}\": an absolute path of printable UTF-8 is needed", path));
  if (spec.binary.empty()) return fail(ErrorKind::invalid, "a service definition needs the program's path");
  if (!spec.user.empty())
    if (auto good = render_user_drop_in(spec.user); !good) return std::unexpected(good.error());
  switch (kind) {
    case DefinitionKind::runit: return render_runit(spec);
    case DefinitionKind::s6: return render_s6(spec);
    case DefinitionKind::supervisord: return render_supervisord(spec);
    case DefinitionKind::launchd: return render_launchd(spec);
  }
  return fail(ErrorKind::invalid, "no such definition");
}

}  // namespace talaria
