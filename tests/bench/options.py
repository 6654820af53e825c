"""The command line, and what it asks for."""

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import machine
from processes import BenchError
from reports import MODES
from sites import PEERS, Kind, Peer, Setting
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


def positive(text: str) -> float:
    if not 0 < (number := float(text)) < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def whole(text: str) -> int:
    return int(positive(str(int(text))))


def percentages(text: str) -> list[float]:
    return [positive(part) for part in listed(text)]


def arguments(about: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--workload", type=listed, default=list(NAMES), metavar="NAME,...", help=f"of {', '.join(NAMES)}; default: all")
    add("--peers", type=listed, default=list(PEERS), metavar="NAME[=PROGRAM],...",
        help=f"of {', '.join(PEERS)}, with the program to run if it is not in PATH; default: all")
    add("--seeds", type=whole, default=1, metavar="N", help="runs of each, with seeds 1 to N; default: 1")
    add("--secs", type=positive, metavar="N", help="length of each run; default: the workload's, 24 or 32")
    add("--load", type=percentages, default=list(LOADS), metavar="PERCENT,...",
        help="loads of all-small; default: 50,70,85")
    add("--bars", action="store_true", help="judge the medians; exit code 1 if a bar is missed")
    add("--reports", type=listed, default=[], metavar="MODE,...",
        help=f"instead of comparing peers, run Sluice with its reports spoilt and not: {', '.join(MODES)}")
    add("--json", type=Path, metavar="FILE", help="write every run's figures")
    add("--markdown", type=Path, metavar="FILE", help="write what is printed")
    add("--balancer-flags", type=shlex.split, default=[], metavar="FLAGS", help="of sluice-balancer, to try out")
    add("--agent-flags", type=shlex.split, default=[], metavar="FLAGS", help="of sluice-agent, to try out")
    options = parser.parse_args()
    peers = [name.split("=")[0] for name in options.peers]
    for given, known in ((options.workload, NAMES), (options.reports, MODES), (peers, PEERS)):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"{unknown[0]!r} is none of {', '.join(known)}")
    if options.reports and not any(PEERS[name].kind is Kind.SLUICE for name in peers):
        parser.error("--reports is about Sluice: leave sluice-inline or sluice-passive in --peers")
    return options


def plan(options: argparse.Namespace) -> Plan:
    if absent := [name for name in ("sluice-load", "sluice-instance") if not (machine.PROGRAMS / name).exists()]:
        raise BenchError(f"{absent[0]} is not in {machine.PROGRAMS}: `./check peers` builds it")
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
