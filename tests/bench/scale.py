#!/usr/bin/env python3
"""What many of something cost one balancer: agents that report each second, instances, classes, idle connections.

Prints tables, and writes tests/bench/scale.json and the book's plot (docs/src/images/scale.svg) if all reports came: on a
machine that is too busy for that, nothing is said of their cost. CPU time is the balancer's own. `--bars`: exit code 1 if 10,000
agents cost more than half a core, if a request costs a quarter more with many instances or classes than with few, or if
a connection is lost.
"""

import argparse
import json
import resource
import sys
from pathlib import Path
from typing import Any

import machine
import plot
from processes import Processes, Started, processes

RESULTS = Path(__file__).parent / "scale.json"
PLOT = machine.ROOT / "docs" / "src" / "images" / "scale.svg"

AGENTS = (100, 1_000, 3_000, 10_000)
INSTANCES = (4, 100, 1_000)
CLASSES = (10, 200, 2_000)
# Of which the other figure is looked at.
AMONG_INSTANCES, AMONG_CLASSES = 100, 200
CONNECTIONS = 20_000
# Descriptors that a process needs for itself.
OTHERS = 300

MOST_CORES, MOST_GROWTH = 0.5, 1.25
# Of the reports that there should be. With fewer, a row tells what the machine had left, and nothing of their cost.
LEAST_TAKEN = 0.95

Row = dict[str, Any]


