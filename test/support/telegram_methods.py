"""The methods of the fake Bot API: what each does and what it refuses, in Telegram's words. The records that they keep."""

import dataclasses
import json
import time
import urllib.error
import urllib.request

from support.telegram_http import Refusal, pause_until
from support.telegram_texts import CantParse, parse_html, units


@dataclasses.dataclass
class Call:
    method: str
    parameters: dict
    files: dict
    at: float           # time.monotonic()
    answer: object = None  # the body that was sent or would have been; None: not carried out
    fault: str = ""


@dataclasses.dataclass
class Sent:
    """A message of the bot's."""
    id: int
    chat: int
    text: str
    at: float
    thread: int = 0
    reply_to: int = 0
    entities: list = dataclasses.field(default_factory=list)
    file: tuple | None = None  # (method, name, bytes)
    versions: list = dataclasses.field(default_factory=list)  # earlier texts, oldest first


@dataclasses.dataclass
class Chat:
    id: int
    kind: str                    # private | group | supergroup
    title: str
    user: dict | None = None
    topics: set = dataclasses.field(default_factory=set)
    messages: set = dataclasses.field(default_factory=set)
    trouble: tuple | None = None  # (code, description, parameters) to whoever writes there
    is_forum: bool = False

    def json(self) -> dict:
        if self.kind == "private":
            return {"id": self.id, "type": "private", **{k: self.user[k] for k in ("first_name", "username") if k in self.user}}
        return {"id": self.id, "type": self.kind, "title": self.title, **({"is_forum": True} if self.is_forum else {})}


