"""Alive but deaf (M7): the connection to the server is swallowed on the way, and nobody closes it. The channel notices by its own PING,
says so, and is back on a new connection; no message that was journalled goes without its answer."""

import json
import time
import urllib.request

from irc_support import Human, IrcServer
from support.hole import Hole
from support.talaria import Gateway, wait_until

PERIOD = 60  # seconds between two PINGs of the channel


def readiness(g) -> str:
    with urllib.request.urlopen(f"http://{g.try_status()['api']}/readyz", timeout=5) as answer:
        return json.load(answer)["channels"][0]["state"]


def test_a_swallowed_connection_is_noticed_and_made_anew(tmp_path, certificates):
    with IrcServer("ngircd", tmp_path / "server", certificates) as server, Hole(server.port) as hole:
        g = Gateway(tmp_path / "gateway", f"""
[api]
listen = "127.0.0.1:0"
keys = ["env:KEY"]
[agent.default]
kind = "echo"
[channel.net]
kind = "irc"
server = "localhost:{hole.port}"
ca_file = "{server.certificates['ca']}"
nick = "talaria"
allow = ["nick:human"]
""", env={"KEY": "test-key"})
        with g.start(), Human(server, "human") as human:
            g.wait_channel_up("net")
            human.say("talaria", "before")
            assert human.expect(event="message", type="privmsg")["text"] == "before"
            progress = g.channel("net")["last_progress"]

            hole.swallow()
            began = time.monotonic()
            g.run("send", "--queue", "--to", "net:human", "while deaf")
            wait_until(lambda: readiness(g) != "up", 2 * PERIOD, "a word of it in /readyz", interval=0.05)
            noticed = time.monotonic() - began
            wait_until(lambda: g.channel("net")["state"] == "up" and hole.connections > 1, 2 * PERIOD, "a new connection", interval=0.1)
            took = time.monotonic() - began
            assert took <= 2 * PERIOD, (noticed, took)
            assert g.channel("net")["last_progress"] > progress
            # The reply that went into the hole has no receipt: it comes again, marked.
            assert human.expect(event="message", type="privmsg")["text"] == "(may be a repeat) while deaf"
            human.say("talaria", "after")
            assert human.expect(event="message", type="privmsg")["text"] == "after"
