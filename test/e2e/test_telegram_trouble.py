"""Telegram when things go wrong: answers that come late, are lost, or never come; updates that come twice or in the wrong order; rivals,
limits, silence; a gateway that is killed. Each message is answered once, or once more with a mark; nothing is dropped."""

import json
import time
import urllib.request

import pytest

from support.fast_clock import FastClock
from support.talaria import wait_until
from support.telegram_api import TelegramApi
from telegram_support import POLL, REPEAT, command_agent, gateway, outbox, wait_down


@pytest.fixture
def telegram():
    with TelegramApi() as running:
        yield running


@pytest.fixture
def alice(telegram):
    return telegram.person("Alice")


def settled(g, telegram) -> None:
    """Everything that was said is answered and confirmed, and nothing waits."""
    telegram.wait(lambda: not telegram.unconfirmed(), what="confirmation of all updates")
    wait_until(lambda: (q := outbox(g)) and q["inbound"] == q["turns"] == q["outbox"] == 0, 20, "empty queues", interval=0.1)


def test_a_late_answer_is_waited_for(tmp_path, telegram, alice):
    with gateway(tmp_path, telegram).start() as g:
        g.wait_channel_up("tg")
        telegram.fault("sendMessage", "late", seconds=2.0)
        telegram.say(alice, "one")
        telegram.say(alice, "two")
        telegram.wait(lambda: len(telegram.sent(alice)) == 2)
        settled(g, telegram)
        assert telegram.texts(alice) == ["one", "two"]


def readyz_says(g) -> str:
    """The channel's state."""
    with urllib.request.urlopen(f"http://{g.api}/readyz", timeout=5) as answer:
        return json.load(answer)["channels"][0]["state"]


@pytest.mark.parametrize("fault", ["lose", "garbage", "deaf"])
def test_an_answer_lost_after_acceptance_is_repeated_once_and_marked(tmp_path, telegram, alice, fault):
    with gateway(tmp_path, telegram).start() as g:
        g.wait_channel_up("tg")
        telegram.fault("sendMessage", fault)
        telegram.say(alice, "one")
        telegram.wait(lambda: len(telegram.sent(alice)) == 2)
        telegram.say(alice, "two")
        telegram.wait(lambda: len(telegram.sent(alice)) == 3)
        settled(g, telegram)
        assert telegram.texts(alice) == ["one", REPEAT + "one", "two"]


def test_a_file_whose_fate_is_unknown_is_repeated_with_the_mark(tmp_path, telegram, alice):
    (tmp_path / "a.txt").write_bytes(b"bytes")
    agent = command_agent(f"echo here; echo 'MEDIA: {tmp_path}/a.txt'") + f'\nattach_from = ["{tmp_path}"]'
    with gateway(tmp_path, telegram, agent=agent).start() as g:
        g.wait_channel_up("tg")
        telegram.fault("sendDocument", "lose")
        telegram.say(alice, "go")
        telegram.wait(lambda: len(telegram.sent(alice)) == 3)
        settled(g, telegram)
        assert [(m.text, bool(m.file)) for m in telegram.sent(alice)] == [("here", False), ("", True), (REPEAT.strip(), True)]


def test_a_file_that_is_gone_when_it_is_repeated_is_told_of_with_the_mark(tmp_path, telegram, alice):
    agent = command_agent(f"echo bytes > {tmp_path}/a.txt; echo 'MEDIA: {tmp_path}/a.txt'") + f'\nattach_from = ["{tmp_path}"]'
    with gateway(tmp_path, telegram, agent=agent).start() as g:
        g.wait_channel_up("tg")
        telegram.fault("sendDocument", "deaf")
        telegram.say(alice, "go")
        telegram.wait(lambda: telegram.sent(alice))
        g.kill9()
        for kept in (g.home / "state").rglob("*"):
            if kept.is_file() and kept.read_bytes() == b"bytes\n":
                kept.unlink()
        (tmp_path / "a.txt").unlink()
        g.start()
        telegram.wait(lambda: len(telegram.sent(alice)) == 2)
        assert telegram.texts(alice) == ["", REPEAT + "(a.txt: the file can't be read)"]


