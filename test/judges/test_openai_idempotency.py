"""Idempotency-Key: one turn and one answer under a key, for ever: at once, later, after a restart, after kill -9.

The agent is a command that appends a line to a file for each run and answers with the number of lines: an answer that comes
from a second run looks different, and the file counts what really ran.
"""

import json
import socket
import struct
import time

import pytest

from support.openai_judge import OpenAiJudge
from support.talaria import Gateway, free_port, wait_until

KEY = "judge-key-0123456789"


class Counted:
    """A gateway with the counting agents `count` (at once), `slow` (two seconds) and `moody` (fails the first time)."""

    def __init__(self, home):
        self.runs_file = home / "runs"
        self.api = f"127.0.0.1:{free_port()}"
        script = f"cat > /dev/null; echo run >> {self.runs_file}; n=$(wc -l < {self.runs_file});"
        config = f"""
[api]
listen = "{self.api}"
keys = ["env:JUDGE_KEY"]

[agent.count]
kind = "command"
command = ["/bin/sh", "-c", "{script} echo answer $n"]

[agent.slow]
kind = "command"
command = ["/bin/sh", "-c", "{script} sleep 2; echo answer $n"]

[agent.moody]
kind = "command"
command = ["/bin/sh", "-c", "{script} if [ $n = 1 ]; then exit 3; fi; echo answer $n"]

[agent.echo]
kind = "echo"
"""
        self.gateway = Gateway(home / "home", config, api=self.api, env={"JUDGE_KEY": KEY})
        self.judge = OpenAiJudge(self.api, KEY)

    def runs(self) -> int:
        return self.runs_file.read_text().count("run") if self.runs_file.exists() else 0

    def ask(self, **asked) -> dict:
        outcome = self.judge("chat", **{"model": "count", "content": "count me", **asked})
        assert "answered" in outcome, f"{outcome}\n{self.gateway.output()[-3000:]}"
        return outcome["answered"]

    def restart(self) -> None:
        self.gateway.start().wait_ready()


@pytest.fixture
def counted(tmp_path):
    counted = Counted(tmp_path)
    with counted.gateway:
        counted.restart()
        yield counted


def same(first: dict, second: dict) -> bool:
    return all(first[k] == second[k] for k in ("id", "content", "finish_reason", "model"))


def test_without_a_key_every_call_is_a_turn(counted):
    assert [counted.ask()["content"].strip() for _ in range(3)] == ["answer 1", "answer 2", "answer 3"]


def test_replayed_in_the_same_process(counted):
    first = counted.ask(key="k1")
    again = counted.ask(key="k1")
    assert same(first, again) and counted.runs() == 1
    assert (first["replayed"], again["replayed"]) == (None, "true")
    assert counted.ask(key="k2")["content"] != first["content"]


def test_replayed_after_a_restart(counted):
    first = counted.ask(key="k1")
    assert counted.gateway.stop() == 1  # a bare SIGTERM is not planned
    counted.restart()
    assert same(first, counted.ask(key="k1")) and counted.runs() == 1


def test_replayed_after_kill_9(counted):
    first = counted.ask(key="k1")
    counted.gateway.kill9()
    counted.restart()
    assert same(first, counted.ask(key="k1")) and counted.runs() == 1


def test_a_stream_replays_what_a_whole_answer_said_and_the_reverse(counted):
    whole = counted.ask(key="k1")
    streamed = counted.judge("stream", model="count", content="count me", key="k1")["answered"]
    assert streamed["content"] == whole["content"] and streamed["replayed"] == "true"
    assert streamed["roles"] == ["assistant"] and streamed["finish_reasons"] == ["stop"]

    streamed = counted.judge("stream", model="count", content="count me", key="k2")["answered"]
    assert counted.ask(key="k2")["content"] == streamed["content"] and counted.runs() == 2


def test_many_at_once_are_one_turn(counted):
    outcomes = counted.judge("concurrent", model="slow", content="count me", key="k1", times=8)
    answers = [o["answered"] for o in outcomes]
    assert counted.runs() == 1
    assert len({a["id"] for a in answers}) == 1 and len({a["content"] for a in answers}) == 1


def test_the_clients_own_key_works(counted):
    first, again = counted.judge("own_key", model="count", key="k1")
    assert same(first, again) and counted.runs() == 1


def test_a_key_used_for_another_request_is_refused(counted):
    counted.ask(key="k1", content="one thing")
    error = counted.judge("chat", model="count", content="another thing", key="k1")
    assert (error["thrown"], error["status"], error["code"]) == ("UnprocessableEntityError", 422, "idempotency_key_reused")
    assert counted.runs() == 1


