// Nobody ever hears another one's answer (R5, R6): the real gateway and store, a fake channel and agent, and people,
// rooms and threads with the worst names that a platform could give them. Neighbouring tuples are wanted: "a/b" in "c"
// beside "a" in "b/c".
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <filesystem>
#include <map>
#include <set>

#include "gateway/gateway.h"
#include "gateway/stop_test_support.h"
#include "store/journal.h"
#include "store/store.h"

namespace talaria {
namespace {

// Every message is "number N". An agent that repeats what it was asked can't hide a mix-up.
constexpr std::string_view mark = "number ";

class Clock final : public WallClock {
 public:
  [[nodiscard]] UnixMillis now() const override { return 1'000'000'000'000; }
};

// Answers with what it was asked, turns overtaking each other; remembers which messages it saw together.
class Repeater final : public Agent {
 public:
  explicit Repeater(asio::any_io_executor executor) : go(std::move(executor)) {}
  [[nodiscard]] std::string_view kind() const override { return "repeater"; }
  Task<std::expected<AgentReply, AgentError>> run(AgentRequest request, ReplySink&) override {
    std::vector<std::string> together;
    for (const ChatMessage& message : request.messages) together.push_back(message.content);
    seen.push_back(together);
    co_await go.wait();
    co_await sleep_for(Millis{static_cast<int>(seen.size() * 7 % 3)});
    AgentReply reply;
    reply.text = request.messages.back().content;
    co_return reply;
  }
  Event go;
  std::vector<std::vector<std::string>> seen;
};

class Listener final : public Channel {
 public:
  Listener(std::string name, asio::any_io_executor executor, std::vector<Reply>& heard, Event& more)
      : name_(std::move(name)), changed_(std::move(executor)), heard_(heard), more_(more) {}
  [[nodiscard]] std::string_view name() const override { return name_; }
  [[nodiscard]] std::string_view kind() const override { return "listener"; }
  Task<> run(Inbox&) override { co_await changed_.wait(); }
  Task<std::expected<Receipt, DeliveryError>> deliver(Reply reply) override {
    // The gateway may have asked the wrong one of its channels.
    if (reply.route.channel != name_) reply.route.channel += " at " + name_;
    heard_.push_back(std::move(reply));
    more_.pulse();
    co_return Receipt{};
  }
  [[nodiscard]] ChannelHealth health() const override { return {ChannelState::up, std::nullopt, ""}; }
  [[nodiscard]] Event& changed() override { return changed_; }

 private:
  std::string name_;
  Event changed_;
  std::vector<Reply>& heard_;
  Event& more_;
};

const std::vector<std::string> channels{"a", "a/b"};

rc::Gen<std::string> hostile() {
  using namespace std::string_literals;
  static const std::vector<std::string> pieces{"a"s,
                                               "b"s,
                                               "/"s,
                                               "%2F"s,
                                               "%"s,
                                               "\0"s,
                                               ":"s,
                                               "!"s,
                                               "\n"s,
                                               " "s,
                                               "ä"s,
                                               "a\u0308"s,
                                               "\u202e"s,
                                               "\U0001f469"s,
                                               "'"s,
                                               "direct"s,
                                               "group"s,
                                               "A"s,
                                               std::string(4096, 'a')};
  return rc::gen::map(rc::gen::resize(3, rc::gen::container<std::vector<std::string>>(rc::gen::elementOf(pieces))),
                      [](const std::vector<std::string>& chosen) {
                        std::string id;
                        for (const std::string& piece : chosen) id += piece;
                        return id;
                      });
}

rc::Gen<InboundEvent> anybody() {
  return rc::gen::apply(
      [](std::string channel, std::string conversation, std::string thread, std::string sender, bool direct) {
        InboundEvent event;
        event.route = {std::move(channel), std::move(conversation), direct ? "" : std::move(thread), ""};
        event.sender = {std::move(sender), "somebody"};
        event.direct = direct;
        event.received_at = Clock().now();
        return event;
      },
      rc::gen::elementOf(channels), hostile(), hostile(), hostile(), rc::gen::arbitrary<bool>());
}

// Whose memory a message belongs to, as a tuple and not as a key: what the gateway must keep apart.
std::vector<std::string> memory_of(const InboundEvent& event) {
  if (event.direct) return {"direct", event.route.channel, event.sender.id};
  if (!event.route.thread.empty()) return {"thread", event.route.channel, event.route.conversation, event.route.thread};
  return {"group", event.route.channel, event.route.conversation, event.sender.id};
}

// The same person under names that are cut elsewhere: what a key that is joined without escaping takes for the same.
InboundEvent neighbour(InboundEvent& event) {
  const auto separator = *rc::gen::elementOf(std::vector<std::string>{"/", "/", ":", "|", "%2F", ""});
  const auto moved = *hostile();
  InboundEvent other = event;
  std::string& before = event.direct ? event.route.channel : event.route.conversation;
  std::string& after = event.direct || event.route.thread.empty() ? event.sender.id : event.route.thread;
  if (event.direct) {
    before = "a";
    other.route.channel = "a/b";
    other.sender.id = after;
    after = "b/" + after;
    return other;
  }
  other.route.conversation = before + separator + moved;
  after = moved + separator + after;
  return other;
}

struct Party {
  std::vector<InboundEvent> events;  // in the order of their coming
  std::size_t before_restart = 0;    // so many come before the gateway is ended and begun again
};

class Heard {
 public:
  explicit Heard(Party p)
      : party(std::move(p)), file_(std::filesystem::temp_directory_path() / fmt::format("leak_test.{}", ::getpid())) {
    std::filesystem::remove_all(file_);
    std::filesystem::create_directories(file_);
  }
  ~Heard() { std::filesystem::remove_all(file_); }
  Heard(const Heard&) = delete;
  Heard& operator=(const Heard&) = delete;

