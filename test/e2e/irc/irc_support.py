"""Debian's IRC servers on loopback, and a person (npm irc-framework) who talks to the gateway through them."""

import base64
import json
import os
import pathlib
import queue
import shutil
import socket
import subprocess
import threading
import time

from support.talaria import JUDGES, free_port, node, wait_until


def make_certificates(directory: pathlib.Path) -> dict[str, pathlib.Path]:
    """An authority and a certificate for localhost that it signed, valid for two days."""
    directory.mkdir(parents=True, exist_ok=True)

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", "/CN=test authority", "-addext", "basicConstraints=critical,CA:TRUE", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost",
            "-keyout", "server.key", "-out", "server.csr")
    (directory / "extensions").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "extensions", "-out", "server.pem")
    # ngircd gives up root, and reads its key after that on a rehash.
    for name in ("server.key", "server.pem", "ca.pem"):
        (directory / name).chmod(0o644)
    return {name: directory / file for name, file in (("ca", "ca.pem"), ("cert", "server.pem"), ("key", "server.key"))}


NGIRCD = """
[Global]
  Name = irc.talaria.example
  Info = a server under test
  AdminEMail = nobody@talaria.example
  Listen = 127.0.0.1
  Ports = {plain_port}
  MotdPhrase = "welcome"
[Limits]
  ConnectRetry = 60
  MaxConnectionsIP = 0
  PingTimeout = 120
  PongTimeout = 20
[Options]
  Ident = no
  DNS = no
  PAM = no
  SyslogFacility = local1
[SSL]
  CertFile = {cert}
  KeyFile = {key}
  Ports = {port}
"""

INSPIRCD = """
<config format="xml">
<server name="irc.talaria.example" description="a server under test" network="TestNet" id="0TT">
<admin name="nobody" nick="nobody" email="nobody@talaria.example">
<bind address="127.0.0.1" port="{plain_port}" type="clients">
<bind address="127.0.0.1" port="{port}" type="clients" sslprofile="clients">
<module name="ssl_gnutls">
<sslprofile name="clients" provider="gnutls" certfile="{cert}" keyfile="{key}">
<module name="cap">
<module name="ircv3">
<module name="ircv3_accounttag">
<module name="ircv3_msgid">
<module name="ircv3_servertime">
<module name="ircv3_chghost">
<module name="botmode">
<module name="cloaking">
<cloak mode="half" key="{cloak_key}" prefix="cloak.">
<module name="conn_umodes">
{more}
<class name="shutdown" commands="DIE RESTART REHASH">
<connect allow="*" timeout="60" pingfreq="120" sendq="262144" recvq="8192" threshold="50" fakelag="on" localmax="100"
         globalmax="100" resolvehostnames="no" modes="+x" useident="no">
<dns server="127.0.0.1" timeout="1">
<performance softlimit="1000" somaxconn="128" nouserdns="yes">
<options prefixquit="Quit: " hostintopic="no" pingwarning="15" defaultmodes="not">
<security hidesplits="no" maxtargets="5">
<path configdir="{directory}" datadir="{directory}" logdir="{directory}" runtimedir="{directory}">
<log method="file" type="* -USERINPUT -USEROUTPUT" level="default" target="inspircd.log">
"""


