"""A gateway as an operator sees it: a profile installed as a unit in one of the two scopes of a lab.

Everything goes through what a user has: the command line, the service manager, the HTTP API. Nothing here looks into the program.
"""

import contextlib
import http.client
import json
import time

from lab import USER, wait_until

INSTALLED = "/usr/local/bin/talaria"
KEY = "lab-key-4d1f7c"
PORTS = {"system": 8791, "user": 8790}

# The agent "hang" is a turn that lasts; "default" answers at once. The drain is short so that a stop in a turn is.
CONFIG = """[gateway]
drain_timeout = "1s"

[api]
listen = "127.0.0.1:{port}"
keys   = ["file:{key_file}"]

[agent.default]
kind = "echo"

[agent.hang]
kind    = "command"
command = ["/usr/bin/sleep", "600"]
"""


class Gateway:
    def __init__(self, lab, scope, profile):
        self.lab = lab
        self.scope = scope
        self.profile = profile
        self.port = PORTS[scope]
        self.unit = f"talaria-gateway@{profile}.service"
        self.user = lab.user_of(scope)
        self.config_directory = f"/etc/talaria/{profile}" if scope == "system" else f"/home/{USER}/.config/talaria/{profile}"
        self.unit_directory = "/etc/systemd/system" if scope == "system" else f"/home/{USER}/.config/systemd/user"
        self.cursor = lab.journal_cursor()  # where this gateway's part of the journal begins
        self._turns = []
        self._blockers = []

    # -- set-up -------------------------------------------------------------------------------------------------------------------

    def install(self):
        """As a user would: write the configuration, install the unit, enable nothing."""
        self.configure(CONFIG)
        self.cli("gateway", "install", "--no-start", "--no-enable").check()
        self._keep_loaded()
        self._give_configuration_to_service()

    def _give_configuration_to_service(self):
        """A system service need not run as root, and its configuration is for nobody else to read."""
        runs_as = self.show("User") if self.scope == "system" else ""
        if runs_as not in ("", "root"):
            self.lab.run(["chown", "-R", runs_as, self.config_directory]).check()

    def _keep_loaded(self):
        """A manager forgets a unit that has stopped in order, and with it how often it restarted and how it ended. A unit that another
        one is ordered after is remembered."""
        keeper = f"keep-{self.profile}.target"
        self.lab.put_file(f"{self.unit_directory}/{keeper}", f"[Unit]\nAfter={self.unit}\n", owner=self.user)
        self.systemctl("start", keeper).check()

    def configure(self, text):
        key_file = f"{self.config_directory}/api.key"
        self.lab.put_file(key_file, KEY + "\n", mode=0o600, owner=self.user)
        self.lab.put_file(f"{self.config_directory}/config.toml", text.format(port=self.port, key_file=key_file), mode=0o600, owner=self.user)
        self.lab.path(self.config_directory).chmod(0o700)
        self._give_configuration_to_service()

    def drop_in(self, text):
        """An operator's addition to the unit of this profile."""
        self.lab.put_file(f"{self.unit_directory}/{self.unit}.d/lab.conf", text, owner=self.user)
        self.systemctl("daemon-reload").check()

    def dispose(self):
        """Stops it, however it was left. Whether that works is not what the test is about."""
        self.release()
        with contextlib.suppress(AssertionError):
            self.systemctl("kill", "--signal=KILL", self.unit)
            self.systemctl("stop", self.unit, timeout=20)
        self.systemctl("reset-failed", self.unit)

    # -- asking -------------------------------------------------------------------------------------------------------------------

    def cli(self, *arguments, timeout=60, env=None):
        option = ["--system"] if self.scope == "system" else []
        return self.lab.run([INSTALLED, "-p", self.profile, *arguments, *option], self.user, env, timeout)

    def systemctl(self, *arguments, timeout=60):
        return self.lab.systemctl(self.scope, *arguments, timeout=timeout)

    def show(self, *properties):
        return self.lab.show(self.scope, self.unit, *properties)

    def pid(self):
        return self.lab.main_pid(self.scope, self.unit)

    def pids(self):
        return self.lab.pids_in(self.lab.cgroup_of(self.scope, self.unit))

    def restarts(self):
        return int(self.show("NRestarts"))

    def journal(self):
        """What the manager and the gateway said about this unit since the test began, one message a line."""
        return self.lab.journal_text(self.scope, self.unit, self.cursor)

    def exits(self):
        """How each main process ended, as the manager saw it, oldest first: ("exited", "1/FAILURE"), ("killed", "9/KILL") …"""
        found = []
        for line in self.journal().splitlines():
            if "Main process exited, code=" in line:
                code, _, status = line.partition("code=")[2].partition(", status=")
                found.append((code, status.strip()))
        return found

    def status(self):
        """`status --json`. Only a live gateway's answer has everything."""
        ran = self.cli("gateway", "status", "--json")
        try:
            return json.loads(ran.out)
        except ValueError:
            raise AssertionError(f"status --json exited {ran.code} and printed no JSON: {ran.out!r} {ran.err!r}") from None

    def last_end(self):
        return self.status().get("last_end") or {}

    def account(self):
        """Everything that helps to understand a failure."""
        parts = [self.cli("gateway", "status", "--json"), self.cli("gateway", "history", "--json")]
        return "\n".join([f"--- {self.unit} ({self.scope})", self.systemctl("status", self.unit).out, self.journal(),
                          *(f"--- {' '.join(ran.command)}: {ran.code}\n{ran.out}{ran.err}" for ran in parts)])

    # -- HTTP ---------------------------------------------------------------------------------------------------------------------

    def request(self, method, path, body=None, timeout=10):
        """(status, text) of one HTTP request; OSError when nobody answers."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        client.sock = self.lab.connect(self.port, timeout)
        with contextlib.closing(client):
            headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
            client.request(method, path, None if body is None else json.dumps(body), headers)
            answer = client.getresponse()
            return answer.status, answer.read().decode()

    def ask(self, text, agent="default"):
        """One message, one answer."""
        code, answer = self.request("POST", "/v1/chat/completions", {"model": agent, "messages": [{"role": "user", "content": text}]})
        assert code == 200, answer
        return json.loads(answer)["choices"][0]["message"]["content"]

    def serves(self):
        """Ready, and by its own account so."""
        try:
            return self.request("GET", "/readyz", timeout=2)[0] == 200
        except OSError:
            return False

    # -- bringing it into a phase ---------------------------------------------------------------------------------------------------

    def start(self):
        self.systemctl("start", self.unit).check()
        self.wait_running()

    def wait_running(self, timeout=10, other_than=None):
        """Waits until the unit is active and the gateway serves; returns its PID, which is not `other_than`."""
        def running():
            seen = self.show("ActiveState", "MainPID")
            return seen["ActiveState"] == "active" and int(seen["MainPID"]) not in (0, other_than) and self.serves() and int(seen["MainPID"])
        return wait_until(running, timeout, f"{self.unit} active with a new PID and serving")

    def begin_turn(self):
        """A turn that lasts: returns when its agent runs. The request stays open until release()."""
        idle = set(self.pids())
        connection = self.lab.connect(self.port)
        body = json.dumps({"model": "hang", "user": "rat", "messages": [{"role": "user", "content": "take your time"}]})
        connection.sendall((f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\n"
                            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}").encode())
        self._turns.append(connection)
        wait_until(lambda: set(self.pids()) - idle, 10, "the turn's agent runs")

    def block_port(self):
        """Another program of the same user listens where the gateway wants to."""
        listen = f"import socket,time; s=socket.create_server(('127.0.0.1',{self.port})); print('up',flush=True); time.sleep(1000)"
        process = self.lab.spawn(["/usr/bin/python3", "-c", listen], self.user, stdout=-1)
        assert process.stdout.readline() == "up\n"
        self._blockers.append(process)
        return process

    def wait_starting(self, timeout=10):
        """Waits until it starts and says so, which it does for as long as something is in its way; returns its PID."""
        def starting():
            seen = self.show("ActiveState", "MainPID", "StatusText")
            return seen["ActiveState"] == "activating" and int(seen["MainPID"]) and seen["StatusText"] and int(seen["MainPID"])
        return wait_until(starting, timeout, f"{self.unit} is starting and says what it waits for")

    def enter(self, phase):
        """Starts it and brings it there: "before_ready", "idle" or "in_turn". Returns the PID."""
        if phase == "before_ready":
            self.block_port()
            self.systemctl("start", "--no-block", self.unit).check()
            return self.wait_starting()
        self.start()
        if phase == "in_turn":
            self.begin_turn()
        return self.pid()

    def release(self):
        """Takes away what enter() put there."""
        for connection in self._turns:
            connection.close()
        for process in self._blockers:
            self.lab.stop_spawned(process)
        self._turns.clear()
        self._blockers.clear()

    # -- what must hold -----------------------------------------------------------------------------------------------------------

    def assert_stopped_as_planned(self, restarts, leftovers=False):
        """`leftovers`: the manager may have found processes to kill when the gateway had ended."""
        seen = self.show("ActiveState", "SubState", "Result", "NRestarts", "ExecMainCode", "ExecMainStatus", "MainPID")
        assert seen == {"ActiveState": "inactive", "SubState": "dead", "Result": "success", "NRestarts": str(restarts),
                        "ExecMainCode": "1", "ExecMainStatus": "0", "MainPID": "0"}  # 1 is CLD_EXITED
        assert self.pids() == []
        self.assert_never_failed()
        if not leftovers:
            assert "Killing process" not in self.journal()

    def assert_never_failed(self):
        said = self.journal()
        for bad in ("Failed with result", "Start request repeated too quickly", "Failed to start", "Scheduled restart job", "State 'stop-sigterm' timed out"):
            assert bad not in said, said

    def assert_last_end(self, verdict, sender=None):
        """The record of the previous incarnation, as the present one tells it."""
        end = self.last_end()
        assert end.get("verdict") in ((verdict,) if isinstance(verdict, str) else verdict), end
        if sender is not None:
            assert (end.get("evidence") or {}).get("sender_pid") == sender, end
        return end


def timed(action):
    """Seconds that the call took."""
    began = time.monotonic()
    action()
    return time.monotonic() - began
