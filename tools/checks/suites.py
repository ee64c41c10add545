"""The table of suites: what ./check runs, in this order. A suite is a name, what it needs built, and a function.

needs maps a preset of CMakePresets.json to the Ninja targets of it; "npm" stands for the packages of test/judges.
"""

import dataclasses
import os
import pathlib
import re
import tempfile
from typing import Callable

from outcome import Outcome, failure, read_xml, skip, success
from run import BUILD, LOGS, ROOT, run

# Rooms that start threads of their own, or signal across them.
THREADED_ROOMS = ("runtime", "store", "process", "net", "channel")


@dataclasses.dataclass
class Suite:
    name: str
    what: str
    function: Callable[[str], Outcome]
    needs: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    waits: bool = False  # mostly for time to pass: runs beside the others


def command(*words, seconds: int = 300) -> Callable[[str], Outcome]:
    """A suite that is one command: it passes when the command does."""
    def body(name: str) -> Outcome:
        status = run(name, list(words), seconds)
        return success() if status == 0 else failure(f"exit status {status}")
    return body


def layers(name: str) -> Outcome:
    return command("tools/check-layers", "--self-test")(name) + command("tools/check-layers")(name)


def unit(preset: str, room: str, seconds: int) -> Callable[[str], Outcome]:
    def body(name: str) -> Outcome:
        program = BUILD / preset / f"{room}_test"
        if not program.exists():
            return failure(f"{program.relative_to(ROOT)} was not built")
        report = LOGS / f"{name}.xml"
        report.unlink(missing_ok=True)
        # With ccache's base directory __FILE__ is relative to where the compiler ran.
        status = run(name, [program, "--gtest_brief=1", f"--gtest_output=xml:{report}"], seconds, cwd=BUILD / preset)
        return read_xml(report, status)
    return body


def fuzz_names() -> list[str]:
    """What fuzz/CMakeLists.txt declares: talaria_fuzz(NAME ...) is the program fuzz_NAME over corpus/NAME."""
    return re.findall(r"^talaria_fuzz\(\s*(\w+)", (ROOT / "fuzz" / "CMakeLists.txt").read_text(), re.MULTILINE)


def fuzz(name: str) -> Outcome:
    """Every input of the corpus once, without looking for new ones."""
    outcome = Outcome()
    for target in fuzz_names():
        program = BUILD / "asan" / "fuzz" / f"fuzz_{target}"
        corpus = ROOT / "fuzz" / "corpus" / target
        if not program.exists():
            outcome += failure(f"{target}: {program.relative_to(ROOT)} was not built")
        elif not corpus.is_dir() or not any(corpus.iterdir()):
            outcome += failure(f"{target}: no corpus in {corpus.relative_to(ROOT)}")
        else:
            status = run(name, [program, "-runs=0", corpus], 180)
            outcome += success() if status == 0 else failure(f"{target}: exit status {status}")
    return outcome


def pytest(folder: str, seconds: int, *options: str, **variables: str) -> Callable[[str], Outcome]:
    def body(name: str) -> Outcome:
        if not any((ROOT / folder).rglob("test_*.py")):
            return skip(f"there is no test in {folder} yet")
        report = LOGS / f"{name}.xml"
        report.unlink(missing_ok=True)
        status = run(name, ["/usr/bin/python3", "-B", "-m", "pytest", "-q", "-rs", "--durations=10", "-p", "no:cacheprovider",
                            f"--junitxml={report}", *options, folder], seconds, **variables)
        if status == 124:
            return failure(f"no end after {seconds} s")
        return read_xml(report, status)
    return body


def quickstart(name: str) -> Outcome:
    """./quickstart on a home of its own; what it prints must be the echo, alone."""
    with tempfile.TemporaryDirectory(prefix="talaria-quickstart-") as home:
        said = pathlib.Path(home) / "said"
        status = run(name, ["bash", "-c", './quickstart --say "hello" >"$0"', said], 900, TALARIA_HOME=home)
        answer = said.read_text() if said.exists() else ""
    if status != 0:
        return failure(f"exit status {status}")
    # With an Ollama on this machine the answer is a model's own.
    return success() if answer.strip() else failure("it printed no answer")


