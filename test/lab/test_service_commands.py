"""`gateway install|uninstall|start|stop|restart|list|logs`: what an operator types, and what it leaves behind (lifecycle.md, 8 and 10)."""

import json
import signal

import pytest

from gateway import INSTALLED
from lab import UID, USER, holds, wait_until

WRONG = "[gateway]\ndrain_tiemout = \"1s\"\n"


def template_of(gateway):
    directory = "/etc/systemd/system" if gateway.scope == "system" else f"/home/{USER}/.config/systemd/user"
    return f"{directory}/talaria-gateway@.service"


def configure_as_installed(gateway, text):
    """An operator's edit: content changes, owner and mode stay."""
    gateway.lab.path(f"{gateway.config_directory}/config.toml").write_text(text, encoding="utf-8")


# -- start, stop, restart -------------------------------------------------------------------------------------------------------------

def test_start_returns_when_it_serves(gateway):
    ran = gateway.cli("gateway", "start").check()
    assert gateway.serves()
    assert str(gateway.pid()) in ran.out
    pid = gateway.pid()
    assert "already" in gateway.cli("gateway", "start").check().out
    assert gateway.pid() == pid


def test_stop_of_what_does_not_run(gateway):
    assert "not running" in gateway.cli("gateway", "stop").check().out


def test_start_says_what_is_wrong(gateway):
    configure_as_installed(gateway, WRONG)
    ran = gateway.cli("gateway", "start")
    assert ran.code == 78
    assert "config.toml:2:" in ran.err and "drain_timeout" in ran.err
    assert gateway.show("ActiveState") == "inactive"  # nothing was touched


def test_start_of_a_gateway_that_dies(gateway):
    gateway.drop_in("[Service]\nExecStart=\nExecStart=/bin/sh -c 'echo the disk is on fire >&2; exit 3'\nRestart=no\n")
    ran = gateway.cli("gateway", "start")
    assert ran.code == 1
    assert "exit code 3" in ran.err


def test_a_start_after_the_start_limit(gateway):
    """Somebody's drop-in brings the start limit back; an operator's start is not its business."""
    gateway.drop_in("[Unit]\nStartLimitIntervalSec=1h\nStartLimitBurst=1\n")
    gateway.cli("gateway", "start").check()
    gateway.lab.kill(gateway.pid(), "KILL")
    wait_until(lambda: gateway.show("ActiveState") == "failed", 10, "the start limit is hit")
    gateway.cli("gateway", "start").check()
    assert gateway.serves()


def test_restart_brings_a_new_process(gateway):
    gateway.start()
    pid = gateway.pid()
    gateway.cli("gateway", "restart").check()
    assert gateway.serves()
    assert gateway.pid() != pid
    gateway.assert_last_end("planned")
    gateway.assert_never_failed()


def test_restart_leaves_a_healthy_gateway_alone_for_a_wrong_configuration(gateway):
    gateway.start()
    pid = gateway.pid()
    configure_as_installed(gateway, WRONG)
    assert gateway.cli("gateway", "restart").code == 78
    assert gateway.pid() == pid
    assert gateway.serves()


def test_a_reload_that_is_refused_leaves_the_gateway_alone(gateway):
    gateway.start()
    pid = gateway.pid()
    configure_as_installed(gateway, WRONG)
    assert gateway.systemctl("reload", gateway.unit).code != 0
    assert gateway.pid() == pid
    assert gateway.serves()
    gateway.assert_never_failed()


def test_a_program_that_is_gone_is_tried_again_in_peace(fresh_gateway):
    """Half of an update: the manager can't execute it. It goes on trying, not as fast as it can, and is back when the program is."""
    gateway = fresh_gateway
    gateway.start()
    gateway.lab.run(["mv", INSTALLED, INSTALLED + ".away"]).check()
    gateway.lab.kill(gateway.pid(), "KILL")
    wait_until(lambda: gateway.restarts() >= 2, 10, "it is tried again")
    before = gateway.restarts()
    holds(lambda: gateway.restarts() - before <= 2 and gateway.show("ActiveState") != "failed", 3, "tried every two seconds")
    gateway.lab.run(["mv", INSTALLED + ".away", INSTALLED]).check()
    gateway.wait_running(timeout=5)


def test_no_unit_names_the_command_that_makes_one(fresh_lab):
    ran = fresh_lab.run([INSTALLED, "-p", "nobody", "gateway", "start", "--system"])
    assert ran.code == 1
    assert "gateway install" in ran.err


