"""What is said of the runs: tables, verdicts, and the line that says how it was measured."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import machine
import tables
from bars import Results, Spoilt, Verdict, judge
from measure import Run
from options import Plan
from sites import PEERS
from stats import spreads


def report(work: Plan, runs: Sequence[Run], bars: bool) -> tuple[str, bool]:
    """The text, and whether no bar was missed."""
    judged: Sequence[Verdict | Spoilt]
    if work.modes:
        judged = spoilt = robustness(work, runs)
        parts = ["### With reports lost, late or false", tables.with_reports_spoilt(spoilt)]
    else:
        found = results(runs)
        parts = comparison(work, found)
        judged = verdicts = judge(found, {name: peer.kind for name, peer in PEERS.items()}) if bars else []
        parts += ["### Bars", tables.verdicts(verdicts)] if verdicts else []
    text = "\n\n".join([*parts, footnote(work), *starved(runs)]) + "\n"
    return text, not bars or all(verdict.passed is not False for verdict in judged)


def results(runs: Sequence[Run], mode: str | None = None) -> Results:
    chosen = [run for run in runs if run.mode == mode]
    keys = dict.fromkeys((run.workload, run.peer) for run in chosen)
    return {key: spreads([r.figures for r in chosen if (r.workload, r.peer) == key]) for key in keys}


# Title and figure of each table, in order.
LATENCIES = (("Small p99, ms", "small_p99"), ("Large p50, ms", "large_p50"), ("Large p99, ms", "large_p99"))
FAILURES = (("Small requests failed", "small_failed"), ("Large requests failed", "large_failed"))
CPU = (("CPU of the balancing programs, s per run", "cpu_s"),)


def comparison(work: Plan, found: Results) -> list[str]:
    asked = [*(peer for peer, _ in work.peers), *work.missing]
    peers = [(name, peer.title) for name, peer in PEERS.items() if peer in asked]
    missing = [peer.name for peer in work.missing]
    names = [workload.name for workload in work.workloads]
    failures = [entry for entry in FAILURES if any_above_zero(found, entry[1])]
    parts = []
    for title, figure in (*LATENCIES, *failures, *CPU):
        if any(figure in figures for figures in found.values()):
            parts += [f"### {title}", tables.by_peer(found, names, peers, figure, missing)]
    return parts if failures else [*parts, "No request failed."]


def any_above_zero(found: Results, figure: str) -> bool:
    return any(figures[figure].most > 0 for figures in found.values() if figure in figures)


def robustness(work: Plan, runs: Sequence[Run]) -> list[Spoilt]:
    with_all = results(runs)
    rows = []
    for mode in work.modes:
        for (workload, peer), found in results(runs, mode).items():
            whole = with_all[workload, peer]
            if "small_p99" in found and "small_p99" in whole:
                p99 = (found["small_p99"], whole["small_p99"])
                rows.append(Spoilt(workload, peer, mode, *p99, found.get("last_share"), whole.get("last_share")))
    return rows


def footnote(work: Plan) -> str:
    programs = dict.fromkeys((peer.program, program) for peer, program in work.peers)
    versions = [f"{name} {machine.version(program)}" for name, program in programs]
    seeds = f"medians of seeds 1 to {len(work.seeds)} (least-most)" if len(work.seeds) > 1 else "one run each, seed 1"
    lengths = "/".join(dict.fromkeys(f"{workload.secs:g}" for workload in work.workloads))
    return (
        f"{machine.today()}, Sluice at {machine.revision()}, {machine.cores()} cores ({machine.processor()}) shared"
        f" by load, instances and balancer; {', '.join(versions)}; one proxy thread each; {seeds}, {lengths} s each."
    )


def starved(runs: Sequence[Run]) -> list[str]:
    count = sum(run.starved for run in runs)
    line = f"In {count} of {len(runs)} runs the load generator was starved of CPU: read those with care."
    return [line] if count else []


def write_json(file: Path, work: Plan, runs: Sequence[Run]) -> None:
    content = {"note": footnote(work), "runs": [dataclasses.asdict(run) for run in runs]}
    file.write_text(json.dumps(content, indent=1) + "\n")
