"""L5: whatever happens at once (starts, stand-bys, replacements, questions, kills, freezes, lock files deleted and spoilt), a home never has
two owners, and while somebody waits for it never none for more than a second.

Who owns it is seen from outside: the kernel's list of locks names the holder of the home's lock, and an owner has the store open. What no
look from outside is quick enough for, the ledger shows afterwards: an owner that still wrote when the next one had begun, or that the next
one took for dead although nobody had killed it."""

import collections
import contextlib
import json
import os
import pathlib
import random
import signal
import subprocess
import threading
import time

import pytest

from support.hostile import state_of
from support.talaria import Gateway, binary
from support.torture import report, rounds

RACES = rounds(2_000, 100_000)
SEED = int(os.environ.get("TALARIA_SEED", random.SystemRandom().randrange(1 << 32)))
ACTORS = 3
WAITERS = 3      # so many stand by at any time
AT_MOST = 12     # processes
LONGEST_GAP = 1  # second

CONFIG = """
[agent.default]
kind = "echo"
"""
# (weight, name): what an actor does next.
ACTIONS = [(14, "start"), (14, "replace"), (24, "kill"), (10, "term"), (4, "freeze"), (14, "probe"), (4, "stop"),
           (8, "delete"), (4, "spoil"), (4, "forbid")]


