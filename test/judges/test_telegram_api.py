"""The fake Bot API (support/telegram_api.py) judged by a client that the world uses against the real one: npm grammy."""

import json
import os
import queue
import subprocess
import threading

import pytest

from support.talaria import JUDGES, node
from support.telegram_api import TelegramApi


class Grammy:
    """test/judges/telegram_bot.mjs."""

    def __init__(self, api: TelegramApi, *arguments, token: str | None = None):
        if not (JUDGES / "node_modules" / "grammy").exists():
            raise FileNotFoundError("the npm client grammy is missing: npm ci --prefix test/judges")
        environment = {"PATH": os.environ["PATH"], "API_ROOT": api.root, "TOKEN": token or api.token}
        self.process = subprocess.Popen([node(), str(JUDGES / "telegram_bot.mjs"), *map(str, arguments)], env=environment,
                                        stdout=subprocess.PIPE, text=True)
        self.events: queue.Queue = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.events.put(json.loads(line))

    def expect(self, event: str, seconds: float = 20) -> dict:
        found = self.events.get(timeout=seconds)
        assert found["event"] == event, found
        return found

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def api():
    with TelegramApi() as running:
        yield running


def call(api, method, token=None, **parameters) -> dict:
    with Grammy(api, "call", method, json.dumps(parameters), token=token) as bot:
        return bot.events.get(timeout=20)


def test_grammys_echo_bot_works_against_it(api):
    alice = api.person("Alice", "alice")
    backlog = [api.say(alice, text) for text in ("one", "two 👩‍👩‍👧")]
    with Grammy(api, "poll") as bot:
        assert bot.expect("started")["username"] == api.bot["username"]
        api.wait(lambda: len(api.sent(alice)) == 2)
        assert api.texts(alice) == ["one", "two 👩‍👩‍👧"]
        assert [m.reply_to for m in api.sent(alice)] == [u["message"]["message_id"] for u in backlog]
        api.say(alice, "/start")
        api.wait(lambda: len(api.sent(alice)) == 3)
        greeting = api.sent(alice)[-1]
        assert greeting.text == "welcome & hello" and greeting.entities == [{"type": "bold", "offset": 0, "length": 7}]
        api.wait(lambda: not api.unconfirmed(), what="confirmation by offset")


def test_groups_topics_and_edits(api):
    alice, group = api.person("Alice"), api.group("Friends", topics=2)
    with Grammy(api, "poll") as bot:
        bot.expect("started")
        api.say(alice, "in a topic", group, thread=3)
        api.wait(lambda: api.sent(group))
        assert api.sent(group)[0].thread == 3
        api.say(alice, "edit", group)
        api.wait(lambda: api.sent(group)[-1].versions == ["edit"])
        assert api.sent(group)[-1].text == "edited"
        api.say(alice, "same")
        assert bot.expect("refused")["what"].startswith("Bad Request: message is not modified")


def test_files_go_both_ways(api):
    alice = api.person("Alice")
    with Grammy(api, "poll") as bot:
        bot.expect("started")
        api.say(alice, None, document=api.file("a.txt", b"x" * 1000))
        api.wait(lambda: api.texts(alice) == ["read 1000"])
    with Grammy(api, "file", alice.id) as bot:
        bot.expect("result")
    assert [m.file for m in api.sent(alice)[1:]] == [("sendDocument", 'grüße "x".txt', b"some\0bytes\r\n"), ("sendPhoto", "p.png", b"not quite a picture")]


def test_a_second_poller_ends_the_first(api):
    with Grammy(api, "poll") as first:
        first.expect("started")
        api.wait(lambda: api.of("getUpdates"))
        with Grammy(api, "poll") as second:
            second.expect("started")
            conflict = first.expect("refused")
            assert (conflict["code"], first.process.wait(10)) == (409, 3)
            assert "terminated by other getUpdates request" in conflict["what"]


def test_no_polling_while_a_webhook_is_set(api):
    assert call(api, "setWebhook", url="https://bot.example/hook", secret_token="s")["result"] is True
    assert call(api, "getWebhookInfo")["result"]["url"] == "https://bot.example/hook"
    refused = call(api, "getUpdates", timeout=0)
    assert refused["code"] == 409 and "webhook is active" in refused["what"]
    assert call(api, "deleteWebhook")["result"] is True
    assert call(api, "getUpdates", timeout=0)["result"] == []


