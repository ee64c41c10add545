"""A lab: a private, real systemd for tests, without a virtual machine.

    with Lab() as lab:
        lab.systemctl("system", "start", "talaria-gateway@default.service")
        lab.show("system", "talaria-gateway@default.service", "ActiveState")

It has a system manager, the manager of a throw-away user, a journal, both D-Bus daemons, its own network with only loopback, and a
root in which everything may be written (lab_init.py). lab_guard.py sees to it that nothing of it is left behind.

Two words for the two managers: scope "system" (driven as root) and scope "user" (driven as the throw-away user).

PIDs are those that the lab's processes see, unless a name says "outer".
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from lab_guard import cgroup_root
from lab_syscalls import CLONE_NEWNET, setns

HERE = Path(__file__).resolve().parent
USER = "labrat"
UID = 4242
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SCOPES = ("system", "user")


def why_no_lab():
    """Why this machine can't have a lab; None: it can."""
    if sys.platform != "linux":
        return "a lab needs Linux"
    if os.geteuid() != 0:
        return "a lab needs root (namespaces and a cgroup of its own)"
    if cgroup_root() is None:
        return "a lab needs cgroup v2, and it is mounted nowhere here"
    if not os.access(cgroup_root(), os.W_OK):
        return f"a lab needs to create a cgroup below {cgroup_root()}, which is read-only"
    with open("/proc/filesystems", encoding="ascii") as file:
        if "\toverlay\n" not in file.read():
            return "a lab needs overlayfs, which this kernel does not offer"
    for program in ("/lib/systemd/systemd", "/usr/bin/dbus-daemon", "/usr/lib/systemd/user/dbus.service"):
        if not os.path.exists(program):
            return f"a lab needs {program} (Debian: systemd, dbus, dbus-user-session)"
    if not list(Path("/usr/lib").glob("*/security/pam_systemd.so")):
        return "a lab needs pam_systemd.so (Debian: libpam-systemd)"
    for program in ("nsenter", "setpriv", "ip"):
        if shutil.which(program) is None:
            return f"a lab needs {program} (Debian: util-linux, iproute2)"
    return None


def wait_until(predicate, timeout, what):
    """Returns the first true value of predicate(). Asks every 10 ms, each time anew; after `timeout` seconds the test fails with `what`
    and the last value."""
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what}; last: {value!r}")
        time.sleep(0.01)


