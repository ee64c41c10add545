#include "process/record_json.h"

#include <fmt/format.h>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include "base/text.h"

namespace talaria {

namespace json = boost::json;

Result<json::object> parse_record(std::string_view text, std::size_t limit, std::string_view what) {
  if (text.size() > limit) return fail(ErrorKind::invalid, fmt::format("{} is longer than {} bytes", what, limit));
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos)
    return fail(ErrorKind::invalid, fmt::format("{} is empty", what));
  json::parse_options options;
  options.max_depth = 4;
  boost::system::error_code ec;
  json::value value = json::parse(json::string_view(text.data(), text.size()), ec, {}, options);
  if (ec) return fail(ErrorKind::invalid, fmt::format("{} is no JSON: {}", what, ec.message()));
  if (!value.is_object()) return fail(ErrorKind::invalid, fmt::format("{} is no JSON object", what));
  return std::move(value.get_object());
}

Result<std::string> text_member(const json::object& object, std::string_view name, std::size_t max_bytes) {
  const json::value* value = object.if_contains(json::string_view(name.data(), name.size()));
  if (value == nullptr) return fail(ErrorKind::invalid, fmt::format("\"{}\" is missing", name));
  const json::string* string = value->if_string();
  if (string == nullptr) return fail(ErrorKind::invalid, fmt::format("\"{}\" is no string", name));
  if (string->size() > max_bytes)
    return fail(ErrorKind::invalid, fmt::format("\"{}\" is longer than {} bytes", name, max_bytes));
  std::string text(string->data(), string->size());
  if (printable(text) != text)
    return fail(ErrorKind::invalid, fmt::format("\"{}\" has characters that can't be printed", name));
  return text;
}

Result<std::int64_t> number_member(const json::object& object, std::string_view name, std::int64_t min,
                                   std::int64_t max) {
  const json::value* value = object.if_contains(json::string_view(name.data(), name.size()));
  if (value == nullptr) return fail(ErrorKind::invalid, fmt::format("\"{}\" is missing", name));
  // Boost.JSON holds every integer that fits as int64; what is larger (uint64) or has a fraction is out of range here.
  const std::int64_t* number = value->if_int64();
  if (number == nullptr || *number < min || *number > max)
    return fail(ErrorKind::invalid, fmt::format("\"{}\" is no whole number from {} to {}", name, min, max));
  return *number;
}

Result<Incarnation> incarnation_members(const json::object& object) {
  const auto pid = number_member(object, "pid", 1, INT32_MAX);
  if (!pid) return std::unexpected(pid.error());
  const auto start = number_member(object, "start_time", 0, INT64_MAX);
  if (!start) return std::unexpected(start.error());
  const auto boot = text_member(object, "boot_id", 64);
  if (!boot) return std::unexpected(boot.error());
  // One judge of what an incarnation is: the parser of its text form.
  return parse_incarnation(fmt::format("{}:{}:{}", *pid, *start, *boot));
}

void put_incarnation(json::object& object, const Incarnation& incarnation) {
  object["pid"] = incarnation.pid;
  object["start_time"] = incarnation.start_time;
  object["boot_id"] = record_text(incarnation.boot_id, 64);
}

std::string record_text(std::string_view text, std::size_t max_bytes) {
  // Escaping never shortens: one byte more than fits is enough to know that something is cut.
  return truncate_utf8(printable(text.substr(0, max_bytes + 1)), max_bytes);
}

}  // namespace talaria
