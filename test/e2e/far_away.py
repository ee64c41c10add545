"""A gateway in a network of its own, and its servers and people in another: what test_blackhole.py plays on.

Each Side is a channel with its server and a person; they have the same methods, so that a test can be about any of them.
"""

import contextlib
import http.client
import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent / "irc"))

from irc_support import Human, IrcServer
from support.fast_clock import FastClock
from support.mail_server import PASSWORD, MailServer, make_certificates
from support.name_server import NameServer
from support.netspace import SERVERS, Networks
from support.talaria import Gateway, binary, wait_until
from support.telegram_api import TelegramApi

API = "127.0.0.1:8790"  # in the gateway's network, where nobody else is
NAMES = ("chat.talaria.test", "api.talaria.test", "mail.talaria.test")


class IrcSide:
    """What is said to a nick while its connection is dead is lost, as on every IRC server: `keeps` is False."""
    name, person, period, keeps, recognises = "net", "human", 60, False, False

    def __init__(self, world: "World"):
        self._server = world.enter(IrcServer("ngircd", world.home / "irc", world.certificates))
        self.exposed = world.net.expose(self._server.plain_port)
        self.human = world.enter(Human(self._server, "human"))
        self.human.join("#room")

    def config(self) -> str:
        return f"""
[channel.net]
kind = "irc"
server = "chat.talaria.test:{self._server.plain_port}"
tls = false
nick = "talaria"
join = ["#room"]
allow = ["nick:human"]
"""

    def secret(self) -> str:
        return ""

    def ready_to_listen(self) -> None:
        """After a loss: the old connection's ghost has gone, and the nick is ours again."""
        self.human.sees_arrive("talaria")

    def say(self, text: str) -> None:
        self.human.say("talaria", text)

    def heard(self) -> list[str]:
        """What the gateway wrote to the person until now."""
        while self.human.next(0.01):
            pass
        return [event["text"] for event in self.human.history if event["event"] == "message" and event["type"] == "privmsg"]


class TelegramSide:
    name, period, keeps, recognises = "tg", 50, True, False

    def __init__(self, world: "World"):
        self._ca = world.certificates["ca"]
        self.api = world.enter(TelegramApi(now=world.clock.now, certificates=world.certificates))
        self.exposed = world.net.expose(self.api.port)
        self._alice = self.api.person("Alice")
        self.person = str(self._alice.id)

    def config(self) -> str:
        return f"""
[channel.tg]
kind = "telegram"
token = "env:TG_SECRET"
api_root = "https://api.talaria.test:{self.api.port}"
ca_file = "{self._ca}"
allow = ["*"]
poll_timeout = "{self.period}s"
"""

    def secret(self) -> str:
        return self.api.token

    def ready_to_listen(self) -> None:
        pass

    def say(self, text: str) -> None:
        self.api.say(self._alice, text)

    def heard(self) -> list[str]:
        return self.api.texts(self._alice)


class MailSide:
    """A mail that comes twice has the same Message-ID, so that mail programs show it once: `recognises`."""
    name, period, keeps, recognises = "mail", 20, True, True

    def __init__(self, world: "World"):
        self._server = world.enter(MailServer(names=NAMES))
        self._server.start()
        self.exposed = world.net.expose(self._server.ports["imaps"])
        world.net.expose(self._server.ports["submission"])
        self.person = self._server.address("alice")

    def config(self) -> str:
        return self._server.channel(imap=f'"mail.talaria.test:{self._server.ports["imaps"]}"', poll=f'"{self.period}s"',
                                    smtp=f'"mail.talaria.test:{self._server.ports["submission"]}"', password='"env:MAIL_SECRET"')

    def secret(self) -> str:
        return PASSWORD

    def ready_to_listen(self) -> None:
        pass

    def say(self, text: str) -> None:
        self._server.send(self._server.mail(text, subject=text))

    def heard(self) -> list[str]:
        once = {mail["Message-ID"]: mail for mail in self._server.received("alice")}
        return [mail.get_content().replace("\r\n", "\n").strip().split("\n")[-1] for mail in once.values()]


