"""The lab is proved before anything is proved in it: with a small service of its own, and by what it leaves behind (nothing)."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import skip_without_lab
from lab import HERE, UID, USER, Lab, wait_until
from lab_guard import PREFIX, cgroup_root, start_time

UNIT = "probe.service"
TEXT = """[Service]
Type=notify
ExecStart=/usr/local/bin/probe-service {file}
Restart=on-failure
RestartSec=50ms
TimeoutStartSec=30s
"""


@pytest.fixture(scope="module")
def lab():
    skip_without_lab()
    with Lab(programs={"/usr/local/bin/probe-service": HERE / "probe_service.py"}) as booted:
        yield booted


@pytest.fixture
def probe(lab, scope):
    """The service, installed but not running, with an empty directory of its own for its file."""
    home = "/srv/probe-" + scope
    lab.run(["install", "-d", "-o", str(UID if scope == "user" else 0), home]).check()
    directory = "/etc/systemd/system" if scope == "system" else f"/home/{USER}/.config/systemd/user"
    lab.put_file(f"{directory}/{UNIT}", TEXT.format(file=home + "/file"), owner=lab.user_of(scope))
    lab.systemctl(scope, "daemon-reload").check()
    yield home
    lab.systemctl(scope, "stop", UNIT)
    lab.systemctl(scope, "reset-failed", UNIT)


def test_boot_is_whole(lab, scope):
    assert lab.systemctl(scope, "is-system-running").out.strip() == "running"
    assert lab.systemctl(scope, "list-units", "--failed", "--no-legend").out == ""


def test_nothing_of_the_machine_is_writable_from_inside(lab):
    inside = lab.run(["/bin/sh", "-c", "echo x >/etc/lab-was-here; echo x >/usr/lab-was-here; echo x >/var/lab-was-here; echo x >/root/lab-was-here"])
    inside.check()
    for path in ("/etc", "/usr", "/var", "/root"):
        assert lab.path(f"{path}/lab-was-here").exists()
        assert not os.path.exists(f"{path}/lab-was-here")
    same = "/proc/sys/vm/overcommit_memory"  # its own value is written back: harmless where the protection fails
    assert lab.run(["/bin/sh", "-c", f"read -r value <{same} && echo $value >{same}"]).code != 0
    assert lab.run(["/bin/sh", "-c", "echo h >/proc/sysrq-trigger"]).code != 0


def test_commands_start_with_a_login_shells_environment_only(lab, monkeypatch):
    monkeypatch.setenv("INVOCATION_ID", "leaked")
    assert "INVOCATION_ID" not in lab.run(["env"]).out
    assert lab.run(["id", "-un"], USER).out == USER + "\n"


def test_a_command_that_hangs_is_ended(lab):
    began = time.monotonic()
    with pytest.raises(AssertionError, match="did not end within 1 s"):
        lab.run(["sleep", "987"], timeout=1)
    assert time.monotonic() - began < 5
    assert "sleep 987" not in lab.run(["ps", "-eo", "args"]).out


def test_stop_is_sent_by_the_manager(lab, scope, probe):
    cursor = lab.journal_cursor()
    lab.systemctl(scope, "start", UNIT).check()
    assert lab.show(scope, UNIT, "ActiveState", "StatusText") == {"ActiveState": "active", "StatusText": "up"}
    lab.systemctl(scope, "stop", UNIT).check()
    assert lab.show(scope, UNIT, "ActiveState", "Result", "NRestarts") == {"ActiveState": "inactive", "Result": "success", "NRestarts": "0"}
    assert f"signal 15 from {lab.manager_pid(scope)}" in lab.journal_text(scope, UNIT, cursor)
    assert lab.pids_in(lab.cgroup_of(scope, UNIT)) == []


def test_kill_is_sent_by_the_shell_and_a_failure_is_restarted(lab, scope, probe):
    lab.systemctl(scope, "start", UNIT).check()
    cursor = lab.journal_cursor()
    pid = lab.main_pid(scope, UNIT)
    assert lab.pids_in(lab.cgroup_of(scope, UNIT)) == [pid]
    assert lab.alive(pid)
    sender = lab.kill(pid, "USR1", lab.user_of(scope))
    wait_until(lambda: lab.main_pid(scope, UNIT) not in (0, pid), 5, "restarted")
    assert not lab.alive(pid)
    assert f"signal 10 from {sender}" in lab.journal_text(scope, UNIT, cursor)
    assert "Failed with result 'exit-code'" in lab.journal_text(scope, UNIT, cursor)
    assert "status=3" in lab.journal_text(scope, UNIT, cursor)


def test_journal_since_a_cursor_holds_nothing_older(lab, scope, probe):
    lab.systemctl(scope, "start", UNIT).check()
    lab.systemctl(scope, "stop", UNIT).check()
    assert "signal 15" in lab.journal_text(scope, UNIT)
    assert lab.journal_text(scope, UNIT, lab.journal_cursor()) == ""


def test_a_full_disk_is_full_until_it_is_not(lab, scope, probe):
    lab.mount_small(probe, "1m")
    filler = lab.fill_disk(probe)
    lab.systemctl(scope, "start", "--no-block", UNIT).check()
    wait_until(lambda: "No space left" in lab.show(scope, UNIT, "StatusText"), 5, "the service meets the full disk")
    assert lab.show(scope, UNIT, "ActiveState") == "activating"
    filler.unlink()
    wait_until(lambda: lab.show(scope, UNIT, "ActiveState") == "active", 5, "ready")
    lab.systemctl(scope, "stop", UNIT).check()
    lab.unmount(probe)


@pytest.mark.parametrize("sandboxed", [False, True])
def test_a_read_only_file_system_is_so_for_a_sandbox_too(lab, scope, probe, sandboxed):
    if sandboxed and scope == "system":
        lab.put_file(f"/etc/systemd/system/{UNIT}.d/sandbox.conf", f"[Service]\nProtectSystem=strict\nReadWritePaths={probe}\nPrivateTmp=yes\n")
        lab.systemctl(scope, "daemon-reload").check()
    lab.mount_small(probe)
    lab.remount(probe, read_only=True)
    lab.systemctl(scope, "start", "--no-block", UNIT).check()
    wait_until(lambda: "Read-only file system" in lab.show(scope, UNIT, "StatusText"), 5, "the service meets it")
    lab.remount(probe, read_only=False)
    wait_until(lambda: lab.show(scope, UNIT, "ActiveState") == "active", 5, "ready")
    lab.systemctl(scope, "stop", UNIT).check()
    lab.unmount(probe)


def test_the_network_is_its_own(lab):
    server = lab.spawn([sys.executable, "-c", "import socket; s=socket.create_server(('127.0.0.1',4999)); print('up',flush=True); s.accept()[0].sendall(b'inside')"],
                       stdout=subprocess.PIPE)
    assert server.stdout.readline() == "up\n"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", 4999), timeout=2)
    with lab.connect(4999) as peer:
        assert peer.recv(100) == b"inside"
    assert server.wait(5) == 0
    assert sorted(lab.run(["ls", "/sys/class/net"]).out.split())[0] == "lo"


def test_a_spawned_command_is_known_by_its_inner_pid(lab):
    sleeper = lab.spawn(["sleep", "100"])
    pid = lab.pid_of(sleeper)
    assert lab.run(["ps", "-o", "args=", "-p", str(pid)]).out == "sleep 100\n"
    lab.stop_spawned(sleeper)
    assert not lab.alive(pid)


def call_bus(lab, scope):
    option = "--system" if scope == "system" else "--user"
    call = ["busctl", option, "call", "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "GetId"]
    return lab.run(["timeout", "1", *call], lab.user_of(scope))


def test_the_bus_can_hang_and_come_back(lab, scope):
    assert call_bus(lab, scope).code == 0
    lab.hang_bus()
    assert call_bus(lab, scope).code == 124  # timeout(1): not refused, not answered
    assert lab.show(scope, "basic.target", "ActiveState") == "active"  # the managers themselves still answer
    lab.unhang_bus()
    assert call_bus(lab, scope).code == 0


def test_the_bus_can_be_gone_and_come_back(lab, scope):
    lab.stop_bus()
    assert call_bus(lab, scope).code != 0
    assert lab.show(scope, "basic.target", "ActiveState") == "active"
    lab.start_bus()
    assert call_bus(lab, scope).code == 0


# -- what is left ---------------------------------------------------------------------------------------------------------------------


def processes_in(pid_namespace):
    """Outer PIDs of all living processes in that namespace."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.readlink(entry / "ns/pid") == pid_namespace and start_time(entry.name):
                    found.append(int(entry.name))
            except OSError:
                pass
    return found


