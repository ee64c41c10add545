#include "gateway/gateway.h"

#include "gateway/gateway_impl.h"
#include "runtime/log.h"
#include "store/attachment_files.h"
#include "store/cursor.h"
#include "store/notices.h"
#include "store/outbox.h"

namespace talaria {
RouteRow row_of(const Route& route) { return {route.channel, route.conversation, route.thread, route.reply_to}; }

Gateway::Impl::Impl(Parts p, Inbox& inbox)
    : parts(std::move(p)),
      refill_due(parts.executor),
      scheduler(parts.executor, parts.config->gateway.max_concurrent_turns,
                [this] {
                  if (needs_refill()) refill_due.pulse();
                }),
      runner(*parts.clock, *parts.store, *parts.config, std::move(parts.agents), counters),
      delivery(parts.executor, *parts.clock, *parts.store, parts.config->gateway.max_backlog_age, counters,
               parts.on_bug),
      turn_ended(parts.executor),
      cut_off(parts.executor),
      host(parts.executor, inbox, delivery, parts.self, parts.on_bug),
      turn_tasks(parts.executor, parts.on_bug) {
  host.change(std::move(parts.channels), {});
}

Gateway::Gateway(Parts parts) : impl_(std::make_unique<Impl>(std::move(parts), *this)) {}
Gateway::~Gateway() = default;

Task<Result<>> Gateway::start() {
  auto told = co_await impl_->parts.store->write(
      [now = impl_->parts.clock->now()](Database& db) { return tell_return(db, "I am back.", now); });
  if (!told) co_return std::unexpected(told.error());
  if (!impl_->backlog_found) {
    auto queued = co_await impl_->parts.store->read([](Database& db) { return count_queued_turns(db); });
    if (!queued) co_return std::unexpected(queued.error());
    impl_->backlog = {.any = true, .after = 0, .recovered_upto = queued->newest, .count = queued->count};
    if (auto ok = co_await impl_->refill(); !ok) co_return ok;
    impl_->backlog_found = true;
    impl_->turn_tasks.spawn("backlog", impl_->keep_filled());
  }
  if (auto ok = co_await impl_->delivery.start(); !ok) co_return ok;
  impl_->host.start();
  co_return Result<>{};
}

// ---- What channels keep here
// ------------------------------------------------------------------------------------------

Task<Result<Attachment>> Gateway::keep(std::string name, std::string type, std::string bytes) {
  const std::string& directory = impl_->parts.attachments;
  if (directory.empty()) co_return fail(ErrorKind::unavailable, "files are not kept here");
  const auto size = static_cast<std::int64_t>(bytes.size());
  if (size > max_attachment) {
    co_return fail(ErrorKind::limit, fmt::format("a file of {} bytes; {} are kept at most", size, max_attachment));
  }
  auto path = co_await impl_->parts.store->read(
      [directory, name, data = std::move(bytes)](Database&) { return keep_attachment_file(directory, name, data); });
  if (!path) co_return std::unexpected(path.error());
  co_return Attachment{.path = std::move(*path), .name = std::move(name), .type = std::move(type), .size = size};
}

Task<Result<std::string>> Gateway::cursor(std::string channel, std::string name) {
  co_return co_await impl_->parts.store->read([channel, name](Database& db) { return get_cursor(db, channel, name); });
}

Task<Result<>> Gateway::set_cursor(std::string channel, std::string name, std::string value) {
  co_return co_await impl_->parts.store->write(
      [channel, name, value](Database& db) { return put_cursor(db, channel, name, value); });
}

void Gateway::passed_over(std::string_view channel, std::string_view what) {
  ++impl_->counters.events_passed_over;
  log::info("{}: {}", channel, what);
}

void Gateway::warn(std::string_view channel, std::string_view what) { log::warning("{}: {}", channel, what); }

// ---- Sending, drain, report
// ------------------------------------------------------------------------------------------

Task<Result<std::int64_t>> Gateway::send(Route route, std::string text) {
  Impl& self = *impl_;
  if (!self.delivery.has_channel(route.channel)) {
    co_return fail(ErrorKind::not_found, fmt::format("there is no channel \"{}\" in the configuration", route.channel));
  }
  auto id = co_await self.parts.store->write([r = row_of(route), &text, now = self.parts.clock->now()](Database& db) {
    return queue_reply(db, r, text, now);
  });
  if (id) self.delivery.queued(route.channel, route.conversation);
  co_return id;
}

Task<Result<>> Gateway::wait_delivered(std::int64_t outbox_id, Deadline deadline) {
  return impl_->delivery.wait_delivered(outbox_id, deadline);
}

Task<Result<>> Gateway::retry_dead(std::int64_t outbox_id) {
  auto route =
      co_await impl_->parts.store->write([outbox_id](Database& db) { return talaria::retry_dead(db, outbox_id); });
  if (!route) co_return std::unexpected(route.error());
  impl_->delivery.dead_changed(-1);
  impl_->delivery.queued(route->channel, route->conversation);
  co_return Result<>{};
}

Task<Result<>> Gateway::discard_dead(std::int64_t outbox_id) {
  auto done =
      co_await impl_->parts.store->write([outbox_id](Database& db) { return talaria::discard_dead(db, outbox_id); });
  if (done) impl_->delivery.dead_changed(-1);
  co_return done;
}

void Gateway::begin_drain() {
  impl_->draining = true;
  impl_->scheduler.hold();
}

Event& Gateway::turn_ended() { return impl_->turn_ended; }

std::uint64_t Gateway::progress() const {
  const GatewayCounters& c = impl_->counters;
  return c.pieces + c.turns_finished + c.turns_failed + c.turns_cancelled + c.replies_sent + c.delivery_errors;
}

Task<bool> Gateway::end_turns(Deadline deadline) {
  impl_->cut_off.set();
  bool ended = co_await impl_->turn_tasks.stop(deadline);
  while (impl_->scheduler.running() > 0 && !deadline.expired()) co_await impl_->turn_ended.wait(deadline);
  co_return ended && impl_->scheduler.running() == 0;
}

Event& Gateway::cut_off() { return impl_->cut_off; }

Task<> Gateway::settle_turns() { (void)co_await impl_->turn_tasks.join(); }

Task<bool> Gateway::end_deliveries(Deadline deadline) { co_return co_await impl_->delivery.stop(deadline); }
Task<bool> Gateway::end_channels(Deadline deadline) { co_return co_await impl_->host.stop(deadline); }

void Gateway::hold_new_turns() { impl_->held = true; }

void Gateway::hurry() {
  impl_->turn_ended.pulse();
  impl_->delivery.hurry();
}

void Gateway::network_is_back() { impl_->host.network_is_back(); }

bool Gateway::draining() const { return impl_->draining; }

QueueDepths Gateway::depths() const {
  const Impl& self = *impl_;
  return {.inbound = self.inbound,
          .turns = static_cast<std::int64_t>(self.scheduler.waiting()) + self.scheduler.running() + self.backlog.count,
          .running = self.scheduler.running(),
          .unkeyed = self.unkeyed,
          .stored = self.backlog.count,
          .outbox = self.delivery.open(),
          .dead = self.delivery.dead()};
}

void Gateway::reconfigure(Change change) {
  Impl& self = *impl_;
  const GatewayConfig& limits = self.parts.config->gateway;
  self.runner.change_agents(std::move(change.agents), change.agents_gone);
  self.delivery.set_max_age(limits.max_backlog_age);
  self.scheduler.set_max_running(limits.max_concurrent_turns);
  self.host.change(std::move(change.channels), change.channels_gone);
}

Task<bool> Gateway::settled(Deadline deadline) { return impl_->host.settled(deadline); }

std::shared_ptr<HookEndpoint> Gateway::hook(std::string_view channel) const { return impl_->host.hook(channel); }
std::vector<ChannelReport> Gateway::channels() const { return impl_->host.reports(); }
const std::map<std::string, std::int64_t>& Gateway::stranded_replies() const { return impl_->delivery.stranded(); }

const GatewayCounters& Gateway::counters() const { return impl_->counters; }
std::vector<std::string> Gateway::agent_names() const { return impl_->runner.agent_names(); }

}  // namespace talaria
