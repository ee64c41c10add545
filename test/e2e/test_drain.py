"""How a gateway goes without a service manager, where nobody but itself can end what agents left behind (lifecycle.md, 6)."""

import json
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from support import stuck
from support.talaria import Gateway, binary, wait_until
from support.torture import report, rounds

KEY = "test-key"
CONFIG = """
[gateway]
drain_timeout = "{drain}"
[api]
listen = "127.0.0.1:0"
keys = ["env:KEY"]
[agent.default]
kind = "command"
command = ["/bin/sh", "agent.sh"]
"""


def gateway(tmp_path, agent, drain="200ms", more="", **env):
    (tmp_path / "agent.sh").write_text(agent)
    return Gateway(tmp_path, CONFIG.format(drain=drain) + more, env={"KEY": KEY, **env})


def ask(api, text="hello", timeout=60):
    body = json.dumps({"model": "default", "messages": [{"role": "user", "content": text}]}).encode()
    request = urllib.request.Request(f"http://{api}/v1/chat/completions", body,
                                     {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return json.load(answer)["choices"][0]["message"]["content"]


def ask_aside(api):
    """A turn that somebody waits for, whatever becomes of it."""
    def run():
        try:
            ask(api)
        except OSError:
            pass
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def family(g):
    """Every living process that was started by this gateway, itself included: all have its home in their environment."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            if f"TALARIA_HOME={g.home}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
        except OSError:
            pass  # gone, or a zombie
    return found


def zombies_of(pid):
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                state, parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if state == "Z" and int(parent) == pid:
                found.append(int(process.name))
    return found


def last_run(g):
    return json.loads(g.run("gateway", "history", "--json").stdout)["runs"][0]


def stop(g, timeout=30):
    """`gateway stop`; returns the gateway's exit code and how many seconds it took."""
    began = time.monotonic()
    with subprocess.Popen([binary(), "gateway", "stop"], env=g.env, stdout=subprocess.DEVNULL) as stopper:
        code = g.process.wait(timeout)
        seconds = time.monotonic() - began
        stopper.wait(timeout)
    return code, seconds


STUBBORN = """
setsid sh -c "trap '' TERM HUP INT; echo \\$\\$ > escaped; while :; do sleep 600; done" </dev/null >/dev/null 2>&1 &
while [ ! -s escaped ]; do sleep 0.01; done
"""


def test_one_that_fled_into_its_own_session_and_ignores_term_is_ended(tmp_path):
    with gateway(tmp_path, STUBBORN + "cat").start().wait_ready() as g:
        assert ask(g.status()["api"]) == "hello"
        escaped = int((tmp_path / "escaped").read_text())
        assert escaped in family(g), "what a turn leaves in a session of its own lives on"
        code, seconds = stop(g)
        assert code == 0 and seconds < 10
        assert family(g) == []
        run = last_run(g)
        assert run["verdict"] == "planned"
        assert run["evidence"]["left_behind"]["killed"] > 0
        assert f"({escaped})" in g.output(), "it is named"


def test_those_left_behind_are_asked_before_they_are_killed(tmp_path):
    polite = "setsid sh -c \"trap 'echo ended > polite; exit' TERM; echo > there; while :; do sleep 0.01; done\" </dev/null >/dev/null 2>&1 &\nwhile [ ! -e there ]; do sleep 0.01; done\ncat"
    with gateway(tmp_path, polite).start().wait_ready() as g:
        ask(g.status()["api"])
        assert stop(g)[0] == 0
        assert (tmp_path / "polite").read_text() == "ended\n"
        assert last_run(g)["evidence"]["left_behind"]["killed"] == 0
        assert family(g) == []


def test_orphans_are_reaped_while_it_runs(tmp_path):
    orphans = "i=0; while [ $i -lt 20 ]; do setsid sleep 0.0$i </dev/null >/dev/null 2>&1 & i=$((i+1)); done; cat"
    with gateway(tmp_path, orphans).start().wait_ready() as g:
        api = g.status()["api"]
        for _ in range(5):
            assert ask(api) == "hello"
        wait_until(lambda: family(g) == [g.process.pid], what="end of the orphans")
        wait_until(lambda: zombies_of(g.process.pid) == [], timeout=5, what="reaped orphans")
        assert stop(g)[0] == 0


def test_a_stray_kill_leaves_nothing_either(tmp_path):
    with gateway(tmp_path, STUBBORN + "cat").start().wait_ready() as g:
        ask(g.status()["api"])
        assert g.stop() == 1
        assert family(g) == []


def test_a_program_that_goes_on_in_its_place_ends_what_the_one_before_left(tmp_path):
    """A restart without a manager executes the program again, in the same process: it has the same children."""
    with gateway(tmp_path, STUBBORN + "cat").start().wait_ready() as g:
        ask(g.status()["api"])
        before = g.status()["since"]
        g.run("gateway", "restart")
        wait_until(lambda: (s := g.try_status()) and s.get("ready") and s["since"] != before, what="restart")
        assert int((tmp_path / "escaped").read_text()) in family(g)
        assert stop(g)[0] == 0
        assert family(g) == []


@pytest.mark.torture
def test_a_thousand_children_in_sessions_of_their_own(tmp_path):
    number = rounds(200, 1000)
    many = (f"i=0; while [ $i -lt {number} ]; do setsid sh -c \"trap '' TERM; sleep 600; :\" </dev/null >/dev/null 2>&1 & i=$((i+1)); done\n"
            "echo > all; sleep 600")
    with gateway(tmp_path, many).start().wait_ready() as g:
        ask_aside(g.status()["api"])
        wait_until((tmp_path / "all").exists, 120, "children")
        wait_until(lambda: len(family(g)) > number, 60, "children in their sessions")
        code, seconds = stop(g, 60)
        assert code == 0
        assert family(g) == []
        assert seconds < 16  # the drain and what follows it
        report("stop with many children", children=number, seconds=round(seconds, 3))


def test_who_had_just_connected_is_answered(tmp_path):
    request = json.dumps({"model": "default", "messages": [{"role": "user", "content": "hello"}]})
    for attempt in range(10):
        home = tmp_path / str(attempt)
        home.mkdir()
        with gateway(home, "cat").start().wait_ready() as g:
            host, port = g.status()["api"].split(":")
            connected = time.monotonic()
            with socket.create_connection((host, int(port)), timeout=10) as client:
                urllib.request.urlopen(f"http://{host}:{port}/healthz", timeout=10).close()  # so the first one was accepted, too
                g.process.terminate()
                while True:
                    try:
                        socket.create_connection((host, int(port)), timeout=10).close()
                    except (ConnectionRefusedError, ConnectionResetError):
                        break  # it stops
                client.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {KEY}\r\n"
                               f"Content-Type: application/json\r\nContent-Length: {len(request)}\r\n\r\n{request}".encode())
                sent = time.monotonic()
                answer = b"".join(iter(lambda: client.recv(4096), b""))  # pylint: disable=cell-var-from-loop
            assert g.process.wait(20) == 1
        if sent - connected < 0.3:  # half a second after it came it would be too late
            head = answer.decode().split("\r\n\r\n")[0].split("\r\n")
            assert head[0] == "HTTP/1.1 503 Service Unavailable", answer
            assert {"Connection: close"} < set(head) and any(line.startswith("Retry-After: ") for line in head)
            return
    pytest.fail("this machine is too busy: ten times it took more than 0.3 s from a connection to the end of the listener")


@pytest.mark.parametrize("key", [None, "a key"])
def test_a_client_whose_turn_is_cut_off_is_told(tmp_path, key):
    with gateway(tmp_path, "echo > there; exec sleep 600").start().wait_ready() as g:
        told = []

        def call():
            body = json.dumps({"model": "default", "messages": [{"role": "user", "content": "hello"}]}).encode()
            headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
            try:
                with urllib.request.urlopen(urllib.request.Request(f"http://{g.status()['api']}/v1/chat/completions", body, headers), timeout=60) as answer:
                    told.append((answer.status, None))
            except urllib.error.HTTPError as refusal:
                told.append((refusal.code, refusal.headers["Retry-After"]))

        client = threading.Thread(target=call)
        client.start()
        wait_until((tmp_path / "there").exists, what="running agent")
        assert stop(g)[0] == 0
        client.join(10)
        assert told == [(503, "1")]
        assert "internal error" not in g.output(), g.output()
        assert ("the next start runs them again" in g.output()) == bool(key), g.output()
        assert ("cut off for good" in g.output()) == (not key), g.output()


def test_a_second_signal_kills_agents_that_take_their_time(tmp_path):
    with gateway(tmp_path, "trap '' TERM; echo > there; while :; do sleep 600; done", drain="60s").start().wait_ready() as g:
        ask_aside(g.status()["api"])
        wait_until((tmp_path / "there").exists, what="running agent")
        g.process.send_signal(signal.SIGTERM)
        wait_until(lambda: (g.try_status() or {}).get("state") == "draining", what="draining")
        g.process.send_signal(signal.SIGTERM)
        assert g.process.wait(10) == 1
        assert family(g) == []
        assert last_run(g)["verdict"] == "unplanned"


# ---- Threads that are stuck -----------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return stuck.build(tmp_path_factory.mktemp("stuck"))


def preload(tmp_path, library):
    (tmp_path / "stuck").mkdir()
    return {"LD_PRELOAD": str(library), "STUCK": str(tmp_path / "stuck")}


def test_a_disk_that_hangs_does_not_hold_up_the_end(tmp_path, library):
    with gateway(tmp_path, "cat", **preload(tmp_path, library)).start().wait_ready() as g:
        assert ask(g.status()["api"]) == "hello"
        (tmp_path / "stuck" / "disk").touch()
        code, seconds = stop(g)
        assert code == 0
        assert seconds < 17  # 15 s for the closing, 1 s for the guard
        assert "fdatasync" in g.output(), "the dump names where the thread is"
        record = (tmp_path / "state" / "crash.log").read_text()
        assert "type stuck-stop\n" in record and "verdict planned\n" in record and "end talaria-crash\n" in record
        assert '"store"' in record
        (tmp_path / "stuck" / "disk").unlink()
        g.start().wait_ready()
        assert ask(g.status()["api"]) == "hello"


def test_a_store_that_hangs_at_the_start_does_not_hold_up_the_end(tmp_path, library):
    """The start says what takes so long, and hears a stop."""
    with gateway(tmp_path, "cat", **preload(tmp_path, library)).start().wait_ready() as g:
        g.kill9()  # so that there is something to recover
        (tmp_path / "stuck" / "disk").touch()
        g.start()
        wait_until((tmp_path / "stuck" / "disk.reached").exists, what="store that opens")
        status = wait_until(lambda: (s := g.try_status()) and "the store takes its time" in (s.get("detail") or "") and s, what="reason in the status")
        assert status["state"] == "starting" and not status["ready"]
        code, seconds = stop(g)
        assert code == 0 and seconds < 17
        (tmp_path / "stuck" / "disk").unlink()
        g.start().wait_ready()
        _, before, killed = json.loads(g.run("gateway", "history", "--json").stdout)["runs"]
        assert before["verdict"] == "planned" and killed["verdict"] == "crash"


def test_a_name_look_up_that_hangs_does_not_hold_up_the_end(tmp_path, library):
    more = '[channel.chat]\nkind = "irc"\nagent = "default"\nserver = "irc.example.org:6697"\nnick = "rat"\njoin = ["#x"]\n'
    environment = preload(tmp_path, library)
    (tmp_path / "stuck" / "names").touch()
    with gateway(tmp_path, "cat", more=more, **environment).start().wait_ready() as g:
        wait_until((tmp_path / "stuck" / "names.reached").exists, what="look-up")
        code, seconds = stop(g)
        assert code == 0 and seconds < 5
        assert last_run(g)["verdict"] == "planned"
