"""S2: a stop that somebody planned is a success, whatever the gateway was doing (lifecycle.md, 5)."""

import time

import pytest

from gateway import timed
from lab import wait_until

PHASES = ["before_ready", "idle", "in_turn"]


def stop(gateway, how):
    if how == "systemctl":
        gateway.systemctl("stop", gateway.unit).check()
    else:
        gateway.cli("gateway", "stop").check()


@pytest.mark.parametrize("how", ["systemctl", "gateway"])
@pytest.mark.parametrize("phase", PHASES)
def test_a_planned_stop_is_a_success(gateway, phase, how):
    gateway.enter(phase)
    restarts = gateway.restarts()
    seconds = timed(lambda: stop(gateway, how))
    gateway.assert_stopped_as_planned(restarts)
    assert seconds < (5 if phase == "in_turn" else 2)  # a turn has its drain of 1 s

    gateway.release()
    gateway.start()
    end = gateway.assert_last_end("planned")
    assert end["exit_code"] == 0
    assert gateway.ask("still there?") == "still there?"


def test_stopped_is_what_status_says(gateway):
    gateway.start()
    assert gateway.status()["state"] == "running"
    assert gateway.cli("gateway", "status").code == 0
    stop(gateway, "systemctl")
    assert gateway.status()["state"] == "stopped"
    assert gateway.cli("gateway", "status").code == 3


def test_a_stop_of_one_profile_leaves_another_alone(gateway):
    gateway.start()
    pid = gateway.pid()
    gateway.systemctl("stop", "talaria-gateway@nobody.service").check()
    gateway.cli("gateway", "stop", "-p", "nobody")
    assert gateway.pid() == pid
    assert gateway.serves()


@pytest.mark.parametrize("after_ms", [0, 2, 5, 10, 15, 20, 30, 50, 80])
def test_a_stop_at_any_moment_of_the_start(gateway, after_ms):
    """The signal may hit before the program's handlers stand, before it is ready, or just after."""
    gateway.systemctl("start", "--no-block", gateway.unit).check()
    time.sleep(after_ms / 1000)  # the moment is the input, nothing is waited for
    stop(gateway, "systemctl")
    seen = gateway.show("ActiveState", "Result", "NRestarts", "Job")
    assert (seen["ActiveState"], seen["Result"], seen["NRestarts"]) == ("inactive", "success", "0"), seen
    gateway.assert_never_failed()


def test_a_second_stop_cuts_the_drain_short_and_changes_nothing_else(gateway):
    gateway.configure(CONFIG_LONG_DRAIN)
    pid = gateway.enter("in_turn")
    gateway.systemctl("stop", "--no-block", gateway.unit).check()
    wait_until(lambda: gateway.status()["state"] == "draining", 5, "draining")
    began = time.monotonic()
    gateway.lab.kill(pid, "TERM", gateway.user)
    wait_until(lambda: gateway.show("ActiveState") == "inactive", 15, "stopped")
    assert time.monotonic() - began < 5
    gateway.assert_stopped_as_planned(0)


def test_no_agent_outlives_the_gateway(gateway):
    """Not even one that ignores the polite signal and has a session of its own."""
    gateway.lab.put_file("/usr/local/bin/stubborn-agent", STUBBORN, mode=0o755)
    gateway.configure(CONFIG_STUBBORN)
    gateway.enter("in_turn")
    wait_until(lambda: len(gateway.pids()) >= 3, 5, "the agent's child runs")
    pids = gateway.pids()
    stop(gateway, "systemctl")
    gateway.assert_stopped_as_planned(0, leftovers=True)  # one in a session of its own is the manager's to find
    assert [pid for pid in pids if gateway.lab.alive(pid)] == []


STUBBORN = """#!/bin/sh
trap '' TERM HUP INT
setsid sh -c "trap '' TERM HUP INT; while :; do sleep 600; done" &
while :; do sleep 600; done
"""

CONFIG_BASE = """[gateway]
drain_timeout = "{drain}"

[api]
listen = "127.0.0.1:{{port}}"
keys   = ["file:{{key_file}}"]

[agent.default]
kind = "echo"

[agent.hang]
kind    = "command"
command = [{command}]
"""
CONFIG_LONG_DRAIN = CONFIG_BASE.format(drain="20s", command='"/usr/bin/sleep", "600"')
CONFIG_STUBBORN = CONFIG_BASE.format(drain="500ms", command='"/usr/local/bin/stubborn-agent"')
