"""`gateway reload` and SIGHUP: a new configuration, all of it or nothing, and nobody who is being served notices."""

import http.client
import json
import os
import random
import signal
import socket
import threading
import time
import urllib.error
import urllib.request

import pytest

from support.talaria import Gateway, free_port, wait_until
from support.torture import report, rounds

KEY = "test-key"


def config(*, listen="127.0.0.1:0", keys=("env:KEY",), agents=("default",), more="", gateway=""):
    """One agent per name; the name says what kind: "up…" is a command that shouts, everything else echoes."""
    text = f"[gateway]\n{gateway}\n[api]\nkeys = {json.dumps(list(keys))}\n"
    text += f'listen = "{listen}"\n' if listen else ""
    for agent in agents:
        text += f"[agent.{agent}]\n"
        text += 'kind = "command"\ncommand = ["/usr/bin/tr", "a-z", "A-Z"]\n' if agent.startswith("up") else 'kind = "echo"\n'
    return text + more


def gateway(tmp_path, text=None, **env):
    return Gateway(tmp_path, text or config(), env={"KEY": KEY, "OTHER": "other-key", **env})


def request(api, method, path, body=None, key=KEY, timeout=30):
    """(status, decoded body) over a connection of its own; api is "HOST:PORT" or "unix:/path"."""
    if api.startswith("unix:"):
        connection = http.client.HTTPConnection("localhost", timeout=timeout)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(timeout)
        connection.sock.connect(api[5:])
    else:
        connection = http.client.HTTPConnection(api, timeout=timeout)
    try:
        connection.request(method, path, json.dumps(body) if body else None, {"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        connection.close()


def ask(api, text="hello", model="default", key=KEY):
    status, body = request(api, "POST", "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": text}]}, key)
    return body["choices"][0]["message"]["content"] if status == 200 else status


def agents_of(api, key=KEY):
    status, body = request(api, "GET", "/v1/models", key=key)
    return sorted(model["id"] for model in body["data"]) if status == 200 else status


def reload(g, text=None, code=0):
    if text is not None:
        g.config.write_text(text)
    done = g.run("gateway", "reload", check=False)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done


def incarnation(g):
    status = g.status()
    return status["pid"], status["since"]


def test_keys_agents_and_limits_change_without_a_stop(tmp_path):
    with gateway(tmp_path).start().wait_ready() as g:
        before, api = incarnation(g), g.status()["api"]
        done = reload(g, config(keys=["env:OTHER"], agents=["default", "upper"], gateway='drain_timeout = "3s"'))
        for key in ("api.keys", "agent.upper", "gateway.drain_timeout"):
            assert f"changed: {key}" in done.stdout, done.stdout
        assert ask(api) == 401
        assert agents_of(api, "other-key") == ["default", "upper"]
        assert ask(api, "hello", "upper", "other-key") == "HELLO"
        assert reload(g).stdout == "reloaded: nothing has changed\n"
        # What an agent is, and that it is gone.
        reload(g, config(agents=["up"], more='[agent.default]\nkind = "command"\ncommand = ["/usr/bin/rev"]\n'))
        assert ask(api, "abc") == "cba" and agents_of(api) == ["default", "up"]
        assert ask(api, "hello", "upper") == 404
        assert incarnation(g) == before


