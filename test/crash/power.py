"""A power cut: the machine forgets everything that was written and not yet synced.

The gateway runs once under the tracer, which records every write, every sync and everything that was sent to others, in order. From
the record a disk is rebuilt as it was at any moment, in two ways:

    forgetful   only what an fsync or fdatasync had confirmed is there; of a directory only the names that an fsync of the directory
                had confirmed
    torn        of what was not confirmed, some sectors of 512 bytes got to the disk and others did not, at random; of names likewise

What a sync confirms is what had been written when it began. The real gateway then starts on that disk, and the judge compares with what
others had been told up to that moment. The longest that a disk lags behind what was told is right before the next sync is confirmed: those
are the moments that are tried.

SQLite's -shm file is memory, not disk (https://sqlite.org/walformat.html), and is never there.
"""

import dataclasses
import os
import pathlib
import random
import re
import struct

from platforms import Entry

HEAD = struct.Struct("<BiiqI")  # of tracer.cpp's write_record()
SECTOR = 512
# x86_64 and aarch64 differ; the names are those of the tracer's table.
NAMES = {"x86_64": {1: "write", 18: "pwrite64", 20: "writev", 44: "sendto", 46: "sendmsg", 74: "fsync", 75: "fdatasync", 77: "ftruncate",
                    257: "openat", 2: "open", 82: "rename", 264: "renameat", 316: "renameat2", 87: "unlink", 263: "unlinkat", 83: "mkdir",
                    258: "mkdirat", 285: "fallocate", 296: "pwritev"},
         "aarch64": {64: "write", 68: "pwrite64", 66: "writev", 206: "sendto", 211: "sendmsg", 82: "fsync", 83: "fdatasync", 46: "ftruncate",
                     56: "openat", 38: "renameat", 276: "renameat2", 35: "unlinkat", 34: "mkdirat", 47: "fallocate", 70: "pwritev"}}


@dataclasses.dataclass
class Step:
    begins: bool  # the call begins; else it has ended
    thread: int
    name: str
    result: int
    inode: int = 0
    position: int = 0
    appends: bool = False
    target: str = ""
    data: bytes = b""


def read_record(path: pathlib.Path) -> list[Step]:
    names = NAMES[os.uname().machine]
    raw = path.read_bytes()
    steps, at = [], 0
    while at + HEAD.size <= len(raw):
        phase, thread, number, result, size = HEAD.unpack_from(raw, at)
        about = raw[at + HEAD.size:at + HEAD.size + size]
        at += HEAD.size + size
        step = Step(phase == 0, thread, names.get(number, ""), result)
        if about:
            head, _, step.data = about.partition(b"\0")
            inode, position, appends, target = head.decode().split(" ", 3)
            step.inode, step.position, step.appends, step.target = int(inode), int(position), appends == "1", target
        steps.append(step)
    return steps


@dataclasses.dataclass
class File:
    content: bytes = b""
    durable: bytes = b""