def test_a_kept_connection_that_is_closed_does_not_double_a_message(tmp_path, telegram, alice):
    """The request is written to a connection that was used before; an HTTP client's silent second try would double it unmarked."""
    with gateway(tmp_path, telegram).start() as g:
        g.wait_channel_up("tg")
        telegram.say(alice, "zero")
        telegram.wait(lambda: telegram.sent(alice))
        telegram.fault("sendMessage", "lose")
        telegram.say(alice, "one")
        telegram.wait(lambda: len(telegram.sent(alice)) == 3)
        settled(g, telegram)
        assert telegram.texts(alice) == ["zero", "one", REPEAT + "one"]


@pytest.mark.parametrize("fault, options", [("refuse", {"code": 500, "description": "Internal Server Error"}), ("status", {"status": 503})])
def test_server_errors_are_tried_again_without_a_mark(tmp_path, telegram, alice, fault, options):
    with gateway(tmp_path, telegram).start() as g:
        g.wait_channel_up("tg")
        telegram.fault("sendMessage", fault, times=2, **options)
        telegram.say(alice, "one")
        telegram.wait(lambda: telegram.sent(alice))
        settled(g, telegram)
        assert telegram.texts(alice) == ["one"]


def test_too_many_requests_waits_as_long_as_telegram_says(tmp_path, telegram, alice):
    bob = telegram.person("Bob")
    with gateway(tmp_path, telegram).start() as g:
        g.wait_channel_up("tg")
        telegram.fault("sendMessage", "refuse", code=429, description="Too Many Requests: retry after 3", retry_after=3)
        telegram.say(alice, "one")
        telegram.wait(lambda: telegram.of("sendMessage"))
        telegram.say(bob, "meanwhile")
        telegram.wait(lambda: telegram.sent(bob) and telegram.sent(alice))
        refused, other, again = telegram.of("sendMessage")
        assert again.at - refused.at >= 3.0 and other.at - refused.at < 2.0, "one chat's limit held up another"
        settled(g, telegram)
        assert telegram.texts(alice) == ["one"]


def test_its_own_pace_keeps_within_the_limits(tmp_path):
    with TelegramApi(limits=True) as telegram:
        alice = telegram.person("Alice")
        with gateway(tmp_path, telegram, pace=None).start() as g:
            g.wait_channel_up("tg")
            for n in range(8):
                telegram.say(alice, f"n{n}")
            telegram.wait(lambda: len(telegram.sent(alice)) == 8, 40)
            assert telegram.texts(alice) == [f"n{n}" for n in range(8)]
            assert not [c for c in telegram.of("sendMessage") if not c.answer["ok"]], "Telegram had to say 429"


@pytest.mark.parametrize("trouble, words", [
    ((403, "Forbidden: bot was blocked by the user", {}), "bot was blocked by the user"),
    ((400, "Bad Request: chat not found", {}), "chat not found"),
])
def test_a_chat_that_can_not_be_written_to_is_dead_and_listed(tmp_path, telegram, alice, trouble, words):
    bob = telegram.person("Bob")
    with gateway(tmp_path, telegram).start() as g:
        g.wait_channel_up("tg")
        alice.trouble = trouble
        telegram.say(alice, "one")
        telegram.say(bob, "two")
        telegram.wait(lambda: telegram.sent(bob))
        wait_until(lambda: outbox(g).get("dead") == 1, 20, "dead reply")
        assert words in g.run("outbox", "list").stdout


def test_a_group_that_becomes_a_supergroup_is_followed(tmp_path, telegram, alice):
    old, new = telegram.group("Old"), telegram.group("New")
    with gateway(tmp_path, telegram).start() as g:
        g.wait_channel_up("tg")
        old.trouble = (400, "Bad Request: group chat was upgraded to a supergroup chat", {"migrate_to_chat_id": new.id})
        telegram.say(alice, "@talaria_bot one", old)
        telegram.wait(lambda: telegram.texts(new) == ["one"])
        settled(g, telegram)


def test_a_group_that_becomes_a_supergroup_while_an_answer_is_shown_is_followed(tmp_path, telegram, alice):
    old, new = telegram.group("Old"), telegram.group("New")
    agent = command_agent(f"echo one; until [ -e {tmp_path}/moved ]; do sleep 0.1; done; echo two")
    with gateway(tmp_path, telegram, agent=agent).start() as g:
        g.wait_channel_up("tg")
        telegram.fault("sendChatAction", "refuse", times=1000, code=400, description="Bad Request")  # the edit is the first to hear of it
        telegram.say(alice, "@talaria_bot go", old)
        telegram.wait(lambda: telegram.texts(old) == ["one"])
        old.trouble = (400, "Bad Request: group chat was upgraded to a supergroup chat", {"migrate_to_chat_id": new.id})
        (tmp_path / "moved").touch()
        telegram.wait(lambda: telegram.texts(new) == ["one\ntwo"])
        settled(g, telegram)