class World:
    """The networks, the clock, the sides and the gateway, which is up on all of them."""

    def __init__(self, home: pathlib.Path, *sides, names: str = "hosts"):
        """names: where the gateway finds addresses, "hosts" or "dns" (then `name_server` is there)."""
        self.home = home
        self._open = contextlib.ExitStack()
        self._kinds, self._names = sides, names
        self._asked = 0

    def enter(self, thing):
        return self._open.enter_context(thing)

    def _certificates(self) -> dict[str, pathlib.Path]:
        directory = self.home / "certificates"
        directory.mkdir()
        for each in (directory, self.home, self.home.parent, self.home.parent.parent):  # ngircd gives up root before it reads them
            each.chmod(0o755)
        return make_certificates(directory, *NAMES)

    def __enter__(self) -> "World":
        with self._open:
            self.net = self.enter(Networks())
            self.clock = self.enter(FastClock(self.home))
            self.certificates = self._certificates()
            self.sides = [kind(self) for kind in self._kinds]
            if self._names == "dns":
                self.name_server = self.enter(NameServer(SERVERS, SERVERS))
            self.gateway = self.enter(Gateway(self.home / "gateway", f"""
[api]
listen = "{API}"
keys = ["env:KEY"]
[agent.default]
kind = "echo"
""" + "".join(side.config() for side in self.sides), env={"KEY": "test-key", **{f"{side.name.upper()}_SECRET": side.secret() for side in self.sides}},
                program=self._program()))
            self.gateway.start()
            wait_until(lambda: self.states() == {side.name: "up" for side in self.sides}, 30, "gateway that is up on every channel")
            self._open = self._open.pop_all()
        return self

    def __exit__(self, *_) -> None:
        self._open.close()

    def _program(self) -> pathlib.Path:
        """Starts the binary in its network, with an /etc of our making, on its clock."""
        known = "" if self._names == "dns" else f"{SERVERS} {' '.join(NAMES)}\n"
        files = {"hosts": f"127.0.0.1 localhost\n{known}", "nsswitch.conf": "hosts: files dns\n",
                 "resolv.conf": f"nameserver {SERVERS}\noptions timeout:2 attempts:2\n"}
        mounts = []
        for name, text in files.items():
            (self.home / name).write_text(text)
            mounts.append(f"mount --bind {self.home / name} /etc/{name}")
        clock = " ".join(f"{name}={value}" for name, value in self.clock.environment.items())
        script = self.home / "far-gateway"
        script.write_text(f"""#!/bin/sh
exec {' '.join(self.net.enter_gateway)} unshare --mount /bin/sh -c '{" && ".join(mounts)} && exec env {clock} {binary()} "$@"' sh "$@"
""")
        script.chmod(0o755)
        return script

    def get(self, path: str) -> bytes:
        self._asked += 1
        with self.net.in_gateway():
            connection = http.client.HTTPConnection(API, timeout=10)
            connection.request("GET", path)
            body = connection.getresponse().read()
            connection.close()
        return body

    def channels(self) -> list[dict]:
        try:
            return json.loads(self.get("/readyz")).get("channels", [])
        except OSError:
            assert self.gateway.running(), self.gateway.output()[-4000:]
            return []

    def states(self) -> dict[str, str]:
        return {channel["name"]: channel["state"] for channel in self.channels()}

    def send(self, side, text: str) -> None:
        self.gateway.run("send", "--queue", "--to", f"{side.name}:{side.person}", text)

    def latency(self, requests: int) -> list[float]:
        """Seconds that each of so many /healthz took, sorted."""
        took = []
        for _ in range(requests):
            began = time.monotonic()
            self.get("/healthz")
            took.append(time.monotonic() - began)
        return sorted(took)

    def wait_heard(self, side, *texts: str, seconds: float = 30) -> None:
        wait_until(lambda: set(texts) <= {text.removeprefix("(may be a repeat) ") for text in side.heard()}, seconds,
                   f"{texts} for the person on {side.name}, who heard {side.heard()}", interval=0.05)

    def settle(self) -> None:
        """Waits until everything that was said is answered, and every answer has its receipt."""
        wait_until(lambda: (queues := self.gateway.status()["queues"])["inbound"] == queues["turns"] == queues["outbox"] == 0, 30,
                   "empty queues")

    def attempts(self) -> int:
        """How many connections the gateway began until now, in vain or not."""
        return self.net.attempts() - self._asked

    def memory(self) -> tuple[int, int]:
        """(resident KiB, open descriptors) of the gateway."""
        here = pathlib.Path(f"/proc/{self.gateway.process.pid}")
        resident = next(int(line.split()[1]) for line in (here / "status").read_text().splitlines() if line.startswith("VmRSS:"))
        return resident, len(list((here / "fd").iterdir()))
