"""S7: a mistake in the configuration ends the start at once and for good; trouble that may pass is named and waited out (lifecycle.md, 4)."""

import json
import time

import pytest

from lab import holds, wait_until

# The promise is one second after the cause is gone; the rest is the margin of a busy machine.
HEALED_WITHIN = 3


def assert_named(gateway, *words):
    """The thing in the way stands in the manager's status line and in `status`, which calls the state "starting"."""
    def told():
        line = gateway.show("StatusText")
        return all(word in line for word in words) and line
    wait_until(told, 5, f"STATUS= names {words}")
    status = gateway.status()
    assert status["state"] == "starting", status
    assert status["ready"] is False
    for word in words:
        assert word in json.dumps(status), status
        assert word in gateway.cli("gateway", "status").out
    assert gateway.show("ActiveState") == "activating"


def assert_heals(gateway, pid, began):
    """Served soon after `began`, by the same process, without a human."""
    gateway.wait_running(timeout=HEALED_WITHIN)
    assert time.monotonic() - began < HEALED_WITHIN
    assert gateway.pid() == pid
    assert gateway.restarts() == 0
    assert gateway.status()["state"] == "running"
    assert gateway.ask("healed") == "healed"
    gateway.assert_never_failed()


# -- configuration --------------------------------------------------------------------------------------------------------------------

WRONG = """[gateway]
drain_timeuot = "1s"

[api]
listen = "127.0.0.1:{port}"
keys   = ["file:{key_file}"]

[agent.default]
kind = "ehco"
"""


def assert_refused(gateway, *told):
    gateway.systemctl("start", gateway.unit)
    seen = wait_until(lambda: (now := gateway.show("ActiveState", "SubState", "Result", "ExecMainStatus", "NRestarts", "Job")) and now["ActiveState"] == "failed" and now,
                      5, "given up")
    # "failed" with no job left is where a unit that is not restarted stays; one that will be is "activating (auto-restart)".
    assert (seen["ExecMainStatus"], seen["NRestarts"], seen["Job"]) == ("78", "0", ""), seen
    assert gateway.exits() == [("exited", "78/CONFIG")]
    said = gateway.journal()
    for each in told:
        assert each in said, said


def test_every_mistake_of_the_configuration_is_listed_and_nothing_is_restarted(gateway):
    gateway.configure(WRONG)
    assert_refused(gateway, "config.toml:2:", "drain_timeout", "config.toml:9:", "echo")


def test_no_configuration_at_all(gateway):
    gateway.lab.path(f"{gateway.config_directory}/config.toml").unlink()
    assert_refused(gateway, "config.toml")


def test_a_mended_configuration_starts(gateway):
    gateway.configure(WRONG)
    assert_refused(gateway)
    gateway.install()
    gateway.start()
    assert gateway.last_end().get("verdict") in (None, "config")


def test_gateway_start_tells_the_reason(gateway):
    """Success is only printed after READY."""
    gateway.configure(WRONG)
    ran = gateway.cli("gateway", "start")
    assert ran.code != 0
    assert "drain_timeuot" in ran.out + ran.err


# -- trouble that passes --------------------------------------------------------------------------------------------------------------


def test_port_in_use(gateway):
    holder = gateway.block_port()
    gateway.systemctl("start", "--no-block", gateway.unit).check()
    pid = gateway.wait_starting()
    assert_named(gateway, f"127.0.0.1:{gateway.port}")
    began = time.monotonic()
    gateway.lab.stop_spawned(holder)
    assert_heals(gateway, pid, began)


def test_trouble_outlasts_the_managers_start_time_out(gateway):
    """It is retried without end, so the manager must be told to wait on."""
    gateway.drop_in("[Service]\nTimeoutStartSec=4s\n")
    holder = gateway.block_port()
    gateway.systemctl("start", "--no-block", gateway.unit).check()
    pid = gateway.wait_starting()
    holds(lambda: gateway.show("ActiveState", "MainPID") == {"ActiveState": "activating", "MainPID": str(pid)}, 7, "starting, the same process")
    began = time.monotonic()
    gateway.lab.stop_spawned(holder)
    assert_heals(gateway, pid, began)


@pytest.fixture
def home(gateway):
    """The gateway's home on a small disk of its own. Where the home is, a first healthy run tells."""
    gateway.start()
    directory = gateway.status()["home"]
    gateway.systemctl("stop", gateway.unit).check()
    gateway.lab.mount_small(directory, "1m")
    yield directory
    gateway.systemctl("kill", "--signal=KILL", gateway.unit)
    gateway.systemctl("stop", gateway.unit, timeout=20)
    gateway.lab.unmount(directory)


def test_read_only_home(gateway, home):
    gateway.lab.remount(home, read_only=True)
    gateway.systemctl("start", "--no-block", gateway.unit).check()
    pid = gateway.wait_starting()
    assert_named(gateway, home, "ead-only")
    began = time.monotonic()
    gateway.lab.remount(home, read_only=False)
    assert_heals(gateway, pid, began)


def test_disk_full(gateway, home):
    filler = gateway.lab.fill_disk(home)
    gateway.systemctl("start", "--no-block", gateway.unit).check()
    pid = gateway.wait_starting()
    assert_named(gateway, home, "No space left")
    began = time.monotonic()
    filler.unlink()
    assert_heals(gateway, pid, began)


def test_one_trouble_after_another(gateway, home):
    """The status line follows: first the disk, then the port."""
    filler = gateway.lab.fill_disk(home)
    holder = gateway.block_port()
    gateway.systemctl("start", "--no-block", gateway.unit).check()
    pid = gateway.wait_starting()
    assert_named(gateway, home)
    filler.unlink()
    assert_named(gateway, f"127.0.0.1:{gateway.port}")
    began = time.monotonic()
    gateway.lab.stop_spawned(holder)
    assert_heals(gateway, pid, began)
