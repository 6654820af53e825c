"""Stands between agents and balancer and spoils reports: loses, delays or falsifies them.

The first reports go through untouched, as an instance that was never reported is in no pool: `arm` says when to begin.
"""

import contextlib
import http.client
import http.server
import json
import random
import threading
from collections.abc import Callable
from typing import Any

LATE_S = 10.0
ABSURD_WORKERS = 1000
TIMEOUT_S = 5.0

Report = dict[str, Any]


def constant_zero(report: Report) -> Report:
    """Nothing in flight, and all that was measured took no time and no bytes."""
    classes = [{**one, **{key: zeroed(one[key]) for key in SKETCHES if key in one}} for one in report["classes"]]
    return {**report, "now": {}, "classes": classes, "heavy_urls": []}


SKETCHES = ("held_us", "ttfb_us", "response_bytes")


def zeroed(sketch: dict[str, Any]) -> dict[str, Any]:
    """As many values as before, all of them 0."""
    count = sketch.get("zeros", 0) + sum(n for _, n in sketch.get("bins", []))
    return {"zeros": count, "bins": [], "min": 0, "max": 0, "sum": 0}


def thousand_workers(report: Report) -> Report:
    return {**report, "workers": ABSURD_WORKERS}


def other_classes(report: Report) -> Report:
    """Each class' figures under the name of another: pages cost what exports do, and the reverse."""
    names = [one["class"] for one in report["classes"]]
    moved = names[1:] + names[:1]
    classes = [{**one, "class": name} for one, name in zip(report["classes"], moved, strict=True)]
    return {**report, "classes": classes}


def nonsense(report: Report) -> Report:
    return constant_zero(thousand_workers(other_classes(report)))


# Faults that every agent's reports suffer, and lies that one agent tells.
LOSSES = ("lose-all", "lose-half", "late-10s")
LIES: dict[str, Callable[[Report], Report]] = {
    "nonsense": nonsense,
    "nonsense-zero": constant_zero,
    "nonsense-workers": thousand_workers,
    "nonsense-classes": other_classes,
}
MODES = (*LOSSES, *LIES)


class Spoiler:
    """A forwarding server for one balancer's admin address. Stops with the `with` block."""

    def __init__(self, mode: str, port: int, balancer_port: int, liar: str, seed: int) -> None:
        self.mode, self.port, self.balancer_port, self.liar = mode, port, balancer_port, liar
        self.spoilt = 0
        self._chance = random.Random(seed)
        self._armed = threading.Event()
        self._timers: list[threading.Timer] = []
        handler = type("BoundHandler", (Handler,), {"spoiler": self})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> "Spoiler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        for timer in self._timers:
            timer.cancel()

    def arm(self) -> None:
        self._armed.set()

    def answer(self, path: str, body: bytes) -> tuple[int, bytes] | None:
        """What the agent gets; None: the connection breaks off."""
        if not self._armed.is_set() or path != "/v1/report":
            return self.forward(path, body)
        if self.mode in LIES:
            return self.forward(path, self._lie(body))
        if self.mode == "lose-half" and self._chance.random() < 0.5:
            return self.forward(path, body)
        self.spoilt += 1
        if self.mode == "late-10s":
            self._later(path, body)
        return None

    def _lie(self, body: bytes) -> bytes:
        report = json.loads(body)
        if report["name"] != self.liar:
            return body
        self.spoilt += 1
        return json.dumps(LIES[self.mode](report)).encode()

    def _later(self, path: str, body: bytes) -> None:
        timer = threading.Timer(LATE_S, self._forward_or_not, (path, body))
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    def _forward_or_not(self, path: str, body: bytes) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):  # the run may be over
            self.forward(path, body)

    def forward(self, path: str, body: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.balancer_port, timeout=TIMEOUT_S)
        with contextlib.closing(connection):
            connection.request("POST", path, body, {"content-type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    spoiler: Spoiler

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            answer = self.spoiler.answer(self.path, body)
        except (OSError, http.client.HTTPException):
            answer = None
        if answer is None:
            self.close_connection = True
            return
        self.send_response(answer[0])
        self.send_header("content-length", str(len(answer[1])))
        self.end_headers()
        self.wfile.write(answer[1])

    def log_message(self, *_: object) -> None:
        """Nothing: a line per report would bury the table."""
