"""The network swallows everything, without a word: no reset, no end, no link that goes down (M7, rule R7). And names that nobody resolves.

The gateway is in a network of its own with a router between it and its servers, and its clock runs faster while nothing happens
(test/support/netspace.py, fast_clock.py). Every second below is one of the gateway's.
"""

import time

import pytest

from far_away import NAMES, IrcSide, MailSide, TelegramSide, World
from support import mail_server, netspace
from support.talaria import wait_until
from support.torture import report, rounds

REPEAT = "(may be a repeat) "

pytestmark = pytest.mark.skipif(bool(netspace.missing() or mail_server.missing()), reason=netspace.missing() or mail_server.missing() or "-")


def assert_once(side, text: str, may_be_marked: bool = False) -> None:
    """The person has it once; what was on its way when the connection died may have come a second time, with a mark."""
    copies = [heard for heard in side.heard() if heard.removeprefix(REPEAT) == text]
    allowed = [[text]] + ([[REPEAT + text], [text, REPEAT + text]] if may_be_marked and not side.recognises else [])
    assert sorted(copies, key=len) in allowed, (side.name, text, side.heard())


@pytest.mark.parametrize("kind", [IrcSide, TelegramSide, MailSide])
def test_alive_but_deaf(tmp_path, kind):
    """Nothing is to be sent, so that only the channel's own questions can tell."""
    with World(tmp_path, kind) as world:
        (side,), clock = world.sides, world.clock
        meanwhile = ["asked meanwhile"] if side.keeps else []
        side.say("before")
        world.wait_heard(side, "before")
        world.settle()

        world.net.hole(True)
        began = clock.now()
        for text in meanwhile:
            side.say(text)
        clock.run(30)
        clock.wait_until(lambda: world.states()[side.name] == "down", 2 * side.period, "word of it in /readyz")
        noticed = clock.now() - began
        clock.run(1)
        world.send(side, "queued")
        if not side.keeps:
            side.exposed.give_up()  # else its server would say everything to the old connection for a while
        world.net.hole(False)
        clock.wait_until(lambda: world.states()[side.name] == "up", 2 * side.period - noticed, "new connection")
        reconnected = clock.now() - began

        side.ready_to_listen()
        side.say("after")
        world.wait_heard(side, "queued", "after", *meanwhile)
        for text in ("before", "queued", "after", *meanwhile):
            assert_once(side, text)
        report("M7 deaf", channel=side.name, period=side.period, noticed=round(noticed, 1), reconnected=round(reconnected, 1))


AWAY = rounds(300, 3600)
LONGEST_DELAY = 300 * 1.2  # between two attempts of IRC and e-mail, with its jitter
ATTEMPT = 30


class Pace:
    """Delays are waited for fast; logins and whatever is up live at our servers' pace, or nearly."""

    def __init__(self, world: World):
        self._world = world
        self._arrived = {side.name: (side.exposed.connections, 0.0) for side in world.sides}

    def set(self) -> dict[str, str]:
        states, now, at_it = self._world.states(), time.monotonic(), False
        for side in self._world.sides:
            count, _ = self._arrived[side.name]
            if side.exposed.connections > count:
                self._arrived[side.name] = (side.exposed.connections, now)
            at_it |= states[side.name] != "up" and now - self._arrived[side.name][1] < 2
        up = list(states.values()).count("up")
        self._world.clock.run(1 if up == len(states) else 2 if at_it else 10 if up else 60)
        return states


