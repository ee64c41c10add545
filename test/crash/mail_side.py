"""E-mail as people see it across a crash: the least of an IMAP and of an SMTP server, which outlive the gateway. (The gateway is tried with
Debian's dovecot and postfix in test/e2e/test_email.py; these two are for being quick, and for knowing what they were told.)
"""

import dataclasses
import email
import email.message
import email.policy
import imaplib
import os
import random
import re
import socket
import socketserver
import threading
import time

from judge import Verdict, judge_chat
from platforms import Entry, History, Listening
from traffic import PEOPLE, Traffic
from world import World

DOMAIN = "example.org"


@dataclasses.dataclass
class Asked:
    """A mail to the gateway. `thread`: the Message-IDs before it, oldest first."""
    who: str
    text: str
    subject: str
    thread: list[str]
    message_id: str

    @property
    def prompt(self) -> str:
        """What the agent is given: the first mail of a thread with its subject."""
        return self.text if self.thread else f"{self.subject}\n\n{self.text}"

    def bytes(self, to: str) -> bytes:
        mail = email.message.EmailMessage(policy=email.policy.SMTP)
        mail["From"], mail["To"] = f"{self.who}@{DOMAIN}", to
        mail["Subject"] = f"Re: {self.subject}" if self.thread else self.subject
        mail["Message-ID"] = self.message_id
        if self.thread:
            mail["In-Reply-To"], mail["References"] = self.thread[-1], " ".join(self.thread)
        mail.set_content(self.text)
        return mail.as_bytes()


def text_of(mail: email.message.EmailMessage) -> str:
    return "\n".join(mail.get_content().splitlines())


class Link(socketserver.StreamRequestHandler):
    """One connection of a protocol of lines."""
    disable_nagle_algorithm = True
    greeting = ""

    def handle(self):
        try:
            self.tell(self.greeting)
            for raw in self.rfile:
                if not raw.endswith(b"\r\n") or not self.on_line(raw.decode().rstrip("\r\n")):
                    return
        except OSError:
            pass  # whoever was connected died

    def tell(self, *lines: str) -> None:
        self.connection.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def on_line(self, line: str) -> bool:
        """False: the connection is over."""
        raise NotImplementedError


