#include "channel/irc/outgoing.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace talaria::irc {

std::optional<DeliveryError::Fate> fate_of(std::string_view numeric, Circumstances circumstances) {
  using Fate = DeliveryError::Fate;
  // 401 no such nick, 403 no such channel, 405 too many channels, 407 too many targets, 408 no such service or no
  // colours, 411/412 no recipient or text, 413/414/415 bad masks, 477 must be registered, 482 not an operator, 486 must
  // be registered to speak to them, 489 secure only, 531 can't send to user, 716 they accept nobody.
  static constexpr std::array<std::string_view, 16> dead = {"401", "403", "405", "407", "408", "411", "412", "413",
                                                            "414", "415", "477", "482", "486", "489", "531", "716"};
  // 437 temporarily unavailable, 439 target changes too fast.
  static constexpr std::array<std::string_view, 2> retry = {"437", "439"};
  // Not a member (kicked a moment ago): we come back. Member, and not allowed to speak (banned, moderated): no use.
  if (numeric == "404" || numeric == "442") return circumstances.in_channel ? Fate::dead : Fate::retry;
  if (numeric == "401" && circumstances.settling) return Fate::retry;
  if (std::ranges::find(dead, numeric) != dead.end()) return Fate::dead;
  if (std::ranges::find(retry, numeric) != retry.end()) return Fate::retry;
  return {};
}

void Outgoing::push(std::deque<std::string>& queue, std::string line) {
  if (queue.size() >= kMaxWaiting) {
    overflowed_ = true;
    return;
  }
  queue.push_back(std::move(line));
}

std::shared_ptr<Delivery> Outgoing::deliver(std::string target, std::string token, std::vector<std::string> lines) {
  if (deliveries_.size() >= kMaxDeliveries) return nullptr;
  auto delivery = std::make_shared<Delivery>(executor_, std::move(target), std::move(token), std::move(lines));
  deliveries_.push_back(delivery);
  return delivery;
}

bool Outgoing::delivery_waits() const {
  return std::ranges::any_of(deliveries_, [](const auto& d) { return d->pinged == Time{}; });
}

std::optional<Outgoing::Time> Outgoing::next_at(Time now) {
  if (!urgent_.empty()) return now;
  if (paced_.empty() && !delivery_waits()) return {};
  return bucket_.ready_at(now);
}

std::optional<std::string> Outgoing::take(Time now) {
  const auto at = next_at(now);
  if (!at || *at > now) return {};
  if (urgent_.empty() && paced_.empty()) return take_delivery_line(now);
  auto& queue = urgent_.empty() ? paced_ : urgent_;
  std::string line = std::move(queue.front());
  queue.pop_front();
  bucket_.take(now);
  return line + "\r\n";
}

std::string Outgoing::take_delivery_line(Time now) {
  const auto found = std::ranges::find_if(deliveries_, [](const auto& d) { return d->pinged == Time{}; });
  auto delivery = *found;
  deliveries_.erase(found);
  deliveries_.push_back(delivery);  // the others' turn
  std::string out;
  if (delivery->next < delivery->lines.size()) {
    out = std::move(delivery->lines[delivery->next++]) + "\r\n";
    bucket_.take(now);
  }
  if (delivery->next == delivery->lines.size()) {
    out += fmt::format("PING :{}\r\n", delivery->token);
    delivery->pinged = now;
    bucket_.take(now);
  }
  return out;
}

void Outgoing::finish(Delivery& delivery, Outcome outcome) {
  delivery.outcome = std::move(outcome);
  delivery.done.set();
  std::erase_if(deliveries_, [&](const auto& d) { return d.get() == &delivery; });
}

void Outgoing::on_pong(std::string_view token) {
  const auto found =
      std::ranges::find_if(deliveries_, [&](const auto& d) { return d->token == token && d->pinged != Time{}; });
  if (found == deliveries_.end()) return;
  const auto delivery = *found;
  // IRC numbers no messages: there is no platform id to tell.
  if (delivery->errors == 0) return finish(*delivery, Receipt{});
  // Refused as a whole it may go again; refused in part, it would show twice what had passed.
  const auto fate = delivery->refused                    ? DeliveryError::Fate::dead
                    : delivery->errors >= delivery->next ? DeliveryError::Fate::retry
                                                         : DeliveryError::Fate::unknown;
  finish(*delivery, std::unexpected(DeliveryError{fate, delivery->first_error, Millis(0)}));
}

void Outgoing::on_error(const Message& numeric, Circumstances circumstances, CaseMapping mapping) {
  const auto fate = fate_of(numeric.command, circumstances);
  if (!fate) return;
  // Parameters: our nick, the target, text. Errors come in the order of our lines, so of several deliveries to a
  // target the oldest is meant.
  std::shared_ptr<Delivery> hit;
  for (const auto& d : deliveries_) {
    if (d->next == 0 || !same_name(d->target, numeric.param(1), mapping)) continue;
    if (!hit || (d->pinged != Time{} && (hit->pinged == Time{} || d->pinged < hit->pinged))) hit = d;
  }
  if (!hit) return;
  ++hit->errors;
  if (hit->first_error.empty()) {
    hit->first_error = fmt::format("{}: {} ({})", numeric.param(1),
                                   numeric.params.size() > 2 ? numeric.params.back() : "refused", numeric.command);
  }
  // The rest is not sent. It is over with the PONG, not now: until then errors of this delivery arrive, and the next
  // delivery to the same target must not take them for its own.
  hit->lines.resize(hit->next);
  if (*fate == DeliveryError::Fate::dead) hit->refused = true;
}

void Outgoing::on_connection_lost(const std::string& why) {
  urgent_.clear();
  paced_.clear();
  overflowed_ = false;
  while (!deliveries_.empty()) {
    const auto delivery = deliveries_.front();
    if (delivery->refused) {
      finish(*delivery, std::unexpected(DeliveryError{DeliveryError::Fate::dead, delivery->first_error, Millis(0)}));
      continue;
    }
    const auto fate = delivery->next > 0 ? DeliveryError::Fate::unknown : DeliveryError::Fate::retry;
    finish(*delivery, std::unexpected(DeliveryError{fate, "the connection to the server broke: " + why, Millis(0)}));
  }
}

std::optional<Outgoing::Time> Outgoing::oldest_ping() const {
  std::optional<Time> oldest;
  for (const auto& d : deliveries_) {
    if (d->pinged != Time{} && (!oldest || d->pinged < *oldest)) oldest = d->pinged;
  }
  return oldest;
}

}  // namespace talaria::irc
