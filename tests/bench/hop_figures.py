"""The figures of one hop in one round: programs that make load, and what is read from what they print."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

import hop_memory
from hops import BLOB, BLOB_BYTES, PAGE, Running
from machine import PROGRAMS
from processes import BenchError, Processes, cpu_seconds
from stats import quantile

CONNECTIONS = 64
BLOB_CONNECTIONS = 16
# HTTP/2: connections, and streams at a time on each.
H2 = (8, 8)
TIMEOUT_S = 30.0
# One response more or less on the way when the time is over is no failure; a thousandth of all is.
TOLERATED = 0.001


@dataclass(frozen=True)
class Amount:
    """How much of everything: seconds of each load, requests per second, connections of each kind."""

    secs: float
    rate: float
    idle: int
    blobs: int


@dataclass(frozen=True)
class Load:
    """What a generator did."""

    requests: int
    per_s: float
    failed: int


def figures(running: Processes, hop: Running, amount: Amount) -> dict[str, float]:
    """All figures of a hop; of the origin itself only rates and latencies."""
    hop_memory.warm_up(hop)
    found: dict[str, float] = {}
    if hop.programs:
        # Before any load, which leaves behind what it has freed.
        found["idle_kb"] = hop_memory.idle_kb(hop, amount.idle)
        found["blob_kb"] = hop_memory.blob_kb(hop, amount.blobs)
    found |= latencies(running, hop, amount)
    found |= rate_and_cost(running, hop, "small", lambda: wrk(running, f"http://127.0.0.1:{hop.clear}{PAGE}", amount))
    blobs = f"http://127.0.0.1:{hop.clear}{BLOB}"
    found |= per_gb(rate_and_cost(running, hop, "blob", lambda: wrk(running, blobs, amount, BLOB_CONNECTIONS)))
    close = ["-H", "Connection: close"]
    for name, scheme, port in (("connection", "http", hop.clear), ("tls", "https", hop.tls)):
        if port and hop.programs:
            url = f"{scheme}://127.0.0.1:{port}{PAGE}"
            found |= rate_and_cost(running, hop, name, lambda url=url: wrk(running, url, amount, more=close))
    if hop.tls:
        found |= rate_and_cost(running, hop, "h2", lambda: h2load(running, hop.tls or 0, amount))
    return found


def rate_and_cost(running: Processes, hop: Running, name: str, load: Callable[[], Load]) -> dict[str, float]:
    """`NAME_per_s`, and of a hop `NAME_cpu_us`: its own CPU time for each request."""
    before = cpu_seconds(hop.programs)
    done = load()
    spent = cpu_seconds(hop.programs) - before
    if done.failed > TOLERATED * done.requests or not done.requests:
        raise BenchError(f"{name}: {done.failed} of {done.requests} requests failed")
    found = {f"{name}_per_s": done.per_s}
    return found | ({f"{name}_cpu_us": spent / done.requests * 1e6} if hop.programs else {})


def per_gb(found: dict[str, float]) -> dict[str, float]:
    """Blobs in gigabytes: `gb_per_s` and `gb_cpu_ms`."""
    scaled = {"gb_per_s": found["blob_per_s"] * BLOB_BYTES / 1e9}
    if "blob_cpu_us" in found:
        scaled["gb_cpu_ms"] = found["blob_cpu_us"] / 1e3 / (BLOB_BYTES / 1e9)
    return scaled


def wrk(
    running: Processes, url: str, amount: Amount, connections: int = CONNECTIONS, more: list[str] | None = None
) -> Load:
    """Closed loop: each connection asks again as soon as it is answered."""
    length = ["-t", "1", "-c", str(connections), "-d", f"{max(1, round(amount.secs))}s"]
    return read_wrk(running.run("wrk", ["wrk", *length, *(more or []), url], amount.secs + TIMEOUT_S))


def read_wrk(printed: str) -> Load:
    requests, per_s = number(r"(\d+) requests in", printed), number(r"Requests/sec:\s+([\d.]+)", printed)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", printed)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", printed)
    failed = sum(int(n) for found in (refused, errors) if found for n in found.groups())
    return Load(int(requests), per_s, failed)


def h2load(running: Processes, port: int, amount: Amount) -> Load:
    connections, streams = H2
    command = [
        "h2load", "-t", "1", "-c", str(connections), "-m", str(streams), "-D", str(max(1, round(amount.secs))),
        f"https://127.0.0.1:{port}{PAGE}",
    ]
    return read_h2load(running.run("h2load", command, amount.secs + TIMEOUT_S))


def read_h2load(printed: str) -> Load:
    per_s = number(r"finished in [\d.]+m?s, ([\d.]+) req/s", printed)
    failed = number(r"(\d+) failed,", printed)
    return Load(int(number(r"(\d+) succeeded,", printed)), per_s, int(failed))


def number(pattern: str, printed: str) -> float:
    found = re.search(pattern, printed)
    if not found:
        raise BenchError(f"the load generator printed no {pattern!r}:\n{printed}")
    return float(found[1])


def latencies(running: Processes, hop: Running, amount: Amount) -> dict[str, float]:
    """Microseconds from the scheduled arrival to the last byte, at a rate that no answer changes (open loop)."""
    page = {
        "name": "page", "rate": {"constant": amount.rate}, "path": {"template": "/page/{n}", "keys": 1000},
        "work_ms": {"constant": 0}, "bytes": {"constant": 1024},
    }
    file = running.directory / "workload.json"
    file.write_text(json.dumps({"name": "hop", "seed": 1, "secs": 2 * amount.secs, "classes": [page]}))
    command = [
        str(PROGRAMS / "sluice-load"), "--target", f"127.0.0.1:{hop.clear}", "--workload", str(file),
        "--json", "--requests",
    ]
    summary = json.loads(running.run("load", command, 2 * amount.secs + TIMEOUT_S))
    return read_latencies(summary)


def read_latencies(summary: dict[str, object]) -> dict[str, float]:
    requests = summary["requests"]
    assert isinstance(requests, list)
    if failed := sum(one["failed"] is not None for one in requests):
        raise BenchError(f"latency: {failed} of {len(requests)} requests failed")
    # What is due in the first tenth meets connections that are being made.
    times = [one["total_ms"] * 1e3 for one in requests[len(requests) // 10 :]]
    named = (("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999))
    return {name: value for name, q in named if (value := quantile(times, q)) is not None}


def added(found: dict[str, float], direct: dict[str, float]) -> dict[str, float]:
    """With what the hop adds to each latency of the origin itself, both in the same round."""
    names = [name for name in ("p50_us", "p99_us", "p999_us") if name in found and name in direct]
    return found | {f"added_{name}": found[name] - direct[name] for name in names}
