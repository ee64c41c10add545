"""P7: a second gateway of the same profile or home is found and named, at install, start, status and in doctor, with the command that
ends it; and a unit that stands by says for whom (lifecycle.md, 0 and 10). One lab with a profile in both scopes."""

import json
import shlex

import pytest

from conftest import skip_without_lab
from gateway import INSTALLED, Gateway
from lab import USER, Lab, wait_until

# No API: both scopes' gateways would want the same port.
QUIET = "[gateway]\ndrain_timeout = \"1s\"\n\n[agent.default]\nkind = \"echo\"\n"
HOME = f"/home/{USER}/.local/state/talaria"


@pytest.fixture(scope="module")
def town(binary):
    skip_without_lab()
    with Lab(programs={INSTALLED: binary}) as booted:
        yield booted


@pytest.fixture
def pair(town, request):
    """A profile that is installed in both scopes: (user's, system's)."""
    profile = request.node.name.replace("test_", "")[:40].rstrip("_")
    both = [Gateway(town, scope, profile) for scope in ("user", "system")]
    for gateway in both:
        gateway.configure(QUIET)
        gateway.cli("gateway", "install", "--no-start", "--no-enable").check()
    yield both
    report = getattr(request.node, "report_of_call", None)
    for gateway in both:
        if report is None or report.failed:
            print(gateway.account())
        gateway.dispose()


def duplicates(gateway):
    return gateway.status()["duplicates"]


def wait_active(gateway):
    return wait_until(lambda: gateway.show("ActiveState") == "active" and gateway.pid(), 10, f"{gateway.unit} is active")


def put_unit(gateway, name, text):
    gateway.lab.put_file(f"{gateway.unit_directory}/{name}", text, owner=gateway.user)
    gateway.systemctl("daemon-reload").check()


def test_the_other_scopes_unit_is_named_until_it_is_gone(pair):
    user, system = pair
    assert duplicates(user) == []  # installed, but neither enabled nor running
    system.cli("gateway", "start").check()
    started = user.cli("gateway", "start").check()
    assert user.unit in started.err and "system unit" in started.err
    assert "system unit" in user.cli("gateway", "install", "--no-start", "--no-enable").check().err

    seen = duplicates(user)
    assert [(each["kind"], each["scope"], each["unit"], each["pid"], each["same_home"]) for each in seen] == \
        [("unit", "system", system.unit, system.pid(), False)]
    seen = duplicates(system)
    assert [(each["scope"], each["user"], each["pid"]) for each in seen] == [("user", USER, user.pid())]
    text = user.cli("gateway", "status").check().out
    assert str(system.pid()) in text and f"disable --now {system.unit}" in text

    system.cli("gateway", "stop").check()
    assert duplicates(user) == []
    system.systemctl("enable", system.unit).check()  # it would be there after the next boot
    assert [each["state"] for each in duplicates(user)] == ["enabled"]
    remedy = duplicates(user)[0]["remedy"]
    assert remedy.startswith("sudo systemctl ")
    system.lab.run(shlex.split(remedy)[1:]).check()
    assert duplicates(user) == []


def test_an_operators_own_unit_is_found(pair):
    user, _ = pair
    put_unit(user, "mybot.service", f"[Service]\nEnvironment=BOT=1\n"
                                    f"ExecStart=/bin/sh -c \"exec '{INSTALLED}' -p {user.profile} gateway run --replace\"\nRestart=always\n")
    user.cli("gateway", "start").check()
    user.systemctl("start", "mybot.service").check()
    try:
        seen = wait_until(lambda: duplicates(user), 10, "the unit is found")
        assert [(each["kind"], each["unit"], each["same_home"]) for each in seen] == [("unit", "mybot.service", True)]
        assert "--replace" in seen[0]["text"]
        doctor = user.cli("doctor")
        assert doctor.code == 1
        assert "mybot.service" in doctor.out
        user.lab.run(shlex.split(seen[0]["remedy"]), USER).check()
        assert duplicates(user) == []
        assert user.status()["state"] == "running"
    finally:
        user.systemctl("stop", "mybot.service")
        user.lab.path(f"{user.unit_directory}/mybot.service").unlink()


