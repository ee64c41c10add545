"""The gateway as a process, as the bench needs it: started with a notify socket of its own, timed from exec, measured in /proc.

Nothing here goes through a shell or a wrapper: what is timed is the binary alone.
"""

import json
import os
import pathlib
import select
import signal
import socket
import struct
import subprocess
import time

START_LIMIT_S = 30
STOP_LIMIT_S = 60
KEY = "bench-key-0123456789abcdef"


class BenchError(Exception):
    """Something did not work; the text says what and where to look."""


def runnable(command) -> str:
    return " ".join(str(part) for part in command)


class MockModel:
    """The instant model (bench/mock_model.cpp) on a port of its own; ends with the block, or with us."""

    def __init__(self, program: pathlib.Path, *arguments: str):
        self.process = subprocess.Popen([program, "--die-with-parent", *arguments], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("listening on "):
            raise BenchError(f"{program} did not start: {line!r}")
        self.port = int(line.rsplit(":", 1)[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class Gateway:
    """One `talaria gateway run` below `home`, its only agent the model at `model_port`."""

    def __init__(self, binary: pathlib.Path, home: pathlib.Path, model_port: int):
        self.binary, self.home = binary, home
        self.pid = 0
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        config = home / "config.toml"
        config.write_text('[api]\nlisten = "127.0.0.1:0"\nkeys = ["env:BENCH_KEY"]\n\n'
                          f'[agent.default]\nkind = "openai"\nbase_url = "http://127.0.0.1:{model_port}/v1"\nmodel = "mock"\n')
        config.chmod(0o600)
        # Nothing of the caller's service manager or settings reaches the gateway.
        self.env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(home), "TALARIA_HOME": str(home),
                    "BENCH_KEY": KEY}

    def log_tail(self) -> str:
        log = self.home / "gateway.log"
        return log.read_text(errors="replace")[-2000:] if log.exists() else ""

    def start(self) -> float:
        """Starts it; seconds from just before execve(2) to the arrival of READY=1 (sd_notify(3))."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(f"\0talaria-bench-{os.getpid()}-{self.home.name}")
            env = {**self.env, "NOTIFY_SOCKET": "@" + notify.getsockname()[1:].decode()}
            arguments = [str(self.binary), "gateway", "run"]
            log = os.open(self.home / "gateway.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            clock_out, clock_in = os.pipe()
            self.pid = os.fork()
            if self.pid == 0:
                try:
                    null = os.open("/dev/null", os.O_RDONLY)
                    for number, fd in ((0, null), (1, log), (2, log)):
                        os.dup2(fd, number)
                    os.chdir(self.home)
                    os.write(clock_in, struct.pack("q", time.monotonic_ns()))
                    os.execve(self.binary, arguments, env)
                finally:
                    os._exit(127)
            os.close(log)
            os.close(clock_in)
            begin = struct.unpack("q", os.read(clock_out, 8))[0]
            os.close(clock_out)
            return (self._await_ready(notify) - begin) / 1e9

    def _await_ready(self, notify: socket.socket) -> int:
        end = time.monotonic() + START_LIMIT_S
        pidfd = os.pidfd_open(self.pid)
        try:
            while (left := end - time.monotonic()) > 0:
                readable, _, _ = select.select([notify, pidfd], [], [], left)
                if notify in readable:
                    message = notify.recv(4096)
                    now = time.monotonic_ns()
                    if b"READY=1" in message.split(b"\n"):
                        return now
                elif pidfd in readable:
                    _, status = os.waitpid(self.pid, 0)
                    self.pid = 0
                    raise BenchError(f"the gateway ended with {os.waitstatus_to_exitcode(status)} before READY:\n{self.log_tail()}")
        finally:
            os.close(pidfd)
        self.terminate()
        raise BenchError(f"no READY=1 within {START_LIMIT_S} s:\n{self.log_tail()}")

    def terminate(self) -> float:
        """SIGTERM; seconds until it was gone. A bare SIGTERM is unplanned, so exit code 1 is right, and 0 in a container."""
        begin = time.monotonic()
        os.kill(self.pid, signal.SIGTERM)
        return self._await_end(begin, (0, 1))

    def end_as_planned(self) -> None:
        """Ends it with `gateway stop`, so that its home remembers no unplanned end and the next start is not delayed."""
        if not self.pid:
            return
        begin = time.monotonic()
        asked = subprocess.Popen([self.binary, "gateway", "stop"], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 text=True)
        try:
            self._await_end(begin, (0,))
        except BenchError as e:
            asked.kill()
            raise BenchError(f"gateway stop: {e}\n{asked.communicate()[0]}") from None
        said, _ = asked.communicate(timeout=STOP_LIMIT_S)
        if asked.returncode != 0:
            raise BenchError(f"gateway stop: exit code {asked.returncode}: {said}")

    def _await_end(self, begin: float, expected: tuple) -> float:
        pidfd = os.pidfd_open(self.pid)
        gone = select.select([pidfd], [], [], STOP_LIMIT_S)[0]
        took = time.monotonic() - begin
        os.close(pidfd)
        if not gone:
            os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        code = os.waitstatus_to_exitcode(status)
        if not gone:
            raise BenchError(f"the gateway did not end within {STOP_LIMIT_S} s:\n{self.log_tail()}")
        if code not in expected:
            raise BenchError(f"the gateway ended with {code}, not {expected}:\n{self.log_tail()}")
        return took

    def api_address(self) -> str:
        """"127.0.0.1:PORT", as `gateway status --json` says."""
        done = subprocess.run([self.binary, "gateway", "status", "--json"], env=self.env, capture_output=True, text=True, timeout=30)
        try:
            return json.loads(done.stdout)["api"]
        except (ValueError, KeyError, TypeError):
            raise BenchError(f"gateway status --json tells no api address: exit {done.returncode}: {done.stdout}{done.stderr}") from None


def memory(pid: int) -> dict[str, int]:
    """Bytes: rss and rss_anon (proc_pid_status(5)), pss (smaps_rollup; shared pages divided among their users)."""
    fields = {}
    for path in (f"/proc/{pid}/status", f"/proc/{pid}/smaps_rollup"):
        for line in pathlib.Path(path).read_text().splitlines():
            name, _, value = line.partition(":")
            if value.endswith(" kB"):
                fields.setdefault(name, int(value.split()[0]) * 1024)
    return {"rss": fields["VmRSS"], "rss_anon": fields["RssAnon"], "pss": fields["Pss"]}


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads, in nanosecond steps: the process's CPU clock, whose id is clock_getcpuclockid(3)'s
    (~pid << 3 | CPUCLOCK_SCHED). /proc/PID/stat counts in ticks of 10 ms, as much as is allowed in ten seconds."""
    return time.clock_gettime(~pid << 3 | 2)