class Methods:
    """Of TelegramApi, which holds what they look at."""

    # ---- Receiving

    def _do_getMe(self, *_):
        return self.bot

    def _do_getUpdates(self, connection, parameters, _):
        offset, limit = int(parameters.get("offset", 0)), int(parameters.get("limit", 100))
        wanted = parameters.get("allowed_updates") or []
        with self.changed:
            if self.webhook:
                raise Refusal(409, "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first")
            self._poller += 1  # whoever polled until now is told
            mine = self._poller
            self.changed.notify_all()
            if offset < 0:
                offset = self._updates[offset]["update_id"] if len(self._updates) >= -offset else 0
            self._updates = [u for u in self._updates if u["update_id"] >= offset]

            def ready():
                if mine != self._poller or self.rival or self.webhook:
                    return "conflict"
                return [u for u in self._again + self._updates if not wanted or any(k in wanted for k in u)]
            found = pause_until(self.changed, ready, min(float(parameters.get("timeout", 0)), 50), self.now)
            if found == "conflict":
                if self._silent:
                    return []  # never to be heard
                raise Refusal(409, "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running")
            batch = (found or [])[:max(1, min(limit, 100))]
            self._again = [u for u in self._again if u not in batch]
            if self.reversed and len(batch) > 1:
                batch, self.reversed = batch[::-1], False
            return batch

    def _do_setWebhook(self, parameters, _):
        if not str(parameters.get("url", "")).startswith("https://"):
            if parameters.get("url"):
                raise Refusal(400, "Bad Request: bad webhook: An HTTPS URL must be provided for webhook")
            return self._do_deleteWebhook(parameters, _)
        self.webhook = dict(parameters)
        return True

    def _do_deleteWebhook(self, parameters, _):
        self.webhook = {}
        if parameters.get("drop_pending_updates"):
            self._updates.clear()
        return True

    def _do_getWebhookInfo(self, *_):
        return {"url": self.webhook.get("url", ""), "has_custom_certificate": False, "pending_update_count": len(self._updates)}

    def _post_updates(self):
        """As Telegram does: in order, one at a time, each again until it is answered 2xx."""
        while not self._closed:
            with self.changed:
                pause_until(self.changed, lambda: self._closed or (self.webhook and (self._again or self._updates)), None)
                if self._closed:
                    return
                webhook, again = dict(self.webhook), bool(self._again)
                update = (self._again or self._updates)[0]
            status = self._post(webhook, update)
            with self.changed:
                self.webhook_posts.append((update["update_id"], status))
                waiting = self._again if again else self._updates
                if 200 <= status < 300 and update in waiting:
                    waiting.remove(update)
                self.changed.notify_all()
            if not 200 <= status < 300:
                time.sleep(0.1)

    def _post(self, webhook: dict, update: dict) -> int:
        url = webhook["url"]
        if self.webhook_host:
            url = self.webhook_host + "/" + url.split("/", 3)[3]
        headers = {"Content-Type": "application/json", "X-Telegram-Bot-Api-Secret-Token": webhook.get("secret_token", "")}
        try:
            with urllib.request.urlopen(urllib.request.Request(url, json.dumps(update).encode(), headers), timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as refused:
            return refused.code
        except OSError:
            return 0

    # ---- Sending

    def _chat(self, parameters: dict) -> Chat:
        chat = self.chats.get(parameters.get("chat_id")) if isinstance(parameters.get("chat_id"), int) else None
        if chat is None:
            raise Refusal(400, "Bad Request: chat not found")
        if chat.trouble:
            code, description, more = chat.trouble
            raise Refusal(code, description, **more)
        return chat

    def _hold_pace(self, chat: Chat) -> None:
        now = time.monotonic()
        recent = self._recent[chat.id] = [t for t in self._recent.get(chat.id, []) if now - t < 3.0]
        everywhere = sum(1 for times in self._recent.values() for t in times if now - t < 1.0)
        if self.limits and (len(recent) >= 6 or everywhere >= 40):
            raise Refusal(429, "Too Many Requests: retry after 1", retry_after=1)
        recent.append(now)

    def _text(self, parameters: dict) -> tuple[str, list]:
        text, entities = str(parameters.get("text", "")), parameters.get("entities") or []
        mode = parameters.get("parse_mode")
        if mode and str(mode).lower() != "html":
            raise Refusal(400, "Bad Request: unsupported parse_mode")
        try:
            text, entities = parse_html(text) if mode else (text, entities)
        except CantParse as reason:
            raise Refusal(400, f"Bad Request: can't parse entities: {reason}") from None
        if not text.strip():
            raise Refusal(400, "Bad Request: message text is empty")
        if units(text) > 4096:
            raise Refusal(400, "Bad Request: message is too long")
        return text.strip(), entities

    def _place(self, chat: Chat, parameters: dict) -> tuple[int, int]:
        """(topic, message answered)."""
        thread = int(parameters.get("message_thread_id") or 0)
        if thread and thread not in chat.topics:
            raise Refusal(400, "Bad Request: message thread not found")
        reply = parameters.get("reply_parameters") or {}
        reply_to = int(reply.get("message_id", 0))
        if reply_to and reply_to not in chat.messages:
            if not reply.get("allow_sending_without_reply"):
                raise Refusal(400, "Bad Request: message to be replied not found")
            reply_to = 0
        return thread, reply_to

    def _keep(self, chat: Chat, parameters: dict, text: str, entities: list, file: tuple | None = None) -> dict:
        thread, reply_to = self._place(chat, parameters)
        self._hold_pace(chat)
        sent = Sent(self._next_message(chat.id), chat.id, text, time.monotonic(), thread, reply_to, entities, file)
        self.messages.append(sent)
        return self._json(chat, sent)

    def _json(self, chat: Chat, sent: Sent) -> dict:
        message = {"message_id": sent.id, "from": self.bot, "chat": chat.json(), "date": int(time.time()), "text": sent.text}
        return message | ({"entities": sent.entities} if sent.entities else {}) | ({"message_thread_id": sent.thread} if sent.thread else {})

    def _do_sendMessage(self, parameters, _):
        chat = self._chat(parameters)
        return self._keep(chat, parameters, *self._text(parameters))

    def _do_editMessageText(self, parameters, _):
        chat = self._chat(parameters)
        text, entities = self._text(parameters)
        sent = next((m for m in self.messages if (m.chat, m.id) == (chat.id, parameters.get("message_id"))), None)
        if sent is None:
            raise Refusal(400, "Bad Request: message to edit not found")
        if sent.file:
            raise Refusal(400, "Bad Request: there is no text in the message to edit")
        if (sent.text, sent.entities) == (text, entities):
            raise Refusal(400, "Bad Request: message is not modified: specified new message content and reply markup are exactly the same "
                               "as a current content and reply markup of the message")
        sent.versions.append(sent.text)
        sent.text, sent.entities = text, entities
        return self._json(chat, sent)

    def _do_deleteMessage(self, parameters, _):
        chat = self._chat(parameters)
        sent = next((m for m in self.messages if (m.chat, m.id) == (chat.id, parameters.get("message_id"))), None)
        if sent is None:
            raise Refusal(400, "Bad Request: message to delete not found")
        self.messages.remove(sent)
        return True

    def _do_sendChatAction(self, parameters, _):
        self._chat(parameters)
        return True

    def _upload(self, parameters: dict, files: dict, field: str, method: str):
        chat = self._chat(parameters)
        if str(parameters.get(field, "")).startswith("attach://"):
            field = parameters[field].removeprefix("attach://")
        if field not in files:
            raise Refusal(400, f"Bad Request: there is no {field} in the request")
        return self._keep(chat, parameters, str(parameters.get("caption", "")).strip(), [], (method, *files[field]))

    def _do_sendDocument(self, parameters, files):
        return self._upload(parameters, files, "document", "sendDocument")

    def _do_sendPhoto(self, parameters, files):
        return self._upload(parameters, files, "photo", "sendPhoto")

    def _do_getFile(self, parameters, _):
        if parameters.get("file_id") not in self._files:
            raise Refusal(400, "Bad Request: wrong file_id or the file is temporarily unavailable")
        where, _, size = self._files[parameters["file_id"]]
        if size > 20 * 1024 * 1024:
            raise Refusal(400, "Bad Request: file is too big")
        return {"file_id": parameters["file_id"], "file_unique_id": parameters["file_id"], "file_size": size, "file_path": where}
