#include "api/metrics.h"

#include <unistd.h>

#include <cstdio>

#include "api/exposition.h"

namespace talaria {
namespace json = boost::json;
namespace {

double resident_bytes() {
  // Second field of /proc/self/statm, in pages (proc(5)).
  long size = 0;
  long resident = 0;
  if (std::FILE* file = std::fopen("/proc/self/statm", "re"); file != nullptr) {
    if (std::fscanf(file, "%ld %ld", &size, &resident) != 2) resident = 0;
    std::fclose(file);
  }
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

double number(auto value) { return static_cast<double>(value); }

}  // namespace

HttpResponse readiness(const DaemonView& view, const Gateway* gateway) {
  json::object body{{"ready", view.ready()}, {"state", view.state()}};
  json::array channels;
  if (gateway != nullptr) {
    for (const ChannelReport& channel : gateway->channels()) {
      channels.push_back({{"name", channel.name}, {"kind", channel.kind}, {"state", to_string(channel.health.state)}});
    }
  }
  body["channels"] = std::move(channels);
  return json_response(body, view.ready() ? 200 : 503);
}

HttpResponse metrics(const DaemonView& view, const Gateway* gateway) {
  using enum Exposition::Kind;
  Exposition out;
  out.add(gauge, "talaria_ready", "1 when the gateway serves", view.ready() ? 1 : 0);
  out.add(gauge, "process_resident_memory_bytes", "Resident memory", resident_bytes());
  if (gateway != nullptr) {
    const GatewayCounters& c = gateway->counters();
    const QueueDepths d = gateway->depths();
    for (const auto& [state, value] :
         {std::pair{"finished", c.turns_finished}, {"failed", c.turns_failed}, {"cancelled", c.turns_cancelled}}) {
      out.add(counter, "talaria_turns_total", "Turns that ended, by how", number(value), {{"state", state}});
    }
    out.add(counter, "talaria_events_accepted_total", "Messages journalled", number(c.events_accepted));
    out.add(counter, "talaria_events_duplicate_total", "Redeliveries recognised", number(c.events_duplicate));
    out.add(counter, "talaria_events_passed_over_total", "Messages that are not for us, each with a line in the log",
            number(c.events_passed_over));
    out.add(counter, "talaria_replies_sent_total", "Replies with a receipt", number(c.replies_sent));
    out.add(counter, "talaria_delivery_errors_total", "Delivery attempts that failed", number(c.delivery_errors));
    for (const auto& [queue, value] :
         {std::pair{"inbound", d.inbound}, {"turns", d.turns}, {"outbox", d.outbox}, {"dead", d.dead}}) {
      out.add(gauge, "talaria_queue_depth", "What waits", number(value), {{"queue", queue}});
    }
    out.add(gauge, "talaria_turns_running", "Turns that run now", number(d.running));
    for (const ChannelReport& channel : gateway->channels()) {
      out.add(gauge, "talaria_channel_up", "1 when the channel is connected",
              channel.health.state == ChannelState::up ? 1 : 0, {{"channel", channel.name}, {"kind", channel.kind}});
    }
    for (const ChannelReport& channel : gateway->channels()) {
      if (!channel.health.last_progress) continue;
      out.add(gauge, "talaria_channel_last_progress_seconds", "Unix time of the last exchange with the platform",
              number(*channel.health.last_progress) / 1000, {{"channel", channel.name}, {"kind", channel.kind}});
    }
  }
  HttpResponse response;
  response.headers.set("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
  response.body = std::move(out).take();
  return response;
}

}  // namespace talaria
