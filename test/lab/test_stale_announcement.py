"""S6: an announcement counts for the one incarnation that it names (lifecycle.md, 5). Nothing that an earlier one left behind makes a
stray SIGTERM to a later one look planned."""

import os
import shlex

import pytest

from lab import UID, wait_until


def exec_stop(gateway, main_pid):
    """Runs the unit's own ExecStop= line, with the directories that the manager passed to the process that runs now and with this
    $MAINPID ("" as systemd sets it when the main process has ended by itself)."""
    line = gateway.show("ExecStop")
    command = shlex.split(line.partition("argv[]=")[2].partition(" ; ")[0])
    environment = {}
    pid = gateway.pid()
    for entry in gateway.lab.path(f"/proc/{pid}/environ").read_bytes().decode().split("\0"):
        name, _, value = entry.partition("=")
        if name.endswith("_DIRECTORY") or name.startswith("TALARIA_") or name in ("HOME", "XDG_RUNTIME_DIR"):
            environment[name] = value
    return gateway.lab.run(command, gateway.user, {**environment, "MAINPID": str(main_pid)}, timeout=10)


def assert_stray_sigterm_is_unplanned(gateway):
    pid = gateway.wait_running()
    before = len(gateway.exits())
    sender = gateway.lab.kill(pid, "TERM", gateway.user)
    gateway.wait_running(other_than=pid)
    assert gateway.exits()[before:] == [("exited", "1/FAILURE")]
    gateway.assert_last_end("unplanned", sender)


def test_an_announcement_for_the_living_counts(gateway):
    """The counterpart, without which the others would prove nothing: the same line, said of the right process, makes it planned."""
    pid = gateway.enter("idle")
    exec_stop(gateway, pid).check()
    gateway.lab.kill(pid, "TERM", gateway.user)
    wait_until(lambda: gateway.show("ActiveState") == "inactive", 5, "stopped and not restarted")
    gateway.assert_stopped_as_planned(0)


def test_after_a_crash(gateway):
    pid = gateway.enter("idle")
    gateway.lab.kill(pid, "KILL", gateway.user)
    gateway.wait_running(other_than=pid)
    assert_stray_sigterm_is_unplanned(gateway)


def test_an_announcement_for_one_that_crashed_since(gateway):
    pid = gateway.enter("idle")
    exec_stop(gateway, pid).check()
    gateway.lab.kill(pid, "KILL", gateway.user)
    gateway.wait_running(other_than=pid)
    assert_stray_sigterm_is_unplanned(gateway)


def test_an_announcement_left_for_one_that_could_not_hear_it(gateway):
    """Frozen, it does not answer on its socket, so the announcement waits in a file; then it dies without having read it."""
    pid = gateway.enter("idle")
    gateway.lab.kill(pid, "STOP", gateway.user)
    exec_stop(gateway, pid).check()
    gateway.lab.kill(pid, "KILL", gateway.user)
    gateway.wait_running(other_than=pid)
    assert_stray_sigterm_is_unplanned(gateway)


def test_an_announcement_left_for_one_that_hears_it_later(gateway):
    """The same file, and the one it is meant for lives on: it counts."""
    pid = gateway.enter("idle")
    gateway.lab.kill(pid, "STOP", gateway.user)
    exec_stop(gateway, pid).check()
    gateway.lab.kill(pid, "TERM", gateway.user)
    gateway.lab.kill(pid, "CONT", gateway.user)
    wait_until(lambda: gateway.show("ActiveState") == "inactive", 5, "stopped and not restarted")
    gateway.assert_stopped_as_planned(0)


@pytest.mark.parametrize("whose", ["nobody's", "a dead process's", "another process's"])
def test_an_announcement_that_names_somebody_else(gateway, whose):
    """systemd runs ExecStop= with an empty $MAINPID after a self-exit; by then the next incarnation may run."""
    gateway.enter("idle")
    if whose == "nobody's":
        named = ""
    elif whose == "a dead process's":
        named = int(gateway.lab.run(["/bin/sh", "-c", "echo $$"]).out)
    else:
        named = gateway.lab.manager_pid(gateway.scope)
    exec_stop(gateway, named).check()  # an ExecStop= that fails would only be noise in the journal
    assert_stray_sigterm_is_unplanned(gateway)


def test_after_a_planned_stop(gateway):
    gateway.enter("idle")
    gateway.systemctl("stop", gateway.unit).check()
    gateway.start()
    assert_stray_sigterm_is_unplanned(gateway)


def test_after_a_planned_restart(gateway):
    gateway.enter("idle")
    gateway.systemctl("restart", gateway.unit).check()
    assert_stray_sigterm_is_unplanned(gateway)


@pytest.mark.parametrize("scope", ["user"], indirect=True)
def test_an_announcement_written_by_a_stranger_does_not_count(gateway):
    """A marker file of another user. (Root may announce for everybody, so only the user's gateway has such strangers.)"""
    pid = gateway.enter("idle")
    runtime = f"/run/user/{UID}/talaria/{gateway.profile}"
    before = set(os.listdir(gateway.lab.path(runtime)))
    gateway.lab.kill(pid, "STOP", gateway.user)
    exec_stop(gateway, pid).check()
    (name,) = set(os.listdir(gateway.lab.path(runtime))) - before
    marker = f"{runtime}/{name}"
    gateway.lab.run(["chown", "nobody", marker]).check()
    gateway.lab.run(["chmod", "0644", marker]).check()  # it can be read, so it is the owner that counts
    sender = gateway.lab.kill(pid, "TERM", gateway.user)
    gateway.lab.kill(pid, "CONT", gateway.user)
    gateway.wait_running(other_than=pid)
    gateway.assert_last_end("unplanned", sender)
