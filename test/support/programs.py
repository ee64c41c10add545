"""Programs to upgrade to: new versions of the binary under test, and broken ones of every kind.

A new version is a copy whose version string is another one of the same length, so that there is no back door in the product.
"""

import itertools
import os
import re
import subprocess
from pathlib import Path

from support.talaria import binary

_count = itertools.count(1)


def version_of(program):
    return subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout.split()[1]


def write_program(path, content, mode=0o755):
    """In one step, as an installer does: the file that runs stays what it is."""
    path = Path(path)
    temporary = path.with_name(path.name + ".new")
    temporary.write_bytes(content if isinstance(content, bytes) else content.encode())
    temporary.chmod(mode)
    os.replace(temporary, path)
    return path


def new_version(path, number):
    """A copy of the binary that calls itself version 0.N.M; returns that version."""
    old = version_of(binary())
    version = f"{number // 10 % 10}.{number % 10}"
    version = old[:2] + version if re.fullmatch(r"0\.\d\.\d", old) else None
    assert version, f"a version like 0.1.0 is needed, this one is {old}"
    image = binary().read_bytes()
    assert image.count(old.encode() + b"\0"), "the version stands in the binary as a text of its own"
    write_program(path, image.replace(old.encode() + b"\0", version.encode() + b"\0"))
    return version


def _other_machine(image):
    return image[:18] + b"\xf3\x00" + image[20:]  # e_machine (elf(5)): RISC-V


# What a broken program is, and words of the reason for its refusal.
BROKEN = {
    "garbage": (lambda image: (os.urandom(4096), 0o755), ""),
    "empty": (lambda image: (b"", 0o755), ""),
    "not executable": (lambda image: (image, 0o644), "not executable"),
    "another machine": (lambda image: (_other_machine(image), 0o755), ""),
    "cut short": (lambda image: (image[:len(image) // 3], 0o755), ""),
    "exits 1": (lambda image: ("#!/bin/sh\nexit 1\n", 0o755), "exit code 1"),
    "dies": (lambda image: ("#!/bin/sh\nkill -SEGV $$\n", 0o755), "signal 11"),
    "nonsense": (lambda image: ("#!/bin/sh\necho ready to serve\n", 0o755), "no self-check"),
    "chatter": (lambda image: ("#!/bin/sh\nexec /usr/bin/yes\n", 0o755), ""),
    "older schema": (lambda image: ('#!/bin/sh\necho \'{"talaria":"self-check","version":"0.0.9","ok":0,"why":"store","reason":'
                                    '"the store has schema version 2, this program knows 1"}\'\nexit 1\n', 0o755), "schema version"),
    "older handover": (lambda image: ('#!/bin/sh\necho "unknown command self-check" >&2\nexit 64\n', 0o755), "exit code 64"),
}
HANGS = "#!/bin/sh\nexec /bin/sleep 1000\n"


def broken(path, kind):
    """Writes it; returns words that its refusal has."""
    make, words = BROKEN[kind]
    content, mode = make(binary().read_bytes())
    write_program(path, content, mode)
    return words
