"""A black hole: a relay to a server which can swallow all that its present connections carry, both ways, without closing them. What is sent
is still taken, as by a router that lost its table or a NAT that forgot; new connections work."""

import selectors
import socket
import threading


class Hole:
    def __init__(self, port: int, host: str = "127.0.0.1", at: int = 0):
        """To 127.0.0.1:port, from a port of its own choice, or from host:at."""
        self._to = port
        self._listener = socket.create_server((host, at))
        self.port = self._listener.getsockname()[1]
        self._generation = 0  # connections of an earlier one are swallowed
        self.connections = 0
        self._far: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Hole":
        return self

    def __exit__(self, *_) -> None:
        self._listener.close()

    def swallow(self) -> None:
        """From now on nothing comes out of the connections that there are."""
        self._generation += 1

    def give_up(self) -> None:
        """The server has heard nothing for long enough: it closes all connections."""
        for far in list(self._far):
            try:
                far.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # closed already

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._relay, args=(near, self._generation), daemon=True).start()

    def _relay(self, near: socket.socket, generation: int) -> None:
        with near:
            try:
                far = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                return  # the server is gone
            self._far.add(far)
            try:
                with far:
                    self._carry(near, far, generation)
            except OSError:
                pass
            finally:
                self._far.discard(far)

    def _carry(self, near: socket.socket, far: socket.socket, generation: int) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(near, selectors.EVENT_READ, far)
            selector.register(far, selectors.EVENT_READ, near)
            while True:
                for key, _ in selector.select():
                    data = key.fileobj.recv(65536)
                    if generation != self._generation:
                        if key.fileobj is near and not data:
                            return  # the client gave up
                        if not data:
                            selector.unregister(far)  # the server's end is swallowed like the rest
                        continue
                    if not data:
                        return
                    key.data.sendall(data)
