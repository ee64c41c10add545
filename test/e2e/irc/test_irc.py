"""IRC through real servers (Debian's ngircd and inspircd) with a real client (npm irc-framework) as the human."""

import random
import re
import sqlite3
import time

import pytest

from irc_support import Human, IrcServer, Services, make_certificates
from support.talaria import Gateway, wait_until

REPEAT = "(may be a repeat) "


@pytest.fixture(params=["ngircd", "inspircd"])
def server(request, tmp_path, certificates):
    with IrcServer(request.param, tmp_path / "server", certificates) as running:
        yield running


def gateway(home, server, agent='kind = "echo"', channel="", allow="nick:human", **secrets) -> Gateway:
    return Gateway(home / "gateway", f"""
[api]
listen = "127.0.0.1:0"
keys = ["env:KEY"]
[agent.default]
{agent}
[channel.net]
kind = "irc"
server = "localhost:{server.port}"
tls = true
ca_file = "{server.certificates['ca']}"
nick = "talaria"
join = ["#lobby"]
allow = ["{allow}"]
lines_per_second = 5.0
burst = 10
{channel}
""", env={"KEY": "test-key", **secrets})


def command_agent(shell: str) -> str:
    return f'kind = "command"\ncommand = ["/bin/sh", "-c", {toml(shell)}]'


