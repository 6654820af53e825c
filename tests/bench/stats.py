"""Figures of one run and of several: quantiles, windows of time, medians."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """One request of a run; times in milliseconds, `total_ms` from the scheduled arrival."""

    large: bool
    at_ms: float
    total_ms: float
    failed: bool


@dataclass(frozen=True)
class Spread:
    """The median over seeds, and the extremes."""

    median: float
    least: float
    most: float
    count: int


def quantile(values: Sequence[float], q: float) -> float | None:
    """The nearest-rank quantile, exact; None of nothing."""
    if not values:
        return None
    rank = max(1, math.ceil(q * len(values)))
    return sorted(values)[rank - 1]


def within(requests: Iterable[Request], from_s: float, until_s: float) -> list[Request]:
    """Those that were due in that part of the run."""
    return [r for r in requests if from_s <= r.at_ms / 1e3 < until_s]


def latencies(requests: Iterable[Request], large: bool) -> list[float]:
    """Of the answered requests of one size. Those that failed have no latency: they are counted."""
    return [r.total_ms for r in requests if r.large == large and not r.failed]


def figures(requests: Sequence[Request], appears_s: float | None, learn_s: float) -> dict[str, float]:
    """The figures of one run that tables and bars are made of; what could not be measured is left out.

    With something that appears at `appears_s`, the small class has two more: of the `learn_s` seconds that a balancer
    has to learn it, and of the time after that.
    """
    small, large = latencies(requests, large=False), latencies(requests, large=True)
    found = {
        "small_p50": quantile(small, 0.5),
        "small_p99": quantile(small, 0.99),
        "large_p50": quantile(large, 0.5),
        "large_p99": quantile(large, 0.99),
    }
    if appears_s is not None:
        learnt_s = appears_s + learn_s
        learning = latencies(within(requests, appears_s, learnt_s), large=False)
        learnt = latencies(within(requests, learnt_s, math.inf), large=False)
        found |= {"learning_small_p99": quantile(learning, 0.99), "learnt_small_p99": quantile(learnt, 0.99)}
    return {name: value for name, value in found.items() if value is not None}


def spread(values: Sequence[float]) -> Spread:
    """Of at least one value."""
    return Spread(statistics.median(values), min(values), max(values), len(values))


def spreads(runs: Sequence[dict[str, float]]) -> dict[str, Spread]:
    """Each figure over several runs; one that a run does not have is of the others."""
    names = dict.fromkeys(name for run in runs for name in run)
    return {name: spread([run[name] for run in runs if name in run]) for name in names}
