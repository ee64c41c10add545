"""Service managers beside systemd: their definitions work whatever the paths are, and what the table (test_table.py) does not look at."""

import json
import os
import pathlib
import plistlib
import re
import shutil
import subprocess
import tempfile

import pytest

from lab import holds, wait_until
from local_managers import LOCAL, REPOSITORY, is_alive, why_not

PACKAGING = REPOSITORY / "packaging"
KINDS = ("runit", "s6", "supervisord", "launchd")
# Everything that some format gives a meaning to.
ODD = "it's \"50%\" $HOME; # & <a> \\ 數"


def need(name):
    reason = why_not(name)
    if reason:
        pytest.skip(reason)


@pytest.fixture
def folder():
    """A path that leaves room for a socket's (108 bytes), which pytest's do not."""
    with tempfile.TemporaryDirectory(prefix="manager-") as path:
        yield pathlib.Path(path)


@pytest.fixture
def make(binary, folder):
    """Makes drivers and ends them."""
    made = []

    def one(name, program=binary, place=None):
        need(name)
        made.append(LOCAL[name](program, place or folder / name))
        return made[-1]
    yield one
    for driver in made:
        print(driver.account())
        driver.close()


# ---- definitions ---------------------------------------------------------------------------------------------------------------------


def printed(binary, kind, *arguments):
    ran = subprocess.run([binary, *arguments, "gateway", "install", "--print", kind], capture_output=True, text=True, check=True,
                         env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"})
    return ran.stdout.replace(str(binary.resolve()), "/usr/local/bin/talaria")


def tree(folder):
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_packaging_holds_what_the_command_prints(binary, tmp_path, kind):
    text = printed(binary, kind, "--system")
    if kind in ("runit", "s6"):
        subprocess.run(["sh", "-s", tmp_path], input=text, text=True, check=True)
        assert tree(tmp_path) == tree(PACKAGING / kind)
    else:
        assert [text] == list(tree(PACKAGING / kind).values())


@pytest.mark.parametrize("name", ["runit", "s6", "supervisord"])
def test_odd_paths_are_the_same_in_every_format(binary, folder, make, name):
    program = folder / ODD / "talaria"
    program.parent.mkdir()
    shutil.copy(binary, program)
    driver = make(name, program, folder / f"{ODD} home")  # of the service directory as well, and of TALARIA_HOME
    driver.start()
    wait_until(driver.serves, 30, "it serves")
    assert os.readlink(f"/proc/{driver.pid()}/exe") == str(program)
    driver.manager_stop()
    wait_until(driver.is_down, 30, "it is down")
    assert driver.exit() == 0


# launchd.plist(5): every key that the definition may use, with its type.
LAUNCHD_KEYS = {
    "Label": str, "Disabled": bool, "UserName": str, "GroupName": str, "Program": str, "ProgramArguments": list, "EnableGlobbing": bool,
    "KeepAlive": (bool, dict), "RunAtLoad": bool, "RootDirectory": str, "WorkingDirectory": str, "EnvironmentVariables": dict, "Umask": int,
    "TimeOut": int, "ExitTimeOut": int, "ThrottleInterval": int, "InitGroups": bool, "WatchPaths": list, "QueueDirectories": list,
    "StartOnMount": bool, "StartInterval": int, "StandardInPath": str, "StandardOutPath": str, "StandardErrorPath": str, "Debug": bool,
    "SoftResourceLimits": dict, "HardResourceLimits": dict, "Nice": int, "ProcessType": str, "AbandonProcessGroup": bool,
    "LowPriorityIO": bool, "LaunchOnlyOnce": bool, "SessionCreate": bool, "LegacyTimers": bool}
KEEP_ALIVE = {"SuccessfulExit": bool, "Crashed": bool, "NetworkState": bool, "PathState": dict, "OtherJobEnabled": dict}
LIMITS = {"Core", "CPU", "Data", "FileSize", "MemoryLock", "NumberOfFiles", "NumberOfProcesses", "ResidentSetSize", "Stack"}


def is_a(value, kind):
    return type(value) in (kind if isinstance(kind, tuple) else (kind,))  # a boolean is no integer here


def test_the_launchd_definition_is_made_of_documented_keys(binary, tmp_path):
    program = tmp_path / ODD / "talaria"
    program.parent.mkdir()
    shutil.copy(binary, program)
    home = tmp_path / f"{ODD} home"
    text = subprocess.run([program, "-p", "work", "gateway", "install", "--print", "launchd"], capture_output=True, check=True,
                          env={"HOME": "/Users/ann", "TALARIA_HOME": str(home)}).stdout
    plist = plistlib.loads(text, fmt=plistlib.FMT_XML)
    assert {key: value for key, value in plist.items() if not is_a(value, LAUNCHD_KEYS.get(key, ()))} == {}
    assert {key: value for key, value in plist["KeepAlive"].items() if not is_a(value, KEEP_ALIVE.get(key, ()))} == {}
    assert set(plist["SoftResourceLimits"]) <= LIMITS
    assert plist["ProgramArguments"] == [str(program), "-p", "work", "gateway", "run"]
    assert plist["EnvironmentVariables"] == {"TALARIA_HOME": str(home)}
    assert plist["KeepAlive"] == {"SuccessfulExit": False}
    assert plist["ExitTimeOut"] >= 60 and plist["Umask"] == 0o077
    assert plist["StandardErrorPath"].startswith("/Users/ann/Library/Logs/")


def test_a_path_that_no_definition_can_name_is_refused(binary, tmp_path):
    for kind in KINDS:
        ran = subprocess.run([binary, "gateway", "install", "--print", kind], capture_output=True, text=True, check=False,
                             env={"HOME": "/", "TALARIA_HOME": "/a\nb"})
        assert (ran.returncode != 0, ran.stdout) == (True, "")
        assert "printable" in ran.stderr


def test_manifests_give_the_drain_its_time():
    yaml = pytest.importorskip("yaml", reason="python3-yaml is missing (tools/install-packages --test)")
    least = 30 + 15  # drain_timeout by default, and what the stop may take beyond it
    compose = yaml.safe_load((PACKAGING / "container" / "compose.yaml").read_text(encoding="utf-8"))
    service = compose["services"]["talaria"]
    assert int(service["stop_grace_period"].removesuffix("s")) > least
    assert service["restart"] == "on-failure" and service["stop_signal"] == "SIGTERM"
    claim, deployment = yaml.safe_load_all((PACKAGING / "kubernetes" / "talaria.yaml").read_text(encoding="utf-8"))
    spec = deployment["spec"]
    pod = spec["template"]["spec"]
    gateway = pod["containers"][0]
    assert (claim["kind"], deployment["kind"]) == ("PersistentVolumeClaim", "Deployment")
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")
    assert pod["terminationGracePeriodSeconds"] > least
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert gateway["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert gateway["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert {each["name"] for each in gateway["volumeMounts"]} == {each["name"] for each in pod["volumes"]}
    containerfile = (PACKAGING / "container" / "Containerfile").read_text(encoding="utf-8")
    user = containerfile.split("\nUSER ")[1].split()[0]
    assert user.isdigit() and int(user) == pod["securityContext"]["runAsUser"] != 0  # runAsNonRoot wants a number
    for word in ("STOPSIGNAL SIGTERM", "HEALTHCHECK ", "VOLUME "):
        assert f"\n{word}" in containerfile


def test_the_image_has_the_libraries_that_the_program_is_linked_with(binary):
    dynamic = subprocess.run(["readelf", "-d", binary], capture_output=True, text=True, check=True).stdout
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)
    assert "libc.so.6" in needed
    owners = subprocess.run(["dpkg-query", "-S", *(f"*/{name}" for name in needed)], capture_output=True, text=True, check=True).stdout
    packages = {line.split(":")[0] for line in owners.splitlines()} - {"libc6", "libc6-i386", "libc6-x32"}
    containerfile = (PACKAGING / "container" / "Containerfile").read_text(encoding="utf-8")
    image = set(re.findall(r"lib\S+", containerfile.split("--no-install-recommends")[1].split("&&")[0]))
    assert image == packages


def test_without_libsystemd_only_systemd_is_missing(binary, tmp_path):
    library = next(line.split()[-1] for line in subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True)
                   .stdout.splitlines() if "libsystemd.so.0 " in line and "x86-64" in line)
    (tmp_path / "config.toml").write_text('[agent.default]\nkind = "echo"\n', encoding="utf-8")
    (tmp_path / "config.toml").chmod(0o600)

    environment = {"PATH": os.environ["PATH"], "TALARIA_HOME": str(tmp_path)}
    hidden = ["unshare", "-rm", "sh", "-c", f'mount --bind /dev/null {library} && exec "$@"', "sh", binary, "gateway"]

    logs = subprocess.run([*hidden, "logs"], env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (logs.returncode, logs.stdout) == (1, "")
    assert "libsystemd.so.0 can't be loaded; install it (Debian's package libsystemd0)" in logs.stderr
    with subprocess.Popen([*hidden, "run"], env=environment, stderr=subprocess.DEVNULL) as gateway:
        status = [binary, "gateway", "status"]
        wait_until(lambda: subprocess.run(status, env=environment, capture_output=True, check=False).returncode == 0, 20, "it runs")
        gateway.terminate()
        assert gateway.wait(20) == 1  # a signal that nobody planned


# ---- how they are told apart ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOCAL)
def test_status_history_and_lock_name_the_manager(make, name):
    driver = make(name)
    driver.start()
    wait_until(driver.serves, 30, "it serves")
    scope = {"bare": "none", "tini": "container"}.get(name, name)
    unit = {"runit": str(driver.folder / "sv"), "s6": str(driver.folder / "sv"), "supervisord": "talaria-default:talaria-default"}.get(name)
    status = driver.status()
    assert (status["manager"], status["unit"]) == (scope, unit)
    run = driver.runs()[0]
    assert (run["scope"], run["unit"]) == (scope, unit or "")
    lock = json.loads((driver.home / "state" / "gateway.lock").read_text(encoding="utf-8"))
    assert (lock["scope"], lock["unit"]) == (scope, unit or "")


@pytest.mark.parametrize("name", ["runit", "s6", "supervisord", "container"])
def test_a_supervised_owner_is_not_evicted(make, name):
    driver = make(name)
    driver.start()
    wait_until(driver.serves, 30, "it serves")
    old = driver.pid()
    ran = subprocess.run([driver.binary, "gateway", "run", "--replace"], env=driver.environment, capture_output=True, text=True, check=False,
                         timeout=30)
    assert ran.returncode == 73, ran.stderr
    assert {"runit": "sv restart", "s6": "s6-svc -r", "supervisord": "supervisorctl restart", "container": "container"}[name] in ran.stderr
    assert driver.pid() == old and driver.serves()


# ---- what is each manager's own ------------------------------------------------------------------------------------------------------


def test_s6_learns_when_it_is_ready(make):
    driver = make("s6")
    driver.block_port()
    driver.start()
    wait_until(lambda: driver.pid() and driver.state() == "starting", 30, "it is starting")
    assert driver.stat("ready") == {"ready": "false"}
    driver.release()
    wait_until(lambda: driver.stat("ready") == {"ready": "true"}, 30, "s6 calls it ready")
    assert driver.serves()


def test_supervisord_that_cannot_be_asked_stops_and_restarts_it_all_the_same(binary, folder):
    """Without a server in supervisord's configuration, only what it does can be seen: SIGTERM to supervisord ends both for good."""
    need("supervisord")

    class WithoutServer(LOCAL["supervisord"]):
        with_server = False

    driver = WithoutServer(binary, folder / "home")
    try:
        driver.start()
        wait_until(driver.serves, 30, "it serves")
        old = driver.pid()
        driver.supervisord.terminate()
        assert driver.supervisord.wait(30) == 0
        assert not is_alive(old)
        run = driver.runs()[0]
        assert (run["verdict"], run["exit_code"]) == ("planned", 75)
        assert "could not be asked" in run["cause"]
        assert f"stopped: {driver.PROGRAM} (exit status 75)" in driver.supervisord_log.read_text(encoding="utf-8")
    finally:
        driver.close()


@pytest.mark.parametrize("name", ["runit", "s6"])
def test_a_start_during_the_drain_is_heeded(make, name):
    """Exit code 0 would keep it down; by then it is wanted up."""
    driver = make(name)
    driver.configure(drain="2s")
    driver.start()
    wait_until(driver.serves, 30, "it serves")
    driver.begin_turn()
    old = driver.pid()
    driver.begin_stop()
    wait_until(lambda: driver.state() == "draining", 30, "it drains")
    driver.start()
    wait_until(lambda: driver.pid() not in (0, old) and driver.serves(), 30, "another incarnation serves")
    assert driver.exit() == 75


LEAVES_ORPHANS = """#!/bin/sh
for i in 1 2 3 4 5; do (setsid sh -c 'exit 7' &) ; done
cat
"""


@pytest.mark.parametrize("name", ["container", "bare"])
def test_no_zombie_stays(make, name):
    """What an agent leaves behind is reaped: as PID 1 nobody else would."""
    driver = make(name)
    agent = driver.folder / "agent"
    agent.write_text(LEAVES_ORPHANS, encoding="utf-8")
    agent.chmod(0o755)
    config = driver.home / "config.toml"
    config.write_text(config.read_text(encoding="utf-8").replace('kind = "echo"', f'kind = "command"\ncommand = ["{agent}"]'), encoding="utf-8")
    driver.start()
    wait_until(driver.serves, 30, "it serves")
    code, text = driver.request("POST", "/v1/chat/completions", {"model": "default", "messages": [{"role": "user", "content": "hello"}]}, 20)
    assert code == 200, text
    wait_until(lambda: driver.processes() == [], 10, "no child is left, zombies included")
    holds(lambda: driver.processes() == [], 0.3, "no child is left")
