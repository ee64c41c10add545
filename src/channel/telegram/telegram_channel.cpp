#include "channel/telegram/telegram_channel.h"

#include <fmt/format.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <boost/json/array.hpp>

#include "channel/telegram/json_fields.h"
#include "runtime/backoff.h"
#include "runtime/race.h"

namespace talaria {

std::unique_ptr<Channel> make_telegram_channel(const ChannelConfig& config, TelegramSecrets secrets,
                                               asio::any_io_executor executor, const WallClock& clock) {
  return std::make_unique<telegram::TelegramChannel>(config, std::move(secrets), std::move(executor), clock,
                                                     telegram::times_for(config.telegram.poll_timeout));
}

namespace telegram {

namespace json = boost::json;

namespace {

constexpr std::size_t most_typing = 64;
// After a week without any, the next update's number may be lower than the last one's. The offset is forgotten long
// before that; Telegram keeps its own.
constexpr auto offset_lasts = std::chrono::hours(24);

Groups groups_of(std::string_view word) {
  return word == "all" ? Groups::all : word == "off" ? Groups::off : Groups::addressed;
}

json::array allowed_updates() { return {"message"}; }

bool same_secret(std::string_view a, std::string_view b) {
  return !b.empty() && a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), b.size()) == 0;
}

// setWebhook(secret_token)
bool is_webhook_secret(std::string_view text) {
  return !text.empty() && text.size() <= 256 && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

}  // namespace

// A poller that is deaf must be found out and replaced within twice its period: late by a third of it, then a short
// delay.
TelegramTimes times_for(Millis poll) {
  TelegramTimes times;
  times.poll = poll;
  times.poll_margin = std::clamp(poll / 3, Millis(500), Millis(10'000));
  times.reconnect_first = std::clamp(poll / 6, Millis(150), Millis(1'000));
  times.call = std::clamp(poll, Millis(5'000), Millis(30'000));
  return times;
}

// One row of delays for each kind of trouble.
class TelegramChannel::Delays {
 public:
  explicit Delays(const TelegramTimes& times)
      : passing_(times.reconnect_first, times.reconnect_longest),
        lasting_(times.lasting_first, times.lasting_longest),
        rival_(times.rival_first, times.rival_longest) {}
  [[nodiscard]] Millis next(const End& end) { return std::max(row(end.trouble).next(), end.retry_after); }
  void reset() {
    passing_.reset();
    lasting_.reset();
    rival_.reset();
  }

 private:
  Backoff& row(Trouble trouble) {
    return trouble == Trouble::passing ? passing_ : trouble == Trouble::lasting ? lasting_ : rival_;
  }
  Backoff passing_, lasting_, rival_;
};

TelegramChannel::TelegramChannel(const ChannelConfig& config, TelegramSecrets secrets, asio::any_io_executor executor,
                                 const WallClock& clock, TelegramTimes times)
    : config_(config),
      secrets_(std::move(secrets)),
      clock_(clock),
      times_(times),
      api_(executor, config.telegram.api_root, secrets_.token, config.ca_file),
      sender_(executor, api_, Pace(config.telegram.messages_per_second, config.telegram.group_messages_per_minute),
              {.call = times.call}),
      receiver_({.channel = config.name,
                 .allow = AllowList(config.allow),
                 .admins = AllowList(config.admins),
                 .groups = groups_of(config.telegram.groups)},
                api_, clock),
      changed_(executor),
      network_(executor),
      type_(executor),
      last_update_(SteadyClock::now()) {}

std::string TelegramChannel::account() const { return bot_number(secrets_.token); }

void TelegramChannel::network_is_back() { network_.pulse(); }

void TelegramChannel::enter(ChannelState state, std::string error) {
  error_ = std::move(error);
  if (state != ChannelState::up) up_since_.reset();
  if (std::exchange(state_, state) != state) changed_.pulse();
}

void TelegramChannel::note_progress() {
  last_progress_ = clock_.now();
  if (state_ == ChannelState::up) return;
  up_since_ = SteadyClock::now();
  enter(ChannelState::up, {});
}

TelegramChannel::End TelegramChannel::end_of(const ApiFailure& failure) {
  const bool refused = failure.kind == ApiFailure::Kind::refused;
  if (refused && failure.code == 409) {
    return {Trouble::rival,
            fmt::format("another program fetches the messages of this bot; only one can ({})", failure.what),
            failure.retry_after};
  }
  if (refused && (failure.code == 401 || failure.code == 404))
    return {Trouble::lasting, fmt::format("Telegram refuses the token ({})", failure.what), failure.retry_after};
  return {Trouble::passing, failure.what, failure.retry_after};
}

Task<> TelegramChannel::run(Inbox& inbox) {
  struct Ended {
    TelegramChannel& channel;
    ~Ended() {
      channel.inbox_ = nullptr;
      channel.sender_.stop();
    }
  } ended{*this};
  inbox_ = &inbox;
  // Neither ends by itself.
  co_await race(stay_connected(inbox), type_for_ever());
}

Task<> TelegramChannel::stay_connected(Inbox& inbox) {
  Delays delays(times_);
  for (;;) {
    const End end = co_await work(inbox);
    if (up_since_ && SteadyClock::now() - *up_since_ >= times_.stable) delays.reset();
    enter(ChannelState::down, end.what);
    const auto until = Deadline::in(delays.next(end));
    if (end.trouble == Trouble::passing) {
      if (co_await network_.wait(until)) delays.reset();
    } else {
      co_await sleep_until(until);
    }
  }
}

Task<TelegramChannel::End> TelegramChannel::work(Inbox& inbox) {
  if (!api_.defect().empty()) co_return End{Trouble::lasting, api_.defect()};
  if (auto end = co_await introduce_ourselves()) co_return std::move(*end);
  co_return webhook() ? co_await watch_webhook() : co_await poll_for_ever(inbox);
}

Task<std::optional<TelegramChannel::End>> TelegramChannel::introduce_ourselves() {
  if (receiver_.self().id != 0) co_return std::nullopt;
  const auto me = co_await api_.call("getMe", {}, Deadline::in(times_.call));
  if (!me) co_return end_of(me.error());
  const auto* user = me->if_object();
  const auto id = user != nullptr ? number_at(*user, "id") : 0;
  if (id == 0) co_return End{Trouble::passing, "getMe: the answer makes no sense"};
  receiver_.know_ourselves({id, std::string(text_at(*user, "username"))});
  co_return std::nullopt;
}

// None: the network may have changed, so that the answer of this connection is not worth waiting for.
Task<std::optional<ApiResult<json::value>>> TelegramChannel::poll(Millis held) {
  json::object parameters{{"timeout", held.count() / 1000}, {"limit", 100}, {"allowed_updates", allowed_updates()}};
  if (offset_ > 0) parameters["offset"] = offset_;
  std::optional<ApiResult<json::value>> answer;
  co_await race(
      [](BotApi& api, json::object with, Deadline until, auto& into) -> Task<> {
        into.emplace(co_await api.poll(std::move(with), until));
      }(api_, std::move(parameters), Deadline::in(held + times_.poll_margin), answer),
      [](Event& network) -> Task<> { co_await network.wait(); }(network_));
  co_return answer;
}

Task<TelegramChannel::End> TelegramChannel::poll_for_ever(Inbox& inbox) {
  // Telegram gives no messages to a poller while a webhook is set; ours of yesterday, say.
  if (!webhook_deleted_) {
    const auto deleted =
        co_await api_.call("deleteWebhook", {{"drop_pending_updates", false}}, Deadline::in(times_.call));
    if (!deleted) co_return end_of(deleted.error());
    webhook_deleted_ = true;
  }
  // The first poll does not wait: it shows whether we get through.
  Millis held{0};
  for (;;) {
    if (SteadyClock::now() - last_update_ > offset_lasts) offset_ = 0;
    auto answer = co_await poll(held);
    if (!answer) {
      held = Millis(0);
      continue;
    }
    if (!*answer) {
      const ApiFailure& failure = answer->error();
      if (failure.code == 409 && failure.says("webhook")) webhook_deleted_ = false;
      // What this connection didn't get through, one that is kept for calls won't either.
      if (failure.kind != ApiFailure::Kind::refused) api_.connect_anew();
      co_return end_of(failure);
    }
    if (!(*answer)->is_array()) co_return End{Trouble::passing, "getUpdates: the answer makes no sense"};
    note_progress();
    held = times_.poll;
    co_await take_all(inbox, read_updates(**answer));
  }
}

// Oldest first. The next poll tells Telegram that we have them, so each is on disk before the next is looked at.
Task<> TelegramChannel::take_all(Inbox& inbox, std::vector<Update> updates) {
  for (Update& update : updates) {
    const auto id = update.id;
    Backoff hold(times_.hold_first, times_.hold_longest);
    while (!co_await receiver_.take(inbox, update)) co_await sleep_for(hold.next());
    offset_ = std::max(offset_, id + 1);
    last_update_ = SteadyClock::now();
  }
}

Task<TelegramChannel::End> TelegramChannel::watch_webhook() {
  if (!is_webhook_secret(secrets_.webhook_secret)) {
    co_return End{Trouble::lasting, "webhook_secret must be 1 to 256 letters, digits, _ and -"};
  }
  const auto& url = config_.telegram.webhook_url;
  // One connection at a time, so that messages come in their order.
  const auto set = co_await api_.call("setWebhook",
                                      {{"url", url},
                                       {"secret_token", secrets_.webhook_secret},
                                       {"max_connections", 1},
                                       {"allowed_updates", allowed_updates()},
                                       {"drop_pending_updates", false}},
                                      Deadline::in(times_.call));
  if (!set) {
    End end = end_of(set.error());
    if (set.error().kind == ApiFailure::Kind::refused && set.error().code == 400) end.trouble = Trouble::lasting;
    co_return end;
  }
  note_progress();
  for (;;) {
    co_await network_.wait(Deadline::in(times_.poll));
    const auto info = co_await api_.call("getWebhookInfo", {}, Deadline::in(times_.call));
    if (!info) co_return end_of(info.error());
    const auto* object = info->if_object();
    if (object == nullptr) co_return End{Trouble::passing, "getWebhookInfo: the answer makes no sense"};
    if (text_at(*object, "url") != url)
      co_return End{Trouble::rival, "another program has taken the webhook of this bot away"};
    note_progress();
  }
}

Task<HookResponse> TelegramChannel::handle(HookRequest request) {
  if (!same_secret(request.header("x-telegram-bot-api-secret-token"), secrets_.webhook_secret))
    co_return HookResponse{.status = 401, .title = "the secret is missing or wrong"};
  auto update = parse_update(request.body);
  if (!update) co_return HookResponse{.status = 400, .title = "this is no update of the Bot API"};
  // Before getMe we would not know when we are meant.
  if (inbox_ == nullptr || receiver_.self().id == 0)
    co_return HookResponse{.status = 503, .title = "not ready", .retry_after = 1};
  const auto taken = co_await receiver_.take(*inbox_, std::move(*update));
  if (!taken) co_return HookResponse{.status = 503, .title = "not now", .retry_after = 5};
  last_progress_ = clock_.now();
  co_return HookResponse{.status = 200, .title = {}};
}

Task<std::expected<Receipt, DeliveryError>> TelegramChannel::deliver(Reply reply) {
  if (state_ != ChannelState::up) {
    co_return std::unexpected(
        DeliveryError{DeliveryError::Fate::retry, error_.empty() ? "connecting" : error_, Millis(0)});
  }
  co_return co_await sender_.deliver(std::move(reply));
}

void TelegramChannel::typing(const Route& route) {
  if (state_ != ChannelState::up || to_type_.size() >= most_typing ||
      std::ranges::find(to_type_, route) != to_type_.end())
    return;
  to_type_.push_back(route);
  type_.pulse();
}

Task<> TelegramChannel::type_for_ever() {
  for (;;) {
    while (to_type_.empty()) co_await type_.wait();
    const Route route = std::move(to_type_.front());
    to_type_.pop_front();
    co_await sender_.show_typing(route);
  }
}

}  // namespace telegram
}  // namespace talaria
