#include "gateway/turn_scheduler.h"

#include <algorithm>

namespace talaria {

std::unique_ptr<TurnScheduler::Ticket> TurnScheduler::enqueue(std::string session) {
  auto ticket = std::make_unique<Ticket>(*this, std::move(session));
  not_granted_.insert(ticket.get());
  if (ticket->session_.empty()) {
    offer(*ticket);
    return ticket;
  }
  Lane& lane = lanes_[ticket->session_];
  lane.tickets.push_back(ticket.get());
  if (lane.tickets.size() == 1) offer(*ticket);
  return ticket;
}

void TurnScheduler::hold() {
  held_ = true;
  for (Ticket* ticket : not_granted_) ticket->granted_event_.pulse();
}

void TurnScheduler::offer(Ticket& ticket) {
  ready_.push_back(&ticket);
  grant_next();
}

void TurnScheduler::grant_next() {
  while (!held_ && running_ < max_running_ && !ready_.empty()) {
    Ticket& ticket = *ready_.front();
    ready_.pop_front();
    ++running_;
    not_granted_.erase(&ticket);
    ticket.granted_ = true;
    ticket.granted_event_.set();
  }
  moved_();
}

void TurnScheduler::leave(Ticket& ticket) {
  if (ticket.granted_) {
    --running_;
  } else {
    not_granted_.erase(&ticket);
    std::erase(ready_, &ticket);
  }
  if (!ticket.session_.empty()) {
    const auto lane = lanes_.find(ticket.session_);
    auto& tickets = lane->second.tickets;
    const bool was_first = tickets.front() == &ticket;
    std::erase(tickets, &ticket);
    if (tickets.empty()) {
      lanes_.erase(lane);
    } else if (was_first) {
      ready_.push_back(tickets.front());
    }
  }
  grant_next();
}

}  // namespace talaria
