#include "lifecycle/self_check.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "process/record_json.h"

namespace talaria {
namespace json = boost::json;
namespace {

constexpr std::size_t max_line = 16 * 1024;
constexpr std::size_t max_reason = 4096;

}  // namespace

std::string format_self_check(const SelfCheck& check) {
  const json::object object{{"talaria", "self-check"},
                            {"version", record_text(check.version, 128)},
                            {"ok", check.ok ? 1 : 0},
                            {"why", record_text(check.why, 16)},
                            {"reason", record_text(check.reason, max_reason)}};
  return json::serialize(object) + "\n";
}

Result<SelfCheck> parse_self_check(std::string_view text) {
  const auto nonsense = [](std::string_view why) {
    return fail(ErrorKind::invalid, fmt::format("what it printed is no self-check: {}", why));
  };
  if (!text.ends_with('\n') || text.find('\n') != text.size() - 1) return nonsense("not one line");
  const auto object = parse_record(text, max_line, "the self-check");
  if (!object) return nonsense(object.error().what);
  const auto kind = text_member(*object, "talaria", 16);
  if (!kind || *kind != "self-check") return nonsense("it does not say so");
  const auto version = text_member(*object, "version", 128);
  const auto ok = number_member(*object, "ok", 0, 1);
  const auto why = text_member(*object, "why", 16);
  const auto reason = text_member(*object, "reason", max_reason);
  if (!version || !ok || !why || !reason || version->empty()) return nonsense("a member is missing or wrong");
  return SelfCheck{*version, *ok == 1, *why, *reason};
}

}  // namespace talaria
