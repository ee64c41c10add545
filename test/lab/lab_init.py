"""PID 1 of a lab: builds a private root and becomes systemd.

It has mount, PID, cgroup, UTS, IPC and network namespaces of its own, in the cgroup directory that it is started in. The root it builds is an
overlay: the machine's own files below, an empty tmpfs above. So everything that is installed here is there, whatever is written
is seen by the lab alone, and all of it is gone with the last process of the namespace. Nothing of the machine's own set-up takes
part in the boot: no fstab, no enabled units, no generators, no writable sysctl.
"""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys

from lab_syscalls import (
    CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUTS, MNT_DETACH, MS_BIND, MS_NODEV, MS_NOEXEC,
    MS_NOSUID, MS_PRIVATE, MS_RDONLY, MS_REC, MS_REMOUNT, die_with_parent, mount, pivot_root, setns, umount, unshare)

# Where the machine has one of these on a file system of its own, that one is overlaid too. Anything else that is mounted somewhere
# (a home, a data disk) is not part of the lab.
OWN_FILE_SYSTEMS = ("usr", "usr/local", "etc", "var", "opt")

TARGET = """[Unit]
Description=What a lab boots
Requires=basic.target dbus.socket systemd-logind.service
After=basic.target dbus.socket systemd-logind.service
AllowIsolate=yes
"""

# What would touch the machine's kernel, or do work that no test waits for.
MASKED = (
    "modprobe@.service", "systemd-modules-load.service", "kmod-static-nodes.service", "proc-sys-fs-binfmt_misc.automount",
    "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-kernel-config.mount", "sys-fs-fuse-connections.mount",
    "dev-hugepages.mount", "systemd-resolved.service", "systemd-timesyncd.service", "systemd-networkd.service",
    "timers.target", "getty.target", "remote-fs.target")

# Everything that is logged must be there when a test looks for it.
JOURNALD = """[Journal]
Storage=volatile
RateLimitIntervalSec=0
ForwardToSyslog=no
ForwardToConsole=no
"""


def build_root():
    """Leaves the process inside the new root, the old one unmounted."""
    # A chroot (a debootstrap tree, say) is not a mount point, and pivot_root(2) wants one. Entering our own mount namespace again leads
    # to its real root; the directory that we came from stays reachable by its descriptor.
    below = os.open("/", os.O_PATH | os.O_DIRECTORY)
    own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        mounted = {line.split()[4] for line in file}
    own_file_systems = [name for name in OWN_FILE_SYSTEMS if "/" + name in mounted]
    setns(own, CLONE_NEWNS)
    os.close(own)
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    os.fchdir(below)
    os.close(below)

    mount("lab", "run", "tmpfs", MS_NOSUID, "mode=0700")
    os.mkdir("run/root")
    overlay(".", "run/root", "run/upper")
    for name in own_file_systems:
        overlay(name, f"run/root/{name}", "run/upper-" + name.replace("/", "-"))

    os.chdir("run/root")
    mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for name in ("proc/sys", "proc/sysrq-trigger"):  # the kernel is the machine's
        if os.path.exists(name):
            mount(name, name, None, MS_BIND)
            mount(None, name, None, MS_BIND | MS_REMOUNT | MS_RDONLY)
    mount("sysfs", "sys", "sysfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("cgroup2", "sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("tmpfs", "run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")
    mount("tmpfs", "tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    build_dev()

    pivot_root(".", ".")
    umount(".", MNT_DETACH)
    os.chdir("/")


def overlay(below, target, scratch):
    os.makedirs(scratch + "/upper")
    os.makedirs(scratch + "/work")
    shutil.copystat(below, scratch + "/upper")
    options = f"lowerdir={below},upperdir={scratch}/upper,workdir={scratch}/work"
    mount("overlay", target, "overlay", 0, options)


def make_node(name, path):
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.stat(f"/dev/{name}").st_rdev)
        os.chmod(path, 0o666)
    except PermissionError:  # a container that may not make any
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o666))
        mount(f"/dev/{name}", path, None, MS_BIND)


def build_dev():
    # The machine's nodes are looked at before a tmpfs hides them. Nodes, not mounts of them: each mount would make every sandbox
    # slower than it is on a real machine.
    os.mkdir("tmp/dev")
    mount("tmpfs", "tmp/dev", "tmpfs", MS_NOSUID, "mode=0755")
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        make_node(name, f"tmp/dev/{name}")
    os.mkdir("tmp/dev/pts")
    mount("devpts", "tmp/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620")
    for link, target in (("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(target, f"tmp/dev/{link}")
    mount("tmp/dev", "dev", None, MS_BIND | MS_REC)
    umount("tmp/dev", MNT_DETACH)
    os.rmdir("tmp/dev")


def furnish(user, uid):
    """Replaces the machine's set-up in the private root."""
    for directory in ("/etc/systemd/system", "/etc/systemd/user", "/etc/tmpfiles.d", "/etc/init.d"):
        shutil.rmtree(directory, ignore_errors=True)
        os.makedirs(directory)
    for name in ("/etc/fstab", "/etc/crypttab"):
        write(name, "")
    write("/etc/machine-id", os.urandom(16).hex() + "\n")
    write("/etc/hostname", "lab\n")
    write("/etc/hosts", "127.0.0.1 localhost lab\n::1 localhost\n")

    generators = "/usr/lib/systemd/system-generators"
    os.makedirs("/etc/systemd/system-generators", exist_ok=True)
    for name in os.listdir(generators):
        os.symlink("/dev/null", f"/etc/systemd/system-generators/{name}")
    write("/etc/systemd/system/lab.target", TARGET)
    for name in MASKED:
        os.symlink("/dev/null", f"/etc/systemd/system/{name}")
    write("/etc/systemd/journald.conf.d/lab.conf", JOURNALD)

    # A throw-away user whose manager is started by logind at boot.
    append("/etc/passwd", f"{user}:x:{uid}:{uid}:Lab:/home/{user}:/bin/sh\n")
    append("/etc/group", f"{user}:x:{uid}:\n")
    append("/etc/shadow", f"{user}:!:19000:0:99999:7:::\n")
    os.makedirs(f"/home/{user}", mode=0o700)
    os.chown(f"/home/{user}", uid, uid)
    write(f"/var/lib/systemd/linger/{user}", "")


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def append(path, text):
    with open(path, "a", encoding="utf-8") as file:
        file.write(text)


def main():
    """Makes the namespaces. A PID namespace begins with the next child; this process waits for it and ends as it does."""
    unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET)
    here = os.pidfd_open(os.getpid())
    child = os.fork()
    if child == 0:
        die_with_parent(signal.SIGKILL, here)
        become_systemd(json.loads(sys.argv[1]))
    os.close(here)
    _, status = os.waitpid(child, 0)
    sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)


def become_systemd(settings):
    # What the lab is to have from elsewhere is opened before the root changes.
    programs = {path: open(source, "rb") for path, source in settings["programs"].items()}
    os.umask(0o022)
    build_root()
    furnish(settings["user"], settings["uid"])
    for path, file in programs.items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with file, open(path, "wb") as copy:
            shutil.copyfileobj(file, copy, 1 << 20)
        os.chmod(path, 0o755)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "container": "lab", "LANG": "C.UTF-8"}
    os.execve("/lib/systemd/systemd", ["systemd", "--system", "--unit=lab.target", "--show-status=false"], environment)


if __name__ == "__main__":
    main()
