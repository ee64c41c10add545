#include "service/supervisor_answer.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>

namespace talaria {
namespace {

constexpr std::size_t runit_size = 20;
constexpr std::size_t s6_size = 35;
constexpr std::size_t s6_size_with_group = 43;  // since 2.12

unsigned byte_at(std::string_view bytes, std::size_t at) { return static_cast<unsigned char>(bytes[at]); }

// The <int> or <string> value of a struct member. Python's xmlrpc writes name and value with only a newline between
// them; all we want to know are two numbers and a word, so no XML parser is needed to be sure of them.
std::optional<std::string_view> member(std::string_view xml, std::string_view name, std::string_view type) {
  const auto at = xml.find(fmt::format("<name>{}</name>", name));
  if (at == std::string_view::npos) return {};
  xml.remove_prefix(at);
  xml = xml.substr(0, xml.find("</member>"));
  const auto open = fmt::format("<{}>", type);
  const auto begin = xml.find(open);
  if (begin == std::string_view::npos) return {};
  xml.remove_prefix(begin + open.size());
  return xml.substr(0, xml.find('<'));
}

std::optional<int> number(std::optional<std::string_view> text) {
  if (!text) return {};
  int value = 0;
  const auto [end, error] = std::from_chars(text->begin(), text->end(), value);
  if (error != std::errc{} || end != text->end()) return {};
  return value;
}

std::string escape_xml(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&': escaped += "&amp;"; break;
      case '<': escaped += "&lt;"; break;
      case '>': escaped += "&gt;"; break;
      default: escaped += c;
    }
  }
  return escaped;
}

}  // namespace

Result<SupervisorAnswer> parse_runit_status(std::string_view bytes) {
  if (bytes.size() != runit_size)
    return fail(ErrorKind::invalid, fmt::format("runsv's status has {} bytes instead of 20", bytes.size()));
  unsigned pid = 0;
  for (std::size_t i = 0; i < 4; ++i) pid |= byte_at(bytes, 12 + i) << (8 * i);
  const char wish = bytes[17];
  if ((wish != 'u' && wish != 'd') || pid > 0x7fffffff)
    return fail(ErrorKind::invalid, "runsv's status is in another format");
  return SupervisorAnswer{
      wish == 'u' ? Wanted::up : Wanted::down, static_cast<int>(pid), wish == 'u' ? "want up" : "want down", {}};
}

Result<SupervisorAnswer> parse_s6_status(std::string_view bytes) {
  if (bytes.size() != s6_size && bytes.size() != s6_size_with_group)
    return fail(ErrorKind::invalid,
                fmt::format("s6-supervise's status has {} bytes instead of 35 or 43", bytes.size()));
  std::uint64_t pid = 0;
  for (std::size_t i = 0; i < 8; ++i) pid = pid << 8 | byte_at(bytes, 24 + i);
  const unsigned flags = byte_at(bytes, bytes.size() - 1);
  if (pid > 0x7fffffff || flags >= 0x40) return fail(ErrorKind::invalid, "s6-supervise's status is in another format");
  const bool up = (flags & 4) != 0;
  return SupervisorAnswer{up ? Wanted::up : Wanted::down, static_cast<int>(pid), up ? "wanted up" : "wanted down", {}};
}

Result<SupervisorAnswer> parse_supervisord_answer(std::string_view xml) {
  if (const auto fault = number(member(xml, "faultCode", "int"))) {
    constexpr int shutdown_state = 6;
    if (*fault == shutdown_state) return SupervisorAnswer{Wanted::down, 0, "SHUTDOWN_STATE", {}};
    return fail(ErrorKind::unavailable, fmt::format("supervisord answers with fault {}", *fault));
  }
  const auto state = number(member(xml, "state", "int"));
  const auto pid = number(member(xml, "pid", "int"));
  const auto name = member(xml, "statename", "string");
  if (!state || !pid || !name) return fail(ErrorKind::invalid, "supervisord's answer can't be read");
  // http://supervisord.org/subprocess.html: STOPPED 0, STARTING 10, RUNNING 20, BACKOFF 30, STOPPING 40, EXITED 100,
  // FATAL 200, UNKNOWN 1000.
  const bool up = *state == 10 || *state == 20;
  if (!up && *state != 40)
    return fail(ErrorKind::invalid, fmt::format("supervisord says that we are {}, and we are not", *state));
  return SupervisorAnswer{up ? Wanted::up : Wanted::down, *pid, std::string(name->substr(0, 32)), {}};
}

std::string supervisord_question(std::string_view process) {
  return fmt::format(
      "<?xml version='1.0'?><methodCall><methodName>supervisor.getProcessInfo</methodName>"
      "<params><param><value><string>{}</string></value></param></params></methodCall>",
      escape_xml(process));
}

}  // namespace talaria
