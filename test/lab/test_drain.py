"""L7: a stop under all conditions (lifecycle.md, 6). The manager never has to kill anything: not the gateway for being late, not a
process that it left."""

import threading

import pytest

from gateway import timed
from lab import wait_until
from support import stuck
from support.torture import report, rounds

CONFIG = """[gateway]
drain_timeout = "{drain}"

[api]
listen = "127.0.0.1:{{port}}"
keys   = ["file:{{key_file}}"]

[agent.default]
kind = "echo"

[agent.hang]
kind    = "command"
command = ["/usr/local/bin/drain-agent"]
"""
ESCAPED = """#!/bin/sh
setsid sh -c "trap '' TERM HUP INT; while :; do sleep 600; done" </dev/null >/dev/null 2>&1 &
sleep 600
"""
HUNG = "#!/bin/sh\ntrap '' TERM HUP INT\nwhile :; do sleep 600; done\n"
SLOW = "#!/bin/sh\nsleep {seconds}\necho done\n"
# Five seconds, and something to read every quarter of one.
CHATTY = "#!/bin/sh\ni=0; while [ $i -lt 20 ]; do echo $i; sleep 0.25; i=$((i+1)); done\n"


def prepare(gateway, agent, drain="1s", limit=None):
    """A gateway that runs, with this agent under the name "hang". `limit`: an operator's TimeoutStopSec=."""
    gateway.lab.put_file("/usr/local/bin/drain-agent", agent, mode=0o755)
    gateway.configure(CONFIG.format(drain=drain))
    if limit:
        gateway.drop_in(f"[Service]\nTimeoutStopSec={limit}\n")
    gateway.start()


def stop(gateway):
    """Stops the unit; returns the seconds. Nothing is left, and the manager had nothing to kill."""
    seconds = timed(lambda: gateway.systemctl("stop", gateway.unit, timeout=120).check())
    gateway.assert_stopped_as_planned(0)
    return seconds


def assert_planned(gateway):
    gateway.release()
    gateway.start()
    end = gateway.assert_last_end("planned")
    assert end["exit_code"] == 0
    return end


def ask_aside(gateway):
    """A turn that is answered while the test goes on: returns a list that will have the answer."""
    answers = []
    idle = set(gateway.pids())
    threading.Thread(target=lambda: answers.append(gateway.ask("please", "hang")), daemon=True).start()
    wait_until(lambda: set(gateway.pids()) - idle, 10, "the turn's agent runs")
    return answers


def test_idle(gateway):
    prepare(gateway, HUNG)
    assert stop(gateway) < 2
    assert_planned(gateway)


@pytest.mark.torture
def test_a_turn_is_waited_for(gateway):
    seconds = rounds(2, 5)
    prepare(gateway, SLOW.format(seconds=seconds), drain="20s")
    answers = ask_aside(gateway)
    took = stop(gateway)
    assert took < seconds + 5
    report("stop in a turn", scope=gateway.scope, turn=seconds, seconds=round(took, 3))
    assert answers == ["done"]
    assert_planned(gateway)


def test_one_that_fled_into_its_own_session_and_ignores_term(gateway):
    prepare(gateway, ESCAPED)
    gateway.begin_turn()
    wait_until(lambda: len(gateway.pids()) >= 5, 5, "it has fled")
    assert stop(gateway) < 1 + 15
    assert assert_planned(gateway)["evidence"]["left_behind"]["killed"] > 0


@pytest.mark.torture
def test_a_thousand_children(gateway):
    number = rounds(100, 1000)
    many = f"i=0; while [ $i -lt {number} ]; do setsid sh -c \"trap '' TERM; sleep 600; :\" </dev/null >/dev/null 2>&1 & i=$((i+1)); done"
    prepare(gateway, f"#!/bin/sh\n{many}\nsleep 600\n")
    gateway.begin_turn()
    wait_until(lambda: len(gateway.pids()) > 2 * number, 120, "they are all there")
    seconds = stop(gateway)
    assert seconds < 1 + 15
    report("stop with many children", scope=gateway.scope, children=number, seconds=round(seconds, 3))
    assert_planned(gateway)


# ---- What the unit allows -------------------------------------------------------------------------------------------------------------

def test_a_hung_agent_is_killed_within_an_operators_shorter_limit(gateway):
    """A drain of a minute, an agent that hangs, and a unit that allows four seconds: the turn is cut off in time."""
    prepare(gateway, HUNG, drain="60s", limit="4s")
    gateway.begin_turn()
    assert stop(gateway) < 4
    assert_planned(gateway)


def test_a_turn_that_makes_progress_may_take_longer_than_the_unit_allows(gateway):
    prepare(gateway, CHATTY, drain="60s", limit="3s")
    answers = ask_aside(gateway)
    assert stop(gateway) > 3
    assert answers == ["\n".join(map(str, range(20)))]
    assert_planned(gateway)


# ---- Threads that are stuck -----------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return stuck.build(tmp_path_factory.mktemp("stuck")).read_bytes()


def prepare_stuck(gateway, library, what, limit="4s"):
    """Starts it so that `what` hangs from the call of the returned function on."""
    directory = f"/usr/local/share/stuck-{gateway.profile}"
    gateway.lab.put_file(f"{directory}/readme", "")
    gateway.lab.put_file("/usr/local/lib/stuck.so", "", mode=0o755)
    gateway.lab.path("/usr/local/lib/stuck.so").write_bytes(library)
    gateway.lab.put_file("/usr/local/bin/drain-agent", ESCAPED, mode=0o755)
    gateway.configure(CONFIG.format(drain="1s"))
    gateway.drop_in(f"[Service]\nTimeoutStopSec={limit}\nEnvironment=LD_PRELOAD=/usr/local/lib/stuck.so STUCK={directory}\n")
    gateway.start()
    flag = gateway.lab.path(f"{directory}/{what}")
    return flag


def test_a_disk_that_hangs(gateway, library):
    flag = prepare_stuck(gateway, library, "disk")
    flag.touch()
    assert stop(gateway) < 4
    assert "fdatasync" in gateway.journal(), "what the thread was doing is in the journal"
    flag.unlink()
    gateway.start()
    assert gateway.ask("still there?") == "still there?"


def test_an_event_loop_that_hangs_in_the_stop(gateway, library):
    flag = prepare_stuck(gateway, library, "loop")
    gateway.begin_turn()
    gateway.systemctl("stop", "--no-block", gateway.unit).check()
    wait_until(lambda: gateway.show("ActiveState") == "deactivating" and "draining" in gateway.show("StatusText"), 5, "draining")
    flag.touch()
    wait_until(lambda: gateway.show("ActiveState") == "inactive", 10, "stopped")
    gateway.assert_stopped_as_planned(0)
    assert "longer than its budget" in gateway.journal() and "epoll_wait" in gateway.journal()
    flag.unlink()
    gateway.start()
    assert gateway.ask("still there?") == "still there?"
