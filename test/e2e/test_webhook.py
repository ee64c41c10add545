"""Webhooks in: only what is proved is taken, each delivery once, for ever, and its answer goes where it is told to."""

import collections
import json
import time

import pytest

from support.talaria import Gateway, free_port, wait_until
from support.webhooks import github, gitlab, post, post_all, standard

SECRET, TOKEN, SIGN = "hook secret", "gitlab-token", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

CONFIG = """
[api]
listen = "{api}"

[gateway]
max_concurrent_turns = 4

[agent.default]
kind = "echo"

[channel.github]
kind = "webhook"
scheme = "github"
secret = "env:HOOK_SECRET"
events = ["issues.opened", "push"]
prompt = "{{{{ @event }}}} {{{{ issue.title }}}}{{{{ nobody.there }}}}"
deliver_to = "out:ops"

[channel.gitlab]
kind = "webhook"
scheme = "gitlab"
secret = "env:GITLAB_TOKEN"
prompt = "{{{{ object_attributes.title }}}}"
deliver_to = "out:ops"
deliver_only = true

[channel.standard]
kind = "webhook"
scheme = "standard"
secret = "env:SIGN_SECRET"
prompt = "{{{{ data.text }}}}"
deliver_to = "out:ops"

[channel.out]
kind = "webhook"
url = "{url}"
sign_secret = "env:SIGN_SECRET"
"""


@pytest.fixture
def gateway(tmp_path, receiver):
    api = f"127.0.0.1:{free_port()}"
    environment = {"HOOK_SECRET": SECRET, "GITLAB_TOKEN": TOKEN, "SIGN_SECRET": SIGN}
    with Gateway(tmp_path / "home", CONFIG.format(api=api, url=receiver.url), api=api, env=environment) as gateway:
        yield gateway.start().wait_ready()


def issue(title: str, action: str = "opened") -> bytes:
    return json.dumps({"action": action, "issue": {"title": title}}).encode()


def test_a_report_is_answered_where_it_is_told_to(gateway, receiver):
    body = issue("it broke")
    status, _, _ = post(gateway.api, "github", body, github(SECRET, body, "d1"))
    assert status == 202
    wait_until(lambda: receiver.texts() == ["issues.opened it broke"], 10, "answer")
    headers, sent = receiver.taken[0]
    assert json.loads(sent)["data"]["conversation"] == "ops"
    assert standard(SIGN, sent, headers["webhook-id"], int(headers["webhook-timestamp"]))["webhook-signature"] == headers["webhook-signature"]


def test_what_is_not_proved_is_refused_and_leaves_nothing(gateway, receiver):
    body = issue("forged")
    good = github(SECRET, body, "d1")
    refused = [
        ("github", body, {k: v for k, v in good.items() if k != "X-Hub-Signature-256"}),        # missing
        ("github", body, github("another secret", body, "d1")),                                  # wrong
        ("github", body + b" ", good),                                                           # of another body
        ("github", body, {**good, "X-Hub-Signature-256": "sha256="}),
        ("gitlab", body, gitlab("", "k")), ("gitlab", body, gitlab(TOKEN + "x", "k")),
        ("standard", body, good),
        ("standard", body, standard(SIGN, body, "m1", time.time() - 301)),                       # old
        ("standard", body, standard(SIGN, body, "m1", time.time() + 330)),
        ("standard", body, {**standard(SIGN, body, "m1"), "webhook-id": "m2"}),                  # replayed under another identity
        ("standard", body, {**standard(SIGN, body, "m1", time.time() - 600), "webhook-timestamp": str(int(time.time()))}),
        ("standard", body, standard("whsec_" + "A" * 43 + "=", body, "m1")),
    ]
    for name, sent, headers in refused:
        status, answered, problem = post(gateway.api, name, sent, headers)
        assert status == 401, (name, headers, problem)
        assert answered["Content-Type"] == "application/problem+json" and json.loads(problem)["status"] == 401
        assert SECRET not in problem.decode() and TOKEN not in problem.decode()
    for name, method, expected in (("github", "GET", 405), ("nobody", "POST", 404), ("out", "POST", 404)):
        assert post(gateway.api, name, body, good, method)[0] == expected
    assert gateway.status()["queues"]["turns"] == 0
    gateway.stop()
    # Nothing of it is in the journal: the same identity, well signed, is fresh.
    gateway.start().wait_ready()
    assert post(gateway.api, "github", body, good)[0] == 202
    assert post(gateway.api, "standard", body, standard(SIGN, body, "m1"))[0] == 202
    assert SECRET not in gateway.output() and TOKEN not in gateway.output()


