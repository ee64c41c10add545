"""`gateway upgrade` without a service manager: the process becomes another program, and nobody who talks to it notices (L9)."""

import contextlib
import http.client
import itertools
import json
import os
import socket
import sqlite3
import threading
import time
from collections import Counter

import pytest

from support.clients import Clients
from support.programs import BROKEN, HANGS, broken, new_version, write_program
from support.talaria import Gateway, binary, free_port, wait_until
from support.torture import report, rounds

KEY = "upgrade-key"
CONFIG = """
[gateway]
drain_timeout = "{drain}"
[api]
listen = "127.0.0.1:{port}"
keys = ["env:KEY"]
[agent.default]
kind = "echo"
[agent.count]
kind = "command"
command = ["/bin/sh", "-c", "read line; echo \\"$line\\" >>{home}/counted; echo \\"$line\\""]
[agent.drip]
kind = "command"
command = ["/bin/sh", "-c", "for i in 1 2 3 4 5 6; do printf 'piece%s ' $i; sleep 0.05; done; echo end"]
[agent.env]
kind = "command"
command = ["/usr/bin/env"]
[agent.hold]
kind = "command"
command = ["/bin/sh", "-c", "echo $$ >>{home}/begun; printf 'before '; cat {home}/release; cat; echo ' released'"]
"""
DRIPPED = "piece1 piece2 piece3 piece4 piece5 piece6 end"


@pytest.fixture
def gateway(tmp_path):
    """A running one, whose program is a copy of the binary at tmp_path/talaria."""
    port = free_port()
    program = write_program(tmp_path / "talaria", binary().read_bytes())
    with Gateway(tmp_path / "home", CONFIG.format(port=port, home=tmp_path / "home", drain="10s"), f"127.0.0.1:{port}",
                 {"KEY": KEY}, program=program) as g:
        yield g.start().wait_ready()


def upgrade(g, *arguments, timeout=120):
    return g.run("gateway", "upgrade", *arguments, check=False, timeout=timeout)


def runs(g, count=20):
    return json.loads(g.run("gateway", "history", "--json", "-n", str(count)).stdout)["runs"]


