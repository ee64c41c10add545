"""`talaria chat`: answers on a terminal and in a pipe."""

import os
import subprocess

from support.talaria import Gateway, binary

CONFIG = "[agent.default]\nkind = \"echo\"\n"
TRICK = "Grüße\x1b]0;mine\x07 \x9b2J\tend"  # the title; and U+009B, which terminals take for ESC [


def test_a_terminal_gets_no_control_sequences_of_the_models(tmp_path):
    with Gateway(tmp_path, CONFIG).start().wait_ready() as gateway:
        controller, terminal = os.openpty()
        subprocess.run([binary(), "chat"], env=gateway.env, input=TRICK.encode(), stdout=terminal, timeout=30, check=True)
        os.close(terminal)
        shown = b""
        try:
            while piece := os.read(controller, 4096):
                shown += piece
        except OSError:  # read to the end
            pass
        os.close(controller)
    assert "Grüße" in shown.decode() and "end" in shown.decode(), shown
    assert b"\x1b" not in shown and b"\xc2\x9b" not in shown and b"\x07" not in shown, shown
    assert rb"\x1b]0;mine\x07 \xc2\x9b2J" in shown, shown


def test_a_pipe_gets_the_answer_as_it_is(tmp_path):
    with Gateway(tmp_path, CONFIG).start().wait_ready() as gateway:
        done = subprocess.run([binary(), "chat"], env=gateway.env, input=TRICK.encode(), stdout=subprocess.PIPE, timeout=30, check=True)
    assert done.stdout.decode() == TRICK + "\n"
