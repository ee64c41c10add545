"""L11: what stands still is dumped, named and healed; what is only slow, stopped or told a wrong time is left alone (issue 3, item 8)."""

import json
import threading
import time

import pytest

from hindrance import Hindrance
from lab import holds, wait_until
from support.torture import report, rounds

WATCHDOG = rounds(4, 60)  # seconds; in full the unit's own
UNIT = rounds(f"WatchdogSec={WATCHDOG}s\n", "")


@pytest.fixture(params=rounds(["system"], ["system", "user"]), scope="module")
def scope(request):
    return request.param


@pytest.fixture
def hindered(gateway):
    hindrance = Hindrance(gateway, UNIT)
    gateway.start()
    return hindrance


def crash_log(gateway):
    home = gateway.status()["home"]
    return gateway.lab.path(f"{home}/crash.log").read_text(errors="replace")


def newest_end(gateway):
    runs = json.loads(gateway.cli("gateway", "history", "--json").check().out)["runs"]
    return next(run for run in runs if run["verdict"])


@pytest.mark.torture
@pytest.mark.parametrize("how", ["block", "spin"])
def test_a_blocked_event_loop_is_healed_with_a_dump(gateway, hindered, how):
    old = gateway.pid()
    hindered.order(how)
    wait_until(lambda: hindered.taken(how), 5, "the loop stands still")
    began = time.monotonic()
    told = wait_until(lambda: gateway.show("StatusText").startswith("stuck: ") and gateway.pid() == old, WATCHDOG, "the reason is told before the manager acts")
    gateway.wait_running(timeout=2 * WATCHDOG, other_than=old)
    seconds = time.monotonic() - began
    assert told
    assert seconds <= 2 * WATCHDOG
    log = crash_log(gateway)
    assert "type stuck" in log and "type signal" in log, log
    assert "stood still" in log
    for thread in ("\"talaria\"", "\"store\""):
        assert thread in log, log
    assert "talaria(" in log  # a frame of the program
    end = newest_end(gateway)
    assert (end["verdict"], end["kind"]) == ("crash", "watchdog"), end
    assert "stood still" in end["cause"], end
    assert end["evidence"]["service_result"] == "watchdog"
    assert gateway.show("NRestarts") == "1"
    report(f"blocked event loop ({how})", watchdog_s=WATCHDOG, healed_s=round(seconds, 2))


@pytest.mark.torture
def test_a_slow_disk_is_told_and_no_reason_to_restart(gateway, hindered):
    old = gateway.pid()
    hindered.order("disk")
    answers = []
    asker = threading.Thread(target=lambda: answers.append(gateway.request("POST", "/v1/chat/completions", {
        "model": "default", "messages": [{"role": "user", "content": "patience"}]}, timeout=5 * WATCHDOG)))
    asker.start()
    wait_until(lambda: any("disk" in warning for warning in gateway.status()["warnings"]), 2 * WATCHDOG, "the warning")
    holds(lambda: gateway.pid() == old, 1.1 * WATCHDOG, "the gateway is left alone")
    assert not answers  # it did wait for its disk
    hindered.lift("disk")
    asker.join(timeout=20)
    assert answers and answers[0][0] == 200
    wait_until(lambda: gateway.status()["warnings"] == [], WATCHDOG, "no warning any more")
    assert gateway.pid() == old and gateway.restarts() == 0


@pytest.mark.torture
def test_being_stopped_for_a_while_is_no_reason(gateway, hindered):
    old = gateway.pid()
    for _ in range(rounds(1, 3)):
        gateway.lab.kill(old, "STOP")
        time.sleep(WATCHDOG / 2)  # what is tested; 30 s in full
        gateway.lab.kill(old, "CONT")
        holds(lambda: gateway.pid() == old, WATCHDOG / 2, "the gateway is left alone")
    assert gateway.serves()
    assert gateway.restarts() == 0
    assert "stuck" not in gateway.journal()


@pytest.mark.torture
@pytest.mark.parametrize("order", rounds(["later"], ["later", "earlier"]))
def test_a_clock_that_jumps_a_day_is_no_reason(gateway, hindered, order):
    old = gateway.pid()
    hindered.order(order)
    holds(lambda: gateway.pid() == old, 1.1 * WATCHDOG, "the gateway is left alone")
    assert gateway.ask("what day is it?") == "what day is it?"
    hindered.lift(order)
    assert gateway.serves() and gateway.restarts() == 0
    assert "stuck" not in gateway.journal()


def test_a_deleted_control_socket_is_made_anew(gateway, hindered):
    old = gateway.pid()
    gateway.lab.path(f"{hindered.directory}/control.sock").unlink()
    wait_until(lambda: gateway.status()["state"] == "running", WATCHDOG, "status is answered again")
    assert gateway.pid() == old and gateway.restarts() == 0
