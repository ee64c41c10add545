"""The life cycle's figures: takeover by `run --replace`, and back again after kill -9 under a real systemd (test/lab)."""

import contextlib
import http.client
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import time

from process_figures import BenchError

LAB = pathlib.Path(__file__).resolve().parent.parent / "test" / "lab"
INSTALLED = "/usr/local/bin/talaria"
EMPTY = "/usr/local/bin/empty-service"
PORT = 8799
QUIET_S = 0.15
CONFIG = """[api]
listen = "127.0.0.1:{port}"
keys   = ["file:{directory}/api.key"]

[agent.default]
kind = "echo"
"""


class Notified:
    """A gateway whose notifications (sd_notify(3)) we read, each with the time of its arrival."""

    def __init__(self, binary, home, name, *arguments):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0talaria-bench-{os.getpid()}-{name}")
        env = {"PATH": "/usr/bin:/bin", "HOME": str(home), "TALARIA_HOME": str(home),
               "NOTIFY_SOCKET": "@" + self.socket.getsockname()[1:].decode()}
        with open(home / "gateway.log", "ab") as log:
            self.process = subprocess.Popen([binary, "gateway", "run", *arguments], env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait(self, word, seconds=30):
        """When (monotonic, seconds) the notification `word` came."""
        end = time.monotonic() + seconds
        while select.select([self.socket], [], [], max(0, end - time.monotonic()))[0]:
            message = self.socket.recv(4096)
            if word in message.split(b"\n"):
                return time.monotonic()
        raise BenchError(f"no {word.decode()} from the gateway within {seconds} s")

    def close(self):
        self.process.wait(30)
        self.socket.close()


def takeover_gaps(binary, home, runs):
    """Milliseconds from the owner's STOPPING=1 to its successor's READY=1: as long nobody serves."""
    owner = Notified(binary, home, "owner0")
    owner.wait(b"READY=1")
    gaps = []
    for number in range(1, runs + 1):
        successor = Notified(binary, home, f"owner{number}", "--replace")
        stopping = owner.wait(b"STOPPING=1")
        gaps.append((successor.wait(b"READY=1") - stopping) * 1000)
        owner.close()
        owner = successor
    owner.process.terminate()
    owner.close()
    return gaps


class Service:
    """A program as a unit of a lab's systemd: the gateway, or what `program` names instead in the same unit ("/path ARGUMENT...")."""

    def __init__(self, lab, scope, profile="bench", port=PORT, program=None):
        self.lab, self.scope, self.port = lab, scope, port
        self.user = lab.user_of(scope)
        self.unit = f"talaria-gateway@{profile}.service"
        system = scope == "system"
        directory = f"/etc/talaria/{profile}" if system else f"/home/{self.user}/.config/talaria/{profile}"
        lab.put_file(f"{directory}/api.key", "bench\n", mode=0o600, owner=self.user)
        lab.put_file(f"{directory}/config.toml", CONFIG.format(port=port, directory=directory), mode=0o600, owner=self.user)
        if program:
            units = "/etc/systemd/system" if system else f"/home/{self.user}/.config/systemd/user"
            lab.put_file(f"{units}/{self.unit}.d/program.conf", f"[Service]\nExecStart=\nExecStart={program}\nWatchdogSec=0\n",
                         owner=self.user)
        lab.run([INSTALLED, "-p", profile, "gateway", "install", "--no-start", "--no-enable",
                 *(["--system"] if system else [])], self.user).check()
        if system:
            lab.run(["chown", "-R", "talaria", directory]).check()
        lab.systemctl(scope, "start", self.unit).check()

    def connect(self):
        """Of the gateway the service manager keeps the socket, and the connection waits in its backlog; another program must listen first."""
        while True:
            try:
                return self.lab.connect(self.port)
            except ConnectionRefusedError:
                time.sleep(0.0002)

    def kill_to_answer(self):
        """Milliseconds from SIGKILL of the main process to the answer "ready" to a request that was sent right after it."""
        outer = int((pathlib.Path(self.lab.cgroup_of(self.scope, self.unit)) / "cgroup.procs").read_text(encoding="ascii").split()[0])
        pidfd = os.pidfd_open(outer)
        # What READY left to do is not part of it; and the first process that is moved into a control group after a while waits for a grace
        # period of RCU (cgroup_threadgroup_rwsem), so an idle machine must have been idle.
        time.sleep(QUIET_S)
        begin = time.monotonic()
        os.kill(outer, signal.SIGKILL)
        select.select([pidfd], [], [], 5)
        os.close(pidfd)
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as client:
            client.sock = self.connect()
            client.request("GET", "/readyz")
            answer = client.getresponse()
            if answer.status != 200:
                raise BenchError(f"/readyz said {answer.status} after a kill")
        return (time.monotonic() - begin) * 1000


def restarts_after_kill(binary, empty_service, runs):
    """{what: milliseconds} for the gateway as a service of each scope and for a program that does nothing in the same unit, in turns;
    a string that says why, where this machine can't have a lab."""
    sys.path.insert(0, str(LAB))
    from lab import SCOPES, Lab, why_no_lab
    reason = why_no_lab()
    if reason:
        return reason
    figures = {}
    for scope in SCOPES:
        with Lab(programs={INSTALLED: binary, EMPTY: empty_service}) as lab:
            services = {f"{scope} service": Service(lab, scope),
                        f"{scope} service, an empty program": Service(lab, scope, "empty", PORT + 1, f"{EMPTY} {PORT + 1}")}
            for _ in range(runs):
                for name, service in services.items():
                    figures.setdefault(name, []).append(service.kill_to_answer())
    return figures
