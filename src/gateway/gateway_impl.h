#pragma once
// The insides of the gateway, for the files that its story is told in: gateway.cpp (from start to drain),
// channel_turns.cpp (what chats ask), direct_turns.cpp (what API and terminal ask). Nobody else includes it.

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "gateway/channel_host.h"
#include "gateway/delivery.h"
#include "gateway/gateway.h"
#include "gateway/turn_runner.h"
#include "gateway/turn_scheduler.h"
#include "store/journal.h"
#include "store/store.h"

namespace talaria {

[[nodiscard]] RouteRow row_of(const Route& route);

struct Gateway::Impl {
  Impl(Parts parts, Inbox& inbox);

  // Turns that wait in the store, because memory's share was full when they came or the gateway started.
  struct StoreBacklog {
    bool any = false;
    std::int64_t after = 0;           // all of them have higher ids
    std::int64_t recovered_upto = 0;  // direct ones have ids up to this: later ones have their askers here
    std::int64_t count = 0;           // for reports
  };
  [[nodiscard]] bool has_room() const;
  [[nodiscard]] bool needs_refill() const { return backlog.any && !draining && !held && has_room(); }
  Task<Result<>> refill();
  Task<> keep_filled();
  void enqueue(TurnRow row);
  Task<Result<Accepted>> run_command(const Command& command, InboundEvent event, UnixMillis oldest);
  Task<> run_queued(TurnRow row, std::unique_ptr<TurnScheduler::Ticket> ticket);
  Task<bool> begin(TurnRow row, std::vector<Exchange>& history);

  // A direct turn that is journalled and has a place in its session's lane.
  struct DirectRun {
    std::int64_t turn_id = 0;
    std::int64_t session_id = 0;
    bool begun = false;  // entered `running` when it was journalled
    AgentPtr agent;      // as it was when the turn was accepted
    std::vector<Exchange> history;
    std::vector<ChatMessage> messages;
    AgentRequest request;
    std::unique_ptr<TurnScheduler::Ticket> ticket;
  };
  Task<TurnOutcome> run_to_end(DirectRun run, ReplySink& sink);

  // A keyed turn outlives its asker: it runs in the group, whoever waits looks on.
  struct Keyed {
    explicit Keyed(asio::any_io_executor ex) : done(std::move(ex)) {}
    Event done;
    ReplySink* sink = nullptr;           // of the asker, while there is one
    std::optional<TurnOutcome> outcome;  // none: it was cut off
  };
  Task<> run_keyed(std::shared_ptr<Keyed> state, std::string key, DirectRun run);
  Task<std::expected<DirectAnswer, DirectFailure>> answer_known(KeyedTurn known, std::string key, std::string digest);

  Parts parts;
  GatewayCounters counters;
  bool draining = false;
  bool held = false;  // channels' turns are left to the next run
  StoreBacklog backlog;
  bool backlog_found = false;  // what recovery left; from then on it is kept up to date here
  Event refill_due;
  std::int64_t inbound = 0;
  std::int64_t unkeyed = 0;  // running, without a key
  TurnScheduler scheduler;
  TurnRunner runner;
  Delivery delivery;
  std::unordered_map<std::string, std::shared_ptr<Keyed>> keyed;
  Event turn_ended;
  Event cut_off;
  ChannelHost host;
  TaskGroup turn_tasks;  // last: ends before what it uses
};

}  // namespace talaria
