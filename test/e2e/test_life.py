"""The life of one gateway without a service manager: starts, stops, kills, and what is left of them."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import urllib.request

import pytest

from support.talaria import Gateway, binary, wait_until

KEY = "test-key"
ECHO = """
[api]
listen = "127.0.0.1:0"
keys = ["env:KEY"]
[agent.default]
kind = "echo"
"""
SLOW = """
[gateway]
drain_timeout = "{drain}"
[api]
listen = "127.0.0.1:0"
keys = ["env:KEY"]
[agent.default]
kind = "command"
command = ["/bin/sh", "-c", "touch begun; cat release; cat"]
"""


def gateway(tmp_path, config=ECHO, **env):
    return Gateway(tmp_path, config, env={"KEY": KEY, **env})


def ask(api, text="hello", timeout=30, **fields):
    body = json.dumps({"model": "default", "messages": [{"role": "user", "content": text}], **fields}).encode()
    request = urllib.request.Request(f"http://{api}/v1/chat/completions", body,
                                     {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return json.load(answer)["choices"][0]["message"]["content"]


def last_run(g):
    return json.loads(g.run("gateway", "history", "--json").stdout)["runs"][0]


def test_a_stray_kill_is_unplanned_and_names_its_sender(tmp_path):
    with gateway(tmp_path).start().wait_ready() as g:
        assert ask(g.status()["api"]) == "hello"
        assert g.stop() == 1
        run = last_run(g)
        assert run["verdict"] == "unplanned" and run["exit_code"] == 1
        assert run["evidence"]["sender_pid"] == os.getpid()
        assert str(os.getpid()) in run["cause"]
        assert g.run("gateway", "status", check=False).returncode == 3


def test_stop_by_command_is_planned(tmp_path):
    with gateway(tmp_path).start().wait_ready() as g:
        g.run("gateway", "stop")
        assert g.process.wait(10) == 0
        assert last_run(g)["verdict"] == "planned"


@pytest.mark.parametrize("key", [b"\x03", b"\x1c"], ids=["ctrl-c", "ctrl-backslash"])
def test_a_terminals_key_is_planned(tmp_path, key):
    g = gateway(tmp_path)
    controller, terminal = os.openpty()
    process = subprocess.Popen([binary(), "gateway", "run"], env=g.env, stdin=terminal, stdout=terminal, stderr=terminal,
                               start_new_session=True, preexec_fn=lambda: __import__("fcntl").ioctl(0, 0x540E, 0))
    os.close(terminal)
    try:
        wait_until(lambda: (g.try_status() or {}).get("ready"), what="ready gateway")
        os.write(controller, key)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        os.close(controller)
    run = last_run(g)
    assert (run["verdict"], run["kind"]) == ("planned", "interrupt"), run


def test_kill_9_is_a_crash_and_the_next_start_says_so(tmp_path):
    with gateway(tmp_path).start().wait_ready() as g:
        g.kill9()
        g.start().wait_ready()
        end = g.status()["last_end"]
        assert end["verdict"] == "crash", end
        assert "SIGKILL" in end["cause"]


def test_restart_without_a_manager_is_the_same_process_serving_again(tmp_path):
    with gateway(tmp_path).start().wait_ready() as g:
        before = g.status()
        g.run("gateway", "restart")
        after = wait_until(lambda: (s := g.try_status()) and s.get("ready") and s["since"] != before["since"] and s, what="restart")
        assert after["pid"] == before["pid"] == g.process.pid
        assert after["last_end"]["verdict"] == "restart"
        assert ask(after["api"]) == "hello"


def test_a_turn_is_finished_before_a_planned_stop(tmp_path):
    os.mkfifo(tmp_path / "release")
    with gateway(tmp_path, SLOW.format(drain="20s")).start().wait_ready() as g:
        api = g.status()["api"]
        answers = []
        asker = threading.Thread(target=lambda: answers.append(ask(api, "patience")))
        asker.start()
        wait_until((tmp_path / "begun").exists, what="running turn")
        stopper = subprocess.Popen([binary(), "gateway", "stop"], env=g.env)
        wait_until(lambda: (g.try_status() or {}).get("state") == "draining", what="draining state")
        (tmp_path / "release").write_text("")
        asker.join(20)
        assert answers == ["patience"]
        assert g.process.wait(10) == 0 and stopper.wait(10) == 0


def test_a_second_signal_cuts_the_drain_short_and_keeps_the_verdict(tmp_path):
    os.mkfifo(tmp_path / "release")
    with gateway(tmp_path, SLOW.format(drain="60s")).start().wait_ready() as g:
        api = g.status()["api"]

        def asker():
            try:
                ask(api)
            except OSError:
                pass
        thread = threading.Thread(target=asker)
        thread.start()
        wait_until((tmp_path / "begun").exists, what="running turn")
        stopper = subprocess.Popen([binary(), "gateway", "stop"], env=g.env)
        wait_until(lambda: (g.try_status() or {}).get("state") == "draining", what="draining state")
        g.process.send_signal(signal.SIGTERM)
        assert g.process.wait(10) == 0
        stopper.wait(10)
        thread.join(10)
        assert last_run(g)["verdict"] == "planned"
        # Nothing of the agent's process group is left.
        assert subprocess.run(["pgrep", "-f", str(tmp_path / "release")], capture_output=True).returncode == 1


def test_one_that_waits_becomes_the_owner_when_the_owner_is_killed(tmp_path):
    with gateway(tmp_path).start().wait_ready() as g:
        owner = g.process
        g.process = None
        g.start("--wait")
        try:
            wait_until(lambda: f"standby for PID {owner.pid}" in g.output(), what="standby")
            assert g.status()["pid"] == owner.pid and g.running()
        finally:
            owner.kill()
            owner.wait()
        status = wait_until(lambda: (s := g.try_status()) and s.get("ready") and s, what="new owner")
        assert status["pid"] == g.process.pid
        assert status["last_end"]["verdict"] == "crash"


def test_a_frozen_gateway_is_unknown_not_running(tmp_path):
    with gateway(tmp_path).start().wait_ready() as g:
        g.process.send_signal(signal.SIGSTOP)
        try:
            done = g.run("gateway", "status", "--json", check=False)
            assert done.returncode == 4
            assert json.loads(done.stdout)["state"] == "unknown"
        finally:
            g.process.send_signal(signal.SIGCONT)
        assert g.status()["state"] == "running"


def test_every_configuration_mistake_is_reported_and_nothing_is_touched(tmp_path):
    g = gateway(tmp_path, '[gateway]\ndrain_timeot = "30s"\n[api]\nlisten = 7\n[agent.default]\nkind = "oracle"\n').start()
    assert g.process.wait(10) == 78
    said = g.output()
    for line, word in ((2, "drain_timeout"), (4, "listen"), (6, "oracle")):
        assert f"config.toml:{line}:" in said and word in said, said
    assert not (tmp_path / "state").exists()


def test_a_missing_secret_is_a_configuration_mistake_that_names_the_reference(tmp_path):
    g = Gateway(tmp_path, ECHO).start()
    assert g.process.wait(10) == 78
    assert "KEY" in g.output()


def test_a_taken_port_is_waited_out_and_named(tmp_path):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        g = gateway(tmp_path, ECHO.replace(":0", f":{port}")).start()
        with g:
            status = wait_until(lambda: (s := g.try_status()) and str(port) in (s.get("detail") or "") and s, what="reason in the status")
            assert status["state"] == "starting" and not status["ready"]
            assert str(os.getpid()) in status["detail"], "the holder is named"
            holder.close()
            g.wait_ready(timeout=3)


def waits_for(g, words):
    status = wait_until(lambda: (s := g.try_status()) and words in (s.get("detail") or "") and s, what=f"'{words}' in the status")
    assert status["state"] == "starting" and not status["ready"]


def test_an_address_that_is_not_there_yet_is_waited_for(tmp_path):
    """192.0.2.0/24 is on no machine (RFC 5737); an interface may get its address after we start."""
    config = ECHO.replace("127.0.0.1:0", "192.0.2.77:8790").replace("[api]", "[api]\nallow_public = true")
    with gateway(tmp_path, config).start() as g:
        waits_for(g, "192.0.2.77:8790")
        assert g.stop() == 1


def test_a_folder_that_is_not_there_yet_is_waited_for(tmp_path):
    with gateway(tmp_path, ECHO.replace("127.0.0.1:0", f"unix:{tmp_path}/later/api.sock")).start() as g:
        waits_for(g, "later/api.sock")
        (tmp_path / "later").mkdir(mode=0o700)
        g.wait_ready(timeout=3)


def test_a_standby_whose_home_is_removed_makes_it_anew(tmp_path):
    with gateway(tmp_path / "home").start().wait_ready() as owner, gateway(tmp_path / "home") as standby:
        standby.start("--wait")
        wait_until(lambda: "standby for" in standby.output(), what="standby")
        shutil.rmtree(tmp_path / "home" / "state")
        assert owner.process.wait(20) == 1
        assert standby.wait_ready().status()["state"] == "running"


def test_a_new_control_socket_takes_the_place_of_the_old_one(tmp_path):
    with gateway(tmp_path).start().wait_ready() as g:
        def descriptors():
            return len(os.listdir(f"/proc/{g.process.pid}/fd"))
        before = descriptors()
        (tmp_path / "run" / "control.sock").unlink()
        wait_until(lambda: (g.try_status() or {}).get("state") == "running", what="new control socket")
        wait_until(lambda: descriptors() <= before, 5, "end of the old one")


@pytest.mark.parametrize("content", [b"", b"garbage\n", b"\x00\xff" * 5000, b'{"pid":1}'])
def test_whatever_stands_in_the_lock_file_the_start_succeeds(tmp_path, content):
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "gateway.lock").write_bytes(content)
    with gateway(tmp_path).start().wait_ready() as g:
        assert g.status()["state"] == "running"


def test_a_store_that_is_garbage_is_refused_and_left_alone(tmp_path):
    (tmp_path / "state").mkdir(mode=0o700)
    database = tmp_path / "state" / "talaria.db"
    database.write_bytes(b"not a database" * 1000)
    g = gateway(tmp_path).start()
    assert g.process.wait(10) == 78
    assert "talaria.db" in g.output()
    assert database.read_bytes() == b"not a database" * 1000


def test_a_newer_store_is_refused(tmp_path):
    with gateway(tmp_path).start().wait_ready() as g:
        g.run("gateway", "stop")
        g.process.wait(10)
        with sqlite3.connect(tmp_path / "state" / "talaria.db") as db:
            db.execute("PRAGMA user_version = 999")
        g.start()
        assert g.process.wait(10) == 78
        assert "999" in g.output()


def test_state_is_private(tmp_path):
    with gateway(tmp_path).start().wait_ready() as g:
        assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
        for name in ("state/gateway.lock", "state/talaria.db", "run/control.sock"):
            assert (tmp_path / name).stat().st_mode & 0o077 == 0, name
        assert KEY not in open(f"/proc/{g.process.pid}/cmdline").read()
        assert KEY not in g.output()
