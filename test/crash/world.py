"""One gateway with its home, its platforms and its clients, through as many processes as it takes."""

import http.client
import json
import os
import pathlib
import pty
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time

from platforms import Gone, History, IrcServer, Model, Stuck
from support.talaria import REPO, binary, free_port

KEY = "crash-key-0123456789"
HEAL_SECONDS = 20.0  # on a machine that is busy with other things, too

CONFIG = """
[gateway]
drain_timeout = "400ms"
[api]
listen = "{api}"
keys = ["env:KEY"]
[agent.default]
kind = "echo"
[agent.model]
kind = "openai"
base_url = "{model}"
model = "m"
[channel.net]
kind = "irc"
server = "127.0.0.1:{irc}"
tls = false
nick = "talaria"
agent = "{agent}"
allow = [{people}]
lines_per_second = 10000.0
burst = 10000
"""


def tracer() -> pathlib.Path:
    path = pathlib.Path(os.environ.get("TALARIA_CRASH_TRACER", binary().parent / "test" / "crash" / "crash_tracer"))
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: ninja -C {REPO / 'build' / 'release'} crash_tracer, or set TALARIA_CRASH_TRACER")
    return path


class World:
    """`template`: a home's state directory to begin with. `history`: goes on with an earlier one's (its platforms, too)."""

    def __init__(self, agent: str = "default", template: pathlib.Path | None = None, folder: pathlib.Path | None = None,
                 people: tuple[str, ...] = ("ann", "bob"), sides: tuple = ()):
        """`sides`: classes of further platforms, each made with the history, asked for its config(agent) and closed at the end."""
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="crash-", dir=folder))
        self.home = self.folder / "home"
        self.home.mkdir(mode=0o700)
        if template:
            shutil.copytree(template, self.home / "state")
        self.history = History()
        self.irc = IrcServer(self.history)
        self.model = Model(self.history)
        self.sides = [side(self.history) for side in sides]
        # 127.0.0.0/8 is all loopback: with an address of its own, no other test takes the port between two starts.
        own = os.getpid()
        self.address, self.port = f"127.{64 + (own >> 16)}.{own >> 8 & 255}.{own & 255}", free_port()
        config = self.home / "config.toml"
        config.write_text(CONFIG.format(api=f"{self.address}:{self.port}", model=self.model.url, irc=self.irc.port, agent=agent,
                                        people=", ".join(f'"nick:{who}"' for who in people)) + "".join(side.config(agent) for side in self.sides))
        config.chmod(0o600)
        self.process: subprocess.Popen | None = None
        self.pid = 0
        self.traced = False
        self.told: list[str] = []       # what the tracer told at its end
        self.exits: list[tuple[int, int]] = []  # of every process: PID, and exit code or minus the signal
        # A start from a terminal is a person's: it is not delayed by the crash-loop back-off.
        self._terminal, self._stdin = pty.openpty()

    def __enter__(self) -> "World":
        return self

    def __exit__(self, *_) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()  # a tracer takes what it traces along
            self.process.wait()
        for side in self.sides:
            side.close()
        self.irc.close()
        self.model.close()
        os.close(self._terminal)
        os.close(self._stdin)
        shutil.rmtree(self.folder, ignore_errors=True)

    def side(self, kind: type):
        return next(side for side in self.sides if isinstance(side, kind))

    # ---- processes

    def start(self, at: int | None = None, after: bool = False, from_signal: bool = False, record: pathlib.Path | None = None) -> None:
        """Starts the gateway. With any argument it runs under the tracer; `at` 0 counts and kills nowhere."""
        self.traced = at is not None
        words = []
        if self.traced:
            words = [str(tracer()), *(["--from-signal"] if from_signal else []), *(["--record", str(record)] if record else []),
                     *(["--at", str(at), "--after" if after else "--before"] if at else [])]
        self.told = []
        self.irc.catch_up()
        self.model.catch_up()
        for side in self.sides:
            side.catch_up()
        log = self.folder / f"log-{self.history.run + 1}"
        self.history.process_began()
        self.process = subprocess.Popen([*words, str(binary()), "gateway", "run"], cwd=self.home, stdin=self._stdin,
                                        env={"PATH": "/usr/bin:/bin", "HOME": str(self.home), "TALARIA_HOME": str(self.home), "KEY": KEY,
                                             **{name: value for side in self.sides for name, value in side.secrets.items()}},
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
        self.pid = int(self.process.stdout.readline().split()[1]) if self.traced else self.process.pid
        threading.Thread(target=self._watch, args=(self.process, log), daemon=True).start()

    def _watch(self, process: subprocess.Popen, log: pathlib.Path) -> None:
        with log.open("w") as kept:
            for line in process.stderr:
                kept.write(line)
                self.history.add("log", text=line.rstrip("\n"))
        # An agent's process may hold our stderr, but it never outlives the gateway here: there is none.
        told = process.stdout.read()
        process.wait()
        process.stderr.close()
        process.stdout.close()
        if self.traced:
            self.told = told.splitlines()
            code = self.word("exit")
            self.exits.append((self.pid, int(code) if code else -int(self.word("signal") or 9)))
        else:
            self.exits.append((self.pid, process.returncode))
        self.history.process_ended()

    def word(self, name: str) -> str:
        """What the tracer told under a name: counted, killed, exit, signal."""
        return next((line.partition(" ")[2] for line in self.told if line.startswith(name + " ")), "")

    def count(self, on: bool) -> None:
        """Tells the tracer to begin, or to end, counting."""
        self.process.send_signal(signal.SIGUSR1 if on else signal.SIGUSR2)

    def signal(self, number: int) -> None:
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass

    def kill9(self) -> None:
        self.signal(signal.SIGKILL)
        if not self.history.until_dead(HEAL_SECONDS):
            raise Stuck("death by SIGKILL")

    def end(self, seconds: float = HEAL_SECONDS) -> int:
        """SIGTERM, and the exit code."""
        self.signal(signal.SIGTERM)
        if not self.history.until_dead(seconds):
            raise Stuck("an end after SIGTERM")
        return self.exits[-1][1]

    # ---- what people and clients do

    def until_up(self) -> None:
        """Logged in on IRC, and ready."""
        run = self.history.run
        self.history.until(lambda: self.history.of("up", run), HEAL_SECONDS, "login on IRC")
        self.until_ready()

    def until_ready(self) -> None:
        run = self.history.run
        self.history.until(lambda: any(" ready: " in e.text for e in self.history.of("log", run)), HEAL_SECONDS, "ready")

    def until_replied(self, *texts: str) -> None:
        def replied():
            seen = [e.text for e in self.history.of("reply")]
            return all(any(text in reply for reply in seen) for text in texts)
        self.history.until(replied, HEAL_SECONDS, f"replies to {texts}")

    def until_repeated(self, text: str) -> None:
        self.history.until(lambda: sum(text in e.text for e in self.history.of("reply")) > 1, HEAL_SECONDS, f"a repeat of {text}")

    def ask(self, key: str, prompt: str, stream: bool) -> str | None:
        """One HTTP request under an idempotency key: the whole answer, or None where the connection broke."""
        client = http.client.HTTPConnection(self.address, self.port, timeout=HEAL_SECONDS)
        body = {"model": "model", "stream": stream, "messages": [{"role": "user", "content": prompt}]}
        try:
            client.request("POST", "/v1/chat/completions", json.dumps(body), {
                "Authorization": f"Bearer {KEY}", "Content-Type": "application/json", "Idempotency-Key": key, "Connection": "close"})
            answer = client.getresponse()
            told = answer.read().decode()
        except (OSError, http.client.HTTPException):
            self.history.add("cut", key)
            return None
        finally:
            client.close()
        if answer.status == 503:
            self.history.add("cut", key, told)
            return None
        if answer.status != 200:
            self.history.add("answer", key, f"status {answer.status}: {told}")
            return told
        if not stream:
            text = json.loads(told)["choices"][0]["message"]["content"]
        elif "data: [DONE]" not in told:
            self.history.add("cut", key)
            return None
        else:
            chunks = [json.loads(line[6:]) for line in told.splitlines() if line.startswith("data: {")]
            text = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c.get("choices"))
        self.history.add("answer", key, text.strip())
        return text.strip()

    def control(self, path: str, body: dict | None = None) -> int:
        """POST to the control socket: the status code, 0 where nobody is there."""
        client = http.client.HTTPConnection("localhost")
        client.sock = socket.socket(socket.AF_UNIX)
        client.sock.settimeout(HEAL_SECONDS)
        try:
            client.sock.connect(str(self.home / "run" / "control.sock"))
            client.request("POST", path, json.dumps(body or {}), {"Content-Type": "application/json", "Connection": "close"})
            return client.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            client.close()

    # ---- the store, looked at when that can't change what is tested

    def rows(self, sql: str) -> list[tuple]:
        with sqlite3.connect(f"file:{self.home}/state/talaria.db?mode=ro", uri=True, timeout=10) as db:
            try:
                return db.execute(sql).fetchall()
            finally:
                db.rollback()

    def until_settled(self) -> None:
        """Nothing is on its way any more: no open turn, no open reply. Only beside a gateway that runs."""
        open_sql = ("SELECT (SELECT count(*) FROM turn WHERE state IN ('queued', 'running'))"
                    " + (SELECT count(*) FROM outbox WHERE state IN ('pending', 'sending', 'unknown'))")
        end = time.monotonic() + HEAL_SECONDS
        db = sqlite3.connect(f"file:{self.home}/state/talaria.db?mode=ro", uri=True, timeout=10)
        try:
            while db.execute(open_sql).fetchone()[0] != 0:
                if self.history.until_dead(0.01):
                    raise Gone("settled")
                if time.monotonic() > end:
                    raise Stuck("settled: something is on its way for ever")
        finally:
            db.close()
