#pragma once
// The channel behind make_program_channel(): keeps one program running, for ever, and is what it says of itself.

#include <memory>
#include <optional>
#include <set>
#include <string>

#include "channel/program/program.h"
#include "channel/program/session.h"
#include "runtime/backoff.h"
#include "runtime/event.h"

namespace talaria::program {

struct ProgramTimes {
  SessionTimes session;
  Millis restart_first{1'000};
  Millis restart_longest{300'000};
  Millis stable{60'000};       // a program that ran so long starts the delays anew
  Millis wait_for_up{20'000};  // a delivery waits that long for the program
};

class ProgramChannel final : public Channel {
 public:
  ProgramChannel(const ChannelConfig& config, ProgramEnvironment environment, asio::any_io_executor executor,
                 const WallClock& clock, ProgramLog log, ProgramTimes times = {});

  [[nodiscard]] std::string_view name() const override { return config_.name; }
  [[nodiscard]] std::string_view kind() const override { return "program"; }
  [[nodiscard]] std::string account() const override { return config_.program.account; }
  Task<> run(Inbox& inbox) override;
  Task<std::expected<Receipt, DeliveryError>> deliver(Reply reply) override;
  [[nodiscard]] ChannelHealth health() const override { return {state_, last_progress_, error_}; }
  [[nodiscard]] bool can_edit() const override { return hello_.can_edit; }
  [[nodiscard]] bool recognises_repeats() const override { return hello_.recognises_repeats; }
  void typing(const Route& route) override;
  void network_is_back() override { network_.pulse(); }
  [[nodiscard]] Event& changed() override { return changed_; }

 private:
  Task<std::string> run_once(Inbox& inbox);
  [[nodiscard]] SessionEvents events_for(Inbox& inbox);
  void enter(ChannelState state, std::string error);
  void note(bool warning, std::string_view line);

  ChannelConfig config_;
  ProgramEnvironment environment_;
  asio::any_io_executor executor_;
  const WallClock& clock_;
  ProgramLog log_;
  ProgramTimes times_;
  bool everybody_ = false;
  std::set<std::string> allowed_, admins_;  // ids of senders

  std::shared_ptr<Session> session_;  // while the program runs
  Hello hello_;                       // of the last one that said it
  ChannelState state_ = ChannelState::connecting;
  std::string error_;
  std::optional<UnixMillis> last_progress_;
  bool ended_ = false;  // run() was cancelled
  Event changed_, sendable_, network_;
  int notes_ = 0;  // lines in the log in this second
  std::uint64_t unsaid_notes_ = 0;
  SteadyClock::time_point second_{};
};

}  // namespace talaria::program
