// IRC from both ends: bytes as lines of a server (parsing, and a whole session fed with them), and bytes as an answer
// to be sent (splitting). What is checked: the limits hold, nothing can smuggle a line out, and what is parsed formats
// back.

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <cstdlib>

#include "channel/irc/line_split.h"
#include "channel/irc/message.h"
#include "channel/irc/session.h"
#include "channel/text_split.h"

using namespace talaria;
using namespace talaria::irc;

namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

void check_wire_bytes(std::string_view bytes) {
  check(bytes.ends_with("\r\n"));
  for (std::size_t at = 0; at < bytes.size();) {
    const auto end = bytes.find("\r\n", at);
    check(end != bytes.npos && end + 2 - at <= kMaxLine);
    check(bytes.substr(at, end - at).find_first_of(std::string_view("\0\r\n", 3)) == bytes.npos);
    at = end + 2;
  }
}

void parse(std::string_view line) {
  const auto message = parse_message(line);
  if (!message) return;
  check(message->params.size() <= kMaxParams);
  const auto back = format_line(message->command, message->params);
  if (!back) return;
  const auto again = parse_message(*back);
  check(again && again->command == message->command && again->params == message->params);
}

void session(std::string_view input) {
  static asio::io_context loop;  // one for all runs: making it costs a few system calls
  Outgoing outgoing(loop.get_executor(), 1.0, 4);
  std::size_t events = 0;
  const SystemWallClock clock;
  SessionSettings settings;
  settings.login.nick = "talaria";
  if (input.starts_with('S')) settings.login.sasl_account = settings.login.sasl_password = "bot";
  settings.join = {"#room"};
  settings.allow = AllowList({"account:alice", "nick:bob"});
  Session session(
      settings, clock, outgoing, [&](InboundEvent event) { events += event.text.empty() ? 0 : 1; },
      [] { return "id"; });
  auto now = SteadyClock::time_point{} + std::chrono::hours(1);
  session.start(now);
  const auto delivery = outgoing.deliver("bob", "token", {"PRIVMSG bob :x", "PRIVMSG bob :y"});
  while (!input.empty() && !session.end()) {
    const auto end = std::min(input.find('\n'), input.size());
    session.on_line(input.substr(0, end), now);
    input.remove_prefix(std::min(end + 1, input.size()));
    now += std::chrono::seconds(1);
    while (const auto bytes = outgoing.take(now)) check_wire_bytes(*bytes);
    session.on_tick(now);
    check(session.end() || session.next_tick() > now - std::chrono::seconds(1));
    check(session.source_bytes() < 3 * kMaxInput + 256);
  }
  outgoing.on_connection_lost("end");
  check(!delivery || delivery->outcome.has_value());
}

void split(std::string_view text, std::size_t limit) {
  for (const auto& line : compose_lines(text, "bob: ", {.bytes = limit, .lines = 20})) {
    check(!line.empty() && line.size() <= std::max<std::size_t>(limit, 64));
    check(format_line("PRIVMSG", std::vector<std::string>{"b", line}).has_value());
    check(replace_invalid_utf8(line) == line);
  }
  for (const auto& piece : split_text(text, limit)) check(piece.size() <= std::max<std::size_t>(limit, 64));
  const auto valid = replace_invalid_utf8(text);
  std::string joined;
  for (const auto& piece : split_line(valid, limit)) {
    check(!piece.empty() && piece.size() <= std::max<std::size_t>(limit, 4));
    joined += piece;
  }
  check(joined == valid);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  parse(input);
  session(input);
  split(input, data[0]);
  return 0;
}
