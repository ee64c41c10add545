"""The API against clients that are slow, greedy or hostile: bounded, answered clearly, and nobody else notices."""

import json
import socket

from support.talaria import Gateway, wait_until

KEY = "test-key"
CONFIG = """
[api]
listen = "127.0.0.1:0"
keys = ["env:KEY"]
max_connections = 20
max_body = 10000
[agent.default]
kind = "echo"
"""


def started(tmp_path):
    return Gateway(tmp_path, CONFIG, env={"KEY": KEY}).start().wait_ready()


def connect(api):
    host, port = api.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=10)


def talk(api, data):
    """Everything that the server says until it closes (or 10 s of silence, which fails)."""
    with connect(api) as s:
        s.sendall(data)
        answer = b""
        while piece := s.recv(65536):
            answer += piece
        return answer


def post(api, body, headers="", path="/v1/chat/completions"):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return talk(api, head.encode() + body)


AUTH = f"Authorization: Bearer {KEY}\r\n"
HELLO = {"model": "default", "messages": [{"role": "user", "content": "hi"}]}


def test_keys_and_shapes(tmp_path):
    with started(tmp_path) as g:
        api = g.status()["api"]
        assert post(api, HELLO, AUTH).startswith(b"HTTP/1.1 200")
        assert post(api, HELLO).startswith(b"HTTP/1.1 401")
        assert post(api, HELLO, "Authorization: Bearer wrong\r\n").startswith(b"HTTP/1.1 401")
        assert post(api, b"{", AUTH).startswith(b"HTTP/1.1 400")
        assert post(api, {"model": "default"}, AUTH).startswith(b"HTTP/1.1 400")
        assert post(api, {**HELLO, "model": "nobody"}, AUTH).startswith(b"HTTP/1.1 404")
        assert post(api, b"[" * 5000, AUTH).startswith(b"HTTP/1.1 400")
        assert post(api, b"x" * 20000, AUTH).startswith(b"HTTP/1.1 413")
        assert post(api, HELLO, AUTH + "X-Long: " + "x" * 40000 + "\r\n").startswith(b"HTTP/1.1 431")
        assert talk(api, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400")
        assert post(api, HELLO, AUTH + "Origin: http://evil.example\r\n").startswith(b"HTTP/1.1 403")
        rebound = f"POST /v1/chat/completions HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n{AUTH}Content-Length: 2\r\n\r\n{{}}"
        assert talk(api, rebound.encode()).startswith(b"HTTP/1.1 403")


def test_without_keys_nobody_is_served(tmp_path):
    with Gateway(tmp_path, CONFIG.replace('keys = ["env:KEY"]\n', ""), env={}).start().wait_ready() as g:
        assert post(g.status()["api"], HELLO, "Authorization: Bearer \r\n").startswith(b"HTTP/1.1 401")


def test_connections_that_say_nothing_do_not_lock_others_out_for_ever(tmp_path):
    with started(tmp_path) as g:
        api = g.status()["api"]
        silent = [connect(api) for _ in range(20)]
        try:
            refused = talk(api, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert refused.startswith(b"HTTP/1.1 503"), refused
        finally:
            for s in silent:
                s.close()
        wait_until(lambda: g.http_status("/healthz") is None or True)
        g.api = api
        wait_until(lambda: g.http_status("/healthz") == 200, what="service after the silent ones left")


def test_a_client_that_never_reads_holds_up_nobody(tmp_path):
    with started(tmp_path) as g:
        api = g.status()["api"]
        deaf = connect(api)
        request = json.dumps({**HELLO, "messages": [{"role": "user", "content": "x" * 9000}]}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n{AUTH}Content-Length: {len(request)}\r\n\r\n".encode()
        deaf.setblocking(False)
        try:
            for _ in range(2000):
                deaf.send(head + request)
        except BlockingIOError:
            pass
        assert post(api, HELLO, AUTH).startswith(b"HTTP/1.1 200")
        deaf.close()
