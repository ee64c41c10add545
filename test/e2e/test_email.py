"""E-mail through Debian's dovecot and postfix, over TLS: people write with smtplib and swaks and read their mailbox over IMAP."""

import re
import shutil
import signal
import smtplib
import subprocess
import threading
import time

import pytest

from support import mail_server
from support.mail_server import AUTHSERV, DOMAIN, PASSWORD, MailServer
from support.talaria import Gateway, wait_until

CONFIG = """
[agent.default]
kind = "echo"
"""

pytestmark = pytest.mark.skipif(bool(mail_server.missing()), reason=mail_server.missing() or "-")


@pytest.fixture
def server():
    with MailServer() as server:
        server.start()
        yield server


def gateway_for(server, tmp_path, **changes) -> Gateway:
    return Gateway(tmp_path / "home", CONFIG + server.channel(**changes), env={"MAIL_PASSWORD": PASSWORD})


@pytest.fixture
def gateway(server, tmp_path):
    with gateway_for(server, tmp_path) as gateway:
        gateway.start().wait_ready().wait_channel_up("mail")
        yield gateway


def body(message) -> str:
    return message.get_content().replace("\r\n", "\n")


def ask(server, text="hello", person="alice", **more):
    """Sends a mail; returns it and the first answer to it."""
    port = more.pop("port", "verified")
    message = server.mail(text, person, **more)
    server.send(message, port)
    return message, answer_to(server, message, person)


def answers_to(server, message, person="alice"):
    return [mail for mail in server.received(person) if mail["In-Reply-To"] == message["Message-ID"]]


def answer_to(server, message, person="alice", timeout=60):
    return wait_until(lambda: answers_to(server, message, person), timeout, f"answer to {message['Subject']}", 0.1)[0]


def test_an_answer_in_its_thread(server, gateway):
    first, answer = ask(server, "How are you?\n-- \nAlice", subject="Grüße, Bot")
    assert body(answer) == "Grüße, Bot\n\nHow are you?\n"
    assert answer["Subject"] == "Re: Grüße, Bot"
    assert answer["From"].addresses[0].addr_spec == server.address("bot")
    assert answer["References"] == first["Message-ID"]
    assert answer["Auto-Submitted"] == "auto-replied"
    assert answer.get_content_type() == "text/plain"
    assert "\\Seen" in server.flags("bot")[0]

    history = "".join(f"> {line}\n" for line in body(answer).splitlines())
    second, again = ask(server, f"And now?\n\nOn Monday, Talaria <{server.address('bot')}> wrote:\n{history}",
                        subject="Re: Grüße, Bot", In_Reply_To=answer["Message-ID"],
                        References=f"{first['Message-ID']} {answer['Message-ID']}")
    assert body(again) == "And now?\n"
    assert again["References"].split() == [first["Message-ID"], answer["Message-ID"], second["Message-ID"]]
    assert again["Subject"] == "Re: Grüße, Bot"
    sessions = gateway.run("sessions", "list", "--json").stdout
    assert sessions.count("thread/mail/") == 1, "one thread, one session"


def test_html_and_other_character_sets(server, gateway):
    message = server.mail("")
    message.set_content("<p>F&uuml;r <b>dich</b><br>allein</p>", subtype="html", charset="iso-8859-1")
    server.send(message)
    assert body(answer_to(server, message)) == "A question\n\nFür dich\nallein\n"
    message = server.mail("Größe: 5 €", subject="Maß")
    message.set_content("Größe: 5 €\n", charset="windows-1252", cte="quoted-printable")
    message.add_alternative("<p>rich</p>", subtype="html")
    server.send(message)
    assert body(answer_to(server, message)) == "Maß\n\nGröße: 5 €\n"


def test_an_attached_file_is_kept(server, gateway):
    message = server.mail("Look at this")
    content = bytes(range(256)) * 40
    message.add_attachment(content, maintype="application", subtype="x-test", filename="../numbers ü.bin")
    server.send(message)
    answer_to(server, message)
    kept = [path for path in (gateway.home / "state").rglob("*") if path.is_file() and path.read_bytes() == content]
    assert len(kept) == 1, "the file is in the state directory"


