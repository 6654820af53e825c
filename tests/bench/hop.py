#!/usr/bin/env python3
"""What one hop costs: Sluice, HAProxy, nginx and Envoy in front of the same nginx, one after another, on this machine.

CPU per request, per connection (with and without TLS), per request over HTTP/2 and per GB, memory per idle
connection and per slow download, and what the hop adds to latencies. Each hop is started anew in each round, with one
thread that carries requests; Sluice with all that is on by default. Writes tests/bench/RESULTS.md, and with --bars
ends with 1 if a bar is missed.

Needs tests/bench/setup to have been run, and release binaries: `./check bench-hop` does both.
"""

import argparse
import resource
import signal
import sys
from pathlib import Path

from hop_figures import Amount, added, figures
from hop_report import judge, report
from hops import HOPS, Hop, program_of, start_origin
from options import listed, positive, whole
from peers import ENDINGS, end_in_order, say
from processes import BenchError, processes
from stats import spreads

RESULTS = Path(__file__).parent / "RESULTS.md"
NORMAL = Amount(secs=4.0, rate=2000.0, idle=2000, blobs=50)
# As many idle connections as usual: of few, the figure is what a program allocates once.
QUICK = Amount(secs=1.0, rate=1000.0, idle=2000, blobs=10)
# Round -> figures.
Rounds = list[dict[str, float]]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--hops", type=listed, default=list(HOPS), metavar="NAME,...", help=f"of {', '.join(HOPS)}; default: all")
    add("--rounds", type=whole, metavar="N", help="default: 5, with --quick 1")
    add("--secs", type=positive, metavar="N", help="of each load; default: 4, with --quick 1")
    add("--rate", type=positive, metavar="N", help="requests per second for latencies; default: 2000, with --quick 1000")
    add("--quick", action="store_true", help="to see that it works: little of everything, and no file unless --out is given")
    add("--bars", action="store_true", help="exit code 1 if a bar is missed")
    add("--out", type=Path, metavar="FILE", help="default: tests/bench/RESULTS.md")
    options = parser.parse_args()
    if unknown := [name for name in options.hops if name not in HOPS]:
        parser.error(f"{unknown[0]!r} is none of {', '.join(HOPS)}")
    return options


def measure(hop: Hop, program: Path, amount: Amount) -> dict[str, float]:
    """One hop in one round, with an origin of its own."""
    with processes() as running:
        origin = start_origin(running)
        try:
            return figures(running, hop.start(running, program, origin), amount)
        except BenchError as error:
            raise BenchError(f"{hop.name}: {error}") from error


def measure_all(hops: list[tuple[Hop, Path]], rounds: int, amount: Amount) -> dict[str, Rounds]:
    """Hops alternate within a round, so that whatever else the machine does meets all of them."""
    found: dict[str, Rounds] = {hop.name: [] for hop, _ in hops}
    for n in range(1, rounds + 1):
        for hop, program in hops:
            found[hop.name].append(measure(hop, program, amount))
            say(f"round {n} of {rounds}: {hop.name}: {shown(found[hop.name][-1])}")
    return with_added(found)


def with_added(found: dict[str, Rounds]) -> dict[str, Rounds]:
    """With what each hop adds to the latency of the same round's origin, if that was measured."""
    direct = found.get("direct", [])
    return {
        name: rounds if name == "direct" or not direct else [added(*pair) for pair in zip(rounds, direct, strict=True)]
        for name, rounds in found.items()
    }


def shown(found: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:,.1f}" for name, value in found.items())


def raise_descriptor_limit() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> int:
    options = arguments()
    for ending in ENDINGS:
        signal.signal(ending, end_in_order)
    raise_descriptor_limit()
    usual = QUICK if options.quick else NORMAL
    amount = Amount(options.secs or usual.secs, options.rate or usual.rate, usual.idle, usual.blobs)
    rounds = options.rounds or (1 if options.quick else 5)
    programs = {name: program_of(HOPS[name]) for name in options.hops}
    there = [(HOPS[name], program) for name, program in programs.items() if program]
    missing = [HOPS[name].title for name, program in programs.items() if not program]
    try:
        found = measure_all(there, rounds, amount)
    except BenchError as error:
        say(f"hop: {error}")
        return 2
    except KeyboardInterrupt:
        return 130
    results = {name: spreads(of_rounds) for name, of_rounds in found.items()}
    text = report(results, missing, rounds, amount.secs, amount.rate)
    print(text)
    if out := options.out or (None if options.quick else RESULTS):
        out.write_text(text)
    missed = any(verdict.passed is False for verdict in judge(results))
    return 1 if options.bars and missed else 0


if __name__ == "__main__":
    sys.exit(main())
