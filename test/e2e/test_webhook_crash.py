"""kill -9 between the 2xx and the turn: each accepted delivery is answered, once, also when it is delivered again."""

import collections
import http.client
import json
import random
import threading
import time

from support.talaria import Gateway, free_port, wait_until
from support.webhooks import github, post, post_all

SECRET, SIGN = "hook secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

CONFIG = """
[api]
listen = "{api}"

[agent.default]
{agent}

[channel.github]
kind = "webhook"
scheme = "github"
secret = "env:HOOK_SECRET"
prompt = "{{{{ issue.title }}}}"
deliver_to = "out:ops"

[channel.out]
kind = "webhook"
url = "{url}"
sign_secret = "env:SIGN_SECRET"
"""


def start(tmp_path, receiver, agent) -> Gateway:
    api = f"127.0.0.1:{free_port()}"
    return Gateway(tmp_path / "home", CONFIG.format(api=api, url=receiver.url, agent=agent), api=api,
                   env={"HOOK_SECRET": SECRET, "SIGN_SECRET": SIGN})


def report(n: int) -> tuple[bytes, dict]:
    body = json.dumps({"issue": {"title": f"n{n}"}}).encode()
    return body, github(SECRET, body, f"delivery-{n}")


def test_accepted_before_the_kill_is_answered_after_it(tmp_path, receiver):
    go = tmp_path / "go"
    agent = f'kind = "command"\ncommand = ["/bin/sh", "-c", "while [ ! -e {go} ]; do sleep 0.05; done; cat"]'
    reports = [report(n) for n in range(60)]
    with start(tmp_path, receiver, agent) as gateway:
        gateway.start().wait_ready()
        assert collections.Counter(post_all(gateway.api, "github", reports)) == {202: 60}
        assert gateway.status()["queues"]["turns"] == 60
        gateway.kill9()
        assert receiver.requests == []
        go.touch()
        gateway.start().wait_ready()
        assert collections.Counter(post_all(gateway.api, "github", reports)) == {200: 60}, "delivered again, recognised"
        wait_until(lambda: len(receiver.texts()) >= 60, 60, "answers", interval=0.1)
        wait_until(lambda: gateway.status()["queues"] == {**gateway.status()["queues"], "turns": 0, "outbox": 0}, 30, "rest", interval=0.2)
        assert collections.Counter(receiver.texts()) == {f"n{n}": 1 for n in range(60)}


def test_killed_at_any_time_while_deliveries_come(tmp_path, receiver):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    luck = random.Random(seed)
    accepted: set[int] = set()
    stop = threading.Event()
    with start(tmp_path, receiver, 'kind = "echo"') as gateway:
        gateway.start().wait_ready()

        def send(first: int):
            for n in range(first, 100_000, 4):
                body, headers = report(n)
                while not stop.is_set():
                    try:
                        if post(gateway.api, "github", body, headers)[0] in (200, 202):
                            accepted.add(n)
                            break
                    except (OSError, http.client.HTTPException):
                        pass
                    time.sleep(0.02)
                if stop.is_set():
                    return

        senders = [threading.Thread(target=send, args=(i,)) for i in range(4)]
        for sender in senders:
            sender.start()
        for _ in range(6):
            time.sleep(luck.uniform(0.2, 1.2))
            gateway.kill9()
            gateway.start().wait_ready()
        time.sleep(0.5)
        stop.set()
        for sender in senders:
            sender.join(60)
        assert len(accepted) > 20
        wanted = {f"n{n}" for n in accepted}
        wait_until(lambda: wanted <= set(receiver.texts()), 60, "all answers", interval=0.2)
        wait_until(lambda: gateway.status()["queues"]["outbox"] == 0, 30, "empty outbox", interval=0.2)
        said = collections.Counter(receiver.texts())
        assert {text for text, times in said.items() if times > 1} == set(), "each once"
        # One whose 2xx was lost with the process may be there, too; it was journalled.
        assert len(set(said) - wanted) <= 4