def test_who_is_not_believed_is_not_answered(server, gateway):
    forged = server.mail("I am Alice, believe me", Authentication_Results=f"{AUTHSERV}; dmarc=pass header.from={DOMAIN}")
    server.send(forged, port="open")
    stranger = server.mail("Let me in", From="Mallory <mallory@evil.test>")
    server.send(stranger, sender="mallory@evil.test")
    two = server.mail("Both of us", From=f"alice@{DOMAIN}, bob@{DOMAIN}")
    server.send(two, sender=server.address("alice"))
    _, answer = ask(server, "me", person="bob")
    assert answer
    assert server.received("alice") == []
    log = gateway.output()
    assert "dmarc" in log.lower() and "mallory@evil.test is not in allow" in log and "not exactly one address" in log
    assert log.count("is not answered") == 3
    assert "believe me" not in log, "what people write is none of the log's business"
    assert [("\\Seen" in flags) for flags in server.flags("bot")] == [False, False, False, True]


def test_programs_are_not_answered(server, gateway):
    for number, headers in enumerate([{"Auto-Submitted": "auto-replied"}, {"Precedence": "bulk"}, {"List-Id": "<l.example.org>"},
                                      {"From": f"MAILER-DAEMON@{DOMAIN}"}, {"From": server.address("bot")},
                                      {"X-Talaria-Loop": "another@example.org"}]):
        message = server.mail("automatic", subject=str(number))
        for name, value in headers.items():
            del message[name]
            message[name] = value
        server.send(message, sender=server.address("alice"))
    bounce = server.mail("it could not be delivered", subject="bounce")
    with smtplib.SMTP("127.0.0.1", server.ports["verified"]) as smtp:
        smtp.sendmail("", [server.address("bot")], bounce.as_bytes())
    ask(server, "a person", person="bob")
    assert server.received("alice") == []
    assert gateway.output().count("is not answered") == 7


@pytest.mark.parametrize("honest", [True, False])
def test_an_auto_responder_does_not_run_away(server, tmp_path, honest):
    """Bob's mailbox answers everything at once; one that says so is left alone, one that hides it comes to rest."""
    with gateway_for(server, tmp_path, answers_per_hour=5) as gateway:
        gateway.start().wait_ready().wait_channel_up("mail")
        done, seen = threading.Event(), set()

        def respond():
            while not done.is_set():
                for mail in server.received("bob"):
                    if mail["Message-ID"] in seen:
                        continue
                    seen.add(mail["Message-ID"])
                    headers = {"Auto_Submitted": "auto-replied"} if honest else {}
                    server.send(server.mail("I am on holiday", "bob", subject=mail["Subject"], In_Reply_To=mail["Message-ID"],
                                            **headers))
                time.sleep(0.05)

        responder = threading.Thread(target=respond)
        responder.start()
        try:
            server.send(server.mail("hello", "bob"))
            why = "it says Auto-Submitted" if honest else "more than 5 mails of"
            wait_until(lambda: why in gateway.output(), 60, why)
            ask(server, "still there?")
        finally:
            done.set()
            responder.join()
        assert len(server.received("bob")) == (1 if honest else 5)


def test_what_came_while_the_gateway_was_down(server, tmp_path):
    old = server.mail("from before")
    server.send(old)
    server.wait_received("bot", 1)
    with gateway_for(server, tmp_path) as gateway:
        gateway.start().wait_ready().wait_channel_up("mail")
        gateway.stop()
        meanwhile = [server.mail(f"number {n}", subject=f"s{n}") for n in range(3)]
        for message in meanwhile:
            server.send(message)
            server.wait_received("bot", 2 + meanwhile.index(message))
        gateway.start().wait_ready()
        for message in meanwhile:
            answer_to(server, message)
        order = [mail["Subject"] for mail in server.received("alice")]
        assert sorted(order) == ["Re: s0", "Re: s1", "Re: s2"]
        assert answers_to(server, old) == [], "from before the first start"


def test_backlog_of_the_first_start(server, tmp_path):
    old = server.mail("from before")
    server.send(old)
    server.wait_received("bot", 1)
    with gateway_for(server, tmp_path, backlog="true") as gateway:
        gateway.start()
        answer_to(server, old)


