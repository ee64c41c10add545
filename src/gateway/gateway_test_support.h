#pragma once
// For tests: a gateway on a store in a temporary directory, with an agent and a channel that do as they are told.

#include "gateway/gateway.h"
#include "gateway/stop_test_support.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <deque>
#include <filesystem>
#include <optional>

#include "store/journal.h"
#include "store/outbox.h"
#include "store/store.h"

namespace talaria::test {

class HeldClock final : public WallClock {
 public:
  [[nodiscard]] UnixMillis now() const override { return at; }
  UnixMillis at = 1'000'000'000'000;
};

// Answers "re: <prompt>" when it is let go; counts what happens.
class FakeAgent final : public Agent {
 public:
  explicit FakeAgent(asio::any_io_executor executor) : go(executor), begun(executor), next(executor) { go.set(); }
  [[nodiscard]] std::string_view kind() const override { return "fake"; }
  Task<std::expected<AgentReply, AgentError>> run(AgentRequest request, ReplySink& sink) override {
    ++runs;
    ++running;
    most_running = std::max(most_running, running);
    struct Leave {
      int& running;
      ~Leave() { --running; }
    } leave{running};
    seen.push_back(request.messages);
    begun.pulse();
    co_await go.wait();
    if (fails)
      co_return std::unexpected(AgentError{ErrorKind::timeout, "the model did not answer in time", "secret detail"});
    AgentReply reply;
    for (const std::string& piece : pieces) {  // one by one, as the test says
      reply.text += piece;
      sink.on_text(piece);
      co_await next.wait();
    }
    if (!pieces.empty()) co_return reply;
    reply.text = "re: " + request.messages.back().content;
    sink.on_text(reply.text);
    co_return reply;
  }
  Event go, begun;
  Event next;                       // after a piece
  std::vector<std::string> pieces;  // of the answer; empty: it comes whole
  bool fails = false;
  int runs = 0, running = 0, most_running = 0;
  std::vector<std::vector<ChatMessage>> seen;
};

class FakeChannel final : public Channel {
 public:
  explicit FakeChannel(asio::any_io_executor executor, std::string name = "chat", std::string account = {})
      : changed_(executor),
        delivered(executor),
        let_go(executor),
        name_(std::move(name)),
        account_(std::move(account)) {
    let_go.set();
  }
  [[nodiscard]] std::string_view name() const override { return name_; }
  [[nodiscard]] std::string account() const override { return account_; }
  [[nodiscard]] std::string_view kind() const override { return "fake"; }
  Task<> run(Inbox& given) override {
    struct Running {
      FakeChannel& channel;
      explicit Running(FakeChannel& c) : channel(c) { ++channel.running; }
      ~Running() { --channel.running; }
    } here(*this);
    inbox = &given;
    ++runs;
    changed_.pulse();
    for (;;) co_await sleep_until(Deadline::never());
  }
  Task<std::expected<Receipt, DeliveryError>> deliver(Reply reply) override {
    attempts.push_back(reply);
    co_await let_go.wait();
    for (int i = reply.parts_sent; i < parts; ++i) co_await reply.part_sent();
    if (!outcomes.empty()) {
      const auto fate = outcomes.front();
      outcomes.pop_front();
      delivered.pulse();
      co_return std::unexpected(DeliveryError{fate, "no luck"});
    }
    if (!reply.partial) sent.push_back(reply);
    delivered.pulse();
    co_return Receipt{"id"};
  }
  [[nodiscard]] ChannelHealth health() const override { return {state, std::nullopt, ""}; }
  [[nodiscard]] Event& changed() override { return changed_; }
  [[nodiscard]] bool can_edit() const override { return edits; }
  void typing(const Route& /*route*/) override { ++typed; }
  [[nodiscard]] HookEndpoint* hook() override { return endpoint; }
  [[nodiscard]] std::vector<InboundEvent> take_held() override { return std::exchange(held, {}); }

  Event changed_, delivered;
  Event let_go;  // deliveries wait until it is set
  bool edits = false;
  int typed = 0;
  int parts = 0;  // of each reply, before the last
  int runs = 0, running = 0;
  Inbox* inbox = nullptr;
  std::vector<InboundEvent> held;
  ChannelState state = ChannelState::up;
  HookEndpoint* endpoint = nullptr;
  std::deque<DeliveryError::Fate> outcomes;  // of the next attempts; then success
  std::vector<Reply> attempts, sent;

