"""Both ends of a webhook: senders that sign as the platforms do, and a receiver that remembers what it was sent.

The signatures are computed here from the platforms' documents, with nothing of the gateway's code.
"""

import asyncio
import base64
import hashlib
import hmac
import http.client
import http.server
import json
import threading
import time


def github(secret: str, body: bytes, delivery: str, event: str = "issues") -> dict[str, str]:
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-Hub-Signature-256": f"sha256={digest}", "X-GitHub-Delivery": delivery, "X-GitHub-Event": event,
            "Content-Type": "application/json"}


def standard(secret: str, body: bytes, message_id: str, at: float | None = None) -> dict[str, str]:
    seconds = str(int(time.time() if at is None else at))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{message_id}.{seconds}.".encode() + body, hashlib.sha256).digest()
    return {"webhook-id": message_id, "webhook-timestamp": seconds, "Content-Type": "application/json",
            "webhook-signature": "v1," + base64.b64encode(digest).decode()}


def gitlab(token: str, key: str) -> dict[str, str]:
    return {"X-Gitlab-Token": token, "X-Gitlab-Event": "Issue Hook", "Idempotency-Key": key, "Content-Type": "application/json"}


def post(api: str, name: str, body: bytes, headers: dict[str, str], method: str = "POST") -> tuple[int, dict, bytes]:
    """One request; OSError and http.client.HTTPException where the gateway is gone."""
    host, port = api.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    try:
        connection.request(method, f"/hooks/{name}", body, headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def post_all(api: str, name: str, requests: list[tuple[bytes, dict]], at_once: int = 1000) -> list[int]:
    """All of them at the same time, each on a connection of its own; their statuses in order (0: no answer)."""
    host, port = api.rsplit(":", 1)

    async def one(body: bytes, headers: dict, gate: asyncio.Semaphore) -> int:
        async with gate:
            try:
                reader, writer = await asyncio.open_connection(host, int(port))
                head = [f"POST /hooks/{name} HTTP/1.1", f"Host: {api}", f"Content-Length: {len(body)}", "Connection: close",
                        *(f"{key}: {value}" for key, value in headers.items())]
                writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)
                await writer.drain()
                answer = await reader.read()
                writer.close()
                return int(answer.split(b" ", 2)[1]) if answer else 0
            except OSError:
                return 0

    async def everything() -> list[int]:
        gate = asyncio.Semaphore(at_once)
        return await asyncio.gather(*(one(body, headers, gate) for body, headers in requests))

    return asyncio.run(everything())


class Receiver:
    """Takes webhooks on loopback. `answers`: statuses (or (status, headers)) for the next requests; then 204."""

    def __init__(self):
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.taken: list[tuple[dict[str, str], bytes]] = []  # those that were answered 2xx
        self.answers: list = []
        self._lock = threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {key.lower(): value for key, value in self.headers.items()}
                with outer._lock:
                    outer.requests.append((headers, body))
                    answer = outer.answers.pop(0) if outer.answers else 204
                    status, extra = answer if isinstance(answer, tuple) else (answer, {})
                    if 200 <= status < 300:
                        outer.taken.append((headers, body))
                self.send_response(status)
                for key, value in extra.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/in"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def texts(self) -> list[str]:
        """What was taken, each webhook-id once: that is how a receiver recognises a repeat."""
        with self._lock:
            said = {headers["webhook-id"]: json.loads(body)["data"]["text"] for headers, body in self.taken}
        return list(said.values())