def bench(name: str) -> Outcome:
    if not (ROOT / "bench" / "run").exists():
        return skip("there is no bench/run yet")
    return command("./bench/run", "--smoke", seconds=300)(name)


def has_tests(room: str) -> bool:
    return any((ROOT / "src" / room).rglob("*_test.cpp"))


def all_suites() -> list[Suite]:
    rooms = [folder.name for folder in sorted((ROOT / "src").iterdir()) if folder.is_dir() and has_tests(folder.name)]
    threaded = [room for room in THREADED_ROOMS if has_tests(room)]
    release = {"release": ["talaria"]}
    with_model = {"release": ["talaria", "bench_mock_model"]}  # a model that misbehaves on demand
    return [
        Suite("layers", "every #include against the table of rooms", layers),
        Suite("format", "clang-format", command("tools/check-format")),
        Suite("scripts", "scripts parse, shellcheck, links of the documents", command("tools/check-scripts")),
        *(Suite(f"unit.{room}", f"unit tests of src/{room}, ASan and UBSan", unit("asan", room, 300),
                {"asan": [f"{room}_test"]}) for room in rooms),
        *(Suite(f"tsan.{room}", f"unit tests of src/{room}, ThreadSanitizer", unit("tsan", room, 300),
                {"tsan": [f"{room}_test"]}) for room in threaded),
        Suite("fuzz", "the fuzz targets on their corpus, ASan and UBSan", fuzz,
              {"asan": [f"fuzz_{name}" for name in fuzz_names()]}),
        Suite("quickstart", "./quickstart --say", quickstart, release),
        Suite("irc", "conversations on real IRC servers, at their pace", pytest("test/e2e/irc", 900), {**with_model, "npm": []}, waits=True),
        Suite("e2e", "the real binary, one file per behaviour", pytest("test/e2e", 1500, "--ignore=test/e2e/irc"), {**with_model, "npm": []}),
        Suite("judges", "the clients that users use", pytest("test/judges", 600), {**with_model, "npm": []}),
        Suite("lab", "the life cycle under a real systemd", pytest("test/lab", 1800), release, waits=True),
        Suite("crash", "killed at every point, and power cuts", pytest("test/crash", 600),
              {"release": ["talaria", "crash_tracer"]}),
        Suite("bench", "the benchmark's programs work (no figures)", bench, release),
        Suite("tidy", "clang-tidy over src/", command("tools/tidy", seconds=1800), release),
    ]


def jobs() -> int:
    return len(os.sched_getaffinity(0))


def build(preset: str, targets: list[str]) -> Callable[[str], Outcome]:
    """Configures and builds; a target that does not compile doesn't keep the others from being built."""
    def body(name: str) -> Outcome:
        status = run(name, ["cmake", "--preset", preset], 300)
        if status != 0:
            return failure(f"cmake --preset {preset} failed")
        status = run(name, ["ninja", "-C", BUILD / preset, "-k", "0", "-j", jobs(), *targets], 2400)
        return success() if status == 0 else failure(f"ninja -C build/{preset} failed")
    return body


def npm(name: str) -> Outcome:
    folder = ROOT / "test" / "judges"
    lock, installed = folder / "package-lock.json", folder / "node_modules" / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return success()
    for _ in range(3):
        if run(name, ["npm", "ci", "--no-audit", "--no-fund"], 300, cwd=folder) == 0:
            return success()
    return failure("npm ci in test/judges failed")


def preparations(chosen: list[Suite]) -> list[Suite]:
    """What the chosen suites need, each once."""
    wanted: dict[str, list[str]] = {}
    for suite in chosen:
        for need, targets in suite.needs.items():
            known = wanted.setdefault(need, [])
            known += [target for target in targets if target not in known]
    found = [Suite(f"build.{preset}", "", build(preset, wanted[preset])) for preset in ("release", "asan", "tsan")
             if wanted.get(preset)]
    if "npm" in wanted:
        found.append(Suite("npm", "", npm))
    return found