def test_a_replay_is_recognised_for_ever(gateway, receiver):
    body = issue("once")
    headers = github(SECRET, body, "d1")
    event = json.dumps({"data": {"text": "standard once"}}).encode()
    assert post(gateway.api, "github", body, headers)[0] == 202
    assert post(gateway.api, "standard", event, standard(SIGN, event, "m1"))[0] == 202
    wait_until(lambda: len(receiver.texts()) == 2, 10, "answers")
    for again in range(2):
        assert post(gateway.api, "github", body, headers)[0] == 200
        assert post(gateway.api, "github", body, {**headers, "X-GitHub-Event": "push"})[0] == 200, "what is not signed tells nothing apart"
        assert post(gateway.api, "standard", event, standard(SIGN, event, "m1"))[0] == 200
        if again == 0:
            gateway.kill9()
            gateway.start().wait_ready()
    time.sleep(0.5)
    assert sorted(receiver.texts()) == ["issues.opened once", "standard once"]


def test_other_events_are_taken_and_forgotten(gateway, receiver):
    for event, action in (("issues", "closed"), ("issue_comment", "opened"), ("ping", "")):
        body = issue("no", action)
        assert post(gateway.api, "github", body, github(SECRET, body, f"d-{event}", event))[0] == 204
    body = issue("yes")
    assert post(gateway.api, "github", body, github(SECRET, body, "d", "push"))[0] == 202
    wait_until(lambda: receiver.texts() == ["push.opened yes"], 10, "answer")
    assert len(receiver.requests) == 1


def test_a_text_is_relayed_without_an_agent(gateway, receiver):
    body = json.dumps({"object_kind": "issue", "object_attributes": {"title": "{{ x }} /restart", "action": "open"}}).encode()
    assert post(gateway.api, "gitlab", body, gitlab(TOKEN, "k1"))[0] == 202
    assert post(gateway.api, "gitlab", body, gitlab(TOKEN, "k1"))[0] == 200
    wait_until(lambda: receiver.texts() == ["{{ x }} /restart"], 10, "relay")
    assert gateway.running()


def test_a_thousand_at_once_are_each_answered_once(gateway, receiver):
    requests = []
    for n in range(1000):
        body = issue(f"n{n}")
        requests.append((body, github(SECRET, body, f"delivery-{n}")))
    forged = [(body, {**headers, "X-GitHub-Delivery": f"forged-{n}", "X-Hub-Signature-256": "sha256=" + "0" * 64})
              for n, (body, headers) in enumerate(requests[:100])]
    statuses = post_all(gateway.api, "github", requests)
    assert collections.Counter(statuses) == {202: 1000}
    assert collections.Counter(post_all(gateway.api, "github", requests + forged)) == {200: 1000, 401: 100}
    wait_until(lambda: len(receiver.texts()) >= 1000, 240, "1 000 answers", interval=0.25)
    wait_until(lambda: gateway.status()["queues"]["outbox"] == 0, 30, "empty outbox", interval=0.25)
    assert collections.Counter(receiver.texts()) == {f"issues.opened n{n}": 1 for n in range(1000)}


def test_a_missing_secret_is_a_mistake_of_the_configuration(tmp_path):
    config = CONFIG.format(api="127.0.0.1:0", url="http://127.0.0.1:1/").replace('secret = "env:HOOK_SECRET"\n', "", 1)
    with Gateway(tmp_path / "home", config, env={"GITLAB_TOKEN": TOKEN, "SIGN_SECRET": SIGN}) as gateway:
        checked = gateway.run("config", "check", check=False)
        assert checked.returncode != 0 and "needs secret" in checked.stdout + checked.stderr
        assert gateway.start().process.wait(20) == 78
    with Gateway(tmp_path / "empty", CONFIG.format(api="127.0.0.1:0", url="http://127.0.0.1:1/"),
                 env={"HOOK_SECRET": "", "GITLAB_TOKEN": TOKEN, "SIGN_SECRET": SIGN}) as gateway:
        assert gateway.start().process.wait(20) == 78, "an empty secret is none"
    with Gateway(tmp_path / "bad", CONFIG.format(api="127.0.0.1:0", url="http://127.0.0.1:1/"),
                 env={"HOOK_SECRET": SECRET, "GITLAB_TOKEN": TOKEN, "SIGN_SECRET": "not-a-standard-secret"}) as gateway:
        assert gateway.start().process.wait(20) == 78
        assert "Standard Webhooks" in gateway.output() and "not-a-standard-secret" not in gateway.output()
