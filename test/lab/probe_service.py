#!/usr/bin/python3
"""A small Type=notify service that tells what it was sent, to prove the lab with. Not part of the gateway.

probe_service.py FILE      FILE must be writable before it is ready; until then its status says why
"""

import os
import signal
import socket
import sys
import time


def notify(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(text.encode(), os.environ["NOTIFY_SOCKET"])


def main():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
    while True:
        try:
            with open(sys.argv[1], "wb", buffering=0) as file:
                if file.write(b"x" * 4096) == 4096:
                    break
        except OSError as error:
            notify(f"STATUS=waiting: {error.strerror}")
        time.sleep(0.02)
    notify("READY=1\nSTATUS=up")
    info = signal.sigwaitinfo({signal.SIGTERM, signal.SIGUSR1})
    print(f"signal {info.si_signo} from {info.si_pid}", flush=True)
    sys.exit(0 if info.si_signo == signal.SIGTERM else 3)


if __name__ == "__main__":
    main()
