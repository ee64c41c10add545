#include "channel/webhook/webhook_channel.h"

#include "base/text.h"
#include "config/checks.h"
#include "runtime/race.h"

namespace talaria {
namespace webhook {
namespace {

constexpr int most_posts = 8;  // at once; a receiver that is slow must not hold hundreds of connections
constexpr Millis post_time{20'000};
constexpr Millis place_time{10'000};
constexpr int come_again = 10;            // seconds
constexpr std::size_t max_session = 512;  // bytes

std::optional<Scheme> scheme_of(std::string_view name) {
  if (name == "github") return Scheme::github;
  if (name == "gitlab") return Scheme::gitlab;
  if (name == "standard") return Scheme::standard;
  return std::nullopt;
}

HookResponse answered(int status, std::string title = {}, int retry_after = 0) {
  return {.status = status, .title = std::move(title), .retry_after = retry_after};
}

std::optional<Route> route_of(std::string_view target) {
  const auto parsed = parse_deliver_to(target);
  if (!parsed || parsed->channel.empty()) return std::nullopt;
  return Route{parsed->channel, parsed->conversation, parsed->thread, {}};
}

}  // namespace

WebhookChannel::WebhookChannel(const ChannelConfig& config, WebhookSecrets secrets, asio::any_io_executor executor,
                               const WallClock& clock)
    : config_(config),
      secrets_(std::move(secrets)),
      clock_(clock),
      scheme_(scheme_of(config.webhook.scheme)),
      prompt_(parse_placeholders(config.webhook.prompt).value_or(std::vector<TextPiece>())),
      session_(parse_placeholders(config.webhook.session).value_or(std::vector<TextPiece>())),
      deliver_to_(route_of(config.webhook.deliver_to)),
      posted_(executor),
      ended_(executor),
      changed_(executor) {
  if (config.webhook.url.empty()) return;
  outbound_.emplace(executor, clock, config.webhook.url, standard_key(secrets_.sign_secret).value_or(""),
                    config.ca_file);
}

// There is no connection to keep: it is up as long as it runs.
Task<> WebhookChannel::run(Inbox& inbox) {
  struct Ended {
    WebhookChannel& channel;
    ~Ended() {
      channel.inbox_ = nullptr;
      channel.state_ = ChannelState::down;
      channel.ended_.set();
      channel.changed_.pulse();
    }
  } ended{*this};
  inbox_ = &inbox;
  state_ = ChannelState::up;
  last_progress_ = clock_.now();
  changed_.pulse();
  for (;;) co_await sleep_until(Deadline::never());
}

Task<HookResponse> WebhookChannel::handle(HookRequest request) {
  if (inbox_ == nullptr) co_return answered(503, "this channel is starting or leaving", come_again);
  const auto id = verify(*scheme_, secrets_.secret, request, clock_.now());
  if (!id) co_return answered(id.error().status, id.error().title);
  const auto report = read_report(*scheme_, *id, request);
  if (!report) co_return answered(400, report.error().what);
  last_progress_ = clock_.now();
  if (!is_wanted(*scheme_, report->event, config_.webhook.events)) co_return answered(204);
  const auto accepted = co_await inbox_->accept(event_of(*report));
  if (accepted) co_return answered(accepted->duplicate ? 200 : 202);
  if (accepted.error().kind == ErrorKind::invalid) co_return answered(422, "it can't be stored as it is");
  co_return answered(503, "it could not be stored now; send it again", come_again);
}

// In the journal all reports of a channel are in one conversation, so that nothing but their identity tells them apart.
// The session is the thread, whoever caused the report.
InboundEvent WebhookChannel::event_of(const Report& report) const {
  InboundEvent event;
  std::string session = truncate_utf8(render(session_, report), max_session);
  if (session.empty()) session = report.id;
  event.route = {config_.name, "hooks", session, report.id};
  const std::string& service = config_.webhook.scheme;
  event.sender = {service, report.sender.empty() ? service : report.sender};
  event.message_id = report.id;
  event.text = render(prompt_, report);
  // No prompt, or one whose places are all empty here.
  if (event.text.find_first_not_of(" \t\r\n") == std::string::npos)
    event.text = describe(config_.name, report, !config_.webhook.deliver_only);
  event.received_at = clock_.now();
  event.answer_to = deliver_to_ ? *deliver_to_ : Route{config_.name, std::move(session), {}, report.id};
  event.relay = config_.webhook.deliver_only;
  return event;
}

Task<std::expected<Receipt, DeliveryError>> WebhookChannel::deliver(Reply reply) {
  // `deliver_to = "none"`: the answer is in the store, and that is all that was asked for.
  if (!outbound_) {
    if (!scheme_ || deliver_to_ || reply.route.reply_to.empty())
      co_return std::unexpected(DeliveryError{DeliveryError::Fate::dead, "this channel has no url to send to"});
    co_return Receipt{};
  }
  std::optional<std::expected<Receipt, DeliveryError>> outcome;
  co_await race(
      [](WebhookChannel& channel, Reply what, auto& into) -> Task<> {
        into.emplace(co_await channel.post(std::move(what)));
      }(*this, std::move(reply), outcome),
      [](Event& ended) -> Task<> { co_await ended.wait(); }(ended_));
  if (!outcome) co_return std::unexpected(DeliveryError{DeliveryError::Fate::retry, "the channel is leaving"});
  if (*outcome) last_progress_ = clock_.now();
  co_return *outcome;
}

Task<std::expected<Receipt, DeliveryError>> WebhookChannel::post(Reply reply) {
  const Deadline patience = Deadline::in(place_time);
  while (posting_ >= most_posts) {
    if (!co_await posted_.wait(patience) && patience.expired())
      co_return std::unexpected(DeliveryError{DeliveryError::Fate::retry, "too many replies wait for the receiver"});
  }
  struct Posting {
    WebhookChannel& channel;
    explicit Posting(WebhookChannel& c) : channel(c) { ++channel.posting_; }
    ~Posting() {
      --channel.posting_;
      channel.posted_.pulse();
    }
  } posting(*this);
  co_return co_await outbound_->post(std::move(reply), Deadline::in(post_time));
}

}  // namespace webhook

std::unique_ptr<Channel> make_webhook_channel(const ChannelConfig& config, WebhookSecrets secrets,
                                              boost::asio::any_io_executor executor, const WallClock& clock) {
  return std::make_unique<webhook::WebhookChannel>(config, std::move(secrets), std::move(executor), clock);
}

}  // namespace talaria
