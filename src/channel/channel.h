#pragma once
// A channel ties one account of a chat platform to the gateway: it turns what arrives into InboundEvents and delivers
// Replies. The route of an answer is a value that travels with the turn, never "the last one who spoke" (R5).

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "channel/hook.h"
#include "runtime/event.h"
#include "runtime/task.h"

namespace talaria {

// Where a message came from and where its answer goes.
struct Route {
  std::string channel;       // name of the channel's table in the configuration, "libera"
  std::string conversation;  // room, channel or peer, in the platform's own spelling, "#talaria" or "alice"
  std::string thread;        // empty: none
  std::string reply_to;      // platform id of the message answered; empty: none

  friend bool operator==(const Route&, const Route&) = default;
};

struct Sender {
  std::string id;      // stable id on the platform; what sessions are keyed by
  std::string name;    // what people see
  bool admin = false;  // may use administrators' commands (gateway/commands.h)
};

// A file that came with a message, or goes out with one.
struct Attachment {
  std::string path;       // of the file, in the profile's state directory; kept as long as the store keeps the message
  std::string name;       // as its sender called it, without directories; never used as a path
  std::string type;       // media type, "image/png"; empty: unknown
  std::int64_t size = 0;  // bytes

  friend bool operator==(const Attachment&, const Attachment&) = default;
};

struct InboundEvent {
  Route route;
  Sender sender;
  std::string message_id;  // the platform's; with channel and conversation it is unique for ever (R1)
  std::string text;        // UTF-8, without the mention of the bot
  bool direct = false;     // a private chat with us
  UnixMillis received_at = 0;
  std::vector<Attachment> attachments = {};  // from Inbox::keep()
  std::optional<Route> answer_to = {};       // where the answer goes; none: to `route`
  bool relay = false;                        // no agent is asked: the text itself goes to `answer_to`
};

struct Accepted {
  bool duplicate = false;  // this platform message had been journalled before
};

// The gateway's side, given to channels.
class Inbox {
 public:
  virtual ~Inbox() = default;
  // Journals the event; returns after it is on disk, so that the platform may be told (R1). An error of kind
  // `unavailable` means "not journalled, keep it": don't acknowledge, hold back, try again with growing delays.
  virtual Task<Result<Accepted>> accept(InboundEvent event) = 0;
  // Keeps a file that came with a message; returns after it is on disk. Before accept(), which names it. `limit`: it is
  // larger than an attachment may be (max_attachment). Other errors as with accept().
  virtual Task<Result<Attachment>> keep(std::string name, std::string type, std::string bytes);
  // Where a channel goes on reading; empty: it never read. Errors as with accept().
  virtual Task<Result<std::string>> cursor(std::string channel, std::string name);
  // Returns after it is on disk. Only for what accept() has returned for.
  virtual Task<Result<>> set_cursor(std::string channel, std::string name, std::string value);
  // Whether this message was accepted, or skipped, before. Errors as with accept().
  virtual Task<Result<bool>> knows(Route route, std::string message_id);
  // Journals what can't be made an event of as skipped, with the reason, and warns the operator; returns after it is on
  // disk. Errors as with accept().
  virtual Task<Result<>> skip(InboundEvent event, std::string why);
  // For the operator: something arrived that is not for us, and why. One line, without what people wrote.
  virtual void passed_over(std::string_view /*channel*/, std::string_view /*what*/) {}
  // For the operator: what is wrong and will stay so until somebody changes it. One line.
  virtual void warn(std::string_view /*channel*/, std::string_view /*what*/) {}
};
inline constexpr std::int64_t max_attachment = 20 * 1024 * 1024;  // bytes; what Telegram's Bot API gives to bots

struct Reply {
  std::int64_t outbox_id = 0;
  Route route;
  std::string text;            // UTF-8, Markdown
  bool may_be_repeat = false;  // an earlier attempt may have arrived: mark the message visibly
  std::vector<Attachment> attachments = {};
  // Streaming (channels with can_edit()): the platform message that holds what was shown of this reply so far. Its text
  // becomes ours; where that message is gone or can't be changed, a new one is sent. Empty: none was sent yet.
  std::string edits = {};
  bool partial = false;  // the agent goes on: show this much; one message, cut where it gets too long
  // A reply that takes several platform messages: the first `parts_sent` arrived with an earlier attempt and are left
  // out now; `part_sent` (may be empty) is called and waited for after each but the last.
  int parts_sent = 0;
  std::function<Task<>()> part_sent = {};
};

struct Receipt {
  std::string platform_id;  // id of the (last) platform message, empty where the platform has none
};

// Why a delivery failed and what that means for the outbox row (R3).
struct DeliveryError {
  enum class Fate {
    retry,    // certainly not delivered; try again later
    unknown,  // may have been delivered
    dead,     // will never be delivered (no such conversation, banned)
  };
  Fate fate = Fate::retry;
  std::string what;
  Millis retry_after{0};  // the platform's own wish; 0: ours
};

enum class ChannelState { connecting, up, down };
[[nodiscard]] std::string_view to_string(ChannelState state);

// Health is progress: the time of the last successful exchange with the platform (R7).
struct ChannelHealth {
  ChannelState state = ChannelState::connecting;
  std::optional<UnixMillis> last_progress;
  std::string error;  // why it is not up; empty when it is
};

class Channel {
 public:
  virtual ~Channel() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;  // unique in the profile
  [[nodiscard]] virtual std::string_view kind() const = 0;  // "irc"
  // The public name of the account that it uses, in one spelling: "irc.libera.chat:6697 nick talaria", the number of a
  // bot; never a secret. No two channels of this machine run with the same kind and account at a time. Empty: any
  // number may.
  [[nodiscard]] virtual std::string account() const { return {}; }
  // Connects, receives and reconnects with growing, jittered delays, until cancelled. Never ends by itself.
  virtual Task<> run(Inbox& inbox) = 0;
  // Delivers one reply; called for one reply of a conversation at a time. A channel that is not up answers Fate::retry
  // at once or waits for the connection, at most 30 s; one whose run() was cancelled answers at once.
  virtual Task<std::expected<Receipt, DeliveryError>> deliver(Reply reply) = 0;
  [[nodiscard]] virtual ChannelHealth health() const = 0;
  // deliver() understands Reply::edits and Reply::partial: answers are shown as they are written.
  [[nodiscard]] virtual bool can_edit() const { return false; }
  // The same outbox_id sent again is recognised by the platform or the reader's program, so that a reply of unknown
  // fate is sent again without a mark.
  [[nodiscard]] virtual bool recognises_repeats() const { return false; }
  // Says for some seconds that an answer is being written. Called every 4 s while a turn runs; must not wait.
  virtual void typing(const Route& /*route*/) {}
  // What POST /hooks/NAME of the API's server goes to, NAME being the channel's name; null: nothing.
  [[nodiscard]] virtual HookEndpoint* hook() { return nullptr; }
  // The network may have come back: end a delay and connect at once, and look whether a connection still lives.
  virtual void network_is_back() {}
  // Pulsed whenever health().state changes.
  [[nodiscard]] virtual Event& changed() = 0;
  // Gives away what was received and not yet accepted by the inbox; the channel is about to be replaced.
  [[nodiscard]] virtual std::vector<InboundEvent> take_held() { return {}; }
};

}  // namespace talaria
