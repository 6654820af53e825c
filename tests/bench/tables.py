"""Tables for people: Markdown, with columns in line."""

from collections.abc import Sequence

from bars import REPORTS_FACTOR, Results, Spoilt, Verdict
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
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([line(header, widths), rule, *(line(row, widths) for row in rows)])


def line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"


def number(value: float | None) -> str:
    """Milliseconds or counts: a decimal only below 10, thousands with a comma."""
    if value is None:
        return NONE
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
    against = verdict.bar.rival.value if verdict.rival is None else f"{verdict.bar.rival.value}: {verdict.rival}"
    word = {True: "PASS", False: "FAIL", None: "not measured"}[verdict.passed]
    ratio = NONE if verdict.ratio is None else f"{verdict.ratio:.2f}"
    figure = LABELS[verdict.bar.figure]
    return [
        verdict.workload, figure, verdict.sluice.removeprefix("sluice-"), number(verdict.ours), against,
        number(verdict.theirs), ratio, f"{verdict.bar.factor:g}", word,
    ]


def with_reports_spoilt(rows: Sequence[Spoilt]) -> str:
    header = [
        "workload", "Sluice", "reports", "small p99", "with all reports", "ratio", "bar",
        "share of the last instance", "with all reports", "verdict",
    ]
    return table(header, [spoilt_row(row) for row in rows])


def spoilt_row(row: Spoilt) -> list[str]:
    word = {True: "PASS", False: "FAIL", None: "see the share"}[row.passed]
    bar = NONE if row.passed is None else f"{REPORTS_FACTOR:g}"
    return [
        row.workload, row.sluice.removeprefix("sluice-"), row.mode, cell(row.p99), cell(row.p99_with_all),
        f"{row.ratio:.2f}", bar, percent(row.share), percent(row.share_with_all), word,
    ]


def percent(share: Spread | None) -> str:
    return NONE if share is None else f"{100 * share.median:.0f} %"
