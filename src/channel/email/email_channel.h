#pragma once
// The channel behind make_email_channel(): keeps a connection to the mailbox, for ever, and sends answers.

#include <memory>
#include <string>

#include <boost/asio/thread_pool.hpp>

#include "channel/email/composer.h"
#include "channel/email/email.h"
#include "channel/email/imap_client.h"
#include "channel/email/mailbox_reader.h"
#include "channel/email/smtp_client.h"
#include "channel/email/wire.h"
#include "runtime/backoff.h"
#include "runtime/event.h"

namespace talaria::mail {

struct EmailTimes {
  Millis connect{30'000};
  Millis imap_answer{30'000};  // or `poll`, if that is shorter
  Millis alive{30'000};        // the answer to whether it is still there; or half of `poll`
  SmtpTimes smtp;
  Millis reconnect_first{1'000};
  Millis reconnect_longest{300'000};
  Millis lasting_first{60'000};  // where the configuration is wrong (login refused …)
  Millis lasting_longest{1'800'000};
  Millis stable{30'000};   // a connection that was up that long starts the delays anew
  Millis hold_first{100};  // the journal takes nothing
  Millis hold_longest{30'000};
  RefusalTimes refusal;
};

// The files of a reply; for those that can't be sent, `note` says so to the reader.
struct Files {
  std::vector<OutgoingFile> found;
  std::string note;
};

class EmailChannel final : public Channel {
 public:
  EmailChannel(const ChannelConfig& config, std::string password, asio::any_io_executor executor,
               const WallClock& clock, Dialer dialer, EmailTimes times = {});

  [[nodiscard]] std::string_view name() const override { return config_.name; }
  [[nodiscard]] std::string_view kind() const override { return "email"; }
  [[nodiscard]] std::string account() const override;
  Task<> run(Inbox& inbox) override;
  Task<std::expected<Receipt, DeliveryError>> deliver(Reply reply) override;
  [[nodiscard]] ChannelHealth health() const override { return {state_, last_progress_, error_}; }
  [[nodiscard]] bool recognises_repeats() const override { return true; }
  [[nodiscard]] Event& changed() override { return changed_; }
  void network_is_back() override { network_.pulse(); }

 private:
  Task<Error> stay_until_broken(MailboxReader& reader);
  Task<Result<>> wait_for_mail(ImapClient& client);
  Task<Result<std::unique_ptr<Stream>>> dial_imap();
  Task<> take_sending_slot();
  Task<Files> read_files(std::vector<Attachment> attachments);
  void enter(ChannelState state, std::string error);
  [[nodiscard]] MailServer server_of(const ServerAddress& address, std::string_view encryption) const;

  ChannelConfig config_;
  std::string password_;
  asio::any_io_executor executor_;
  const WallClock& clock_;
  Dialer dial_;
  EmailTimes times_;

  Event changed_;  // the health's state
  Event network_;  // may be back
  Event sent_;     // a sending slot is free
  int sending_ = 0;
  bool ended_ = false;  // run() was cancelled
  std::optional<SteadyClock::time_point> up_since_;
  ChannelState state_ = ChannelState::connecting;
  std::string error_;
  std::optional<UnixMillis> last_progress_;
  asio::thread_pool files_{1};  // reads files: a disk may be slow
};

}  // namespace talaria::mail
