"""The message path, a stop, a start and a recovery, killed before and after every system call that leaves a trace (M1).

./torture crash tries every point; ./check tries as many as fit into a few seconds, others each time (the seed is printed).
"""

import os
import time

import pytest

from points import cut
from scenarios import ALL
from support.torture import FULL, keep, report

SEED = int(os.environ.get("TALARIA_SEED", time.time_ns() % 1_000_000))
BUDGET = 6  # seconds for each scenario in ./check


def hold(name: str, figures: dict, whole: bool) -> None:
    """`whole`: every point must have been tried."""
    broken = figures.pop("broken")
    report(name, **figures, broken=len(broken))
    assert figures["tried"] > 0, "no point was tried"
    assert not whole or figures["tried"] == figures["points"], f"{figures['tried']} of {figures['points']} points were tried"
    assert set(figures["killed_at"]) != {"(over)"}, "no process was killed in the scenario"
    if broken:
        path = keep(f"{name.replace(' ', '-')}.txt", "\n\n".join(broken))
        pytest.fail(f"{len(broken)} of {figures['tried']} points, seed {figures['seed']}, all of them in {path}\n" + "\n\n".join(broken[:3]))


@pytest.mark.torture
@pytest.mark.parametrize("name", list(ALL))
def test_crash_at_every_point(name, workshop):
    hold(f"crash.{name}", cut(name, workshop, None if FULL else BUDGET, SEED), whole=FULL)


@pytest.mark.torture
@pytest.mark.parametrize("name", ["chat", "recovery"])
def test_crash_in_pairs(name, workshop):
    """A second crash during the start after the first."""
    hold(f"crash.pairs.{name}", cut(name, workshop, None if FULL else BUDGET / 2, SEED, pairs=400 if FULL else 20), whole=False)
