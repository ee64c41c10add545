"""npm `standardwebhooks` signs what the gateway accepts, and verifies what the gateway sends."""

import json
import subprocess

import pytest

from support.talaria import JUDGES, Gateway, free_port, node, wait_until
from support.webhooks import Receiver, post

SECRET, SIGN = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"

CONFIG = """
[api]
listen = "{api}"
[agent.default]
kind = "echo"
[channel.in]
kind = "webhook"
scheme = "standard"
secret = "env:SECRET"
prompt = "{{{{ data.text }}}}"
url = "{url}"
sign_secret = "env:SIGN"
"""


def judge(*arguments: str) -> dict:
    done = subprocess.run([node(), JUDGES / "webhook_judge.mjs", *arguments], capture_output=True, text=True, timeout=30, check=True)
    return json.loads(done.stdout)


@pytest.fixture
def world(tmp_path):
    api = f"127.0.0.1:{free_port()}"
    with Receiver() as receiver:
        with Gateway(tmp_path / "home", CONFIG.format(api=api, url=receiver.url), api=api, env={"SECRET": SECRET, "SIGN": SIGN}) as gateway:
            yield gateway.start().wait_ready(), receiver


def test_both_directions(world):
    gateway, receiver = world
    body = json.dumps({"type": "note", "data": {"text": "grüß dich 👋"}}, ensure_ascii=False)
    headers = judge("sign", SECRET, "msg_1", body)["headers"]
    assert post(gateway.api, "in", body.encode(), headers)[0] == 202
    wait_until(lambda: receiver.taken, 10, "answer")
    sent_headers, sent = receiver.taken[0]
    assert receiver.texts() == ["grüß dich 👋"]
    assert judge("verify", SIGN, sent.decode(), json.dumps(sent_headers)) == {"verified": True}
    # The judge does judge.
    assert "error" in judge("verify", SIGN, sent.decode() + " ", json.dumps(sent_headers))
    assert "error" in judge("verify", SECRET, sent.decode(), json.dumps(sent_headers))


def test_what_the_judge_signs_for_others_is_refused(world):
    gateway, _ = world
    body = json.dumps({"data": {"text": "x"}})
    assert post(gateway.api, "in", body.encode(), judge("sign", SIGN, "msg_1", body)["headers"])[0] == 401
    headers = judge("sign", SECRET, "msg_1", body)["headers"]
    assert post(gateway.api, "in", body.encode() + b" ", headers)[0] == 401
    assert post(gateway.api, "in", body.encode(), {**headers, "webhook-id": "msg_2"})[0] == 401
    assert post(gateway.api, "in", body.encode(), headers)[0] == 202