def test_a_frozen_gateway_is_announced_to_in_time(gateway):
    """The control socket doesn't answer: the marker file is left instead, and the stop stays a planned one."""
    gateway.start()
    pid = gateway.pid()
    gateway.lab.kill(pid, "STOP")
    try:
        ran = gateway.cli("gateway", "announce-stop", env={"MAINPID": str(pid)})
    finally:
        gateway.lab.kill(pid, "CONT")
    assert ran.seconds < 1
    gateway.lab.kill(pid, "TERM")
    wait_until(lambda: gateway.show("ActiveState") == "inactive", 10, "it took the TERM for a planned stop")


# -- by hand -------------------------------------------------------------------------------------------------------------------------

as_a_user = pytest.mark.parametrize("scope", ["user"], indirect=True)


@pytest.fixture
def by_hand(gateway):
    """A gateway that somebody started in a terminal, while the profile has a unit too."""
    process = gateway.lab.spawn([INSTALLED, "-p", gateway.profile, "gateway", "run"], gateway.user)
    wait_until(gateway.serves, 10, "it serves")
    yield process
    gateway.lab.stop_spawned(process)


@as_a_user
def test_stop_by_hand(gateway, by_hand):
    gateway.cli("gateway", "stop").check()
    assert by_hand.wait(timeout=5) == 0
    assert gateway.status()["state"] == "stopped"


@as_a_user
def test_restart_by_hand_keeps_the_pid(gateway, by_hand):
    pid = gateway.status()["pid"]
    gateway.cli("gateway", "restart").check()
    assert gateway.serves()
    assert gateway.status()["pid"] == pid
    assert by_hand.poll() is None


@as_a_user
def test_stop_ends_the_owner_and_who_stands_by_for_it(gateway, by_hand):
    gateway.cli("gateway", "start").check()
    gateway.cli("gateway", "stop").check()
    assert by_hand.wait(timeout=5) == 0
    assert gateway.show("ActiveState") == "inactive"


# -- install and uninstall -------------------------------------------------------------------------------------------------------------

def test_install_twice_changes_nothing(gateway):
    gateway.drop_in("[Service]\nEnvironment=MINE=1\n")
    template = gateway.lab.path(template_of(gateway))
    before = template.read_bytes()
    ran = gateway.cli("gateway", "install", "--no-start", "--no-enable").check()
    assert "unchanged" in ran.out
    assert template.read_bytes() == before
    assert "MINE=1" in gateway.show("Environment")
    assert gateway.show("NeedDaemonReload") == "no"


def test_install_starts_and_enables_and_uninstall_undoes_it(gateway):
    gateway.cli("gateway", "install").check()
    assert gateway.serves()
    assert gateway.show("UnitFileState") == "enabled"
    gateway.cli("gateway", "uninstall").check()
    seen = gateway.show("LoadState", "ActiveState")
    assert seen == {"LoadState": "not-found", "ActiveState": "inactive"}
    assert not gateway.lab.path(template_of(gateway)).exists()
    assert gateway.lab.path(f"{gateway.config_directory}/config.toml").exists()
    gateway.assert_never_failed()
    gateway.cli("gateway", "uninstall").check()  # again: nothing to do, and no error
    gateway.cli("gateway", "install", "--no-start", "--no-enable").check()


def test_the_template_stays_as_long_as_somebody_needs_it(gateway):
    gateway.start()
    gateway.cli("gateway", "uninstall", "-p", "another").check()
    assert gateway.serves()
    assert gateway.lab.path(template_of(gateway)).exists()


def test_install_respects_somebody_elses_unit(gateway):
    template = gateway.lab.path(template_of(gateway))
    ours = template.read_bytes()
    template.write_bytes(b"[Service]\nExecStart=/bin/true\n")
    try:
        ran = gateway.cli("gateway", "install")
        assert ran.code == 73
        assert template_of(gateway) in ran.err
        assert gateway.cli("gateway", "uninstall").code == 73
        assert template.read_bytes() == b"[Service]\nExecStart=/bin/true\n"
    finally:
        template.write_bytes(ours)
        gateway.systemctl("daemon-reload").check()


def test_install_wants_a_configuration(gateway):
    ran = gateway.cli("gateway", "install", "-p", "bare")
    assert ran.code == 78
    assert "bare/config.toml" in ran.err


