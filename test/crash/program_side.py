"""A channel program across a crash. The process that the gateway starts (relay.py) dies with it and knows nothing; what a program keeps, which
messages are not accepted yet, is here, and so is the platform: what people said and were told.
"""

import json
import pathlib
import random
import socketserver
import threading

from judge import Verdict, judge_chat
from platforms import REPEAT, Entry, History, Listening
from traffic import PEOPLE, Traffic
from world import World

RELAY = pathlib.Path(__file__).with_name("relay.py")


class ProgramSide:
    """Keeps to docs/channel-programs.md; it does not recognise repeats, so they must be marked."""
    secrets: dict[str, str] = {}

    def __init__(self, history: History):
        self.history = history
        self.asked: list[tuple[str, str]] = []  # who, text
        self.told: list[tuple[str, str]] = []
        self.complaints: list[str] = []
        self._unaccepted: dict[str, dict] = {}  # by id, in the order in which they were said
        # Those that a gateway has welcomed, the newest last. The program of a gateway that was killed may find its welcome in the pipe
        # later than its successor's does, and ends then.
        self._links: list[socketserver.StreamRequestHandler] = []
        self._lock = threading.Lock()
        side = self

        class Link(socketserver.StreamRequestHandler):
            disable_nagle_algorithm = True

            def handle(self):
                try:
                    for raw in self.rfile:
                        if not raw.endswith(b"\n") or not side._on_line(self, json.loads(raw)):
                            return
                except OSError:
                    pass  # the program died
                finally:
                    side._on_end(self)

        self._server = Listening(Link)
        self.close, self.catch_up = self._server.close, self._server.catch_up

    def config(self, agent: str) -> str:
        return f"""
[channel.lines]
kind = "program"
command = ["/usr/bin/python3", "-IS", "{RELAY}", "{self._server.port}"]
allow = ["*"]
agent = "{agent}"
"""

    @staticmethod
    def _tell(link, *lines: dict) -> None:
        try:
            link.connection.sendall("".join(json.dumps(line) + "\n" for line in lines).encode())
        except OSError:
            pass  # it died; what it did not take is said to the next one

    def _on_line(self, link, line: dict) -> bool:
        kind = line["type"]
        with self._lock:
            if kind == "welcome":
                self._links.append(link)
                self._tell(link, {"type": "hello", "protocol": 1}, *self._unaccepted.values())
                self.history.add("welcome")
            elif kind == "accepted":
                self._unaccepted.pop(line["id"], None)
            elif kind == "hold":
                threading.Timer(line["retry_after"], self._say_again, [link, line["id"]]).start()
            elif kind == "deliver":
                text = (REPEAT if line["may_be_repeat"] else "") + line["text"]
                self.told.append((line["conversation"], text))
                self._tell(link, {"type": "receipt", "outbox_id": line["outbox_id"], "platform_id": str(len(self.told))})
                self.history.add("line", line["conversation"], text)
            elif kind == "ping":
                self._tell(link, {"type": "alive"})
            elif kind in ("error", "refused"):
                self.complaints.append(f"{kind}: {line['what']}")
        return kind != "stop"

    def _on_end(self, link) -> None:
        with self._lock:
            if link in self._links:
                self._links.remove(link)
                if self._links:  # what was said since then went to the wrong one
                    self._tell(self._links[-1], *self._unaccepted.values())

    def _say_again(self, link, message: str) -> None:
        with self._lock:
            if message in self._unaccepted:
                self._tell(link, self._unaccepted[message])

    def ask(self, who: str, text: str) -> None:
        with self._lock:
            number = f"m-{len(self.asked)}"
            self.asked.append((who, text))
            self._unaccepted[number] = {"type": "message", "id": number, "conversation": who, "direct": True, "sender": {"id": who}, "text": text}
            if self._links:
                self._tell(self._links[-1], self._unaccepted[number])

    def until_welcome(self) -> None:
        run = self.history.run
        self.history.until(lambda: self.history.of("welcome", run), 20, "a channel program that is welcome")

    def until_told(self, *texts: str) -> None:
        self.history.until(lambda: set(texts) <= {told.removeprefix(REPEAT) for _, told in list(self.told)}, 20, f"from the program: {texts}")

    def judge(self) -> Verdict:
        """A message is the program's until it is accepted, so everything that was asked counts as accepted."""
        entries = [Entry("said", who, text) for who, text in self.asked]
        entries += [e for e in self.history.entries if e.kind == "died"]
        entries += [Entry("reply", who, text) for who, text in self.told]
        verdict = judge_chat([*entries, Entry("end")], {text for _, text in self.asked})
        verdict.broken += self.complaints + [f"{number} was never accepted" for number in self._unaccepted]
        return verdict


class ProgramTraffic(Traffic):
    """People on a platform whose channel program forgets nothing that was not accepted."""

    def __init__(self, world: World, dice: random.Random):
        super().__init__(world, dice)
        self.side = world.side(ProgramSide)

    def one(self, number: int) -> None:
        self.side.ask(self.dice.choice(PEOPLE), f"line {number}")

    def stop(self) -> None:
        super().stop()
        self.side.until_told(*(text for _, text in self.side.asked[-20:]))

    def judge(self) -> Verdict:
        return self.side.judge()
