"""A reload through the service manager; and one account of a chat platform between a service in its sandbox and another user."""

import json

import pytest

from gateway import CONFIG, INSTALLED
from lab import USER, wait_until

IRC = """
[channel.net]
kind   = "irc"
server = "127.0.0.1:1"
tls    = false
nick   = "{nick}"
allow  = ["*"]
"""


def agents(gateway):
    return sorted(model["id"] for model in json.loads(gateway.request("GET", "/v1/models")[1])["data"])


@pytest.mark.parametrize("how", ["systemctl", "gateway", "hangup"])
def test_a_reload_is_all_or_nothing_and_the_unit_stays_active(gateway, how):
    gateway.start()
    pid = gateway.pid()

    def reload(right):
        if how == "systemctl":
            assert (gateway.systemctl("reload", gateway.unit).code == 0) == right
        elif how == "gateway":
            assert gateway.cli("gateway", "reload").code == (0 if right else 78)
        else:
            gateway.lab.kill(pid, "HUP", gateway.user)

    gateway.configure(CONFIG + '[agent.more]\nkind = "echo"\n')
    reload(right=True)
    wait_until(lambda: agents(gateway) == ["default", "hang", "more"], 5, "the new agent")
    gateway.configure(CONFIG + '[agent.oops]\nkind = "oracle"\n')
    reload(right=False)
    wait_until(lambda: any("oracle" in warning for warning in gateway.status()["warnings"]), 5, "a warning")
    assert agents(gateway) == ["default", "hang", "more"]
    wait_until(lambda: gateway.show("ActiveState") == "active", 5, "an active unit")
    assert "refused" in gateway.show("StatusText")
    gateway.configure(CONFIG)
    reload(right=True)
    wait_until(lambda: agents(gateway) == ["default", "hang"] and not gateway.status()["warnings"], 5, "the mended one")
    assert gateway.pid() == pid and gateway.restarts() == 0
    gateway.assert_never_failed()


def test_one_account_between_a_service_and_another_user(gateway, lab):
    """The service's sandbox hides its /tmp and most of the file system; the other one runs by hand as somebody else."""
    nick = f"bot-{gateway.profile}"
    gateway.configure(CONFIG + IRC.format(nick=nick))
    gateway.start()
    other = USER if gateway.scope == "system" else None
    home = f"/home/{USER}/by-hand-{gateway.profile}" if other else f"/root/by-hand-{gateway.profile}"
    lab.put_file(f"{home}/config.toml", '[agent.default]\nkind = "echo"\n' + IRC.format(nick=nick), mode=0o600, owner=other)
    environment = {"TALARIA_HOME": home}
    by_hand = lab.spawn([INSTALLED, "-p", "other", "gateway", "run"], other, environment)

    def its_channel():
        told = lab.run([INSTALLED, "-p", "other", "gateway", "status", "--json"], other, environment).out
        return next(iter(json.loads(told or "{}").get("channels") or []), {})

    try:
        error = wait_until(lambda: "in use" in (its_channel().get("error") or "") and its_channel()["error"], 10, "the account's owner")
        assert f"PID {gateway.pid()}, profile {gateway.profile}, {gateway.scope} service {gateway.unit}, channel net" in error
        gateway.systemctl("stop", gateway.unit).check()
        wait_until(lambda: "in use" not in its_channel()["error"], 5, "the account taken over")
        gateway.start()
        error = wait_until(lambda: "in use" in (gateway.status()["channels"][0]["error"] or "") and gateway.status()["channels"][0]["error"], 10,
                           "the other one named")
        assert "profile other, channel net" in error and f"PID {lab.pid_of(by_hand)}" in error
    finally:
        lab.stop_spawned(by_hand)
