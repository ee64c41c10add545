#pragma once
// For tests: the e-mail channel between servers in memory, which the test plays line by line, and a journal.

#include "channel/email/email_channel.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <map>
#include <set>

#include "channel/irc/scripted_server.h"
#include "runtime/task_group.h"

namespace talaria::mail::test {

using namespace std::chrono_literals;
using Fate = DeliveryError::Fate;
using irc::test::Peer;
using irc::test::ScriptedServer;

inline constexpr UnixMillis start_time = 1'700'000'000'000;  // 2023-11-14

class FixedClock final : public WallClock {
 public:
  [[nodiscard]] UnixMillis now() const override { return start_time; }
};

class Journal final : public Inbox {
 public:
  explicit Journal(asio::any_io_executor executor) : changed(std::move(executor)) {}
  Task<Result<Accepted>> accept(InboundEvent event) override {
    ++offers;
    changed.pulse();
    if (refusal) co_return std::unexpected(*refusal);
    const bool duplicate = !known.insert(event.message_id).second;
    if (!duplicate) events.push_back(std::move(event));
    changed.pulse();
    co_return Accepted{duplicate};
  }
  Task<Result<Attachment>> keep(std::string name, std::string type, std::string bytes) override {
    ++kept;
    if (bytes.size() > 1000) co_return fail(ErrorKind::limit, "too large");
    co_return Attachment{"/kept/" + name, name, type, static_cast<std::int64_t>(bytes.size())};
  }
  Task<Result<std::string>> cursor(std::string, std::string name) override { co_return cursors[name]; }
  Task<Result<>> set_cursor(std::string, std::string name, std::string value) override {
    cursors[name] = value;
    changed.pulse();
    co_return Result<>{};
  }
  Task<Result<bool>> knows(Route, std::string message_id) override { co_return known.contains(message_id); }
  Task<Result<>> skip(InboundEvent event, std::string why) override {
    skipped.push_back(event.message_id + ": " + why);
    changed.pulse();
    co_return Result<>{};
  }
  void passed_over(std::string_view, std::string_view what) override { passed.emplace_back(what); }
  void warn(std::string_view, std::string_view what) override { warnings.emplace_back(what); }
  // Until `done` says so.
  template <class Done>
  Task<> wait(Done done) {
    const auto deadline = Deadline::in(5s);
    while (!done()) {
      if (!co_await changed.wait(deadline)) throw std::runtime_error("the journal waits in vain");
    }
  }

  std::vector<InboundEvent> events;
  std::set<std::string> known;
  std::map<std::string, std::string> cursors;
  std::vector<std::string> passed, skipped, warnings;
  std::optional<Error> refusal;
  int offers = 0;
  int kept = 0;  // files
  Event changed;
};

inline const std::string cursor_name = "imap bot@example.org INBOX";

class EmailChannelTest : public testing::Test {
 protected:
  EmailChannelTest() {
    config.name = "mail";
    config.kind = "email";
    config.allow = {"domain:example.org"};
    config.email.address = "bot@example.org";
    config.email.name = "Bot";
    config.email.login = "bot";
    config.email.verify = "none";
    config.email.imap = {"imap.example.org", 993};
    config.email.smtp = {"smtp.example.org", 25};
    config.email.smtp_tls = "none";
    config.email.poll = Millis(300);
    times.reconnect_first = Millis(2);
    times.reconnect_longest = Millis(20);
    times.lasting_first = times.lasting_longest = Millis(2);
    times.hold_first = times.hold_longest = Millis(2);
    times.smtp = {.connect = Millis(1000), .answer = Millis(1000), .final_answer = Millis(1000)};
  }

  // Runs the channel beside `body`, which plays the servers; the test fails on what `body` throws or after 20 s.
  template <class Body>
  void play(Body body) {
    auto dialer = [this](DialOptions options, Deadline deadline) {
      return (options.port == 25 ? smtp : imap).dialer()(std::move(options), deadline);
    };
    channel.emplace(config, "pass\"word", loop.get_executor(), clock, dialer, times);
    TaskGroup group(loop.get_executor(),
                    [](std::string_view task, std::string_view what) { ADD_FAILURE() << task << ": " << what; });
    bool done = false;
    std::exception_ptr failure;
    group.spawn("channel", channel->run(journal));
    asio::co_spawn(loop, body(), [&](std::exception_ptr e) {
      failure = e;
      done = true;
      group.cancel();
    });
    loop.run_for(20s);
    ASSERT_TRUE(done) << "the test's script did not end";
    if (failure) {
      try {
        std::rethrow_exception(failure);
      } catch (const std::exception& e) {
        FAIL() << e.what();
      }
    }
    EXPECT_EQ(group.size(), 0U) << "the channel did not end when cancelled";
  }