def traces(place):
    """What exists of a lab now."""
    return {"processes": processes_in(place["namespace"]), "cgroup": os.path.exists(place["cgroup"]),
            "guard": start_time(place["guard"]) == place["guard_since"]}


def mounts():
    return Path("/proc/self/mountinfo").read_text(encoding="utf-8")


GONE = {"processes": [], "cgroup": False, "guard": False}


def test_teardown_leaves_nothing(lab):
    before = mounts()
    with Lab() as other:
        place = {"namespace": os.readlink(f"/proc/{other.init}/ns/pid"), "cgroup": other.cgroup, "guard": other._guard.pid, "guard_since": start_time(other._guard.pid)}
        stubborn = other.spawn(["setsid", "sh", "-c", "trap '' TERM HUP INT; echo up; sleep 1000"], stdout=subprocess.PIPE)
        assert stubborn.stdout.readline() == "up\n"
        there = traces(place)
        assert len(there["processes"]) > 5 and there["cgroup"] and there["guard"]
        assert mounts() == before
    assert traces(place) == GONE
    assert mounts() == before
    assert lab.systemctl("system", "is-system-running").out == "running\n"  # a lab beside it is not disturbed


OWNER = """
import json, os, sys, time
sys.path.insert(0, {here!r})
from lab import Lab
from lab_guard import start_time
with Lab() as lab:
    print(json.dumps({{"namespace": os.readlink(f"/proc/{{lab.init}}/ns/pid"), "cgroup": lab.cgroup, "guard": lab._guard.pid,
                      "guard_since": start_time(lab._guard.pid)}}), flush=True)
    time.sleep(1000)
"""


@pytest.mark.parametrize("victim", ["owner", "guard"])
def test_nothing_is_left_when_the_test_or_the_guard_is_killed(victim):
    skip_without_lab()
    owner = subprocess.Popen([sys.executable, "-B", "-c", OWNER.format(here=str(HERE))], stdout=subprocess.PIPE, text=True)
    try:
        place = json.loads(owner.stdout.readline())
        assert len(traces(place)["processes"]) > 5
        if victim == "owner":
            owner.kill()
            wait_until(lambda: traces(place) == GONE, 10, "all of it is gone")
        else:
            os.kill(place["guard"], signal.SIGKILL)
            wait_until(lambda: processes_in(place["namespace"]) == [], 10, "its processes are gone")
            assert os.path.exists(place["cgroup"])  # nobody was left to remove it
            with Lab():
                assert not os.path.exists(place["cgroup"])  # the next lab did
    finally:
        owner.kill()
        owner.wait()
        owner.stdout.close()


def test_no_cgroup_of_a_dead_lab_is_left(lab):
    left = [name.removeprefix(PREFIX).partition("-") for name in os.listdir(cgroup_root()) if name.startswith(PREFIX)]
    assert [each for each in left if start_time(each[0]) != each[2]] == []
