"""Power cuts at every sync: nothing that others were told is forgotten (M2). How a disk is modelled: power.py.

The runs that are recorded go from the process's first call to its end, so the checkpoint of a clean end is among them.
"""

import copy
import os
import pathlib
import random
import time

import pytest

from judge import judge_chat
from platforms import Entry, Gone, Stuck
from points import FOLDER
from power import Disk, Told, read_record
from scenarios import Chat, Drain, Recovery, Requests
from support.torture import FULL, report
from world import World

SEED = int(os.environ.get("TALARIA_SEED", time.time_ns() % 1_000_000))


class FirstChat(Chat):
    """In a home that was never used: the store itself must survive its first minute."""
    name = "first chat"
    keeps_home = False


SCENARIOS = {scenario.name: scenario for scenario in (Chat, Requests, FirstChat, Recovery, Drain)}


def record_cuts(what: tuple[str, pathlib.Path, int], template: pathlib.Path) -> list[dict]:
    """Runs the scenario, and writes the disk out at every cut, twice: each a folder, and what had been told by then."""
    name, folder, seed = what
    scenario = SCENARIOS[name]()
    with World(agent=scenario.agent, template=template if scenario.keeps_home else None, folder=FOLDER) as world:
        scenario.prepare(world)
        disk = Disk(world.home)
        before_all, exits = list(world.history.entries), list(world.exits)
        world.start(at=0, record=world.folder / "record")
        scenario.settle_in(world)
        try:
            scenario.act(world)
            world.until_settled()
            world.end()
        except Gone:
            if not scenario.ends:
                raise
        said = world.history.of("said")[sum(e.kind == "said" for e in before_all):]
        steps = read_record(world.folder / "record")
        told = Told()
        cuts: list[dict] = []
        moments: list[tuple] = []
        for step in [*steps, None]:
            # The state right before this step; kept when it turns out that the step ended a sync.
            before = (copy.copy(told.replies), dict(told.answers))
            kept = write_both(disk, folder / str(len(moments)), seed) if step is None or is_sync_end(disk, step) else None
            if kept:
                moments.append(before)
                cuts += [{"home": home, "replies": before[0], "answers": before[1], "said": [*before_all, *said],
                          "exits": [*exits, (world.pid, -9)], "name": name}
                         for home in kept]
            if step:
                disk.take(step)
                told.take(step)
    assert told.replies or told.answers, "nothing was told to anybody"
    return cuts


def is_sync_end(disk: Disk, step) -> bool:
    return not step.begins and step.name in ("fsync", "fdatasync") and step.result == 0


def write_both(disk: Disk, folder: pathlib.Path, seed: int) -> list[pathlib.Path]:
    disk.write_out(folder / "forgetful", None)
    disk.write_out(folder / "torn", random.Random(f"{seed} {folder.name}"))
    return [folder / "forgetful", folder / "torn"]


def after_the_cut(cut: dict, _template: pathlib.Path) -> dict:
    """Starts on the disk that is left, and judges. A disk without a store is one on which nothing had been promised."""
    scenario = SCENARIOS[cut["name"]]()
    state = cut["home"] / "state"
    with World(agent=scenario.agent, template=state if state.is_dir() else None, folder=FOLDER) as world:
        world.history.entries = [*cut["said"], *cut["replies"], Entry("died")]
        world.history.run = max(e.run for e in world.history.entries)
        world.irc.links = max(e.link for e in world.history.entries)  # the connections of the runs before
        world.exits = list(cut["exits"])
        world.model.counts = {prompt: 1 for prompt in Requests.keys.values()}
        try:
            world.start()
            scenario.heal(world)
            world.end()
            if scenario.name == "requests":
                told = {e.who: e.text for e in world.history.of("answer")}
                broken = [f"{key}: {cut['answers'][prompt]!r} had been told, now it is {told[key]!r}"
                          for key, prompt in Requests.keys.items() if prompt in cut["answers"] and told[key] != cut["answers"][prompt]]
            else:
                accepted = {body for body, in world.rows("SELECT body FROM event")}
                broken = judge_chat(world.history.entries, accepted, scenario.is_answer if scenario.agent != "default" else None).broken
            broken += [what for what in scenario.judge_store(world) if "the ledger says" not in what]
        except (Gone, Stuck, AssertionError, OSError, ValueError) as error:
            broken = [f"{type(error).__name__}: {error}\n" + "\n".join(e.text for e in world.history.of("log"))]
    return {"cut": f"{cut['home'].parent.name} {cut['home'].name}", "told": len(cut["replies"]) + len(cut["answers"]), "broken": broken}


@pytest.mark.torture
@pytest.mark.parametrize("name", list(SCENARIOS))
def test_power_cut_at_every_sync(name, tmp_path, workshop):
    began = time.monotonic()
    (cuts,) = workshop.all(record_cuts, [(name, tmp_path, SEED)])
    tried = cuts if FULL else random.Random(SEED).sample(cuts, min(4, len(cuts)))
    outcomes = workshop.all(after_the_cut, tried)
    broken = [f"cut {one['cut']}: {one['broken']}" for one in outcomes if one["broken"]]
    report(f"crash.power.{name.replace(' ', '_')}", seed=SEED, cuts=len(cuts), tried=len(tried),
           with_something_told=sum(one["told"] > 0 for one in outcomes), broken=len(broken), seconds=round(time.monotonic() - began, 1))
    assert not broken, f"{len(broken)} of {len(tried)} cuts, seed {SEED}\n" + "\n\n".join(broken[:3])
    assert len(cuts) > 10, "hardly a sync was seen"
