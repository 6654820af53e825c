#!/usr/bin/env python3
"""Faults: processes that are killed and stopped, instances that misbehave, reports that lie, networks that lose
packets, disks and descriptors that run out, all under load. Each scenario has a site of its own: a balancer and four
emulated instances, each behind an agent, at 60 % of what they can do, and a probe each 50 ms.

Without arguments: short form. Counts are judged and times are not, several scenarios at a time. With --long: 60 s
each, one after the other, everything is judged. Exit code 1 if a figure misses its bar.

Needs release binaries (cargo build --release), and tests/faults/setup to have been run for some scenarios.
"""

import argparse
import contextlib
import re
import sys
import tempfile
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "bench")]

from findings import Figure, Findings, Skipped  # noqa: E402
from load import Pace  # noqa: E402
from processes import BenchError, Processes, processes  # noqa: E402
from running import Run  # noqa: E402
from scenarios import SCENARIOS, Scenario  # noqa: E402

SHORT = Pace(long=False, secs=3.0)
LONG = Pace(long=True, secs=60.0)


@dataclass(frozen=True)
class Result:
    """What became of a scenario. `trouble`: why it has no verdict; `skipped`: why it did not run."""

    scenario: Scenario
    findings: Findings = field(default_factory=Findings)
    trouble: str | None = None
    skipped: str | None = None
    words: str = ""

    def failed(self, long: bool) -> bool:
        return self.trouble is not None or bool(self.findings.missed(long=long))


def play(scenario: Scenario, ports: Processes, pace: Pace) -> Result:
    """Runs one scenario in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="sluice-fault-", ignore_cleanup_errors=True) as name:
        run = Run(ports, Path(name), pace)
        try:
            scenario.run(run)
        except Skipped as reason:
            return Result(scenario, skipped=str(reason))
        except BenchError as error:
            return Result(scenario, run.findings, trouble=str(error), words=last_words(Path(name), run))
        except Exception:  # noqa: BLE001 - one scenario's fault is not the others'
            return Result(scenario, run.findings, trouble=traceback.format_exc(), words=last_words(Path(name), run))
        result = Result(scenario, run.findings)
        return Result(scenario, run.findings, words=last_words(Path(name), run)) if result.failed(pace.long) else result


def last_words(directory: Path, run: Run) -> str:
    """Why requests failed, and what the programs' logs warn of, the latest."""
    telling = re.compile("WARN|ERROR|panicked")
    words = [f"  failed requests: {run.failures() or 'none'}"]
    for log in sorted(directory.glob("*.log")):
        lines = [line for line in log.read_text(errors="replace").splitlines() if telling.search(line)]
        words += [f"  {log.stem}: {line[:240]}" for line in lines[-5:]]
    return "\n".join(words)


def play_all(scenarios: list[Scenario], pace: Pace, jobs: int) -> list[Result]:
    with processes() as ports:
        beside = [scenario for scenario in scenarios if not scenario.alone and jobs > 1]
        with ThreadPoolExecutor(jobs) as pool:
            results = list(pool.map(lambda one: told(play(one, ports, pace), pace), beside))
        return results + [told(play(one, ports, pace), pace) for one in scenarios if one not in beside]


def told(result: Result, pace: Pace) -> Result:
    """One line as soon as it is over: long runs are watched."""
    if result.skipped:
        verdict = f"skipped: {result.skipped}"
    elif result.failed(pace.long):
        verdict = "FAILED"
    else:
        verdict = "passed"
    print(f"{result.scenario.name}: {verdict}", flush=True)
    return result


def table(results: list[Result], long: bool) -> None:
    print(f"\n| {'scenario':<20} | {'figure':<58} | {'bar':>8} | {'measured':>9} | |")
    print("|---|---|---:|---:|---|")
    for result in results:
        for figure in result.findings.figures:
            if figure.routine and figure.passed and not long:
                continue
            verdict = "ok" if figure.passed else "MISSED" if long or not figure.timed else "late"
            row = f"| {result.scenario.name:<20} | {figure.what:<58} | {figure.bar:>8} | {number(figure):>9} |"
            print(f"{row} {verdict} |")


def number(figure: Figure) -> str:
    return f"{figure.measured:.2f}".rstrip("0").rstrip(".")


def explain(results: list[Result], long: bool) -> None:
    for result in results:
        if not result.failed(long):
            continue
        print(f"\n{result.scenario.name}: {result.scenario.about}")
        for figure in result.findings.missed(long=long):
            print(f"  {figure.what}: {number(figure)}, should be {figure.bar}")
        if result.trouble:
            print(f"  {result.trouble}")
        print(result.words)


def chosen(names: list[str]) -> list[Scenario]:
    unknown = [name for name in names if name not in SCENARIOS]
    if unknown:
        sys.exit(f"no such scenario: {', '.join(unknown)}; there are: {', '.join(SCENARIOS)}")
    return [SCENARIOS[name] for name in names] or [one for one in SCENARIOS.values() if one.off is None]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which scenarios [default: all]")
    parser.add_argument("--long", action="store_true", help="60 s each, and times are judged as well")
    parser.add_argument("--secs", type=float, help="length of each load [default: 3, or 60 with --long]")
    parser.add_argument("--jobs", type=int, default=3, help="scenarios at a time in short form [default: 3]")
    parser.add_argument("--list", action="store_true", help="what there is")
    options = parser.parse_args()
    if options.list:
        for one in SCENARIOS.values():
            print(f"{one.name:<20} {one.about}{f' (off: {one.off})' if one.off else ''}")
        return 0
    pace = LONG if options.long else SHORT
    if options.secs:
        pace = Pace(pace.long, options.secs)
    results = play_all(chosen(options.names), pace, 1 if options.long else options.jobs)
    with contextlib.suppress(BrokenPipeError):
        table(results, options.long)
        explain(results, options.long)
    failed = sum(result.failed(options.long) for result in results)
    skipped = sum(result.skipped is not None for result in results)
    print(f"\n{len(results) - failed - skipped} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