def test_grammy_waits_as_long_as_429_says(api):
    alice = api.person("Alice")
    with Grammy(api, "patient") as bot:
        bot.expect("started")
        api.fault("sendMessage", "refuse", code=429, description="Too Many Requests: retry after 1", retry_after=1)
        api.say(alice, "later")
        api.wait(lambda: api.texts(alice) == ["later"])
        first, second = api.of("sendMessage")
        assert second.at - first.at >= 1.0


@pytest.mark.parametrize("parameters, code, what", [
    ({"chat_id": 1, "text": "x"}, 400, "chat not found"),
    ({"text": " "}, 400, "message text is empty"),
    ({"text": "😀" * 2049}, 400, "message is too long"),
    ({"text": "<b>x", "parse_mode": "HTML"}, 400, "can't parse entities"),
    ({"text": "x", "message_thread_id": 77}, 400, "message thread not found"),
    ({"text": "x", "reply_parameters": {"message_id": 77}}, 400, "message to be replied not found"),
])
def test_what_the_bot_api_refuses(api, parameters, code, what):
    alice = api.person("Alice")
    refused = call(api, "sendMessage", **({"chat_id": alice.id} | parameters))
    assert refused["event"] == "refused" and refused["code"] == code and what in refused["what"]
    assert api.sent() == []


def test_what_the_bot_api_takes(api):
    alice = api.person("Alice")
    assert "result" in call(api, "sendMessage", chat_id=alice.id, text="😀" * 2048)
    assert "result" in call(api, "sendMessage", chat_id=alice.id, text="x", reply_parameters={"message_id": 77, "allow_sending_without_reply": True})
    assert call(api, "sendChatAction", chat_id=alice.id, action="typing")["result"] is True
    sent = api.sent(alice)[-1].id
    assert call(api, "deleteMessage", chat_id=alice.id, message_id=sent)["result"] is True
    assert len(api.sent(alice)) == 1
    assert call(api, "deleteMessage", chat_id=alice.id, message_id=sent)["what"] == "Bad Request: message to delete not found"


def test_chats_that_can_not_be_written_to(api):
    alice, group = api.person("Alice"), api.group("Old")
    alice.trouble = (403, "Forbidden: bot was blocked by the user", {})
    assert call(api, "sendMessage", chat_id=alice.id, text="x")["code"] == 403
    group.trouble = (400, "Bad Request: group chat was upgraded to a supergroup chat", {"migrate_to_chat_id": -1001})
    assert call(api, "sendMessage", chat_id=group.id, text="x")["parameters"] == {"migrate_to_chat_id": -1001}
    assert call(api, "editMessageText", chat_id=api.person("Bob").id, message_id=5, text="x")["what"] == "Bad Request: message to edit not found"


def test_a_wrong_token(api):
    assert call(api, "getMe", token="1:abc")["code"] == 401


def test_faults(api):
    alice = api.person("Alice")
    api.fault("sendMessage", "drop")
    assert call(api, "sendMessage", chat_id=alice.id, text="dropped")["event"] == "network"
    assert api.texts() == []
    api.fault("sendMessage", "lose")
    assert call(api, "sendMessage", chat_id=alice.id, text="lost")["event"] == "network"
    assert api.texts() == ["lost"]
    api.fault("sendMessage", "deaf")
    assert call(api, "sendMessage", chat_id=alice.id, text="deaf")["event"] in ("network", "error")
    assert api.texts() == ["lost", "deaf"]
    api.fault("getMe", "garbage")
    assert call(api, "getMe")["event"] == "network"
    api.go_silent()
    assert call(api, "getMe")["event"] in ("network", "error")
    api.speak_again()
    assert call(api, "getMe")["result"]["username"] == api.bot["username"]


def test_updates_that_come_twice_or_the_wrong_way_round(api):
    alice = api.person("Alice")
    one, two = api.say(alice, "one"), api.say(alice, "two")
    api.reversed = True
    assert [u["update_id"] for u in call(api, "getUpdates", timeout=0)["result"]] == [two["update_id"], one["update_id"]]
    assert call(api, "getUpdates", timeout=0, offset=two["update_id"] + 1)["result"] == []
    api.say_again(one)
    assert [u["update_id"] for u in call(api, "getUpdates", timeout=0, offset=two["update_id"] + 1)["result"]] == [one["update_id"]]
