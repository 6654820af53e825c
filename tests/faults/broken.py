"""Instances that are well when they are asked for their health, and break every other request in one way."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable

WELL = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"
BEGUN = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 20000\r\n\r\n" + b"x" * 1000


class BrokenInstance:
    """Listens on the port of an instance that was killed. `how`: what is done with a connection whose head is there."""

    def __init__(self, port: int, how: Callable[[socket.socket, threading.Event], None]) -> None:
        self._how = how
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", port), reuse_port=False, backlog=128)
        self.asked = 0

    def __enter__(self) -> "BrokenInstance":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(60)
            head = b""
            while b"\r\n\r\n" not in head:
                more = connection.recv(65536)
                if not more:
                    return
                head += more
            if head.startswith(b"GET /health "):
                connection.sendall(WELL)
                return
            self.asked += 1
            self._how(connection, self._over)


def silent(connection: socket.socket, over: threading.Event) -> None:
    """Accepts, reads, and never answers."""
    over.wait(120)


def garbage(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"\x16\x03\x01 this is no HTTP at all\r\n\r\n" + bytes(range(256)) * 4)


def cut(connection: socket.socket, over: threading.Event) -> None:
    """Ends in the middle of a body."""
    connection.sendall(BEGUN)


def reset(connection: socket.socket, over: threading.Event) -> None:
    """Resets the connection instead of answering."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def trickle(connection: socket.socket, over: threading.Event) -> None:
    """A byte of the body at a time, for minutes."""
    connection.sendall(BEGUN)
    while not over.is_set():
        connection.sendall(b"x")
        time.sleep(0.1)


def unavailable(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