def toml(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def journal(gateway) -> list[str]:
    """What people said, as far as it reached the journal."""
    with sqlite3.connect(f"file:{gateway.home}/state/talaria.db?mode=ro", uri=True, timeout=10) as db:
        return [row[0] for row in db.execute("SELECT body FROM event ORDER BY id")]


def test_private_conversation(tmp_path, server):
    with gateway(tmp_path, server).start() as g, Human(server, "human") as human:
        g.wait_channel_up("net")
        for text in ("hello", "grüß dich 👩‍👩‍👧", ":) colon first", "last one"):
            human.say("talaria", text)
            answer = human.expect(event="message", type="privmsg")
            assert (answer["from"], answer["target"], answer["text"]) == ("talaria", "human", text)
        entry = g.channel("net")
        assert (entry["kind"], entry["state"]) == ("irc", "up") and entry["last_progress"]


def test_a_channel_message_is_answered_only_when_addressed(tmp_path, server):
    with gateway(tmp_path, server).start() as g, Human(server, "human") as human:
        g.wait_channel_up("net")
        human.join("#lobby")
        human.do("raw", line="NAMES #lobby")
        human.say("#lobby", "just talking about talaria")
        human.say("#lobby", "talaria: one")
        assert human.expect(event="message", target="#lobby")["text"] == "human: one"
        human.say("#lobby", "TALARIA, two")
        assert human.expect(event="message", target="#lobby")["text"] == "human: two"
        human.say("#lobby", "@talaria three")
        assert human.expect(event="message", target="#lobby")["text"] == "human: three"
        assert human.messages(quiet=1) == []


def test_who_is_not_allowed_is_not_answered(tmp_path, server):
    with gateway(tmp_path, server).start() as g, Human(server, "human") as human, Human(server, "stranger") as stranger:
        g.wait_channel_up("net")
        stranger.say("talaria", "let me in")
        stranger.join("#lobby")
        stranger.say("#lobby", "talaria: let me in")
        human.say("talaria", "hello")
        human.expect(event="message", text="hello")
        assert stranger.messages(quiet=1) == []
        assert journal(g) == ["hello"]
        # The operator is told who it was, for a rule of allow. Nothing of what was said.
        told = [line for line in g.output().splitlines() if "no rule of allow fits" in line]
        assert len(told) == 2 and all("net: a message of stranger!" in line and "let me in" not in line for line in told)


def test_ctcp_and_notices_are_not_answered(tmp_path, server):
    with gateway(tmp_path, server).start() as g, Human(server, "human") as human:
        g.wait_channel_up("net")
        human.do("raw", line="PRIVMSG talaria :\x01VERSION\x01")
        human.do("raw", line="NOTICE talaria :a notice")
        human.say("talaria", "hello")
        assert [m["text"] for m in human.messages(quiet=1.5)] == ["hello"]


def test_a_long_answer_comes_whole(tmp_path, server):
    words = ["wort", "語彙", "👩‍👩‍👧", "e\u0301te\u0301", "🇩🇪", "x" * 30]
    choice = random.Random(7).choice
    paragraphs = [" ".join(choice(words) for _ in range(150)) for _ in range(3)] + ["👩‍👩‍👧" * 100]
    answer = tmp_path / "answer.txt"
    answer.write_text("\n\n".join(paragraphs))
    with gateway(tmp_path, server, command_agent(f"cat >/dev/null; cat {answer}")).start() as g, Human(server, "human") as human:
        g.wait_channel_up("net")
        human.say("talaria", "tell me all")
        lines = human.messages(quiet=8)
        assert len(lines) > 12
        assert all(m["bytes"] <= 512 for m in lines)
        assert len({m["from"] for m in lines}) == 1
        # A blank at the end of a line may get lost on the way; nothing else.
        assert re.sub(" ", "", "".join(m["text"] for m in lines)) == re.sub(" ", "", "".join(paragraphs))
        assert not any("\ufffd" in m["text"] for m in lines)


def test_a_taken_nick_is_taken_back(tmp_path, server):
    with Human(server, "talaria") as holder, Human(server, "human") as human:
        with gateway(tmp_path, server).start() as g:
            g.wait_channel_up("net")
            human.join("#lobby")
            human.say("talaria_", "hello")
            assert human.expect(event="message", text="hello")["from"] == "talaria_"
            holder.join("#lobby")  # so that the gateway sees it leave
            holder.do("quit")
            human.expect(event="renames", nick="talaria_", to="talaria", timeout=30)
            human.say("#lobby", "talaria: again")
            assert human.expect(event="message", text="human: again")["from"] == "talaria"


def test_a_kick_is_not_the_end(tmp_path, server):
    with Human(server, "human") as human:
        human.join("#lobby")  # first, so an operator
        with gateway(tmp_path, server).start() as g:
            g.wait_channel_up("net")
            human.expect(event="joins", nick="talaria")
            human.do("raw", line="KICK #lobby talaria :out")
            human.expect(event="joins", nick="talaria", timeout=40)
            human.say("#lobby", "talaria: still there?")
            human.expect(event="message", text="human: still there?")


def test_server_killed_and_back(tmp_path, server):
    with gateway(tmp_path, server, command_agent("sleep 3; cat")).start() as g:
        g.wait_channel_up("net")
        with Human(server, "human") as human:
            human.say("talaria", "answer me later")
            wait_until(lambda: journal(g) == ["answer me later"], 10, "message in the journal")
            server.kill()
            human.expect(event="closed")
        wait_until(lambda: g.channel("net").get("state") == "down", 20, "channel down")
        assert g.channel("net")["error"]
        assert g.try_status()["pid"] == g.process.pid
        time.sleep(3)  # the answer is ready, and nobody there to take it
        server.start()
        with Human(server, "human") as human:
            g.wait_channel_up("net", timeout=60)
            assert human.expect(event="message", timeout=60)["text"] == "answer me later"
            human.say("talaria", "and a new one")
            assert human.expect(event="message", timeout=30)["text"] == "and a new one"
            assert human.messages(quiet=2) == []


def test_gateway_killed_between_message_and_answer(tmp_path, server):
    with gateway(tmp_path, server, command_agent("sleep 2; cat")).start() as g, Human(server, "human") as human:
        g.wait_channel_up("net")
        human.say("talaria", "first")
        human.say("talaria", "second")
        wait_until(lambda: journal(g) == ["first", "second"], 10, "messages in the journal")
        g.kill9()
        g.start().wait_channel_up("net", timeout=60)
        assert [human.expect(event="message", timeout=60)["text"] for _ in range(2)] == ["first", "second"]
        assert human.messages(quiet=4) == []


def test_gateway_killed_at_any_time(tmp_path, server):
    """What reached the journal is answered, at most once without the mark, in order. Every kill in the middle of a delivery may
    add a marked repeat: IRC can't tell whether the line had gone out."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    with gateway(tmp_path, server, command_agent("sleep 0.2; cat")).start() as g, Human(server, "human") as human:
        g.wait_channel_up("net")
        human.say("talaria", "warm up")  # servers slow newcomers down
        human.expect(event="message", text="warm up")
        human.join("#lobby")
        for i in range(12):
            human.say("talaria", f"message {i}")
            time.sleep(chance.uniform(0, 0.8))
            g.kill9()
            g.start()
            human.sees_arrive("talaria")  # perhaps after its own ghost
        asked = journal(g)
        print(asked)
        assert len(asked) > 6, "hardly anything reached the journal: the test is too fast"
        wait_until(lambda: not open_work(g), 60, "all answered", interval=0.2)
        answers = [e["text"] for e in human.history if e["event"] == "message"] + [m["text"] for m in human.messages(quiet=4)]
        for text in asked:
            plain = answers.count(text)
            marked = answers.count(REPEAT + text)
            assert plain <= 1, f"{text!r} came {plain} times without a mark (seed {seed}): {answers}"
            assert plain + marked >= 1, f"{text!r} was never answered (seed {seed}): {answers}"
        first = [a.removeprefix(REPEAT) for a in answers]
        assert list(dict.fromkeys(first)) == asked, f"out of order (seed {seed})"


def open_work(g) -> int:
    with sqlite3.connect(f"file:{g.home}/state/talaria.db?mode=ro", uri=True, timeout=10) as db:
        turns = db.execute("SELECT count(*) FROM turn WHERE state IN ('queued', 'running')").fetchone()[0]
        return turns + db.execute("SELECT count(*) FROM outbox WHERE state NOT IN ('sent', 'dead')").fetchone()[0]


@pytest.fixture
def services(tmp_path, certificates):
    """inspircd with accounts: (server, services)."""
    accounts = Services({"gatewaybot": "its password", "alice": "her password"})
    with IrcServer("inspircd", tmp_path / "server", certificates, more=accounts.config) as server:
        accounts.start()
        yield server, accounts
        accounts.stop()


def test_sasl_and_accounts(tmp_path, services):
    server, accounts = services
    sasl = 'sasl_account = "gatewaybot"\nsasl_password = "env:SASL"'
    alice = {"account": {"account": "alice", "password": "her password"}}
    with gateway(tmp_path, server, channel=sasl, allow="account:alice", SASL="its password").start() as g:
        g.wait_channel_up("net")
        assert accounts.attempts == [("gatewaybot", True)]
        with Human(server, "human") as stranger, Human(server, "somenick", **alice) as human:
            stranger.say("talaria", "I am not logged in")
            human.say("talaria", "I am")
            assert human.expect(event="message")["text"] == "I am"
            human.join("#lobby")
            human.say("#lobby", "talaria: here too")
            assert human.expect(event="message")["text"] == "somenick: here too"
            assert stranger.messages(quiet=1) == []
            assert journal(g) == ["I am", "here too"]


def test_a_wrong_sasl_password_is_said_and_not_hammered(tmp_path, services):
    server, accounts = services
    sasl = 'sasl_account = "gatewaybot"\nsasl_password = "env:SASL"'
    with gateway(tmp_path, server, channel=sasl, SASL="wrong").start() as g:
        error = wait_until(lambda: g.channel("net").get("error"), 30, "an error")
        assert "sasl_password" in error and g.channel("net")["state"] == "down"
        assert "wrong" not in g.output()
        time.sleep(5)  # the usual delays are 1 s, 2 s …
        assert accounts.attempts == [("gatewaybot", False)]


def test_nobody_there_is_a_dead_letter(tmp_path, certificates):
    """After a minute: in the first one after the gateway's coming, people may still be on their way back."""
    with IrcServer("ngircd", tmp_path / "server", certificates) as server, gateway(tmp_path, server).start() as g:
        g.wait_channel_up("net")
        g.run("send", "--queue", "--to", "net:nobodyhere", "hello")

        def dead():
            with sqlite3.connect(f"file:{g.home}/state/talaria.db?mode=ro", uri=True, timeout=10) as db:
                return db.execute("SELECT error FROM outbox WHERE state = 'dead'").fetchone()
        assert "nobodyhere: No such nick" in wait_until(dead, 120, "dead letter", interval=0.5)[0]


def test_a_certificate_that_nobody_signed_is_refused(tmp_path, certificates):
    other = make_certificates(tmp_path / "other")
    with IrcServer("ngircd", tmp_path / "server", {**certificates}) as server:
        server.certificates = {**certificates, "ca": other["ca"]}
        with gateway(tmp_path, server).start() as g:
            wait_until(lambda: g.channel("net").get("error"), 30, "an error")
            entry = g.channel("net")
            assert entry["state"] != "up"
            assert "certificate" in entry["error"].lower()
            assert g.running()