def test_an_outdated_unit_is_updated(gateway):
    template = gateway.lab.path(template_of(gateway))
    current = template.read_text(encoding="utf-8")
    template.write_text(current.replace("RestartSec=0", "RestartSec=9s"), encoding="utf-8")
    assert "updated" in gateway.cli("gateway", "install", "--no-start", "--no-enable").check().out
    assert template.read_text(encoding="utf-8") == current
    assert gateway.show("RestartUSec") == "0"


def test_run_as_another_user(gateway):
    if gateway.scope == "user":
        assert gateway.cli("gateway", "install", "--run-as-user", "root").code == 64
        return
    gateway.cli("gateway", "install", "--run-as-user", USER, "--no-start", "--no-enable").check()
    gateway.lab.run(["chown", "-R", USER, gateway.config_directory]).check()
    gateway.cli("gateway", "start").check()
    owner = gateway.lab.run(["stat", "-c", "%U", f"/proc/{gateway.pid()}/status"]).check().out.strip()
    uid = gateway.lab.path(f"/proc/{gateway.pid()}/status").read_text().split("Uid:")[1].split()[0]
    assert uid == gateway.lab.run(["id", "-u", USER]).check().out.strip(), owner
    assert gateway.cli("gateway", "install", "--run-as-user", "no-such-user").code == 1
    gateway.cli("gateway", "install", "--run-as-user", "talaria", "--no-start", "--no-enable").check()
    assert gateway.show("User") == "talaria"


def test_the_manager_has_nothing_to_warn_about(gateway):
    gateway.cli("gateway", "start").check()
    gateway.cli("gateway", "stop").check()
    gateway.lab.run(["journalctl", "--sync"]).check()
    said = gateway.lab.run(["journalctl", "--no-pager", "--output=cat", f"--after-cursor={gateway.cursor}"]).out
    for bad in ("Unknown key", "Unknown lvalue", "ignoring", "mode is different", "deprecated"):
        assert bad not in said, said


# -- list and logs ---------------------------------------------------------------------------------------------------------------------

def test_list_asks_each_profile(gateway):
    def row():
        document = json.loads(gateway.cli("gateway", "list", "--json").check().out)
        return [each for each in document["profiles"] if each["profile"] == gateway.profile and each["scope"] == gateway.scope][0]
    assert row()["state"] == "stopped"
    gateway.start()
    assert row()["state"] == "running"
    assert row()["pid"] == gateway.pid()
    assert gateway.profile in gateway.cli("gateway", "list").check().out


def test_logs_show_this_unit_and_follow_it(gateway):
    gateway.start()
    if gateway.scope == "user":  # a journal in memory, as in the lab, is not split by user: it is for root and a group
        assert "systemd-journal" in gateway.cli("gateway", "logs").check().err
        gateway.lab.run(["usermod", "-aG", "systemd-journal", USER]).check()
    gateway.lab.run(["journalctl", "--sync"]).check()
    shown = gateway.cli("gateway", "logs", "-n", "100").check().out
    assert f"PID {gateway.pid()}" in shown
    assert len(gateway.cli("gateway", "logs", "-n", "1").check().out.splitlines()) == 1
    option = ["--system"] if gateway.scope == "system" else []
    follower = gateway.lab.spawn([INSTALLED, "-p", gateway.profile, "gateway", "logs", "-f", "-n", "0", *option], gateway.user, stdout=-1)
    gateway.systemctl("stop", gateway.unit).check()
    try:
        signal.alarm(10)
        assert any("Stopped" in line for line in follower.stdout)
    finally:
        signal.alarm(0)
        gateway.lab.stop_spawned(follower)


@pytest.mark.parametrize("scope", ["system"], indirect=True)
def test_install_lets_the_service_in(gateway):
    """Root made the directories with a strict umask, or ran a gateway by hand."""
    for directory in ("/etc/talaria", "/var/lib/talaria", "/run/talaria"):
        gateway.lab.run(["install", "-d", "-m", "700", directory]).check()
    gateway.lab.run(["chown", "-R", "root:root", gateway.config_directory]).check()
    gateway.lab.path(gateway.config_directory).chmod(0o700)
    gateway.cli("gateway", "install", "--no-start", "--no-enable").check()
    gateway.lab.run(["chown", "talaria", f"{gateway.config_directory}/api.key"]).check()  # a secret is its reader's own
    gateway.cli("gateway", "start").check()
    assert gateway.serves()
    others = gateway.lab.run(["setpriv", f"--reuid={UID}", "--clear-groups", "cat", f"{gateway.config_directory}/config.toml"])
    assert others.code != 0  # nothing was opened to others