class IrcServer:
    """ngircd or inspircd on a port of its own; survives being killed: start() again."""

    def __init__(self, kind: str, directory: pathlib.Path, certificates: dict[str, pathlib.Path], more: str = ""):
        self.kind = kind
        self.directory = directory
        self.port = free_port()  # TLS
        self.plain_port = free_port()
        self.certificates = certificates
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o755)
        self.config = directory / f"{kind}.conf"
        template = {"ngircd": NGIRCD, "inspircd": INSPIRCD}[kind]
        self.config.write_text(template.format(port=self.port, plain_port=self.plain_port, cert=certificates["cert"],
                                               key=certificates["key"], directory=directory, cloak_key="k" * 40, more=more))
        self.process = None

    def command(self) -> list[str]:
        program = shutil.which(self.kind, path="/usr/sbin:/usr/bin:" + os.environ.get("PATH", ""))
        if program is None:
            raise FileNotFoundError(f"{self.kind} is missing: apt-get install {self.kind}")
        if self.kind == "ngircd":
            return [program, "--nodaemon", "--config", str(self.config)]
        return [program, "--nofork", "--nopid", "--config", str(self.config)] + (["--runasroot"] if os.geteuid() == 0 else [])

    def start(self) -> "IrcServer":
        with open(self.directory / "output.log", "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def listening():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.kind} ended with {self.process.returncode}: "
                                   f"{(self.directory / 'output.log').read_text(errors='replace')[-2000:]}")
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return True
            except OSError:
                return False
        wait_until(listening, 20, f"{self.kind} listening")
        return self

    def kill(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.kill()


SERVICES = """
<module name="spanningtree">
<module name="services_account">
<module name="sasl">
<sasl target="services.talaria.example" requiressl="yes">
<bind address="127.0.0.1" port="{port}" type="servers">
<link name="services.talaria.example" ipaddr="127.0.0.1" port="{port}" allowmask="127.0.0.1" sendpass="link" recvpass="link">
<uline server="services.talaria.example" silent="yes">
"""


class Services:
    """Accounts for inspircd's m_sasl: the least of a services package, over the server protocol 1205 (InspIRCd 3)."""

    def __init__(self, accounts: dict[str, str]):
        self.accounts = accounts  # name → password
        self.port = free_port()
        self.config = SERVICES.format(port=self.port)
        self.attempts: list[tuple[str, bool]] = []  # account, let in
        self.transcript: list[str] = []
        self.linked = threading.Event()

    def start(self) -> "Services":
        self.socket = socket.create_connection(("127.0.0.1", self.port), 10)
        threading.Thread(target=self._serve, daemon=True).start()
        self._send("CAPAB START 1205", "CAPAB CAPABILITIES :PROTOCOL=1205", "CAPAB END",
                   "SERVER services.talaria.example link 0 1SV :services")
        if not self.linked.wait(10):
            raise RuntimeError(f"no link to inspircd: {self.transcript}")
        return self

    def stop(self) -> None:
        self.socket.close()

    def _send(self, *lines: str) -> None:
        self.socket.sendall("".join(line + "\r\n" for line in lines).encode())

    def _serve(self) -> None:
        try:
            for raw in self.socket.makefile("rb"):
                line = raw.decode(errors="replace").rstrip("\r\n")
                self.transcript.append(line)
                self._on_line(line)
        except (OSError, ValueError):
            pass  # stop() closed it

    def _on_line(self, line: str) -> None:
        words = line.split(" ")
        if words[0] == "SERVER":
            self._send(f":1SV BURST {int(time.time())}", ":1SV METADATA * saslmechlist :PLAIN", ":1SV ENDBURST")
        elif "ENDBURST" in words[1:2]:
            self.linked.set()
        elif words[1:2] == ["PING"]:
            self._send(f":1SV PONG 1SV {words[0].lstrip(':')}")
        elif words[1:2] == ["ENCAP"] and words[3:4] == ["SASL"]:
            self._on_sasl(client=words[4], verb=words[6], data=words[7].lstrip(":") if len(words) > 7 else "")

    def _on_sasl(self, client: str, verb: str, data: str) -> None:
        if verb == "S":
            self._send(f":1SV ENCAP 0TT SASL 1SVAAAAAA {client} C +")
        elif verb == "C":
            _, account, password = base64.b64decode(data).decode().split("\0")
            right = self.accounts.get(account) == password
            self.attempts.append((account, right))
            if right:
                self._send(f":1SV METADATA {client} accountname :{account}")
            self._send(f":1SV ENCAP 0TT SASL 1SVAAAAAA {client} D {'S' if right else 'F'}")


class Human:
    """A person with an IRC client. Events of the client come in order; expect() looks at each once."""

    def __init__(self, server: IrcServer, nick: str, **options):
        environment = {**os.environ, "NODE_EXTRA_CA_CERTS": str(server.certificates["ca"])}
        self.nick = nick
        self.process = subprocess.Popen([node(), str(JUDGES / "irc_human.mjs")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, env=environment)
        self.events: queue.Queue = queue.Queue()
        self.history: list[dict] = []
        threading.Thread(target=self._read, daemon=True).start()
        self.connect(server, **options)

    def _read(self):
        for line in self.process.stdout:
            self.events.put(json.loads(line))

    def do(self, what: str, **fields) -> None:
        self.process.stdin.write(json.dumps({"do": what, **fields}) + "\n")
        self.process.stdin.flush()

    def connect(self, server: IrcServer, **options) -> None:
        self.do("connect", host="localhost", port=server.port, nick=self.nick, tls=True, **options)
        self.expect(event="registered")

    def next(self, timeout: float) -> dict | None:
        try:
            event = self.events.get(timeout=max(timeout, 0.001))
        except queue.Empty:
            return None
        self.history.append(event)
        return event

    def expect(self, timeout: float = 20.0, **wanted) -> dict:
        """The next event with these fields; others are passed over."""
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            event = self.next(left)
            if event and all(event.get(key) == value for key, value in wanted.items()):
                return event
        raise AssertionError(f"{self.nick} saw no {wanted} within {timeout} s, but {self.history[-20:]}")

    def sees_arrive(self, nick: str, timeout: float = 60.0) -> None:
        """Waits until `nick` joins a channel we are in, or somebody there takes that nick."""
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            event = self.next(left)
            if event and (event["event"], event.get("to", event.get("nick"))) in (("joins", nick), ("renames", nick)):
                return
        raise AssertionError(f"{self.nick} saw no {nick} arrive within {timeout} s, but {self.history[-20:]}")

    def messages(self, quiet: float, timeout: float = 60.0) -> list[dict]:
        """All messages until nothing came for `quiet` seconds."""
        found = []
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            event = self.next(quiet)
            if event is None:
                return found
            if event["event"] == "message":
                found.append(event)
        raise AssertionError(f"{self.nick} is still being told things after {timeout} s: {found[-5:]}")

    def join(self, channel: str) -> None:
        self.do("join", channel=channel)
        self.expect(event="joined", channel=channel)

    def say(self, target: str, text: str) -> None:
        self.do("say", target=target, text=text)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
