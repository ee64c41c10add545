"""Random ends under load (M3): SIGKILL, SIGTERM, stop, restart in place, upgrade in place, one after the other and into each other, while
messages come in on every channel. Whoever asked has one answer in the end, or one more that says that it may be a repeat.

./torture chaos makes 10 000 of them; ./check a few. The seed is printed; TALARIA_SEED repeats it as far as time can be repeated.
"""

import collections
import os
import random
import shutil
import signal
import time
import traceback

import pytest

from judge import judge_ledger
from platforms import Gone
from points import FOLDER
from support.talaria import binary
from support.torture import keep, report, rounds
from hook_side import HookSide, HookTraffic
from mail_side import MailSide, MailTraffic
from program_side import ProgramSide, ProgramTraffic
from telegram_side import TelegramSide, TelegramTraffic
from traffic import PEOPLE, Chat, Requests
from world import World

SEED = int(os.environ.get("TALARIA_SEED", time.time_ns() % 1_000_000))
SIDES = (TelegramSide, HookSide, MailSide, ProgramSide)
TRAFFIC = (Chat, Requests, TelegramTraffic, HookTraffic, MailTraffic, ProgramTraffic)
ENDS = 100  # of one life with one store
WORDS = 5  # of what is wrong with a life; all of it is kept


def end_somehow(world: World, dice: random.Random, program: str) -> str:
    """One end, or the beginning of one. The gateway may be anywhere in its life."""
    kind = dice.choices(("kill", "term", "stop", "restart", "upgrade"), (40, 15, 15, 15, 15))[0]
    if kind == "kill":
        world.kill9()
    elif kind in ("term", "stop"):
        if kind == "term":
            world.signal(signal.SIGTERM)
        elif world.control("/control/stop") == 0:
            return "nobody there"  # not yet, or no more
        if dice.random() < 0.3:
            world.history.until_dead(dice.random() * 0.3)
            world.kill9()
        elif not world.history.until_dead(20):
            raise AssertionError(f"no end 20 s after {kind}")
    elif kind == "restart":
        world.control("/control/restart")
    else:
        world.control("/control/upgrade", {"program": program})
    return kind


def live(what: tuple[int, int], _template) -> dict:
    """One home through its ends, and what came of it. `what`: the seed, and how many ends."""
    seed, ends = what
    done: collections.Counter = collections.Counter()
    figures: collections.Counter = collections.Counter()
    with World(folder=FOLDER, people=PEOPLE, sides=SIDES) as world:
        try:
            broken = go_through(world, random.Random(seed), ends, done, figures)
        except Exception:  # whatever it was, it belongs to this life: say which, and what was seen
            broken = [traceback.format_exc()]
        return {"seed": seed, "ends": done, "processes": len(world.exits), "figures": figures, "broken": broken,
                "log": world.history.text() if broken else ""}


def go_through(world: World, dice: random.Random, ends: int, done: collections.Counter, figures: collections.Counter) -> list[str]:
    """A life; what is wrong with it."""
    program = str(world.folder / "talaria")
    shutil.copy2(binary(), program)
    traffics = [kind(world, random.Random(dice.random())) for kind in TRAFFIC]
    world.start()
    for traffic in traffics:
        traffic.start()
    try:
        live_on(world, dice, ends, done, program)
        for traffic in traffics:
            traffic.stop()
    finally:
        for traffic in traffics:
            traffic.ended.set()
    world.until_settled()
    code = world.end()
    broken = [] if code == 1 else [f"the healed gateway ended with {code}"]
    for traffic in traffics:
        verdict = traffic.judge()
        broken += [f"{type(traffic).__name__}: {what}" for what in verdict.broken]
        for name in ("answered", "marked", "doubled", "unheard"):
            figures[name] += getattr(verdict, name)
        figures[type(traffic).__name__] += verdict.answered
    rows = world.rows("SELECT pid, verdict, cause, exit_code FROM run ORDER BY id")
    broken += judge_ledger(rows, world.exits, restarts=ends, told=True)
    broken += [what for what, in world.rows("SELECT 'reply ' || id || ' is ' || state || ': ' || coalesce(error, '') FROM outbox WHERE state <> 'sent'"
                                            " UNION ALL SELECT 'turn ' || id || ' is ' || state FROM turn WHERE state NOT IN ('finished', 'parked')")]
    return broken + [f"integrity: {what}" for what, in world.rows("PRAGMA integrity_check") if what != "ok"]


def live_on(world: World, dice: random.Random, ends: int, done: collections.Counter, program: str) -> None:
    """The ends; then there is a gateway that runs."""
    for _ in range(ends):
        # Sometimes right into the start, mostly when it has had the time to do something.
        world.history.until_dead(dice.choice((0.0, 0.02, 0.1, 0.3)) * dice.random() * 2)
        done[end_somehow(world, dice, program)] += 1
        if world.history.until_dead(0):
            world.start()
    try:
        world.until_up()
    except Gone:  # an end that was asked for last came to its end now
        world.start()
        world.until_up()


@pytest.mark.torture
def test_chaos(workshop):
    began = time.monotonic()
    total = rounds(45, 10_000)
    each = min(ENDS, total // 3)
    lives = workshop.all(live, [(SEED + number, each) for number in range(-(-total // each))])
    sums: dict[str, collections.Counter] = {"ends": collections.Counter(), "figures": collections.Counter()}
    for one in lives:
        for name, counter in sums.items():
            counter.update(one[name])
    report("crash.chaos", seed=SEED, lives=len(lives), processes=sum(one["processes"] for one in lives), **sums["ends"], **sums["figures"],
           broken=sum(bool(one["broken"]) for one in lives), seconds=round(time.monotonic() - began, 1))
    broken = [one for one in lives if one["broken"]]
    kept = [keep(f"chaos-{one['seed']}.txt", "\n".join([*one["broken"], "", one["log"]])) for one in broken]
    assert not broken, "\n\n".join(f"seed {one['seed']}, all of it in {path}:\n" + "\n".join(one["broken"][:WORDS])
                                   for one, path in zip(broken, kept))
    assert sums["figures"]["answered"] > total, "hardly anything was asked"
    for kind in TRAFFIC:
        assert sums["figures"][kind.__name__] > 0, f"{kind.__name__} had no answer at all"
