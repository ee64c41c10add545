"""Channels in any language: the two examples, and what becomes of messages when the program, or the gateway, dies."""

import collections
import json
import os
import pathlib
import signal
import socket
import sqlite3
import subprocess
import sys
import time

import pytest

from support.talaria import REPO, Gateway, free_port, node, wait_until

EXAMPLES = REPO / "examples" / "channels"
PYTHON = "/usr/bin/python3"

CONFIG = """
[agent.default]
kind = "echo"

[channel.lines]
kind = "program"
command = {command}
allow = {allow}
environment = {{ CHAT_TOKEN = "env:THE_TOKEN" }}
"""


class Person:
    """Somebody on the chat of the examples: a name, then lines."""

    def __init__(self, address, name):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET

        def connect():
            s = socket.socket(family)
            try:
                s.connect(address)
                return s
            except OSError:
                s.close()
                return None
        self.socket = wait_until(connect, 20, f"chat at {address}")
        self.socket.settimeout(20)
        self.lines = self.socket.makefile("r", encoding="utf-8", errors="replace")
        self.say(name)

    def say(self, text):
        self.socket.sendall(f"{text}\n".encode())

    def hear(self):
        return self.lines.readline().rstrip("\n")

    def close(self):
        self.socket.close()


def gateway(tmp_path, command, allow='["*"]', env=None) -> Gateway:
    return Gateway(tmp_path / "home", CONFIG.format(command=json.dumps([str(word) for word in command]), allow=allow),
                   env={"THE_TOKEN": "t0ken", **(env or {})})


def examples():
    port = free_port()
    path = f"/tmp/talaria-chat-{os.getpid()}.sock"
    return [pytest.param([PYTHON, EXAMPLES / "chat.py", f"127.0.0.1:{port}"], ("127.0.0.1", port), id="python"),
            pytest.param([node(), EXAMPLES / "chat.mjs", path], path, id="javascript")]


@pytest.mark.parametrize("command, address", examples())
def test_an_example_is_talked_through(tmp_path, command, address):
    with gateway(tmp_path, command) as g:
        g.start().wait_ready().wait_channel_up("lines")
        ann, bob = Person(address, "ann"), Person(address, "bob")
        for n in range(3):
            ann.say(f"from ann {n}")
            bob.say(f"from bob {n}")
        heard = {"ann": [ann.hear() for _ in range(6)], "bob": [bob.hear() for _ in range(6)]}
        for name, lines in heard.items():
            assert collections.Counter(lines) == {"* ok": 3, **{f"bot: from {name} {n}": 1 for n in range(3)}}
            assert [line for line in lines if line != "* ok"] == [f"bot: from {name} {n}" for n in range(3)], "in order"
        g.run("send", "--to", "lines:ann", "by hand")
        assert ann.hear() == "bot: by hand"
        assert g.channel("lines")["kind"] == "program"
        g.stop()