  // The client's next command, which must begin so; returns its tag.
  static Task<std::string> command(Peer& peer, std::string start) {
    const auto line = co_await peer.expect("t");
    const auto blank = line.find(' ');
    if (!line.substr(blank + 1).starts_with(start)) throw std::runtime_error("not " + start + " but: " + line);
    co_return line.substr(0, blank);
  }
  // Answers a command with these lines and OK.
  static Task<> serve(Peer& peer, std::string start, std::vector<std::string> lines = {}) {
    const auto tag = co_await command(peer, start);
    for (const auto& line : lines) peer.send(line);
    peer.send(tag + " OK done");
  }
  static Task<> log_in(Peer& peer, std::string capabilities = "IMAP4rev1 IDLE") {
    peer.send("* OK [CAPABILITY " + capabilities + "] hello");
    const auto tag = co_await command(peer, "LOGIN \"bot\" \"pass\\\"word\"");
    peer.send(tag + " OK [CAPABILITY " + capabilities + "] in");
  }
  static Task<> open(Peer& peer, int validity, int next) {
    co_await log_in(peer);
    co_await serve(peer, "SELECT \"INBOX\"",
                   {"* 3 EXISTS", "* OK [UIDVALIDITY " + std::to_string(validity) + "] x",
                    "* OK [UIDNEXT " + std::to_string(next) + "] x"});
  }
  static std::string mail(std::string id, std::string more = "") {
    return "From: Alice <alice@example.org>\r\nMessage-ID: <" + id + "@example.org>\r\n" + more +
           "Subject: s\r\n\r\ntext " + id + "\r\n";
  }
  static Task<> give(Peer& peer, int uid, std::string bytes, std::string date = "15-Nov-2023 10:00:00 +0000") {
    co_await serve(peer, "UID FETCH " + std::to_string(uid) + " ",
                   {"* 1 FETCH (UID " + std::to_string(uid) + " RFC822.SIZE " + std::to_string(bytes.size()) +
                        " INTERNALDATE \"" + date + "\" BODY[]<0> {" + std::to_string(bytes.size()) + "}",
                    bytes + ")"});
  }
  static Task<> expect_idle(Peer& peer, std::string& tag) {
    tag = co_await command(peer, "IDLE");
    peer.send("+ idling");
  }

  static Reply reply() {
    return {
        .outbox_id = 7, .route = {.channel = "mail", .conversation = "alice@example.org"}, .text = "hello\n.\nthere"};
  }
  struct Pending {
    explicit Pending(asio::any_io_executor executor) : done(std::move(executor)) {}
    Event done;
    std::optional<std::expected<Receipt, DeliveryError>> outcome;
    Task<Fate> fate() {
      if (!co_await done.wait(Deadline::in(5s))) throw std::runtime_error("delivery hangs");
      if (outcome->has_value()) throw std::runtime_error("delivered");
      co_return outcome->error().fate;
    }
  };
  std::shared_ptr<Pending> deliver(Reply what) {
    auto pending = std::make_shared<Pending>(loop.get_executor());
    asio::co_spawn(
        loop,
        [](EmailChannel& c, Reply r, std::shared_ptr<Pending> p) -> Task<> {
          p->outcome = co_await c.deliver(std::move(r));
          p->done.set();
        }(*channel, std::move(what), pending),
        asio::detached);
    return pending;
  }
  // An SMTP server up to the answer to `last`, which is this one.
  static Task<> smtp_until(Peer& peer, std::string last, std::string answer) {
    peer.send("220 mx");
    for (const std::string word : {"EHLO", "MAIL FROM:<bot@example.org>", "RCPT TO:<alice@example.org>", "DATA"}) {
      co_await peer.expect(word);
      if (word.starts_with(last)) {
        if (!answer.empty()) peer.send(answer);
        co_return;
      }
      peer.send(word == "DATA" ? "354 go on" : word == "EHLO" ? "250-mx\r\n250 8BITMIME" : "250 fine");
    }
    co_await peer.expect(".");
  }

  asio::io_context loop;
  FixedClock clock;
  ChannelConfig config;
  EmailTimes times;
  ScriptedServer imap{loop.get_executor()};
  ScriptedServer smtp{loop.get_executor()};
  Journal journal{loop.get_executor()};
  std::optional<EmailChannel> channel;
};

}  // namespace talaria::mail::test
