#include "lifecycle/life.h"

namespace talaria {

namespace {
// How long the manager is asked to wait for the next sign of life while starting; renewed every time a resource is
// tried.
constexpr Millis start_extension{30'000};
}  // namespace

std::string_view to_string(LifeState state) {
  switch (state) {
    case LifeState::starting: return "starting";
    case LifeState::standby: return "standby";
    case LifeState::backing_off: return "backing-off";
    case LifeState::running: return "running";
    case LifeState::draining: return "draining";
  }
  return "starting";
}

void Life::enter_starting(std::string waiting_for) {
  state_ = LifeState::starting;
  detail_ = std::move(waiting_for);
  notifier_.extend(start_extension);
  notifier_.status("starting: " + detail_);
}

void Life::enter_standby(std::string waiting_for) {
  state_ = LifeState::standby;
  detail_ = std::move(waiting_for);
  notifier_.ready("standby for " + detail_);
}

void Life::enter_backing_off(std::string why) {
  state_ = LifeState::backing_off;
  detail_ = std::move(why);
  notifier_.extend(start_extension);
  notifier_.status("backing off: " + detail_);
}

void Life::enter_running(std::string detail) {
  state_ = LifeState::running;
  detail_ = std::move(detail);
  notifier_.ready(detail_);
}

void Life::enter_changing(std::string why) {
  state_ = LifeState::draining;
  detail_ = std::move(why);
  notifier_.status("changing programs: " + detail_);
}

void Life::enter_draining(std::string why) {
  state_ = LifeState::draining;
  detail_ = std::move(why);
  notifier_.stopping("draining: " + detail_);
}

}  // namespace talaria
