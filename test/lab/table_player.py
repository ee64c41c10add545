"""Plays cells of the table (table.py) on a manager, and draws the table.

A cell: a fresh gateway is brought into the phase, the cause strikes, and then what the manager saw, what the ledger says and what runs
afterwards are compared with the table.
"""

import contextlib
import pathlib
import random
import tempfile
import threading
import time
import traceback
from dataclasses import dataclass

from gateway import INSTALLED
from lab import Lab, wait_until, why_no_lab
from local_managers import LOCAL, why_not
from systemd_manager import SystemdUnit
from table import CAUSES, FATAL, MANAGERS, PHASES, Impossible, cells

PATIENCE = 40  # seconds for anything that ought to happen; nothing here is about speed
DRAIN = "4s"   # how long it drains where the phase is "draining", if nothing cuts it short


@dataclass
class Played:
    cause: str
    phase: str
    expected: str
    problem: str = ""  # empty: as the table says
    seconds: float = 0


# ---- phases --------------------------------------------------------------------------------------------------------------------------


def before_ready(driver):
    driver.block_port()
    driver.start()
    wait_until(lambda: driver.pid() and driver.state() == "starting" and driver.runs(), PATIENCE, "it is starting, and recorded")


def idle(driver):
    driver.start()
    wait_until(driver.serves, PATIENCE, "it serves")


def in_a_turn(driver):
    idle(driver)
    driver.begin_turn()


def draining(driver):
    driver.configure(drain=DRAIN)
    in_a_turn(driver)
    driver.begin_stop()
    wait_until(lambda: driver.state() == "draining", PATIENCE, "it drains")


def standby(driver):
    driver.run_other_owner()
    driver.start_standby()
    wait_until(lambda: driver.standing_by() and driver.pid(), PATIENCE, "it stands by")


def backing_off(driver):
    """Eight failures in a row are a delay of about a minute."""
    idle(driver)
    driver.run_inside(["/usr/bin/python3", "-c", ADD_FAILURES, driver.database()])
    old = driver.pid()
    driver.kill("KILL")
    if not driver.restarts:
        wait_until(driver.is_down, PATIENCE, "it has ended")
        driver.start()
    wait_until(lambda: driver.pid() not in (0, old) and driver.state() == "backing-off", PATIENCE, "it backs off")


# Into the ledger of a gateway that runs, before its own row.
ADD_FAILURES = """
import sqlite3, sys, time
now = int(time.time() * 1000)
with sqlite3.connect(sys.argv[1], timeout=10) as db:
    for number in range(8):
        db.execute("INSERT INTO run(id, pid, process_start, boot_id, scope, unit, version, started_at, ended_at, verdict, cause, evidence, exit_code) "
                   "VALUES (?, 1, 1, '', 'none', '', '0', ?, ?, 'crash', 'made up', '{}', 1)", (number - 100, now - 1000, now - 500))
"""

ENTER = dict(zip(PHASES, (before_ready, idle, in_a_turn, draining, standby, backing_off)))


# ---- causes --------------------------------------------------------------------------------------------------------------------------


def strike(driver, cause, phase):
    """Returns the PID that the gateway sees as the sender of a signal from a shell, else 0."""
    if cause in ("kill", "SIGINT", "SIGQUIT", "SIGHUP"):
        return driver.kill("TERM" if cause == "kill" else cause.removeprefix("SIG"))
    if cause == "kill -9":
        driver.kill("KILL")
    elif cause == "crash":
        driver.kill("SEGV")
    elif cause in ("stop", "second stop"):
        driver.begin_stop() if phase == "draining" else driver.manager_stop()
    elif cause == "restart":
        driver.manager_restart()
    elif cause == "signal":
        driver.manager_signal()
    elif cause == "gateway stop":
        driver.cli("gateway", "stop")
    elif cause == "gateway restart":
        if phase == "draining" and not driver.name.startswith("systemd"):
            driver.cli_start("gateway", "restart")  # it would wait for the start that its stop rules out
        else:
            driver.cli("gateway", "restart")
    return 0


# ---- what came of it -----------------------------------------------------------------------------------------------------------------