def test_a_key_too_long_is_refused(counted):
    assert counted.judge("chat", model="count", key="k" * 256)["status"] == 400
    counted.ask(key="k" * 255)


def test_a_client_that_left_finds_its_answer_under_the_key(counted):
    outcome = counted.judge("abort_whole", model="slow", content="count me", key="k1", after_ms=500)
    assert outcome["thrown"] == "APIUserAbortError"
    answer = counted.ask(model="slow", key="k1")
    assert answer["content"].strip() == "answer 1" and counted.runs() == 1


def begin_slow_turn(counted):
    client = counted.judge.begin("chat", model="slow", content="count me", key="k1")
    wait_until(lambda: counted.runs() == 1, 20, "running turn")
    return client


def test_kill_9_in_the_turn_resumes_it_and_the_key_finds_it(counted):
    client = begin_slow_turn(counted)
    counted.gateway.kill9()
    out, err = client.communicate(timeout=60)
    assert json.loads(out)["thrown"] == "APIConnectionError", (out, err)
    counted.restart()
    # It was cut off once and runs again: one turn with two attempts.
    answer = counted.ask(model="slow", key="k1")
    assert answer["content"].strip() == "answer 2" and counted.runs() == 2
    assert same(answer, counted.ask(model="slow", key="k1")) and counted.runs() == 2


def test_a_stop_in_the_turn_waits_for_it_and_the_key_finds_it(counted):
    client = begin_slow_turn(counted)
    assert counted.gateway.stop() == 1
    out, err = client.communicate(timeout=60)
    assert json.loads(out)["answered"]["content"].strip() == "answer 1", (out, err)
    counted.restart()
    assert counted.ask(model="slow", key="k1")["content"].strip() == "answer 1" and counted.runs() == 1


def test_a_failed_turn_frees_its_key(counted):
    # Applications ask again after a 5xx, under the same key; a failure kept for ever would make that pointless.
    first = counted.judge("chat", model="moody", content="count me", key="k1")
    assert first["thrown"] == "InternalServerError" and counted.runs() == 1
    second = counted.ask(model="moody", key="k1")
    assert second["content"].strip() == "answer 2"
    assert same(second, counted.ask(model="moody", key="k1")) and counted.runs() == 2


def send_and_leave(counted, after_s: float, key: str | None, abruptly: bool) -> None:
    """Sends one request to the echo agent and closes the connection without waiting for the answer."""
    host, port = counted.api.split(":")
    body = json.dumps({"model": "echo", "messages": [{"role": "user", "content": "hello"}]})
    head = ["POST /v1/chat/completions HTTP/1.1", f"Host: {counted.api}", f"Authorization: Bearer {KEY}", f"Content-Length: {len(body)}"]
    if key:
        head.append(f"Idempotency-Key: {key}")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        if abruptly:  # RST instead of FIN
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(("\r\n".join(head) + "\r\n\r\n" + body).encode())
        time.sleep(after_s)


@pytest.mark.parametrize("abruptly", [False, True], ids=["closes", "resets"])
def test_clients_that_leave_at_any_moment_leave_no_turn_behind(counted, abruptly):
    """Before the journal's commit, during it, in the turn, after it: the moment moves in steps of 20 µs."""
    for i in range(250):
        send_and_leave(counted, i * 20e-6, f"left-{i}", abruptly)
        send_and_leave(counted, i * 20e-6, None, abruptly)
    for i in range(250):
        begin = time.monotonic()
        status, _, answer = counted.judge.raw("POST", "/v1/chat/completions", json.dumps(
            {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}), {"Idempotency-Key": f"left-{i}"})
        assert status == 200, (i, answer)
        assert time.monotonic() - begin < 10, f"the answer under key left-{i} hung"
    wait_until(lambda: counted.judge.metric('talaria_queue_depth{queue="turns"}') == 0, 10, "end of all turns")
    assert counted.judge.metric("talaria_turns_running") == 0


def test_a_keyed_turn_goes_on_without_its_asker_while_it_waits_for_its_session(counted):
    first = counted.judge.begin("chat", model="slow", content="count me", session="s")
    wait_until(lambda: counted.runs() == 1, 20, "running turn")
    left = counted.judge("abort_whole", model="slow", content="count me", session="s", key="k1", after_ms=500)
    assert left["thrown"] == "APIUserAbortError"
    wait_until(lambda: counted.runs() == 2, 15, "second turn, though nobody waits for it")
    first.communicate(timeout=60)
    assert counted.ask(model="slow", session="s", key="k1")["content"].strip() == "answer 2" and counted.runs() == 2