 private:
  std::string name_, account_;
};

class NullSink final : public ReplySink {
 public:
  void on_text(std::string_view piece) override { text += piece; }
  std::string text;
};

// A gateway on a store in a temporary directory; may be ended and begun again on the same store.
struct World {
  struct Options {
    int cap = 4;
    LiveTimes live;
    std::string attachments;                    // directory; empty: none are kept
    std::vector<std::string> attach_from = {};  // of the agent
  };
  World(const std::string& path, asio::any_io_executor executor, const Options& options) : store(executor) {
    config.gateway.max_concurrent_turns = options.cap;
    config.agents["default"] = {.name = "default", .kind = "fake", .attach_from = options.attach_from};
    config.channels["chat"] = {.name = "chat", .kind = "fake"};
    auto a = std::make_unique<FakeAgent>(executor);
    auto c = std::make_unique<FakeChannel>(executor);
    agent = a.get();
    channel = c.get();
    Gateway::Parts parts{.executor = executor, .clock = &clock, .store = &store, .config = &config};
    parts.agents["default"] = std::move(a);
    parts.channels.push_back(std::move(c));
    parts.on_bug = [](std::string_view task, std::string_view what) { ADD_FAILURE() << task << ": " << what; };
    parts.desk = {.may_restart = [this]() -> Result<> {
                    if (restart_refused) return fail(ErrorKind::invalid, "wrong");
                    return {};
                  },
                  .restart = [this](const std::string&, std::int64_t goodbye) { goodbyes.push_back(goodbye); }};
    parts.attachments = options.attachments;
    parts.live_times = options.live;
    gateway.emplace(std::move(parts));
    file = path;
  }
  Task<> begin() {
    EXPECT_TRUE(co_await store.open(file));
    auto report = co_await store.write([this](Database& db) {
      return recover(db, clock.now() - config.gateway.max_backlog_age.count(), clock.now());
    });
    EXPECT_TRUE(report);
    EXPECT_TRUE(co_await gateway->start());
  }
  Task<> until_sent(std::size_t n) {
    while (channel->sent.size() < n)
      EXPECT_TRUE(co_await channel->delivered.wait(Deadline::in(std::chrono::seconds(10))));
  }
  Task<Result<Accepted>> say(std::string who, std::string id, std::string text, bool admin = false) {
    InboundEvent event;
    event.route = {"chat", who, "", id};
    event.sender = {who, who, admin};
    event.message_id = id;
    event.text = std::move(text);
    event.direct = true;
    event.received_at = clock.now();
    return gateway->accept(std::move(event));
  }
  HeldClock clock;
  Config config;
  Store store;
  FakeAgent* agent = nullptr;
  FakeChannel* channel = nullptr;
  std::optional<Gateway> gateway;
  bool restart_refused = false;
  std::vector<std::int64_t> goodbyes;  // restarts asked for
  std::string file;
};

class GatewayTest : public ::testing::Test {
 protected:
  GatewayTest() : directory_(std::filesystem::temp_directory_path() / ("gateway_test." + std::to_string(::getpid()))) {
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
  }
  ~GatewayTest() override { std::filesystem::remove_all(directory_); }

  void run(std::function<Task<>(World&)> story, int cap = 4) {
    asio::io_context loop(1);
    options.cap = cap;
    World world((directory_ / "talaria.db").string(), loop.get_executor(), options);
    bool ended = false;
    if (prepare) prepare(world);
    asio::co_spawn(
        loop,
        [](World& w, std::function<Task<>(World&)> s) -> Task<> {
          co_await w.begin();
          co_await s(w);
          co_await stop_at_once(*w.gateway);
        }(world, std::move(story)),
        [&](std::exception_ptr bug) {
          if (bug) std::rethrow_exception(bug);
          ended = true;
          loop.stop();
        });
    loop.run_for(std::chrono::seconds(30));
    EXPECT_TRUE(ended) << "the story hangs";
  }

  std::filesystem::path directory_;
  std::function<void(World&)> prepare;  // before the gateway starts
  World::Options options;
};

}  // namespace talaria::test
