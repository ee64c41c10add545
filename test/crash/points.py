"""Cuts a scenario at its points, over several processes, and says what came of it."""

import concurrent.futures
import dataclasses
import multiprocessing
import os
import pathlib
import random
import shutil
import tempfile
import time
import traceback

from judge import Verdict
from platforms import Gone, Stuck
from scenarios import ALL, Scenario, run_to_death
from world import World

# Homes are on a tmpfs where there is one: what outlives the process is the same, and power.py is about disks.
FOLDER = pathlib.Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else pathlib.Path(tempfile.gettempdir())
QUIET = 0.4  # seconds without a call after which a run that nobody killed counts as over


@dataclasses.dataclass
class Point:
    """Where to kill: before or after the k-th call; `then`: where in the start after it, 0 for nowhere."""
    scenario: str
    k: int
    after: bool
    then: int = 0


@dataclasses.dataclass
class Tried:
    point: Point
    call: str  # what the process was killed at; empty: it had ended before, or was quiet
    verdict: Verdict
    log: str = ""


def make_template() -> pathlib.Path:
    """The state directory of a home that has been used: one clean run."""
    with World(folder=FOLDER) as world:
        world.start()
        world.until_up()
        world.end()
        kept = pathlib.Path(tempfile.mkdtemp(prefix="crash-template-", dir=FOLDER)) / "state"
        shutil.copytree(world.home / "state", kept)
        return kept


def make_world(scenario: Scenario, template: pathlib.Path) -> World:
    return World(agent=scenario.agent, template=template if scenario.keeps_home else None, folder=FOLDER,
                 sides=scenario.sides)


def count_calls(name: str, template: pathlib.Path) -> tuple[int, float]:
    """How many points the scenario has, and how many seconds it takes."""
    scenario = ALL[name]()
    began = time.monotonic()
    with make_world(scenario, template) as world:
        scenario.prepare(world)
        world.start(at=0, from_signal=scenario.from_signal)
        scenario.settle_in(world)
        if scenario.from_signal:
            world.count(True)
        try:
            scenario.act(world)
            world.until_settled()
            world.count(False)
            world.kill9()
        except Gone:
            if not scenario.ends:
                raise
        return int(world.word("counted")), time.monotonic() - began


def try_point(point: Point, template: pathlib.Path) -> Tried:
    scenario = ALL[point.scenario]()
    with make_world(scenario, template) as world:
        call = ""
        try:
            scenario.prepare(world)
            world.start(at=point.k, after=point.after, from_signal=scenario.from_signal)
            run_to_death(world, scenario, QUIET)
            call = world.word("killed").partition(" ")[2]
            if point.then:
                world.model.release()
                world.start(at=point.then, after=point.after)
                try:
                    scenario.heal(world)
                    world.kill9()
                except Gone:
                    call += " and " + world.word("killed").partition(" ")[2]
            world.start()
            scenario.heal(world)
            code = world.end()
            verdict = scenario.judge(world)
            if code != 1:  # a SIGTERM that no manager explains
                verdict.broken.append(f"the healed gateway ended with {code}")
        except (Stuck, Gone) as error:
            verdict = Verdict([f"{type(error).__name__}: {error}"])
        except Exception:  # whatever it was, it belongs to this point
            verdict = Verdict([traceback.format_exc()])
        log = ""
        if verdict.broken:
            log = world.history.text()
        return Tried(point, call, verdict, log)


class Workshop:
    """Processes that try points, and the home that they begin with. A point mostly waits (for processes, threads, timers), so there is
    one worker more than cores."""

    def __init__(self):
        self._workers = concurrent.futures.ProcessPoolExecutor(len(os.sched_getaffinity(0)) + 1,
                                                               mp_context=multiprocessing.get_context("fork"))
        self.template = self._workers.submit(make_template).result()

    def __enter__(self) -> "Workshop":
        return self

    def __exit__(self, *_) -> None:
        shutil.rmtree(self.template.parent, ignore_errors=True)
        self._workers.shutdown()

    def all(self, function, items: list) -> list:
        """function(item, template) of every item."""
        return list(self._workers.map(function, items, [self.template] * len(items)))


def choose(points: list[Point], most: int, seed: int) -> list[Point]:
    """Every n-th, beginning somewhere: over many seeds, all of them."""
    stride = -(-len(points) // most)
    return points[random.Random(seed).randrange(stride)::stride]


def cut(name: str, workshop: Workshop, budget: float | None, seed: int, pairs: int = 0) -> dict:
    """Tries the scenario's points: all of them, or as many as fit into `budget` seconds; or `pairs` of random ones. Returns figures;
    `broken` is what the judge found, with the history of each."""
    began = time.monotonic()
    # The number differs a little from run to run: threads.
    counted = workshop.all(count_calls, [name] * (1 if budget else 3))
    calls = max(count for count, _ in counted)
    points = [Point(name, k, after) for k in range(1, calls + 1) for after in (False, True)]
    chosen = points
    if pairs:
        dice = random.Random(seed)
        # The start after a crash has about as many points as any.
        chosen = [dataclasses.replace(dice.choice(points), then=dice.randrange(1, 150)) for _ in range(pairs)]
    if budget:
        cost = 1.5 * min(seconds for _, seconds in counted)
        most = max(3, int((budget - (time.monotonic() - began)) * len(os.sched_getaffinity(0)) / cost))
        chosen = chosen[:most] if pairs else choose(chosen, most, seed)
    tried = workshop.all(try_point, chosen)
    names: dict[str, int] = {}
    for one in tried:
        word = one.call.partition(" ")[0] or "(over)"
        names[word] = names.get(word, 0) + 1
    return {"scenario": name, "seed": seed, "points": len(points), "tried": len(tried), "killed_at": names,
            **{field: sum(getattr(one.verdict, field) for one in tried) for field in ("answered", "marked", "doubled", "unheard")},
            "seconds": round(time.monotonic() - began, 1),
            "broken": ["\n".join([f"{one.point} at {one.call or 'its end'}:", *one.verdict.broken, one.log]) for one in tried if one.verdict.broken]}
