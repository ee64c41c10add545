#pragma once
// The input and output of one session: reads lines, writes what Outgoing gives at the pace it allows, and keeps the
// session's clock. Ends when the stream breaks or the session does.

#include <functional>
#include <memory>
#include <string>

#include "channel/irc/hold_queue.h"
#include "channel/irc/outgoing.h"
#include "channel/irc/session.h"
#include "net/stream.h"

namespace talaria::irc {

class Connection {
 public:
  // `work`: pulsed when Outgoing has got something to write. `on_progress`: called after each read from the server.
  Connection(std::unique_ptr<Stream> stream, Session& session, Outgoing& outgoing, HoldQueue& hold, Event& work,
             asio::any_io_executor executor, std::function<void()> on_progress);

  // Returns why it ended.
  Task<SessionEnd> run();
  // Is the server still there? Asked now instead of at the next regular time.
  void probe();

 private:
  Task<> read();
  Task<> write();
  Task<> keep_time();
  Task<> take_lines();
  void broke(std::string what);
  void settle();

  std::unique_ptr<Stream> stream_;
  Session& session_;
  Outgoing& outgoing_;
  HoldQueue& hold_;
  Event& work_;
  Event timing_;  // the session's next tick may have moved
  std::function<void()> on_progress_;
  std::string input_;
  bool skipping_ = false;  // inside a line that is too long
  bool held_back_ = false;
  std::string broken_;  // why the stream ended; empty: it has not
};

}  // namespace talaria::irc
