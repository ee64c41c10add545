"""What a process is to end with when nobody can read its words."""

import os
import signal
import subprocess
import time

import pytest

from support.talaria import Gateway, binary

WRONG = "[agent.default]\nkind = \"nonsense\"\n"
RIGHT = "[agent.default]\nkind = \"echo\"\n"


def full_disk():
    return os.open("/dev/full", os.O_WRONLY)


def pipe_without_reader():
    reader, writer = os.pipe()
    os.close(reader)
    return writer


readers = []  # kept: a pipe whose reader is gone is another matter


def full_pipe():
    reader, writer = os.pipe()
    readers.append(reader)
    os.set_blocking(writer, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writer, b"x" * 65536)
    return writer


def run(gateway, *arguments, **streams):
    """Exit code of a command whose streams are made by the functions above; what it wrote to others."""
    made = {name: make() for name, make in streams.items()}
    rest = {name: subprocess.PIPE for name in ("stdout", "stderr") if name not in made}
    try:
        return subprocess.run([binary(), *arguments], env=gateway.env, cwd=gateway.home, stdin=subprocess.DEVNULL, timeout=30,
                              **made, **rest,
                              # As under a service manager; Python's own children would die of it.
                              preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_IGN), restore_signals=False)
    finally:
        for fd in made.values():
            os.close(fd)


@pytest.mark.parametrize("stderr", [full_disk, pipe_without_reader, full_pipe])
def test_a_wrong_configuration_stays_78(tmp_path, stderr):
    gateway = Gateway(tmp_path, WRONG)
    assert run(gateway, "gateway", "run", stderr=stderr).returncode == 78
    assert run(gateway, "config", "check", stderr=stderr).returncode == 78


@pytest.mark.parametrize("stderr", [full_disk, pipe_without_reader, full_pipe])
def test_a_taken_home_stays_73(tmp_path, stderr):
    with Gateway(tmp_path, RIGHT).start().wait_ready() as gateway:
        assert run(gateway, "gateway", "run", stderr=stderr).returncode == 73


@pytest.mark.parametrize("stderr", [full_disk, pipe_without_reader, full_pipe])
def test_a_wrong_command_line_stays_64(tmp_path, stderr):
    assert run(Gateway(tmp_path, RIGHT), "confg", stderr=stderr).returncode == 64


def test_a_last_word_that_blocks_does_not_hold_up_the_end(tmp_path):
    with Gateway(tmp_path, "[gateway]\ndrain_timeout = \"0s\"\n" + RIGHT).start().wait_ready() as gateway:
        writer = full_pipe()
        os.set_blocking(writer, True)
        began = time.monotonic()
        second = subprocess.run([binary(), "gateway", "run"], env=gateway.env, stdin=subprocess.DEVNULL, stderr=writer, timeout=60)
        os.close(writer)
        assert second.returncode == 73, f"after {time.monotonic() - began:.1f} s"


@pytest.mark.parametrize("command", [("version",), ("man",)])
def test_output_that_is_not_taken_is_no_success(tmp_path, command):
    gateway = Gateway(tmp_path, RIGHT)
    lost = run(gateway, *command, stdout=full_disk)
    assert lost.returncode == 1
    assert lost.stderr == b"talaria: standard output could not be written: No space left on device\n"
    closed = run(gateway, *command, stdout=pipe_without_reader)
    assert (closed.returncode, closed.stderr) == (1, b"")
    assert run(gateway, *command, stdout=full_disk, stderr=full_disk).returncode == 1


def test_a_chat_whose_answers_are_not_taken_ends(tmp_path):
    with Gateway(tmp_path, RIGHT).start().wait_ready() as gateway, open("/dev/full", "wb") as full:
        lost = subprocess.run([binary(), "chat"], env=gateway.env, input=b"one\ntwo\n", stdout=full, stderr=subprocess.PIPE, timeout=30)
    assert lost.returncode == 1
    assert b"could not be written" in lost.stderr