@pytest.mark.parametrize("by_signal", [False, True])
def test_a_wrong_configuration_changes_nothing_and_says_why(tmp_path, by_signal):
    with gateway(tmp_path).start().wait_ready() as g, socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = f"127.0.0.1:{holder.getsockname()[1]}"
        before, api = incarnation(g), g.status()["api"]
        wrong = {
            "syntax": ("[gateway\n", 1, "TOML"),
            "unknown key": (config(agents=["up"], gateway='drain_timeot = "1s"'), 2, "drain_timeout"),
            "missing secret": (config(agents=["up"], keys=["env:KEY", "file:/nowhere/key"]), 4, "/nowhere/key"),
            "missing variable": (config(agents=["up"], keys=["env:KEY", "env:NOT_THERE"]), 4, "NOT_THERE"),
            "taken address": (config(agents=["up"], listen=taken), 5, f"process {os.getpid()}"),
        }
        for what, (text, line, words) in wrong.items():
            if by_signal:
                g.config.write_text(text)
                g.process.send_signal(signal.SIGHUP)
                said = wait_until(lambda w=words: next((w_ for w_ in g.status()["warnings"] if w in w_), None), 10, f"warning: {what}")
                assert f"config.toml:{line}:" in g.output(), what
            else:
                said = reload(g, text, code=78).stderr
            assert f"config.toml:{line}:" in said and words in said, (what, said)
            assert any(words in warning for warning in g.status()["warnings"]), what
            assert agents_of(api) == ["default"] and ask(api) == "hello", what
        assert incarnation(g) == before
        g.config.write_text(config(agents=["default", "up"]))
        if by_signal:
            g.process.send_signal(signal.SIGHUP)
            wait_until(lambda: agents_of(api) == ["default", "up"], 10, "the right one")
        else:
            reload(g)
        assert agents_of(api) == ["default", "up"] and g.status()["warnings"] == []


def test_a_running_turn_keeps_the_agent_it_began_with(tmp_path):
    os.mkfifo(tmp_path / "release")
    slow = '[agent.slow]\nkind = "command"\ncommand = ["/bin/sh", "-c", "touch begun; cat release; cat"]\n'
    with gateway(tmp_path, config(more=slow)).start().wait_ready() as g:
        api, answers = g.status()["api"], []
        asker = threading.Thread(target=lambda: answers.append(ask(api, "patience", "slow")))
        asker.start()
        wait_until((tmp_path / "begun").exists, what="running turn")
        reload(g, config(agents=["default", "up"]))
        assert ask(api, "hello", "slow") == 404
        (tmp_path / "release").write_text("")
        asker.join(20)
        assert answers == ["patience"]


def test_a_secret_that_was_changed_in_its_file_counts(tmp_path):
    secret = tmp_path / "key"
    secret.write_text("first\n")
    secret.chmod(0o600)
    with gateway(tmp_path, config(keys=[f"file:{secret}"])).start().wait_ready() as g:
        api = g.status()["api"]
        assert ask(api, key="first") == "hello"
        secret.write_text("second\n")
        assert "api.keys (secret)" in reload(g).stdout
        assert ask(api, key="first") == 401 and ask(api, key="second") == "hello"
        secret.unlink()
        assert str(secret) in reload(g, code=78).stderr
        assert ask(api, key="second") == "hello"
        # Nor is it restarted with a configuration that it could not start with.
        before = incarnation(g)
        refused = g.run("gateway", "restart", check=False)
        assert refused.returncode == 78 and str(secret) in refused.stderr
        assert incarnation(g) == before


def test_the_api_moves_and_answers_where_it_was_asked(tmp_path):
    os.mkfifo(tmp_path / "release")
    slow = '[agent.slow]\nkind = "command"\ncommand = ["/bin/sh", "-c", "touch begun; cat release; cat"]\n'
    first, second, path = free_port(), free_port(), f"unix:{tmp_path}/api.sock"
    with gateway(tmp_path, config(listen=f"127.0.0.1:{first}", more=slow)).start().wait_ready() as g:
        answers = []
        asker = threading.Thread(target=lambda: answers.append(ask(f"127.0.0.1:{first}", "patience", "slow")))
        asker.start()
        wait_until((tmp_path / "begun").exists, what="running turn")
        reload(g, config(listen=f"127.0.0.1:{second}", more=slow))
        assert g.status()["api"] == f"127.0.0.1:{second}" and ask(f"127.0.0.1:{second}") == "hello"
        with pytest.raises(ConnectionRefusedError):
            ask(f"127.0.0.1:{first}")
        (tmp_path / "release").write_text("")
        asker.join(20)
        assert answers == ["patience"], "the exchange at the old address was cut off"
        # The same port on all addresses: the old socket is in the way of the new one.
        public = "allow_public = true\n"
        reload(g, config(listen=f"0.0.0.0:{second}").replace("[api]\n", "[api]\n" + public))
        assert ask(f"127.0.0.2:{second}") == "hello"
        reload(g, config(listen=path))
        assert ask(path) == "hello"
        with pytest.raises(ConnectionRefusedError):
            ask(f"127.0.0.1:{second}")
        reload(g, config(listen=None))
        assert g.status()["api"] is None and not (tmp_path / "api.sock").exists()
        reload(g, config(listen=f"127.0.0.1:{first}"))
        assert ask(f"127.0.0.1:{first}") == "hello"


