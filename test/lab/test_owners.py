"""L1 to L3: whoever may start it and however often, a profile has one owner, and supervision never evicts anybody (lifecycle.md, 3, 4, 7)."""

import contextlib
import http.client
import json
import re
import socket
import time

import pytest

from conftest import finish, skip_without_lab
from gateway import INSTALLED, Gateway
from lab import USER, Lab, holds, wait_until
from support.torture import report, rounds

PORT = 8795
CONFIG = """[gateway]
drain_timeout = "1s"
[api]
listen = "127.0.0.1:{port}"
keys   = ["file:{home}/api.key"]
[agent.default]
kind = "echo"
"""
HOLD = rounds(4, 60)  # seconds


class SharedHome:
    """One home that a system unit, a user unit and shells use. The units differ in nothing else."""

    def __init__(self, lab, profile):
        self.lab = lab
        self.path = f"/srv/{profile}"
        lab.put_file(f"{self.path}/config.toml", CONFIG.format(port=PORT, home=self.path), mode=0o600, owner=USER)
        lab.put_file(f"{self.path}/api.key", "k\n", mode=0o600, owner=USER)
        lab.run(["chown", "-R", USER, self.path]).check()
        lab.run(["chmod", "0700", self.path]).check()
        self.units = {scope: Gateway(lab, scope, profile) for scope in ("system", "user")}
        for scope, unit in self.units.items():
            unit.install()
            identity = f"User={USER}\nReadWritePaths={self.path}\n" if scope == "system" else ""
            unit.drop_in(f"[Service]\nEnvironment=TALARIA_HOME={self.path}\n{identity}")

    def cli(self, *arguments, timeout=30):
        return self.lab.run([INSTALLED, *arguments], USER, {"TALARIA_HOME": self.path}, timeout)

    def status(self):
        """The owner's own words at its control socket; None: nobody answers."""
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            client = http.client.HTTPConnection("localhost", timeout=2)
            with socket.socket(socket.AF_UNIX) as client.sock:
                client.sock.settimeout(2)
                client.sock.connect(str(self.lab.path(f"{self.path}/run/control.sock")))
                client.request("GET", "/control/status")
                return json.loads(client.getresponse().read())
        return None

    def owner(self):
        status = self.status()
        return status["pid"] if status and status["state"] == "running" else None

    def runs(self):
        """Of the ledger, oldest first."""
        return json.loads(self.cli("gateway", "history", "--json", "-n", "1000").check().out)["runs"][::-1]


@pytest.fixture(scope="module")
def both(binary):
    skip_without_lab()
    with Lab(programs={INSTALLED: binary}) as lab:
        yield lab


@pytest.fixture
def home(both, request):
    shared = SharedHome(both, f"h{abs(hash(request.node.name)) % 100_000}")
    yield shared
    for unit in shared.units.values():
        finish(unit, request)


def milliseconds(timestamp):
    """Of an RFC 3339 time."""
    date, _, fraction = timestamp.rstrip("Z").partition(".")
    return int(time.mktime(time.strptime(date, "%Y-%m-%dT%H:%M:%S")) * 1000) + int((fraction or "0").ljust(3, "0")[:3])


@pytest.mark.torture
@pytest.mark.parametrize("first", ["system", "user"])
def test_user_and_system_unit_of_one_profile(home, first):
    """L1: one runs, one waits and says for whom; neither restarts; the owner's stop makes the other one owner at once."""
    owner, standby = home.units[first], home.units["user" if first == "system" else "system"]
    owner.systemctl("start", owner.unit).check()
    wait_until(lambda: home.owner() == owner.pid(), 10, "the first owns the home")
    standby.systemctl("start", standby.unit, timeout=10).check()  # no start job hangs
    assert standby.show("StatusText") == f"standby for PID {owner.pid()}, {first} service {owner.unit}"
    pids = owner.pid(), standby.pid()

    def unchanged():
        return (owner.pid(), standby.pid()) == pids and home.owner() == pids[0] and \
            (owner.restarts(), standby.restarts()) == (0, 0)
    holds(unchanged, HOLD, "one owner, one standby, no restart")

    owner.systemctl("stop", owner.unit).check()
    wait_until(lambda: home.owner() == pids[1], 5, "the standby owns the home")
    old, new = home.runs()
    gap = milliseconds(new["ready_at"]) - milliseconds(old["at"])
    report("L1", first=first, seconds=HOLD, gap_ms=gap)
    # The promise is 100 ms from the lock's release to its new owner. What is measured begins earlier, when the old one's end is recorded,
    # and ends later, when the new one is ready.
    assert gap <= 250
    assert (old["verdict"], new["verdict"], new["pid"]) == ("planned", None, pids[1])
    assert owner.show("ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"}
    assert standby.restarts() == 0


@pytest.mark.parametrize("scope", ["system", "user"])
def test_replace_from_a_shell_is_refused_by_a_supervised_owner(home, scope):
    """L2."""
    owner = home.units[scope]
    owner.systemctl("start", owner.unit).check()
    wait_until(lambda: home.owner() == owner.pid(), 10, "it owns the home")
    pid = owner.pid()
    refused = home.cli("gateway", "run", "--replace")
    assert refused.code == 73
    assert owner.unit in refused.err and str(pid) in refused.err
    command = re.search(r"`(systemctl [^`]*restart [^`]*)`", refused.err)
    assert command, refused.err
    assert (owner.pid(), home.owner(), owner.restarts()) == (pid, pid, 0)
    # The advice works.
    home.lab.run(command.group(1).split(), owner.user).check()
    wait_until(lambda: home.owner() == owner.pid() != pid, 10, "restarted as advised")
    assert [run["verdict"] for run in home.runs()] == ["planned", None]


FOREIGN = {
    "simple": f"{INSTALLED} gateway run --replace",
    "wrapper": f"/bin/sh -c '{INSTALLED} gateway run --replace; exit $?'",
}


@pytest.mark.torture
@pytest.mark.parametrize("first", ["ours", "foreign"])
@pytest.mark.parametrize("command", FOREIGN.values(), ids=FOREIGN.keys())
def test_a_foreign_unit_that_replaces_and_always_restarts(home, first, command):
    """L3: no loop, at most one change of owner."""
    ours = home.units["system"]
    foreign = Gateway(home.lab, "system", "foreign")
    foreign.unit = "foreign.service"
    home.lab.put_file("/etc/systemd/system/foreign.service", f"[Service]\nUser={USER}\nEnvironment=TALARIA_HOME={home.path}\n"
                      f"ExecStart={command}\nRestart=always\nRestartSec=100ms\nStartLimitIntervalSec=0\n")
    ours.systemctl("daemon-reload").check()
    order = [ours, foreign] if first == "ours" else [foreign, ours]
    try:
        for unit in order:
            unit.systemctl("start", unit.unit).check()
            wait_until(home.owner, 10, "somebody owns the home")
        owner = home.owner()
        holds(lambda: home.owner() == owner, HOLD, "the same owner")
        changes = len(home.runs()) - 1
        report("L3", first=first, command=command, seconds=HOLD, changes=changes)
        assert changes <= 1, home.runs()
        assert ours.restarts() == 0
        # A foreign unit that is stopped stays stopped, and the home goes to ours.
        foreign.systemctl("stop", foreign.unit).check()
        wait_until(lambda: home.owner() == ours.pid(), 5, "ours owns the home")
    finally:
        foreign.dispose()
