"""L6: a program that always fails is started again with growing delays, its unit never fails, and once the cause is gone nobody waits for
the rest of a delay (lifecycle.md, 4)."""

import json
import subprocess
import time
from datetime import datetime

import pytest

from gateway import CONFIG, INSTALLED
from lab import wait_until
from support.torture import report, rounds

MARK = "# crash-me\n"
LIBRARY = "/usr/local/lib/crash.so"
# As soon as it would be ready it dies, as long as its configuration has the mark. A run that dies later is no start that failed.
CRASH = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
  static ssize_t (*real)(int, const struct msghdr *, int);
  if (!real) real = dlsym(RTLD_NEXT, "sendmsg");
  if (message->msg_iovlen == 1 && message->msg_iov->iov_len > 7 && memcmp(message->msg_iov->iov_base, "READY=1", 7) == 0) {
    char line[256] = "";
    FILE *config = fopen(getenv("CRASH_CONFIG"), "r");
    if (config && fgets(line, sizeof line, config) && strncmp(line, "# crash-me", 10) == 0) raise(SIGSEGV);
    if (config) fclose(config);
  }
  return real(fd, message, flags);
}
"""
FOR = rounds(6, 120)  # seconds


@pytest.fixture
def crashing(gateway, lab, tmp_path):
    """A gateway whose configuration makes it crash."""
    source, library = tmp_path / "crash.c", tmp_path / "crash.so"
    source.write_text(CRASH, encoding="ascii")
    subprocess.run(["clang-19", "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    target = lab.path(LIBRARY)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(library.read_bytes())
    target.chmod(0o755)
    gateway.drop_in(f"[Service]\nEnvironment=LD_PRELOAD={LIBRARY} CRASH_CONFIG={gateway.config_directory}/config.toml\n")
    gateway.configure(MARK + CONFIG)
    return gateway


def runs(gateway):
    """Of the ledger, oldest first."""
    return json.loads(gateway.cli("gateway", "history", "--json", "-n", "1000").check().out)["runs"][::-1]


def seconds(timestamp):
    return datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()


def starts(gateway):
    return [seconds(run["started_at"]) for run in runs(gateway)]


def backing_off(gateway):
    status = gateway.status()
    return status["state"] == "backing-off" and status


@pytest.mark.torture
def test_a_program_that_always_crashes(crashing):
    gateway = crashing
    gateway.systemctl("start", "--no-block", gateway.unit).check()
    began = time.monotonic()
    while time.monotonic() - began < FOR:
        assert gateway.show("ActiveState") in ("activating", "deactivating")  # never failed, nor "active" although it serves nothing
        time.sleep(0.1)
    status = wait_until(lambda: backing_off(gateway), 10, "it backs off")
    assert status["backoff_until"] and status["ready"] is False
    assert "backing off" in gateway.show("StatusText")
    at = starts(gateway)
    gaps = [round(after - before, 2) for before, after in zip(at, at[1:])]
    report("L6 crash", scope=gateway.scope, seconds=FOR, starts=len(at), gaps=gaps)
    # 0.25 s · 2ⁿ ± 20 %, at most 60 s; the rest of a gap is the run itself.
    for number, gap in enumerate(gaps[1:], 1):
        assert 0.8 * min(60, 0.25 * 2**number) <= gap, gaps
    assert len(at) <= 9 + FOR / 60  # 0.5 + 1 + … + 32 s, and then one a minute

    gateway.configure(CONFIG)  # the cause is gone
    healed = time.monotonic()
    gateway.wait_running(timeout=5)
    took = time.monotonic() - healed
    report("L6 healed", scope=gateway.scope, seconds=round(took, 2))
    assert took <= 3  # the promise is 1 s; the rest is the margin of a busy machine
    assert "Start request repeated too quickly" not in gateway.journal()


def test_an_operator_does_not_wait(crashing):
    """Neither `gateway start` nor a restart through the manager waits out a delay."""
    gateway = crashing
    gateway.systemctl("start", "--no-block", gateway.unit).check()
    wait_until(lambda: len(starts(gateway)) >= 4 and backing_off(gateway), 20, "it backs off for seconds")
    before = len(starts(gateway))
    gateway.lab.spawn([INSTALLED, "-p", gateway.profile, "gateway", "start", *(["--system"] if gateway.scope == "system" else [])], gateway.user)
    wait_until(lambda: len(starts(gateway)) > before, 3, "`gateway start` made it try at once")
    wait_until(lambda: backing_off(gateway), 5, "it failed again")
    number = len(runs(gateway))
    gateway.systemctl("restart", "--no-block", gateway.unit).check()
    again = wait_until(lambda: len(found := runs(gateway)) > number and found[number]["ready_at"] and found[number], 5, "the restarted one came up")
    assert runs(gateway)[number - 1]["verdict"] == "planned"
    assert seconds(again["ready_at"]) - seconds(again["started_at"]) < 0.4  # the shortest delay of the back-off


def test_a_wrong_configuration_does_not_end_the_wait(crashing):
    gateway = crashing
    gateway.systemctl("start", "--no-block", gateway.unit).check()
    wait_until(lambda: len(starts(gateway)) >= 4 and backing_off(gateway), 20, "it backs off for seconds")
    pid = gateway.pid()
    gateway.configure(MARK + CONFIG.replace("drain_timeout", "drain_timeuot"))
    until = backing_off(gateway)["backoff_until"]
    time.sleep(0.6)  # it has looked at the file twice
    now = gateway.status()
    assert (gateway.pid(), now["state"], now["backoff_until"]) == (pid, "backing-off", until)
    gateway.configure(CONFIG)
    gateway.wait_running(timeout=5)


def test_a_kill_from_outside_is_no_failure(gateway):
    """Whoever kills a healthy gateway has it back at once, however often."""
    gateway.start()
    for _ in range(5):
        pid = gateway.pid()
        gateway.lab.kill(pid, "KILL")
        gateway.wait_running(timeout=3, other_than=pid)
    assert "backing off" not in gateway.journal()
