"""HTTP for the fake Bot API: reads a call, applies the fault that is due, writes the answer. What the answer is, telegram_api.py knows."""

import email
import http.server
import json
import re
import socket
import ssl
import threading
import time
import urllib.parse


class Refusal(Exception):
    """What the Bot API answers to a call that it does not carry out."""

    def __init__(self, code: int, description: str, **parameters):
        super().__init__(description)
        self.code, self.description, self.parameters = code, description, parameters

    def body(self) -> dict:
        body = {"ok": False, "error_code": self.code, "description": self.description}
        return {**body, "parameters": self.parameters} if self.parameters else body


class Gone(Exception):
    """This connection is not answered any more."""


def _value(text: str):
    """Of a form's field or a query's: numbers, objects and booleans are written as JSON there."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def read_parameters(content_type: str, query: str, body: bytes) -> tuple[dict, dict]:
    """(parameters, files by field: (name, bytes))."""
    parameters = {k: _value(v) for k, v in urllib.parse.parse_qsl(query)}
    files = {}
    if content_type.startswith("application/json") and body:
        parameters |= json.loads(body)
    elif content_type.startswith("application/x-www-form-urlencoded"):
        parameters |= {k: _value(v) for k, v in urllib.parse.parse_qsl(body.decode())}
    elif content_type.startswith("multipart/form-data"):
        form = email.message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
        for part in form.get_payload():
            field = part.get_param("name", header="content-disposition")
            header = {name.lower(): value for name, value in part.raw_items()}["content-disposition"]
            if name := re.search(r'filename=(?:"((?:\\.|[^"\\])*)"|(.*))', header):
                name = re.sub(r"\\(.)", r"\1", name.group(1) or name.group(2)).encode("utf-8", "surrogateescape").decode()
                files[field] = (name, part.get_payload(decode=True))
            else:
                parameters[field] = _value(part.get_payload(decode=True).decode())
    return parameters, files


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._serve()

    def do_POST(self):
        self._serve()

    def _serve(self):
        body = self._read_chunks() if "chunked" in self.headers.get("Transfer-Encoding", "") else \
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urllib.parse.urlsplit(self.path)
        try:
            status, kind, answer = self.server.owner.serve(self, urllib.parse.unquote(url.path), url.query, body)
        except Gone:
            self.close_connection = True
            return
        try:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)
        except OSError:
            self.close_connection = True

    def _read_chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body

    def gone(self) -> bool:
        """The client has closed, or reset."""
        try:
            self.connection.setblocking(False)
            return socket.socket.recv(self.connection, 1, socket.MSG_PEEK) == b""  # below TLS, where there is any
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self.connection.setblocking(True)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(self, owner, certificates=None):
        super().__init__(("127.0.0.1", 0), Handler)
        if certificates:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificates["cert"], certificates["key"])
            # The handshake is left to the first read: here it would keep the next client waiting.
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.owner = owner
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def handle_error(self, *_):
        pass  # whoever was connected died

    def close(self):
        self.shutdown()
        self.server_close()


def pause_until(condition: threading.Condition, check, seconds: float | None, now=time.monotonic):
    """Waits on a condition that is held; the value of check(), or None after so many seconds on the clock now()."""
    end = None if seconds is None else now() + seconds
    look = 0.5 if now is time.monotonic else 0.01  # another clock may run faster
    while not (value := check()):
        left = None if end is None else end - now()
        if left is not None and left <= 0:
            return None
        condition.wait(look if left is None else min(left, look))
    return value