class MailSide:
    """The gateway's mailbox, and the server that takes its mails."""
    secrets = {"MAIL_PASSWORD": "mail-password"}

    def __init__(self, history: History):
        self.history = history
        self.asked: list[Asked] = []  # its place is its UID, counted from 1
        self.seen: set[int] = set()
        self.taken: list[email.message.EmailMessage] = []
        self.told: set[str] = set()  # their texts
        self._idle: list[Link] = []
        self._lock = threading.Lock()
        side = self

        class Imap(Link):
            greeting = "* OK [CAPABILITY IMAP4rev1 IDLE SASL-IR AUTH=PLAIN] here"
            told = 0  # how many mails this client knows of

            def on_line(self, line: str) -> bool:
                tag, _, command = line.partition(" ")
                return side._imap(self, tag, command)

            def tell_news(self) -> None:
                if self.told != len(side.asked):
                    self.told = len(side.asked)
                    self.tell(f"* {self.told} EXISTS")

        class Smtp(Link):
            greeting = "220 here"

            def on_line(self, line: str) -> bool:
                word = line.partition(" ")[0].upper()
                if word == "DATA":
                    self.tell("354 go on")
                    return self.take()
                self.tell("221 farewell" if word == "QUIT" else "250 fine")
                return word != "QUIT"

            def take(self) -> bool:
                lines = []
                for raw in self.rfile:
                    if raw == b".\r\n":
                        side._take(b"".join(lines))
                        self.tell("250 taken")
                        return True
                    lines.append(raw.removeprefix(b"."))
                return False

        self._imap_server, self._smtp_server = Listening(Imap), Listening(Smtp)
        # No two gateways of a machine read one mailbox, and there are several worlds at a time.
        self.address = f"bot-{os.getpid()}-{self._imap_server.port}@{DOMAIN}"

    def close(self) -> None:
        self._imap_server.close()
        self._smtp_server.close()

    def catch_up(self) -> None:
        self._imap_server.catch_up()
        self._smtp_server.catch_up()

    def config(self, agent: str) -> str:
        return f"""
[channel.mail]
kind = "email"
address = "{self.address}"
imap = "127.0.0.1:{self._imap_server.port}"
imap_tls = "none"
smtp = "127.0.0.1:{self._smtp_server.port}"
smtp_tls = "none"
password = "env:MAIL_PASSWORD"
verify = "none"
backlog = true
allow = ["domain:{DOMAIN}"]
answers_per_hour = 100000
agent = "{agent}"
"""

    # ---- the servers

    def _imap(self, link, tag: str, command: str) -> bool:
        if command == "IDLE":
            return self._wait(link, tag)
        with self._lock:
            if command.startswith("SELECT"):
                link.told = len(self.asked)
                link.tell(f"* {link.told} EXISTS", "* OK [UIDVALIDITY 7] numbers", f"* OK [UIDNEXT {link.told + 1}] next")
            elif wanted := re.match(r"UID SEARCH UID (\d+):(\d+|\*)", command):
                last = len(self.asked) if wanted[2] == "*" else int(wanted[2])
                first, last = sorted((int(wanted[1]), last))  # "5:*" is the last mail where there is no fifth
                link.tell("* SEARCH" + "".join(f" {uid}" for uid in range(max(first, 1), min(last, len(self.asked)) + 1)))
            elif wanted := re.match(r"UID FETCH (\d+) ", command):
                uid = int(wanted[1])
                content = self.asked[uid - 1].bytes(self.address).decode()
                link.tell(f"* {uid} FETCH (UID {uid} RFC822.SIZE {len(content)} INTERNALDATE {imaplib.Time2Internaldate(time.time())}"
                          f" BODY[]<0> {{{len(content)}}}", content + ")")
            elif wanted := re.match(r"UID STORE (\d+) \+FLAGS.SILENT \(\\Seen\)", command):
                self.seen.add(int(wanted[1]))
                self.history.add("seen", text=wanted[1])
            elif not command.startswith(("AUTHENTICATE PLAIN ", "CAPABILITY", "NOOP", "LOGOUT")):
                link.tell(f"{tag} BAD what is {command}?")
                return False
            if command == "CAPABILITY":
                link.tell("* CAPABILITY IMAP4rev1 IDLE")
            link.tell_news()
            link.tell(f"{tag} OK done")
        return command != "LOGOUT"

    def _wait(self, link, tag: str) -> bool:
        with self._lock:
            link.tell("+ waiting")
            link.tell_news()
            self._idle.append(link)
        self.history.add("idle")
        try:
            done = link.rfile.readline()
        finally:
            with self._lock:
                self._idle.remove(link)
        if done != b"DONE\r\n":
            return False
        link.tell(f"{tag} OK done")
        return True

    def _take(self, content: bytes) -> None:
        mail = email.message_from_bytes(content, policy=email.policy.default)
        self.taken.append(mail)
        self.told.add(text_of(mail))
        self.history.add("mail", mail["To"], text_of(mail))

    # ---- people

    def ask(self, who: str, text: str, thread: Asked | None = None) -> Asked:
        """A mail arrives; in the thread of an earlier one if that is given."""
        mail = Asked(who, text, thread.subject if thread else f"About {text}", [*thread.thread, thread.message_id] if thread else [],
                     f"<{text.replace(' ', '-')}@{DOMAIN}>")
        with self._lock:
            self.asked.append(mail)
            for link in self._idle:
                try:
                    link.tell_news()
                except OSError:
                    pass  # it died; the history shows
        return mail

    def until_waited_for(self) -> None:
        run = self.history.run
        self.history.until(lambda: self.history.of("idle", run), 20, "IDLE")

    def until_told(self, *mails: Asked) -> None:
        self.history.until(lambda: all(mail.prompt in self.told for mail in mails), 20, f"mails that answer {[mail.text for mail in mails]}")

    def judge(self) -> Verdict:
        """A mailbox keeps what was not read, so everything that was asked counts as accepted. Copies under one Message-ID are one mail to its
        reader."""
        shown: dict[str, email.message.EmailMessage] = {}
        broken = []
        for mail in self.taken:
            first = shown.setdefault(mail["Message-ID"], mail)
            if [(name, value) for name, value in mail.items() if name != "Date"] != [
                    (name, value) for name, value in first.items() if name != "Date"] or text_of(mail) != text_of(first):
                broken.append(f"two mails are called {mail['Message-ID']}: {text_of(first)!r}, {text_of(mail)!r}")
        # A thread is a conversation of its own: two of one person's are answered beside each other.
        entries = [Entry("said", f"{mail.who} in {(mail.thread or [mail.message_id])[0]}", mail.prompt) for mail in self.asked]
        entries += [e for e in self.history.entries if e.kind == "died"]
        entries += [Entry("reply", f"{mail['To'].addresses[0].username} in {(mail['References'] or 'no thread').split()[0]}", text_of(mail))
                    for mail in shown.values()]
        verdict = judge_chat([*entries, Entry("end")], {mail.prompt for mail in self.asked})
        verdict.broken += broken
        verdict.doubled += len({mail["Message-ID"] for mail in self.taken if mail is not shown[mail["Message-ID"]]})
        by_text = {text_of(mail): mail for mail in shown.values()}
        for uid, asked in enumerate(self.asked, 1):
            answer = by_text.get(asked.prompt)
            if answer and (answer["In-Reply-To"], answer["References"].split(), answer["Subject"]) != (
                    asked.message_id, [*asked.thread, asked.message_id], f"Re: {asked.subject}"):
                verdict.broken.append(f"the answer to {asked.text!r} is in another thread: {answer['References']}")
            if uid not in self.seen:
                verdict.broken.append(f"{asked.text!r} was never marked as read")
        return verdict


class MailTraffic(Traffic):
    """People who write mails, some of them into a thread of theirs."""

    def __init__(self, world: World, dice: random.Random):
        super().__init__(world, dice)
        self.side = world.side(MailSide)

    def one(self, number: int) -> None:
        who = self.dice.choice(PEOPLE)
        earlier = [mail for mail in self.side.asked if mail.who == who and len(mail.thread) < 10]
        self.side.ask(who, f"mail {number}", self.dice.choice(earlier) if earlier and self.dice.random() < 0.5 else None)

    def stop(self) -> None:
        super().stop()
        self.side.until_told(*self.side.asked[-20:])

    def judge(self) -> Verdict:
        return self.side.judge()
