"""Webhooks out: what is sent from this gateway is signed, tried again where that helps, and dead where it can't."""

import json
import time

import pytest

from support.talaria import Gateway, wait_until
from support.webhooks import standard

SIGN = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

CONFIG = """
[agent.default]
kind = "echo"

[channel.out]
kind = "webhook"
url = "{url}"
sign_secret = "env:SIGN_SECRET"
"""


@pytest.fixture
def gateway(tmp_path, receiver):
    with Gateway(tmp_path / "home", CONFIG.format(url=receiver.url), env={"SIGN_SECRET": SIGN}) as gateway:
        yield gateway.start().wait_ready()


def test_a_message_is_posted_and_signed(gateway, receiver):
    gateway.run("send", "--to", "out:room:thread", "The backup is döne.")
    headers, body = receiver.taken[0]
    said = json.loads(body)
    assert said["type"] == "message" and abs(time.time() - int(headers["webhook-timestamp"])) < 60
    assert said["data"] == {"channel": "out", "conversation": "room", "thread": "thread", "reply_to": "", "text": "The backup is döne."}
    again = standard(SIGN, body, headers["webhook-id"], int(headers["webhook-timestamp"]))
    assert again["webhook-signature"] == headers["webhook-signature"]


def test_busy_and_broken_receivers_are_tried_again_with_one_identity(gateway, receiver):
    receiver.answers = [500, (429, {"Retry-After": "2"}), 204]
    began = time.monotonic()
    gateway.run("send", "--to", "out:room", "again")
    assert time.monotonic() - began >= 2, "Retry-After is waited for"
    assert len(receiver.requests) == 3 and len(receiver.taken) == 1
    assert len({headers["webhook-id"] for headers, _ in receiver.requests}) == 1
    gateway.run("send", "--to", "out:room", "another")
    assert len({headers["webhook-id"] for headers, _ in receiver.requests}) == 2


def test_what_the_receiver_will_never_take_is_dead(gateway, receiver):
    receiver.answers = [410]
    sent = gateway.run("send", "--to", "out:room", "gone", check=False)
    assert sent.returncode != 0 and len(receiver.requests) == 1
    assert gateway.status()["queues"]["dead"] == 1
    dead = json.loads(gateway.run("outbox", "list", "--json").stdout)
    assert "410" in json.dumps(dead)


def test_a_kill_repeats_under_the_same_identity(gateway, receiver):
    receiver.answers = [503] * 3
    gateway.run("send", "--queue", "--to", "out:room", "kept")
    wait_until(lambda: receiver.requests, 10, "first attempt")
    gateway.kill9()
    gateway.start().wait_ready()
    wait_until(lambda: receiver.taken, 30, "delivery")
    assert len({headers["webhook-id"] for headers, _ in receiver.requests}) == 1
    assert "repeat" not in receiver.texts()[0], "the receiver recognises it: no mark"
