"""The channel program of program_side.py: carries the lines of the gateway to the platform and back, and ends with either of them."""

import os
import socket
import sys
import threading

platform = socket.create_connection(("127.0.0.1", int(sys.argv[1])))


def carry(take, give):
    try:
        while data := take(65536):
            give(data)
    except OSError:
        pass  # whoever is to have it is gone
    os._exit(0)


def tell_gateway(data):
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


threading.Thread(target=carry, args=(platform.recv, tell_gateway), daemon=True).start()
carry(lambda size: os.read(0, size), platform.sendall)
