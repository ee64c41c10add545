"""A gateway as a unit of a lab's systemd, with the methods of the drivers in local_managers.py. PIDs are those of the lab."""

import contextlib
import json

from gateway import CONFIG, INSTALLED, Gateway
from lab import USER, wait_until
from local_managers import WRONG_CONFIG


class SystemdUnit:
    restarts = True
    in_place = False

    def __init__(self, lab, scope, profile):
        self.name = f"systemd {scope}"
        self.lab = lab
        self.gateway = Gateway(lab, scope, profile)
        self.gateway.install()
        self.unit = self.gateway.unit
        self._owner = None
        self._marked = 0

    # -- set-up -------------------------------------------------------------------------------------------------------------------

    def configure(self, drain="1s"):
        self.gateway.configure(CONFIG.replace('"1s"', f'"{drain}"'))

    def break_config(self):
        self.gateway.configure(WRONG_CONFIG)

    def close(self):
        if self._owner:
            self.lab.stop_spawned(self._owner)
        self.gateway.dispose()

    # -- asking -------------------------------------------------------------------------------------------------------------------

    def cli(self, *arguments, timeout=90):
        return self.gateway.cli(*arguments, timeout=timeout)

    def cli_start(self, *arguments):
        option = ["--system"] if self.gateway.scope == "system" else []
        return self.lab.spawn([INSTALLED, "-p", self.gateway.profile, *arguments, *option], self.gateway.user)

    def pid(self):
        return self.gateway.pid()

    own_pid = pid

    def runs(self):
        try:
            return json.loads(self.cli("gateway", "history", "--json").out)["runs"]
        except (ValueError, KeyError):
            return []

    def output(self):
        return self.gateway.journal()

    def database(self):
        scope, profile = self.gateway.scope, self.gateway.profile
        return f"/var/lib/talaria/{profile}/talaria.db" if scope == "system" else f"/home/{USER}/.local/state/talaria/{profile}/talaria.db"

    def run_inside(self, command):
        self.lab.run(command, self.gateway.user).check()

    def serves(self):
        return self.gateway.serves()

    def is_down(self):
        return self.gateway.show("ActiveState") == "inactive"

    def is_failed(self):
        return self.gateway.show("ActiveState") == "failed"

    def exit(self):
        """What the manager's own record of the last exit says."""
        ends = self.gateway.exits()[self._marked:]
        if not ends:
            # A clean exit is only worth a property to systemd.
            seen = self.gateway.show("ExecMainCode", "ExecMainStatus", "ExecMainExitTimestampMonotonic")
            return int(seen["ExecMainStatus"]) if seen["ExecMainExitTimestampMonotonic"] != "0" and seen["ExecMainCode"] == "1" else None
        how, status = ends[-1]
        return int(status.split("/")[0]) if how == "exited" else "SIG" + status.split("/")[1]

    def mark(self):
        """exit() is about what ends from now on."""
        self._marked = len(self.gateway.exits())

    def account(self):
        return self.gateway.account()[-6000:]

    def state(self):
        return self.gateway.status().get("state")

    # -- phases -------------------------------------------------------------------------------------------------------------------

    def start(self):
        self.gateway.systemctl("start", "--no-block", self.unit).check()

    start_standby = start

    def run_other_owner(self):
        """By hand, as the service's user, on the same home."""
        scope, profile = self.gateway.scope, self.gateway.profile
        if scope == "system":
            self.lab.run(["install", "-d", "-m", "0755", "/var/lib/talaria", "/run/talaria"]).check()
            for folder in ("/var/lib/talaria", "/run/talaria"):
                self.lab.run(["install", "-d", "-m", "0700", "-o", "talaria", "-g", "talaria", f"{folder}/{profile}"]).check()
            command = ["setpriv", "--reuid=talaria", "--regid=talaria", "--clear-groups", INSTALLED, "--system"]
        else:
            command = [INSTALLED]
        self._owner = self.lab.spawn([*command, "-p", profile, "gateway", "run"], self.gateway.user)
        wait_until(self.serves, 20, "the other owner serves")
        return self._owner

    def block_port(self):
        self.gateway.block_port()

    def begin_turn(self):
        self.gateway.begin_turn()

    def processes(self):
        return self.gateway.pids()

    def standing_by(self):
        return self.output().count("standby for")

    def release(self):
        self.gateway.release()

    # -- causes -------------------------------------------------------------------------------------------------------------------

    def kill(self, name, pid=None):
        return self.lab.kill(pid or self.pid(), name, self.gateway.user)

    def manager_stop(self):
        self.gateway.systemctl("stop", self.unit).check()

    def begin_stop(self):
        self.gateway.systemctl("stop", "--no-block", self.unit).check()

    def manager_restart(self):
        with contextlib.suppress(AssertionError):
            self.gateway.systemctl("restart", self.unit, timeout=90)

    def manager_signal(self):
        self.gateway.systemctl("kill", "--signal=TERM", self.unit).check()
