"""L12: install and uninstall over scopes, users, paths and shells. The same version writes the same bytes whoever types it; systemd executes
exactly the program that was installed and has nothing to warn about; what is somebody else's stays as it was; uninstall takes away ours
and only ours. In full with ./torture install_everywhere."""

import os
import random
import shlex

import pytest

from conftest import skip_without_lab
from gateway import INSTALLED, Gateway
from lab import UID, USER, Lab, wait_until
from support.torture import report, rounds

# Directories below which the program is installed. The last ones can't be told to systemd, and are refused.
GOOD = ["/opt/plain", "/opt/with a blank", "/opt/100%", "/opt/%i", "/opt/$HOME", "/opt/${x}y", "/opt/ä日本", "/opt/a;b#c", "/opt/-x",
        "/opt/a@b:c!d+e", "/opt/[Service]", "/opt/(1) & <2> | *", "/opt/  two", "/opt/x=y", "/opt/~"]
BAD = ["/opt/it's", "/opt/say \"hi\"", "/opt/back\\slash", "/opt/two\nlines", "/opt/tab\tbed"]

QUIET = "[gateway]\ndrain_timeout = \"1s\"\n\n[agent.default]\nkind = \"echo\"\n"
SHELLS = [
    {"LANG": "de_DE.UTF-8", "LC_ALL": "tr_TR.UTF-8"},
    {"PATH": "/usr/bin:/bin", "VIRTUAL_ENV": "/tmp/venv", "EDITOR": "emacs"},
    {"INVOCATION_ID": "deadbeef", "NOTIFY_SOCKET": "/nowhere", "STATE_DIRECTORY": "/var/lib/other", "RUNTIME_DIRECTORY": "/run/other"},
    {"TALARIA_PROFILE": "somebody-else", "XDG_DATA_HOME": "/tmp/data", "XDG_CACHE_HOME": "/tmp/cache"},
    {"TZ": "Asia/Kathmandu", "IFS": "x", "BASH_ENV": "/dev/null", "TERM": "dumb"},
]
UMASKS = ["000", "022", "027", "077", "277"]
PLACES = ["/", "/tmp", "/usr/share", "/proc/self", "/run"]


@pytest.fixture(scope="module")
def town(binary):
    skip_without_lab()
    with Lab(programs={INSTALLED: binary}) as booted:
        yield booted


def put_program(lab, directory):
    """The binary at an odd place; its path."""
    path = f"{directory}/talaria"
    lab.run(["mkdir", "-p", directory]).check()
    lab.run(["cp", INSTALLED, path]).check()
    return path


def type_it(gateway, program, words, rng):
    """A command, typed into some shell."""
    option = ["--system"] if gateway.scope == "system" else []
    line = " ".join(shlex.quote(word) for word in [program, "-p", gateway.profile, *words, *option])
    script = f"umask {rng.choice(UMASKS)}; cd {rng.choice(PLACES)} && exec {line}"
    return gateway.lab.run(["/bin/sh", "-c", script], gateway.user, env=rng.choice(SHELLS))


def snapshot(gateway):
    """Every file below the directory of unit files: path → (mode, contents or link)."""
    base = gateway.lab.path(gateway.unit_directory)
    found = {}
    for path in sorted(base.rglob("*")):
        name = str(path.relative_to(base))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = (oct(path.stat().st_mode & 0o7777), path.read_bytes())
        else:
            found[name] = oct(path.stat().st_mode & 0o7777)
    return found


