#include "channel/irc/connection.h"

#include "runtime/race.h"

namespace talaria::irc {

namespace {
constexpr std::size_t kReadBytes = 8192;
constexpr std::chrono::seconds kWriteTime{30};
}  // namespace

Connection::Connection(std::unique_ptr<Stream> stream, Session& session, Outgoing& outgoing, HoldQueue& hold,
                       Event& work, asio::any_io_executor executor, std::function<void()> on_progress)
    : stream_(std::move(stream)),
      session_(session),
      outgoing_(outgoing),
      hold_(hold),
      work_(work),
      timing_(std::move(executor)),
      on_progress_(std::move(on_progress)) {}

Task<SessionEnd> Connection::run() {
  session_.start(SteadyClock::now());
  co_await race(read(), write(), keep_time());
  stream_->close();
  if (session_.end()) co_return *session_.end();
  co_return SessionEnd{false, broken_.empty() ? "the connection ended" : broken_};
}

void Connection::broke(std::string what) {
  if (broken_.empty()) broken_ = std::move(what);
}

// After anything that may have given the writer work or moved the session's next tick.
void Connection::settle() {
  work_.pulse();
  timing_.pulse();
}

Task<> Connection::read() {
  while (!session_.end()) {
    const auto n = co_await stream_->read_some(input_, kReadBytes, Deadline::never());
    if (!n) {
      broke(n.error().what);
      co_return;
    }
    co_await take_lines();
    on_progress_();
  }
}

Task<> Connection::take_lines() {
  std::size_t start = 0;
  for (auto end = input_.find('\n'); end != std::string::npos && !session_.end(); end = input_.find('\n', start)) {
    if (hold_.full()) {
      held_back_ = true;
      co_await hold_.wait_for_room();
      held_back_ = false;
      session_.resumed(SteadyClock::now());
    }
    auto line = std::string_view(input_).substr(start, end - start);
    start = end + 1;
    if (std::exchange(skipping_, false)) continue;
    if (line.ends_with('\r')) line.remove_suffix(1);
    session_.on_line(line, SteadyClock::now());
    settle();
  }
  input_.erase(0, start);
  if (input_.size() > kMaxInput) {
    // No server has such lines; its rest is passed over, so that memory stays bounded.
    input_.clear();
    skipping_ = true;
  }
}

Task<> Connection::write() {
  for (;;) {
    const auto now = SteadyClock::now();
    std::string bytes;
    while (auto line = outgoing_.take(now)) bytes += *line;
    if (!bytes.empty()) {
      const auto written = co_await stream_->write_all(bytes, Deadline::in(kWriteTime));
      if (!written) {
        broke(written.error().what);
        co_return;
      }
      timing_.pulse();  // a delivery's PING may be among it
      continue;
    }
    const auto next = outgoing_.next_at(now);
    co_await work_.wait(next ? Deadline(*next) : Deadline::never());
  }
}

void Connection::probe() {
  session_.probe(SteadyClock::now());
  timing_.pulse();
}

Task<> Connection::keep_time() {
  while (!session_.end()) {
    if (!held_back_) {
      session_.on_tick(SteadyClock::now());
      if (session_.end()) co_return;
      work_.pulse();
    }
    // Held back, there is nothing to tell time for: the pulse after it resumes.
    co_await timing_.wait(held_back_ ? Deadline::never() : Deadline(session_.next_tick()));
  }
}

}  // namespace talaria::irc
