#pragma once
// One IMAP connection (RFC 3501, RFC 9051) that reads one mailbox: log in, select, find what is new, fetch it, wait for
// more with IDLE (RFC 2177). One command at a time. An error ends the connection's use, but for those of kind
// `permission` (the server refused a command).

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "channel/email/imap_reader.h"
#include "channel/email/incoming.h"
#include "channel/email/wire.h"
#include "runtime/event.h"

namespace talaria::mail {

struct SelectedMailbox {
  std::uint32_t uid_validity = 0;
  std::uint32_t uid_next = 0;  // 0: the server does not say
};

class ImapClient {
 public:
  // `answer_time`: how long the server may be silent while it owes an answer. `on_progress`: called when it says
  // something.
  ImapClient(std::unique_ptr<Stream> stream, Millis answer_time, std::function<void()> on_progress);

  // Greeting, STARTTLS where asked for, login.
  Task<Result<>> log_in(MailServer server);
  Task<Result<SelectedMailbox>> select(std::string mailbox);
  // UIDs from `first` to `last` (0: to the end), ascending. `since`: received on that day or later; 0: whenever.
  Task<Result<std::vector<std::uint32_t>>> search(std::uint32_t first, std::uint32_t last, UnixMillis since);
  // None: it is gone. An error of kind `permission`: the server said NO, which may pass; `invalid`, `limit`: what it
  // said, or that it can't make sense of the question, would be the same again.
  Task<Result<std::optional<Fetched>>> fetch(std::uint32_t uid);
  Task<Result<>> mark_seen(std::uint32_t uid);
  // Waits for a change of the mailbox. True: there may be news; false: there was none until `until` or a pulse of
  // `wake`, and the server has just shown, within `patience`, that it is there.
  Task<Result<bool>> idle(Deadline until, Event& wake, Millis patience);
  // Asks for news, with `patience` for the answer. True: there may be some.
  Task<Result<bool>> ask(Millis patience);
  void close() { stream_->close(); }

  [[nodiscard]] bool has(std::string_view capability) const { return capabilities_.contains(std::string(capability)); }
  // The mailbox has grown since the last call.
  [[nodiscard]] bool take_news() { return std::exchange(news_, false); }

 private:
  static constexpr std::chrono::minutes whole_answer{15};
  using OnData = std::function<void(ImapResponse&)>;
  Task<Result<ImapResponse>> read(Deadline deadline);
  Task<std::optional<Result<std::size_t>>> read_or_wake(Deadline deadline, Event& wake);
  // Sends a command and reads up to its tagged answer; everything else goes to `on_data`.
  Task<Result<ImapResponse>> command(std::string text, OnData on_data = {}, Millis patience = whole_answer);
  Task<Result<ImapResponse>> finish(std::string tag, OnData on_data, Millis patience = whole_answer);
  Task<Result<>> authenticate(MailServer server);
  Task<Result<>> learn_capabilities();
  void note(ImapResponse& response);
  void note_capabilities(std::string_view list);
  std::string next_tag();

  std::unique_ptr<Stream> stream_;
  Millis answer_time_;
  std::function<void()> on_progress_;
  ImapReader reader_;
  std::set<std::string> capabilities_;
  std::uint64_t tags_ = 0;
  bool news_ = false;
};

}  // namespace talaria::mail
