"""Debian's dovecot and postfix on loopback, over TLS, each with a private directory: a mail server of our own under test.

Postfix takes mail on three ports: `verified` (it writes into each mail that DMARC passed for example.org), `open` (it writes that
DMARC failed) and `submission` (STARTTLS and login; what mail programs and the gateway use). Mail for example.org lands in
mailboxes that dovecot serves. Both give up root themselves, so these tests need root; elsewhere they are skipped aloud.
"""

import email
import email.policy
import imaplib
import os
import pathlib
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import tempfile
from email.message import EmailMessage
from email.utils import make_msgid

from support.talaria import free_port, wait_until

DOMAIN = "example.org"
AUTHSERV = "mx.talaria.test"
PASSWORD = "a secret, \"with\" \\ signs"

DOVECOT = """
base_dir = {dir}/run
state_dir = {dir}/state
instance_name = talaria-test-{imaps}
log_path = {dir}/dovecot.log
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <{cert}
ssl_key = <{key}
disable_plaintext_auth = no
auth_mechanisms = plain login
mail_location = maildir:{dir}/mail/%u
mail_max_userip_connections = 1000
imap_idle_notify_interval = 30 secs
first_valid_uid = 1
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {dir}/users
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={dir}/mail/%u
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service auth {{
  inet_listener {{
    address = 127.0.0.1
    port = {sasl}
  }}
}}
{more}
"""

POSTFIX = """
compatibility_level = 3.6
queue_directory = {dir}/spool
data_directory = {dir}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {dir}/postfix.log
maillog_file_prefixes = {dir}
myhostname = {authserv}
mydestination =
mynetworks =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
smtputf8_enable = no
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {dir}/mail
virtual_mailbox_maps = texthash:{dir}/mailboxes
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
smtpd_tls_cert_file = {cert}
smtpd_tls_key_file = {key}
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:{sasl}
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_client_connection_count_limit = 0
default_process_limit = 40
message_size_limit = 60000000
virtual_mailbox_limit = 0
mailbox_size_limit = 0
"""

MASTER = """
127.0.0.1:{verified} inet n - n - - smtpd
  -o {{ smtpd_sender_restrictions = check_sender_access static:{{PREPEND Authentication-Results: {authserv}; dmarc=pass header.from={domain}}} }}
127.0.0.1:{open} inet n - n - - smtpd
  -o {{ smtpd_sender_restrictions = check_sender_access static:{{PREPEND Authentication-Results: {authserv}; dmarc=fail header.from={domain}}} }}
127.0.0.1:{submission} inet n - n - - smtpd
  -o smtpd_tls_security_level=encrypt -o smtpd_sasl_auth_enable=yes
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def missing() -> str:
    """Why these servers can't be used here; empty: they can."""
    if os.geteuid() != 0:
        return "dovecot and postfix need root to become their own users"
    for program in ("dovecot", "postfix"):
        if shutil.which(program, path="/usr/sbin:/usr/bin") is None:
            if program == "postfix" and os.path.exists("/usr/sbin/sendmail"):
                return "postfix would take the place of this machine's own mail server"
            raise FileNotFoundError(f"{program} is missing: tools/install-packages --test")
    return ""


