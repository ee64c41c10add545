"""S5: without an answer from D-Bus the verdict is still right, and a stop still takes less than a second (lifecycle.md, 5).

The managers go on: systemctl reaches them through their private sockets, and so must the gateway.
"""

import pytest

from gateway import timed


@pytest.fixture(params=["gone", "hung"])
def without_bus(request, fresh_gateway):
    """A running, idle gateway whose manager's bus (the system's and the user's) is gone or stands still since then."""
    fresh_gateway.start()
    lab = fresh_gateway.lab
    if request.param == "gone":
        lab.stop_bus()
    else:
        lab.hang_bus()
    yield fresh_gateway
    if request.param == "gone":
        lab.start_bus()
    else:
        lab.unhang_bus()


def test_stop_is_planned_and_quick(without_bus):
    gateway = without_bus
    seconds = timed(lambda: gateway.systemctl("stop", gateway.unit).check())
    gateway.assert_stopped_as_planned(0)
    assert seconds < 1
    gateway.start()
    gateway.assert_last_end("planned")


def test_restart_is_planned(without_bus):
    gateway = without_bus
    old = gateway.pid()
    gateway.systemctl("restart", gateway.unit).check()
    gateway.wait_running(other_than=old)
    gateway.assert_never_failed()
    gateway.assert_last_end(("planned", "restart"))


@pytest.mark.parametrize("how", ["shell", "systemctl"])
def test_an_unplanned_sigterm_is_unplanned(without_bus, how):
    gateway = without_bus
    old = gateway.pid()
    if how == "shell":
        sender = gateway.lab.kill(old, "TERM", gateway.user)
    else:
        gateway.systemctl("kill", "--signal=TERM", gateway.unit).check()
        sender = gateway.lab.manager_pid(gateway.scope)
    gateway.wait_running(other_than=old)
    assert gateway.exits() == [("exited", "1/FAILURE")]
    gateway.assert_last_end("unplanned", sender)


def test_it_starts_without_a_bus(without_bus):
    gateway = without_bus
    gateway.systemctl("stop", gateway.unit).check()
    assert timed(gateway.start) < 3
    assert gateway.ask("who needs a bus") == "who needs a bus"
