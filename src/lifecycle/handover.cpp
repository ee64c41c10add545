#include "lifecycle/handover.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <limits>
#include <set>

#include "process/record_json.h"
#include "process/small_file.h"

namespace talaria {
namespace json = boost::json;
namespace {

constexpr std::size_t max_bytes = 1024 * 1024;
constexpr std::size_t max_text = 4096;
constexpr std::int64_t first_fd = 3;
constexpr std::int64_t last_fd = 1'000'000;
constexpr int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
constexpr std::string_view magic = R"({"talaria":"handover")";

std::unexpected<Error> wrong(std::string_view why) {
  return fail(ErrorKind::invalid, fmt::format("the handover is wrong: {}", why));
}

Result<std::vector<Handover::Fd>> parse_fds(const json::object& object) {
  const auto* value = object.if_contains("fds");
  const auto* array = value != nullptr ? value->if_array() : nullptr;
  if (array == nullptr) return wrong("\"fds\" is missing");
  std::vector<Handover::Fd> fds;
  std::set<std::int64_t> seen;
  for (const auto& each : *array) {
    const auto* entry = each.if_object();
    if (entry == nullptr) return wrong("\"fds\" holds something else than objects");
    auto name = text_member(*entry, "name", 64);
    if (!name) return wrong(name.error().what);
    const auto number = number_member(*entry, "fd", first_fd, last_fd);
    if (!number) return wrong(number.error().what);
    if (!seen.insert(*number).second) return wrong("a descriptor is named twice");
    fds.push_back({std::move(*name), static_cast<int>(*number)});
  }
  return fds;
}

Result<std::vector<Handover::Child>> parse_children(const json::object& object) {
  const auto* value = object.if_contains("children");
  const auto* array = value != nullptr ? value->if_array() : nullptr;
  if (array == nullptr) return wrong("\"children\" is missing");
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max() / 1'000'000;  // in a clock's nanoseconds
  std::vector<Handover::Child> children;
  std::set<std::int64_t> turns;
  std::set<std::int64_t> pids;
  for (const auto& each : *array) {
    const auto* entry = each.if_object();
    if (entry == nullptr) return wrong("\"children\" holds something else than objects");
    const auto turn = number_member(*entry, "turn", 1, std::numeric_limits<std::int64_t>::max());
    const auto pid = number_member(*entry, "pid", 2, std::numeric_limits<std::int32_t>::max());
    const auto deadline = number_member(*entry, "deadline_ms", 0, most);
    if (!turn || !pid || !deadline) return wrong("a child's member is missing or out of range");
    if (!turns.insert(*turn).second || !pids.insert(*pid).second) return wrong("a child is named twice");
    children.push_back({*turn, *pid, *deadline});
  }
  return children;
}

// The descriptor that the variable names, when it is a memfd that nobody can change any more.
UniqueFd sealed_memfd(const char* text) {
  const std::string_view digits(text);
  int number = -1;
  const auto [end, error] = std::from_chars(digits.begin(), digits.end(), number);
  if (error != std::errc{} || end != digits.end() || number < first_fd) return {};
  if (::fcntl(number, F_GET_SEALS) != seals) return {};
  ::fcntl(number, F_SETFD, FD_CLOEXEC);
  return UniqueFd(number);
}

}  // namespace

std::string format_handover(const Handover& handover) {
  json::object object{{"talaria", "handover"}, {"format", handover_format}};
  put_incarnation(object, handover.self);
  object["from_version"] = record_text(handover.from_version, max_text);
  object["to_version"] = record_text(handover.to_version, max_text);
  object["failure"] = record_text(handover.failure, max_text);
  object["run_id"] = handover.run_id;
  json::array fds;
  for (const auto& fd : handover.fds) fds.push_back({{"name", record_text(fd.name, 64)}, {"fd", fd.number}});
  object["fds"] = std::move(fds);
  json::array children;
  for (const auto& child : handover.children)
    children.push_back({{"turn", child.turn}, {"pid", child.pid}, {"deadline_ms", child.deadline_ms}});
  object["children"] = std::move(children);
  return json::serialize(object) + "\n";
}

Result<Handover> parse_handover(std::string_view text) {
  if (text.size() > max_bytes) return wrong("it is too long");
  boost::system::error_code ec;
  json::parse_options strict;
  strict.max_depth = 4;
  const json::value value = json::parse(text, ec, {}, strict);
  const auto* object = ec ? nullptr : value.if_object();
  if (object == nullptr) return wrong("it is no JSON object");
  Handover handover;
  Result<> problem;
  const auto into = [&problem](auto& member, auto parsed) {
    if (!problem) return;
    if (parsed)
      member = std::move(*parsed);
    else
      problem = std::unexpected(parsed.error());
  };
  std::string kind;
  std::int64_t format = 0;
  into(kind, text_member(*object, "talaria", 16));
  if (problem && kind != "handover") return wrong("it is something else");
  into(format, number_member(*object, "format", handover_format, handover_format));
  into(handover.self, incarnation_members(*object));
  into(handover.from_version, text_member(*object, "from_version", max_text));
  into(handover.to_version, text_member(*object, "to_version", max_text));
  into(handover.failure, text_member(*object, "failure", max_text));
  into(handover.run_id, number_member(*object, "run_id", 0, std::numeric_limits<std::int64_t>::max()));
  if (!problem) return wrong(problem.error().what);
  auto fds = parse_fds(*object);
  if (!fds) return std::unexpected(fds.error());
  handover.fds = std::move(*fds);
  auto children = parse_children(*object);
  if (!children) return std::unexpected(children.error());
  handover.children = std::move(*children);
  return handover;
}

UniqueFd Luggage::take(std::string_view name) {
  const auto found = std::ranges::find_if(fds, [&](const InheritedFd& each) { return each.name == name && each.fd; });
  return found == fds.end() ? UniqueFd() : std::move(found->fd);
}

std::vector<UniqueFd> Luggage::take_all(std::string_view name) {
  std::vector<UniqueFd> taken;
  for (InheritedFd& each : fds)
    if (each.name == name && each.fd) taken.push_back(std::move(each.fd));
  return taken;
}

Result<UniqueFd> text_as_fd(std::string_view text) {
  UniqueFd memory(::memfd_create("talaria-text", MFD_CLOEXEC));
  if (!memory) return fail_errno(errno, "memfd_create");
  if (auto written = write_at_start(memory.get(), text, "a memfd"); !written) return std::unexpected(written.error());
  return memory;
}

std::string take_text(UniqueFd fd) {
  constexpr std::size_t most = 64 * 1024 * 1024;
  if (!fd) return {};
  auto text = read_small(fd.get(), most, "a memfd");
  return text ? std::move(*text) : std::string();
}

Result<UniqueFd> send_handover(Luggage& luggage) {
  luggage.facts.fds.clear();
  for (const InheritedFd& each : luggage.fds)
    if (each.fd) luggage.facts.fds.push_back({each.name, each.fd.get()});
  const std::string text = format_handover(luggage.facts);
  UniqueFd memory(::memfd_create("talaria-handover", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory) return fail_errno(errno, "memfd_create");
  if (auto written = write_at_start(memory.get(), text, "the handover"); !written)
    return std::unexpected(written.error());
  if (::fcntl(memory.get(), F_ADD_SEALS, seals) != 0) return fail_errno(errno, "seal the handover");
  for (const auto& fd : luggage.facts.fds)
    if (::fcntl(fd.number, F_SETFD, 0) != 0) return fail_errno(errno, fmt::format("hand over {}", fd.name));
  if (::fcntl(memory.get(), F_SETFD, 0) != 0) return fail_errno(errno, "hand over the handover");
  if (::setenv(handover_variable, std::to_string(memory.get()).c_str(), 1) != 0) return fail_errno(errno, "setenv");
  return memory;
}

Result<std::optional<Luggage>> take_handover() {
  const char* value = std::getenv(handover_variable);
  if (value == nullptr) return std::nullopt;
  const UniqueFd memory = sealed_memfd(value);
  ::unsetenv(handover_variable);
  if (!memory) return std::nullopt;
  const auto text = read_small(memory.get(), max_bytes, "the handover");
  if (!text || !text->starts_with(magic)) return std::nullopt;
  auto facts = parse_handover(*text);
  if (!facts) return std::unexpected(facts.error());
  const auto self = this_incarnation();
  if (!self) return std::unexpected(self.error());
  if (facts->self != *self) return std::nullopt;  // it leaked into a child of the one it was meant for
  Luggage luggage;
  for (const auto& fd : facts->fds) {
    if (::fcntl(fd.number, F_SETFD, FD_CLOEXEC) != 0) continue;
    luggage.fds.push_back({fd.name, UniqueFd(fd.number)});
  }
  luggage.facts = std::move(*facts);
  return luggage;
}

}  // namespace talaria
