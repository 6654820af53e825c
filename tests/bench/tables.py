"""Tables for people: Markdown, with columns in line."""

from collections.abc import Sequence

from bars import REPORTS_FACTOR, Results, Verdict
from stats import Spread

NONE = "-"
LABELS = {
    "small_p99": "small p99",
    "large_p50": "large p50",
    "learning_small_p99": "small p99, the 10 s after it appears",
    "learnt_small_p99": "small p99, from 10 s after it appears",
    "failed": "failed requests",
}

Rows = Sequence[Sequence[str]]


def table(header: Sequence[str], rows: Rows) -> str:
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    line = lambda cells: "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths)) + " |"
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([line(header), rule, *map(line, rows)])


def number(value: float) -> str:
    """Milliseconds or counts: three digits or more, thousands with a comma."""
    return f"{value:.1f}" if 0 < value < 10 else f"{value:,.0f}"


def cell(spread: Spread | None) -> str:
    """`278`, or with several seeds `278 (250-300)`."""
    if spread is None:
        return NONE
    if spread.count == 1:
        return number(spread.median)
    return f"{number(spread.median)} ({number(spread.least)}-{number(spread.most)})"


def by_peer(
    results: Results, workloads: Sequence[str], peers: Sequence[tuple[str, str]], figure: str, missing: Sequence[str]
) -> str:
    """Workloads down, peers (name, title) across. `missing`: peers that are not installed."""
    rows = []
    for workload in workloads:
        cells = [
            "not installed" if name in missing else cell(results.get((workload, name), {}).get(figure))
            for name, _ in peers
        ]
        if any(text not in (NONE, "not installed") for text in cells):
            rows.append([workload, *cells])
    return table(["workload", *(title for _, title in peers)], rows)


def verdicts(judged: Sequence[Verdict]) -> str:
    header = ["workload", "figure", "Sluice", "median", "against", "its median", "ratio", "bar", "verdict"]
    return table(header, [verdict_row(verdict) for verdict in judged])


def verdict_row(verdict: Verdict) -> list[str]:
    shown = lambda value: NONE if value is None else number(value)
    against = verdict.bar.rival.value if verdict.rival is None else f"{verdict.bar.rival.value}: {verdict.rival}"
    word = {True: "PASS", False: "FAIL", None: "not measured"}[verdict.passed]
    ratio = NONE if verdict.ratio is None else f"{verdict.ratio:.2f}"
    figure = LABELS[verdict.bar.figure]
    return [
        verdict.workload, figure, verdict.sluice.removeprefix("sluice-"), shown(verdict.ours), against,
        shown(verdict.theirs), ratio, f"{verdict.bar.factor:g}", word,
    ]


def with_reports_spoilt(rows: Sequence[tuple[str, str, Spread, Spread, Spread | None, Spread | None]]) -> str:
    """(workload, mode, small p99 without, with, share of the last instance without, with) for each."""
    header = ["workload", "reports", "small p99", "small p99 with all reports", "ratio", "bar",
              "requests of the last instance", "with all reports", "verdict"]
    return table(header, [spoilt_row(*row) for row in rows])


def spoilt_row(
    workload: str, mode: str, without: Spread, spoilt: Spread, share: Spread | None, share_spoilt: Spread | None
) -> list[str]:
    ratio = spoilt.median / without.median
    lie = mode.startswith("nonsense")
    percent = lambda s: NONE if s is None else f"{100 * s.median:.0f} %"
    word = "PASS" if ratio <= REPORTS_FACTOR else "FAIL"
    return [
        workload, mode, cell(spoilt), cell(without), f"{ratio:.2f}", NONE if lie else f"{REPORTS_FACTOR:g}",
        percent(share_spoilt), percent(share), "see the share" if lie else word,
    ]
