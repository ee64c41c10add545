"""S8: a profile has one owner, and a question never costs a start (lifecycle.md, 3). Needs no lab: the gateways run from here, as from a
terminal, on a home of their own."""

import contextlib
import fcntl
import http.client
import json
import os
import re
import socket
import subprocess
import termios
import threading
import time

import pytest

from lab import wait_until

CONFIG = """[api]
listen = "unix:{socket}"
keys   = ["file:{key_file}"]

[agent.default]
kind = "echo"
"""


class Home:
    """A throw-away TALARIA_HOME and what is started on it."""

    def __init__(self, binary, directory):
        self.binary = str(binary)
        self.directory = directory
        self.socket = f"{directory}/api.sock"
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "TALARIA_HOME": str(directory)}
        key_file = directory / "api.key"
        key_file.write_text("k-0123456789\n")
        key_file.chmod(0o600)
        config = directory / "config.toml"
        config.write_text(CONFIG.format(socket=self.socket, key_file=key_file))
        config.chmod(0o600)

    def run(self, terminal=None):
        """One `gateway run`; with `terminal` (the slave of a pty) as a foreground program of that terminal."""
        def take_terminal():
            os.setsid()
            if terminal is not None:
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        return subprocess.Popen([self.binary, "gateway", "run"], env=self.environment, stdin=subprocess.DEVNULL if terminal is None else terminal,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=take_terminal)

    def status(self):
        ran = subprocess.run([self.binary, "gateway", "status", "--json"], env=self.environment, stdin=subprocess.DEVNULL,
                             capture_output=True, text=True, timeout=20, check=False)
        return ran.returncode, json.loads(ran.stdout)

    def serves(self):
        client = http.client.HTTPConnection("localhost", timeout=5)
        try:
            with socket.socket(socket.AF_UNIX) as client.sock:
                client.sock.settimeout(5)
                client.sock.connect(self.socket)
                client.request("GET", "/readyz")
                return client.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False


@pytest.fixture
def home(binary, tmp_path):
    tmp_path.chmod(0o700)
    return Home(binary, tmp_path)


def end(process):
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    process.communicate(timeout=10)


def test_twenty_at_once_have_one_owner(home):
    processes = [home.run() for _ in range(20)]
    try:
        wait_until(lambda: sum(process.poll() is not None for process in processes) >= 19 or None, 30, "19 of 20 have ended")
        living = [process for process in processes if process.poll() is None]
        assert len(living) == 1
        owner = living[0]
        wait_until(home.serves, 10, "the owner serves")
        assert owner.poll() is None
        refused = [process for process in processes if process is not owner]
        assert [process.returncode for process in refused] == [73] * 19
        for process in refused:
            told = process.communicate(timeout=5)[1]
            assert re.search(rf"\b{owner.pid}\b", told), told  # who owns it
            assert "talaria gateway " in told  # and what would change that
        code, status = home.status()
        assert (code, status["state"], status["pid"]) == (0, "running", owner.pid)
    finally:
        for process in processes:
            end(process)


def test_two_hundred_starts_while_somebody_asks(home):
    """Each start is ended by Ctrl-C at its terminal, which is planned, so that no start waits because of an end before it."""
    done = threading.Event()
    answers = []

    def keep_asking():
        while not done.is_set():
            try:
                answers.append(home.status())
            except Exception as error:  # a question that fails is a finding, and this thread can't raise it
                answers.append(error)

    asking = threading.Thread(target=keep_asking)
    asking.start()
    master, slave = os.openpty()
    try:
        for number in range(200):
            process = home.run(slave)
            try:
                wait_until(lambda: home.serves() or process.poll() is not None, 10, f"start {number} serves")
                assert process.poll() is None, (number, process.returncode, process.communicate()[1])
                os.write(master, b"\x03")
                told = process.communicate(timeout=10)
                assert process.returncode == 0, (number, process.returncode, told)
            finally:
                end(process)
    finally:
        done.set()
        asking.join(30)
        os.close(master)
        os.close(slave)
    assert len(answers) > 50
    assert [answer for answer in answers if isinstance(answer, Exception)] == []
    seen = {answer[1]["state"] for answer in answers}
    assert "running" in seen
    # "unknown" is the truth about an owner that has the lock and not yet, or no longer, its control socket.
    assert seen <= {"running", "starting", "draining", "stopped", "unknown"}


def test_a_dead_owner_owns_nothing(home):
    first = home.run()
    try:
        wait_until(home.serves, 10, "the first serves")
    finally:
        end(first)  # SIGKILL
    began = time.monotonic()
    second = home.run()
    try:
        wait_until(home.serves, 10, "the second serves")
        assert time.monotonic() - began < 5
    finally:
        end(second)
