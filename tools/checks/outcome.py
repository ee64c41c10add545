"""What a suite came to, and how it is read from what the test runners leave behind."""

import dataclasses
import pathlib
import xml.etree.ElementTree as ElementTree


@dataclasses.dataclass
class Outcome:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    notes: list[str] = dataclasses.field(default_factory=list)  # said below the suite's line: why something was skipped

    def __add__(self, other):
        return Outcome(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped,
                       self.notes + other.notes)


def success() -> Outcome:
    return Outcome(passed=1)


def failure(why: str) -> Outcome:
    return Outcome(failed=1, notes=[why])


def skip(why: str) -> Outcome:
    return Outcome(skipped=1, notes=[f"skipped: {why}"])


def read_xml(path: pathlib.Path, status: int) -> Outcome:
    """Counts the test cases of a JUnit-like report (GoogleTest, pytest). `status` is the runner's exit status.

    A runner that failed without a failed test, left no report, or ran no test has failed.
    """
    try:
        cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    except (OSError, ElementTree.ParseError):
        return failure(f"no report: the test program ended with status {status}")
    outcome, reasons = Outcome(), {}
    for case in cases:
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            outcome.failed += 1
        elif skipped is not None or case.get("status") == "notrun":
            outcome.skipped += 1
            reason = (skipped.get("message") if skipped is not None else None) or "disabled, or no reason given"
            reasons[reason] = reasons.get(reason, 0) + 1
        else:
            outcome.passed += 1
    outcome.notes = [f"skipped {count}: {' '.join(reason.split())[:200]}" for reason, count in reasons.items()]
    if not cases:
        return failure("ran no test")
    if status != 0 and outcome.failed == 0:
        outcome += failure(f"the test program ended with status {status} although no test failed")
    return outcome
