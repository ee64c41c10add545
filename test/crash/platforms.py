"""The outside of a gateway under test: an IRC server that numbers and records, a model that counts, and the history of both.

Both outlive the gateway: they see what a person and a provider would see across a crash, and nothing of the gateway's own state.
"""

import dataclasses
import http.server
import json
import socket
import socketserver
import threading
import time

REPEAT = "(may be a repeat) "


class Gone(Exception):
    """The process ended while something was waited for."""


class Stuck(Exception):
    """What was waited for did not come."""


@dataclasses.dataclass
class Entry:
    """One thing that could be seen from outside. kind: said (a person), reply (the gateway), model (a turn reached the model),
    answer (an HTTP client got all of it), cut (it didn't), up (logged in on IRC), log (the gateway's stderr), died."""
    kind: str
    who: str = ""
    text: str = ""
    run: int = 0
    link: int = 0  # the IRC connection, counted


class History:
    """What happened, in order; `run` counts the processes. Waiting ends early when the process is gone."""

    def __init__(self):
        self.entries: list[Entry] = []
        self.run = 0
        self._changed = threading.Condition()
        self._alive = False

    def add(self, kind: str, who: str = "", text: str = "", link: int = 0) -> None:
        with self._changed:
            self.entries.append(Entry(kind, who, text, self.run, link))
            self._changed.notify_all()

    def process_began(self) -> None:
        with self._changed:
            self.run += 1
            self._alive = True

    def process_ended(self) -> None:
        with self._changed:
            if self._alive:
                self._alive = False
                self.entries.append(Entry("died", run=self.run))
            self._changed.notify_all()

    def of(self, kind: str, run: int | None = None) -> list[Entry]:
        return [e for e in list(self.entries) if e.kind == kind and run in (None, e.run)]

    def text(self) -> str:
        return "\n".join(f"{e.run} {e.kind} {e.who} {e.text}" for e in list(self.entries))

    def until(self, condition, seconds: float, what: str):
        end = time.monotonic() + seconds
        with self._changed:
            while not (value := condition()):
                if not self._alive:
                    raise Gone(what)
                left = end - time.monotonic()
                if left <= 0:
                    raise Stuck(what)
                self._changed.wait(left)
            return value

    def until_dead(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        with self._changed:
            while self._alive and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
            return not self._alive


class Listening(socketserver.ThreadingTCPServer):
    """A server on a port of its own, a thread for each connection."""
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, handler):
        super().__init__(("127.0.0.1", 0), handler)
        self.port = self.server_address[1]
        self._changed = threading.Condition()
        self._accepted = self._served = 0
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def process_request(self, request, client_address):
        with self._changed:
            self._accepted += 1
        super().process_request(request, client_address)

    def process_request_thread(self, request, client_address):
        super().process_request_thread(request, client_address)
        with self._changed:
            self._served += 1
            self._changed.notify_all()

    def handle_error(self, *_):
        pass  # whoever was connected died

    def close(self) -> None:
        self.shutdown()
        self.server_close()

    def catch_up(self) -> None:
        """Returns when everything has been read that a process which is gone now had sent."""
        with self._changed:
            before = self._accepted
        # Connections are taken in their order: when ours is through, the dead one's were taken.
        socket.create_connection(("127.0.0.1", self.port), 20).close()
        with self._changed:
            if not self._changed.wait_for(lambda: self._accepted > before and self._accepted == self._served, 20):
                raise Stuck("the platforms reading what the dead process left")