def arrived(driver, phase, stood_by):
    if phase == "standby":
        return driver.standing_by() > stood_by
    return driver.serves() or (phase == "backing off" and driver.state() == "backing-off")


def look(driver, expect, phase, old, stood_by, recorded):
    """Waits for what the table says comes next, and fails if it doesn't."""
    if expect.then == "same":
        if expect.verdict:  # it executed itself again
            wait_until(lambda: len(driver.runs()) > recorded, PATIENCE, "it has begun anew")
        else:
            time.sleep(0.3)  # that nothing happens can only be waited for
        driver.release()
        wait_until(lambda: driver.serves() or phase in ("standby", "backing off"), PATIENCE, "it serves")
        assert driver.pid() == old, "it is another process"
    elif expect.then == "up":
        wait_until(lambda: driver.pid() != old, PATIENCE, "the old one has ended")
        driver.release()
        wait_until(lambda: driver.pid() not in (0, old) and arrived(driver, phase, stood_by), PATIENCE, "another incarnation is there")
    elif expect.then == "failed":
        wait_until(driver.is_failed, PATIENCE, "the unit is failed")
    else:
        wait_until(lambda: driver.is_down() and not driver.pid(), PATIENCE, "it stays down")


def judge(driver, expect, phase, cause, recorded, sender):
    if phase == "standby":  # owns nothing, so nothing of it is recorded
        if expect.verdict and cause not in FATAL:
            assert f"ending ({expect.verdict})" in driver.output(), "its log tells another verdict"
        run = {}
    else:
        if expect.verdict == "crash" and expect.then != "up":
            driver.release()
            driver.start()  # the next start names the crash
            wait_until(lambda: driver.pid() and arrived(driver, phase, 0), PATIENCE, "it is there again")
        run = {}
        if expect.verdict:
            def found():
                runs = driver.runs()
                index = len(runs) - recorded
                return runs[index] if index >= 0 and runs[index]["verdict"] else None
            run = wait_until(found, PATIENCE, "the ledger has its verdict")
            assert run["verdict"] == expect.verdict, f"the ledger says {run['verdict']}: {run['cause']}"
            if sender and expect.verdict == "unplanned":
                assert run["evidence"]["sender_pid"] == sender, f"the ledger names another sender: {run['evidence']}"
    return run


def check_exit(driver, expect, run):
    if expect.exit is None:
        return
    if driver.name.startswith("systemd") and (expect.exit, expect.then) == (0, "up"):
        # systemd keeps no record of a clean exit when a restart follows; then the ledger's word counts, where there is one.
        assert driver.exit() is None
        seen = run.get("exit_code", 0)
    else:
        wait_until(lambda: driver.exit() is not None, PATIENCE, "an exit")
        seen = driver.exit()
    assert seen == expect.exit, f"the manager saw {seen}"


def play_cell(driver, cause, phase, expect):
    if cause == "wrong configuration":
        driver.break_config()
        driver.start()
        look(driver, expect, phase, 0, 0, 0)
        check_exit(driver, expect, {})
        # Nothing was touched; but systemd's own record of the exit may be told.
        assert {(run["verdict"], run["exit_code"]) for run in driver.runs()} <= {("config", 78)}, "a run was recorded"
        return
    if cause == "home taken":
        driver.run_other_owner()
        driver.start()
        if expect.then == "standby":
            wait_until(lambda: driver.standing_by() and driver.pid(), PATIENCE, "it stands by")
            assert driver.exit() is None, "it exited"
        else:
            look(driver, expect, phase, 0, 0, 0)
            check_exit(driver, expect, {})
        return
    ENTER[phase](driver)
    old, stood_by, recorded = driver.pid(), driver.standing_by(), len(driver.runs())
    assert old, "it does not run"
    driver.mark()
    result = []
    blow = threading.Thread(target=lambda: result.append(strike(driver, cause, phase)), daemon=True)
    blow.start()  # a command that waits for the restart must not keep us from taking away what is in its way
    if phase != "before ready":
        blow.join(PATIENCE * 2)
    look(driver, expect, phase, old, stood_by, recorded)
    blow.join(PATIENCE * 2)
    assert result, "the command has not ended"
    # A crash that is not followed by a start is only named by the next one; the exit is looked at before.
    if expect.verdict == "crash" and expect.then != "up":
        check_exit(driver, expect, {})
        judge(driver, expect, phase, cause, recorded, result[0])
    else:
        check_exit(driver, expect, judge(driver, expect, phase, cause, recorded, result[0]))