@pytest.mark.torture
def test_an_hour_without_a_network(tmp_path):
    """In ./check five minutes of it."""
    with World(tmp_path, IrcSide, TelegramSide, MailSide) as world:
        clock = world.clock
        for side in world.sides:
            side.say("before")
            world.wait_heard(side, "before")
        world.settle()
        world.latency(50)
        resident, descriptors = world.memory()
        attempts = world.attempts()

        world.net.hole(True)
        began = clock.now()
        for side in world.sides:
            world.send(side, "on its way")
            if side.keeps:
                side.say("asked meanwhile")
        clock.run(60)
        clock.wait_until(lambda: set(world.states().values()) == {"down"}, 120, "word of it in /readyz")
        for side in world.sides:
            world.send(side, "queued")
        slowest = 0.0
        while clock.now() - began < AWAY:
            slowest = max(slowest, world.latency(1)[0])
            assert set(world.states().values()) == {"down"}
            time.sleep(0.05)
        for side in world.sides:
            side.exposed.give_up()
        in_vain = world.attempts() - attempts
        grown, open_now = world.memory()

        world.net.hole(False)
        healed, back = clock.now(), {}
        pace = Pace(world)

        def all_back():
            states = pace.set()
            for name in [name for name, state in states.items() if state == "up"]:
                back.setdefault(name, round(clock.now() - healed, 1))
            return set(states.values()) == {"up"}
        clock.wait_until(all_back, 2 * (LONGEST_DELAY + ATTEMPT), "return of every channel")
        assert max(back.values()) <= LONGEST_DELAY + ATTEMPT
        clock.run(1)
        for side in world.sides:
            side.ready_to_listen()
            side.say("after")
            world.wait_heard(side, "on its way", "queued", "after", *(["asked meanwhile"] if side.keeps else []), seconds=60)
        for side in world.sides:
            assert_once(side, "on its way", may_be_marked=True)
            for text in ("before", "queued", "after", *(["asked meanwhile"] if side.keeps else [])):
                assert_once(side, text)
        report("M7 hour", away=AWAY, in_vain=in_vain, back=back, grown_kib=grown - resident, more_descriptors=open_now - descriptors,
               slowest_answer=round(slowest, 3))
        assert in_vain <= 40 + AWAY / 30, "about one in a minute on Telegram, one in five on the others"
        assert grown - resident <= 4096 and open_now <= descriptors + 4


def cut(world: World) -> None:
    """Every connection that there is ends, so that names are asked for anew."""
    for side in world.sides:
        side.exposed.give_up()


def test_names_that_nobody_resolves(tmp_path):
    """The loop does not stand still for getaddrinfo(3): whoever asks the gateway is answered at once."""
    with World(tmp_path, IrcSide, TelegramSide, MailSide, names="dns") as world:
        clock = world.clock
        world.name_server.silent_about = None
        cut(world)
        wait_until(lambda: set(world.states().values()) == {"down"}, 10, "word of it in /readyz", interval=0.01)
        meanwhile = {side.name: ["queued", *(["asked meanwhile"] if side.keeps else [])] for side in world.sides}
        for side in world.sides:
            world.send(side, "queued")
            if side.keeps:
                side.say("asked meanwhile")
        asked = len(world.name_server.asked)
        took = world.latency(400)
        wait_until(lambda: set(NAMES) <= set(world.name_server.asked[asked:]), 20, "questions for every name")
        wait_until(lambda: all("resolve" in (channel["error"] or "") for channel in world.gateway.status()["channels"]), 60,
                   "reason in the status")
        took = sorted(took + world.latency(400))

        world.name_server.silent_about = set()
        clock.run(5)
        wait_until(lambda: set(world.states().values()) == {"up"}, 60, "return of every channel")
        clock.run(1)
        for side in world.sides:
            side.ready_to_listen()
            side.say("after")
            world.wait_heard(side, "after", *meanwhile[side.name])
            for text in ("after", *meanwhile[side.name]):
                assert_once(side, text)
        p99 = took[len(took) * 99 // 100]
        report("M7 names", p99_ms=round(p99 * 1000, 1), most_ms=round(took[-1] * 1000, 1))
        assert p99 < 0.25


def test_a_name_that_nobody_resolves_holds_up_no_other(tmp_path):
    """The chat server's zone is gone; Telegram's is not."""
    with World(tmp_path, IrcSide, TelegramSide, MailSide, names="dns") as world:
        telegram = world.sides[1]
        world.name_server.silent_about = {"chat.talaria.test", "mail.talaria.test"}
        cut(world)
        wait_until(lambda: [world.states()[name] for name in ("net", "mail")] == ["down"] * 2, 10, "word of it in /readyz")
        began = time.monotonic()
        world.clock.run(5)  # so that the dead names are asked for all the time
        slowest = 0.0
        for turn in range(5):
            telegram.exposed.give_up()
            began = time.monotonic()
            telegram.say(f"turn {turn}")
            world.wait_heard(telegram, f"turn {turn}")
            slowest = max(slowest, time.monotonic() - began)
        report("M7 one name", slowest=round(slowest, 2))
        assert slowest < 4, "it waited for the look-up of another name"