class IrcServer:
    """The least of an IRC server for one client. People exist only as lines that it sends.

    `faults`: what becomes of the gateway's next replies, one word each. "deaf" records the reply and closes the connection instead of
    confirming it, so that the gateway can't know its fate; "mute" keeps the connection and confirms nothing on it.
    """

    def __init__(self, history: History):
        self.history = history
        self.faults: list[str] = []
        self.links = 0
        self.up = 0  # the link that is logged in
        self._mute: set[int] = set()
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        server = self

        class Link(socketserver.StreamRequestHandler):
            def handle(self):
                server._serve(self)

        self._server = Listening(Link)
        self.port = self._server.port
        self.close, self.catch_up = self._server.close, self._server.catch_up

    def say(self, who: str, text: str, only_up: bool = False) -> bool:
        """A person writes to the gateway. Recorded as said when the server has put it on the wire. `only_up`: not while nobody is
        logged in; False then."""
        with self._lock:
            link, connection = self.links, self._socket
            if only_up and self.up != link:
                return False
            self.history.add("said", who, text, link)
        try:
            if connection:
                connection.sendall(f":{who}!{who}@home PRIVMSG talaria :{text}\r\n".encode())
        except OSError:
            pass  # it died; the history shows
        return True

    def _serve(self, handler) -> None:
        with self._lock:
            self.links += 1
            link = self.links
            self._socket = handler.connection
        handler.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for raw in handler.rfile:
                if not raw.endswith(b"\n") or not self._on_line(handler, link, raw.decode(errors="replace").rstrip("\r\n")):
                    return
        except OSError:
            pass

    def _on_line(self, handler, link: int, line: str) -> bool:
        def tell(*lines):
            handler.connection.sendall("".join(f"{text}\r\n" for text in lines).encode())
        command, _, rest = line.partition(" ")
        if command == "CAP" and rest.startswith("LS"):
            tell("CAP * LS :")
        elif command == "USER":
            tell(":s 001 talaria :Welcome", ":s 422 talaria :No MOTD")
        elif command == "PING":
            token = rest.removeprefix(":")
            if link in self._mute and token.removeprefix("talaria-")[:1].isdigit():
                return True  # it would confirm a reply
            tell(f":s PONG s :{token}")
            if token == "talaria-ready":
                self.up = link
                self.history.add("up", link=link)
        elif command == "PRIVMSG":
            target, _, text = rest.partition(" :")
            self.history.add("reply", target, text, link)
            fault = self.faults.pop(0) if self.faults else ""
            if fault == "mute":
                self._mute.add(link)
            if fault == "deaf":
                handler.connection.shutdown(socket.SHUT_RDWR)
                return False
        return True


class Model:
    """An OpenAI-compatible model. Its answer to "x" is "x for the Nth time", so that a second run of a turn shows.

    `hold`: prompts that are not answered until release(); their askers wait, as with a slow model.
    """

    def __init__(self, history: History):
        self.history = history
        self.counts: dict[str, int] = {}
        self._held: set[str] = set()
        self._stalled: set[str] = set()
        self._changed = threading.Condition()
        model = self

        class Asked(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                model._answer(self)

            def log_message(self, *_):
                pass

        self._server = Listening(Asked)
        self.url = f"http://127.0.0.1:{self._server.port}/v1"

    def close(self) -> None:
        self.release()
        self._server.close()

    def catch_up(self) -> None:
        if not self._held and not self._stalled:  # one that is held is seen already
            self._server.catch_up()

    def hold(self, *prompts: str) -> None:
        self._held = set(prompts)

    def stall(self, *prompts: str) -> None:
        """Streamed answers to these stop after their beginning, until release()."""
        self._stalled = set(prompts)

    def release(self, *prompts: str) -> None:
        """Lets the named prompts go; without a name all."""
        with self._changed:
            self._held -= set(prompts) if prompts else self._held
            self._stalled -= set(prompts) if prompts else self._stalled
            self._changed.notify_all()

    def _answer(self, handler) -> None:
        asked = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        prompt = asked["messages"][-1]["content"]
        with self._changed:
            self.counts[prompt] = self.counts.get(prompt, 0) + 1
            text = f"{prompt} for the {self.counts[prompt]}. time"
            self.history.add("model", text=prompt)
            self._changed.wait_for(lambda: prompt not in self._held)
        if not asked.get("stream"):
            body = json.dumps({"id": "m", "object": "chat.completion", "created": 1, "model": "m", "choices": [
                {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}]}).encode()
            handler.send_response(200)
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)
            return
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.close_connection = True
        for number, (piece, reason) in enumerate([*((word + " ", None) for word in text.split(" ")), ("", "stop")]):
            if number == 2:  # the beginning is out
                with self._changed:
                    self._changed.wait_for(lambda: prompt not in self._stalled)
            chunk = {"id": "m", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [
                {"index": 0, "delta": {"content": piece}, "finish_reason": reason}]}
            handler.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        handler.wfile.write(b"data: [DONE]\n\n")