# ---- one manager ---------------------------------------------------------------------------------------------------------------------


def why_not_here(manager):
    return why_no_lab() if manager.startswith("systemd") else why_not(manager)


def chosen(manager, full, seed):
    """The cells to play: all, or what happens at the start and while it idles, and a few others."""
    possible = [(cause, phase, outcome) for cause, phase, outcome in cells(manager) if not isinstance(outcome, Impossible)]
    if full:
        return possible
    always = [cell for cell in possible if cell[1] == "idle" or cell[0] in ("wrong configuration", "home taken")]
    others = [cell for cell in possible if cell not in always]
    return always + random.Random(f"{seed} {manager}").sample(others, 2)


def play_manager(binary, manager, wanted):
    """Plays those cells, one after the other."""
    with contextlib.ExitStack() as stack:
        if manager.startswith("systemd"):
            lab = stack.enter_context(Lab(programs={INSTALLED: binary}))
            scope = manager.split()[1]

            def make(number):
                return SystemdUnit(lab, scope, f"c{number}")
        else:
            folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"table-{manager}-")))

            def make(number):
                return LOCAL[manager](binary, folder / str(number))
        return [play_one(make, number, *cell) for number, cell in enumerate(wanted)]


def play_one(make, number, cause, phase, expect):
    began = time.monotonic()
    played = Played(cause, phase, str(expect))
    driver = None
    try:
        driver = make(number)
        play_cell(driver, cause, phase, expect)
    except Exception as error:  # a cell that fails must not hide the others
        what = str(error) if isinstance(error, AssertionError) else traceback.format_exc()
        account = ""
        with contextlib.suppress(Exception):
            account = driver.account() if driver else ""
        played.problem = f"{cause!r} in phase {phase!r}, expected {expect}: {what}\n{account}"
    finally:
        with contextlib.suppress(Exception):
            if driver:
                driver.close()
    played.seconds = time.monotonic() - began
    return played


# ---- the grid ------------------------------------------------------------------------------------------------------------------------


def draw(played, skipped):
    """The table as text. `played`: manager → [Played]; `skipped`: manager → why."""
    width = max(map(len, CAUSES))
    lines, reasons = [], []
    for phase in PHASES:
        rows = []
        for cause in CAUSES:
            row = [draw_cell(manager, cause, phase, played, skipped, reasons) for manager in MANAGERS]
            if any(not cell.startswith("[") for cell in row):
                rows.append((cause, row))
        lines.append(f"\nphase: {phase}  (exit, verdict, what comes next)")
        columns = [max([len(manager), *(len(row[i]) for _, row in rows)]) for i, manager in enumerate(MANAGERS)]
        lines.append("  ".join([" " * width, *(manager.ljust(columns[i]) for i, manager in enumerate(MANAGERS))]).rstrip())
        for cause, row in rows:
            lines.append("  ".join([cause.ljust(width), *(cell.ljust(columns[i]) for i, cell in enumerate(row))]).rstrip())
    lines.append("\n+ as expected   ! not as expected   · not played in this run   [n] can't be:")
    lines += [f"  [{number}] {why}" for number, why in enumerate(reasons, 1)]
    lines += [f"  {manager} was skipped: {why}" for manager, why in skipped.items()]
    return "\n".join(lines)


def draw_cell(manager, cause, phase, played, skipped, reasons):
    outcome = next(o for c, p, o in cells(manager) if (c, p) == (cause, phase))
    if isinstance(outcome, Impossible):
        if outcome.why not in reasons:
            reasons.append(outcome.why)
        return f"[{reasons.index(outcome.why) + 1}]"
    found = next((each for each in played.get(manager, []) if (each.cause, each.phase) == (cause, phase)), None)
    mark = "·" if manager in skipped or found is None else "!" if found.problem else "+"
    return f"{mark}{outcome}"
