#!/usr/bin/env python3
"""Sluice against its peers: the same emulated workloads through each of them, one after another, on this machine.

Each run has four fresh emulated instances of one worker, a fresh balancer with one thread, and an open-loop load that
is timed from the scheduled arrival. Prints small p99, the large class and failures by workload and peer, as medians
over seeds with the extremes in brackets.

Needs tests/bench/setup to have been run, and release binaries: `./check peers` does both.
"""

import argparse
import dataclasses
import json
import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import machine
import tables
from bars import Results, judge
from measure import Run, measure
from processes import BenchError
from reports import MODES, Spoiler
from sites import PEERS, Kind, Peer, Setting
from stats import spreads
from workloads import ALL_SMALL, NAMES, Workload, at_load, describe

LOADS = (50.0, 70.0, 85.0)


@dataclass(frozen=True)
class Plan:
    """What is to be run. `missing`: peers that were asked for and are not installed."""

    workloads: list[Workload]
    peers: list[tuple[Peer, Path]]
    missing: list[Peer]
    seeds: range
    setting: Setting
    modes: list[str]


def listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--workload", type=listed, default=list(NAMES), metavar="NAME,...", help=f"of {', '.join(NAMES)}; default: all")
    add("--peers", type=listed, default=list(PEERS), metavar="NAME[=PROGRAM],...",
        help=f"of {', '.join(PEERS)}, with the program to run if it is not in PATH; default: all")
    add("--seeds", type=int, default=1, metavar="N", help="runs of each, with seeds 1 to N; default: 1")
    add("--secs", type=float, metavar="N", help="length of each run; default: the workload's, 24 or 32")
    add("--load", type=lambda text: [float(part) for part in listed(text)], default=list(LOADS), metavar="PERCENT,...",
        help="loads of all-small; default: 50,70,85")
    add("--bars", action="store_true", help="judge the medians; exit code 1 if a bar is missed")
    add("--reports", type=listed, default=[], metavar="MODE,...",
        help=f"instead of comparing peers, run Sluice with its reports spoilt and not: {', '.join(MODES)}")
    add("--json", type=Path, metavar="FILE", help="write every run's figures")
    add("--markdown", type=Path, metavar="FILE", help="write what is printed")
    add("--balancer-flags", type=shlex.split, default=[], metavar="FLAGS", help="for sluice-balancer, to try things out")
    add("--agent-flags", type=shlex.split, default=[], metavar="FLAGS", help="for sluice-agent, to try things out")
    options = parser.parse_args()
    for given, known in ((options.workload, NAMES), (options.reports, MODES)):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"{unknown[0]!r} is none of {', '.join(known)}")
    if unknown := [name for name in options.peers if name.split("=")[0] not in PEERS]:
        parser.error(f"{unknown[0]!r} is none of {', '.join(PEERS)}")
    return options


def plan(options: argparse.Namespace) -> Plan:
    peers, missing = installed(options.peers)
    return Plan(
        workloads=list(workloads(options)),
        peers=peers,
        missing=missing,
        seeds=range(1, options.seeds + 1),
        setting=Setting(options.balancer_flags, options.agent_flags),
        modes=options.reports,
    )


def workloads(options: argparse.Namespace) -> list[Workload]:
    described = []
    for name in options.workload:
        workload = describe(machine.PROGRAMS / "sluice-load", name, options.secs)
        described += [at_load(workload, load) for load in options.load] if name == ALL_SMALL else [workload]
    return described


def installed(asked: Sequence[str]) -> tuple[list[tuple[Peer, Path]], list[Peer]]:
    """The peers asked for that are there, with their programs, and those that are not."""
    there, missing = [], []
    for name, _, given in (peer.partition("=") for peer in asked):
        peer = PEERS[name]
        own = machine.PROGRAMS / peer.program if peer.kind is Kind.SLUICE else None
        program = Path(given) if given else own or machine.find(peer.program)
        if program and program.exists():
            there.append((peer, program.resolve()))
        else:
            missing.append(peer)
    return there, missing


def run_all(work: Plan) -> list[Run]:
    """Peers alternate within a seed, so that whatever else the machine does meets all of them."""
    if work.modes:
        sluices = [(peer, program) for peer, program in work.peers if peer.kind is Kind.SLUICE]
        todo = [(workload, peer, program, mode) for workload in work.workloads for peer, program in sluices
                for mode in (None, *work.modes)]
    else:
        todo = [(workload, peer, program, None) for workload in work.workloads for peer, program in work.peers
                if peer.fits(workload)]
    runs = []
    for seed in work.seeds:
        for workload, peer, program, mode in todo:
            setting = spoilt(work.setting, workload, mode, seed)
            runs.append(measure(peer, program, workload, seed, setting, mode))
            print(progress(runs[-1]), file=sys.stderr, flush=True)
    return runs


