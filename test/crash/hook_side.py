"""Webhooks as their two ends see them across a crash: a sender that goes on until it is told 2xx, and a receiver that knows each by its id."""

import http.client
import http.server
import json
import random
import threading
import time

from judge import Verdict
from platforms import History, Listening
from support.webhooks import post, standard
from traffic import Traffic
from world import World

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


class HookSide:
    secrets = {"HOOK_SECRET": SECRET}

    def __init__(self, history: History):
        self.history = history
        self.told: dict[str, int] = {}  # text → the status that its sender was told: the first 2xx, else the last
        self.taken: list[tuple[str, str]] = []  # webhook-id, text
        self.refusals = 0  # how many deliveries are still to be refused
        self.attempts: list[tuple[int, float]] = []  # the gateway's process, when
        self.refused: list[tuple[int, float]] = []
        side = self

        class Receives(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                text = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["data"]["text"]
                side.attempts.append((side.history.run, time.monotonic()))
                if side.refusals > 0:
                    side.refusals -= 1
                    side.refused.append(side.attempts[-1])
                    side.history.add("refused", text=text)
                    self.send_response(503)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                side.taken.append((self.headers["webhook-id"], text))
                side.history.add("hooked", text=text)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = Listening(Receives)
        self.close, self.catch_up = self._server.close, self._server.catch_up

    def config(self, agent: str) -> str:
        return f"""
[channel.hook]
kind = "webhook"
scheme = "standard"
secret = "env:HOOK_SECRET"
prompt = "{{{{ text }}}}"
deliver_to = "out:home"
agent = "{agent}"
[channel.out]
kind = "webhook"
url = "http://127.0.0.1:{self._server.port}/"
sign_secret = "env:HOOK_SECRET"
"""

    def send(self, world: World, text: str) -> bool:
        """One attempt; False: not taken, or nobody knows."""
        body = json.dumps({"text": text}).encode()
        try:
            status, _, _ = post(f"{world.address}:{world.port}", "hook", body, standard(SECRET, body, "msg-" + text.replace(" ", "-")))
        except (OSError, http.client.HTTPException):
            status = 0
        if self.told.get(text, 0) // 100 != 2:  # taken once is taken, whatever becomes of a redelivery
            self.told[text] = status
        return 200 <= status < 300

    def until_hooked(self, *texts: str) -> None:
        self.history.until(lambda: set(texts) <= {text for _, text in self.taken}, 20, f"webhooks of {texts}")

    def judge(self) -> Verdict:
        verdict = Verdict()
        for text, status in self.told.items():
            ids = [number for number, said in self.taken if said == text]
            verdict.answered += bool(ids)
            verdict.doubled += len(ids) > 1
            if not 200 <= status < 300:
                verdict.broken.append(f"{text!r} was never taken: {status}")
            elif len(set(ids)) != 1:
                verdict.broken.append(f"{text!r} was answered under {len(set(ids))} ids")
        verdict.broken += [f"{text!r} was sent, which nobody asked for" for _, text in self.taken if text not in self.told]
        return verdict


class HookTraffic(Traffic):
    """Reports that are sent until they are taken; their answers leave as webhooks."""

    def __init__(self, world: World, dice: random.Random):
        super().__init__(world, dice)
        self.side = world.side(HookSide)

    def one(self, number: int) -> None:
        text = f"hook {number}"
        while not self.side.send(self.world, text):
            threading.Event().wait(0.02)  # nobody is there at the moment
        if self.dice.random() < 0.1:
            self.side.send(self.world, text)  # a redelivery

    def stop(self) -> None:
        super().stop()
        self.side.until_hooked(*list(self.side.told)[-20:])

    def judge(self) -> Verdict:
        return self.side.judge()