def test_a_hangup_while_starting_is_not_forgotten(tmp_path):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        api = f"127.0.0.1:{holder.getsockname()[1]}"
        with gateway(tmp_path, config(listen=api)).start() as g:
            wait_until(lambda: "waiting for" in ((g.try_status() or {}).get("detail") or ""), what="a start that waits")
            g.config.write_text(config(listen=api, agents=["default", "up"]))
            early = g.run("gateway", "reload", check=False)
            assert early.returncode == 75 and "starting" in early.stderr, early.stderr
            g.process.send_signal(signal.SIGHUP)
            holder.close()
            g.wait_ready()
            wait_until(lambda: agents_of(api) == ["default", "up"], 10, "the later configuration")


def test_nobody_to_reload(tmp_path):
    done = gateway(tmp_path).run("gateway", "reload", check=False)
    assert done.returncode == 75 and "does not run" in done.stderr


@pytest.mark.torture
def test_right_and_wrong_configurations_under_load(tmp_path):
    """Random configurations while requests run: none is lost, and what is in force is always the last right one."""
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    api = f"127.0.0.1:{free_port()}"
    served, failures, stop = [0], [], threading.Event()

    def load():
        connection = http.client.HTTPConnection(api, timeout=30)
        body = json.dumps({"model": "default", "messages": [{"role": "user", "content": "hello"}]})
        while not stop.is_set():
            try:
                connection.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {KEY}"})
                answer = connection.getresponse()
                text = answer.read()
                if answer.status != 200 or b"hello" not in text.lower():
                    failures.append((answer.status, text[:200]))
                served[0] += 1
            except OSError as e:
                failures.append(repr(e))
                connection.close()

    def right():
        agents = ["default", *chance.sample(["a", "b", "up1", "up2"], chance.randrange(5))]
        keys = ["env:KEY", *chance.sample(["env:OTHER"], chance.randrange(2))]
        default = chance.choice(['kind = "echo"\n', 'kind = "command"\ncommand = ["/usr/bin/tr", "a-z", "A-Z"]\n',
                                 'kind = "command"\ncommand = ["/bin/cat"]\n'])
        text = config(listen=api, keys=keys, agents=agents[1:], more=f"[agent.default]\n{default}",
                      gateway=f"max_concurrent_turns = {chance.randrange(1, 20)}")
        return text, sorted(agents), "env:OTHER" in keys

    def wrong():
        return chance.choice([
            right()[0] + '[agent.oops]\nkind = "oracle"\n',
            right()[0].replace('"env:KEY"', '"env:KEY", "env:NOT_THERE"'),
            right()[0].replace(api, "127.0.0.1:1" if os.geteuid() else "192.0.2.1:80"),
            right()[0][: chance.randrange(60)] + "= [",
        ])

    text, agents, other = right()
    with gateway(tmp_path, text).start().wait_ready() as g:
        before = incarnation(g)
        askers = [threading.Thread(target=load) for _ in range(4)]
        for asker in askers:
            asker.start()
        number = rounds(100, 5000)
        for _ in range(number):
            if chance.random() < 0.5:
                text, agents, other = right()
                reload(g, text)
            else:
                reload(g, wrong(), code=78)
            assert agents_of(api) == agents, f"seed {seed}"
            assert (agents_of(api, "other-key") == agents) == other, f"seed {seed}"
        stop.set()
        for asker in askers:
            asker.join(60)
        assert failures == [], f"seed {seed}"
        assert incarnation(g) == before
        report("reload under load", reloads=number, requests=served[0], lost=len(failures), seed=seed)