def holds(predicate, seconds, what):
    """Fails as soon as predicate() is false during that time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert predicate(), f"held no longer: {what}"
        time.sleep(0.05)


@dataclass
class Ran:
    """How a command ended."""
    command: list
    code: int
    out: str
    err: str
    seconds: float

    def check(self):
        assert self.code == 0, f"{self.command} exited {self.code}\n{self.out}{self.err}"
        return self


@dataclass
class LabSettings:
    programs: dict = field(default_factory=dict)  # path in the lab → file of this machine, copied at boot and made executable
    boot_timeout: float = 60


class Lab:
    def __init__(self, programs=None):
        self.settings = LabSettings(programs={k: str(Path(v).resolve()) for k, v in (programs or {}).items()})
        self._guard = None
        self._spawned = []
        self.init = 0       # outer PID of the lab's PID 1
        self.cgroup = ""    # its cgroup directory on this machine

    def __enter__(self):
        reason = why_no_lab()
        if reason:
            raise RuntimeError(reason)
        asked = {"programs": self.settings.programs, "user": USER, "uid": UID}
        self._guard = subprocess.Popen(
            [sys.executable, "-B", str(HERE / "lab_guard.py"), json.dumps(asked)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
        try:
            told = self._guard.stdout.readline()
            if not told:
                raise RuntimeError(f"the lab did not start; its guard exited {self._guard.wait()}")
            place = json.loads(told)
            self.init, self.cgroup = place["init"], place["cgroup"]
            self._finish_boot()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends every process of the lab and waits until nothing of it is left."""
        if self._guard is None:
            return
        guard, self._guard = self._guard, None
        guard.stdin.close()
        code = guard.wait(timeout=30)
        guard.stdout.close()
        for process in self._spawned:
            process.wait(timeout=10)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    stream.close()
        self._spawned.clear()
        if code != 0:
            raise RuntimeError(f"the lab's guard exited {code}; see its message above")

    def _finish_boot(self):
        deadline = self.settings.boot_timeout
        own = os.readlink("/proc/self/ns/mnt")

        def socket_exists(name):
            try:
                # Until the root is built, the path leads into the machine's own one.
                return os.readlink(f"/proc/{self.init}/ns/mnt") != own and self._booted() and self.path(name).exists()
            except FileNotFoundError:
                raise RuntimeError("the lab's PID 1 ended while booting; see its message above") from None

        wait_until(lambda: socket_exists("/run/systemd/private"), deadline, "the system manager answers")
        os.makedirs(f"{self.cgroup}/driver", exist_ok=True)
        wait_until(lambda: socket_exists(f"/run/user/{UID}/systemd/private"), deadline, "the user manager answers")
        for scope in SCOPES:
            state = self.systemctl(scope, "is-system-running", "--wait").out.strip()
            if state not in ("running", "degraded"):
                raise RuntimeError(f"{scope} manager: {state}")
        self.start_bus()

    def _booted(self):
        with open(f"/proc/{self.init}/comm", encoding="ascii") as file:
            return file.read() == "systemd\n"

    # -- commands -----------------------------------------------------------------------------------------------------------------

    def environment(self, user=None):
        """What a login shell would have; nothing of the environment of the tests."""
        if user is None:
            return {"PATH": PATH, "HOME": "/root", "USER": "root", "LOGNAME": "root", "LANG": "C.UTF-8"}
        runtime = f"/run/user/{UID}"
        return {"PATH": PATH, "HOME": f"/home/{USER}", "USER": USER, "LOGNAME": USER, "LANG": "C.UTF-8",
                "XDG_RUNTIME_DIR": runtime, "DBUS_SESSION_BUS_ADDRESS": f"unix:path={runtime}/bus"}

    def _enter(self, command, user):
        prefix = ["nsenter", "-t", str(self.init), "-m", "-p", "-C", "-u", "-i", "-n"]
        if user is not None:
            prefix += ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--init-groups"]
        return prefix + [str(part) for part in command]

    def _become_member(self):
        with open(f"{self.cgroup}/driver/cgroup.procs", "w", encoding="ascii") as file:
            file.write("0")

    def spawn(self, command, user=None, env=None, **more):
        """Starts a command in the lab and returns its Popen (whose pid is that of nsenter: use pid_of). It ends with the lab."""
        process = subprocess.Popen(
            self._enter(command, user), env={**self.environment(user), **(env or {})}, cwd="/", text=True,
            stdin=more.pop("stdin", subprocess.DEVNULL), start_new_session=True, preexec_fn=self._become_member, **more)
        self._spawned.append(process)
        return process

    def run(self, command, user=None, env=None, timeout=30, input=None):
        """Runs a command in the lab to its end. After `timeout` seconds it is killed and the test fails."""
        began = time.monotonic()
        process = self.spawn(command, user, env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            out, err = process.communicate(input, timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            raise AssertionError(f"{command} did not end within {timeout} s\n{out}{err}") from None
        finally:
            self._spawned.remove(process)
        return Ran(list(command), process.returncode, out, err, time.monotonic() - began)

    def stop_spawned(self, process):
        """Kills what spawn() started, with its process group, and waits until all of the group is gone: the command is a
        child of the Popen's process and may end after it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)
        wait_until(lambda: not self._group_exists(process.pid), 10, "the whole process group is gone")

    @staticmethod
    def _group_exists(group):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        return True

    def pid_of(self, process):
        """The PID, in the lab, of what spawn() runs."""
        def look():
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
            return self._inner_pid(children[0]) if children else None
        return wait_until(look, 5, "the command runs")

    @staticmethod
    def _inner_pid(outer):
        for line in Path(f"/proc/{outer}/status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
        return None

    def user_of(self, scope):
        return USER if scope == "user" else None

    # -- the managers -------------------------------------------------------------------------------------------------------------

    def systemctl(self, scope, *arguments, timeout=60):
        option = ["--user"] if scope == "user" else []
        return self.run(["systemctl", *option, "--no-pager", *arguments], self.user_of(scope), timeout=timeout)

    def show(self, scope, unit, *properties):
        """The properties as a dictionary; of one property, its value."""
        out = self.systemctl(scope, "show", unit, "--property=" + ",".join(properties)).check().out
        values = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
        return values[properties[0]] if len(properties) == 1 else values

    def main_pid(self, scope, unit):
        return int(self.show(scope, unit, "MainPID"))

    def manager_pid(self, scope):
        return 1 if scope == "system" else self.main_pid("system", f"user@{UID}.service")

    def cgroup_of(self, scope, unit):
        """The unit's cgroup directory as seen from this machine; None: it has none (no process)."""
        path = self.show(scope, unit, "ControlGroup")
        return Path(self.cgroup + path) if path else None

    def pids_in(self, cgroup):
        """Of every living process in that cgroup and below."""
        pids = []
        for path in [cgroup, *cgroup.rglob("*/")] if cgroup and cgroup.exists() else []:
            with contextlib.suppress(FileNotFoundError, OSError):
                for outer in (path / "cgroup.procs").read_text(encoding="ascii").split():
                    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                        pids.append(self._inner_pid(outer))
        return pids

    def journal(self, scope, unit, cursor=None):
        """Every entry of and about the unit, oldest first, as dictionaries of journal fields; since `cursor` if given."""
        self.run(["journalctl", "--sync"]).check()
        if scope == "system":
            match = [f"_SYSTEMD_UNIT={unit}", "+", f"UNIT={unit}"]
        else:
            match = [f"_SYSTEMD_USER_UNIT={unit}", "+", f"USER_UNIT={unit}"]
        since = [f"--after-cursor={cursor}"] if cursor else []
        out = self.run(["journalctl", "--no-pager", "--output=json", *since, *match]).out
        return [json.loads(line) for line in out.splitlines() if line.startswith("{")]

    def journal_text(self, scope, unit, cursor=None):
        return "\n".join(str(entry.get("MESSAGE")) for entry in self.journal(scope, unit, cursor))

    def journal_cursor(self):
        self.run(["journalctl", "--sync"]).check()
        out = self.run(["journalctl", "--no-pager", "--lines=0", "--show-cursor"]).check().out
        return out.partition("-- cursor: ")[2].strip()

    # -- processes ----------------------------------------------------------------------------------------------------------------

    def kill(self, pid, name="TERM", user=None):
        """Signals from a shell in the lab and returns that shell's PID, which is the sender that the receiver sees."""
        return int(self.run(["/bin/sh", "-c", f"echo $$; kill -{name} {pid}"], user).check().out)

    def alive(self, pid):
        """There is such a process and it is not a zombie."""
        try:
            stat = self.path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
        return stat.rpartition(")")[2].split()[0] not in "ZX"

    # -- files --------------------------------------------------------------------------------------------------------------------

    def path(self, inside):
        """A path of the lab as one that this process can open. Absolute symbolic links on the way lead astray."""
        return Path(f"/proc/{self.init}/root{inside}")

    def put_file(self, inside, text, mode=0o644, owner=None):
        """Writes a file, its directories included, and gives what is new to `owner` (USER or None for root)."""
        path = self.path(inside)
        uid = UID if owner else 0
        missing = [parent for parent in path.parents if not parent.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        for each in [path, *missing]:
            os.chown(each, uid, uid)

    def mount_small(self, inside, size="8m"):
        """Puts an empty tmpfs over a directory (made where missing), with the directory's owner and mode: a disk that can be filled,
        made read-only, and thrown away."""
        facts = self.path(inside).stat()
        options = f"size={size},mode={facts.st_mode & 0o7777:o},uid={facts.st_uid},gid={facts.st_gid}"
        self.run(["mount", "-t", "tmpfs", "-o", options, "lab-small", inside]).check()

    def unmount(self, inside):
        self.run(["umount", "--lazy", inside]).check()

    def remount(self, inside, read_only):
        """Makes a file system read-only or writable in every mount namespace of the lab: a unit's sandbox has copies of the mount, whose
        own flags no remount reaches, so it is the file system that changes, and the mount's flags stay as they are."""
        if read_only:
            self.run(["mount", "-o", "remount,ro", inside]).check()
            self.run(["mount", "-o", "remount,bind,rw", inside]).check()
        else:
            self.run(["mount", "-o", "remount,rw", inside]).check()

    def fill_disk(self, inside):
        """Writes a file until not one block is left. Returns its path; removing it makes room again."""
        path = self.path(inside) / "filler"
        with contextlib.suppress(OSError), open(path, "wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 4096)
        free = os.statvfs(path.parent).f_bfree
        assert free == 0, f"{free} blocks are still free"
        return path

    # -- the network --------------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def network(self):
        """This thread's new sockets belong to the lab's network. They still do when the block has ended."""
        with open("/proc/thread-self/ns/net", "rb") as own, open(f"/proc/{self.init}/ns/net", "rb") as lab:
            setns(lab.fileno(), CLONE_NEWNET)
            try:
                yield
            finally:
                setns(own.fileno(), CLONE_NEWNET)

    def connect(self, port, timeout=10):
        """A TCP connection to the lab's 127.0.0.1."""
        with self.network():
            return socket.create_connection(("127.0.0.1", port), timeout=timeout)

    # -- D-Bus --------------------------------------------------------------------------------------------------------------------

    def bus_pid(self, scope):
        return self.main_pid(scope, "dbus.service")

    def hang_bus(self):
        """Both D-Bus daemons stand still: what is sent to them is taken by the kernel and never answered."""
        for scope in SCOPES:
            self.kill(self.bus_pid(scope), "STOP")

    def unhang_bus(self):
        for scope in SCOPES:
            pid = self.bus_pid(scope)
            if pid:
                self.kill(pid, "CONT")

    def stop_bus(self):
        """Both D-Bus daemons and their sockets are gone; nothing activates them again."""
        for scope in ("user", "system"):
            self.systemctl(scope, "stop", "dbus.socket", "dbus.service").check()
        for scope in SCOPES:
            assert self.bus_pid(scope) == 0

    def start_bus(self):
        for scope in SCOPES:
            self.systemctl(scope, "start", "dbus.socket", "dbus.service").check()
