#include "gateway/channel_host.h"

#include <algorithm>

#include "runtime/backoff.h"
#include "runtime/log.h"
#include "runtime/race.h"

namespace talaria {
namespace {

// What is being delivered when a channel leaves may take so long to end; then it is cut off and its fate is unknown.
constexpr Millis leave_grace{10'000};
constexpr Millis leave_limit{5'000};
// Somebody else has our account: we look again this often, so we take over within seconds of its end.
constexpr Millis account_retry{1'000};
constexpr Millis account_question{500};

std::unexpected<Error> leaving() { return fail(ErrorKind::unavailable, "this channel is leaving"); }

}  // namespace

Task<Result<Accepted>> ChannelHost::Gate::accept(InboundEvent event) {
  if (closed) co_return leaving();
  co_return co_await inside.accept(std::move(event));
}

Task<Result<Attachment>> ChannelHost::Gate::keep(std::string name, std::string type, std::string bytes) {
  if (closed) co_return leaving();
  co_return co_await inside.keep(std::move(name), std::move(type), std::move(bytes));
}

Task<Result<std::string>> ChannelHost::Gate::cursor(std::string channel, std::string name) {
  if (closed) co_return leaving();
  co_return co_await inside.cursor(std::move(channel), std::move(name));
}

Task<Result<>> ChannelHost::Gate::set_cursor(std::string channel, std::string name, std::string value) {
  if (closed) co_return leaving();
  co_return co_await inside.set_cursor(std::move(channel), std::move(name), std::move(value));
}

Task<Result<bool>> ChannelHost::Gate::knows(Route route, std::string message_id) {
  if (closed) co_return leaving();
  co_return co_await inside.knows(std::move(route), std::move(message_id));
}

Task<Result<>> ChannelHost::Gate::skip(InboundEvent event, std::string why) {
  if (closed) co_return leaving();
  co_return co_await inside.skip(std::move(event), std::move(why));
}

ChannelHost::ChannelHost(asio::any_io_executor executor, Inbox& inbox, Delivery& delivery, CredentialHolder self,
                         TaskGroup::OnBug on_bug)
    : executor_(executor),
      inbox_(inbox),
      delivery_(delivery),
      self_(std::move(self)),
      on_bug_(std::move(on_bug)),
      someone_left_(executor),
      chores_(executor, on_bug_) {}

void ChannelHost::change(std::vector<std::unique_ptr<Channel>> fresh, const std::vector<std::string>& gone) {
  for (const std::string& name : gone) {
    const auto old = dismiss(name);
    if (!old) continue;
    delivery_.remove_channel(name);
    if (const auto held = old->channel->take_held(); !held.empty())
      log::warning("{}: {} messages were not yet in the journal when the channel was taken out", name, held.size());
  }
  for (auto& channel : fresh) take_in(std::move(channel));
}

void ChannelHost::take_in(std::unique_ptr<Channel> channel) {
  const std::string name(channel->name());
  auto hosted = std::make_shared<Hosted>(executor_, inbox_, std::move(channel), on_bug_);
  if (auto old = dismiss(name)) {
    if (auto held = old->channel->take_held(); !held.empty())
      chores_.spawn("messages of a replaced channel", carry_over(std::move(held)));
    hosted->predecessor = std::move(old);
  }
  const auto place = std::ranges::upper_bound(hosted_, name, {}, [](const auto& h) { return h->channel->name(); });
  hosted_.insert(place, hosted);
  delivery_.set_channel(hosted->channel);
  if (started_) run_hosted(hosted);
}

// The channel of that name leaves; null: there is none.
std::shared_ptr<ChannelHost::Hosted> ChannelHost::dismiss(const std::string& name) {
  const auto found = std::ranges::find_if(hosted_, [&](const auto& h) { return h->channel->name() == name; });
  if (found == hosted_.end()) return nullptr;
  auto old = *found;
  hosted_.erase(found);
  old->gate.closed = true;
  leaving_.push_back(old);
  chores_.spawn(fmt::format("channel {} leaves", name), leave(old));
  return old;
}

void ChannelHost::start() {
  started_ = true;
  for (const auto& hosted : hosted_) run_hosted(hosted);
}

void ChannelHost::run_hosted(const std::shared_ptr<Hosted>& hosted) {
  hosted->tasks.spawn(fmt::format("channel {}", hosted->channel->name()), run(hosted));
}

Task<> ChannelHost::run(std::shared_ptr<Hosted> hosted) {
  if (hosted->predecessor) {
    co_await hosted->predecessor->left.wait();
    hosted->predecessor.reset();
  }
  Channel& channel = *hosted->channel;
  const Credential credential{std::string(channel.kind()), channel.account()};
  if (credential.account.empty()) {
    co_await channel.run(hosted->gate);
    co_return;
  }
  const CredentialLock lock = co_await hold_account(hosted, credential);
  CredentialHolder self = self_;
  self.channel = channel.name();
  co_await race(channel.run(hosted->gate), lock.answer(std::move(self)));
}

// Returns when nobody else on this machine uses the account.
Task<CredentialLock> ChannelHost::hold_account(std::shared_ptr<Hosted> hosted, Credential credential) {
  for (;;) {
    auto lock = CredentialLock::acquire(credential);
    if (lock) {
      if (!std::exchange(hosted->account_taken, "").empty())
        log::info("{}: the account is free, connecting", hosted->channel->name());
      co_return std::move(*lock);
    }
    std::string taken = lock.error().what;
    if (lock.error().kind == ErrorKind::conflict) {
      const auto holder = co_await ask_credential_holder(credential, Deadline::in(account_question));
      taken = fmt::format("the account {} is in use by {}", credential.account,
                          holder ? describe(*holder) : "a process that does not answer");
    }
    if (taken != hosted->account_taken)
      log::warning("{}: {}; the channel stays down until it is free", hosted->channel->name(), taken);
    hosted->account_taken = std::move(taken);
    co_await sleep_for(account_retry);
  }
}

Task<> ChannelHost::leave(std::shared_ptr<Hosted> hosted) {
  struct Gone {
    ChannelHost& host;
    Hosted& who;
    ~Gone() {
      who.left.set();
      host.someone_left_.pulse();
    }
  } gone{*this, *hosted};
  // It may still be waiting for its own predecessor.
  if (const auto before = hosted->predecessor) co_await before->left.wait();
  if (hosted->channel->health().state == ChannelState::up)
    co_await delivery_.until_idle(*hosted->channel, Deadline::in(leave_grace));
  if (co_await hosted->tasks.stop(Deadline::in(leave_limit))) {
    std::erase(leaving_, hosted);
  } else {
    log::error("channel {} does not end; left alone", hosted->channel->name());
  }
}

// What a replaced channel had not yet brought to the journal.
Task<> ChannelHost::carry_over(std::vector<InboundEvent> events) {
  Backoff backoff(Millis{100}, Millis{30'000});
  for (const InboundEvent& event : events) {
    for (;;) {
      const auto accepted = co_await inbox_.accept(event);
      if (accepted || accepted.error().kind != ErrorKind::unavailable) break;
      co_await sleep_for(backoff.next());
    }
    backoff.reset();
  }
}

void ChannelHost::network_is_back() {
  for (const auto& hosted : hosted_) hosted->channel->network_is_back();
}

Task<bool> ChannelHost::settled(Deadline deadline) {
  while (!leaving_.empty() && co_await someone_left_.wait(deadline)) {
  }
  co_return leaving_.empty();
}

Task<bool> ChannelHost::stop(Deadline deadline) {
  chores_.cancel();
  auto all = hosted_;
  all.insert(all.end(), leaving_.begin(), leaving_.end());
  for (const auto& hosted : all) hosted->tasks.cancel();
  bool clean = co_await chores_.join(deadline);
  for (const auto& hosted : all) clean = co_await hosted->tasks.join(deadline) && clean;
  co_return clean;
}

std::shared_ptr<HookEndpoint> ChannelHost::hook(std::string_view name) const {
  const auto found = std::ranges::find_if(hosted_, [&](const auto& h) { return h->channel->name() == name; });
  if (found == hosted_.end()) return nullptr;
  HookEndpoint* endpoint = (*found)->channel->hook();
  // Not the channel alone: what it journals goes through its gate.
  return endpoint == nullptr ? nullptr : std::shared_ptr<HookEndpoint>(*found, endpoint);
}

std::vector<ChannelReport> ChannelHost::reports() const {
  std::vector<ChannelReport> reports;
  for (const auto& hosted : hosted_) {
    ChannelHealth health = hosted->channel->health();
    if (!hosted->account_taken.empty()) {
      health.state = ChannelState::down;
      health.error = hosted->account_taken;
    }
    reports.push_back({std::string(hosted->channel->name()), std::string(hosted->channel->kind()), std::move(health)});
  }
  return reports;
}

}  // namespace talaria