def test_a_unit_that_stands_by_says_so_and_for_whom(pair):
    """Somebody started the gateway by hand; then its unit was started."""
    user, _ = pair
    by_hand = user.lab.spawn([INSTALLED, "-p", user.profile, "gateway", "run"], USER)
    owner = user.lab.pid_of(by_hand)
    try:
        wait_until(lambda: user.status()["state"] == "running", 10, "it runs")
        assert user.status()["owner"] is None
        user.systemctl("start", user.unit).check()
        wait_active(user)
        ran = user.cli("gateway", "status", "--json").check()
        status = json.loads(ran.out)
        assert (status["state"], status["pid"], status["unit"], status["ready"]) == ("standby", user.pid(), user.unit, False)
        assert status["owner"]["pid"] == owner
        assert f"PID {owner}" in status["standby_for"]
        assert status["home"] == f"{HOME}/{user.profile}"
        text = user.cli("gateway", "status").check().out
        assert "standby" in text and f"PID {owner}" in text
        row = [each for each in json.loads(user.cli("gateway", "list", "--json").check().out)["profiles"]
               if each["profile"] == user.profile and each["scope"] == "user"][0]
        assert row["state"] == "standby"
        user.lab.kill(owner, "TERM")
        wait_until(lambda: user.status()["state"] == "running", 10, "the unit owns it now")
        assert (user.status()["pid"], user.status()["owner"]) == (user.pid(), None)
    finally:
        user.lab.stop_spawned(by_hand)


def test_a_process_by_hand_that_waits(pair):
    user, _ = pair
    user.cli("gateway", "start").check()
    by_hand = user.lab.spawn([INSTALLED, "-p", user.profile, "gateway", "run", "--wait"], USER)
    try:
        pid = user.lab.pid_of(by_hand)
        seen = wait_until(lambda: duplicates(user), 10, "it is found")
        assert [(each["kind"], each["pid"], each["unit"]) for each in seen] == [("process", pid, None)]
        user.lab.run(shlex.split(seen[0]["remedy"]), USER).check()
        wait_until(lambda: duplicates(user) == [], 10, "the remedy worked")
        assert user.status()["state"] == "running"
    finally:
        user.lab.stop_spawned(by_hand)


KEYS = {"state", "ready", "profile", "scope", "unit", "pid", "start_time", "since", "version", "home", "api", "standby_for", "backoff_until",
        "channels", "queues", "last_end", "duplicates", "warnings"}


def test_every_key_in_every_state(pair):
    user, _ = pair
    states = {}
    states["stopped"] = user.status()
    user.cli("gateway", "start").check()
    states["running"] = user.status()
    user.lab.kill(user.pid(), "STOP")
    try:
        states["unknown"] = user.status()
    finally:
        user.lab.kill(user.pid(), "CONT")
    user.lab.path(f"{user.config_directory}/config.toml").write_text("nonsense = 1\n", encoding="utf-8")
    user.systemctl("restart", user.unit)
    wait_until(lambda: user.show("ActiveState") == "failed", 10, "it failed")
    states["failed"] = user.status()
    for state, document in states.items():
        assert document["state"] == state
        assert KEYS <= document.keys(), KEYS - document.keys()
        assert {"inbound", "turns", "outbox", "dead"} <= document["queues"].keys()


def test_whom_the_process_does_not_answer_the_manager_tells(pair):
    """A user may not talk to the system's service, but its manager may be asked."""
    user, system = pair
    system.cli("gateway", "start").check()
    ran = user.lab.run([INSTALLED, "--system", "-p", system.profile, "gateway", "status", "--json"], USER)
    status = json.loads(ran.out)
    assert (ran.code, status["state"], status["pid"]) == (0, "running", system.pid())
    assert any("root" in warning for warning in status["warnings"])
