#include "channel/email/smtp_reply.h"

namespace talaria::mail {
namespace {
constexpr std::size_t longest_reply_line = 4096;
constexpr std::size_t most_lines = 200;
}  // namespace

Result<std::optional<SmtpReply>> take_smtp_reply(std::string& input) {
  SmtpReply reply;
  for (std::size_t at = 0;;) {
    const std::size_t end = input.find('\n', at);
    if (end == std::string::npos) {
      if (input.size() - at > longest_reply_line)
        return fail(ErrorKind::limit, "the SMTP server sends too long a line");
      return std::nullopt;
    }
    std::string_view line = std::string_view(input).substr(at, end - at);
    if (line.ends_with('\r')) line.remove_suffix(1);
    at = end + 1;
    const auto digit = [&](std::size_t i) { return line[i] >= '0' && line[i] <= '9' ? line[i] - '0' : -1; };
    if (line.size() < 3 || line.size() > longest_reply_line || digit(0) < 2 || digit(0) > 5 || digit(1) < 0 ||
        digit(2) < 0)
      return fail(ErrorKind::invalid, "the SMTP server sends something that is no reply");
    const int code = digit(0) * 100 + digit(1) * 10 + digit(2);
    if (reply.code != 0 && code != reply.code)
      return fail(ErrorKind::invalid, "the SMTP server sends a reply with two codes");
    reply.code = code;
    reply.lines.emplace_back(line.substr(std::min<std::size_t>(4, line.size())));
    if (line.size() == 3 || line[3] != '-') {
      input.erase(0, at);
      return reply;
    }
    if (reply.lines.size() > most_lines) return fail(ErrorKind::limit, "the SMTP server sends too long a reply");
  }
}

}  // namespace talaria::mail
