#include "channel/program/protocol.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "base/text.h"
#include "base/version.h"
#include "channel/text_split.h"

namespace talaria::program {
namespace json = boost::json;
namespace {

constexpr double longest_wait = 24 * 3'600;  // seconds

// Reads the members of one object; keeps the first complaint.
class Reader {
 public:
  explicit Reader(const json::object& object) : object_(object) {}

  std::string text(std::string_view name, bool needed = false, std::size_t most = max_id) {
    const json::value* value = find(name, needed);
    if (value == nullptr) return {};
    const json::string* found = value->if_string();
    if (found == nullptr) return complain(name, "must be a string");
    if (found->size() > most) return complain(name, fmt::format("has more than {} bytes", most));
    if (needed && found->empty()) return complain(name, "is empty");
    return std::string(*found);
  }
  bool boolean(std::string_view name) {
    const json::value* value = find(name, false);
    if (value == nullptr) return false;
    if (const bool* found = value->if_bool()) return *found;
    complain(name, "must be true or false");
    return false;
  }
  std::int64_t integer(std::string_view name, bool needed) {
    const json::value* value = find(name, needed);
    if (value == nullptr) return 0;
    if (const std::int64_t* found = value->if_int64(); found != nullptr && *found >= 0) return *found;
    complain(name, "must be an integer that is not negative");
    return 0;
  }
  double number(std::string_view name) {
    const json::value* value = find(name, false);
    if (value == nullptr) return 0;
    if (const std::int64_t* found = value->if_int64()) return static_cast<double>(*found);
    if (const double* found = value->if_double()) return *found;
    complain(name, "must be a number");
    return 0;
  }
  const json::object* object(std::string_view name) {
    const json::value* value = find(name, true);
    if (value == nullptr) return nullptr;
    const json::object* found = value->if_object();
    if (found == nullptr) complain(name, "must be an object");
    return found;
  }
  std::string complain(std::string_view name, std::string_view what) {
    if (complaint_.empty()) complaint_ = fmt::format("{} {}", name, what);
    return {};
  }
  [[nodiscard]] const std::string& complaint() const { return complaint_; }

 private:
  // A member that is null is not there.
  const json::value* find(std::string_view name, bool needed) {
    const json::value* value = object_.if_contains(name);
    if (value != nullptr && !value->is_null()) return value;
    if (needed) complain(name, "is missing");
    return nullptr;
  }

