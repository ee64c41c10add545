"""A name server (RFC 1035) that knows a few names, all with one address, and can fall silent: about all names, or about some."""

import socket
import struct
import threading

A = 1


class NameServer:
    def __init__(self, host: str, address: str):
        """On host's port 53; every name has that address."""
        self._address = socket.inet_aton(address)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 53))
        self.silent_about: set[str] | None = set()  # None: about everything
        self.asked: list[str] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> "NameServer":
        return self

    def __exit__(self, *_) -> None:
        self._socket.close()

    def _serve(self) -> None:
        try:
            while True:
                question, client = self._socket.recvfrom(512)
                if answer := self._answer(question):
                    self._socket.sendto(answer, client)
        except OSError:
            return  # closed

    def _answer(self, question: bytes) -> bytes | None:
        labels, at = [], 12
        while length := question[at]:
            labels.append(question[at + 1:at + 1 + length].decode())
            at += 1 + length
        name, kind = ".".join(labels), struct.unpack_from(">H", question, at + 1)[0]
        self.asked.append(name)
        if self.silent_about is None or name in self.silent_about:
            return None
        found = 1 if kind == A else 0
        record = struct.pack(">HHHIH", 0xC00C, A, 1, 0, 4) + self._address
        return question[:2] + struct.pack(">HHHHH", 0x8180, 1, found, 0, 0) + question[12:at + 5] + record * found
