"""npm `nodemailer` writes to the gateway, npm `imapflow` reads the answer: as a person's mail program would."""

import json
import os
import subprocess

import pytest

from support import mail_server
from support.mail_server import PASSWORD, MailServer
from support.talaria import JUDGES, Gateway, node

CONFIG = """
[agent.default]
kind = "echo"
"""

pytestmark = pytest.mark.skipif(bool(mail_server.missing()), reason=mail_server.missing() or "-")


@pytest.fixture(scope="module")
def server():
    with MailServer() as server:
        server.start()
        yield server


@pytest.fixture(scope="module")
def gateway(server, tmp_path_factory):
    home = tmp_path_factory.mktemp("mail")
    with Gateway(home, CONFIG + server.channel(), env={"MAIL_PASSWORD": PASSWORD}) as gateway:
        yield gateway.start().wait_ready().wait_channel_up("mail")


def correspond(server, **mail) -> dict:
    """Sends a mail as Alice; returns what her mail program shows of the answer."""
    order = {"smtp": server.ports["verified"], "imap": server.ports["imaps"], "user": server.address("alice"), "password": PASSWORD,
             "mail": {"from": {"name": "Älice", "address": server.address("alice")}, "to": server.address("bot"), **mail}}
    done = subprocess.run([node(), str(JUDGES / "mail_person.mjs")], input=json.dumps(order), capture_output=True, text=True,
                          timeout=60, env={**os.environ, "NODE_EXTRA_CA_CERTS": str(server.certificates["ca"])}, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_conversation(server, gateway):
    answer = correspond(server, subject="Grüße aus Köln 🙂", text="Wie geht es?\n", html="<p>Wie geht es?</p>")
    envelope = answer["envelope"]
    assert envelope["subject"] == "Re: Grüße aus Köln 🙂"
    assert envelope["from"][0]["address"] == server.address("bot")
    assert envelope["to"][0]["address"] == server.address("alice")
    assert answer["text"].replace("\r\n", "\n") == "Grüße aus Köln 🙂\n\nWie geht es?\n"
    assert answer["type"] == "text/plain"

    again = correspond(server, subject=envelope["subject"], text="Und jetzt?\n", inReplyTo=envelope["messageId"],
                       references=[answer["messageId"], envelope["messageId"]])
    assert again["text"].strip() == "Und jetzt?"


def test_html_alone_with_a_file(server, gateway):
    answer = correspond(server, subject="Bild", html="<p>Siehe <b>hier</b>:</p>",
                        attachments=[{"filename": "größe.txt", "content": "1 m"}])
    text = answer["text"].replace("\r\n", "\n")
    assert text.startswith("Bild\n\nSiehe hier:\n") and 'attached file "größe.txt", text/plain, 3 bytes' in text
