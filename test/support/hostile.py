"""Processes that a gateway must not be fooled by: one with a PID of our choice, a zombie, one whose event loop hangs."""

import contextlib
import ctypes
import os
import pathlib
import signal
import struct
import subprocess
import time

_libc = ctypes.CDLL(None, use_errno=True)
_SYS_CLONE3 = 435


def sleep_with_pid(pid, seconds=600):
    """Runs `sleep` as process `pid` (clone3 with set_tid, clone(2); needs root). None: somebody else has that PID now."""
    tids = (ctypes.c_int * 1)(pid)
    # struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup
    arguments = ctypes.create_string_buffer(struct.pack("11Q", 0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, ctypes.addressof(tids), 1, 0))
    child = _libc.syscall(_SYS_CLONE3, arguments, len(arguments.raw) - 1)
    if child == 0:
        with contextlib.suppress(OSError):
            os.execv("/usr/bin/sleep", ["sleep", str(seconds)])
        os._exit(127)
    if child < 0:
        number = ctypes.get_errno()
        if number == 17:  # EEXIST
            return None
        raise OSError(number, f"clone3 with set_tid {pid}: {os.strerror(number)}")
    return child


def state_of(pid):
    """One letter of /proc/PID/stat: R, S, T, Z …; None: there is no such process."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return None


HANG = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>
/* The event loop hangs as soon as the file named by HANG_FILE exists: it takes neither connections nor signals. */
int epoll_wait(int fd, struct epoll_event *events, int max, int timeout) {
  static int (*real)(int, struct epoll_event *, int, int);
  const struct timespec second = {1, 0};
  if (!real) real = dlsym(RTLD_NEXT, "epoll_wait");
  const char *file = getenv("HANG_FILE");
  const int result = real(fd, events, max, timeout);
  while (file && access(file, F_OK) == 0) nanosleep(&second, 0);
  return result;
}
"""


def hang_library(directory):
    """Builds the library; use it with LD_PRELOAD and HANG_FILE."""
    source, library = pathlib.Path(directory) / "hang.c", pathlib.Path(directory) / "hang.so"
    source.write_text(HANG, encoding="ascii")
    subprocess.run(["clang-19", "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    return library


class Zombie:
    """A child that is killed and whose parent (a process of its own) doesn't wait for it. `command` runs as that child."""

    def __init__(self, command, **more):
        script = ("import subprocess, sys, time\n"
                  "child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)\n"
                  "print(child.pid, flush=True)\n"
                  "time.sleep(1000)\n")
        self.parent = subprocess.Popen(["/usr/bin/python3", "-c", script, *map(str, command)], stdout=subprocess.PIPE, text=True, **more)
        self.pid = int(self.parent.stdout.readline())

    def die(self):
        os.kill(self.pid, signal.SIGKILL)
        while state_of(self.pid) != "Z":
            time.sleep(0.001)

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.parent.kill()
        self.parent.wait()
        self.parent.stdout.close()