def test_the_imap_server_restarts(server, gateway):
    ask(server, "one")
    server.stop_dovecot()
    wait_until(lambda: gateway.channel("mail").get("state") == "down", 20, "a channel that is down")
    meanwhile = server.mail("two")
    server.send(meanwhile)
    server.start_dovecot()
    answer_to(server, meanwhile)
    gateway.wait_channel_up("mail")
    assert len(server.received("alice")) == 2


def test_the_smtp_server_is_away(server, gateway):
    message = server.mail("one")
    server.send(message)
    server.wait_received("bot", 1)
    server.stop_postfix()
    second = (server.directory / "mail" / server.address("bot") / "new" / "1.test")
    late = server.mail("two", subject="late", Authentication_Results=f"{AUTHSERV}; dmarc=pass header.from={DOMAIN}")
    second.write_bytes(late.as_bytes())
    shutil.chown(second, "nobody", "nogroup")
    wait_until(lambda: "will be tried again" in gateway.output(), 30, "an answer that waits")
    server.start_postfix()
    answer_to(server, late)
    answer_to(server, message)
    time.sleep(1)
    assert len(server.received("alice")) == 2


def test_the_mailbox_is_numbered_anew(server, gateway):
    for n in range(3):
        ask(server, f"number {n}", subject=f"s{n}")
    server.stop_dovecot()
    server.renumber("bot")
    late = server.mail("after that")
    server.send(late)
    time.sleep(1.1)  # UIDVALIDITY is a time in seconds
    server.start_dovecot()
    answer_to(server, late)
    assert len(server.received("alice")) == 4, "what was answered is recognised"


def test_a_deaf_server_is_noticed(server, tmp_path):
    """Its processes are frozen: the connection lives, and nothing comes any more (R7)."""
    poll = 2
    with gateway_for(server, tmp_path, poll=f'"{poll}s"') as gateway:
        gateway.start().wait_ready().wait_channel_up("mail")
        server.signal_dovecot(signal.SIGSTOP)
        frozen = time.monotonic()
        try:
            wait_until(lambda: gateway.channel("mail").get("state") == "down", 30, "a channel that is down", 0.05)
            noticed = time.monotonic() - frozen
        finally:
            server.signal_dovecot(signal.SIGCONT)
        assert noticed <= 2 * poll
        gateway.wait_channel_up("mail", 60)
        ask(server, "heard again")


def test_starttls_and_a_certificate_of_somebody_else(server, tmp_path):
    with gateway_for(server, tmp_path, imap=f'"localhost:{server.ports["imap"]}"', imap_tls='"starttls"') as gateway:
        gateway.start().wait_ready().wait_channel_up("mail")
        ask(server, "over STARTTLS")
    with gateway_for(server, tmp_path, ca_file=None) as gateway:
        gateway.start()
        wait_until(lambda: "certificate" in (gateway.channel("mail").get("error") or ""), 20, "a refused certificate")
        assert gateway.channel("mail")["state"] == "down"
        assert PASSWORD not in gateway.output()


def test_a_message_of_our_own(server, gateway):
    done = gateway.run("send", "--to", f"mail:{server.address('alice')}", "Dinner is ready", check=False)
    assert done.returncode == 0, done.stderr
    (mail,) = server.wait_received("alice", 1)
    assert body(mail) == "Dinner is ready\n" and mail["Auto-Submitted"] == "auto-generated"


def test_swaks(server, gateway):
    """Another mail program: what it sends is understood."""
    swaks = shutil.which("swaks")
    assert swaks, "swaks is missing: tools/install-packages --test"
    done = subprocess.run([swaks, "--server", f"127.0.0.1:{server.ports['verified']}", "--from", server.address("alice"),
                           "--to", server.address("bot"), "--header", "Subject: from swaks", "--body", "hello\\n.\\nthere"],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (answer,) = server.wait_received("alice", 1)
    assert answer["Subject"] == "Re: from swaks"
    assert re.search(r"hello\n\.\nthere", body(answer))
