"""`talaria doctor`: what is broken is found, and the command that it advises mends it (lifecycle.md, 10)."""

import json
import shlex

import pytest

from gateway import USER
from lab import wait_until

as_a_user = pytest.mark.parametrize("scope", ["user"], indirect=True)


def findings(gateway, *checks):
    """(exit code, findings that are not ok), of those checks if named."""
    ran = gateway.cli("doctor", "--json")
    document = json.loads(ran.out)
    assert document["ok"] == (ran.code == 0)
    return ran.code, [each for each in document["findings"] if each["level"] != "ok" and (not checks or each["check"] in checks)]


def only(gateway, check):
    """The one thing that is wrong."""
    code, found = findings(gateway)
    assert code == 1
    assert [each["check"] for each in found] == [check], found
    assert found[0]["advice"]
    return found[0]


def follow(gateway, advice):
    """Types the advice, as the person would who got it."""
    words = shlex.split(advice)
    if words[0] == "sudo":
        gateway.lab.run(words[1:]).check()
    else:
        gateway.lab.run(words, gateway.user).check()


@pytest.fixture
def healthy(gateway):
    """An installed, enabled gateway that runs: the doctor has nothing to say."""
    gateway.cli("gateway", "install").check()
    assert findings(gateway) == (0, [])
    return gateway


def test_it_says_that_all_is_well_and_leaves_no_trace(healthy):
    before = healthy.lab.run(["find", "/etc", "/var/lib/talaria", "/run/talaria", f"/home/{USER}", "-newer", "/proc/1/stat", "-type", "f",
                              "-not", "-name", "*.db*"]).out
    pid = healthy.pid()
    ran = healthy.cli("doctor").check()
    assert "Nothing is wrong." in ran.out
    assert str(pid) in ran.out
    after = healthy.lab.run(["find", "/etc", "/var/lib/talaria", "/run/talaria", f"/home/{USER}", "-newer", "/proc/1/stat", "-type", "f",
                             "-not", "-name", "*.db*"]).out
    assert after == before
    assert healthy.pid() == pid


def test_what_is_wrong_with_the_unit_is_mended_by_the_advice(healthy):
    name = f"{healthy.unit_directory}/talaria-gateway@.service"
    template = healthy.lab.path(name)
    ours = template.read_text(encoding="utf-8")
    template.write_text(ours.replace("OOMPolicy=continue", "OOMPolicy=kill"), encoding="utf-8")
    healthy.systemctl("daemon-reload").check()
    outdated = only(healthy, "unit")
    assert name in outdated["what"]
    follow(healthy, outdated["advice"])
    assert template.read_text(encoding="utf-8") == ours
    assert findings(healthy) == (0, [])

    template.write_text(ours + "# touched\n", encoding="utf-8")  # and systemd was not told
    code, found = findings(healthy, "unit")
    assert code == 1
    assert any("daemon-reload" in each["advice"] for each in found), found
    template.write_text(ours, encoding="utf-8")
    follow(healthy, [each["advice"] for each in found if "daemon-reload" in each["advice"]][0])
    assert findings(healthy) == (0, [])

    healthy.systemctl("disable", healthy.unit).check()
    follow(healthy, only(healthy, "boot")["advice"])
    assert findings(healthy) == (0, [])


@as_a_user
def test_a_drop_in_that_breaks_a_promise_is_named(healthy):
    for line, says in (("[Service]\nRestart=no", "Restart=no"), ("[Service]\nKillMode=process", "KillMode=process"),
                       ("[Service]\nTimeoutStopSec=1s", "drain_timeout"), ("[Unit]\nStartLimitIntervalSec=60", "start limit")):
        healthy.drop_in(line + "\n")
        found = only(healthy, "promises")
        assert says in found["what"]
        assert "lab.conf" in found["advice"]


@as_a_user
def test_a_start_limit_that_was_hit(healthy):
    healthy.drop_in("[Unit]\nStartLimitIntervalSec=1h\nStartLimitBurst=1\n")
    healthy.cli("gateway", "restart").check()
    healthy.lab.kill(healthy.pid(), "KILL")
    wait_until(lambda: healthy.show("ActiveState") == "failed", 10, "the start limit is hit")
    code, found = findings(healthy, "unit")
    assert code == 1
    assert "start limit" in found[0]["what"]
    ran = healthy.cli(*shlex.split(found[0]["advice"])[-2:]).check()  # "… gateway start"
    assert "cleared the failed state" in ran.out and "start limit of 1" in ran.out
    assert healthy.serves()
    assert findings(healthy, "unit") == (1, [])  # the start limit itself is still there


def test_the_configuration_and_its_secrets(healthy):
    key = f"{healthy.config_directory}/api.key"
    healthy.lab.path(key).chmod(0o644)
    found = only(healthy, "secrets")
    assert key in found["what"]
    follow(healthy, found["advice"])
    assert findings(healthy) == (0, [])

    config = healthy.lab.path(f"{healthy.config_directory}/config.toml")
    right = config.read_text(encoding="utf-8")
    config.write_text(right + "\n[gatway]\nx = 1\n[agent.other]\nkind = \"ecko\"\n", encoding="utf-8")
    code, found = findings(healthy, "configuration")
    assert code == 1
    assert len(found) >= 2  # all mistakes, not the first
    assert all("config.toml" in each["what"] for each in found)
    config.write_text(right, encoding="utf-8")


def test_the_home(healthy):
    state = healthy.status()["home"]
    healthy.lab.run(["chmod", "755", state]).check()
    found = only(healthy, "directories")
    assert state in found["what"]
    follow(healthy, found["advice"])
    assert findings(healthy) == (0, [])

    healthy.cli("gateway", "stop").check()
    database = healthy.lab.path(f"{state}/talaria.db")
    healthy.lab.run(["sh", "-c", f"rm -f {state}/talaria.db-wal {state}/talaria.db-shm"]).check()
    with open(database, "r+b") as file:  # the header stays, a page is lost
        file.seek(4096)
        file.write(b"\xff" * 4096)
    code, found = findings(healthy, "store")
    assert code == 1
    assert "talaria.db" in found[0]["what"]


@as_a_user
def test_an_owner_that_does_not_answer(healthy):
    pid = healthy.pid()
    healthy.lab.kill(pid, "STOP")
    try:
        code, found = findings(healthy, "owner")
        assert code == 1
        assert str(pid) in found[0]["what"]
    finally:
        healthy.lab.kill(pid, "CONT")


@as_a_user
def test_a_port_that_is_taken(healthy):
    healthy.cli("gateway", "stop").check()
    blocker = healthy.block_port()
    code, found = findings(healthy, "address")
    assert code == 1
    assert str(healthy.port) in found[0]["what"]
    assert str(healthy.lab.pid_of(blocker)) in found[0]["what"]
    healthy.release()


@as_a_user
def test_crashes_are_told(healthy):
    for _ in range(3):
        pid = healthy.pid()
        healthy.lab.kill(pid, "KILL")
        healthy.cli("gateway", "start").check()
        healthy.wait_running(other_than=pid)
    code, found = findings(healthy, "ends")
    assert code == 1
    assert "3 unplanned ends" in found[0]["what"]


@as_a_user
def test_linger(healthy):
    healthy.lab.run(["rm", f"/var/lib/systemd/linger/{USER}"]).check()
    try:
        found = only(healthy, "boot")
        assert USER in found["what"]
        follow(healthy, found["advice"])
        assert findings(healthy) == (0, [])
    finally:
        healthy.lab.run(["loginctl", "enable-linger", USER]).check()