def verify(gateway):
    """systemd's own judgement of what was written."""
    option = "--user" if gateway.scope == "user" else "--system"
    ran = gateway.lab.run(["systemd-analyze", option, "verify", "--man=no", "--recursive-errors=no", f"{gateway.unit_directory}/{gateway.unit}"],
                          gateway.user)
    if "Failed to prepare filename" in ran.err or "not found" in ran.err:  # an instance is known by a link
        link = f"/tmp/verify-{gateway.scope}/{gateway.unit}"
        gateway.lab.run(["mkdir", "-p", os.path.dirname(link)], gateway.user).check()
        gateway.lab.run(["ln", "-sf", f"{gateway.unit_directory}/talaria-gateway@.service", link], gateway.user).check()
        ran = gateway.lab.run(["systemd-analyze", option, "verify", "--man=no", "--recursive-errors=no", link], gateway.user)
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def one_round(lab, scope, number, rng):
    gateway = Gateway(lab, scope, f"every{scope[0]}{number}")
    gateway.configure(QUIET)
    # What is there before: an operator's drop-in for this unit, and units of others.
    lab.put_file(f"{gateway.unit_directory}/other.service", "[Service]\nExecStart=/bin/true\n", owner=gateway.user)
    lab.put_file(f"{gateway.unit_directory}/{gateway.unit}.d/mine.conf", "[Service]\nEnvironment=MINE=1\n", owner=gateway.user)
    before = snapshot(gateway)

    if rng.random() < 0.3:
        refused = type_it(gateway, put_program(lab, rng.choice(BAD)), ["gateway", "install"], rng)
        assert refused.code == 64
        assert "/usr/local/bin" in refused.err  # the remedy
        assert snapshot(gateway) == before
    program = put_program(lab, rng.choice(GOOD))
    as_user = rng.choice([USER, "root", "talaria"]) if scope == "system" and rng.random() < 0.6 else None
    words = ["gateway", "install", *(["--run-as-user", as_user] if as_user else [])]
    first = type_it(gateway, program, words, rng).check()
    written = snapshot(gateway)
    pid = gateway.pid()
    again = type_it(gateway, program, words, rng).check()
    assert "updated" not in again.out and "wrote" not in again.out, again.out
    assert snapshot(gateway) == written, first.out
    assert gateway.pid() == pid
    for name, kept in before.items():
        assert written[name] == kept
    for name in written.keys() - before.keys():  # whoever's umask it was
        if isinstance(written[name], tuple):
            assert written[name][0] == "0o644", name
        elif written[name].startswith("0o"):
            assert written[name] == "0o755", name
    verify(gateway)

    # systemd runs what was installed, as whom it was told.
    assert lab.run(["readlink", f"/proc/{pid}/exe"]).check().out == program + "\n"
    uid = int(lab.path(f"/proc/{pid}/status").read_text().split("Uid:")[1].split()[0])
    assert uid == (UID if scope == "user" else int(lab.run(["id", "-u", as_user or "talaria"]).check().out))
    assert "MINE=1" in gateway.show("Environment")
    assert gateway.show("UnitFileState") == "enabled"
    assert gateway.show("NeedDaemonReload") == "no"
    assert gateway.status()["state"] == "running"
    reloaded = lab.path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    assert reloaded[0].decode() == program and reloaded[-2:] == [b"gateway", b"run"]

    type_it(gateway, program, ["gateway", "uninstall"], rng).check()
    wait_until(lambda: gateway.pid() == 0, 10, "it has stopped")
    assert snapshot(gateway) == before
    assert lab.path(f"{gateway.config_directory}/config.toml").exists()
    type_it(gateway, program, ["gateway", "uninstall"], rng).check()
    assert snapshot(gateway) == before
    gateway.assert_never_failed()
    return written["talaria-gateway@.service"][1].replace(program.encode(), b"PROGRAM")


@pytest.mark.torture
def test_install_everywhere(town):
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    print(f"seed {seed}")
    total = rounds(3, 200)
    for number in range(total):
        for scope in ("user", "system"):
            one_round(town, scope, number, rng)
    report("install everywhere", rounds=2 * total, seed=seed)


def test_the_same_bytes_for_everybody(town):
    """Two users of one machine, and root for the system, in shells that have nothing in common."""
    for scope in ("user", "system"):
        gateway = Gateway(town, scope, f"same{scope[0]}")
        gateway.configure(QUIET)
        seen = set()
        for number in range(5):
            type_it(gateway, INSTALLED, ["gateway", "install", "--no-start"], random.Random(number)).check()
            seen.add(town.path(f"{gateway.unit_directory}/talaria-gateway@.service").read_bytes())
            type_it(gateway, INSTALLED, ["gateway", "uninstall"], random.Random(number)).check()
        assert len(seen) == 1
        assert USER.encode() not in seen.pop()


def test_lingering_is_enabled_or_said(town):
    gateway = Gateway(town, "user", "lingers")
    gateway.configure(QUIET)
    mark = town.path(f"/var/lib/systemd/linger/{USER}")
    mark.unlink()
    try:
        ran = gateway.cli("gateway", "install", "--no-start").check()
        assert mark.exists() or f"sudo loginctl enable-linger {USER}" in ran.err
    finally:
        town.run(["loginctl", "enable-linger", USER]).check()
        gateway.cli("gateway", "uninstall").check()


def test_a_foreign_drop_in_of_our_name_is_left_alone(town):
    gateway = Gateway(town, "system", "foreign")
    gateway.configure(QUIET)
    drop_in = f"{gateway.unit_directory}/{gateway.unit}.d/50-run-as-user.conf"
    text = f"[Service]\nUser={USER}\n"
    town.put_file(drop_in, text)
    ran = gateway.cli("gateway", "install", "--run-as-user", "talaria", "--no-start")
    assert ran.code == 73
    assert drop_in in ran.err
    assert "kept" in gateway.cli("gateway", "uninstall").check().out
    assert town.path(drop_in).read_text() == text
