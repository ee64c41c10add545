"""S4: restarts, however many and however asked for, never end in `failed` and never meet the start limit (lifecycle.md, 7 and 8)."""

import time

import pytest

from gateway import timed
from lab import wait_until

RESTARTED = ("planned", "restart")


def restart(gateway, how):
    if how == "systemctl":
        gateway.systemctl("restart", gateway.unit).check()
    else:
        gateway.cli("gateway", "restart").check()


@pytest.mark.parametrize("how", ["systemctl", "gateway"])
@pytest.mark.parametrize("phase", ["before_ready", "idle", "in_turn"])
def test_a_restart_is_planned(gateway, phase, how):
    old = gateway.enter(phase)
    if phase == "before_ready":
        gateway.release()  # else the restart would wait for the port as the start does
    restart(gateway, how)
    new = gateway.wait_running(other_than=old)
    assert new != old
    gateway.assert_never_failed()
    assert gateway.restarts() == 0  # the manager's own restarts, after failures
    end = gateway.assert_last_end(RESTARTED)
    assert end["exit_code"] in (0, 75)
    assert gateway.ask("hello again") == "hello again"


@pytest.mark.parametrize("how", ["systemctl", "gateway"])
def test_twenty_restarts_in_a_row(gateway, how):
    gateway.start()
    pids = [gateway.pid()]
    for _ in range(20):
        restart(gateway, how)
        pids.append(gateway.wait_running(other_than=pids[-1]))
        assert gateway.last_end()["verdict"] in RESTARTED
    assert len(set(pids)) == 21
    gateway.assert_never_failed()


def test_kill_9_ten_times_in_five_seconds(gateway):
    gateway.start()
    began = time.monotonic()
    old = 0
    for _ in range(10):
        pid = wait_until(lambda: (now := gateway.pid()) not in (0, old) and now, 5, "the next incarnation runs")
        gateway.lab.kill(pid, "KILL", gateway.user)
        old = pid
    assert time.monotonic() - began < 5
    wait_until(lambda: gateway.pid() not in (0, old), 5, "an eleventh incarnation runs")
    assert gateway.show("ActiveState") in ("active", "activating")
    said = gateway.journal()
    assert "Start request repeated too quickly" not in said
    assert gateway.exits().count(("killed", "9/KILL")) == 10
    assert gateway.restarts() == 10

    # However long the crash loop made it wait, an operator who asks is served at once.
    assert timed(lambda: restart(gateway, "systemctl")) < 3
    gateway.wait_running(timeout=3)
    assert gateway.ask("still here") == "still here"


@pytest.mark.parametrize("phase", ["idle", "in_turn"])
def test_after_kill_9_the_next_start_says_crash(gateway, phase):
    old = gateway.enter(phase)
    gateway.lab.kill(old, "KILL", gateway.user)
    gateway.wait_running(other_than=old)
    assert gateway.exits() == [("killed", "9/KILL")]
    gateway.assert_last_end("crash")


def test_a_fatal_signal_reaches_the_manager_as_that_signal(gateway):
    gateway.drop_in("[Service]\nLimitCORE=0\n")
    old = gateway.enter("idle")
    gateway.lab.kill(old, "ABRT", gateway.user)
    gateway.wait_running(other_than=old)
    assert gateway.exits() == [("killed", "6/ABRT")]
    gateway.assert_last_end("crash")


def test_a_restart_with_a_wrong_configuration_leaves_the_healthy_gateway(gateway):
    """`gateway restart` looks at the configuration before it touches anything. (systemctl can't.)"""
    gateway.start()
    pid = gateway.pid()
    gateway.configure("[gateway]\ndrain_timeuot = \"1s\"\n")
    ran = gateway.cli("gateway", "restart")
    assert ran.code == 78
    assert "config.toml:2" in ran.err and "drain_timeout" in ran.err
    assert gateway.pid() == pid
    assert gateway.serves()
