#!/usr/bin/env python3
"""A site at 50 % of what it can do, with everything coming and going: pages, forms and blobs in a mix that changes,
clients that break off, instances and agents that are killed, stopped in order and started again.

Memory at the end must be within 10 % of that after a twelfth of the time (five minutes of an hour), as medians of two
twelfths each, and descriptors, slots and classes bounded. Exit code 1 if not. Needs release binaries (cargo build --release).
"""

import argparse
import json
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "bench")]

from findings import Findings  # noqa: E402
from load import Pace  # noqa: E402
from machine import PROGRAMS  # noqa: E402
from processes import processes, spawn  # noqa: E402
from resources import get, held, metric  # noqa: E402
from running import INSTANCES, Options, Run, Site, agent_of  # noqa: E402

# Memory that a run of minutes may add to that of its warm-up, in MiB: allocators take their time to be full. It is also
# what any run may hold for a moment.
SLACK_MIB = 8.0
STEPS = 24
# Readings of memory in a step, as one alone may fall on a moment when something is being saved.
READINGS = 15


def workload(secs: float, seed: int) -> dict[str, Any]:
    """Half of four workers' time; pages come and go in bursts, a class of its own appears for the middle third."""

    def load(name: str, rate: dict[str, Any], ms: float, size: float, **more: Any) -> dict[str, Any]:
        path = {"template": f"/{name}/{{n}}", "keys": 5000}
        return {"name": name, "rate": rate, "path": path, "work_ms": {"exponential": {"mean": ms}}, "bytes": {"exponential": {"mean": size}}, **more}

    classes = [
        load("page", {"constant": 50}, 20, 20_000),
        load("news", {"bursts": {"per_s": 60, "on_s": 2, "every_s": 8}}, 20, 50_000),
        load("form", {"constant": 5}, 20, 1000, method="POST", request_bytes=3000),
        load("blob", {"constant": 1}, 20, 1_000_000, client_rate=500_000),
        load("export", {"window": {"per_s": 0.5, "from_s": secs / 3, "until_s": 2 * secs / 3}}, 500, 200_000),
    ]
    return {"name": "soak", "seed": seed, "secs": secs, "classes": classes}


class Churn(threading.Thread):
    """Kills, stops and starts one instance or agent after the other, until it is told to end."""

    def __init__(self, site: Site, every_s: float, rng: random.Random) -> None:
        super().__init__(daemon=True)
        self._site, self._every_s, self._rng = site, every_s, rng
        self._over, self._ended = threading.Event(), threading.Event()
        self.times = 0
        self.trouble: Exception | None = None

    def run(self) -> None:
        try:
            while not self._over.wait(self._every_s):
                self._one()
                self.times += 1
        except Exception as error:  # noqa: BLE001 - told by the main thread
            self.trouble = error
        self._ended.set()
        # What a thread has started ends with it (see `spawn`), and is to be looked at yet.
        threading.Event().wait()

    def _one(self) -> None:
        name = self._rng.choice(INSTANCES)
        part = self._rng.choice((name, agent_of(name)))
        if self._rng.random() < 0.5:
            self._site.kill(part)
        else:
            self._site.end(part)
        time.sleep(self._rng.uniform(0, 1))
        self._site.start(part)
        self._site.until(f"{name} gets requests", lambda: name in self._site.routed())

    def stop(self) -> None:
        self._over.set()
        self._ended.wait()
        if self.trouble:
            raise self.trouble


class Aborting(threading.Thread):
    """Clients that leave: before the head is whole, while they wait, and in the middle of a blob; each path is new."""

    def __init__(self, target: str) -> None:
        super().__init__(daemon=True)
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._over = threading.Event()
        self.count = 0

    def run(self) -> None:
        while not self._over.wait(0.1):
            with suppress(OSError):
                self._abort()
            self.count += 1

    def _abort(self) -> None:
        head = f"GET /made/up/{self.count}/by-{self.count % 977} HTTP/1.1\r\nHost: a\r\nX-Emulate-Bytes: 3000000\r\n"
        with socket.create_connection((self._host, self._port), timeout=5) as connection:
            if self.count % 3 == 0:
                connection.sendall(head.encode())
                return
            connection.sendall(f"{head}\r\n".encode())
            if self.count % 3 == 1:
                connection.settimeout(5)
                connection.recv(10_000)

    def stop(self) -> None:
        self._over.set()
        self.join()