class Arena:
    def __init__(self, directory, seed):
        self.gateway = Gateway(directory, CONFIG)
        self.directory = pathlib.Path(directory)
        self.state = self.directory / "state"
        self.lock_file = self.state / "gateway.lock"
        # A terminal for their standard input: what a person starts does not wait out a crash loop.
        self.terminal, self.stdin = os.openpty()
        self.log = open(self.directory / "all.log", "wb")
        self.random = random.Random(seed)
        self.guard = threading.Lock()
        self.processes = {}    # pid → Popen
        self.waiters = set()   # pids started with --wait
        self.killed = set()    # pids that were sent SIGKILL, by us
        self.exits = collections.Counter()
        self.exit_of = {}      # pid → exit code and arguments of its last bearer
        self.done = collections.Counter()
        self.failures = []
        self.over = threading.Event()
        self.holder = None  # of the home's lock, when last seen

    # -- processes ----------------------------------------------------------------------------------------------------------------

    def spawn(self, *arguments):
        process = subprocess.Popen([binary(), "gateway", "run", *arguments], env=self.gateway.env, cwd=self.directory,
                                   stdin=self.stdin, stdout=self.log, stderr=self.log)
        with self.guard:
            self.processes[process.pid] = process
            if "--wait" in arguments:
                self.waiters.add(process.pid)
        return process

    def reap(self):
        """Forgets those that have ended, and sees to it that enough wait."""
        with self.guard:
            living = list(self.processes.values())
        for process in living:
            if process.poll() is not None:
                self.exits[process.returncode] += 1
                self.exit_of[process.pid] = (process.returncode, process.args[3:])
                with self.guard:
                    self.processes.pop(process.pid, None)
                    self.waiters.discard(process.pid)
        while len(self.waiters) < WAITERS and not self.over.is_set():
            self.spawn("--wait")

    def pids(self):
        with self.guard:
            return list(self.processes)

    def signal(self, pid, number):
        with contextlib.suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                self.killed.add(pid)
            os.kill(pid, number)

    # -- what actors do -----------------------------------------------------------------------------------------------------------

    def act(self, rng):
        action = rng.choices([name for _, name in ACTIONS], [weight for weight, _ in ACTIONS])[0]
        pids = self.pids()
        if action in ("start", "replace") and len(pids) >= AT_MOST:
            action = "kill"
        self.done[action] += 1
        if action == "start":
            self.spawn()
        elif action == "replace":
            self.spawn("--replace")
        elif action in ("kill", "term") and pids:
            owner = self.holder
            self.signal(owner if owner in pids and rng.random() < 0.5 else rng.choice(pids), signal.SIGKILL if action == "kill" else signal.SIGTERM)
        elif action == "freeze" and pids:
            pid = rng.choice(pids)
            self.signal(pid, signal.SIGSTOP)
            time.sleep(rng.random() * 0.05)
            self.signal(pid, rng.choice([signal.SIGCONT, signal.SIGKILL]))
        elif action == "probe":
            done = subprocess.run([binary(), "gateway", "status", "--json"], env=self.gateway.env, stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=30, check=False)
            if done.returncode not in (0, 1, 3, 4) or "state" not in json.loads(done.stdout):
                self.failures.append(f"status: {done.returncode} {done.stdout} {done.stderr}")
        elif action == "stop":
            subprocess.run([binary(), "gateway", "stop"], env=self.gateway.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
        else:
            with contextlib.suppress(OSError):
                if action == "delete":
                    self.lock_file.unlink()
                elif action == "spoil":
                    self.lock_file.write_bytes(rng.randbytes(rng.randrange(3000)))
                else:
                    self.lock_file.chmod(0)

    def actor(self, number):
        rng = random.Random(SEED * 1000 + number)
        while not self.over.is_set():
            try:
                self.act(rng)
            except Exception as error:  # a thread can't raise it
                self.failures.append(repr(error))
            if sum(self.done.values()) >= RACES:
                self.over.set()

    # -- what is watched ----------------------------------------------------------------------------------------------------------

    def lock_holder(self, place):
        with open("/proc/locks", encoding="ascii") as locks:
            for line in locks:
                words = line.split()
                if words[1] == "FLOCK" and words[-3] == place:
                    return int(words[4])
        return None

    def with_store_open(self):
        found = set()
        database = str(self.state / "talaria.db")
        for pid in self.pids():
            with contextlib.suppress(OSError):
                for number in os.listdir(f"/proc/{pid}/fd"):
                    if os.readlink(f"/proc/{pid}/fd/{number}") == database:
                        found.add(pid)
                        break
        return found

    def watch(self):
        home = self.state.stat()
        place = f"{os.major(home.st_dev):02x}:{os.minor(home.st_dev):02x}:{home.st_ino}"
        owned_at = time.monotonic()
        self.longest_gap = 0.0
        self.looks = 0
        self.owners = 0
        last = None
        while not self.over.is_set():
            holder = self.holder = self.lock_holder(place)
            now = time.monotonic()
            if holder is not None:
                owned_at = now
                self.owners += holder != last
                last = holder
            else:
                self.longest_gap = max(self.longest_gap, now - owned_at)
            self.looks += 1
            if self.looks % 4 == 0:
                both = self.with_store_open()
                if len(both) > 1:
                    # One may be dying: its store is closed by the kernel a moment after its lock.
                    time.sleep(0.02)
                    both = {pid for pid in both & self.with_store_open() if state_of(pid) not in (None, "Z", "X", "T")}
                    if len(both) > 1:
                        self.failures.append(f"two have the store open: {both}")

    # -- afterwards ---------------------------------------------------------------------------------------------------------------

    def check_ledger(self):
        """Every owner's row: nobody wrote after the next one was ready, nobody was declared dead who had not been killed."""
        done = self.gateway.run("gateway", "history", "--json", "-n", "100000")
        runs = json.loads(done.stdout)["runs"][::-1]
        for old, new in zip(runs, runs[1:]):
            if old["verdict"] == "crash" and old["pid"] not in self.killed:
                self.failures.append(f"taken for dead although nobody killed it: {old}, {self.exit_of.get(old['pid'])}; next: {new}")
            elif old["verdict"] != "crash" and old["at"] and new["ready_at"] and old["at"] > new["ready_at"]:
                self.failures.append(f"still an owner when the next one was ready: {old} {new}")
        return len(runs)

    def close(self):
        self.over.set()
        for process in list(self.processes.values()):
            self.signal(process.pid, signal.SIGKILL)
            process.wait()
        self.log.close()
        os.close(self.terminal)
        os.close(self.stdin)


@pytest.mark.torture
def test_never_two_owners_never_none(tmp_path):
    tmp_path.chmod(0o700)
    arena = Arena(tmp_path, SEED)
    began = time.monotonic()
    try:
        arena.spawn("--wait")
        while not (arena.state / "talaria.db").exists():
            time.sleep(0.01)
        threads = [threading.Thread(target=arena.watch), *(threading.Thread(target=arena.actor, args=(n,)) for n in range(ACTORS))]
        for thread in threads:
            thread.start()
        while not arena.over.is_set():
            arena.reap()
            time.sleep(0.002)
            if len(arena.failures) > 5:
                arena.over.set()
        for thread in threads:
            thread.join()
    finally:
        arena.close()
    runs = arena.check_ledger()
    report("L5", seed=SEED, races=sum(arena.done.values()), actions=dict(arena.done), runs_that_owned=runs, changes_seen=arena.owners,
           exit_codes={str(code): n for code, n in arena.exits.items()}, longest_gap_ms=round(arena.longest_gap * 1000),
           looks=arena.looks, seconds=round(time.monotonic() - began), failures=arena.failures[:5])
    assert not arena.failures, (SEED, arena.failures[:5])
    assert arena.longest_gap <= LONGEST_GAP, SEED
    # An end by a crash of its own would be -11, -6 …: only our SIGKILL, our SIGTERM before it could be blocked, and the contract's codes.
    assert set(arena.exits) <= {0, 1, 73, -signal.SIGKILL, -signal.SIGTERM}, (SEED, arena.exits)
    # And after all of it, it simply starts.
    with arena.gateway as survivor:
        survivor.start().wait_ready()
