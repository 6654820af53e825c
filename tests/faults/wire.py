"""A TCP relay between agents and their balancer, which can stop carrying reports."""

import contextlib
import socket
import threading


class Wire:
    """Carries bytes both ways until it is told not to: `swallow` accepts and forwards nothing more."""

    def __init__(self, port: int, to: int) -> None:
        self._to = to
        self._swallows = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)

    def __enter__(self) -> "Wire":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def swallow(self) -> None:
        self._swallows.set()

    def carry(self) -> None:
        self._swallows.clear()

    def _accept(self) -> None:
        while True:
            try:
                agent, _ = self._listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError):
                balancer = socket.create_connection(("127.0.0.1", self._to))
                for pair in ((agent, balancer), (balancer, agent)):
                    threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not self._swallows.is_set():
                    sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
