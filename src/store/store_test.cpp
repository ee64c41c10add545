#include "store/store.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <filesystem>
#include <semaphore>

#include "runtime/task_group.h"
#include "store/journal.h"
#include "store/outbox.h"
#include "store/runs.h"
#include "store/schema.h"
#include "store/sessions.h"

namespace talaria {
namespace {

class StoreTest : public ::testing::Test {
 protected:
  StoreTest() : directory_(std::filesystem::temp_directory_path() / ("store_test." + std::to_string(::getpid()))) {
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
  }
  ~StoreTest() override { std::filesystem::remove_all(directory_); }

  [[nodiscard]] std::string path() const { return (directory_ / "talaria.db").string(); }

  // Runs one coroutine to its end on a loop of its own.
  template <class T>
  T run(std::function<Task<T>(Store&)> body) {
    asio::io_context loop(1);
    std::optional<T> result;
    {
      Store store(loop.get_executor());
      asio::co_spawn(loop, body(store), [&](std::exception_ptr bug, T value) {
        if (bug) std::rethrow_exception(bug);
        result.emplace(std::move(value));
        loop.stop();
      });
      loop.run();
    }
    return std::move(*result);
  }

  std::unique_ptr<Database> open() {
    auto db = Database::open(path());
    EXPECT_TRUE(db) << db.error().what;
    EXPECT_TRUE(migrate(**db));
    return std::move(*db);
  }

