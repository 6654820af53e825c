"""One run: a fresh site of one peer, one workload, one seed."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from machine import PROGRAMS
from processes import BenchError, Processes, cpu_seconds, processes
from sites import Instance, Peer, Setting, answers, start_instances
from stats import Request, figures
from workloads import LEARN_S, SMALL_CLASS, Workload

# As browsers and the peers' own limits have it; sluice-load counts what takes longer as failed.
TIMEOUT_S = 60.0
# A generator that is later than this was starved of CPU, and its latencies say little.
STARVED_MS = 5.0


@dataclass(frozen=True)
class Run:
    """What one run came to. `figures`: see stats.figures, with failures, CPU seconds and shares of instances."""

    workload: str
    peer: str
    seed: int
    mode: str | None
    lag_p99_ms: float
    figures: dict[str, float]
    failed: dict[str, dict[str, int]] = field(default_factory=dict)
    served: list[int] = field(default_factory=list)

    @property
    def starved(self) -> bool:
        return self.lag_p99_ms > STARVED_MS


def measure(
    peer: Peer, program: Path, workload: Workload, seed: int, setting: Setting, mode: str | None = None
) -> Run:
    """Starts everything anew, so that no cache, queue or learned state of the run before is left."""
    with processes() as running:
        instances = start_instances(running, workload)
        site = peer.start(running, program, workload, instances, setting)
        running.until("the site answers", lambda: answers(site.front))
        if site.spoiler:
            site.spoiler.arm()
        before = cpu_seconds(site.balancers)
        summary = load(running, site.front, workload, seed)
        cpu = cpu_seconds(site.balancers) - before
        if site.spoiler and not site.spoiler.spoilt:
            raise BenchError(f"{workload.name}, {peer.name}: no report was spoilt in {workload.secs:g} s")
        running.stop_all()
        return evaluate(peer, workload, seed, mode, summary, cpu, served(instances))


def load(running: Processes, front: int, workload: Workload, seed: int) -> dict[str, Any]:
    file = running.directory / "workload.json"
    file.write_text(json.dumps(workload.json))
    command = [
        str(PROGRAMS / "sluice-load"), "--target", f"127.0.0.1:{front}", "--workload", str(file),
        "--seed", str(seed), "--timeout", str(TIMEOUT_S), "--json", "--requests",
    ]
    summary: dict[str, Any] = json.loads(running.run("load", command, workload.secs + TIMEOUT_S + 10))
    return summary


def evaluate(
    peer: Peer, workload: Workload, seed: int, mode: str | None,
    summary: dict[str, Any], cpu: float, counts: list[int],
) -> Run:
    requests = read_requests(summary)
    found = figures(requests, workload.appears_s, LEARN_S)
    for size, large in (("small", False), ("large", True)):
        of_size = [c for c in summary["classes"] if (c["name"] != SMALL_CLASS) == large]
        if of_size:
            found[f"{size}_sent"] = sum(c["sent"] + c["not_sent"] for c in of_size)
            found[f"{size}_failed"] = sum(c["sent"] + c["not_sent"] - c["ok"] for c in of_size)
    found["cpu_s"] = cpu
    if sum(counts):
        found["last_share"] = counts[-1] / sum(counts)
    failed = {c["name"]: c["failed"] for c in summary["classes"] if c["failed"]}
    return Run(workload.name, peer.name, seed, mode, summary["lag_p99_ms"], found, failed, counts)


def read_requests(summary: dict[str, Any]) -> list[Request]:
    large = [c["name"] != SMALL_CLASS for c in summary["classes"]]
    return [
        Request(large[r["class"]], r["at_ms"], r["total_ms"], r["failed"] is not None)
        for r in summary.get("requests", [])
    ]


def served(instances: list[Instance]) -> list[int]:
    """Requests that each instance answered, from its last words; 0 if it was cut off."""
    logs = [instance.program.log.read_text(errors="replace") for instance in instances]
    return [int(found[1]) if (found := re.search(r"\bserved: (\d+)", log)) else 0 for log in logs]
