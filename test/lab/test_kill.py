"""S3: a SIGTERM that nobody planned is a failure that the manager mends (lifecycle.md, 5). The record names the sender."""

import pytest

from lab import wait_until

PHASES = ["before_ready", "idle", "in_turn"]


def terminate(gateway, how, pid):
    """Sends SIGTERM and returns the PID that the gateway sees as its sender."""
    if how == "shell":
        return gateway.lab.kill(pid, "TERM", gateway.user)
    gateway.systemctl("kill", "--signal=TERM", gateway.unit).check()
    return gateway.lab.manager_pid(gateway.scope)


@pytest.mark.parametrize("how", ["shell", "systemctl"])
@pytest.mark.parametrize("phase", PHASES)
def test_an_unplanned_sigterm_is_a_failure_and_is_mended(gateway, phase, how):
    old = gateway.enter(phase)
    sender = terminate(gateway, how, old)
    wait_until(lambda: gateway.exits(), 5, "the old process ended")
    gateway.release()
    new = gateway.wait_running(other_than=old)
    assert new != old
    assert not gateway.lab.alive(old)
    assert gateway.exits() == [("exited", "1/FAILURE")]
    assert gateway.restarts() == 1

    end = gateway.assert_last_end("unplanned", sender)
    assert end["exit_code"] == 1
    assert gateway.ask("back again?") == "back again?"


def test_the_record_names_the_senders_command_line_and_user(gateway):
    """The sender stands still behind its signal, so that there is something to be read of it."""
    old = gateway.enter("idle")
    sender = gateway.lab.spawn(["/bin/sh", "-c", f"kill -TERM {old}; sleep 60 # a-telling-command"], gateway.user)
    pid = gateway.lab.pid_of(sender)
    gateway.wait_running(other_than=old)
    evidence = str(gateway.assert_last_end("unplanned", pid)["evidence"])
    assert "a-telling-command" in evidence
    gateway.lab.stop_spawned(sender)


def test_sigint_from_a_stranger_is_not_planned_either(gateway):
    old = gateway.enter("idle")
    sender = gateway.lab.kill(old, "INT", gateway.user)
    gateway.wait_running(other_than=old)
    assert gateway.exits() == [("exited", "1/FAILURE")]
    gateway.assert_last_end("unplanned", sender)


def test_a_second_sigterm_does_not_change_the_verdict(gateway):
    """An operator's stop that comes while an unplanned end drains stops the unit, but the record keeps the first cause."""
    old = gateway.enter("in_turn")
    sender = gateway.lab.kill(old, "TERM", gateway.user)
    gateway.systemctl("stop", gateway.unit).check()
    assert gateway.pids() == []
    gateway.release()
    gateway.systemctl("reset-failed", gateway.unit)
    gateway.start()
    gateway.assert_last_end("unplanned", sender)


def test_history_keeps_each_end(gateway):
    old = gateway.enter("idle")
    gateway.lab.kill(old, "TERM", gateway.user)
    gateway.wait_running(other_than=old)
    gateway.systemctl("stop", gateway.unit).check()
    gateway.start()
    told = gateway.cli("gateway", "history", "--json").check().out
    assert '"unplanned"' in told and '"planned"' in told
