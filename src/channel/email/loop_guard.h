#pragma once
// No answers to programs: two that answer each other never stop, and whoever forges a From line could have us write to
// others. RFC 3834 says which mails a responder leaves alone, by their header; besides, one sender gets so many answers
// an hour and no more, which ends any loop that says nothing about itself.

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/time.h"
#include "channel/email/header.h"

namespace talaria::mail {

inline constexpr std::string_view loop_header = "X-Talaria-Loop";  // of every mail that a gateway sends

// Why a mail is not for us to answer; none: it may be from a person. `own_address` in lower case.
[[nodiscard]] std::optional<std::string> automatic(const Header& header, std::string_view own_address);

class AnswerQuota {
 public:
  explicit AnswerQuota(int per_hour) : per_hour_(per_hour) {}
  // Counts one mail of that sender; false: it is one too many.
  bool take(const std::string& sender, SteadyClock::time_point now);
  // The last one did not count: it was known already.
  void give_back(const std::string& sender);

 private:
  int per_hour_;
  std::unordered_map<std::string, std::deque<SteadyClock::time_point>> senders_;
};

}  // namespace talaria::mail