def test_updates_that_come_twice_are_answered_once(tmp_path, telegram, alice):
    with gateway(tmp_path, telegram).start() as g:
        g.wait_channel_up("tg")
        first = telegram.say(alice, "one")
        telegram.wait(lambda: telegram.sent(alice) and not telegram.unconfirmed())
        telegram.say_again(first)
        telegram.say(alice, "two")
        telegram.wait(lambda: len(telegram.sent(alice)) == 2)
        telegram.say_again(first)
        telegram.say(alice, "three")
        telegram.wait(lambda: len(telegram.sent(alice)) == 3)
        settled(g, telegram)
        assert telegram.texts(alice) == ["one", "two", "three"]


def test_the_backlog_is_answered_oldest_first_even_if_it_comes_the_other_way_round(tmp_path, telegram, alice):
    for n in range(5):
        telegram.say(alice, f"n{n}")
    telegram.reversed = True
    with gateway(tmp_path, telegram).start() as g:
        telegram.wait(lambda: len(telegram.sent(alice)) == 5)
        settled(g, telegram)
        assert telegram.texts(alice) == [f"n{n}" for n in range(5)]
        g.stop()
        for n in range(5, 130):  # more than one batch
            telegram.say(alice, f"n{n}")
        g.start().wait_channel_up("tg")
        telegram.wait(lambda: len(telegram.sent(alice)) == 130, 60)
        settled(g, telegram)
        assert telegram.texts(alice) == [f"n{n}" for n in range(130)]


@pytest.mark.parametrize("method, fault, options", [
    ("getFile", "drop", {}),
    ("getFile", "status", {"status": 502}),
    ("getFile", "refuse", {"code": 500, "description": "Internal Server Error"}),
    ("file", "status", {"status": 503}),
    ("file", "status", {"status": 429}),
])
def test_a_file_waits_for_trouble_with_telegrams_files_to_pass(tmp_path, telegram, alice, method, fault, options):
    with gateway(tmp_path, telegram).start() as g:
        g.wait_channel_up("tg")
        telegram.fault(method, fault, times=7, **options)
        telegram.say(alice, None, document=telegram.file("a.txt", b"0123456789"), caption="look")
        telegram.say(alice, "and then")
        telegram.wait(lambda: len(telegram.sent(alice)) == 2)
        settled(g, telegram)
        assert "could not be fetched" not in telegram.texts(alice)[0] and telegram.texts(alice)[1] == "and then"
        kept = [p for p in (g.home / "state").rglob("*") if p.is_file() and p.read_bytes() == b"0123456789"]
        assert len(kept) == 1


def test_a_file_waits_as_long_as_telegram_says(tmp_path, telegram, alice):
    with gateway(tmp_path, telegram).start() as g:
        g.wait_channel_up("tg")
        telegram.fault("getFile", "refuse", code=429, description="Too Many Requests: retry after 3", retry_after=3)
        telegram.say(alice, None, document=telegram.file("a.txt", b"0123456789"), caption="look")
        telegram.wait(lambda: telegram.sent(alice))
        refused, again = telegram.of("getFile")
        assert again.at - refused.at >= 3.0


def test_a_file_that_can_not_be_had_holds_up_the_rest_for_minutes_only(tmp_path, telegram, alice):
    with FastClock(tmp_path) as clock, gateway(tmp_path, telegram, **clock.environment).start() as g:
        g.wait_channel_up("tg")
        telegram.fault("getFile", "status", times=10000, status=502)
        telegram.say(alice, None, document=telegram.file("a.txt", b"0123456789"), caption="look")
        telegram.say(alice, "and then")
        telegram.wait(lambda: len(telegram.of("getFile")) >= 3)
        clock.run(60)
        telegram.wait(lambda: telegram.sent(alice), 30)
        clock.run(1)
        telegram.wait(lambda: len(telegram.sent(alice)) == 2)
        assert telegram.texts(alice) == ["look\n[a.txt: could not be fetched]", "and then"]
        assert 5 < len(telegram.of("getFile")) < 100


