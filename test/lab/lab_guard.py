"""Holds one lab from its first process to its last.

The guard is the parent of the lab and a process of its own, so that the lab is torn down whatever becomes of the test: it reads its
standard input, and the end of that (the test closed it, ended, was killed) ends the lab. Should the guard itself be killed, the kernel
kills the lab's PID 1 with it, and the empty cgroup directory is swept by the next guard.

Prints one JSON line, {"init": PID, "cgroup": DIRECTORY}, when the lab's PID 1 runs.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time

from lab_syscalls import die_with_parent

PREFIX = "talaria-lab-"


def cgroup_root():
    """Where this machine mounts cgroup v2, or None."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            before, after = line.split(" - ", 1)
            if after.startswith("cgroup2 "):
                return before.split()[4]
    return None


def start_time(pid):
    """Field 22 of /proc/PID/stat (proc(5)); None: no such process, or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def remove_tree(directory):
    """Removes a cgroup and those below it. False: one of them still has a process."""
    for path, _, _ in os.walk(directory, topdown=False):
        try:
            os.rmdir(path)
        except FileNotFoundError:
            pass
        except OSError:
            return False
    return True


def has_processes(directory):
    try:
        with open(f"{directory}/cgroup.events", encoding="ascii") as file:
            return "populated 1" in file.read()
    except FileNotFoundError:
        return False


def sweep(root):
    """Removes what guards that were killed left behind. A guard that can't be found may run in another PID namespace; then its lab lives."""
    for name in os.listdir(root):
        if name.startswith(PREFIX):
            pid, _, since = name.removeprefix(PREFIX).partition("-")
            directory = os.path.join(root, name)
            if start_time(pid) != since and not has_processes(directory):
                remove_tree(directory)


def start(directory, settings):
    guard = os.pidfd_open(os.getpid())

    def become_member():
        die_with_parent(signal.SIGKILL, guard)
        with open(f"{directory}/cgroup.procs", "w", encoding="ascii") as file:
            file.write("0")

    init = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lab_init.py")
    command = [sys.executable, "-B", init, json.dumps(settings)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, preexec_fn=become_member)


def first_child(process):
    while process.poll() is None:
        with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as file:
            children = file.read().split()
        if children:
            return int(children[0])
        time.sleep(0.001)
    raise SystemExit(f"lab_init.py ended with {process.returncode}")


def end(process, init, directory):
    # PID 1 first: its whole namespace ends with it, and each process is reaped by its own parent, be that inside or out here. PID 1's
    # parent ends when PID 1 has, which is when the namespace is empty.
    try:
        os.kill(init, signal.SIGKILL)
        process.wait(timeout=10)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        process.kill()
        process.wait()
    with open(f"{directory}/cgroup.kill", "w", encoding="ascii") as file:
        file.write("1")
    deadline = time.monotonic() + 20
    while not remove_tree(directory):
        if time.monotonic() > deadline:
            raise SystemExit(f"{directory} still has processes: {open(directory + '/cgroup.procs', encoding='ascii').read().split()}")
        time.sleep(0.005)


def main():
    settings = json.loads(sys.argv[1])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the end of standard input is what counts
        signal.signal(number, signal.SIG_IGN)
    root = cgroup_root()
    sweep(root)
    directory = f"{root}/{PREFIX}{os.getpid()}-{start_time(os.getpid())}"
    os.mkdir(directory)
    process, init = None, 0
    try:
        process = start(directory, settings)
        init = first_child(process)
        print(json.dumps({"init": init, "cgroup": directory}), flush=True)
        pidfd = os.pidfd_open(process.pid)
        select.select([sys.stdin, pidfd], [], [])
    finally:
        if init:
            end(process, init, directory)
        else:
            remove_tree(directory)


if __name__ == "__main__":
    main()