  std::filesystem::path directory_;
};

EventRow message(std::string id, std::string text = "hello", UnixMillis at = 1000) {
  return {.route = {"irc", "#room", "", id},
          .message_id = id,
          .sender_id = "alice",
          .sender_name = "Alice",
          .body = std::move(text),
          .received_at = at};
}

std::string one(Database& db, const char* sql) {
  auto s = db.prepare(sql);
  EXPECT_TRUE(s) << s.error().what;
  auto row = s->step();
  EXPECT_TRUE(row && *row) << sql;
  return s->text(0);
}

TEST_F(StoreTest, ManyMessagesShareOneCommit) {
  constexpr int messages = 200;
  const auto commits = run<std::uint64_t>([&](Store& store) -> Task<std::uint64_t> {
    EXPECT_TRUE(co_await store.open(path()));
    const auto before = store.commits();
    TaskGroup group(co_await asio::this_coro::executor);
    int stored = 0;
    const auto write = [](Store& s, int i, int& count) -> Task<> {
      auto done =
          co_await s.write([i](Database& db) { return journal_event(db, message(std::to_string(i)), "k", "a", 0, 1); });
      if (done && !done->duplicate) ++count;
    };
    for (int i = 0; i < messages; ++i) group.spawn("write", write(store, i, stored));
    co_await group.join();
    EXPECT_EQ(stored, messages);
    co_return store.commits() - before;
  });
  EXPECT_LT(commits, messages / 4);
  EXPECT_EQ(one(*open(), "SELECT count(*) FROM turn"), "200");
}

TEST_F(StoreTest, AFailingJobIsRolledBackAlone) {
  run<int>([&](Store& store) -> Task<int> {
    EXPECT_TRUE(co_await store.open(path()));
    TaskGroup group(co_await asio::this_coro::executor);
    const auto write = [](Store& s, std::string id, bool fails) -> Task<> {
      auto done = co_await s.write([&](Database& db) -> Result<> {
        if (auto j = journal_event(db, message(id), "k", "a", 0, 1); !j) return std::unexpected(j.error());
        if (fails) return fail(ErrorKind::invalid, "no");
        return {};
      });
      EXPECT_EQ(done.has_value(), !fails);
    };
    group.spawn("good", write(store, "1", false));
    group.spawn("bad", write(store, "2", true));
    group.spawn("good", write(store, "3", false));
    co_await group.join();
    co_return 0;
  });
  EXPECT_EQ(one(*open(), "SELECT group_concat(message_id) FROM event"), "1,3");
}

// A full disk ends the transaction under the jobs' feet; a job that rolls it back stands in for it.
TEST_F(StoreTest, ReadsOfABatchThatFailsAreAnsweredAndSeeNothingOfIt) {
  run<int>([&](Store& store) -> Task<int> {
    EXPECT_TRUE(co_await store.open(path()));
    TaskGroup group(co_await asio::this_coro::executor);
    int refused = 0;
    std::vector<std::string> seen;
    const auto write = [](Store& s, bool disk_full, int& count) -> Task<> {
      auto done = co_await s.write([&](Database& db) -> Result<> {
        if (auto j = journal_event(db, message("1"), "k", "a", 0, 1); !j) return std::unexpected(j.error());
        if (!disk_full) return {};
        (void)db.exec("ROLLBACK");
        return fail(ErrorKind::unavailable, "database or disk is full");
      });
      if (!done) ++count;
    };
    const auto read = [](Store& s, std::vector<std::string>& answers) -> Task<> {
      auto count =
          co_await s.read([](Database& db) -> Result<std::string> { return one(db, "SELECT count(*) FROM event"); });
      answers.push_back(count ? *count : count.error().what);
    };
    // Jobs that are handed over while this one runs share a batch.
    std::binary_semaphore taken(0);
    std::binary_semaphore go(0);
    const auto hold = [](Store& s, std::binary_semaphore& t, std::binary_semaphore& g) -> Task<> {
      (void)co_await s.read([&](Database&) -> Result<> {
        t.release();
        g.acquire();
        return {};
      });
    };
    group.spawn("hold", hold(store, taken, go));
    co_await asio::post(asio::use_awaitable);
    taken.acquire();
    group.spawn("write", write(store, false, refused));
    group.spawn("read", read(store, seen));
    group.spawn("full", write(store, true, refused));
    group.spawn("read", read(store, seen));
    co_await asio::post(asio::use_awaitable);
    go.release();
    co_await group.join();
    EXPECT_EQ(refused, 2);
    EXPECT_EQ(seen, (std::vector<std::string>{"0", "0"}));
    co_return 0;
  });
}

TEST_F(StoreTest, AReadBehindAWriteThatFindsTheDatabaseLockedIsAnswered) {
  run<int>([&](Store& store) -> Task<int> {
    EXPECT_TRUE(co_await store.open(path()));
    EXPECT_TRUE(co_await store.read([](Database& db) { return db.exec("PRAGMA busy_timeout = 50"); }));
    auto other = Database::open(path());
    EXPECT_TRUE((*other)->exec("BEGIN IMMEDIATE"));
    TaskGroup group(co_await asio::this_coro::executor);
    const auto write = [](Store& s) -> Task<> {
      EXPECT_FALSE(co_await s.write([](Database& db) { return journal_event(db, message("1"), "k", "a", 0, 1); }));
    };
    const auto read = [](Store& s) -> Task<> {
      EXPECT_TRUE(co_await s.read([](Database& db) { return count_outbox(db); }));
    };
    for (int i = 0; i < 20; ++i) {
      group.spawn("write", write(store));
      group.spawn("read", read(store));
    }
    co_await group.join();
    co_return 0;
  });
}

TEST_F(StoreTest, NothingIsStoredBeforeOpen) {
  const auto kind = run<ErrorKind>([&](Store& store) -> Task<ErrorKind> {
    auto done = co_await store.write([](Database& db) { return queue_reply(db, {}, "x", 1); });
    EXPECT_FALSE(done);
    co_return done.error().kind;
  });
  EXPECT_EQ(kind, ErrorKind::unavailable);
}

TEST_F(StoreTest, ARedeliveryIsRecognisedForEver) {
  auto db = open();
  auto first = journal_event(*db, message("42"), "k", "a", 0, 1);
  ASSERT_TRUE(first);
  EXPECT_FALSE(first->duplicate);
  db.reset();
  db = open();
  auto again = journal_event(*db, message("42", "edited"), "k", "a", 0, 1'000'000'000'000);
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->duplicate);
  EXPECT_EQ(one(*db, "SELECT count(*) FROM turn"), "1");
}

TEST_F(StoreTest, TooOldIsListedAsSkippedNotGone) {
  auto db = open();
  auto old = journal_event(*db, message("1", "hi", 10), "k", "a", /*oldest=*/11, 20);
  ASSERT_TRUE(old);
  EXPECT_EQ(old->turn_id, 0);
  EXPECT_NE(one(*db, "SELECT skipped FROM event"), "");
}

TEST_F(StoreTest, TheEndOfATurnAndItsReplyAreOneStep) {
  auto db = open();
  auto j = journal_event(*db, message("1"), "k", "a", 0, 1);
  ASSERT_TRUE(j && begin_turn(*db, j->turn_id, j->session_id, 10, 2));
  auto reply = end_turn(*db, {.turn_id = j->turn_id, .state = "finished", .answer = "42", .reply = "42"}, 3);
  ASSERT_TRUE(reply) << reply.error().what;
  EXPECT_GT(*reply, 0);
  EXPECT_EQ(one(*db, "SELECT channel || conversation || reply_to || body || state FROM outbox"), "irc#room142pending");
  EXPECT_FALSE(end_turn(*db, {.turn_id = j->turn_id, .state = "failed"}, 4));
}

TEST_F(StoreTest, HistoryIsOldestFirstAndEndsAtAReset) {
  auto db = open();
  const auto turn = [&](const char* id, const char* text) {
    auto j = journal_event(*db, message(id, text), "k", "a", 0, 1);
    auto history = begin_turn(*db, j->turn_id, j->session_id, 2, 2);
    EXPECT_TRUE(end_turn(*db, {.turn_id = j->turn_id, .state = "finished", .answer = std::string("re ") + text}, 3));
    std::string seen;
    for (const auto& e : *history) seen += e.prompt + "/" + e.answer + " ";
    return seen;
  };
  EXPECT_EQ(turn("1", "a"), "");
  EXPECT_EQ(turn("2", "b"), "a/re a ");
  turn("3", "c");
  EXPECT_EQ(turn("4", "d"), "b/re b c/re c ");
  ASSERT_TRUE(reset_session(*db, "k"));
  EXPECT_EQ(turn("5", "e"), "");
  EXPECT_FALSE(reset_session(*db, "nobody"));
}

TEST_F(StoreTest, RecoveryRunsATurnAgainUpToThreeTimesThenTellsTheChat) {
  auto db = open();
  auto j = journal_event(*db, message("1"), "k", "a", 0, 1);
  for (int attempt = 1; attempt < max_attempts; ++attempt) {
    ASSERT_TRUE(begin_turn(*db, j->turn_id, j->session_id, 0, 2));
    auto report = recover(*db, 0, 3);
    ASSERT_TRUE(report) << report.error().what;
    EXPECT_EQ(report->requeued, 1) << attempt;
    EXPECT_EQ(one(*db, "SELECT count(*) FROM outbox"), "0");
  }
  ASSERT_TRUE(begin_turn(*db, j->turn_id, j->session_id, 0, 2));
  auto report = recover(*db, 0, 3);
  EXPECT_EQ(report->parked, 1);
  EXPECT_EQ(report->requeued, 0);
  EXPECT_EQ(one(*db, "SELECT state FROM turn"), "parked");
  EXPECT_EQ(one(*db, "SELECT conversation FROM outbox WHERE state = 'pending'"), "#room");
}

TEST_F(StoreTest, RecoveryDropsDirectTurnsWhoseAskerIsGoneButKeepsKeyedOnes) {
  auto db = open();
  DirectTurnRow plain{.agent = "a", .prompt = "p", .start_now = true};
  DirectTurnRow keyed = plain;
  keyed.idempotency_key = "key";
  keyed.request = "{}";
  auto p = journal_direct(*db, plain, 1);
  auto k = journal_direct(*db, keyed, 1);
  ASSERT_TRUE(p && k);
  auto report = recover(*db, 0, 2);
  EXPECT_EQ(report->cancelled, 1);
  EXPECT_EQ(report->requeued, 1);
  auto queued = queued_turns(*db, 0, k->turn_id, 10);
  ASSERT_EQ(queued->size(), 1U);
  EXPECT_EQ(queued->front().id, k->turn_id);
  EXPECT_EQ(queued->front().request, "{}");
  EXPECT_TRUE(queued_turns(*db, 0, k->turn_id - 1, 10)->empty()) << "its asker is here";
}

TEST_F(StoreTest, AKeyedTurnThatRecoveryGivesUpFreesItsKey) {
  auto db = open();
  const DirectTurnRow keyed{
      .agent = "a", .prompt = "p", .request = "{}", .idempotency_key = "key", .request_digest = "d", .start_now = true};
  auto first = journal_direct(*db, keyed, 1);
  ASSERT_TRUE(first);
  for (int attempt = 1; attempt < max_attempts; ++attempt) {
    ASSERT_EQ(recover(*db, 0, 2)->requeued, 1);
    EXPECT_TRUE(journal_direct(*db, keyed, 2)->known) << "it will run again";
    ASSERT_TRUE(begin_turn(*db, first->turn_id, 0, 0, 2));
  }
  ASSERT_EQ(recover(*db, 0, 3)->parked, 1);
  auto second = journal_direct(*db, keyed, 4);
  ASSERT_TRUE(second);
  EXPECT_FALSE(second->known);
  EXPECT_NE(second->turn_id, first->turn_id);
  EXPECT_EQ(recover(*db, /*oldest=*/5, 6)->skipped, 1);
  EXPECT_FALSE(journal_direct(*db, keyed, 7)->known);
  EXPECT_EQ(one(*db, "SELECT count(*) FROM turn WHERE request IS NOT NULL"), "1") << "kept only to run it again";
}

TEST_F(StoreTest, AKeyFindsItsTurnAndAFailedTurnFreesIt) {
  auto db = open();
  DirectTurnRow row{
      .agent = "a", .prompt = "p", .request = "{}", .idempotency_key = "key", .request_digest = "d", .start_now = true};
  auto first = journal_direct(*db, row, 1);
  auto second = journal_direct(*db, row, 1);
  ASSERT_TRUE(second && second->known);
  EXPECT_EQ(second->known->id, first->turn_id);
  EXPECT_EQ(second->known->state, "running");
  ASSERT_TRUE(end_turn(*db, {.turn_id = first->turn_id, .state = "failed", .error = "x"}, 2));
  auto third = journal_direct(*db, row, 3);
  ASSERT_TRUE(third);
  EXPECT_FALSE(third->known);
  ASSERT_TRUE(end_turn(*db, {.turn_id = third->turn_id, .state = "finished", .answer = "yes"}, 4));
  auto found = find_keyed_turn(*db, "key");
  ASSERT_TRUE(found && *found);
  EXPECT_EQ((*found)->answer, "yes");
}

TEST_F(StoreTest, TheOutboxKeepsOrderAndMarksWhatMayRepeat) {
  auto db = open();
  const RouteRow route{"irc", "#room", "", ""};
  auto a = queue_reply(*db, route, "first", 1);
  auto b = queue_reply(*db, route, "second", 1);
  auto taken = take_next_reply(*db, "irc", "#room");
  ASSERT_TRUE(taken && *taken);
  EXPECT_EQ((*taken)->id, *a);
  EXPECT_EQ((*taken)->repeats, 0);
  // A crash here: nobody saw whether it was sent.
  auto report = recover(*db, 0, 2);
  EXPECT_EQ(report->unknown, 1);
  taken = take_next_reply(*db, "irc", "#room");
  EXPECT_EQ((*taken)->id, *a);
  EXPECT_EQ((*taken)->repeats, 1);
  // A clean failure afterwards must not lose the mark.
  ASSERT_TRUE(reply_retry(*db, *a, "busy"));
  taken = take_next_reply(*db, "irc", "#room");
  EXPECT_EQ((*taken)->repeats, 1);
  ASSERT_TRUE(reply_sent(*db, *a, "x", 3));
  EXPECT_FALSE(reply_sent(*db, *a, "x", 3));
  taken = take_next_reply(*db, "irc", "#room");
  EXPECT_EQ((*taken)->id, *b);
  ASSERT_TRUE(reply_dead(*db, *b, "gone", 4));
  EXPECT_FALSE(*take_next_reply(*db, "irc", "#room"));
  EXPECT_EQ(count_outbox(*db)->dead, 1);
  ASSERT_TRUE(retry_dead(*db, *b));
  EXPECT_FALSE(discard_dead(*db, *b));
  EXPECT_EQ((*take_next_reply(*db, "irc", "#room"))->id, *b);
}

TEST_F(StoreTest, RetentionTakesEndedRowsAndKeepsTheEventsIdentity) {
  auto db = open();
  auto j = journal_event(*db, message("1", "secret", 5), "k", "a", 0, 5);
  ASSERT_TRUE(begin_turn(*db, j->turn_id, j->session_id, 0, 6));
  auto reply = end_turn(*db, {.turn_id = j->turn_id, .state = "finished", .answer = "x", .reply = "x"}, 7);
  ASSERT_TRUE(take_next_reply(*db, "irc", "#room"));
  auto kept = retire(*db, 100, 10);
  EXPECT_EQ(one(*db, "SELECT count(*) FROM turn"), "1") << "its reply is not sent yet";
  ASSERT_TRUE(reply_sent(*db, *reply, "", 8));
  while (*retire(*db, 100, 10) > 0) {
  }
  EXPECT_EQ(
      one(*db, "SELECT (SELECT count(*) FROM turn) + (SELECT count(*) FROM outbox) + (SELECT count(*) FROM session)"),
      "0");
  EXPECT_EQ(one(*db, "SELECT count(*) FROM event"), "0");
  EXPECT_TRUE(journal_event(*db, message("1", "secret", 5), "k", "a", 0, 9)->duplicate);
  EXPECT_FALSE(journal_event(*db, message("2", "secret", 5), "k", "a", 0, 9)->duplicate);
}

TEST_F(StoreTest, TheFirstRecordedEndOfARunIsKept) {
  auto db = open();
  auto id = begin_run(*db, {.pid = 7, .boot_id = "b", .scope = "user", .started_at = 1});
  ASSERT_TRUE(end_run(*db, *id, {.verdict = "planned", .cause = "stop", .evidence = "{}", .exit_code = 0, .at = 2}));
  ASSERT_TRUE(end_run(*db, *id, {.verdict = "unplanned", .cause = "later", .evidence = "{}", .exit_code = 1, .at = 3}));
  auto runs = list_runs(*db, 5);
  ASSERT_EQ(runs->size(), 1U);
  EXPECT_EQ(runs->front().verdict, "planned");
  EXPECT_TRUE(open_runs(*db, 0)->empty());
}

TEST_F(StoreTest, ANewerSchemaIsRefused) {
  {
    auto db = open();
    ASSERT_TRUE(db->exec("PRAGMA user_version = 999"));
  }
  auto db = Database::open(path());
  ASSERT_TRUE(db);
  auto migrated = migrate(**db);
  ASSERT_FALSE(migrated);
  EXPECT_EQ(migrated.error().kind, ErrorKind::invalid);
  EXPECT_NE(migrated.error().what.find("999"), std::string::npos);
}

TEST_F(StoreTest, AForeignDatabaseIsRefused) {
  {
    auto db = Database::open(path());
    ASSERT_TRUE((*db)->exec("CREATE TABLE theirs(x)"));
  }
  auto db = Database::open(path());
  auto migrated = migrate(**db);
  ASSERT_FALSE(migrated);
  EXPECT_EQ(migrated.error().kind, ErrorKind::invalid);
}

TEST_F(StoreTest, GarbageIsNamedAndNotTouched) {
  std::FILE* file = std::fopen(path().c_str(), "w");
  const std::string garbage(8192, 'x');
  std::fwrite(garbage.data(), 1, garbage.size(), file);
  std::fclose(file);
  auto db = Database::open(path());
  ASSERT_FALSE(db);
  EXPECT_EQ(db.error().kind, ErrorKind::invalid) << db.error().what;
  EXPECT_EQ(std::filesystem::file_size(path()), 8192U);
}

}  // namespace
}  // namespace talaria