@pytest.mark.parametrize("command, address", examples())
def test_an_example_keeps_to_the_protocol(command, address):
    talker = ("import socket, time, sys; a = eval(sys.argv[1]); s = socket.socket(socket.AF_UNIX if isinstance(a, str) else socket.AF_INET);"
              " s.connect(a); s.sendall(b'ann\\nhello\\n'); time.sleep(60)")
    talk = f"sleep 0.5; exec {sys.executable} -c \"{talker}\" \"{address!r}\""
    done = subprocess.run([PYTHON, EXAMPLES / "conformance.py", "--talk", talk, "--conversation", "ann", "--", *command],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok    ") == 8 and "FAIL" not in done.stdout


def broken(tmp_path, body) -> list:
    program = tmp_path / "program.py"
    program.write_text("import json, sys, time, os\nsay = lambda **line: print(json.dumps(line), flush=True)\n" + body)
    return [PYTHON, program]


ANSWERS = "say(type='hello', protocol=1)\nfor raw in sys.stdin:\n  line = json.loads(raw)\n"


@pytest.mark.parametrize("only, body, told", [
    ("hello", "print('hello, world', flush=True)\ntime.sleep(60)", "standard output is for the protocol alone"),
    ("hello", "sys.exit(3)", "it ended (exit 3)"),
    ("hello", "say(type='hello', protocol=2)\ntime.sleep(60)", "not 1"),
    ("pings", ANSWERS + "  pass", "no alive within"),
    ("delivery", ANSWERS + "  if line['type'] == 'deliver': say(type='receipt', outbox_id=1)", "accounts for outbox_id 1"),
    ("know", ANSWERS + "  {'ping': lambda: say(type='alive'), 'welcome': lambda: 0}[line['type']]()", "FAIL  bears with"),
    ("told to", ANSWERS + "  pass\ntime.sleep(60)", "still runs 5 s after stop"),
])
def test_the_conformance_test_does_test(tmp_path, only, body, told):
    done = subprocess.run([PYTHON, EXAMPLES / "conformance.py", "--only", only, "--", *broken(tmp_path, body)],
                          capture_output=True, text=True, timeout=100)
    assert done.returncode == 1 and told in done.stdout, done.stdout


def test_a_stranger_is_refused_and_the_token_is_the_programs_alone(tmp_path):
    port = free_port()
    command = [PYTHON, EXAMPLES / "chat.py", f"127.0.0.1:{port}"]
    with gateway(tmp_path, command, allow='["id:ann"]') as g:
        g.start().wait_ready().wait_channel_up("lines")
        eve = Person(("127.0.0.1", port), "eve")
        eve.say("let me in")
        assert eve.hear().startswith("* no:")
        children = subprocess.run(["pgrep", "-P", str(g.process.pid)], capture_output=True, text=True).stdout.split()
        environment = pathlib.Path(f"/proc/{children[0]}/environ").read_bytes().split(b"\0")
        assert b"CHAT_TOKEN=t0ken" in environment and not any(entry.startswith(b"THE_TOKEN=") for entry in environment)
        assert b"t0ken" not in pathlib.Path(f"/proc/{children[0]}/cmdline").read_bytes()
        assert "t0ken" not in g.output() + json.dumps(g.status())


RECORDER = """
log = open({log!r}, "a", buffering=1)
say(type="hello", protocol=1)
for raw in sys.stdin:
    line = json.loads(raw)
    if line["type"] == "ping": say(type="alive")
    if line["type"] != "deliver": continue
    log.write(json.dumps(line) + "\\n")
    if not os.path.exists({go!r}):
        os.kill(os.getpid(), 9)
    say(type="receipt", outbox_id=line["outbox_id"], platform_id="p")
"""


def recorder(tmp_path):
    log, go = tmp_path / "delivered", tmp_path / "go"
    return broken(tmp_path, RECORDER.format(log=str(log), go=str(go))), log, go


def delivered(log):
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def test_killed_with_a_delivery_in_hand_it_is_repeated_with_a_mark(tmp_path):
    command, log, go = recorder(tmp_path)
    with gateway(tmp_path, command) as g:
        g.start().wait_ready().wait_channel_up("lines")
        g.run("send", "--queue", "--to", "lines:ann", "once")
        wait_until(lambda: delivered(log), 10, "first attempt")
        go.touch()
        wait_until(lambda: len(delivered(log)) == 2, 20, "second attempt")
        assert [line["may_be_repeat"] for line in delivered(log)] == [False, True]
        assert len({line["outbox_id"] for line in delivered(log)}) == 1
        wait_until(lambda: g.status()["queues"]["outbox"] == 0, 10, "receipt")
        g.run("send", "--to", "lines:ann", "next")
        assert delivered(log)[-1]["may_be_repeat"] is False


PATIENT = """
import signal
log = open({log!r}, "a", buffering=1)
signal.signal(signal.SIGTERM, lambda *_: log.write("TERM\\n"))
say(type="hello", protocol=1)
for raw in sys.stdin:
    line = json.loads(raw)
    if line["type"] == "ping": say(type="alive")
    if line["type"] in ("deliver", "stop"): log.write(line["type"] + "\\n")
    if line["type"] != "deliver": continue
    while not os.path.exists({go!r}): time.sleep(0.01)
    say(type="receipt", outbox_id=line["outbox_id"], platform_id="p")
log.write("end\\n")
"""


def test_a_stop_lets_it_account_for_what_it_was_handed_and_tells_it_to_stop(tmp_path):
    log, go = tmp_path / "heard", tmp_path / "go"
    with gateway(tmp_path, broken(tmp_path, PATIENT.format(log=str(log), go=str(go)))) as g:
        g.start().wait_ready().wait_channel_up("lines")
        g.run("send", "--queue", "--to", "lines:ann", "once")
        wait_until(lambda: log.exists() and log.read_text(), 10, "a delivery")
        g.process.send_signal(signal.SIGTERM)
        wait_until(lambda: " ending (" in g.output(), 10, "the stop")
        go.touch()
        g.process.wait(20)
        assert log.read_text().split() == ["deliver", "stop", "end"], "no signal before it was told to stop"
        with sqlite3.connect(g.home / "state" / "talaria.db") as db:
            assert db.execute("SELECT state, attempts FROM outbox").fetchall() == [("sent", 1)]


SPEAKER = """
import threading
held = {{}}
def speak():
    for n in range(200):
        # What is not accepted is said again by the next life, under the same id.
        if os.path.exists(os.path.join({done!r}, str(n))): continue
        say(type="message", id=f"m{{n}}", conversation=f"c{{n % 7}}", sender=dict(id="ann"), text=f"n{{n}}")
        time.sleep(0.005)
say(type="hello", protocol=1, recognises_repeats=True)
threading.Thread(target=speak, daemon=True).start()
for raw in sys.stdin:
    line = json.loads(raw)
    if line["type"] == "ping": say(type="alive")
    if line["type"] == "accepted": open(os.path.join({done!r}, line["id"][1:]), "w").close()
    if line["type"] == "deliver":
        with open({log!r}, "a") as log: log.write(json.dumps(line) + "\\n")
        say(type="receipt", outbox_id=line["outbox_id"])
"""


def test_the_gateway_is_killed_and_nothing_is_lost_or_answered_twice(tmp_path):
    done, log = tmp_path / "done", tmp_path / "answers"
    done.mkdir()
    with gateway(tmp_path, broken(tmp_path, SPEAKER.format(done=str(done), log=str(log)))) as g:
        g.start().wait_ready()
        for _ in range(3):
            wait_until(lambda before=len(list(done.iterdir())): len(list(done.iterdir())) >= min(200, before + 25), 30, "accepted messages")
            g.kill9()
            g.start().wait_ready()
        wait_until(lambda: len(list(done.iterdir())) == 200, 60, "all accepted")
        wait_until(lambda: len({line["text"] for line in delivered(log)}) == 200, 60, "all answered")
        by_row = {line["outbox_id"]: line["text"] for line in delivered(log)}
        assert collections.Counter(by_row.values()) == {f"n{n}": 1 for n in range(200)}, "one row answers each"


HOSTILE = {
    "garbage": "while True: print('x' * 1000, flush=True)",
    "floods": "say(type='hello', protocol=1)\nwhile True: say(type='alive')",
    "floods with messages": "say(type='hello', protocol=1)\nn = 0\nwhile True:\n  n += 1\n  say(type='message', id='same', conversation='c',"
                            " sender=dict(id='eve'), text='x' * 100000)",
    "an endless line": "while True: sys.stdout.write('x' * 65536)",
    "never reads": "say(type='hello', protocol=1)\nwhile True: say(type='nonsense')",
    "fills the log": "say(type='hello', protocol=1)\nwhile True:\n  say(type='log', text='y' * 5000)\n  sys.stderr.write('z' * 5000 + '\\n')",
    "forks and stays": "import subprocess, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
                       "subprocess.Popen(['/bin/sh', '-c', 'trap \"\" TERM; sleep 1000 # STAYS'])\nsay(type='hello', protocol=1)\ntime.sleep(1000)",
    "dies": "sys.exit(1)",
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_program_does_not_hurt(tmp_path, how):
    program = broken(tmp_path, HOSTILE[how])
    port = free_port()
    config = CONFIG.format(command=json.dumps([str(word) for word in program]), allow='["id:ann"]') + f"""
[channel.good]
kind = "program"
command = {json.dumps([PYTHON, str(EXAMPLES / "chat.py"), f"127.0.0.1:{port}"])}
allow = ["*"]
"""
    with Gateway(tmp_path / "home", config, env={"THE_TOKEN": "t"}) as g:
        g.start().wait_ready().wait_channel_up("good")
        ann = Person(("127.0.0.1", port), "ann")
        slowest, end = 0.0, time.monotonic() + 4
        while time.monotonic() < end:
            began = time.monotonic()
            ann.say("still there?")
            assert sorted([ann.hear(), ann.hear()]) == ["* ok", "bot: still there?"]
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.05)
        status = pathlib.Path(f"/proc/{g.process.pid}/status").read_text()
        resident = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
        print(f"{how}: slowest answer {slowest * 1000:.0f} ms, resident {resident} KiB, log {len(g.output())} bytes")
        assert slowest < 2 and resident < 200_000 and len(g.output()) < 200_000
        g.stop(20)
        # Nobody is left.
        left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True).stdout.split()
        assert [pid for pid in left if int(pid) != os.getpid()] == []
        assert subprocess.run(["pgrep", "-f", "sleep 1000 # STAYS"], capture_output=True).returncode == 1
