"""What `talaria send` says of a message whose receipt it does not see, and how: scripts send again on 75, and only then."""

import json
import socket
import subprocess
import threading

import pytest

from support.talaria import Gateway, binary, wait_until

CONFIG = """
[gateway]
drain_timeout = "1s"
[agent.default]
kind = "echo"
[channel.out]
kind = "webhook"
url = "{url}"
sign_secret = "env:SIGN_SECRET"
"""


def profile(home, url):
    return Gateway(home, CONFIG.format(url=url), env={"SIGN_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"})


@pytest.fixture
def gateway(tmp_path, receiver):
    with profile(tmp_path, receiver.url).start().wait_ready() as gateway:
        yield gateway


def begin(gateway, *options):
    return subprocess.Popen([binary(), "send", "--to", "out:room", *options, "once"], env=gateway.env, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(sending):
    _, said = sending.communicate(timeout=30)
    return sending.returncode, said


def test_a_stop_answers_who_waits_that_the_message_is_stored(gateway, receiver):
    receiver.answers = [503] * 100
    sending = begin(gateway)
    wait_until(lambda: receiver.requests, 10, "first attempt")
    gateway.run("gateway", "stop")
    code, said = end(sending)
    assert code == 74 and "stored as " in said and "outbox list" in said, said
    receiver.answers = []
    gateway.start().wait_ready()
    wait_until(lambda: receiver.taken, 30, "delivery")


def test_a_gateway_that_is_killed_may_have_taken_it(gateway, receiver):
    receiver.answers = [503] * 100
    sending = begin(gateway)
    wait_until(lambda: receiver.requests, 10, "first attempt")
    gateway.kill9()
    code, said = end(sending)
    assert code == 74 and "was lost after the request was sent" in said and "outbox list" in said, said
    assert "does not run" not in said


def test_a_receipt_that_is_late_is_no_reason_to_send_again(gateway, receiver):
    receiver.answers = [503] * 100
    code, said = end(begin(gateway, "--timeout", "500ms"))
    assert code == 74 and "stored as " in said, said


def test_what_is_dead_says_how_to_try_again(gateway, receiver):
    receiver.answers = [410]
    code, said = end(begin(gateway))
    (dead,) = json.loads(gateway.run("outbox", "list", "--json").stdout)["outbox"]
    assert code == 1 and f"talaria outbox retry {dead['id']}" in said, said


def test_nothing_was_sent_when_nobody_runs(tmp_path):
    code, said = end(begin(profile(tmp_path, "http://127.0.0.1:1/")))
    assert code == 75 and "does not run" in said, said


def test_an_answer_that_is_too_long_is_called_so(tmp_path):
    gateway = profile(tmp_path, "http://127.0.0.1:1/")
    (tmp_path / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "run" / "control.sock"))
        listener.listen()

        def answer():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n{")
                connection.recv(1)

        thread = threading.Thread(target=answer)
        thread.start()
        done = gateway.run("sessions", "list", check=False)
        thread.join(10)
    assert done.returncode == 1
    assert "too long" in done.stderr and "does not run" not in done.stderr
