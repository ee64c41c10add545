// Answers that are shown while they are written: one platform message from the first piece to the final text, whatever
// comes between.
#include "gateway/gateway_test_support.h"

namespace talaria::test {
namespace {

class LiveAnswerTest : public GatewayTest {
 protected:
  LiveAnswerTest() { options.live = {Millis{1}, Millis{1}, Millis{4'000}}; }

  static Task<> until_attempts(World& world, std::size_t n) {
    while (world.channel->attempts.size() < n)
      EXPECT_TRUE(co_await world.channel->delivered.wait(Deadline::in(std::chrono::seconds(10))));
  }
};

TEST_F(LiveAnswerTest, OneMessageIsEditedToTheFinalText) {
  run([](World& world) -> Task<> {
    world.channel->edits = true;
    world.agent->pieces = {"Once ", "upon ", "a time"};
    EXPECT_TRUE(co_await world.say("alice", "1", "tell"));
    for (std::size_t n = 1; n <= 3; ++n) {
      co_await until_attempts(world, n);
      world.agent->next.pulse();
    }
    co_await until_attempts(world, 4);
    const auto& all = world.channel->attempts;
    EXPECT_EQ(all[0].text, "Once ");
    EXPECT_TRUE(all[0].partial);
    EXPECT_EQ(all[0].edits, "");
    EXPECT_EQ(all[1].text, "Once upon ");
    EXPECT_EQ(all[1].edits, "id");
    EXPECT_EQ(all[3].text, "Once upon a time");
    EXPECT_FALSE(all[3].partial);
    EXPECT_EQ(all[3].edits, "id");
    EXPECT_EQ(all[3].outbox_id, all[0].outbox_id);
    EXPECT_FALSE(all[3].may_be_repeat);
  });
}

TEST_F(LiveAnswerTest, AnAnswerCutOffGoesOnInTheSameMessage) {
  run([](World& world) -> Task<> {
    world.channel->edits = true;
    world.agent->pieces = {"Once ", "upon "};
    EXPECT_TRUE(co_await world.say("alice", "1", "tell"));
    co_await until_attempts(world, 1);
    // The gateway ends here; the agent was not done.
  });
  run([](World& world) -> Task<> {
    world.channel->edits = true;
    co_await world.until_sent(1);
    const Reply& reply = world.channel->sent.back();
    EXPECT_EQ(reply.edits, "id");
    EXPECT_EQ(reply.text, "re: tell");
    EXPECT_FALSE(reply.may_be_repeat);
  });
}

TEST_F(LiveAnswerTest, AFirstPieceOfUnknownFateMarksTheAnswer) {
  run([](World& world) -> Task<> {
    world.channel->edits = true;
    world.channel->outcomes = {DeliveryError::Fate::unknown};
    world.agent->pieces = {"Once "};
    EXPECT_TRUE(co_await world.say("alice", "1", "tell"));
    co_await until_attempts(world, 1);
    world.agent->next.pulse();
    co_await world.until_sent(1);
    EXPECT_TRUE(world.channel->sent.back().may_be_repeat);
    EXPECT_EQ(world.channel->sent.back().edits, "");
    EXPECT_EQ(world.channel->attempts.size(), 2U);
  });
}

TEST_F(LiveAnswerTest, AFirstPieceOfUnknownFateAtTheEndMarksTheAnswerOfTheNextRun) {
  run([](World& world) -> Task<> {
    world.channel->edits = true;
    world.channel->let_go.reset();
    world.agent->pieces = {"Once "};
    EXPECT_TRUE(co_await world.say("alice", "1", "tell"));
    while (world.channel->attempts.empty()) co_await sleep_for(Millis{1});
    // The channel has it, nobody saw a receipt.
  });
  run([](World& world) -> Task<> {
    co_await world.until_sent(1);
    EXPECT_TRUE(world.channel->sent.back().may_be_repeat);
  });
}

TEST_F(LiveAnswerTest, ALineThatNamesAFileIsNotShown) {
  options.attachments = directory_ / "attachments";
  options.attach_from = {"/srv"};
  run([](World& world) -> Task<> {
    world.channel->edits = true;
    world.agent->pieces = {"Here:\n", "MED", "IA: /srv/report", ".pdf\n", "Enjoy"};
    EXPECT_TRUE(co_await world.say("alice", "1", "report"));
    co_await until_attempts(world, 1);
    for (std::size_t n = 0; n < world.agent->pieces.size(); ++n) {
      world.agent->next.pulse();
      co_await sleep_for(Millis{20});
    }
    co_await world.until_sent(1);
    EXPECT_GE(world.channel->attempts.size(), 3U);
    for (const Reply& reply : world.channel->attempts)
      if (reply.partial) EXPECT_EQ(reply.text.find("MED"), std::string::npos) << reply.text;
  });
}

TEST_F(LiveAnswerTest, OfAnAnswerThatIsAFileAloneNothingIsShown) {
  options.attachments = directory_ / "attachments";
  options.attach_from = {"/srv"};
  run([](World& world) -> Task<> {
    world.channel->edits = true;
    world.agent->pieces = {"MEDIA:", " /srv/report.pdf", "\n"};
    EXPECT_TRUE(co_await world.say("alice", "1", "report"));
    while (world.agent->running == 0) co_await world.agent->begun.wait();
    for (std::size_t n = 0; n < world.agent->pieces.size(); ++n) {
      co_await sleep_for(Millis{20});
      world.agent->next.pulse();
    }
    co_await world.until_sent(1);
    EXPECT_EQ(world.channel->attempts.size(), 1U) << world.channel->attempts[0].text;
  });
}

TEST_F(LiveAnswerTest, AnAnswerThatIsReadyAtOnceIsSentWhole) {
  options.live.first_delay = Millis{60'000};
  run([](World& world) -> Task<> {
    world.channel->edits = true;
    EXPECT_TRUE(co_await world.say("alice", "1", "tell"));
    co_await world.until_sent(1);
    EXPECT_EQ(world.channel->attempts.size(), 1U);
    EXPECT_FALSE(world.channel->attempts[0].partial);
    EXPECT_EQ(world.channel->typed, 1);
  });
}

TEST_F(LiveAnswerTest, AChannelThatCannotEditIsShownNothingBeforeTheEnd) {
  run([](World& world) -> Task<> {
    world.agent->pieces = {"Once "};
    EXPECT_TRUE(co_await world.say("alice", "1", "tell"));
    while (world.agent->running == 0) co_await world.agent->begun.wait();
    co_await sleep_for(Millis{20});
    EXPECT_TRUE(world.channel->attempts.empty());
    world.agent->next.pulse();
    co_await world.until_sent(1);
    EXPECT_EQ(world.channel->sent[0].text, "Once ");
  });
}

TEST_F(LiveAnswerTest, PartsThatArrivedAreNotSentAgain) {
  run([](World& world) -> Task<> {
    world.channel->parts = 2;
    world.channel->outcomes = {DeliveryError::Fate::unknown};
    EXPECT_TRUE(co_await world.say("alice", "1", "long"));
    co_await world.until_sent(1);
    EXPECT_EQ(world.channel->attempts[0].parts_sent, 0);
    EXPECT_EQ(world.channel->attempts[1].parts_sent, 2);
    EXPECT_TRUE(world.channel->attempts[1].may_be_repeat);
  });
}

TEST_F(LiveAnswerTest, ParkedForGoodTellsSoInTheMessageThatShowsTheBeginning) {
  prepare = [](World& world) {
    world.channel->edits = true;
    world.agent->pieces = {"Once ", "upon "};
  };
  for (int attempt = 1; attempt <= 3; ++attempt) {
    run([attempt](World& world) -> Task<> {
      if (attempt == 1) EXPECT_TRUE(co_await world.say("alice", "1", "tell"));
      co_await until_attempts(world, 1);
    });
  }
  run([](World& world) -> Task<> {
    co_await world.until_sent(1);
    EXPECT_EQ(world.channel->sent[0].edits, "id");
    EXPECT_TRUE(world.channel->sent[0].text.starts_with("Sorry, I was interrupted 3 times"))
        << world.channel->sent[0].text;
    EXPECT_EQ(world.agent->runs, 0);
  });
}

}  // namespace
}  // namespace talaria::test
