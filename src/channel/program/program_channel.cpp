#include "channel/program/program_channel.h"

#include <fmt/format.h>

#include "base/text.h"

namespace talaria {
namespace program {
namespace {

constexpr int notes_per_second = 10;

std::set<std::string> ids_in(const std::vector<std::string>& rules) {
  constexpr std::string_view prefix = "id:";
  std::set<std::string> ids;
  for (const std::string& rule : rules) {
    if (rule.starts_with(prefix)) ids.insert(rule.substr(prefix.size()));
  }
  return ids;
}

}  // namespace

ProgramChannel::ProgramChannel(const ChannelConfig& config, ProgramEnvironment environment,
                               asio::any_io_executor executor, const WallClock& clock, ProgramLog log,
                               ProgramTimes times)
    : config_(config),
      environment_(std::move(environment)),
      executor_(executor),
      clock_(clock),
      log_(std::move(log)),
      times_(times),
      everybody_(std::ranges::find(config.allow, "*") != config.allow.end()),
      allowed_(ids_in(config.allow)),
      admins_(ids_in(config.admins)),
      changed_(executor),
      sendable_(executor),
      network_(executor) {}

void ProgramChannel::enter(ChannelState state, std::string error) {
  error_ = std::move(error);
  if (std::exchange(state_, state) != state) changed_.pulse();
  sendable_.pulse();
}

// A program that talks all the time must not fill the log.
void ProgramChannel::note(bool warning, std::string_view line) {
  const auto now = SteadyClock::now();
  if (now - second_ >= std::chrono::seconds(1)) {
    if (unsaid_notes_ > 0) log_(true, fmt::format("{} lines of the channel program were left out", unsaid_notes_));
    second_ = now;
    notes_ = 0;
    unsaid_notes_ = 0;
  }
  if (++notes_ <= notes_per_second)
    log_(warning, line);
  else
    ++unsaid_notes_;
}

SessionEvents ProgramChannel::events_for(Inbox& inbox) {
  return {.hello =
              [this](const Hello& hello) {
                hello_ = hello;
                last_progress_ = clock_.now();
                if (!hello.account.empty())
                  note(false, fmt::format("connected as {}", printable(truncate_utf8(hello.account, 200))));
                if (!hello.connecting) enter(ChannelState::up, {});
              },
          .state =
              [this](const State& state) {
                if (state.up) last_progress_ = clock_.now();
                enter(state.up ? ChannelState::up : ChannelState::down,
                      state.up || !state.error.empty() ? printable(truncate_utf8(state.error, 300))
                                                       : "the channel program says that it is down");
              },
          .progress = [this] { last_progress_ = clock_.now(); },
          .allowed =
              [this](const Sender& sender) {
                return everybody_ || allowed_.contains(sender.id) || admins_.contains(sender.id);
              },
          .accept = [this, &inbox](InboundEvent event) -> Task<Result<Accepted>> {
            event.route.channel = config_.name;
            event.sender.admin = admins_.contains(event.sender.id);
            const UnixMillis now = clock_.now();
            if (event.received_at == 0 || event.received_at > now) event.received_at = now;
            return inbox.accept(std::move(event));
          },
          .log = [this](bool warning, std::string line) { note(warning, line); }};
}

Task<> ProgramChannel::run(Inbox& inbox) {
  struct Ended {
    ProgramChannel& channel;
    ~Ended() {
      channel.ended_ = true;
      channel.sendable_.pulse();
    }
  } ended{*this};
  Backoff backoff(times_.restart_first, times_.restart_longest);
  for (;;) {
    const auto began = SteadyClock::now();
    std::string why = co_await run_once(inbox);
    note(true, fmt::format("the channel program is gone: {}", why));
    enter(ChannelState::down, std::move(why));
    if (SteadyClock::now() - began >= times_.stable) backoff.reset();
    if (co_await network_.wait(Deadline::in(backoff.next()))) backoff.reset();
    note(false, "the channel program is started again");
    enter(ChannelState::connecting, error_);
  }
}

Task<std::string> ProgramChannel::run_once(Inbox& inbox) {
  const ChildSpec spec{.command = config_.program.command,
                       .environment = environment_.own,
                       .hidden = environment_.hidden,
                       .working_directory = {}};
  auto child = LiveChild::start(executor_, spec);
  if (!child) co_return child.error().what;
  struct Guard {
    ProgramChannel& channel;
    ~Guard() {
      channel.session_.reset();
      channel.enter(ChannelState::down, "stopping");
    }
  } guard{*this};
  session_ = std::make_shared<Session>(executor_, std::move(*child), config_.name, events_for(inbox), times_.session);
  co_return co_await std::shared_ptr(session_)->run();
}

Task<std::expected<Receipt, DeliveryError>> ProgramChannel::deliver(Reply reply) {
  const auto deadline = Deadline::in(times_.wait_for_up);
  while (!session_ || state_ != ChannelState::up) {
    if (ended_ || deadline.expired())
      co_return std::unexpected(DeliveryError{DeliveryError::Fate::retry, "the channel program is not up", Millis{0}});
    co_await sendable_.wait(deadline);
  }
  const auto session = session_;  // it may end meanwhile
  co_return co_await session->deliver(std::move(reply));
}

void ProgramChannel::typing(const Route& route) {
  if (session_ && state_ == ChannelState::up) session_->typing(route);
}

}  // namespace program

std::unique_ptr<Channel> make_program_channel(const ChannelConfig& config, ProgramEnvironment environment,
                                              boost::asio::any_io_executor executor, const WallClock& clock,
                                              ProgramLog log) {
  return std::make_unique<program::ProgramChannel>(config, std::move(environment), std::move(executor), clock,
                                                   std::move(log));
}

}  // namespace talaria
