"""A Bot API server on loopback (https://core.telegram.org/bots/api), which records every call, numbers every message, and fails on demand.

    with TelegramApi() as telegram:
        alice = telegram.person("Alice")
        telegram.say(alice, "hello")                                # an update for whoever polls, or for the webhook
        telegram.fault("sendMessage", "lose")                       # the next one is carried out and never answered
        telegram.wait(lambda: telegram.sent(alice))                 # what the bot wrote to Alice

test/judges/test_telegram_api.py holds it against the npm client grammy.
"""

import dataclasses
import itertools
import json
import random
import threading
import time

from support.telegram_http import Gone, Refusal, Server, pause_until, read_parameters
from support.telegram_methods import Call, Chat, Methods, Sent
from support.telegram_texts import written_entities

FAULTS = """late: carried out, answered after `seconds`.        lose: carried out, then the connection is closed.
drop: the connection is closed before it is carried out.     silent: never answered, never closed; not carried out.
deaf: carried out, never answered, never closed.             garbage: carried out, answered with something else (`status`, `body`).
refuse: not carried out: `code`, `description`, and more as parameters (retry_after=3).  status: not carried out, HTTP `status` with HTML."""


@dataclasses.dataclass
class Fault:
    method: str  # "*": any
    kind: str    # FAULTS
    options: dict
    left: int    # how often it strikes


