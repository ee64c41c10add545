#pragma once
// From an update to the journal: is it meant for us, may its sender speak to us, what files came with it.

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "channel/channel.h"
#include "channel/telegram/allow.h"
#include "channel/telegram/bot_api.h"
#include "channel/telegram/inbound.h"

namespace talaria::telegram {

struct ReceiverSettings {
  std::string channel;
  AllowList allow;
  AllowList admins;
  Groups groups = Groups::addressed;
  Millis download{60'000};
  Millis patience{300'000};  // trouble with the files of a message holds it, and those behind it, for so long at most
};

class Receiver {
 public:
  // All must outlive it.
  Receiver(ReceiverSettings settings, BotApi& api, const WallClock& clock);

  void know_ourselves(Identity self) { self_ = std::move(self); }
  [[nodiscard]] const Identity& self() const { return self_; }

  // Journals what is for us and passes over the rest. An error means "not now", whatever is wrong with the update
  // itself: the same update must be offered again before Telegram is told that we have it.
  Task<Result<>> take(Inbox& inbox, Update update);

 private:
  Task<Result<>> fetch_files(Inbox& inbox, const Message& message, InboundEvent& event);
  Task<Result<Attachment>> fetch(Inbox& inbox, FileRef file, SteadyClock::time_point patient_until);

  ReceiverSettings settings_;
  BotApi& api_;
  const WallClock& clock_;
  Identity self_;
  // Messages with files that are not journalled yet: when we first tried. By chat and message.
  std::map<std::pair<std::int64_t, std::int64_t>, SteadyClock::time_point> tried_since_;
  SteadyClock::time_point files_from_;  // until then Telegram wants no calls for files
};

}  // namespace talaria::telegram
