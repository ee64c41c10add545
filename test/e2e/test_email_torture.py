"""Each mail is answered once: people write, while the gateway is killed, the mail servers restart and the mailbox is numbered anew
at random moments. A number of mails in ./check, 1 000 in full (TALARIA_TORTURE=full). The seed is printed."""

import collections
import os
import random
import threading
import time

import pytest

from support import mail_server
from support.mail_server import PASSWORD, MailServer
from support.talaria import Gateway, wait_until
from support.torture import report, rounds

pytestmark = [pytest.mark.torture, pytest.mark.skipif(bool(mail_server.missing()), reason=mail_server.missing() or "-")]

PEOPLE = ("alice", "bob", "carol")

CONFIG = """
[agent.default]
kind = "echo"
"""


def send_until_taken(server, message):
    """As a mail server would: again after a while, until it was taken. May put it there twice, with one Message-ID."""
    while True:
        try:
            server.send(message)
            return
        except OSError:  # smtplib's errors are OSErrors
            time.sleep(0.3)


def write_mails(server, mails, pace):
    for message in mails:
        send_until_taken(server, message)
        time.sleep(pace())


def hinder(server, gateway, chance, counts):
    """One mishap; afterwards everything runs again."""
    what = chance.choices(["kill", "stop", "imap", "smtp", "renumber"], [12, 2, 2, 2, 1])[0]
    counts[what] += 1
    if what in ("kill", "stop"):
        gateway.kill9() if what == "kill" else gateway.stop()
        time.sleep(chance.uniform(0, 0.3))
        gateway.start().wait_ready()
    elif what == "smtp":
        server.stop_postfix()
        time.sleep(chance.uniform(0, 1))
        server.start_postfix()
    else:
        server.stop_dovecot()
        if what == "renumber":
            server.renumber("bot")
            time.sleep(1.1)  # UIDVALIDITY is a time in seconds
        server.start_dovecot()


def test_each_mail_is_answered_once(tmp_path):
    seed = int(os.environ.get("TALARIA_SEED", random.SystemRandom().randrange(2**32)))
    chance = random.Random(seed)
    total = rounds(30, 1000)
    print(f"seed {seed}", flush=True)
    began = time.monotonic()
    with MailServer(people=PEOPLE) as server:
        server.start()
        mails = [server.mail(f"question {n}", PEOPLE[n % len(PEOPLE)], subject=f"number {n}") for n in range(total)]
        with Gateway(tmp_path / "home", CONFIG + server.channel(), env={"MAIL_PASSWORD": PASSWORD}) as gateway:
            gateway.start().wait_ready().wait_channel_up("mail")
            pace = random.Random(seed + 1)
            writer = threading.Thread(target=write_mails, args=(server, mails, lambda: pace.uniform(0, 0.2)))
            writer.start()
            counts = collections.Counter()
            while writer.is_alive():
                time.sleep(chance.uniform(0, 1.5))
                hinder(server, gateway, chance, counts)
            writer.join()

            def answered():
                """Copies under one Message-ID don't count twice."""
                return (sum(server.count(person) for person in PEOPLE) >= total
                        and len({mail["In-Reply-To"] for person in PEOPLE for mail in server.received(person)}) >= total)
            try:
                wait_until(answered, 120, f"{total} answers (seed {seed})", 0.5)
            except TimeoutError as late:
                print(late, gateway.output()[-6000:])
            time.sleep(2)  # time for what should not come
            answers = [mail for person in PEOPLE for mail in server.received(person)]
            dead = gateway.run("outbox", "list", "--json", check=False).stdout
    ids = collections.defaultdict(set)
    copies = collections.Counter()
    for mail in answers:
        ids[mail["In-Reply-To"]].add(mail["Message-ID"])
        copies[mail["Message-ID"]] += 1
        assert mail["References"] == mail["In-Reply-To"]
    lost = [mail["Subject"] for mail in mails if mail["Message-ID"] not in ids]
    doubled = [mail["Subject"] for mail in mails if len(ids.get(mail["Message-ID"], ())) > 1]
    report("email", mails=total, seed=seed, lost=len(lost), doubled=len(doubled), copies=sum(copies.values()) - len(copies),
           seconds=round(time.monotonic() - began), **{f"mishaps_{name}": number for name, number in counts.items()})
    assert not lost, f"seed {seed}: {lost}; dead: {dead}"
    assert not doubled, f"seed {seed}: {doubled}"
    assert len(ids) == total