class TelegramApi(Methods):
    def __init__(self, username: str = "talaria_bot", limits: bool = False, now=time.monotonic, certificates=None):
        """limits: refuse with 429 what is faster than 30 messages a second, or in one chat one a second beyond a burst of three.
        now: the clock that polls are held by. certificates: "cert" and "key" to speak TLS with."""
        self.now = now
        self.bot = {"id": random.randrange(10**9, 10**10), "is_bot": True, "first_name": "Talaria", "username": username,
                    "can_join_groups": True, "can_read_all_group_messages": False, "supports_inline_queries": False}
        self.token = f"{self.bot['id']}:{'%032x' % random.getrandbits(128)}"
        self.changed = threading.Condition()
        self.calls: list[Call] = []
        self.messages: list[Sent] = []
        self.chats: dict[int, Chat] = {}
        self.limits = limits
        self.rival = False           # another program polls this bot all the time
        self.webhook: dict = {}      # url, secret_token …
        self.webhook_host = ""       # "http://127.0.0.1:8790": where the webhook's path is posted to in place of its own host
        self.webhook_posts: list[tuple[int, int]] = []  # (update, HTTP status; 0: no answer)
        self.reversed = False        # the next batch comes newest first
        self._updates: list[dict] = []
        self._again: list[dict] = []  # delivered with the next batch, whatever was confirmed
        self._ids = itertools.count(random.randrange(10**6, 10**8))
        self._users = itertools.count(random.randrange(10**8, 10**9))
        self._message_ids: dict[int, itertools.count] = {}
        self._files: dict[str, tuple[str, bytes, int]] = {}
        self._faults: list[Fault] = []
        self._poller = 0
        self._silent = False
        self._recent: dict[int, list[float]] = {}
        self._closed = False
        self._server = Server(self, certificates)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._post_updates, daemon=True).start()

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with self.changed:
            self._closed = True
            self.changed.notify_all()
        self._server.close()

    # ---- The people

    def person(self, name: str, username: str = "") -> Chat:
        """Somebody with a private chat with the bot."""
        user = {"id": next(self._users), "is_bot": False, "first_name": name, **({"username": username} if username else {})}
        with self.changed:
            return self.chats.setdefault(user["id"], Chat(user["id"], "private", name, user))

    def group(self, title: str, topics: int = 0) -> Chat:
        with self.changed:
            number = -10**12 - next(self._users)
            chat = self.chats[number] = Chat(number, "supergroup", title, is_forum=topics > 0)
            chat.topics = set(range(2, 2 + topics))
            self._message_ids[number] = itertools.count(1000)
            return chat

    def _next_message(self, chat: int) -> int:
        number = next(self._message_ids.setdefault(chat, itertools.count(1)))
        self.chats[chat].messages.add(number)
        return number

    def say(self, who: Chat, text: str | None, chat: Chat | None = None, *, thread: int = 0, reply_to: Sent | None = None, **more) -> dict:
        """A person says something, in the private chat or in `chat`; returns the update. `more`: further fields of the message."""
        with self.changed:
            place = chat or who
            message = {"message_id": self._next_message(place.id), "date": int(time.time()), "chat": place.json(), "from": who.user}
            if text is not None:
                message["text"] = text
                if entities := written_entities(text):
                    message["entities"] = entities
            if thread:
                message |= {"message_thread_id": thread, "is_topic_message": True,
                            "reply_to_message": {"message_id": thread, "date": 1, "chat": place.json(), "from": self.bot,
                                                 "forum_topic_created": {"name": "topic", "icon_color": 1}}}
            if reply_to:
                message["reply_to_message"] = {"message_id": reply_to.id, "date": 1, "chat": place.json(), "from": self.bot, "text": reply_to.text}
            return self.update({"message": message | more})

    def update(self, content: dict) -> dict:
        with self.changed:
            update = {"update_id": next(self._ids), **content}
            self._updates.append(update)
            self.changed.notify_all()
            return update

    def say_again(self, update: dict) -> None:
        """Delivers an update once more, even if it was confirmed."""
        with self.changed:
            self._again.append(update)
            self.changed.notify_all()

    def file(self, name: str, data: bytes, size: int | None = None) -> dict:
        """A file that people can send: say(alice, None, document=telegram.file("a.txt", b"…"))."""
        with self.changed:
            number = f"file{len(self._files)}"
            self._files[number] = (f"documents/{number}", data, len(data) if size is None else size)
            return {"file_id": number, "file_unique_id": number, "file_name": name, "file_size": self._files[number][2]}

    def forget(self, sent: Sent) -> None:
        """Somebody deletes a message of the bot's."""
        with self.changed:
            self.messages.remove(sent)

    # ---- Trouble

    def fault(self, method: str, kind: str, times: int = 1, **options) -> None:
        """The next `times` calls of the method suffer it; see FAULTS. "file": a download, which knows "status" alone."""
        assert f"{kind}:" in FAULTS, kind
        with self.changed:
            self._faults.append(Fault(method, kind, options, times))

    def go_silent(self) -> None:
        """Half-open: whoever is connected hears nothing more, for ever; whoever connects now neither, until speak_again()."""
        with self.changed:
            self._silent = True
            self._poller += 1
            self.changed.notify_all()

    def speak_again(self) -> None:
        with self.changed:
            self._silent = False

    # ---- What the bot did

    def of(self, method: str) -> list[Call]:
        with self.changed:
            return [call for call in self.calls if call.method == method]

    def sent(self, chat: Chat | None = None) -> list[Sent]:
        with self.changed:
            return [m for m in self.messages if chat is None or m.chat == chat.id]

    def texts(self, chat: Chat | None = None) -> list[str]:
        return [m.text for m in self.sent(chat)]

    def unconfirmed(self) -> list[dict]:
        with self.changed:
            return list(self._updates)

    def wait(self, check, seconds: float = 20.0, what: str = "condition"):
        """The first truthy check(); raises after `seconds`."""
        with self.changed:
            value = pause_until(self.changed, check, seconds)
        if not value:
            raise TimeoutError(f"no {what} within {seconds:g} s; the last calls: {[(c.method, c.fault) for c in self.calls[-12:]]}")
        return value

    # ---- HTTP

    def serve(self, connection, path: str, query: str, body: bytes) -> tuple[int, str, bytes]:
        if path.startswith("/file/bot"):
            return self._serve_file(path, self._note_call("file", {}, {})[1])
        token, _, method = path.removeprefix("/bot").partition("/")
        if self._silent:
            self._hang(connection)
        if not path.startswith("/bot") or ":" not in token:
            return _json(404, Refusal(404, "Not Found").body())
        if token != self.token:
            return _json(401, Refusal(401, "Unauthorized").body())
        parameters, files = read_parameters(connection.headers.get("Content-Type") or "", query, body)
        return self._answer(connection, method, parameters, files)

    def _answer(self, connection, method: str, parameters: dict, files: dict):
        call, fault = self._note_call(method, parameters, files)
        kind, options = (fault.kind, fault.options) if fault else ("", {})
        if kind == "drop":
            raise Gone
        if kind == "silent":
            self._hang(connection)
        if kind == "status":
            return options.get("status", 502), "text/html", b"<html><h1>Bad Gateway</h1></html>"
        try:
            if kind == "refuse":
                parameters = {k: v for k, v in options.items() if k not in ("code", "description")}
                raise Refusal(options["code"], options["description"], **parameters)
            action = getattr(self, "_do_" + method, None)
            if action is None:
                raise Refusal(404, "Not Found: method not found")
            result = action(connection, parameters, files) if method == "getUpdates" else self._locked(action, parameters, files)
            call.answer = {"ok": True, "result": result}
            status = 200
        except Refusal as refusal:
            call.answer, status = refusal.body(), refusal.code
        if kind == "lose":
            raise Gone
        if kind == "deaf" or (self._silent and method == "getUpdates"):
            self._hang(connection)
        if kind == "late":
            time.sleep(options.get("seconds", 1.0))
        if kind == "garbage":
            return options.get("status", 200), "text/html", options.get("body", "<html>}{ nonsense").encode()
        return _json(status, call.answer)

    def _note_call(self, method: str, parameters: dict, files: dict) -> tuple[Call, Fault | None]:
        call = Call(method, parameters, files, time.monotonic())
        with self.changed:
            self.calls.append(call)
            fault = self._due(method)
            call.fault = fault.kind if fault else ""
            self.changed.notify_all()
        return call, fault

    def _due(self, method: str) -> Fault | None:
        for fault in self._faults:
            if fault.method in ("*", method) and fault.left > 0:
                fault.left -= 1
                return fault
        return None

    def _hang(self, connection):
        """Until the client gives up."""
        while not self._closed and not connection.gone():
            time.sleep(0.02)
        raise Gone

    def _locked(self, action, parameters, files):
        with self.changed:
            result = action(parameters, files)
            self.changed.notify_all()
            return result

    def _serve_file(self, path: str, fault: Fault | None):
        if fault:
            return fault.options["status"], "text/html", b"<html><h1>Bad Gateway</h1></html>"
        token, _, place = path.removeprefix("/file/bot").partition("/")
        for where, data, _ in self._files.values():
            if token == self.token and where == place:
                return 200, "application/octet-stream", data
        return _json(404, Refusal(404, "Not Found").body())


def _json(status: int, body: dict) -> tuple[int, str, bytes]:
    return status, "application/json", json.dumps(body).encode()