def make_certificates(directory: pathlib.Path, *names: str) -> dict[str, pathlib.Path]:
    """An authority, and a certificate for localhost and these names that it signed, valid for two days."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *new_key, "-days", "2", "-subj", "/CN=test authority",
            "-addext", "basicConstraints=critical,CA:TRUE", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", *new_key, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr")
    (directory / "extensions").write_text(f"subjectAltName={','.join(f'DNS:{name}' for name in ('localhost', *names))},IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "extensions", "-out", "server.pem")
    for name in ("server.key", "server.pem", "ca.pem"):
        (directory / name).chmod(0o644)
    return {"ca": directory / "ca.pem", "cert": directory / "server.pem", "key": directory / "server.key"}


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class MailServer:
    """Both servers. `people`: local parts of the addresses with a mailbox, beside the gateway's own, "bot". `names`: further ones of the
    servers, in their certificate."""

    def __init__(self, people=("alice", "bob"), dovecot_more: str = "", names=()):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="talaria-mail-", dir="/tmp"))
        self.directory.chmod(0o755)
        self.people = ("bot", *people)
        self.ports = {name: free_port() for name in ("imap", "imaps", "sasl", "verified", "open", "submission")}
        self.certificates = make_certificates(self.directory, *names)
        self.postfix_directory = self.directory / "postfix"
        self.dovecot = None
        self.postfix = None
        values = {"dir": self.directory, "domain": DOMAIN, "authserv": AUTHSERV, "more": dovecot_more, **self.ports,
                  **self.certificates}
        for name in ("run", "state", "spool", "data", "mail", "postfix"):
            (self.directory / name).mkdir(mode=0o755)
        shutil.chown(self.directory / "mail", "nobody", "nogroup")
        shutil.chown(self.directory / "data", "postfix")
        self.write("users", "".join(f"{self.address(p)}:{{PLAIN}}{PASSWORD}\n" for p in self.people))
        self.write("mailboxes", "".join(f"{self.address(p)} {self.address(p)}/\n" for p in self.people))
        self.write("dovecot.conf", DOVECOT.format(**values))
        self.write("postfix/main.cf", POSTFIX.format(**values))
        self.write("postfix/master.cf", MASTER.format(**values))

    def write(self, name: str, text: str) -> None:
        path = self.directory / name
        path.write_text(text)
        path.chmod(0o644)

    @staticmethod
    def address(person: str) -> str:
        return f"{person}@{DOMAIN}"

    def start(self) -> "MailServer":
        self.start_dovecot()
        self.start_postfix()
        return self

    def start_dovecot(self) -> None:
        with open(self.directory / "dovecot.out", "ab") as out:
            self.dovecot = subprocess.Popen(["/usr/sbin/dovecot", "-F", "-c", str(self.directory / "dovecot.conf")],
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        self.await_ports("dovecot", self.dovecot, "imaps", "imap", "sasl")

    def start_postfix(self) -> None:
        conf = str(self.postfix_directory)
        subprocess.run(["/usr/sbin/postfix", "-c", conf, "check"], check=True, capture_output=True)
        with open(self.directory / "postfix.out", "ab") as out:
            self.postfix = subprocess.Popen(["/usr/lib/postfix/sbin/master", "-c", conf, "-d"], stdin=subprocess.DEVNULL,
                                            stdout=out, stderr=out, start_new_session=True)
        self.await_ports("postfix", self.postfix, "verified", "open", "submission")

    def await_ports(self, name, process, *ports) -> None:
        def there():
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended with {process.returncode}: {self.logs()[-3000:]}")
            return all(listens(self.ports[port]) for port in ports)
        wait_until(there, 20, f"{name} that listens")

    def stop_dovecot(self, how=signal.SIGTERM) -> None:
        self._end("dovecot", how)

    def stop_postfix(self, how=signal.SIGTERM) -> None:
        self._end("postfix", how)

    def _end(self, name: str, how) -> None:
        process = getattr(self, name)
        if process is None:
            return
        if process.poll() is None:
            # The master's own children, not by name: they are in its session.
            os.killpg(process.pid, how)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)
        setattr(self, name, None)

    def signal_dovecot(self, what) -> None:
        os.killpg(self.dovecot.pid, what)

    def renumber(self, person: str) -> None:
        """A new UIDVALIDITY for that mailbox, as after a restored backup. Dovecot must be stopped."""
        assert self.dovecot is None
        for path in (self.directory / "mail" / self.address(person)).glob("dovecot*"):
            path.unlink() if path.is_file() else shutil.rmtree(path)

    def __enter__(self) -> "MailServer":
        return self

    def __exit__(self, *_) -> None:
        self.stop_postfix()
        self.stop_dovecot()
        shutil.rmtree(self.directory, ignore_errors=True)

    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-4000:] for path in sorted(self.directory.glob("*.log")) +
                         sorted(self.directory.glob("*.out")))

    # --- People

    def send(self, message: EmailMessage | bytes, port: str = "verified", sender: str = "", to: str = "") -> str:
        """Gives a mail to postfix as another server would; returns its Message-ID."""
        with smtplib.SMTP("127.0.0.1", self.ports[port], timeout=30) as smtp:
            if isinstance(message, bytes):
                smtp.sendmail(sender or self.address("alice"), [to or self.address("bot")], message)
                return ""
            smtp.send_message(message, from_addr=sender or None, to_addrs=[to] if to else None)
        return message["Message-ID"]

    def mail(self, text: str, person: str = "alice", subject: str = "A question", **headers) -> EmailMessage:
        message = EmailMessage()
        message["From"] = f"{person.title()} <{self.address(person)}>"
        message["To"] = self.address("bot")
        message["Subject"] = subject
        message["Message-ID"] = make_msgid(domain=DOMAIN)
        for name, value in headers.items():
            del message[name.replace("_", "-")]
            message[name.replace("_", "-")] = value
        message.set_content(text)
        return message

    def imap(self, person: str) -> imaplib.IMAP4_SSL:
        context = ssl.create_default_context(cafile=self.certificates["ca"])
        client = imaplib.IMAP4_SSL("localhost", self.ports["imaps"], ssl_context=context, timeout=30)
        client.login(self.address(person), PASSWORD)
        return client

    def received(self, person: str) -> list[EmailMessage]:
        """All mails in that person's mailbox, through IMAP."""
        with self.imap(person) as client:
            client.select("INBOX", readonly=True)
            _, (numbers,) = client.search(None, "ALL")
            if not numbers:
                return []
            _, parts = client.fetch(b",".join(numbers.split()), "(BODY.PEEK[])")
            return [email.message_from_bytes(part[1], policy=email.policy.default) for part in parts
                    if isinstance(part, tuple)]

    def count(self, person: str) -> int:
        """How many mails are in that person's mailbox; -1 where that can't be asked now."""
        try:
            with self.imap(person) as client:
                return int(client.select("INBOX", readonly=True)[1][0])
        except (OSError, imaplib.IMAP4.error):
            return -1

    def wait_received(self, person: str, count: int, timeout: float = 60) -> list[EmailMessage]:
        def enough():
            mails = self.received(person)
            return mails if len(mails) >= count else None
        return wait_until(enough, timeout, f"{count} mails for {person}", interval=0.2)

    def flags(self, person: str) -> list[str]:
        with self.imap(person) as client:
            client.select("INBOX", readonly=True)
            _, parts = client.fetch("1:*", "(FLAGS)")
            return [part.decode() for part in parts if part]

    # --- The gateway

    def channel(self, name: str = "mail", **changes) -> str:
        """The gateway's [channel.NAME]."""
        keys = {"kind": '"email"', "address": f'"{self.address("bot")}"', "imap": f'"localhost:{self.ports["imaps"]}"',
                "smtp": f'"localhost:{self.ports["submission"]}"', "password": '"env:MAIL_PASSWORD"',
                "ca_file": f'"{self.certificates["ca"]}"', "trusted_authserv": f'"{AUTHSERV}"',
                "allow": f'["domain:{DOMAIN}"]', "poll": '"30s"', "answers_per_hour": "100000", **changes}
        return f"[channel.{name}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items() if value is not None)
