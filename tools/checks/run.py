"""Runs one command of a suite: output to the suite's log, no standard input, a time limit, nothing left behind."""

import os
import pathlib
import signal
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
LOGS = BUILD / "check"

SYMBOLIZER = "/usr/bin/llvm-symbolizer-19"
SANITIZERS = {
    "ASAN_OPTIONS": "detect_stack_use_after_return=1:strict_string_checks=1:check_initialization_order=1:detect_leaks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": f"halt_on_error=0:second_deadlock_stack=1:external_symbolizer_path={SYMBOLIZER}",
    "ASAN_SYMBOLIZER_PATH": SYMBOLIZER,
    "UBSAN_SYMBOLIZER_PATH": SYMBOLIZER,
}
# Compiler output is the same wherever the checkout lies, so that ccache helps the next clone as well.
CCACHE = {"CCACHE_BASEDIR": str(ROOT), "CCACHE_NOHASHDIR": "1"}


def environment(**more: str) -> dict[str, str]:
    """The caller's, without what would change a test's outcome."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("TALARIA_", "GTEST_", "PYTEST_", "NOTIFY_SOCKET", "INVOCATION_ID", "OPENAI_"))}
    if "TALARIA_CHECK_CACHE" in os.environ:
        kept["TALARIA_CHECK_CACHE"] = os.environ["TALARIA_CHECK_CACHE"]
    return {**kept, **SANITIZERS, **CCACHE, "TALARIA_BIN": str(BUILD / "release" / "talaria"), **more}


def log_of(suite: str) -> pathlib.Path:
    return LOGS / f"{suite}.log"


running: set[subprocess.Popen] = set()


def run(suite: str, command: list, seconds: int, cwd: pathlib.Path = ROOT, **variables: str) -> int:
    """The command's exit status (128 + signal where one ended it); 124 where the time limit did. Appends to the log."""
    words = [str(word) for word in command]
    with open(log_of(suite), "ab") as log:
        log.write(f"$ {' '.join(words)}\n".encode())
        log.flush()
        process = subprocess.Popen(words, cwd=cwd, env=environment(**variables), stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        running.add(process)
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            end(process)
            log.write(f"\nno end after {seconds} s: stopped\n".encode())
            return 124
        except BaseException:
            end(process)
            raise
        finally:
            running.discard(process)
        return status if status >= 0 else 128 - status


def end_all() -> None:
    """Everything that still runs, whoever waits for it."""
    for process in list(running):
        end(process)


def end(process: subprocess.Popen) -> None:
    """Asks the whole group to leave, so that a test can clear up, and then makes it leave."""
    for number, patience in ((signal.SIGTERM, 20), (signal.SIGKILL, 10)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            pass
