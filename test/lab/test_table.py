"""The table of all ends (table.py) under every manager. `./torture table` plays all of it and prints it; ./check plays what happens at the
start and while it idles, and a sample of the rest, whose seed is printed. TALARIA_TABLE_SEED=N plays that sample again."""

import concurrent.futures
import multiprocessing
import os
import random

import pytest

from support.torture import FULL, report
from table import MANAGERS
from table_player import chosen, draw, play_manager, why_not_here

pytestmark = pytest.mark.torture


@pytest.fixture(scope="module")
def played(binary):
    """All managers at once, each in a process of its own."""
    seed = int(os.environ.get("TALARIA_TABLE_SEED", random.SystemRandom().randrange(10 ** 6)))
    skipped = {manager: why for manager in MANAGERS if (why := why_not_here(manager))}
    wanted = {manager: chosen(manager, FULL, seed) for manager in MANAGERS if manager not in skipped}
    with concurrent.futures.ProcessPoolExecutor(len(MANAGERS), mp_context=multiprocessing.get_context("fork")) as pool:
        futures = {manager: pool.submit(play_manager, binary, manager, cells) for manager, cells in wanted.items()}
        results = {manager: future.result() for manager, future in futures.items()}
    print(draw(results, skipped))
    everything = [each for cells in results.values() for each in cells]
    report("table", seed=seed, cells=len(everything), wrong=sum(bool(each.problem) for each in everything),
           seconds=round(sum(each.seconds for each in everything)))
    return results, skipped


@pytest.mark.parametrize("manager", MANAGERS)
def test_table(played, manager):
    results, skipped = played
    if manager in skipped:
        pytest.skip(skipped[manager])
    wrong = [each.problem for each in results[manager] if each.problem]
    assert not wrong, f"{len(wrong)} of {len(results[manager])} cells are wrong:\n" + "\n".join(wrong)
