"""./check behind its shell: chooses the suites, runs them, says what came of each."""

import concurrent.futures
import os
import signal
import sys
import time

from outcome import Outcome, failure
from run import LOGS, end_all, log_of
from suites import Suite, all_suites, preparations

TAIL = 40


def choose(names: list[str]) -> list[Suite]:
    suites = all_suites()
    if not names:
        return suites
    chosen = []
    for name in names:
        matching = [suite for suite in suites if suite.name == name or suite.name.split(".")[0] == name]
        if not matching:
            print(f"check: there is no suite '{name}'; ./check --list names them", file=sys.stderr)
            sys.exit(64)
        chosen += [suite for suite in matching if suite not in chosen]
    return chosen


def run_suite(suite: Suite) -> Outcome:
    """Runs it and prints its line."""
    log_of(suite.name).unlink(missing_ok=True)
    terminal = sys.stdout.isatty()
    if terminal:
        print(f"...   {suite.name}", end="\r", flush=True)
    started = time.monotonic()
    try:
        outcome = suite.function(suite.name)
    except OSError as error:
        outcome = failure(str(error))
    seconds = time.monotonic() - started
    word = "FAIL" if outcome.failed else "ok" if outcome.passed else "skip"
    print(f"{word:5} {suite.name:18} {outcome.passed:4} passed, {outcome.failed} failed, {outcome.skipped} skipped {seconds:8.1f} s",
          flush=True)
    for note in outcome.notes:
        print(f"        {note}")
    if outcome.failed and log_of(suite.name).exists():
        lines = log_of(suite.name).read_text(errors="replace").splitlines()
        print(f"        the end of {log_of(suite.name)}:")
        for line in lines[-TAIL:]:
            print(f"        | {line}")
    sys.stdout.flush()
    return outcome


def main() -> int:
    arguments = sys.argv[1:]
    unknown = [argument for argument in arguments if argument.startswith("-") and argument != "--list"]
    if unknown:
        print(f"check: unknown option '{unknown[0]}'; ./check --help", file=sys.stderr)
        return 64
    if "--list" in arguments:
        for suite in all_suites():
            print(f"{suite.name:18} {suite.what}")
        return 0
    chosen = choose(arguments)
    LOGS.mkdir(parents=True, exist_ok=True)
    total = Outcome()
    for suite in preparations(chosen):
        total += run_suite(suite)
    with concurrent.futures.ThreadPoolExecutor() as beside:
        try:
            waiting = [beside.submit(run_suite, suite) for suite in chosen if suite.waits]
            for suite in chosen:
                if not suite.waits:
                    total += run_suite(suite)
            for each in waiting:
                total += each.result()
        except BaseException:
            end_all()  # or we would wait for what runs beside us
            raise
    print(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped", flush=True)
    return 1 if total.failed else 0


def leave(number, frame):
    """Ends through the stack, so that the suite that runs is ended, too."""
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        os.write(2, b"check: interrupted\n")
        sys.exit(130)
