"""Runs a command as PID 1 of a PID namespace of its own, with its own /proc, and ends as it does: as little of a container as the
gateway can tell from one.

container_runtime.py COMMAND [ARGUMENT…]    signals that come from here have ssi_pid 0 inside
"""

import os
import resource
import signal
import sys

from lab_syscalls import CLONE_NEWNS, CLONE_NEWPID, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_PRIVATE, MS_REC, die_with_parent, mount, unshare


def main():
    unshare(CLONE_NEWPID | CLONE_NEWNS)
    here = os.pidfd_open(os.getpid())
    child = os.fork()
    if child == 0:
        die_with_parent(signal.SIGKILL, here)
        mount(None, "/", None, MS_REC | MS_PRIVATE)
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        os.execvp(sys.argv[1], sys.argv[1:])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main()
