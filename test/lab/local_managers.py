"""A gateway under each manager that needs no lab: a shell, PID 1 of a container, tini, runit, s6 and supervisord.

Each runs as ordinary processes on a home of its own in a temporary directory; nothing of the machine's own service management takes
part. The two containers are PID namespaces whose PID 1 is the gateway, or tini; the test is their runtime, and signals them
from outside (container_runtime.py). The service definitions are those that `gateway install --print` prints.

All drivers, and SystemdUnit in systemd_manager.py, have the same methods, so that one table can be played on all of them.
"""

import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import xmlrpc.client
import zlib

from lab import wait_until

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
KEY = "table-key-77aa"
# "hang" is a turn that lasts; the drain is short so that a stop in a turn is.
CONFIG = """[gateway]
drain_timeout = "{drain}"

[api]
listen = "127.0.0.1:{port}"
keys   = ["file:{key_file}"]

[agent.default]
kind = "echo"

[agent.hang]
kind    = "command"
command = ["/usr/bin/sleep", "600"]
"""
WRONG_CONFIG = "[gateway]\ndrain_timeuot = \"1s\"\n"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_alive(pid):
    """There is such a process and it is not a zombie."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def children(pid):
    try:
        return [int(word) for word in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    except OSError:
        return []


class Local:
    """What the local drivers share. PIDs are those that the test sees."""

    name = ""
    restarts = True   # does something start it again?
    in_place = False  # `gateway restart` keeps the PID

    def __init__(self, binary, folder):
        self.binary = str(binary)
        self.folder = pathlib.Path(folder)
        self.home = self.folder / "home"
        self.home.mkdir(mode=0o700, parents=True)
        self.port = free_port()
        self.log = self.folder / "gateway.log"
        self.log.touch()
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "TALARIA_HOME": str(self.home)}
        self._turns, self._blockers, self._started = [], [], []
        self.configure()
        self.prepare()

    def prepare(self):
        """Writes the service's definition."""

    # -- set-up -------------------------------------------------------------------------------------------------------------------

    def configure(self, text=CONFIG, drain="1s"):
        key_file = self.home / "api.key"
        key_file.write_text(KEY + "\n", encoding="utf-8")
        key_file.chmod(0o600)
        config = self.home / "config.toml"
        config.write_text(text.format(port=self.port, key_file=json.dumps(str(key_file), ensure_ascii=False)[1:-1], drain=drain), encoding="utf-8")
        config.chmod(0o600)

    def break_config(self):
        self.configure(WRONG_CONFIG)

    def definition(self, kind, *arguments):
        return subprocess.run([self.binary, "gateway", "install", "--print", kind, *arguments], env=self.environment, capture_output=True,
                              text=True, check=True).stdout

    def _spawn(self, command, **more):
        """It ends with this process, should that be killed, and with close()."""
        with open(self.log, "ab") as log:
            process = subprocess.Popen([str(word) for word in command], env=more.pop("env", self.environment), cwd=self.folder,
                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **more)
        self._started.append(process)
        return process

    def close(self):
        """Ends everything that was started, the gateway first."""
        self.release()
        for process in self._started:
            for pid in children(process.pid):
                for each in [*children(pid), pid]:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(each, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait(10)
        owner = self.lock_owner()
        if owner and is_alive(owner) and str(self.home) in self._environment_of(owner):
            os.kill(owner, signal.SIGKILL)

    @staticmethod
    def _environment_of(pid):
        try:
            return pathlib.Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
        except OSError:
            return ""

    def lock_owner(self):
        try:
            return json.loads((self.home / "state" / "gateway.lock").read_text(encoding="utf-8"))["pid"]
        except (OSError, ValueError, KeyError):
            return 0

    # -- asking -------------------------------------------------------------------------------------------------------------------

    def cli(self, *arguments, timeout=60):
        return subprocess.run([*self.inside(), self.binary, *arguments], env=self.environment, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=timeout, check=False)

    def cli_start(self, *arguments):
        """The command without waiting for its end."""
        return self._spawn([*self.inside(), self.binary, *arguments])

    def run_inside(self, command):
        subprocess.run([str(word) for word in command], check=True, capture_output=True, timeout=30)

    def inside(self):
        """What a command begins with to run where the gateway does."""
        return []

    def pid(self):
        """The gateway's PID; 0: it does not run."""
        raise NotImplementedError

    def own_pid(self):
        """Its PID as it sees it itself, which its records have."""
        return self.pid()

    def runs(self):
        ran = subprocess.run([self.binary, "gateway", "history", "--json"], env=self.environment, capture_output=True, text=True, check=False)
        try:
            return json.loads(ran.stdout)["runs"]
        except (ValueError, KeyError):
            return []

    def database(self):
        return self.home / "state" / "talaria.db"

    def status(self):
        try:
            return json.loads(self.cli("gateway", "status", "--json").stdout)
        except ValueError:
            return {}

    def output(self):
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def request(self, method, path, body=None, timeout=5):
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(client):
            client.request(method, path, None if body is None else json.dumps(body),
                           {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"})
            answer = client.getresponse()
            return answer.status, answer.read().decode()

    def serves(self):
        try:
            return self.request("GET", "/readyz", timeout=2)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def is_down(self):
        """It does not run and its manager will not start it. Where there is no manager: it has ended."""
        raise NotImplementedError

    def exit(self):
        """How the last incarnation ended, as its manager saw it: an exit code, or a signal's name; None: nothing has ended."""
        raise NotImplementedError

    def mark(self):
        """exit() is about what ends from now on: here about the last one that has ended."""

    def account(self):
        return f"--- {self.name}\nexit {self.exit()!r}, runs {json.dumps(self.runs()[:3])}\n{self.output()[-3000:]}"

    # -- phases -------------------------------------------------------------------------------------------------------------------

    def start(self):
        raise NotImplementedError

    def run_other_owner(self):
        """A gateway that somebody started by hand owns the home."""
        self.other = self._spawn([self.binary, "gateway", "run"])
        wait_until(self.serves, 20, "the other owner serves")
        return self.other

    def block_port(self):
        blocker = socket.create_server(("127.0.0.1", self.port))
        self._blockers.append(blocker)

    def begin_turn(self):
        """A turn that lasts; the request stays open until release()."""
        before = set(self.processes())
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        body = json.dumps({"model": "hang", "user": "rat", "messages": [{"role": "user", "content": "take your time"}]})
        connection.sendall((f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\n"
                            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}").encode())
        self._turns.append(connection)
        wait_until(lambda: set(self.processes()) - before, 10, "the turn's agent runs")

    def processes(self):
        return children(self.pid())

    def state(self):
        return self.status().get("state")

    def standing_by(self):
        return self.output().count("standby for")

    def release(self):
        for each in (*self._turns, *self._blockers):
            each.close()
        self._turns.clear()
        self._blockers.clear()

    # -- causes -------------------------------------------------------------------------------------------------------------------

    def kill(self, name, pid=None):
        """From a shell where the gateway runs. Returns the shell's PID as the gateway sees it."""
        pid = pid or self.own_pid()
        ran = subprocess.run([*self.inside(), "/bin/sh", "-c", f"echo $$; kill -{name} {pid}"], capture_output=True, text=True, check=False)
        return int(ran.stdout)  # the shell may have gone down with what it killed

    def manager_stop(self):
        raise NotImplementedError

    def manager_restart(self):
        raise NotImplementedError

    def manager_signal(self):
        raise NotImplementedError

    def begin_stop(self):
        """Has it stopped, and does not wait: the drain goes on when this returns."""
        raise NotImplementedError


class Bare(Local):
    """From a shell, without any manager."""

    name = "bare"
    restarts = False
    in_place = True
    process = None

    def command(self):
        return [self.binary, "gateway", "run"]

    def start(self, *arguments):
        self.process = self._spawn([*self.command(), *arguments])

    def start_standby(self):
        self.start("--wait")

    def pid(self):
        return self.process.pid if self.process and self.process.poll() is None else 0

    def is_down(self):
        return self.process is not None and self.process.poll() is not None

    def exit(self):
        code = self.process.poll() if self.process else None
        return code if code is None or code >= 0 else signal.Signals(-code).name

    def begin_stop(self):
        self.cli_start("gateway", "stop")


class Container(Bare):
    """PID 1 of a PID namespace; the test outside is the container's runtime."""

    name = "container"

    def command(self):
        return [sys.executable, "-B", HERE / "container_runtime.py", self.binary, "gateway", "run"]

    def start_standby(self):
        self.start()

    def init(self):
        """PID 1 of the container, as seen from outside; 0: there is none."""
        found = children(self.process.pid) if self.process and self.process.poll() is None else []
        return found[0] if found and pathlib.Path(f"/proc/{found[0]}/comm").exists() else 0

    def pid(self):
        return self.init()

    def own_pid(self):
        return 1

    def inside(self):
        return ["nsenter", "-t", str(self.init()), "-p", "-m"] if self.init() else []

    def kill(self, name, pid=None):
        if name == "KILL" and self.own_pid() == 1:  # PID 1 can't be killed from inside
            os.kill(self.init(), signal.SIGKILL)
            return 0
        return super().kill(name, pid)

    def manager_stop(self):
        os.kill(self.init(), signal.SIGTERM)

    begin_stop = manager_stop


class Tini(Container):
    """The same with tini as PID 1."""

    name = "tini"

    def command(self):
        return [sys.executable, "-B", HERE / "container_runtime.py", "tini", "--", self.binary, "gateway", "run"]

    def pid(self):
        init = self.init()
        if not init or pathlib.Path(f"/proc/{init}/comm").read_text(encoding="ascii").strip() != "tini":
            return 0
        found = children(init)
        return found[0] if found else 0

    def own_pid(self):
        for line in pathlib.Path(f"/proc/{self.pid()}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
        return 0

    def exit(self):
        code = super().exit()
        # tini ends with 128 + signal, as a shell does.
        return signal.Signals(code - 128).name if isinstance(code, int) and code > 128 else code


class Runit(Local):
    name = "runit"

    def prepare(self):
        self.directory = self.folder / "sv"
        subprocess.run(["sh", "-s", str(self.directory)], input=self.definition("runit"), text=True, check=True)
        # runsv tells finish how it ended and keeps no record, so finish keeps one.
        (self.directory / "finish").rename(self.directory / "finish.printed")
        finish = self.directory / "finish"
        finish.write_text('#!/bin/sh\necho "$1 $2" >>ends\nexec ./finish.printed "$@"\n', encoding="utf-8")
        finish.chmod(0o755)
        (self.directory / "log").rename(self.directory / "unused-log")  # its output goes to our log
        self.runsv = None

    def start(self):
        if self.runsv is None:
            self.runsv = self._spawn(["runsv", self.directory])
        else:
            self.sv("up")

    start_standby = start

    def sv(self, *words):
        wait_until((self.directory / "supervise" / "ok").exists, 5, "runsv is there")
        # -w: `stop` and `restart` wait that long, as for an operator.
        return subprocess.run(["sv", "-w", "20", *words, self.directory], capture_output=True, text=True, check=False).stdout

    def pid(self):
        try:
            text = (self.directory / "supervise" / "pid").read_text(encoding="ascii").strip()
            if not (self.directory / "supervise" / "stat").read_text(encoding="ascii").startswith("run"):
                return 0
        except OSError:
            return 0
        return int(text) if text else 0

    def is_down(self):
        try:
            return (self.directory / "supervise" / "stat").read_text(encoding="ascii").startswith("down") and \
                (self.directory / "supervise" / "status").read_bytes()[17:18] == b"d"
        except OSError:
            return False

    def exit(self):
        ends = self.directory / "ends"
        if not ends.exists() or not ends.read_text(encoding="ascii").split():
            return None
        code, number = ends.read_text(encoding="ascii").splitlines()[-1].split()
        return int(code) if code != "-1" else signal.Signals(int(number) & 0x7f).name

    def begin_stop(self):
        subprocess.run(["sv", "down", self.directory], capture_output=True, check=True)

    def manager_stop(self):
        self.sv("stop")

    def manager_restart(self):
        self.sv("restart")

    def manager_signal(self):
        self.sv("term")


class S6(Local):
    name = "s6"

    def prepare(self):
        self.directory = self.folder / "sv"
        subprocess.run(["sh", "-s", str(self.directory)], input=self.definition("s6"), text=True, check=True)
        self.supervise = None

    def start(self):
        if self.supervise is None:
            self.supervise = self._spawn(["s6-supervise", self.directory])
        else:
            self.svc("-u")

    start_standby = start

    def svc(self, *words):
        wait_until((self.directory / "supervise" / "control").exists, 5, "s6-supervise is there")
        subprocess.run(["s6-svc", *words, self.directory], check=True, capture_output=True)

    def stat(self, *fields):
        ran = subprocess.run(["s6-svstat", "-o", ",".join(fields), self.directory], capture_output=True, text=True, check=False)
        return dict(zip(fields, ran.stdout.split()))

    def pid(self):
        seen = self.stat("up", "pid")
        return int(seen["pid"]) if seen.get("up") == "true" else 0

    def is_down(self):
        text = subprocess.run(["s6-svstat", self.directory], capture_output=True, text=True, check=False).stdout
        # "down (exitcode 0) 1 seconds, normally up, ready 1 seconds": ready when finish has ended; "want up" if it is.
        return text.startswith("down") and ", ready" in text and "want up" not in text

    def exit(self):
        ran = subprocess.run(["s6-svdt", "-n", "1", self.directory], capture_output=True, text=True, check=False)
        words = ran.stdout.split()
        return None if not words else int(words[-1]) if words[-2] == "exitcode" else words[-1]

    def begin_stop(self):
        self.svc("-d")

    def manager_stop(self):
        self.svc("-wD", "-T", "20000", "-d")

    def manager_restart(self):
        self.svc("-r")

    def manager_signal(self):
        self.svc("-t")


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path):
        super().__init__()
        self.path = path

    def make_connection(self, host):
        connection = http.client.HTTPConnection("localhost", timeout=10)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(10)
        connection.sock.connect(self.path)
        self._connection = host, None
        return connection


class Supervisord(Local):
    name = "supervisord"
    with_server = True
    PROGRAM = "talaria-default"

    def prepare(self):
        # supervisord's own files, where its configuration can name them however odd the gateway's folder is.
        own = self.folder.parent / f"{zlib.crc32(str(self.folder).encode()):08x}"
        own.mkdir()
        self.log = own / "gateway.log"
        self.socket = str(own / "s.sock")
        server = f"""[unix_http_server]
file={self.socket}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{self.socket}
""" if self.with_server else ""
        self.conf = own / "supervisord.conf"
        self.supervisord_log = own / "supervisord.log"
        self.conf.write_text(f"""[supervisord]
nodaemon=true
logfile={self.supervisord_log}
pidfile={own}/supervisord.pid
childlogdir={own}
{server}{self.definition("supervisord")}stdout_logfile={self.log}
""", encoding="utf-8")
        self.supervisord = None

    def start(self):
        if self.supervisord is None:
            self.supervisord = self._spawn(["supervisord", "-c", self.conf])
            wait_until(lambda: os.path.exists(self.socket) or not self.with_server, 20, "supervisord answers")
        else:
            self.control("start", self.PROGRAM)

    start_standby = start

    def control(self, *words):
        return subprocess.run(["supervisorctl", "-c", self.conf, *words], capture_output=True, text=True, check=False).stdout

    def rpc(self):
        return xmlrpc.client.ServerProxy("http://localhost", _UnixTransport(self.socket)).supervisor

    def info(self):
        try:
            return self.rpc().getProcessInfo(self.PROGRAM)
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            return {}

    def pid(self):
        if not self.with_server:
            found = children(self.supervisord.pid) if self.supervisord else []
            return found[0] if found else 0
        info = self.info()
        return info["pid"] if info.get("statename") in ("STARTING", "RUNNING", "STOPPING") else 0

    def is_down(self):
        info = self.info()
        # EXITED is judged by its exit code: those that were not expected are started again at once.
        return info.get("statename") == "STOPPED" or (info.get("statename") == "EXITED" and not info["spawnerr"])

    def exit(self):
        said = self.supervisord_log.read_text(encoding="utf-8") if self.supervisord_log.exists() else ""
        for line in reversed(said.splitlines()):
            if f"exited: {self.PROGRAM} (" in line or f"stopped: {self.PROGRAM} (" in line:
                how = line.split("(", 1)[1]
                return int(how.split("exit status ")[1].split(")")[0].split(";")[0]) if "exit status" in how else \
                    how.split("terminated by ")[1].split(")")[0].split()[0].split(";")[0]
        return None

    def begin_stop(self):
        with contextlib.suppress(xmlrpc.client.Fault):  # it stops already
            self.rpc().stopProcess(self.PROGRAM, False)

    def manager_stop(self):
        self.control("stop", self.PROGRAM)

    def manager_restart(self):
        self.control("restart", self.PROGRAM)

    def manager_signal(self):
        self.control("signal", "TERM", self.PROGRAM)


LOCAL = {driver.name: driver for driver in (Container, Bare, Tini, Runit, S6, Supervisord)}
PROGRAMS = {"container": ["nsenter"], "bare": [], "tini": ["tini", "nsenter"], "runit": ["runsv", "sv"],
            "s6": ["s6-supervise", "s6-svc", "s6-svstat", "s6-svdt"], "supervisord": ["supervisord", "supervisorctl"]}


def why_not(name):
    """Why this machine can't run that manager; None: it can."""
    missing = [program for program in PROGRAMS[name] if shutil.which(program) is None]
    if missing:
        return f"{name} needs {' '.join(missing)} (tools/install-packages --test)"
    if name in ("container", "tini") and os.geteuid() != 0:
        return f"{name} needs root (a PID namespace)"
    return None
