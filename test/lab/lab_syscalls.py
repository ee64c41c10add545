"""The few system calls that the lab needs and Python 3.11 does not have. Every failure is an OSError that names the call."""

import ctypes
import os
import select

_libc = ctypes.CDLL(None, use_errno=True)

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x1, 0x2, 0x4, 0x8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 0x20, 0x1000, 0x4000, 0x40000
MNT_DETACH = 2
CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
PR_SET_PDEATHSIG = 1
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41}


def _check(result, what):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _bytes(text):
    return None if text is None else os.fsencode(text)


def mount(source, target, kind=None, flags=0, data=None):
    result = _libc.mount(_bytes(source), _bytes(target), _bytes(kind), ctypes.c_ulong(flags), _bytes(data))
    _check(result, f"mount {kind or source} on {target}")


def umount(target, flags=0):
    _check(_libc.umount2(_bytes(target), flags), f"umount {target}")


def pivot_root(new, old):
    number = _SYS_PIVOT_ROOT[os.uname().machine]
    _check(_libc.syscall(number, _bytes(new), _bytes(old)), f"pivot_root {new}")


def setns(fd, kind):
    _check(_libc.setns(fd, kind), "setns")


def unshare(kinds):
    _check(_libc.unshare(kinds), "unshare")


def die_with_parent(signal_number, parent):
    """The kernel sends the signal when the parent ends. `parent`, its pidfd, closes the race with one that ended before the call."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")
    if select.select([parent], [], [], 0)[0]:
        os._exit(1)
