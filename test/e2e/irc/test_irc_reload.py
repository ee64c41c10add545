"""IRC channels that come, stay, change and go while the gateway runs; /restart in a chat; one account, one connection."""

import json
import os
import random
import re
import signal
import sqlite3
import time

import pytest

from irc_support import Human, IrcServer
from support.talaria import Gateway, wait_until
from support.torture import report, rounds

GOODBYE, HELLO = "I am restarting, one moment.", "I am back."
REPEAT = "(may be a repeat) "


@pytest.fixture
def server(tmp_path, certificates):
    with IrcServer("ngircd", tmp_path / "server", certificates) as running:
        yield running


def channel(server, name, nick=None, room="#lobby", more=""):
    return f"""
[channel.{name}]
kind = "irc"
server = "localhost:{server.plain_port}"
tls = false
nick = "{nick or name}"
join = ["{room}"]
allow = ["nick:human", "nick:other"]
lines_per_second = 20.0
burst = 20
{more}
"""


def config(*channels, agent='kind = "echo"'):
    return f'[gateway]\ndrain_timeout = "5s"\n[agent.default]\n{agent}\n' + "".join(channels)


def gateway(home, *channels, **more) -> Gateway:
    return Gateway(home, config(*channels, **more))


def rows(g, sql):
    with sqlite3.connect(f"file:{g.home}/state/talaria.db?mode=ro", uri=True, timeout=10) as db:
        return db.execute(sql).fetchall()


def test_channels_come_stay_change_and_go(tmp_path, server):
    kept, gone = channel(server, "kept"), channel(server, "gone")
    with Human(server, "human") as human:
        human.join("#lobby")
        with gateway(tmp_path / "gateway", kept, gone, channel(server, "changed")).start() as g:
            missing = {"kept", "gone", "changed"}
            while missing:
                missing.discard(human.expect(event="joins")["nick"])
            human.history.clear()
            g.config.write_text(config(kept, channel(server, "changed", nick="renewed"), channel(server, "added")))
            done = g.run("gateway", "reload")
            for line in ("channel.gone (gone)", "channel.added (new)", "channel.changed.nick"):
                assert f"changed: {line}" in done.stdout, done.stdout
            missing = {"renewed", "added"}
            while missing:
                missing.discard(human.expect(event="joins")["nick"])
            for name in ("kept", "renewed", "added"):
                human.say("#lobby", f"{name}: hello")
                assert human.expect(event="message", text="human: hello")["from"] == name
            left = {e["nick"] for e in human.history if e["event"] == "quits"}
            assert left == {"gone", "changed"}, human.history
            assert [c["name"] for c in g.status()["channels"]] == ["added", "changed", "kept"]


def test_replies_of_a_channel_that_is_gone_stay_and_are_shown(tmp_path, server):
    net = channel(server, "net", nick="talaria")
    server.kill()
    with gateway(tmp_path / "gateway", net).start().wait_ready() as g:
        g.run("send", "--queue", "--to", "net:human", "keep me")
        g.config.write_text(config())
        g.run("gateway", "reload")
        assert '1 replies wait for channel "net"' in wait_until(lambda: g.status()["warnings"], 10, "a warning")[0]
        assert json.loads(g.run("outbox", "list", "--json").stdout)["outbox"][0]["text"] == "keep me"
        server.start()
        with Human(server, "human") as human:
            g.config.write_text(config(net))
            g.run("gateway", "reload")
            human.expect(event="message", text="keep me")
        assert g.status()["warnings"] == []


@pytest.mark.parametrize("target", ["talaria", "#lobby"])
def test_restart_is_said_before_and_after(tmp_path, server, target):
    admin = channel(server, "net", nick="talaria", more='admins = ["nick:human"]')
    with gateway(tmp_path / "gateway", admin).start() as g, Human(server, "human") as human:
        g.wait_channel_up("net")
        human.join("#lobby")
        human.do("raw", line="NAMES #lobby")
        before = g.status()
        address, prefix = ("", "") if target == "talaria" else ("talaria: ", "human: ")
        where = "human" if target == "talaria" else target
        human.say(target, address + "/restart")
        assert human.expect(event="message", target=where)["text"] == prefix + GOODBYE
        assert human.expect(event="message", target=where, timeout=40)["text"] == prefix + HELLO
        after = g.status()
        assert after["since"] != before["since"] and after["last_end"]["verdict"] == "restart"
        assert "nick:human" in after["last_end"]["cause"]
        human.say(target, address + "hello")
        assert human.expect(event="message", target=where)["text"] == prefix + "hello"
        assert human.messages(quiet=0.5) == []


