#include "channel/webhook/inbound.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/text.h"
#include "channel/text_split.h"

namespace talaria::webhook {
namespace json = boost::json;
namespace {

constexpr std::size_t max_document = 24 * 1024;  // bytes of JSON in a text that describe() makes
constexpr std::size_t max_name = 200;

// The member, the element, or null.
const json::value* child(const json::value& of, std::string_view name) {
  if (const json::object* object = of.if_object()) return object->if_contains(name);
  const json::array* array = of.if_array();
  std::size_t index = 0;
  const char* end = name.data() + name.size();
  if (array == nullptr) return nullptr;
  if (const auto done = std::from_chars(name.data(), end, index); done.ec != std::errc{} || done.ptr != end)
    return nullptr;
  return index < array->size() ? &(*array)[index] : nullptr;
}

const json::value* find(const json::value& in, std::span<const std::string> path) {
  const json::value* at = &in;
  for (const std::string& part : path) {
    at = child(*at, part);
    if (at == nullptr) return nullptr;
  }
  return at;
}

std::string text_at(const json::value& in, std::initializer_list<std::string> path) {
  const json::value* found = find(in, std::vector<std::string>(path));
  const json::string* text = found == nullptr ? nullptr : found->if_string();
  return text == nullptr ? std::string() : truncate_utf8(*text, max_name);
}

// Line breaks and tabs stay, other control characters go: no terminal or log is steered from outside.
std::string cleaned(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte >= 0x20 && byte != 0x7F) || c == '\n' || c == '\t') out += c;
  }
  return out;
}

std::string shown(const json::value& value) {
  if (value.is_null()) return {};
  if (const json::string* text = value.if_string()) return truncate_utf8(cleaned(*text), max_value);
  return truncate_utf8(json::serialize(value), max_value);
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// One field of application/x-www-form-urlencoded (URL Standard, 5.1).
std::string form_field(std::string_view form, std::string_view name) {
  while (!form.empty()) {
    const std::string_view pair = form.substr(0, form.find('&'));
    form.remove_prefix(std::min(form.size(), pair.size() + 1));
    const auto equals = pair.find('=');
    if (pair.substr(0, equals) != name || equals == std::string_view::npos) continue;
    std::string value;
    for (std::size_t i = equals + 1; i < pair.size(); ++i) {
      const bool escape =
          pair[i] == '%' && i + 2 < pair.size() && hex_digit(pair[i + 1]) >= 0 && hex_digit(pair[i + 2]) >= 0;
      if (escape) {
        value += static_cast<char>(hex_digit(pair[i + 1]) * 16 + hex_digit(pair[i + 2]));
        i += 2;
      } else {
        value += pair[i] == '+' ? ' ' : pair[i];
      }
    }
    return value;
  }
  return {};
}

std::string event_of(Scheme scheme, const HookRequest& request, const json::value& body) {
  if (scheme == Scheme::standard) return text_at(body, {"type"});
  std::string event;
  std::string action;
  if (scheme == Scheme::github) {
    event = replace_invalid_utf8(request.header("x-github-event").substr(0, max_name));
    action = text_at(body, {"action"});
  } else {
    event = text_at(body, {"object_kind"});
    if (event.empty()) event = text_at(body, {"event_name"});  // system hooks
    action = text_at(body, {"object_attributes", "action"});
  }
  return action.empty() ? event : event + "." + action;
}

}  // namespace

Result<Report> read_report(Scheme scheme, std::string id, const HookRequest& request) {
  const bool form = request.header("content-type").starts_with("application/x-www-form-urlencoded");
  boost::system::error_code failed;
  json::value body = json::parse(mend_surrogates(form ? form_field(request.body, "payload") : request.body), failed);
  if (failed) return fail(ErrorKind::invalid, "the body is not JSON");
  Report report{.id = std::move(id), .event = {}, .sender = {}, .body = std::move(body)};
  report.event = cleaned(event_of(scheme, request, report.body));
  report.sender = scheme == Scheme::github ? text_at(report.body, {"sender", "login"}) : "";
  if (scheme == Scheme::gitlab) {
    report.sender = text_at(report.body, {"user", "username"});
    if (report.sender.empty()) report.sender = text_at(report.body, {"user_username"});
  }
  report.sender = cleaned(report.sender);
  return report;
}

bool is_wanted(Scheme scheme, std::string_view event, std::span<const std::string> listed) {
  if (listed.empty()) return scheme != Scheme::github || event != "ping";
  return std::ranges::any_of(listed, [&](const std::string& want) {
    return event.starts_with(want) && (event.size() == want.size() || event[want.size()] == '.');
  });
}

std::string render(std::span<const TextPiece> pieces, const Report& report) {
  std::string text;
  for (const TextPiece& piece : pieces) {
    if (text.size() > max_text) break;
    if (piece.path.empty()) {
      text += piece.literal;
    } else if (piece.path[0] == "@event") {
      text += report.event;
    } else if (piece.path[0] == "@id") {
      text += report.id;
    } else if (const json::value* value = find(report.body, piece.path)) {
      text += shown(*value);
    }
  }
  return truncate_utf8(text, max_text);
}

std::string describe(std::string_view channel, const Report& report, bool with_document) {
  std::string where = text_at(report.body, {"repository", "full_name"});
  if (where.empty()) where = text_at(report.body, {"project", "path_with_namespace"});
  std::string text = fmt::format("{} reports {}", channel, report.event.empty() ? "an event" : report.event);
  if (!where.empty()) text += " in " + cleaned(where);
  if (!report.sender.empty()) text += " by " + report.sender;
  if (with_document)
    text += fmt::format(":\n\n```json\n{}\n```", truncate_utf8(json::serialize(report.body), max_document));
  return text;
}

}  // namespace talaria::webhook
