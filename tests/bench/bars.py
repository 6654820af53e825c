"""The bars that Sluice must pass against its peers, and whether it does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from reports import LIES
from sites import Kind
from stats import Spread

# (workload, peer) -> figure -> its spread over seeds.
Results = Mapping[tuple[str, str], Mapping[str, Spread]]


class Rival(Enum):
    """Whom a bar compares with; of several peers, the best one."""

    ANY = "the best peer"
    AUTOMATIC = "the best automatic peer"
    SPLIT = "the expert's split"
    BY_HAND = "the slow one taken out by hand"
    HAPROXY = "the better automatic HAProxy"


@dataclass(frozen=True)
class Bar:
    """`figure` of Sluice must be at most `factor` times the rival's, in medians."""

    workload: str
    figure: str
    rival: Rival
    factor: float


@dataclass(frozen=True)
class Verdict:
    """`passed` is None if something was not measured."""

    workload: str
    bar: Bar
    sluice: str
    ours: float | None
    rival: str | None
    theirs: float | None
    passed: bool | None

    @property
    def ratio(self) -> float | None:
        if self.ours is None or not self.theirs:
            return None
        return self.ours / self.theirs


def large(workload: str) -> tuple[Bar, Bar]:
    """An export is to be as fast as with the best, and not to pay for the small ones as in a split."""
    return Bar(workload, "large_p50", Rival.SPLIT, 0.5), Bar(workload, "large_p50", Rival.AUTOMATIC, 1.3)


BARS = (
    Bar("blobs-slow-clients", "small_p99", Rival.ANY, 0.8),
    Bar("blobs-slow-clients", "large_p50", Rival.ANY, 1.02),
    Bar("exports", "small_p99", Rival.AUTOMATIC, 0.25),
    Bar("exports", "small_p99", Rival.SPLIT, 1.5),
    *large("exports"),
    Bar("bursts", "small_p99", Rival.AUTOMATIC, 0.15),
    Bar("bursts", "small_p99", Rival.SPLIT, 1.5),
    *large("bursts"),
    # Until it is learnt, no worse than HAProxy; then as with bursts.
    Bar("appears", "learning_small_p99", Rival.HAPROXY, 1.0),
    Bar("appears", "learnt_small_p99", Rival.AUTOMATIC, 0.15),
    Bar("appears", "learnt_small_p99", Rival.SPLIT, 1.5),
    *large("appears"),
    Bar("slow-instance", "small_p99", Rival.AUTOMATIC, 0.9),
    Bar("slow-instance", "small_p99", Rival.BY_HAND, 1.1),
    Bar("caches", "small_p99", Rival.ANY, 0.02),
    Bar("all-small", "small_p99", Rival.ANY, 1.05),
)

# Lost or late reports may change small p99 by this much.
REPORTS_FACTOR = 1.05
# A peer that fails more of its large requests than this is not "the best" at those that are left.
FAILING = 0.01


@dataclass(frozen=True)
class Spoilt:
    """Sluice with its reports spoilt and, in the same run, without. `share` is the last instance's of all requests."""

    workload: str
    sluice: str
    mode: str
    p99: Spread
    p99_with_all: Spread
    share: Spread | None
    share_with_all: Spread | None

    @property
    def ratio(self) -> float:
        return self.p99.median / self.p99_with_all.median

    @property
    def passed(self) -> bool | None:
        """None of a lie: there the share of the liar's instance says how much harm it does."""
        return None if self.mode in LIES else self.ratio <= REPORTS_FACTOR


def judge(results: Results, kinds: Mapping[str, Kind]) -> list[Verdict]:
    """Every bar of every workload and every Sluice that was run."""
    verdicts = []
    for workload in dict.fromkeys(workload for workload, _ in results):
        ours = [p for (w, p) in results if w == workload and kinds[p] is Kind.SLUICE]
        for sluice in ours:
            bars = [bar for bar in BARS if bar.workload == workload.split(" ")[0]]
            verdicts += [verdict(results, kinds, workload, bar, sluice) for bar in bars]
            verdicts.append(failures(results, kinds, workload, sluice))
    return verdicts


def verdict(results: Results, kinds: Mapping[str, Kind], workload: str, bar: Bar, sluice: str) -> Verdict:
    ours = median(results, workload, sluice, bar.figure)
    theirs, rival = min(rivals(results, kinds, workload, bar), default=(None, None))
    passed = None if ours is None or theirs is None else ours <= bar.factor * theirs
    return Verdict(workload, bar, sluice, ours, rival, theirs, passed)


def rivals(
    results: Results, kinds: Mapping[str, Kind], workload: str, bar: Bar
) -> Sequence[tuple[float, str]]:
    """(figure, peer) of each peer that the bar speaks of and that was measured."""
    peers = [p for (w, p) in results if w == workload and is_rival(bar.rival, p, kinds[p])]
    if bar.figure.startswith("large"):
        peers = [p for p in peers if failing(results, workload, p) <= FAILING]
    found = [(median(results, workload, p, bar.figure), p) for p in peers]
    return [(value, peer) for value, peer in found if value is not None]


def is_rival(rival: Rival, peer: str, kind: Kind) -> bool:
    match rival:
        case Rival.ANY:
            return kind is not Kind.SLUICE
        case Rival.AUTOMATIC:
            return kind is Kind.AUTOMATIC
        case Rival.SPLIT:
            return kind is Kind.SPLIT
        case Rival.BY_HAND:
            return kind is Kind.BY_HAND
        case Rival.HAPROXY:
            return kind is Kind.AUTOMATIC and peer.startswith("haproxy")


def failing(results: Results, workload: str, peer: str) -> float:
    """The part of its large requests that a peer fails."""
    sent = median(results, workload, peer, "large_sent")
    return (median(results, workload, peer, "large_failed") or 0.0) / sent if sent else 0.0


def failures(results: Results, kinds: Mapping[str, Kind], workload: str, sluice: str) -> Verdict:
    """Latencies are of answered requests, so nobody may get better ones by failing: no more than the best peer."""
    bar = Bar(workload, "failed", Rival.ANY, 1.0)
    ours = failed(results, workload, sluice)
    theirs = [(failed(results, workload, p), p) for (w, p) in results if w == workload and kinds[p] is not Kind.SLUICE]
    least, rival = min(theirs, default=(None, None))
    return Verdict(workload, bar, sluice, ours, rival, least, ours <= least if least is not None else None)


def failed(results: Results, workload: str, peer: str) -> float:
    return sum(median(results, workload, peer, f"{size}_failed") or 0.0 for size in ("small", "large"))


def median(results: Results, workload: str, peer: str, figure: str) -> float | None:
    spread = results[workload, peer].get(figure)
    return spread.median if spread else None