def spoilt(setting: Setting, workload: Workload, mode: str | None, seed: int) -> Setting:
    if mode is None:
        return setting
    liar = f"instance-{len(workload.instances)}"
    return replace(setting, spoiler=partial(Spoiler, mode, liar=liar, seed=seed))


def progress(run: Run) -> str:
    shown = [f"{name} {run.figures[name]:,.0f}" for name in ("small_p99", "large_p50", "large_p99") if name in run.figures]
    failed = [f"{name} failed: {reasons}" for name, reasons in run.failed.items()]
    starved = [f"the generator was {run.lag_p99_ms:.0f} ms late"] if run.starved else []
    mode = f" {run.mode}" if run.mode else ""
    return f"seed {run.seed} {run.workload}: {run.peer}{mode}: {', '.join([*shown, *failed, *starved])}"


def results(runs: Sequence[Run], mode: str | None = None) -> Results:
    chosen = [run for run in runs if run.mode == mode]
    keys = dict.fromkeys((run.workload, run.peer) for run in chosen)
    return {key: spreads([r.figures for r in chosen if (r.workload, r.peer) == key]) for key in keys}


def comparison(work: Plan, found: Results) -> list[str]:
    asked = [*(peer for peer, _ in work.peers), *work.missing]
    peers = [(name, peer.title) for name, peer in PEERS.items() if peer in asked]
    missing = [peer.name for peer in work.missing]
    names = [workload.name for workload in work.workloads]
    parts = []
    for title, figure in (
        ("Small p99, ms", "small_p99"), ("Large p50, ms", "large_p50"), ("Large p99, ms", "large_p99"),
        ("Small requests failed", "small_failed"), ("Large requests failed", "large_failed"),
        ("CPU of the balancing programs, s per run", "cpu_s"),
    ):
        if any(figure in figures for figures in found.values()):
            parts += [f"### {title}", tables.by_peer(found, names, peers, figure, missing)]
    return parts


def robustness(work: Plan, runs: Sequence[Run]) -> list[str]:
    without = results(runs)
    rows = []
    for mode in work.modes:
        for (workload, peer), figures in results(runs, mode).items():
            whole = without[workload, peer]
            if "small_p99" in figures and "small_p99" in whole:
                name = f"{workload}, {peer.removeprefix('sluice-')}"
                share = (whole.get("last_share"), figures.get("last_share"))
                rows.append((name, mode, whole["small_p99"], figures["small_p99"], *share))
    return ["### With reports lost, late or false", tables.with_reports_spoilt(rows)]


def footnote(work: Plan) -> str:
    programs = dict.fromkeys((peer.program, program) for peer, program in work.peers)
    versions = [f"{name} {machine.version(program)}" for name, program in programs]
    seeds = f"medians of seeds 1 to {len(work.seeds)} (least-most)" if len(work.seeds) > 1 else "one run each, seed 1"
    lengths = "/".join(dict.fromkeys(f"{workload.secs:g}" for workload in work.workloads))
    return (
        f"{machine.today()}, Sluice at {machine.revision()}, {machine.cores()} cores ({machine.processor()}) shared by load,"
        f" instances and balancer; {', '.join(versions)}; one proxy thread each; {seeds}, {lengths} s each."
    )


def starved(runs: Sequence[Run]) -> list[str]:
    count = sum(run.starved for run in runs)
    return [f"In {count} of {len(runs)} runs the load generator was starved of CPU: read those with care."] if count else []


def write_json(file: Path, work: Plan, runs: Sequence[Run]) -> None:
    content = {"note": footnote(work), "runs": [dataclasses.asdict(run) for run in runs]}
    file.write_text(json.dumps(content, indent=1) + "\n")


def report(work: Plan, runs: Sequence[Run], bars: bool) -> tuple[str, bool]:
    """The text, and whether no bar was missed."""
    found = results(runs)
    parts = robustness(work, runs) if work.modes else comparison(work, found)
    judged = judge(found, {name: peer.kind for name, peer in PEERS.items()}) if bars and not work.modes else []
    if judged:
        parts += ["### Bars", tables.verdicts(judged)]
    parts += [footnote(work), *starved(runs)]
    return "\n\n".join(parts) + "\n", all(verdict.passed is not False for verdict in judged)


def end_in_order(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGTERM, end_in_order)
    runs: list[Run] = []
    try:
        work = plan(options)
        runs = run_all(work)
    except BenchError as error:
        print(f"peers: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    text, passed = report(work, runs, options.bars)
    print(text)
    if options.json:
        write_json(options.json, work, runs)
    if options.markdown:
        options.markdown.write_text(text)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
