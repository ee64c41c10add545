"""Telegram by webhook: posts with the secret are journalled before they are answered 2xx; others are refused."""

import json
import urllib.error
import urllib.request

import pytest

from support.talaria import free_port
from support.telegram_api import TelegramApi
from telegram_support import gateway, wait_down

SECRET = "s3cret_-"


@pytest.fixture
def telegram():
    with TelegramApi() as running:
        yield running


def hooked(tmp_path, telegram, **secrets):
    api = f"127.0.0.1:{free_port()}"
    telegram.webhook_host = f"http://{api}"
    channel = 'webhook_url = "https://bot.example.org/hooks/tg"\nwebhook_secret = "env:HOOK"'
    g = gateway(tmp_path, telegram, channel=channel, api=api, **({"HOOK": SECRET} | secrets))
    g.api = api
    return g


def post(g, body: bytes, secret: str | None) -> int:
    headers = {"Content-Type": "application/json"} | ({"X-Telegram-Bot-Api-Secret-Token": secret} if secret is not None else {})
    try:
        with urllib.request.urlopen(urllib.request.Request(f"http://{g.api}/hooks/tg", body, headers), timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        return refused.code


def test_posts_are_answered(tmp_path, telegram):
    alice = telegram.person("Alice")
    telegram.say(alice, "before")
    with hooked(tmp_path, telegram).start() as g:
        telegram.wait(lambda: telegram.texts(alice) == ["before"])
        assert telegram.webhook["secret_token"] == SECRET and telegram.webhook["max_connections"] == 1
        g.wait_channel_up("tg")
        for n in range(5):
            telegram.say(alice, f"n{n}")
        telegram.wait(lambda: len(telegram.sent(alice)) == 6 and not telegram.unconfirmed())
        assert telegram.texts(alice) == ["before"] + [f"n{n}" for n in range(5)]
        assert not telegram.of("getUpdates")


def test_what_is_refused(tmp_path, telegram):
    alice = telegram.person("Alice")
    with hooked(tmp_path, telegram).start() as g:
        telegram.wait(lambda: telegram.webhook)
        g.wait_channel_up("tg")
        update = telegram.say(alice, "one")
        telegram.wait(lambda: telegram.texts(alice) == ["one"])
        again = json.dumps(update).encode()
        assert [post(g, again, secret) for secret in (None, "", "s3cret", SECRET + "x", SECRET.upper())] == [401] * 5
        assert post(g, b"{", SECRET) == 400
        assert post(g, again, SECRET) == 200, "a repeat is acknowledged"
        telegram.say(alice, "two")
        telegram.wait(lambda: len(telegram.sent(alice)) == 2)
        assert telegram.texts(alice) == ["one", "two"], "a repeat was answered"
        assert SECRET not in g.output()


def test_what_comes_while_we_are_away_waits_with_telegram(tmp_path, telegram):
    alice = telegram.person("Alice")
    with hooked(tmp_path, telegram).start() as g:
        telegram.wait(lambda: telegram.webhook)
        g.wait_channel_up("tg")
        g.kill9()
        for n in range(3):
            telegram.say(alice, f"n{n}")
        telegram.wait(lambda: telegram.webhook_posts)
        g.start()
        telegram.wait(lambda: len(telegram.sent(alice)) == 3 and not telegram.unconfirmed())
        assert telegram.texts(alice) == ["n0", "n1", "n2"]


def test_a_webhook_that_is_taken_away_is_told_and_set_again(tmp_path, telegram):
    with hooked(tmp_path, telegram).start() as g:
        telegram.wait(lambda: telegram.webhook)
        g.wait_channel_up("tg")
        telegram.webhook = {}
        wait_down(g, "another program has taken the webhook of this bot away")
        telegram.wait(lambda: telegram.webhook)
        g.wait_channel_up("tg")


def test_a_secret_that_telegram_would_not_take(tmp_path, telegram):
    with hooked(tmp_path, telegram, HOOK="no blanks!").start() as g:
        assert "no blanks!" not in wait_down(g, "webhook_secret must be")["error"]