def test_restart_is_for_administrators_and_right_configurations(tmp_path, server):
    admin = channel(server, "net", nick="talaria", more='admins = ["nick:human"]')
    with gateway(tmp_path / "gateway", admin).start() as g, Human(server, "human") as human, Human(server, "other") as other:
        g.wait_channel_up("net")
        before = g.status()["since"]
        other.say("talaria", "/restart")
        assert other.expect(event="message")["text"] == "Sorry, /restart is for administrators."
        g.config.write_text("[gateway]\nnonsense = 1\n")
        human.say("talaria", "/restart")
        assert "I keep running" in human.expect(event="message")["text"]
        assert g.status()["since"] == before


@pytest.mark.torture
def test_killed_at_any_time_after_a_restart_was_asked_for(tmp_path, server):
    """Exactly one goodbye and one hello reach the chat, or the second copy carries the mark, whenever the process is killed."""
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    admin = channel(server, "net", nick="talaria", more='admins = ["nick:human"]')
    number = rounds(2, 300)
    with gateway(tmp_path / "gateway", admin).start() as g, Human(server, "human") as human:
        g.wait_channel_up("net")
        human.join("#lobby")
        human.do("raw", line="NAMES #lobby")
        human.say("talaria", "warm up")  # servers slow newcomers down
        human.expect(event="message", text="warm up")
        for _ in range(number):
            human.say("talaria", "/restart")
            time.sleep(chance.uniform(0, 0.4))
            g.kill9()
            g.start()
            human.sees_arrive("talaria")
        # The server may have handed over the last ones late, so that they restart it once more.
        open_rows = "SELECT (SELECT count(*) FROM outbox WHERE state NOT IN ('sent', 'dead')) + (SELECT count(*) FROM notice)"
        while True:
            wait_until(lambda: rows(g, open_rows) == [(0,)] and g.channel("net").get("state") == "up", 60, "all told", interval=0.1)
            if not human.messages(quiet=1.5):
                break
        asked = rows(g, "SELECT count(*) FROM event WHERE body = '/restart'")[0][0]
        heard = [e["text"] for e in human.history if e["event"] == "message"]
        for text in (GOODBYE, HELLO):
            assert rows(g, f"SELECT count(*) FROM outbox WHERE body = '{text}'") == [(asked,)], f"seed {seed}: {heard}"
            plain, marked = heard.count(text), heard.count(REPEAT + text)
            assert plain <= asked <= plain + marked, f"{text!r}, asked {asked} times (seed {seed}): {heard}"
        assert asked > 0, "nothing reached the journal: the test is too fast"
        report("killed after /restart", kills=number, journalled=asked, marked_repeats=sum(h.startswith(REPEAT) for h in heard), seed=seed)


def test_one_account_is_used_by_one_gateway(tmp_path, server):
    """Two homes, two profiles, one account: the second one says who has it, and takes over within seconds of its end."""
    same = channel(server, "net", nick="talaria")
    with gateway(tmp_path / "first", same).start() as first, gateway(tmp_path / "second", same) as second:
        first.wait_channel_up("net")
        second.start("-p", "work")
        work = lambda: json.loads(second.run("-p", "work", "gateway", "status", "--json", check=False).stdout or "{}")
        entry = wait_until(lambda: next((c for c in work().get("channels", []) if c["error"]), None), 20, "an error")
        assert entry["state"] == "down"
        assert re.search(rf"PID {first.process.pid}, profile default, channel net", entry["error"]), entry
        assert str(first.process.pid) in second.output()
        with Human(server, "human") as human:
            human.say("talaria", "who are you?")
            human.expect(event="message", text="who are you?")
            assert human.messages(quiet=0.3) == []
            assert work()["ready"], "a channel that is down keeps nobody from serving"
            # Frozen, it still has the account, and its PID is known from the kernel.
            first.process.send_signal(signal.SIGSTOP)
            time.sleep(1.5)
            assert str(first.process.pid) in work()["channels"][0]["error"]
            os.kill(first.process.pid, signal.SIGKILL)
            first.process.wait()
            begun = time.monotonic()
            wait_until(lambda: work()["channels"][0]["state"] == "up", 10, "the second one up")
            print(f"taken over after {time.monotonic() - begun:.1f} s")
            human.say("talaria", "and you?")
            human.expect(event="message", text="and you?")
