#include "channel/email/loop_guard.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "channel/email/codec.h"

namespace talaria::mail {
namespace {

constexpr std::chrono::hours counted_time{1};
constexpr std::size_t most_senders = 10'000;

// The mailboxes of machines (RFC 3834, 2; RFC 5321, 4.5.1; custom).
bool is_machine(std::string_view address) {
  const std::string local = lower(address.substr(0, address.rfind('@')));
  constexpr std::string_view names[] = {"mailer-daemon", "postmaster", "noreply",   "no-reply", "do-not-reply",
                                        "donotreply",    "listserv",   "majordomo", "bounce",   "bounces"};
  return std::ranges::find(names, local) != std::end(names) || local.starts_with("owner-") ||
         local.ends_with("-request") || local.ends_with("-owner") || local.ends_with("-bounces");
}

std::string_view first_value(std::string_view text) { return trim(text.substr(0, text.find_first_of(";("))); }

}  // namespace

std::optional<std::string> automatic(const Header& header, std::string_view own_address) {
  if (header.has(loop_header)) return "a gateway like us has sent it";
  if (const auto value = first_value(header.get("Auto-Submitted")); !value.empty() && !same_word(value, "no"))
    return fmt::format("it says Auto-Submitted: {}", printable(truncate_utf8(value, 40)));
  if (header.has("X-Auto-Response-Suppress") && !same_word(trim(header.get("X-Auto-Response-Suppress")), "none"))
    return "it asks for no automatic response (X-Auto-Response-Suppress)";
  if (const auto value = trim(header.get("Precedence"));
      same_word(value, "bulk") || same_word(value, "list") || same_word(value, "junk"))
    return fmt::format("it says Precedence: {}", value);
  for (const std::string_view name :
       {"List-Id", "List-Post", "List-Unsubscribe", "X-Loop", "X-Autoreply", "X-Autorespond"}) {
    if (header.has(name)) return fmt::format("it has a {} field", name);
  }
  if (header.has("Return-Path") && trim(header.get("Return-Path")) == "<>") return "its return path is empty";
  for (const auto& [address, name] :
       {std::pair{header.get("From"), "From"}, std::pair{header.get("Sender"), "Sender"}}) {
    for (const Mailbox& mailbox : parse_mailboxes(address, 5)) {
      if (mailbox.address == own_address) return fmt::format("its {} is our own address", name);
      if (is_machine(mailbox.address))
        return fmt::format("{} is a program's address", printable(truncate_utf8(mailbox.address, 100)));
    }
  }
  return std::nullopt;
}

bool AnswerQuota::take(const std::string& sender, SteadyClock::time_point now) {
  if (senders_.size() >= most_senders && !senders_.contains(sender)) {
    std::erase_if(senders_,
                  [&](const auto& entry) { return entry.second.empty() || entry.second.back() + counted_time <= now; });
    if (senders_.size() >= most_senders) senders_.erase(senders_.begin());
  }
  auto& times = senders_[sender];
  while (!times.empty() && times.front() + counted_time <= now) times.pop_front();
  if (times.size() >= static_cast<std::size_t>(per_hour_)) return false;
  times.push_back(now);
  return true;
}

void AnswerQuota::give_back(const std::string& sender) {
  const auto found = senders_.find(sender);
  if (found == senders_.end()) return;
  if (!found->second.empty()) found->second.pop_back();
  if (found->second.empty()) senders_.erase(found);
}

}  // namespace talaria::mail
