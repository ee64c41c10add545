#include "channel/irc/allow.h"

#include <fmt/format.h>

#include <algorithm>

namespace talaria::irc {

namespace {

constexpr std::string_view kKinds[] = {"nick:", "account:", "host:"};

bool matches(std::string_view rule, const Source& source, const std::optional<std::string>& account,
             CaseMapping mapping) {
  if (rule == "*") return true;
  if (!check_allow_rule(rule)) return false;
  const auto colon = rule.find(':');
  const auto kind = rule.substr(0, colon);
  const auto value = rule.substr(colon + 1);
  if (kind == "nick") return same_name(value, source.nick, mapping);
  if (kind == "account") return account && !account->empty() && same_name(value, *account, mapping);
  return !source.host.empty() && wildcard_match(value, value.contains('@') ? source.mask() : source.host);
}

}  // namespace

Result<> check_allow_rule(std::string_view rule) {
  if (rule == "*") return {};
  for (const auto kind : kKinds) {
    if (rule.starts_with(kind) && rule.size() > kind.size()) return {};
  }
  return fail(
      ErrorKind::invalid,
      fmt::format("\"{}\" is no rule of an allowlist; write \"nick:NAME\", \"account:NAME\", \"host:PATTERN\" or \"*\"",
                  rule));
}

bool AllowList::allows(const Source& source, const std::optional<std::string>& account, CaseMapping mapping) const {
  return std::ranges::any_of(rules_, [&](const auto& rule) { return matches(rule, source, account, mapping); });
}

bool AllowList::needs_accounts() const {
  return std::ranges::any_of(rules_, [](const auto& rule) { return rule.starts_with("account:"); });
}

bool wildcard_match(std::string_view pattern, std::string_view text) {
  const auto same = [](char a, char b) { return same_name({&a, 1}, {&b, 1}, CaseMapping::ascii); };
  std::size_t p = 0;
  std::size_t t = 0;
  std::size_t star = std::string_view::npos;  // the last * met, and where in the text it began to stand for something
  std::size_t from = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      from = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || same(pattern[p], text[t]))) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++from;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

}  // namespace talaria::irc