def post(connection, agent, text, stream=False, key=None, close=False):
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    if key:
        headers["Idempotency-Key"] = key
    if close:
        headers["Connection"] = "close"
    connection.request("POST", "/v1/chat/completions",
                       json.dumps({"model": agent, "stream": stream, "messages": [{"role": "user", "content": text}]}), headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def content_of(told):
    return json.loads(told)["choices"][0]["message"]["content"]


def streamed_content(told):
    """The text of a stream that came to its proper end."""
    events = [line[6:] for line in told.splitlines() if line.startswith("data: ")]
    assert events and events[-1] == "[DONE]", told[-300:]
    pieces = [json.loads(event)["choices"] for event in events[:-1]]
    return "".join(choices[0]["delta"].get("content") or "" for choices in pieces if choices)


def connect(g):
    return http.client.HTTPConnection(g.api, timeout=60)


def locked_by_other(g):
    """Nobody else gets the home: a second gateway is turned away."""
    return g.run("gateway", "run", check=False).returncode == 73


# ---- one upgrade --------------------------------------------------------------------------------------------------------------------


def test_the_process_becomes_the_new_version(gateway):
    pid = gateway.process.pid
    old = gateway.status()["version"]
    version = new_version(gateway.program, 71)
    done = upgrade(gateway)
    assert (done.returncode, done.stdout) == (0, f"upgraded from {old} to {version}\n"), done.stderr
    status = gateway.status()
    assert (status["pid"], status["version"], status["state"]) == (pid, version, "running")
    assert gateway.running()
    assert locked_by_other(gateway)
    now, before = runs(gateway)[:2]
    assert (now["version"], now["verdict"]) == (version, None)
    assert (before["version"], before["verdict"]) == (old, "upgrade")
    assert before["evidence"]["to"] == version and f"{old} to {version}" in before["cause"]
    assert gateway.run("gateway", "stop").returncode == 0
    assert runs(gateway)[0]["verdict"] == "planned"


def test_another_path_for_once(gateway, tmp_path):
    version = new_version(tmp_path / "elsewhere", 72)
    assert upgrade(gateway, "--binary", str(tmp_path / "elsewhere")).returncode == 0
    assert gateway.status()["version"] == version
    assert os.readlink(f"/proc/{gateway.process.pid}/exe") == str(tmp_path / "elsewhere")


def test_nothing_of_the_handover_is_left(gateway):
    """Not one descriptor more than before, and no variable that a child could see."""
    def descriptors():
        return len(os.listdir(f"/proc/{gateway.process.pid}/fd"))
    def settled():
        """The fewest of a while: connections that have just been closed are not what is counted."""
        return min(descriptors() for _ in range(20) if time.sleep(0.02) is None)
    before = settled()
    for number in range(3):
        new_version(gateway.program, 60 + number)
        assert upgrade(gateway).returncode == 0
    assert settled() <= before
    assert "TALARIA_HANDOVER" not in content_of(post(connect(gateway), "env", "x")[1])


def test_a_kept_connection_goes_on(gateway):
    kept, fresh = connect(gateway), socket.create_connection(tuple(gateway.api.split(":")))
    assert content_of(post(kept, "default", "one")[1]) == "one"
    same = kept.sock
    new_version(gateway.program, 73)
    assert upgrade(gateway).returncode == 0
    assert content_of(post(kept, "default", "two")[1]) == "two"
    assert kept.sock is same
    late = connect(gateway)
    late.sock = fresh  # made before, used after
    assert content_of(post(late, "default", "three")[1]) == "three"


def test_a_streaming_answer_is_finished_first(gateway):
    answers = []

    def stream():
        answers.append(post(connect(gateway), "drip", "x", stream=True))
    thread = threading.Thread(target=stream)
    thread.start()
    wait_until(lambda: gateway.status()["queues"]["turns"] > 0, 10, "the answer streams")
    new_version(gateway.program, 74)
    assert upgrade(gateway).returncode == 0
    thread.join(20)
    assert answers[0][0] == 200 and streamed_content(answers[0][1]) == DRIPPED


def test_an_answer_beyond_the_drain_is_found_under_its_key(gateway):
    """It is cut off as in a restart, run again by the new version, and the client that asks again gets it."""
    gateway.config.write_text(gateway.config.read_text().replace('"10s"', '"300ms"'))
    assert upgrade(gateway).returncode == 0  # the same program with the new drain
    os.mkfifo(gateway.home / "release")
    told = []
    thread = threading.Thread(target=lambda: told.append(post(connect(gateway), "hold", "x", False, "key-1")))
    thread.start()
    wait_until((gateway.home / "begun").exists, 10, "the agent runs")
    new_version(gateway.program, 75)
    assert upgrade(gateway).returncode == 0
    thread.join(20)
    assert told[0][0] == 503 and "same key" in told[0][1]
    again = []
    second = threading.Thread(target=lambda: again.append(post(connect(gateway), "hold", "x", False, "key-1")))
    second.start()
    with open(gateway.home / "release", "w", encoding="utf-8") as release:
        release.write("at last ")
    second.join(20)
    assert again and again[0][0] == 200 and "released" in content_of(again[0][1])


def test_a_command_goes_on_in_the_new_version(gateway):
    """Its process, its pipes and what it has written so far: the turn is neither cut off nor run again, however often it changes."""
    gateway.config.write_text(gateway.config.read_text().replace('"10s"', '"300ms"'))
    assert upgrade(gateway).returncode == 0
    os.mkfifo(gateway.home / "release")

    def ask(into):
        into.append(post(connect(gateway), "hold", "the prompt", False, "key-2"))
    told = []
    first = threading.Thread(target=ask, args=(told,))
    first.start()
    wait_until((gateway.home / "begun").exists, 10, "the agent runs")
    child = int((gateway.home / "begun").read_text())
    for number in range(5):  # more than the attempts that a turn has
        new_version(gateway.program, 90 + number)
        assert upgrade(gateway).returncode == 0
        assert os.stat(f"/proc/{child}")
    first.join(20)
    assert told[0][0] == 503
    answers = []
    second = threading.Thread(target=ask, args=(answers,))
    second.start()
    with open(gateway.home / "release", "w", encoding="utf-8") as release:
        release.write("between ")
    second.join(20)
    assert answers[0][0] == 200 and content_of(answers[0][1]) == "before between the prompt released"
    assert (gateway.home / "begun").read_text().split() == [str(child)]
    wait_until(lambda: not os.path.exists(f"/proc/{child}"), 5, "it is reaped")


def test_a_command_that_was_handed_over_ends_with_a_stop(gateway):
    gateway.config.write_text(gateway.config.read_text().replace('"10s"', '"300ms"'))
    assert upgrade(gateway).returncode == 0
    os.mkfifo(gateway.home / "release")
    threading.Thread(target=lambda: post(connect(gateway), "hold", "x", False, "key-3"), daemon=True).start()
    wait_until((gateway.home / "begun").exists, 10, "the agent runs")
    child = int((gateway.home / "begun").read_text())
    assert upgrade(gateway).returncode == 0
    assert os.path.exists(f"/proc/{child}")
    assert gateway.run("gateway", "stop").returncode == 0
    assert not os.path.exists(f"/proc/{child}")


def begin_held_turn(gateway, key, agent="hold"):
    """A turn whose command waits for somebody to release it. Returns the command's PID."""
    os.mkfifo(gateway.home / "release")
    threading.Thread(target=lambda: post(connect(gateway), agent, "x", False, key), daemon=True).start()
    wait_until((gateway.home / "begun").exists, 10, "the agent runs")
    return int((gateway.home / "begun").read_text())


def test_a_command_whose_agent_is_another_one_by_now_is_ended(gateway):
    """Nobody can go on with it, so it must not run on for nobody."""
    gateway.config.write_text(gateway.config.read_text().replace('"10s"', '"300ms"'))
    assert upgrade(gateway).returncode == 0
    child = begin_held_turn(gateway, "key-4")
    before, _, after = gateway.config.read_text().partition("[agent.hold]")
    gateway.config.write_text(before + '[agent.hold]\nkind = "echo"\n')
    assert upgrade(gateway).returncode == 0
    wait_until(lambda: not os.path.exists(f"/proc/{child}"), 10, "it is ended and reaped")
    assert content_of(post(connect(gateway), "hold", "x", False, "key-4")[1]) == "x"  # the turn is the new agent's


def test_a_configuration_that_breaks_on_the_way_leaves_nothing_behind(gateway):
    """It was right when the restart was asked for, and is wrong when the next program reads it."""
    good = gateway.config.read_text()
    gateway.config.write_text(good.replace('"10s"', '"2s"'))
    assert upgrade(gateway).returncode == 0
    child = begin_held_turn(gateway, "key-5")
    restarting = threading.Thread(target=lambda: gateway.run("gateway", "restart", check=False), daemon=True)
    restarting.start()
    wait_until(lambda: (gateway.try_status() or {}).get("state") == "draining", 10, "the drain")
    gateway.config.write_text("drain_timeuot = 1\n" + good)
    assert gateway.process.wait(20) == 78
    assert "drain_timeuot" in gateway.output()
    assert not os.path.exists(f"/proc/{child}")
    gateway.config.write_text(good)
    gateway.start().wait_ready()
    last = runs(gateway)[1]
    assert (last["verdict"], last["exit_code"]) == ("config", 78) and "drain_timeuot" in last["cause"]


def test_a_restart_by_hand_keeps_connections_too(gateway):
    with Clients(lambda: socket.create_connection(tuple(gateway.api.split(":")), timeout=30), 100, KEY, threads=8) as clients:
        for _ in range(3):
            assert gateway.run("gateway", "restart").returncode == 0
    assert clients.answered and not (clients.refused + clients.cut + clients.unavailable + clients.wrong)
    assert [run["verdict"] for run in runs(gateway)][:4] == [None, "restart", "restart", "restart"]


# ---- refusals -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_program_is_refused_and_the_old_one_serves(gateway, kind):
    since = gateway.status()["since"]
    words = broken(gateway.program, kind)
    done = upgrade(gateway)
    assert done.returncode == 1 and not done.stdout
    assert "not upgraded" in done.stderr and words in done.stderr, done.stderr
    status = gateway.status()
    assert (status["since"], status["state"]) == (since, "running")
    assert content_of(post(connect(gateway), "default", "still here")[1]) == "still here"


def test_a_program_that_hangs_is_refused_within_its_deadline(gateway):
    write_program(gateway.program, HANGS)
    began = time.monotonic()
    done = upgrade(gateway)
    assert done.returncode == 1 and "time" in done.stderr
    assert time.monotonic() - began < 20
    assert gateway.status()["state"] == "running"


def test_no_program_at_all(gateway, tmp_path):
    for path in (tmp_path / "missing", tmp_path):
        assert upgrade(gateway, "--binary", str(path)).returncode == 1
    gateway.program.unlink()
    assert upgrade(gateway).returncode == 1
    assert gateway.status()["state"] == "running"


def test_a_wrong_configuration_is_found_before_anything_is_touched(gateway):
    new_version(gateway.program, 76)
    gateway.config.write_text(gateway.config.read_text().replace("drain_timeout", "drain_timeuot"))
    done = upgrade(gateway)
    assert done.returncode == 78 and "drain_timeout" in done.stderr and "config.toml:3" in done.stderr
    assert gateway.status()["state"] == "running"


def test_a_store_of_a_newer_program_is_not_taken(tmp_path):
    """The self-check itself, on a store from the future."""
    g = Gateway(tmp_path, CONFIG.format(port=free_port(), home=tmp_path, drain="1s"), env={"KEY": KEY})
    (tmp_path / "state").mkdir()
    with sqlite3.connect(tmp_path / "state" / "talaria.db") as db:
        db.execute("PRAGMA application_id=1413565505")
        db.execute("PRAGMA user_version=99")
    done = g.run("gateway", "self-check", "--handover", "1", check=False)
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"], told["why"]) == (1, 0, "store") and "99" in told["reason"]
    told = json.loads(g.run("gateway", "self-check", "--handover", "2", check=False).stdout)
    assert told["why"] == "handover"


def test_a_program_that_goes_after_its_check_leaves_the_old_one(gateway, tmp_path):
    """execve fails at the very last moment: the old version is executed again and says why."""
    new_version(tmp_path / "real", 77)
    write_program(gateway.program, f'#!/bin/sh\nrm -- "$0"\nexec {tmp_path}/real "$@"\n')
    old = gateway.status()
    done = upgrade(gateway)
    assert done.returncode == 1 and "failed" in done.stderr and old["version"] in done.stderr, done.stderr
    status = gateway.status()
    assert (status["version"], status["pid"], status["state"]) == (old["version"], old["pid"], "running")
    assert status["warnings"]
    assert content_of(post(connect(gateway), "default", "still here")[1]) == "still here"


def test_a_stop_during_an_upgrade_wins(gateway):
    os.mkfifo(gateway.home / "release")

    def cut_off():
        with contextlib.suppress(OSError, http.client.HTTPException):
            assert post(connect(gateway), "hold", "x")[0] == 503
    turn = threading.Thread(target=cut_off)
    turn.start()
    wait_until((gateway.home / "begun").exists, 10, "the agent runs")
    new_version(gateway.program, 78)
    waiting = threading.Thread(target=upgrade, args=(gateway,))
    waiting.start()
    wait_until(lambda: gateway.status()["state"] == "draining", 10, "it drains")
    assert gateway.run("gateway", "stop").returncode == 0
    assert gateway.process.wait(10) == 0
    turn.join(20)
    waiting.join(60)
    assert runs(gateway)[0]["verdict"] == "planned"


# ---- L9 -----------------------------------------------------------------------------------------------------------------------------


class Load:
    """Numbered requests of every kind, without a pause: on kept connections, streamed, and with side effects that are counted."""

    def __init__(self, g):
        self.g = g
        self.numbers = itertools.count()
        self.asked, self.problems, self.counts = [], [], Counter()
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(work,), daemon=True)
                        for work in (self._kept, self._kept, self._stream, self._stream, self._stream, self._count)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join(60)

    def _run(self, work):
        connection = connect(self.g)
        while not self.stop.is_set():
            try:
                work(connection)
                self.counts[work.__name__] += 1
            except (OSError, http.client.HTTPException, AssertionError, ValueError, KeyError) as error:
                self.problems.append(f"{work.__name__}: {error!r}")
                connection = connect(self.g)
            self.stop.wait(0.02)

    def _kept(self, connection):
        text = f"n{next(self.numbers)}"
        code, told = post(connection, "default", text)
        assert code == 200 and content_of(told) == text, told

    def _stream(self, connection):
        code, told = post(connection, "drip", "x", stream=True)
        assert code == 200 and streamed_content(told) == DRIPPED, told

    def _count(self, connection):
        text = f"c{next(self.numbers)}"
        self.asked.append(text)
        code, told = post(connection, "count", text, key=text)
        assert code == 200 and content_of(told) == text, told


