"""Clients that connect all the time while a gateway is stopped, killed and started: what became of each of them.

    with Clients(connect, rate=200) as clients:
        ...
    assert clients.refused == []

Every request has a number and asks the echo agent for it, so that an answer can't be another one's. They are told apart honestly:

    answered     a whole answer with the right number
    refused      the connection was not accepted (ECONNREFUSED, ENOENT), or timed out before it was
    unavailable  a whole answer that says "not now" (503)
    cut          connected, but the connection ended before the answer did: the process died, or ended, under it
    wrong        anything else: another one's answer, half a body, another status
"""

import http.client
import itertools
import json
import threading
import time

KINDS = ("answered", "refused", "unavailable", "cut", "wrong")


class Clients:
    def __init__(self, connect, rate, key, threads=32, model="default"):
        """`connect`: makes a connected socket; raises OSError where it is refused. `rate`: connections per second, of all together."""
        self._connect, self._key, self._model = connect, key, model
        self._pause = threads / rate
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(i / threads,), daemon=True) for i in range(threads)]
        self.fates = {kind: [] for kind in KINDS}
        self.longest = 0.0  # seconds that an answered one waited

    def __enter__(self):
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(90)
        self.seconds = time.monotonic() - self._began

    def _run(self, share):
        due = time.monotonic() + share * self._pause
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due += self._pause
            number = next(self._numbers)
            began = time.monotonic()
            kind, what = self._ask(f"n{number}")
            with self._lock:
                self.fates[kind].append(what)
                if kind == "answered":
                    self.longest = max(self.longest, time.monotonic() - began)

    def _ask(self, text):
        try:
            connection = self._connect()
        except OSError as error:
            return "refused", repr(error)
        with connection:
            client = http.client.HTTPConnection("127.0.0.1")
            client.sock = connection
            body = json.dumps({"model": self._model, "messages": [{"role": "user", "content": text}]})
            try:
                client.request("POST", "/v1/chat/completions", body,
                               {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json", "Connection": "close"})
                answer = client.getresponse()
                told = answer.read().decode()
            except (OSError, http.client.HTTPException) as error:
                return "cut", repr(error)
        if answer.status == 503:
            return "unavailable", told
        if answer.status != 200:
            return "wrong", f"{answer.status} {told}"
        got = json.loads(told)["choices"][0]["message"]["content"]
        return ("answered", text) if got == text else ("wrong", f"asked {text}, got {got}")

    def __getattr__(self, kind):
        if kind in KINDS:
            return self.fates[kind]
        raise AttributeError(kind)

    def figures(self):
        count = sum(len(fate) for fate in self.fates.values())
        return {**{kind: len(fate) for kind, fate in self.fates.items()}, "connections": count,
                "per_second": round(count / self.seconds, 1), "longest_wait_s": round(self.longest, 3)}
