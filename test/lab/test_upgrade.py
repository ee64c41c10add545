"""`gateway upgrade` as a service (L9): the same main process for the manager, which never hears of a stop or a start."""

import json
import threading

import pytest

from gateway import CONFIG, INSTALLED, KEY
from lab import wait_until
from support.clients import Clients
from support.programs import broken, new_version, write_program
from support.torture import report, rounds

NEXT = "/usr/local/bin/talaria-next"  # the sandbox sees it


@pytest.fixture
def next_program(gateway):
    path = gateway.lab.path(NEXT)
    yield path
    path.unlink(missing_ok=True)


def runs(gateway, count=10):
    return json.loads(gateway.cli("gateway", "history", "--json", "-n", str(count)).check().out)["runs"]


def upgrade(gateway, program=NEXT):
    return gateway.cli("gateway", "upgrade", "--binary", program, timeout=120)


def test_the_unit_does_not_notice(gateway, next_program):
    gateway.drop_in("[Service]\nWatchdogSec=2s\n")
    gateway.start()
    before = gateway.show("MainPID", "InvocationID", "ActiveEnterTimestampMonotonic", "NFileDescriptorStore")
    version = new_version(next_program, 81)
    done = upgrade(gateway).check()
    assert done.out.endswith(f"to {version}\n")
    assert gateway.show("MainPID", "InvocationID", "ActiveEnterTimestampMonotonic", "NFileDescriptorStore") == before
    assert gateway.restarts() == 0
    assert gateway.status()["version"] == version
    assert gateway.ask("hello") == "hello"

    # It still talks to the manager: status line, watchdog, and a stop that is planned.
    wait_until(lambda: gateway.show("StatusText").startswith("running"), 5, "the new program's status line")
    seen = gateway.show("WatchdogTimestampMonotonic")
    wait_until(lambda: gateway.show("WatchdogTimestampMonotonic") != seen, 10, "the watchdog is fed")
    gateway.systemctl("stop", gateway.unit).check()
    gateway.assert_stopped_as_planned(restarts=0)
    gateway.start()
    assert [run["verdict"] for run in runs(gateway)] == [None, "planned", "upgrade"]


def test_after_an_upgrade_a_kill_is_mended_and_named(gateway, next_program):
    gateway.start()
    version = new_version(next_program, 82)
    upgrade(gateway).check()
    old = gateway.pid()
    gateway.lab.kill(old, "KILL", gateway.user)
    gateway.wait_running(other_than=old)
    now, crash, upgraded = runs(gateway)[:3]
    assert now["verdict"] is None
    assert (crash["verdict"], crash["version"]) == ("crash", version) and "KILL" in crash["cause"]
    assert upgraded["verdict"] == "upgrade"


def test_a_program_that_dies_after_it_took_over_is_mended_and_named(gateway, next_program):
    """It passes its self-check and fails as a gateway: the manager starts the installed one, and the history tells."""
    gateway.start()
    old = gateway.status()["version"]
    write_program(next_program, f'#!/bin/sh\ncase "$*" in *self-check*) exec {INSTALLED} "$@";; esac\nexit 1\n')
    done = upgrade(gateway)
    assert done.code == 1 and "ended" in done.err, done.err
    gateway.wait_running()
    now, crash, upgraded = runs(gateway)[:3]
    assert (now["verdict"], now["version"]) == (None, old)
    assert crash["verdict"] == "unplanned" and "exit code 1" in crash["cause"], crash
    assert upgraded["verdict"] == "upgrade"
    assert gateway.restarts() == 1


def test_a_stop_job_during_an_upgrade_wins(gateway, next_program):
    """The new program must not find itself running in a unit that is being stopped."""
    gateway.configure(CONFIG.replace('"1s"', '"20s"'))
    gateway.enter("in_turn")
    new_version(next_program, 83)
    asking = threading.Thread(target=upgrade, args=(gateway,))
    asking.start()
    wait_until(lambda: gateway.status()["state"] == "draining", 10, "the upgrade drains")
    gateway.systemctl("stop", gateway.unit).check()
    gateway.assert_stopped_as_planned(restarts=0, leftovers=True)
    gateway.start()  # which the command that waited for the upgrade sees, too
    asking.join(60)
    assert runs(gateway)[1]["verdict"] == "planned"


@pytest.mark.torture
def test_upgrades_under_load(gateway, next_program):
    gateway.start()
    pid, times = gateway.pid(), rounds(4, 100)
    with Clients(lambda: gateway.lab.connect(gateway.port, timeout=60), 100, KEY, threads=16) as clients:
        for number in range(times):
            if number % 4 == 3:
                broken(next_program, "nonsense")
                assert upgrade(gateway).code == 1
            else:
                version = new_version(next_program, number % 99 + 1)
                upgrade(gateway).check()
                assert gateway.status()["version"] == version
    report("L9 service", scope=gateway.scope, attempts=times, **clients.figures())
    assert gateway.pid() == pid and gateway.restarts() == 0
    assert clients.answered
    assert not (clients.refused + clients.cut + clients.unavailable + clients.wrong)
    gateway.assert_never_failed()
