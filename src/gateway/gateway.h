#pragma once
// The gateway proper, between channels and API on one side and agents on the other: it journals what arrives, runs one
// turn at a time per session under a global cap, and owns delivery of the answers. One event loop thread.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/agent.h"
#include "channel/channel.h"
#include "config/config.h"
#include "gateway/commands.h"
#include "process/credential_lock.h"
#include "runtime/task_group.h"

namespace talaria {

class Store;

// A turn asked for by the API or the terminal: its asker waits for the answer, so it has no outbox row; the answer
// lives in the turn's row, and an idempotency key finds it again, restart or not.
struct DirectTurn {
  std::string agent;                  // name of an agent
  std::string session;                // empty: stateless, `messages` are all there is
  std::vector<ChatMessage> messages;  // with a session only the last one is new
  std::string idempotency_key;        // empty: none. At most 255 bytes.
  std::optional<double> temperature;
  std::optional<int> max_tokens;
};

struct DirectAnswer {
  std::int64_t turn = 0;
  AgentReply reply;
  bool replayed = false;  // found under its idempotency key; nothing was streamed
};

struct DirectFailure {
  ErrorKind kind =
      ErrorKind::internal;  // invalid: key reused for another request; limit: queue full; unavailable: draining,
                            // store can't write; timeout, internal: the agent failed; not_found: no such agent
  std::string message;      // fit for the asker, our own words
  std::string reference;    // finds the full story in the log; empty when there is none
};

struct QueueDepths {
  std::int64_t inbound = 0;  // being journalled
  std::int64_t turns = 0;    // queued or running
  std::int64_t running = 0;
  std::int64_t unkeyed = 0;  // of those running: somebody waits, and no key finds the answer later
  std::int64_t stored = 0;   // of those queued: in the store alone, memory's share is full
  std::int64_t outbox = 0;   // not yet sent
  std::int64_t dead = 0;
};

struct ChannelReport {
  std::string name;
  std::string kind;
  ChannelHealth health;
};

// Totals since the start, for /metrics.
struct GatewayCounters {
  std::uint64_t pieces = 0;  // of answers, as agents write them
  std::uint64_t turns_finished = 0;
  std::uint64_t turns_failed = 0;
  std::uint64_t turns_cancelled = 0;
  std::uint64_t events_accepted = 0;
  std::uint64_t events_duplicate = 0;
  std::uint64_t events_passed_over = 0;
  std::uint64_t replies_sent = 0;
  std::uint64_t delivery_errors = 0;
};

// When an answer is shown while it is written (gateway/live_answer.h).
struct LiveTimes {
  Millis first_delay{1'000};
  Millis edit_interval{1'500};
  Millis typing_interval{4'000};
};

class Gateway final : public Inbox {
 public:
  struct Parts {
    asio::any_io_executor executor;
    const WallClock* clock = nullptr;
    Store* store = nullptr;
    const Config* config = nullptr;
    std::map<std::string, std::unique_ptr<Agent>> agents;
    std::vector<std::unique_ptr<Channel>> channels;
    TaskGroup::OnBug on_bug;
    CredentialHolder self;  // who other gateways are told that uses an account of ours
    CommandDesk desk;
    LiveTimes live_times = {};
    std::string attachments;  // directory for files that come with messages; empty: none are kept
  };
  explicit Gateway(Parts parts);
  ~Gateway() override;

  // Takes up what recovery queued again, starts the channels and the delivery. May be called again after a failure.
  Task<Result<>> start();

  // Inbox: the channels' side.
  Task<Result<Accepted>> accept(InboundEvent event) override;
  Task<Result<Attachment>> keep(std::string name, std::string type, std::string bytes) override;
  Task<Result<std::string>> cursor(std::string channel, std::string name) override;
  Task<Result<>> set_cursor(std::string channel, std::string name, std::string value) override;
  Task<Result<bool>> knows(Route route, std::string message_id) override;
  Task<Result<>> skip(InboundEvent event, std::string why) override;
  void passed_over(std::string_view channel, std::string_view what) override;
  void warn(std::string_view channel, std::string_view what) override;

  // Runs a turn to its end; pieces of the answer go to `sink` as they come. Cancelling the coroutine cancels the turn
  // (unless it has an idempotency key: then it goes on, and the key finds the answer).
  Task<std::expected<DirectAnswer, DirectFailure>> run_direct(DirectTurn turn, ReplySink& sink);

  // Queues one message to a conversation; returns the outbox row's id. wait_delivered: until it is sent or dead.
  Task<Result<std::int64_t>> send(Route route, std::string text);
  Task<Result<>> wait_delivered(std::int64_t outbox_id, Deadline deadline);

  // The operator's hand on dead replies. not_found: no dead row of that id.
  Task<Result<>> retry_dead(std::int64_t outbox_id);
  Task<Result<>> discard_dead(std::int64_t outbox_id);

  // A new configuration is in force: `config` of Parts has it already. What is not named here stays as it is: unchanged
  // channels keep their connection, running turns the agent they began with. Takes effect at once; changed channels
  // start when their predecessors are gone, which settled() waits for. False: one still is not at the deadline.
  struct Change {
    std::map<std::string, std::unique_ptr<Agent>> agents;  // new and changed ones
    std::vector<std::string> agents_gone;
    std::vector<std::unique_ptr<Channel>> channels;  // new and changed ones
    std::vector<std::string> channels_gone;
  };
  void reconfigure(Change change);
  Task<bool> settled(Deadline deadline);

  // A stop in its steps (lifecycle.md, 6). Before a drain that waits for connections: what channels bring from now on
  // is journalled and left to the next run.
  void hold_new_turns();
  void begin_drain();  // no new turn starts
  // Pulsed when a turn has ended, and by hurry().
  [[nodiscard]] Event& turn_ended();
  // A number that grows with every sign of life: a piece of an answer, the end of a turn, a reply that left.
  [[nodiscard]] std::uint64_t progress() const;
  // Interrupts the turns of channels and keyed ones. Those of clients end with their connections: whoever waits for one
  // without a key is told so by cut_off(), which is set from then on. False: some did not end in time.
  Task<bool> end_turns(Deadline deadline);
  [[nodiscard]] Event& cut_off();
  // Waits for what end_turns() left and for turns whose askers went: their rows are written. Takes as long as the
  // store. A turn that was cut off keeps its row `running`, which is the mark that recovery looks for.
  Task<> settle_turns();
  // Deliveries in progress end until the deadline, then the channels.
  Task<bool> end_deliveries(Deadline deadline);
  Task<bool> end_channels(Deadline deadline);
  // A second signal: no delivery waits any longer.
  void hurry();
  [[nodiscard]] bool draining() const;

  // Tells every channel: no delay is waited out any longer.
  void network_is_back();

  // What POST /hooks/NAME goes to (gateway/channel_host.h); null: nothing. The gateway must outlive it.
  [[nodiscard]] std::shared_ptr<HookEndpoint> hook(std::string_view channel) const;

  [[nodiscard]] QueueDepths depths() const;
  [[nodiscard]] std::vector<ChannelReport> channels() const;
  [[nodiscard]] const GatewayCounters& counters() const;
  [[nodiscard]] std::vector<std::string> agent_names() const;
  // Replies that wait for channels that are not configured, by channel.
  [[nodiscard]] const std::map<std::string, std::int64_t>& stranded_replies() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace talaria
