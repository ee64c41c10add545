"""Three networks of our own, and a wire with a switch: a gateway on one side, its servers on the other, a router between them.

    gateway ── 10.77.1.0/24 ── router ── 10.77.2.0/24 ── servers

While the hole is open the router swallows every packet, both ways: no RST, no FIN, no ICMP, and every link is up. That is what a
connection meets whose NAT forgot it or whose provider is gone.

    with Networks() as net:                    # this thread is among the servers now, and what it starts is, too
        net.expose(8080)                       # 10.77.2.2:8080 for the gateway: what listens on our 127.0.0.1:8080
        subprocess.Popen([*net.enter_gateway, "talaria", …])
        with net.in_gateway():                 # this thread's sockets are the gateway's neighbours
            …
        net.hole(True)

Linux, root. Nothing of it outlives the process: the networks are held by descriptors alone.
"""

import contextlib
import ctypes
import os
import shutil
import subprocess

from support.hole import Hole

CLONE_NEWNET = 0x40000000
SERVERS = "10.77.2.2"  # where the servers are, as the gateway sees them

_libc = ctypes.CDLL(None, use_errno=True)


def missing() -> str:
    """Why there can't be such networks here; empty: there can."""
    if os.geteuid() != 0:
        return "networks of our own need root"
    for program in ("ip", "nsenter", "unshare"):
        if shutil.which(program) is None:
            raise FileNotFoundError(f"{program} is missing: tools/install-packages --test")
    return ""


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


class Networks:
    def __enter__(self) -> "Networks":
        self._own = self._open()
        self._gateway, self._router, self._servers = (self._make() for _ in range(3))
        me = f"/proc/{os.getpid()}/fd"
        self.enter_gateway = ["nsenter", f"--net={me}/{self._gateway}"]
        self._exposed: list[Hole] = []
        # A network is named to ip(8) by the file that holds it.
        self._ip(self._router, f"link add gateway type veth peer name wire netns {me}/{self._gateway}")
        self._ip(self._router, f"link add servers type veth peer name wire netns {me}/{self._servers}")
        for space, side in ((self._gateway, 1), (self._servers, 2)):
            link = "gateway" if side == 1 else "servers"
            self._ip(self._router, f"address add 10.77.{side}.1/24 dev {link}", f"link set {link} up")
            self._ip(space, "link set lo up", f"address add 10.77.{side}.2/24 dev wire", "link set wire up",
                     f"route add default via 10.77.{side}.1")
        self.hole(False)
        self._enter(self._servers)
        return self

    def __exit__(self, *_) -> None:
        for hole in self._exposed:
            hole.__exit__()
        self._enter(self._own)
        for fd in (self._own, self._gateway, self._router, self._servers):
            os.close(fd)

    @staticmethod
    def _open() -> int:
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def _make(self) -> int:
        _check(_libc.unshare(CLONE_NEWNET), "unshare")
        space = self._open()
        # No IPv6: a link's own address comes a second late with a route, which the gateway takes for the network's return.
        with contextlib.suppress(FileNotFoundError), open("/proc/sys/net/ipv6/conf/default/disable_ipv6", "w", encoding="ascii") as file:
            file.write("1")
        self._enter(self._own)
        return space

    @staticmethod
    def _enter(space: int) -> None:
        _check(_libc.setns(space, CLONE_NEWNET), "setns")

    @contextlib.contextmanager
    def _inside(self, space: int):
        before = self._open()
        self._enter(space)
        try:
            yield
        finally:
            self._enter(before)
            os.close(before)

    def _ip(self, space: int, *commands: str) -> None:
        with self._inside(space):
            for command in commands:
                subprocess.run(["ip", *command.split()], check=True)

    def in_gateway(self):
        """This thread's new sockets belong to the gateway's network."""
        return self._inside(self._gateway)

    def hole(self, is_open: bool) -> None:
        """True: from now on the router forwards nothing and says nothing."""
        with self._inside(self._router), open("/proc/sys/net/ipv4/ip_forward", "w", encoding="ascii") as file:
            file.write("0" if is_open else "1")

    def expose(self, port: int) -> Hole:
        """Leads SERVERS:port to 127.0.0.1:port; its `connections` counts those that got through."""
        hole = Hole(port, SERVERS, port)
        self._exposed.append(hole)
        return hole

    def attempts(self) -> int:
        """How many TCP connections were begun from the gateway's network until now, in vain or not."""
        with self._inside(self._gateway), open("/proc/thread-self/net/snmp", encoding="ascii") as file:
            names, values = (line.split() for line in file if line.startswith("Tcp:"))
            return int(dict(zip(names, values))["ActiveOpens"])
