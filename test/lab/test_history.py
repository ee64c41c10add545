"""Every end under its own name, each provoked for real, in one history (issue 3, item 4; lifecycle.md, 5)."""

import json

import pytest

from hindrance import Hindrance
from lab import SCOPES, USER, wait_until
from support.torture import rounds


@pytest.fixture(params=rounds(["user"], SCOPES), scope="module")
def scope(request):
    return request.param


def history(gateway, *more):
    return json.loads(gateway.cli("gateway", "history", "--json", "-n", "100", *more).check().out)["runs"]


def last_end(gateway):
    return next(run for run in history(gateway) if run["verdict"])


def healed(gateway, old):
    """Comes back by itself, and no back-off of a start before delays the next cause."""
    gateway.wait_running(timeout=20, other_than=old)


def start_anew(gateway):
    gateway.systemctl("reset-failed", gateway.unit)
    gateway.systemctl("start", gateway.unit).check()
    gateway.wait_running(timeout=20)


def named(gateway, verdict, kind):
    end = last_end(gateway)
    assert (end["verdict"], end["kind"]) == (verdict, kind), end
    return end


@pytest.mark.torture
def test_every_end_under_its_own_name(gateway):
    hindrance = Hindrance(gateway)
    gateway.start()

    gateway.systemctl("stop", gateway.unit).check()
    end = named(gateway, "planned", "stop")
    assert end["evidence"]["service_result"] == "success"  # the manager's view, before any other start
    assert set(end["phases"]) >= {"starting", "running", "drain"}
    gateway.start()

    gateway.systemctl("restart", gateway.unit).check()
    gateway.wait_running()
    named(gateway, "planned", "restart")

    old = gateway.pid()
    gateway.cli("gateway", "restart").check()
    healed(gateway, old)
    assert last_end(gateway)["kind"] == "restart"

    old = gateway.pid()
    sender = gateway.lab.kill(old, "TERM", gateway.user)
    healed(gateway, old)
    assert named(gateway, "unplanned", "kill")["evidence"]["sender_pid"] == sender

    old = gateway.pid()
    gateway.lab.kill(old, "KILL", gateway.user)
    healed(gateway, old)
    named(gateway, "crash", "sigkill")

    old = gateway.pid()
    gateway.lab.kill(old, "SEGV", gateway.user)
    healed(gateway, old)
    end = named(gateway, "crash", "fatal-signal")
    assert gateway.exits()[-1] == ("killed", "11/SEGV")  # the manager sees the real signal
    assert "SIGSEGV" in end["cause"], end
    assert end["pid"] == old
    assert any("talaria" in line for line in end["evidence"]["crash"]["stack"]), end

    # A stop that is stuck: the loop does not even read the signal.
    gateway.drop_in(hindrance.lines + "TimeoutStopSec=1s\n")
    hindrance.order("block")
    wait_until(lambda: hindrance.taken("block"), 5, "the loop stands still")
    gateway.systemctl("stop", gateway.unit)
    named(gateway, "crash", "stop-timeout")

    # Before the ledger is open: no run of it, and still an end.
    gateway.drop_in(hindrance.lines + "TimeoutStartSec=1s\nTimeoutStopSec=1s\nRestart=no\n")
    hindrance.order("block")
    gateway.systemctl("start", gateway.unit)
    end = named(gateway, "crash", "start-timeout")
    assert end["ready_at"] is None

    gateway.drop_in("")
    config = gateway.lab.path(f"{gateway.config_directory}/config.toml")
    right = config.read_text()
    config.write_text(right + "\n[nonsense]\n")
    gateway.systemctl("start", gateway.unit)
    end = named(gateway, "config", "config")
    assert end["exit_code"] == 78
    config.write_text(right)
    start_anew(gateway)

    told = [run["kind"] for run in history(gateway) if run["verdict"]]
    assert told == ["config", "start-timeout", "stop-timeout", "fatal-signal", "sigkill", "kill", "restart", "restart", "stop"], told


def test_the_managers_view_is_written_by_the_units_user(gateway):
    """After a kill by the shell of ExecStopPost=, else by the program: nothing in the state directory ever becomes root's."""
    gateway.start()
    state = f"/var/lib/talaria/{gateway.profile}" if gateway.scope == "system" else f"/home/{USER}/.local/state/talaria/{gateway.profile}"
    for _ in range(2):  # the program makes the file, the shell adds to it
        old, invocation = gateway.pid(), gateway.show("InvocationID")
        gateway.lab.kill(old, "KILL", gateway.user)
        healed(gateway, old)
        seen = [json.loads(line) for line in gateway.lab.path(f"{state}/exits.jsonl").read_text().splitlines()]
        assert (seen[-1]["exit_status"], seen[-1]["invocation_id"]) == ("KILL", invocation)
        named(gateway, "crash", "sigkill")
    assert [bool(line["pid"]) for line in seen] == [True, False], "by the program, by the shell"
    owners = {path.stat().st_uid for path in gateway.lab.path(state).rglob("*")}
    assert owners == {gateway.lab.path(state).stat().st_uid}
    assert gateway.scope == "user" or 0 not in owners


def test_a_power_cut_is_named_after_the_reboot(gateway):
    """Nobody sees the end, and the next start is on another boot: its id is a file that the lab mounts over the kernel's."""
    boot_id = "/proc/sys/kernel/random/boot_id"
    gateway.drop_in("[Service]\nExecStopPost=\nRestart=no\n")
    gateway.start()
    gateway.systemctl("kill", "--signal=KILL", gateway.unit).check()
    wait_until(lambda: gateway.pid() == 0, 5, "gone")
    gateway.systemctl("reset-failed", gateway.unit)
    gateway.lab.put_file("/run/other-boot", "0badc0de-1111-2222-3333-444444444444\n")
    gateway.lab.run(["mount", "--bind", "/run/other-boot", boot_id]).check()
    try:
        assert last_end(gateway)["kind"] == "power-cut"  # asked before any start
        if gateway.scope == "system":  # its sandbox has a /proc of its own
            gateway.drop_in(f"[Service]\nExecStopPost=\nRestart=no\nBindReadOnlyPaths=/run/other-boot:{boot_id}\n")
        gateway.start()
        named(gateway, "crash", "power-cut")
    finally:
        gateway.systemctl("stop", gateway.unit)
        gateway.lab.run(["umount", boot_id]).check()


def test_an_out_of_memory_kill_is_named(gateway):
    """With the manager's own words for it: few machines give a test a memory controller to run out of."""
    binary, option = "/usr/local/bin/talaria", "--system " if gateway.scope == "system" else ""
    gateway.drop_in("[Service]\nExecStopPost=\n"
                    f"ExecStopPost=/usr/bin/env SERVICE_RESULT=oom-kill EXIT_CODE=killed EXIT_STATUS=KILL {binary} {option}-p %i gateway record-exit\n")
    gateway.start()
    old = gateway.pid()
    gateway.lab.kill(old, "KILL", gateway.user)
    healed(gateway, old)
    named(gateway, "crash", "oom-kill")


def test_the_timeline_is_readable(gateway):
    gateway.start()
    old = gateway.pid()
    gateway.lab.kill(old, "TERM", gateway.user)
    healed(gateway, old)
    told = gateway.cli("gateway", "history").check().out
    lines = told.splitlines()
    assert lines[0].startswith("now") and f"PID {gateway.pid()}" in lines[0], told
    assert "down for" in lines[1], told
    assert "unplanned, kill" in lines[2] and f"PID {old}" in lines[2], told
    assert "\x1b" not in told
    assert history(gateway, "--since", "1ms")[0]["verdict"] is None