def soak(run: Run, secs: float, seed: int) -> None:
    rng = random.Random(seed)
    with run.site(Options(balancer=("--state-dir", str(run.directory), "--max-classes", "200"))) as site:
        churn, aborting = Churn(site, max(2.0, min(30.0, secs / 20)), rng), Aborting(site.front)
        file = run.directory / "soak.json"
        file.write_text(json.dumps(workload(secs, seed)))
        command = [str(PROGRAMS / "sluice-load"), "--target", site.front, "--workload", str(file), "--json"]
        with (run.directory / "soak.out").open("wb") as out, (run.directory / "soak.log").open("wb") as log:
            load = spawn(command, stdout=out, stderr=log)
        try:
            began = time.monotonic()
            churn.start()
            aborting.start()
            samples = watch(site, began, secs, load)
        finally:
            churn.stop()
            aborting.stop()
            with suppress(subprocess.TimeoutExpired):
                load.wait(timeout=90)
            load.kill()
            load.wait()
        summary = json.loads((run.directory / "soak.out").read_text())
        judge(run.findings, site, samples, secs, summary)
        run.findings.at_least("instances and agents that went and came", churn.times, 1)
        run.findings.at_least("clients that broke off", aborting.count, 1)


def watch(site: Site, began: float, secs: float, load: subprocess.Popen[bytes]) -> list[dict[str, float]]:
    """What the balancer holds at the end of each step; of memory, what it held during the step as well."""
    samples = []
    print(f"| {'minute':>6} | {'RSS MiB':>8} | {'descriptors':>11} | {'classes':>7} | {'slots':>5} | {'answered':>9} |", flush=True)
    print("|---:|---:|---:|---:|---:|---:|", flush=True)
    step_s = secs / STEPS
    for n in range(STEPS):
        readings = []
        for reading in range(1, READINGS + 1):
            time.sleep(max(0.0, began + (n + reading / READINGS) * step_s - time.monotonic()))
            readings.append(held(site.parts["balancer"].pid).rss_mib)
        row = {
            "minute": (time.monotonic() - began) / 60, "rss": statistics.median(readings), "most": max(readings),
            "descriptors": held(site.parts["balancer"].pid).descriptors,
            "classes": len(json.loads(get(f"http://{site.admin}/v1/classes"))),
            "slots": metric(site.admin, "sluice_slots", "working"),
            "answered": metric(site.admin, "sluice_requests_total"),
        }
        samples.append(row)
        print(f"| {row['minute']:6.1f} | {row['rss']:8.1f} | {row['descriptors']:11.0f} | {row['classes']:7.0f} | {row['slots']:5.0f} | {row['answered']:9.0f} |", flush=True)
        if load.poll() is not None and n < STEPS - 1:
            break
    return samples


def judge(findings: Findings, site: Site, samples: list[dict[str, float]], secs: float, summary: dict[str, Any]) -> None:
    # Of an hour, after five minutes; of a short run, when half of it is over, as tables fill at their own pace.
    long = secs >= 1800
    warm = statistics.median(row["rss"] for row in (samples[1:3] if long else samples[10:12]))
    grown = statistics.median(row["rss"] for row in samples[-2:]) - warm
    findings.at_most("memory at the end more than when warm (MiB)", round(grown, 1), round(0.1 * warm + (0 if long else SLACK_MIB), 1))
    findings.at_most("memory at any time more than when warm (MiB)", round(max(row["most"] for row in samples) - warm, 1), round(0.1 * warm + SLACK_MIB, 1))
    findings.at_most("descriptors, the most", max(row["descriptors"] for row in samples), 400)
    findings.at_most("classes, the most", max(row["classes"] for row in samples), 201)
    findings.at_most("slots taken at a time, the most", max(row["slots"] for row in samples), 8)
    gets = [one for one in summary["classes"] if one["name"] != "form"]
    lost = sum(n for one in gets for reason, n in one["failed"].items() if reason not in ("cut-short", "reset"))
    findings.at_most("GETs lost", lost, 0)
    findings.note("responses cut after they had begun", sum(sum(one["failed"].values()) for one in gets) - lost)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--secs", type=float, default=3600.0, help="[default: 3600]")
    parser.add_argument("--seed", type=int, default=None, help="of what is killed when [default: chance]")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(1 << 31)
    print(f"seed {seed}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with processes() as ports, tempfile.TemporaryDirectory(prefix="sluice-soak-") as name:
        run = Run(ports, Path(name), Pace(long=options.secs >= 1800, secs=1.0))
        soak(run, options.secs, seed)
    for figure in run.findings.figures:
        print(f"{'ok' if figure.passed else 'MISSED':<6} {figure.what}: {figure.measured:g} (bar {figure.bar})")
    missed = run.findings.missed(long=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
