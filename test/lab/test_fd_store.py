"""L8: the API's address stays open over restarts and crashes (lifecycle.md, 7): who connects meanwhile waits and is served.

Only a planned stop closes it. What is lost is told apart from what is refused: a connection that the process had accepted when SIGKILL
hit has been cut, and its client knows it.
"""

import contextlib
import http.client
import json
import socket
import time

import pytest

from gateway import CONFIG, KEY
from lab import UID, wait_until
from support.clients import Clients
from support.torture import report, rounds

RATE = 200  # connections per second


@contextlib.contextmanager
def clients_of(gateway, rate=RATE):
    def connect():
        return gateway.lab.connect(gateway.port, timeout=80)
    with Clients(connect, rate, KEY) as clients:
        yield clients


def ends(gateway, count):
    """The newest ends, newest first."""
    runs = json.loads(gateway.cli("gateway", "history", "--json", "-n", str(count + 1)).check().out)
    runs = runs["runs"] if isinstance(runs, dict) else runs
    return [run for run in runs if run["verdict"]][:count]


@pytest.mark.torture
def test_no_connection_is_refused_while_the_operator_restarts(gateway):
    gateway.start()
    times = rounds(12, 1000)
    with clients_of(gateway) as clients:
        for _ in range(times):
            gateway.systemctl("restart", gateway.unit).check()
    report("L8 operator restarts", scope=gateway.scope, restarts=times, **clients.figures())
    assert clients.refused == [] and clients.wrong == []
    assert clients.answered
    gateway.assert_never_failed()
    explained = ends(gateway, times)
    assert len(explained) == times
    assert {run["verdict"] for run in explained} == {"planned"} and all(run["cause"] for run in explained)


@pytest.mark.torture
def test_no_connection_is_refused_while_it_is_killed(gateway):
    """After each kill an operator restarts, so that the crash loop's back-off is not what is measured."""
    gateway.start()
    times = rounds(8, 1000)
    with clients_of(gateway) as clients:
        for _ in range(times):
            old = gateway.pid()
            gateway.lab.kill(old, "KILL", gateway.user)
            new = gateway.wait_running(other_than=old, timeout=20)
            gateway.systemctl("restart", gateway.unit).check()
            gateway.wait_running(other_than=new)
    report("L8 kill -9", scope=gateway.scope, kills=times, **clients.figures())
    assert clients.refused == [] and clients.wrong == []
    assert clients.answered
    explained = ends(gateway, 2 * times)
    assert [run["verdict"] for run in explained] == ["planned", "crash"] * times
    assert all("KILL" in run["cause"] for run in explained if run["verdict"] == "crash")


def test_a_connection_made_while_nobody_runs_is_served_by_the_next(gateway):
    gateway.drop_in("[Service]\nRestartSec=2s\n")
    gateway.start()
    old = gateway.pid()
    gateway.lab.kill(old, "KILL", gateway.user)
    wait_until(lambda: gateway.show("SubState") == "auto-restart", 5, "the manager waits before it starts it again")
    assert gateway.pids() == []
    assert gateway.ask("is anybody there?") == "is anybody there?"
    assert gateway.pid() not in (0, old)


def test_a_planned_stop_refuses_at_once_though_it_still_drains(gateway):
    gateway.configure(CONFIG.replace('"1s"', '"20s"'))
    gateway.enter("in_turn")
    gateway.systemctl("stop", "--no-block", gateway.unit).check()

    def refused():
        try:
            gateway.lab.connect(gateway.port, 2).close()
        except ConnectionRefusedError:
            return True
        return False
    wait_until(refused, 5, "connections are refused")
    assert gateway.show("ActiveState") == "deactivating"


def test_another_address_in_the_configuration_closes_the_old_one(gateway):
    gateway.start()
    old_port, gateway.port = gateway.port, gateway.port + 20
    gateway.configure(CONFIG)
    gateway.systemctl("restart", gateway.unit).check()
    gateway.wait_running()
    assert gateway.ask("here?") == "here?"
    with pytest.raises(ConnectionRefusedError):
        gateway.lab.connect(old_port, 2)
    assert gateway.show("NFileDescriptorStore") == "1"


def test_a_unix_socket_is_kept_too(gateway):
    run = f"/run/talaria/{gateway.profile}" if gateway.scope == "system" else f"/run/user/{UID}/talaria/{gateway.profile}"
    gateway.configure(CONFIG.replace("127.0.0.1:{port}", f"unix:{run}/api.sock"))
    gateway.systemctl("start", gateway.unit).check()

    def connect():
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(60)
        connection.connect(str(gateway.lab.path(f"{run}/api.sock")))
        return connection
    with Clients(connect, 50, KEY, threads=8) as clients:
        for _ in range(3):
            gateway.systemctl("restart", gateway.unit).check()
        old = gateway.pid()
        gateway.lab.kill(old, "KILL", gateway.user)
        wait_until(lambda: gateway.pid() not in (0, old) and gateway.show("ActiveState") == "active", 10, "it runs again")
    assert clients.refused == [] and clients.wrong == []
    assert clients.answered


def test_a_standby_leaves_the_address_to_the_owner(gateway):
    """Its unit was killed, and while nobody ran a gateway was started by hand: the address is the new owner's."""
    gateway.drop_in("[Service]\nRestartSec=2s\n")
    gateway.start()
    old = gateway.pid()
    environment = {"STATE_DIRECTORY": f"/var/lib/talaria/{gateway.profile}", "RUNTIME_DIRECTORY": f"/run/talaria/{gateway.profile}",
                   "CONFIGURATION_DIRECTORY": gateway.config_directory} if gateway.scope == "system" else {}
    user = gateway.user or gateway.show("User") or None
    command = ["/usr/local/bin/talaria", "-p", gateway.profile, *(["--system"] if gateway.scope == "system" else []), "gateway", "run", "--wait"]
    if gateway.scope == "system" and user not in (None, "root"):
        command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", *command]
    by_hand = gateway.lab.spawn(command, gateway.user, environment)
    try:
        gateway.lab.kill(old, "KILL", gateway.user)
        wait_until(lambda: gateway.pid() not in (0, old) and "standby" in gateway.show("StatusText"), 15, "the unit stands by")
        assert gateway.show("NFileDescriptorStore") == "0"
        wait_until(gateway.serves, 5, "the owner has the address")
        assert gateway.ask("by hand?") == "by hand?"
    finally:
        gateway.lab.stop_spawned(by_hand)
    wait_until(gateway.serves, 10, "the unit owns the home and serves")
