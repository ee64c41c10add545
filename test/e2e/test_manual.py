"""The manual page is valid roff and names every command."""

import subprocess

from support.talaria import binary


def test_the_manual_formats_without_a_warning_and_names_every_command():
    page = subprocess.run([binary(), "man"], capture_output=True, text=True, check=True).stdout
    formatted = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-P-c"], input=page, capture_output=True, text=True, check=True)
    assert formatted.stderr == ""
    for command in ("gateway run", "gateway history", "outbox retry", "config explain", "sessions export", "send", "chat"):
        assert command in formatted.stdout
    assert "announce-stop" not in formatted.stdout, "hooks of the unit are not for people"