  const json::object& object_;
  std::string complaint_;
};

Line hello(Reader& in) {
  if (in.integer("protocol", true) != protocol_version)
    in.complain("protocol", fmt::format("must be {}: this gateway speaks no other", protocol_version));
  Hello hello{.account = in.text("account"),
              .can_edit = in.boolean("can_edit"),
              .recognises_repeats = in.boolean("recognises_repeats")};
  const std::string state = in.text("state");
  if (!state.empty() && state != "up" && state != "connecting")
    in.complain("state", "must be \"up\" or \"connecting\"");
  hello.connecting = state == "connecting";
  return hello;
}

Line state(Reader& in) {
  const std::string state = in.text("state", true);
  if (state != "up" && state != "down") in.complain("state", "must be \"up\" or \"down\"");
  return State{state == "up", in.text("error")};
}

Line message(Reader& in) {
  InboundEvent event;
  event.message_id = in.text("id", true);
  event.route = {{}, in.text("conversation", true), in.text("thread"), in.text("reply_to")};
  if (const json::object* sender = in.object("sender")) {
    Reader who(*sender);
    event.sender.id = who.text("id", true);
    event.sender.name = who.text("name");
    if (!who.complaint().empty()) in.complain("sender.", who.complaint());
    if (event.sender.name.empty()) event.sender.name = event.sender.id;
  }
  event.text = in.text("text", true, max_line);
  event.direct = in.boolean("direct");
  event.received_at = in.integer("received_at", false);
  return Message{std::move(event)};
}

Line failed(Reader& in) {
  Failed failed{in.integer("outbox_id", true), {}};
  const std::string fate = in.text("fate", true);
  using Fate = DeliveryError::Fate;
  if (fate != "retry" && fate != "unknown" && fate != "dead")
    in.complain("fate", "must be \"retry\", \"unknown\" or \"dead\"");
  failed.error.fate = fate == "retry" ? Fate::retry : fate == "dead" ? Fate::dead : Fate::unknown;
  failed.error.what = printable(in.text("what"));
  const double wait = in.number("retry_after");
  if (wait >= 0 && wait <= longest_wait)
    failed.error.retry_after = Millis(static_cast<std::int64_t>(wait * 1'000));
  else
    in.complain("retry_after", "must be 0 to 86400 seconds");
  return failed;
}

Line read(std::string_view type, Reader& in) {
  if (type == "hello") return hello(in);
  if (type == "state") return state(in);
  if (type == "message") return message(in);
  if (type == "receipt") return Delivered{in.integer("outbox_id", true), in.text("platform_id")};
  if (type == "failed") return failed(in);
  if (type == "alive") return Alive{};
  if (type == "log") return Log{in.text("level") == "warning", in.text("text", true, max_line)};
  return Unknown{truncate_utf8(type, 64)};
}

std::string line_of(const json::object& object) { return json::serialize(object) + "\n"; }

json::string valid(std::string_view text) { return json::string(replace_invalid_utf8(text)); }

}  // namespace

std::expected<Line, LineError> parse_line(std::string_view line) {
  boost::system::error_code failure;
  const json::value value = json::parse(mend_surrogates(line), failure);
  const json::object* object = value.if_object();
  if (failure || object == nullptr) return std::unexpected(LineError{true, "this line is no JSON object", {}, {}});
  const json::value* type = object->if_contains("type");
  if (type == nullptr || !type->is_string()) return std::unexpected(LineError{true, "this line has no type", {}, {}});
  Reader in(*object);
  Line read_line = read(type->get_string(), in);
  if (in.complaint().empty()) return read_line;
  const auto name = [&](const char* key) {
    const json::value* value = object->if_contains(key);
    const bool fits = value != nullptr && value->is_string() && value->get_string().size() <= max_id;
    return fits ? std::string(value->get_string()) : std::string();
  };
  return std::unexpected(LineError{false, fmt::format("{}: {}", truncate_utf8(type->get_string(), 64), in.complaint()),
                                   name("id"), name("conversation")});
}

std::string welcome_line(std::string_view channel) {
  return line_of({{"type", "welcome"},
                  {"protocol", protocol_version},
                  {"channel", valid(channel)},
                  {"gateway", fmt::format("talaria {}", program_version())},
                  {"max_line", max_line}});
}

std::string accepted_line(std::string_view id, std::string_view conversation, bool duplicate) {
  return line_of(
      {{"type", "accepted"}, {"id", valid(id)}, {"conversation", valid(conversation)}, {"duplicate", duplicate}});
}

std::string refused_line(std::string_view id, std::string_view conversation, std::string_view what) {
  return line_of(
      {{"type", "refused"}, {"id", valid(id)}, {"conversation", valid(conversation)}, {"what", valid(what)}});
}

std::string hold_line(std::string_view id, std::string_view conversation, int retry_after_seconds) {
  return line_of({{"type", "hold"},
                  {"id", valid(id)},
                  {"conversation", valid(conversation)},
                  {"retry_after", retry_after_seconds}});
}

std::string deliver_line(const Reply& reply) {
  json::object line{{"type", "deliver"},
                    {"outbox_id", reply.outbox_id},
                    {"conversation", valid(reply.route.conversation)},
                    {"thread", valid(reply.route.thread)},
                    {"reply_to", valid(reply.route.reply_to)},
                    {"text", valid(reply.text)},
                    {"may_be_repeat", reply.may_be_repeat}};
  if (!reply.edits.empty()) line["edits"] = valid(reply.edits);
  if (reply.partial) line["partial"] = true;
  json::array files;
  for (const Attachment& file : reply.attachments) {
    files.push_back(
        {{"path", valid(file.path)}, {"name", valid(file.name)}, {"type", valid(file.type)}, {"size", file.size}});
  }
  if (!files.empty()) line["attachments"] = std::move(files);
  return line_of(line);
}

std::string typing_line(const Route& route) {
  return line_of({{"type", "typing"}, {"conversation", valid(route.conversation)}, {"thread", valid(route.thread)}});
}

std::string ping_line() { return "{\"type\":\"ping\"}\n"; }
std::string stop_line() { return "{\"type\":\"stop\"}\n"; }
std::string error_line(std::string_view what) { return line_of({{"type", "error"}, {"what", valid(what)}}); }

}  // namespace talaria::program