  // One life of the gateway: takes events [from, to); with `to_end` waits until all that ever came is answered.
  void live(std::size_t from, std::size_t to, bool to_end) {
    asio::io_context loop(1);
    Store store(loop.get_executor());
    Event more(loop.get_executor());
    Config config;
    config.gateway.max_concurrent_turns = 3;
    config.agents["default"] = {.name = "default", .kind = "repeater"};
    auto agent = std::make_unique<Repeater>(loop.get_executor());
    Repeater& repeater = *agent;
    Gateway::Parts parts{.executor = loop.get_executor(), .clock = &clock_, .store = &store, .config = &config};
    parts.agents["default"] = std::move(agent);
    for (const std::string& name : channels) {
      config.channels[name] = {.name = name, .kind = "listener"};
      parts.channels.push_back(std::make_unique<Listener>(name, loop.get_executor(), replies, more));
    }
    parts.on_bug = [](std::string_view task, std::string_view what) { ADD_FAILURE() << task << ": " << what; };
    Gateway gateway(std::move(parts));
    bool ended = false;
    const auto story = [&]() -> Task<> {
      EXPECT_TRUE(co_await store.open((file_ / "talaria.db").string()));
      EXPECT_TRUE(co_await store.write([this](Database& db) { return recover(db, 0, clock_.now()); }));
      EXPECT_TRUE(co_await gateway.start());
      for (std::size_t i = from; i < to; ++i) {
        auto accepted = co_await gateway.accept(party.events[i]);
        EXPECT_TRUE(accepted && !accepted->duplicate);
      }
      if (to_end) repeater.go.set();
      while (to_end && replies.size() < party.events.size())
        if (!co_await more.wait(Deadline::in(std::chrono::seconds(10)))) break;
      co_await test::stop_at_once(gateway);
    };
    asio::co_spawn(loop, story(), [&](std::exception_ptr bug) {
      if (bug) std::rethrow_exception(bug);
      ended = true;
      loop.stop();
    });
    loop.run_for(std::chrono::seconds(60));
    EXPECT_TRUE(ended) << "it hangs";
    for (auto& together : repeater.seen) seen.push_back(std::move(together));
  }

  const Party party;
  std::vector<Reply> replies;
  std::vector<std::vector<std::string>> seen;

 private:
  Clock clock_;
  std::filesystem::path file_;
};

Party gather() {
  auto people = *rc::gen::nonEmpty(rc::gen::resize(4, rc::gen::container<std::vector<InboundEvent>>(anybody())));
  for (std::size_t i = 0, n = people.size(); i < n; ++i) {
    InboundEvent other = neighbour(people[i]);
    people.push_back(std::move(other));
  }
  Party party;
  const auto rounds = *rc::gen::inRange(1, 3);
  for (int round = 0; round < rounds; ++round) {
    for (InboundEvent event : people) {
      const std::size_t number = party.events.size();
      event.message_id = *hostile() + std::to_string(number);
      event.route.reply_to = event.message_id;
      event.text = std::string(mark) + std::to_string(number);
      party.events.push_back(std::move(event));
    }
  }
  party.before_restart = *rc::gen::inRange<std::size_t>(0, party.events.size() + 1);
  return party;
}

std::size_t number_of(std::string_view text) { return std::stoul(std::string(text.substr(mark.size()))); }

RC_GTEST_PROP(Leak, EveryAnswerGoesToItsOwnConversationAndNoMemoryIsShared, ()) {
  Heard heard(gather());
  const auto& events = heard.party.events;
  if (heard.party.before_restart > 0) heard.live(0, heard.party.before_restart, false);
  heard.live(heard.party.before_restart, events.size(), true);

  std::set<std::size_t> answered;
  std::map<std::pair<std::string, std::vector<std::string>>, std::size_t> last;  // per conversation and memory
  for (const Reply& reply : heard.replies) {
    const std::size_t number = number_of(reply.text);
    const InboundEvent& asked = events.at(number);
    RC_ASSERT(reply.route == asked.route);
    RC_ASSERT(answered.insert(number).second);
    auto& before = last[{asked.route.channel, memory_of(asked)}];
    RC_ASSERT(before <= number);
    before = number;
  }
  RC_ASSERT(answered.size() == events.size());
  for (const auto& together : heard.seen) {
    const auto mine = memory_of(events.at(number_of(together.back())));
    for (const std::string& text : together) RC_ASSERT(memory_of(events.at(number_of(text))) == mine);
  }
}

}  // namespace
}  // namespace talaria
