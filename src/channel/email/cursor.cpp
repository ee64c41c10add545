#include "channel/email/cursor.h"

#include <fmt/format.h>

#include <charconv>

namespace talaria::mail {
namespace {

template <class T>
bool take(std::string_view& text, T& out) {
  if (!text.starts_with(' ')) return false;
  text.remove_prefix(1);
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  text.remove_prefix(static_cast<std::size_t>(stop - text.data()));
  return error == std::errc{};
}

}  // namespace

std::string to_text(const MailCursor& cursor) {
  return fmt::format("v1 {} {} {}", cursor.uid_validity, cursor.uid, cursor.since);
}

std::optional<MailCursor> parse_cursor(std::string_view text) {
  if (!text.starts_with("v1")) return std::nullopt;
  text.remove_prefix(2);
  MailCursor cursor;
  if (take(text, cursor.uid_validity) && take(text, cursor.uid) && take(text, cursor.since) && text.empty())
    return cursor;
  return std::nullopt;
}

}  // namespace talaria::mail
