"""Load that does not wait for answers, and a probe beside it."""

import http.client
import json
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import PROGRAMS
from processes import BenchError, spawn, tail

PROBE_EVERY_S = 0.05
# What a client calls lost although it may be answered later.
LATE_MS = 2000.0
# Of a response that had begun: it can not be sent again, and its client sees that it is cut.
CUT = ("cut-short", "reset")


@dataclass(frozen=True)
class Pace:
    """How a scenario is run. `secs`: length of its load."""

    long: bool
    secs: float
    work_ms: float = 20.0
    # Share of what four workers can do.
    share: float = 0.6

    @property
    def rate(self) -> float:
        return self.share * 4 * 1000 / self.work_ms


def workload(pace: Pace) -> dict[str, Any]:
    work = {"exponential": {"mean": pace.work_ms}}
    get = {
        "name": "get", "rate": {"constant": pace.rate * 0.95}, "path": {"template": "/page/{n}", "keys": 200},
        "work_ms": work, "bytes": {"constant": 20_000},
    }
    post = {
        "name": "post", "method": "POST", "rate": {"constant": pace.rate * 0.05}, "request_bytes": 500,
        "path": {"template": "/form/{n}", "keys": 20}, "work_ms": work, "bytes": {"constant": 1000},
    }
    return {"name": "faults", "seed": 1, "secs": pace.secs, "classes": [get, post]}


class Load:
    """`with Load(...) as load:` runs it; its results are there when the block is left."""

    def __init__(self, directory: Path, target: str, pace: Pace, timeout_s: float = 20.0) -> None:
        self.pace, self.timeout_s = pace, timeout_s
        self._file, self._out = directory / "workload.json", directory / "load.out"
        self._log = directory / "load.log"
        self._file.write_text(json.dumps(workload(pace)))
        self._command = [
            str(PROGRAMS / "sluice-load"), "--target", target, "--workload", str(self._file),
            "--timeout", str(timeout_s), "--json", "--requests",
        ]
        self.probe = Probe(target)
        self.summary: dict[str, Any] = {}

    def __enter__(self) -> "Load":
        with self._out.open("wb") as out, self._log.open("wb") as log:
            self._process = spawn(self._command, stdout=out, stderr=log)
        self.began = time.monotonic()
        self.probe.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._process.kill()
            self._process.wait()
            self.probe.stop()
            return
        try:
            self._process.wait(timeout=self.pace.secs + self.timeout_s + 15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise BenchError("the load did not end") from None
        finally:
            self.probe.stop()
        if self._process.returncode not in (0, 1):
            raise BenchError(f"the load ended with {self._process.returncode}: {tail(self._log)}")
        self.summary = json.loads(self._out.read_text())

    def until(self, share: float) -> None:
        """Waits until that share of the load's time has passed."""
        time.sleep(max(0.0, self.began + share * self.pace.secs - time.monotonic()))

    def failed(self, name: str) -> dict[str, int]:
        """Failures of a class, by reason."""
        return next(dict(c["failed"]) for c in self.summary["classes"] if c["name"] == name)

    def lost(self, name: str = "get") -> int:
        """Requests that were not answered well; those that were cut after they had begun are not among them."""
        return sum(n for reason, n in self.failed(name).items() if reason not in CUT)

    def cut(self, name: str = "get") -> int:
        return sum(n for reason, n in self.failed(name).items() if reason in CUT)

    def late(self) -> int:
        return sum(r["total_ms"] > LATE_MS for r in self.summary["requests"])

    def answered(self) -> int:
        return sum(c["ok"] for c in self.summary["classes"])

    def p99(self, since_s: float = 0.0, until_s: float = 1e9) -> float:
        """In milliseconds, of requests that arrived in that part of the run."""
        window = [r["total_ms"] for r in self.summary["requests"] if since_s <= r["at_ms"] / 1e3 < until_s]
        return quantile(window, 0.99)


class Probe(threading.Thread):
    """A GET each 50 ms over a connection of its own, whatever became of the one before."""

    def __init__(self, target: str) -> None:
        super().__init__(daemon=True)
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._asking: list[threading.Thread] = []
        # When it was sent, how long it took in milliseconds, and whether it was answered with 200.
        self.answers: list[tuple[float, float, bool]] = []

    def run(self) -> None:
        due = time.monotonic()
        while not self._over.is_set():
            asking = threading.Thread(target=self._ask, daemon=True)
            asking.start()
            self._asking.append(asking)
            due += PROBE_EVERY_S
            self._over.wait(max(0.0, due - time.monotonic()))

    def _ask(self) -> None:
        sent = time.monotonic()
        good = False
        connection = http.client.HTTPConnection(self._host, self._port, timeout=20)
        try:
            connection.request("GET", "/probe", headers={"X-Emulate-Bytes": "100"})
            answer = connection.getresponse()
            good = answer.read() is not None and answer.status == 200
        except (OSError, http.client.HTTPException):
            good = False
        finally:
            connection.close()
        with self._lock:
            self.answers.append((sent, (time.monotonic() - sent) * 1e3, good))

    def stop(self) -> None:
        self._over.set()
        self.join()
        for asking in self._asking:
            asking.join()

    def failures(self) -> int:
        return sum(not good for _, _, good in self.answers)

    def worst_ms(self) -> float:
        return max((ms for _, ms, _ in self.answers), default=0.0)

    def p99_ms(self) -> float:
        return quantile([ms for _, ms, _ in self.answers], 0.99)

    def longest_outage_s(self) -> float:
        """From the first probe that failed to the first after it that did not, at most."""
        worst, since = 0.0, None
        for sent, _, good in sorted(self.answers):
            if good and since is not None:
                worst, since = max(worst, sent - since), None
            elif not good and since is None:
                since = sent
        return worst


def quantile(values: list[float], q: float) -> float:
    ascending = sorted(values)
    return ascending[min(len(ascending) - 1, int(q * len(ascending)))] if ascending else 0.0
