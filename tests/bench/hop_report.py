"""What is said of the hops: one table, the bars, and the line that says how it was measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import machine
import tables
from hops import BLOB_BYTES, HOPS, program_of
from stats import Spread

# Hop -> figure -> its spread over rounds.
Results = Mapping[str, Mapping[str, Spread]]

# Figure, and the row's title.
FIGURES = (
    ("small_cpu_us", "CPU per 1 KiB request, us"),
    ("gb_cpu_ms", "CPU per GB of 2.6 MB blobs, ms"),
    ("connection_cpu_us", "CPU per connection with one request, us"),
    ("tls_cpu_us", "the same with TLS, us"),
    ("h2_cpu_us", "CPU per request over HTTP/2 with TLS, us"),
    ("idle_kb", "memory per idle connection, KB"),
    ("blob_kb", "memory per blob that a slow client takes, KB"),
    ("added_p50_us", "added to the latency, p50, us"),
    ("added_p99_us", "added to the latency, p99, us"),
    ("added_p999_us", "added to the latency, p99.9, us"),
    ("p50_us", "latency, p50, us"),
    ("p99_us", "latency, p99, us"),
    ("p999_us", "latency, p99.9, us"),
    ("small_per_s", "requests of 1 KiB per second"),
    ("gb_per_s", "GB of blobs per second"),
    ("connection_per_s", "connections per second"),
    ("tls_per_s", "connections per second with TLS"),
    ("h2_per_s", "requests per second over HTTP/2 with TLS"),
)
TITLES = dict(FIGURES)


@dataclass(frozen=True)
class Bar:
    """`figure` of `hop` must be at most `factor` times the rival's, or `factor` itself if there is no rival."""

    hop: str
    figure: str
    factor: float
    rival: str | None


BARS = (
    Bar("sluice", "small_cpu_us", 1.0, "haproxy"),
    Bar("sluice", "gb_cpu_ms", 1.0, "haproxy-splice"),
    Bar("sluice", "idle_kb", 6.0, None),
    Bar("sluice", "added_p99_us", 1.0, "haproxy"),
    Bar("sluice-agent", "small_cpu_us", 1.9, "haproxy"),
    Bar("sluice-agent", "gb_cpu_ms", 1.9, "haproxy-splice"),
)


@dataclass(frozen=True)
class Verdict:
    """`passed` is None if something was not measured."""

    bar: Bar
    ours: float | None
    limit: float | None

    @property
    def passed(self) -> bool | None:
        if self.ours is None or self.limit is None:
            return None
        return self.ours <= self.limit


def judge(results: Results) -> list[Verdict]:
    def median(hop: str, figure: str) -> float | None:
        spread = results.get(hop, {}).get(figure)
        return spread.median if spread else None

    verdicts = []
    for bar in BARS:
        theirs = median(bar.rival, bar.figure) if bar.rival else 1.0
        limit = None if theirs is None else bar.factor * theirs
        verdicts.append(Verdict(bar, median(bar.hop, bar.figure), limit))
    return verdicts


def comparison(results: Results) -> str:
    hops = [name for name in HOPS if name in results]
    rows = [
        [title, *(tables.cell(results[hop].get(figure)) for hop in hops)]
        for figure, title in FIGURES
        if any(figure in results[hop] for hop in hops)
    ]
    return tables.table(["median (least-most)", *(HOPS[hop].title for hop in hops)], rows)


def verdicts(judged: Sequence[Verdict]) -> str:
    return tables.table(["bar", "", "at most", "verdict"], [row(verdict) for verdict in judged])


def row(verdict: Verdict) -> list[str]:
    bar = verdict.bar
    word = {True: "PASS", False: "FAIL", None: "not measured"}[verdict.passed]
    rival = f" ({bar.factor:g} x {HOPS[bar.rival].title})" if bar.rival else ""
    what = f"{HOPS[bar.hop].title}: {TITLES[bar.figure]}"
    return [what, tables.number(verdict.ours), tables.number(verdict.limit) + rival, word]


def footnote(results: Results, rounds: int, secs: float, rate: float) -> str:
    programs = {hop.program: program_of(hop) for name, hop in HOPS.items() if name in results}
    versions = [f"{name} {machine.version(program)}" for name, program in programs.items() if program]
    return (
        f"{machine.today()}, Sluice at {machine.revision()}, {machine.cores()} cores ({machine.processor()},"
        f" Linux {machine.kernel()}) shared by load, hop and origin; {', '.join(versions)}; one proxy thread each, nginx"
        f" as the origin; medians of {rounds} round(s), {secs:g} s for each figure; latencies at {rate:g} requests per"
        f" second whatever the answers; blobs of {BLOB_BYTES:,} bytes. Memory is the program's own, without the"
        " kernel's socket buffers."
    )


def report(results: Results, missing: Sequence[str], rounds: int, secs: float, rate: float) -> str:
    parts = ["# What one hop costs", comparison(results), "## Bars", verdicts(judge(results))]
    parts += [f"Not installed: {', '.join(missing)}."] if missing else []
    parts += [footnote(results, rounds, secs, rate), "Made by `./check bench-hop`; how to read it: the book, \"Sizing\"."]
    return "\n\n".join(parts) + "\n"