def test_a_deaf_poller_is_noticed_and_replaced_within_two_periods(tmp_path, telegram, alice):
    with gateway(tmp_path, telegram).start() as g:
        g.wait_channel_up("tg")
        g.api = g.status()["api"]
        telegram.wait(lambda: telegram.of("getUpdates"))
        polls = len(telegram.of("getUpdates"))
        telegram.wait(lambda: len(telegram.of("getUpdates")) > polls)  # a poll has just begun
        went = time.monotonic()
        telegram.go_silent()
        wait_until(lambda: readyz_says(g) == "down", 2 * POLL, "/readyz that says so", interval=0.02)
        assert time.monotonic() - went <= 1.5 * POLL
        telegram.say(alice, "anybody there?")
        telegram.speak_again()
        telegram.wait(lambda: telegram.sent(alice), what="answer")
        assert time.monotonic() - went <= 2 * POLL + 0.5, "not within two periods"
        wait_until(lambda: readyz_says(g) == "up", 5, "/readyz that says it is over")
        assert telegram.texts(alice) == ["anybody there?"]


def test_a_rival_is_reported_and_waited_for(tmp_path, telegram, alice):
    with gateway(tmp_path, telegram).start() as g:
        g.wait_channel_up("tg")
        telegram.rival = True
        telegram.say(alice, "one")  # wakes the poll
        entry = wait_down(g, "another program fetches the messages of this bot")
        assert "terminated by other getUpdates request" in entry["error"] and telegram.token not in entry["error"]
        before = len(telegram.of("getUpdates"))
        time.sleep(2.0)
        assert len(telegram.of("getUpdates")) - before <= 1, "it fights"
        telegram.rival = False
        g.wait_channel_up("tg")
        telegram.wait(lambda: telegram.texts(alice) == ["one"])


def test_a_webhook_of_yesterday_is_taken_away_without_losing_messages(tmp_path, telegram, alice):
    telegram.webhook = {"url": "https://nobody.example/hook"}
    telegram.webhook_host = "http://127.0.0.1:9"
    telegram.say(alice, "one")
    with gateway(tmp_path, telegram).start():
        telegram.wait(lambda: telegram.texts(alice) == ["one"])


def test_a_refused_token_is_told(tmp_path, telegram):
    with gateway(tmp_path, telegram, TOKEN="1234:wrong").start() as g:
        assert "1234:wrong" not in wait_down(g, "Telegram refuses the token")["error"]
    with gateway(tmp_path / "b", telegram, TOKEN="nonsense").start() as g:
        assert "nonsense" not in wait_down(g, "the token is not one of a bot")["error"]


def test_killed_in_between(tmp_path, telegram, alice):
    """Killed while Telegram has the answer and says nothing, and before anything was confirmed."""
    with gateway(tmp_path, telegram).start() as g:
        g.wait_channel_up("tg")
        telegram.fault("sendMessage", "deaf")
        telegram.say(alice, "one")
        telegram.wait(lambda: telegram.texts(alice) == ["one"])
        g.kill9()
        telegram.say(alice, "two")
        g.start().wait_channel_up("tg")
        telegram.wait(lambda: len(telegram.sent(alice)) == 3)
        settled(g, telegram)
        assert telegram.texts(alice) == ["one", REPEAT + "one", "two"]


def test_killed_many_times_under_load(tmp_path, telegram, alice):
    with gateway(tmp_path, telegram).start() as g:
        said = []
        for round in range(6):
            g.wait_channel_up("tg")
            for n in range(10):
                said.append(f"m{round}-{n}")
                telegram.say(alice, said[-1])
            telegram.wait(lambda: len(telegram.sent(alice)) > round * 10 + round)
            g.kill9()
            g.start()
        telegram.wait(lambda: set(said) <= {t.removeprefix(REPEAT) for t in telegram.texts(alice)}, 40)
        settled(g, telegram)
        seen = telegram.texts(alice)
        first_seen = list(dict.fromkeys(t.removeprefix(REPEAT) for t in seen))
        assert first_seen == said, "lost or out of order"
        assert all(seen.count(t) <= 1 for t in said), "doubled without a mark"