class Disk:
    """The files below `root`, as they are and as they would be after a power cut. Begins with what is there, all of it durable."""

    def __init__(self, root: pathlib.Path):
        self.root = str(root)
        self.files: dict[int, File] = {}
        self.names: dict[str, int] = {}
        self.durable_names: dict[str, int] = {}
        self.folders = {self.root, *(str(p) for p in root.rglob("*") if p.is_dir())}
        self.durable_folders = set(self.folders)
        self._begun: dict[int, tuple[Step, object]] = {}
        for path in root.rglob("*"):
            if path.is_file() and not path.name.endswith("-shm"):
                content = path.read_bytes()
                self.files[path.stat().st_ino] = File(content, content)
                self.names[str(path)] = path.stat().st_ino
        self.durable_names = dict(self.names)

    def _ours(self, path: str) -> bool:
        return path.startswith(self.root + "/") and not path.endswith("-shm")

    def take(self, step: Step) -> bool:
        """Applies one step; True when it changed what is durable."""
        if step.begins:
            before = None
            if step.name in ("fsync", "fdatasync"):
                before = (dict(self.names), set(self.folders)) if step.target in self.folders else \
                    self.files[step.inode].content if step.inode in self.files else None
            self._begun[step.thread] = (step, before)
            return False
        begun, before = self._begun.pop(step.thread, (None, None))
        if begun is None or step.result < 0:
            return False
        paths = begun.data.decode(errors="replace").split("\0") if begun.name.startswith(("open", "rename", "unlink", "mkdir")) else []
        if begun.name in ("open", "openat"):
            self._opened(step, paths[0], begun.position)
        elif begun.name.startswith("rename") and self._ours(paths[1]):
            self.names[paths[1]] = self.names.pop(paths[0])
        elif begun.name.startswith("unlink"):
            self.names.pop(paths[0], None)
        elif begun.name.startswith("mkdir"):
            self.folders.add(paths[0])
        elif begun.inode in self.files and self._ours(begun.target.removesuffix(" (deleted)")):
            return self._changed(begun, before, step.result)
        elif begun.name in ("fsync", "fdatasync") and begun.target in self.folders:
            names, folders = before
            inside = begun.target + "/"
            def directly(path):
                return path.startswith(inside) and "/" not in path[len(inside):]
            self.durable_names = {p: i for p, i in self.durable_names.items() if not directly(p)} | \
                {p: i for p, i in names.items() if directly(p)}
            self.durable_folders |= {p for p in folders if directly(p)}
            return True
        return False

    def _opened(self, step: Step, path: str, flags: int) -> None:
        if not self._ours(path) or path in self.folders:
            return
        if self.names.get(path) != step.inode:
            self.names[path] = step.inode
            self.files[step.inode] = File()
        elif flags & os.O_TRUNC:
            self.files[step.inode].content = b""

    def _changed(self, call: Step, before, result: int) -> bool:
        file = self.files[call.inode]
        if call.name in ("write", "pwrite64", "writev", "pwritev"):
            if call.name == "pwritev":
                raise NotImplementedError("where pwritev writes is not recorded")
            at = len(file.content) if call.appends else call.position
            data = call.data[:result]
            file.content = file.content[:at].ljust(at, b"\0") + data + file.content[at + len(data):]
        elif call.name == "ftruncate":
            file.content = file.content[:call.position].ljust(call.position, b"\0")
        elif call.name == "fallocate":
            raise NotImplementedError("fallocate of a file that matters")
        elif call.name in ("fsync", "fdatasync"):
            file.durable = before
            return True
        return False

    def write_out(self, folder: pathlib.Path, torn: random.Random | None) -> None:
        """Makes `folder` what the disk's root would be after a power cut now."""
        names = dict(self.durable_names)
        folders = set(self.durable_folders)
        if torn:
            # A rename is one step for the disk, too; names come and go independently otherwise.
            for path in sorted(set(self.names) | set(names)):
                if torn.random() < 0.5:
                    names.pop(path, None)
                    if path in self.names:
                        names[path] = self.names[path]
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in sorted(folders - {self.root}, key=len):
            (folder / path[len(self.root) + 1:]).mkdir(mode=0o700, exist_ok=True)
        for path, inode in names.items():
            if os.path.dirname(path) not in folders:
                continue
            out = folder / path[len(self.root) + 1:]
            out.write_bytes(self._mixed(self.files[inode], torn) if torn else self.files[inode].durable)
            out.chmod(0o600)

    @staticmethod
    def _mixed(file: File, torn: random.Random) -> bytes:
        if file.content == file.durable:
            return file.durable
        size = torn.choice((len(file.content), len(file.durable)))
        mixed = b""
        for at in range(0, size, SECTOR):
            source = torn.choice((file.content, file.durable))
            mixed += source[at:min(at + SECTOR, size)].ljust(min(SECTOR, size - at), b"\0")
        return mixed


class Told:
    """What others have been told, out of what was sent: IRC replies, and whole HTTP answers by their prompt."""

    def __init__(self):
        self.replies: list[Entry] = []
        self.answers: dict[str, str] = {}
        self._sockets: dict[str, str] = {}

    def take(self, step: Step) -> None:
        if not step.begins or step.name not in ("write", "sendto", "sendmsg", "writev") or not step.target.startswith("socket:"):
            return
        text = self._sockets.get(step.target, "") + step.data.decode(errors="replace")
        # Lines of IRC; the last may be a part of one.
        for who, line in re.findall(r"^PRIVMSG (\S+) :(.*)\r\n", text, re.MULTILINE):
            self.replies.append(Entry("reply", who, line))
        if not text.startswith("HTTP/1.1 200"):
            self._sockets[step.target] = "" if text.endswith("\n") else text
            return
        self._sockets[step.target] = text
        if "text/event-stream" in text:
            if "data: [DONE]" not in text:
                return
            content = "".join(re.findall(r'"delta":\{[^}]*"content":"([^"]*)"', text))
        else:
            found = re.search(r'"content":"([^"]*)"', text)
            content = found.group(1) if found else ""
        if " for the " in content:
            self.answers[content.partition(" for the ")[0]] = content.strip()
            self._sockets[step.target] = ""
