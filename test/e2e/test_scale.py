"""Nothing grows with uptime (M8): many messages over many sessions, and what the process and its store weigh meanwhile.

./torture many_messages sends a million; ./check as many as show a leak of a few hundred bytes a message. Three channel programs flood at
once: each is held to a pace of its own.
"""

import json
import pathlib
import sys
import time

import pytest

from support.talaria import REPO, Gateway, wait_until
from support.torture import report, rounds

SESSIONS = 1_000
CHANNELS = 3
WARM = 10_000  # messages after which the process has its weight


def resident(pid: int) -> int:
    """KiB."""
    line = next(line for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1])


def told(path: pathlib.Path) -> dict:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return {"answered": 0, "doubled": 0, "wrong": []}


@pytest.mark.torture
def test_many_messages_over_many_sessions(tmp_path):
    total = rounds(30_000, 1_000_000)
    each = total // CHANNELS
    reports = [tmp_path / f"report-{number}" for number in range(CHANNELS)]
    channels = "".join(f"""
[channel.flood{number}]
kind = "program"
command = ["{sys.executable}", "{REPO}/test/support/flood_channel.py", "{each}", "{SESSIONS // CHANNELS}", "{path}"]
allow = ["*"]
""" for number, path in enumerate(reports))
    gateway = Gateway(tmp_path / "home", '[store]\nretention = "20s"\n[agent.default]\nkind = "echo"\n' + channels)
    with gateway.start():
        gateway.wait_ready()
        began = time.monotonic()

        def answered():
            found = [told(path) for path in reports]
            assert not any(one["wrong"] or one["doubled"] for one in found), found
            return sum(one["answered"] for one in found)

        weights, sizes, seen = [], [], 0
        while seen < CHANNELS * each:
            step = min(seen + WARM, CHANNELS * each)
            seen = wait_until(lambda: (n := answered()) >= step and n, 300, f"{step} answers", interval=0.1)
            weights.append((seen, resident(gateway.process.pid)))
            sizes.append(sum(path.stat().st_size for path in (gateway.home / "state").glob("talaria.db*")))
        seconds = time.monotonic() - began
        # The store keeps 20 s of traffic, and 16 bytes of what was before.
        report("scale", messages=seen, sessions=SESSIONS, seconds=round(seconds, 1), per_second=round(seen / seconds), rss_kib_after_10k=weights[0][1],
               rss_kib_at_end=weights[-1][1], rss_kib_most=max(kib for _, kib in weights), store_mib_most=round(max(sizes) / 2**20, 1),
               store_mib_at_end=round(sizes[-1] / 2**20, 1))
        assert weights[-1][1] <= weights[0][1] * 1.10, weights
        gateway.process.terminate()
        gateway.process.wait(30)