@pytest.mark.torture
def test_many_upgrades_under_load(gateway):
    pid, times = gateway.process.pid, rounds(12, 500)
    kinds = itertools.cycle(BROKEN)
    done = Counter()

    def new_connection():
        return socket.create_connection(tuple(gateway.api.split(":")), timeout=60)
    with Load(gateway) as load, Clients(new_connection, 100, KEY, threads=16) as clients:
        for number in range(times):
            if number % 4 == 3:
                broken(gateway.program, next(kinds))
                ran = upgrade(gateway)
                assert ran.returncode == 1, ran
                done["refused"] += 1
            else:
                version = new_version(gateway.program, number % 99 + 1)
                ran = upgrade(gateway)
                assert ran.returncode == 0 and ran.stdout.endswith(f"to {version}\n"), ran
                assert gateway.status()["version"] == version
                done["upgraded"] += 1
        status = gateway.status()
    report("L9 bare", attempts=times, same_pid=status["pid"] == pid, problems=len(load.problems), **load.counts, **clients.figures())
    assert status["pid"] == pid and gateway.running()
    assert load.problems == []
    assert all(load.counts[kind] for kind in ("_kept", "_stream", "_count"))
    assert not (clients.refused + clients.cut + clients.unavailable + clients.wrong)
    counted = (gateway.home / "counted").read_text().split()
    assert Counter(counted) == Counter(load.asked), "each was run exactly once"
    assert [run["verdict"] for run in runs(gateway, done["upgraded"] + 1)] == [None] + ["upgrade"] * done["upgraded"]
