#!/usr/bin/env python3
"""Sluice against its peers: the same emulated workloads through each of them, one after another, on this machine.

Each run has four fresh emulated instances of one worker, a fresh balancer with one thread, and an open-loop load that
is timed from the scheduled arrival. Prints small p99, the large class and failures by workload and peer, as medians
over seeds with the extremes in brackets.

Needs tests/bench/setup to have been run, and release binaries: `./check peers` does both.
"""

import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from measure import Run, measure
from options import Plan, arguments, plan
from processes import BenchError
from report import report, write_json
from reports import Spoiler
from sites import Kind, Peer, Setting
from workloads import Workload

# Starting and ending a site.
OVERHEAD_S = 2.0


def runs_of(work: Plan) -> list[tuple[Workload, Peer, Path, str | None]]:
    """What one seed runs, in order."""
    if not work.modes:
        return [(w, peer, program, None) for w in work.workloads for peer, program in work.peers if peer.fits(w)]
    sluices = [(peer, program) for peer, program in work.peers if peer.kind is Kind.SLUICE]
    modes = (None, *work.modes)
    return [(w, peer, program, mode) for w in work.workloads for peer, program in sluices for mode in modes]


def run_all(work: Plan) -> list[Run]:
    """Peers alternate within a seed, so that whatever else the machine does meets all of them."""
    todo = runs_of(work)
    minutes = len(work.seeds) * sum(workload.secs + OVERHEAD_S for workload, *_ in todo) / 60
    say(f"{len(work.seeds) * len(todo)} runs, at least {minutes:.0f} min")
    runs = []
    for seed in work.seeds:
        for workload, peer, program, mode in todo:
            setting = spoilt(work.setting, workload, mode, seed)
            runs.append(measure(peer, program, workload, seed, setting, mode))
            say(progress(runs[-1]))
    return runs


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def spoilt(setting: Setting, workload: Workload, mode: str | None, seed: int) -> Setting:
    if mode is None:
        return setting
    liar = f"instance-{len(workload.instances)}"
    return replace(setting, spoiler=partial(Spoiler, mode, liar=liar, seed=seed))


def progress(run: Run) -> str:
    names = [name for name in ("small_p99", "large_p50", "large_p99") if name in run.figures]
    shown = [f"{name} {run.figures[name]:,.0f}" for name in names]
    failed = [f"{name} failed: {reasons}" for name, reasons in run.failed.items()]
    starved = [f"the generator was {run.lag_p99_ms:.0f} ms late"] if run.starved else []
    mode = f" {run.mode}" if run.mode else ""
    return f"seed {run.seed} {run.workload}: {run.peer}{mode}: {', '.join([*shown, *failed, *starved])}"


def end_in_order(*_: object) -> None:
    """Once: nothing may interrupt the ending of what was started."""
    for ending in ENDINGS:
        signal.signal(ending, signal.SIG_IGN)
    raise KeyboardInterrupt


ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    options = arguments(__doc__ or "")
    for ending in ENDINGS:
        signal.signal(ending, end_in_order)
    try:
        work = plan(options)
        runs = run_all(work)
    except BenchError as error:
        say(f"peers: {error}")
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