class Site:
    """A balancer, and an instance that is at every loopback address."""

    def __init__(self, running: Processes, *flags: str) -> None:
        self.running = running
        self.listen, self.admin, self.instance = (running.free_port() for _ in range(3))
        self.start("sluice-scale", "instance", "--listen", f"0.0.0.0:{self.instance}", ports=[self.instance])
        self.balancer = self.start(
            "sluice-balancer", "--listen", self.at(self.listen), "--admin", self.at(self.admin),
            # Thousands of agents are behind some hundred addresses here.
            "--report-rate", "2000",
            # Clients here keep theirs for as long as is measured.
            "--max-requests-per-connection", "0", *flags, ports=[self.listen, self.admin],
        )

    def start(self, program: str, *arguments: str, ports: list[int]) -> Started:
        return self.running.start(program, [str(machine.PROGRAMS / program), *arguments], ports)

    @staticmethod
    def at(port: int) -> str:
        return f"127.0.0.1:{port}"

    def load(self, kind: str, **flags: object) -> Row:
        """Runs one kind of load on it to its end."""
        self.running.check_alive()
        given = [word for name, value in flags.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        command = [str(machine.PROGRAMS / "sluice-scale"), kind, "--pid", str(self.balancer.process.pid), *given]
        row: Row = json.loads(self.running.run(f"load-{kind}", command, timeout_s=600))
        return row

    def agents(self, count: int, secs: int, **flags: object) -> Row:
        target = {"admin": self.at(self.admin), "instance_port": self.instance}
        return self.load("agents", agents=count, secs=secs, **target, **flags)


def agents(count: int, secs: int) -> Row:
    with processes() as running:
        # Descriptors are for agents here.
        site = Site(running, "--max-connections", "1000", "--admin-connections", str(2 * count + 100))
        return site.agents(count, secs)


def requests(instances: int, classes: int, secs: int) -> Row:
    with processes() as running:
        site = Site(running, "--max-classes", "4000")
        # One report each, that holds for ten minutes.
        site.agents(instances, 0, settle=2, interval_ms=60_000)
        row = site.load("requests", listen=site.at(site.listen), classes=classes, secs=secs)
        return {"instances": instances, **row}


def connections(wanted: int) -> Row:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    count = min(wanted, most - OTHERS)
    with processes() as running:
        # The instance is another process, with descriptors of its own.
        site = Site(running, "--max-connections", str(count + 100), "--client-keep-alive", "30m")
        site.agents(4, 0, settle=1, interval_ms=60_000)
        return site.load("idle", listen=site.at(site.listen), connections=count)


def measure(secs: int) -> dict[str, list[Row]]:
    told = lambda row: print(json.dumps(row), file=sys.stderr) or row  # noqa: E731
    return {
        "agents": [told(agents(count, secs)) for count in AGENTS],
        "instances": [told(requests(count, AMONG_CLASSES, secs)) for count in INSTANCES],
        "classes": [told(requests(AMONG_INSTANCES, count, secs)) for count in CLASSES],
        "connections": [told(connections(CONNECTIONS))],
    }


def tables(data: dict[str, list[Row]]) -> str:
    lines = [
        "| agents | reports/s | KB each | cores | CPU us per report | p99 ms | CPU s to register all | memory MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in data["agents"]:
        per_s = row["accepted"] / row["secs"]
        us = row["cores"]["all"] / max(per_s, 1) * 1e6
        lines.append(
            f"| {row['agents']:,} | {per_s:,.0f} | {row['bytes'] / 1e3:.1f} | {row['cores']['all']:.2f} | {us:.0f} "
            f"| {row['p99_ms']:.1f} | {row['registering_s']:.1f} | {row['held']['rss_kib'] / 1024:.0f} |"
        )
    lines += ["", "| instances | classes | CPU us per request | other threads, cores |", "|---|---|---|---|"]
    for row in data["instances"] + data["classes"]:
        lines.append(
            f"| {row['instances']:,} | {row['classes']:,} | {row['data_us']:.0f} | {row['other_cores']:.3f} |"
        )
    lines += ["", "| idle connections | KB each | descriptors | cores |", "|---|---|---|---|"]
    for row in data["connections"]:
        lines.append(
            f"| {row['connections']:,} | {per_connection(row):.1f} | {row['with_all']['descriptors']:,} "
            f"| {row['idle_cores']:.3f} |"
        )
    return "\n".join(lines)


def taken(row: Row) -> float:
    """Share of the reports of one per agent and second."""
    return float(row["accepted"] / (row["agents"] * row["secs"]))


def per_connection(row: Row) -> float:
    """Resident memory in KB."""
    return (row["with_all"]["rss_kib"] - row["before"]["rss_kib"]) * 1.024 / max(row["connections"], 1)


def drawn(data: dict[str, list[Row]]) -> str:
    us = "CPU time per request, us (balancer's data threads)"
    cores = [(row["agents"], row["cores"]["all"]) for row in data["agents"]]
    by_instance = [(row["instances"], row["data_us"]) for row in data["instances"]]
    by_class = [(row["classes"], row["data_us"]) for row in data["classes"]]
    return plot.svg(
        "CPU time of a balancer by number of agents, of instances and of classes",
        [
            plot.Panel("Reports, one per agent and second", "agents", "cores busy", cores, MOST_CORES),
            plot.Panel("Requests among many instances", "instances", us, by_instance),
            plot.Panel("Requests of many classes", "classes", us, by_class),
        ],
    )


def beyond(data: dict[str, list[Row]]) -> list[str]:
    """What is not as it should be."""
    found = []
    for row in data["agents"]:
        if row["cores"]["all"] > MOST_CORES:
            found.append(f"{row['agents']} agents: {row['cores']['all']:.2f} cores, above {MOST_CORES}")
        if taken(row) < LEAST_TAKEN:
            found.append(f"{row['agents']} agents: {taken(row):.0%} of the reports came, so their cost is not known")
        if row["refused"] or row["failed"]:
            found.append(f"{row['agents']} agents: {row['refused']} reports refused, {row['failed']} connections lost")
    for what in ("instances", "classes"):
        few, many = data[what][0], data[what][-1]
        if many["data_us"] > MOST_GROWTH * few["data_us"]:
            found.append(f"{what}: {many['data_us']:.0f} us with {many[what]}, {few['data_us']:.0f} with {few[what]}")
        found += [f"{what}: {row['failed']} requests failed" for row in data[what] if row["failed"]]
    found += [f"{row['failed']} idle connections lost" for row in data["connections"] if row["failed"]]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--secs", type=int, default=10, help="seconds per row [default: 10]")
    parser.add_argument("--bars", action="store_true", help="exit code 1 beyond the bars")
    parser.add_argument("--agents", type=int, metavar="N", help="one row alone: N agents; nothing is written")
    args = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if args.agents:
        print(json.dumps(agents(args.agents, args.secs)))
        return 0
    data = measure(args.secs)
    print(tables(data))
    made = {"machine": machine.processor(), "cores": machine.cores(), "revision": machine.revision()}
    found = beyond(data)
    print("\n".join(found))
    if all(taken(row) >= LEAST_TAKEN for row in data["agents"]):
        RESULTS.write_text(json.dumps({**made, **data}, indent=1) + "\n")
        PLOT.write_text(drawn(data))
    return 1 if args.bars and found else 0


if __name__ == "__main__":
    sys.exit(main())
