#!/usr/bin/env python3
"""Overload: emulated instances with agents behind a balancer, at 1, 3 and 0.6 times what the workers can do.

Prints goodput of the pages, latency of what is served and how soon requests are turned away; exit code 1 if pages keep
less than 0.9 of what they had, if what is served is later than the deadline, if half of a percent of those turned away
are told later than 50 ms, or if anybody is turned away 10 s after the overload.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INSTANCES, DEADLINE, AT_ONCE = 4, 5.0, 50.0


def workload(times, secs):
    """Half of what four workers can do for pages of 20 ms, half for exports of 500 ms, times `times`."""

    def one(name, rate, work):
        work = {"lognormal": {"mean": work, "cv": 1}}
        path = {"template": f"/{name}/{{n}}", "keys": 1000}
        return {"name": name, "rate": {"constant": rate * times}, "path": path, "work_ms": work,
                "bytes": {"constant": 8192}}

    return {"name": f"{times}x", "seed": 1, "secs": secs, "classes": [one("page", 100, 20), one("export", 4, 500)]}


def quantile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))] if values else 0.0


class Site:
    """Four instances, their agents and a balancer."""

    def __init__(self, programs):
        self.programs, self.children = programs, []
        self.admin, self.data = 19900, 18080
        self.start("sluice-balancer", "--listen", f"127.0.0.1:{self.data}", "--admin", f"127.0.0.1:{self.admin}",
                   "--threads", "1", "--queue-timeout", f"{DEADLINE:.0f}s", "--large-queue-timeout", "10s")
        for n in range(INSTANCES):
            self.start("sluice-instance", "--listen", f"127.0.0.1:{18100 + n}", "--workers", "1")
            self.start("sluice-agent", "--balancer", f"http://127.0.0.1:{self.admin}", "--name", f"i{n}",
                       "--instance", f"127.0.0.1:{18100 + n}", "--listen", f"127.0.0.1:{18200 + n}",
                       "--admin", f"127.0.0.1:{19910 + n}", "--workers", "1")

    def start(self, program, *flags):
        command = [str(self.programs / program), *flags]
        self.children.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    def until_routed(self):
        for _ in range(100):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/v1/instances") as answer:
                    if sum(1 for instance in json.load(answer) if instance["routed"]) == INSTANCES:
                        return
            except OSError:
                pass
            time.sleep(0.1)
        sys.exit("overload.py: the instances did not come up")

    def load(self, times, secs):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(workload(times, secs), file)
            file.flush()
            command = [str(self.programs / "sluice-load"), "--target", f"127.0.0.1:{self.data}", "--workload",
                       file.name, "--json", "--requests"]
            return json.loads(subprocess.run(command, check=False, stdout=subprocess.PIPE).stdout)

    def stop(self):
        for child in self.children:
            child.terminate()
        for child in self.children:
            child.wait()


def show(times, secs, run):
    """Prints a run; returns the pages' goodput per second."""
    print(f"{times:>4}x: the generator itself was late by {run['lag_p99_ms']:.1f} ms (p99): above 10, the machine was too busy to measure")
    for index, of in enumerate(run["classes"]):
        mine = [request for request in run["requests"] if request["class"] == index]
        served = [request["total_ms"] for request in mine if request["failed"] is None]
        away = [request["total_ms"] for request in mine if request["failed"] is not None]
        print(f"{times:>4}x {of['name']:>7}: {len(served) / secs:7.1f} per second served, p50 {quantile(served, .5):7.1f} "
              f"p99 {quantile(served, .99):7.1f} ms; {len(away):6} turned away, after p50 {quantile(away, .5):6.1f} "
              f"p99 {quantile(away, .99):6.1f} p99.5 {quantile(away, .995):6.1f} ms {of['failed']}")
    return run["classes"][0]["ok"] / secs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=Path, default=ROOT / "target/release", help="where the programs are")
    parser.add_argument("--secs", type=int, nargs=3, default=[20, 60, 30], help="of 1x, 3x and 0.6x")
    arguments = parser.parse_args()
    site = Site(arguments.programs)
    try:
        site.until_routed()
        runs = [site.load(times, secs) for times, secs in zip((1, 3, 0.6), arguments.secs)]
    finally:
        site.stop()
    once, thrice, _ = (show(*each) for each in zip((1, 3, 0.6), arguments.secs, runs))
    pages = [r["total_ms"] for r in runs[1]["requests"] if r["class"] == 0 and r["failed"] is None]
    away = [r["total_ms"] for r in runs[1]["requests"] if r["failed"] is not None]
    late = [r for r in runs[2]["requests"] if r["at_ms"] > 10_000 and r["failed"] is not None]
    bars = [
        ("goodput of pages, 3x over 1x", thrice / once, thrice >= 0.9 * once),
        ("p99 of served pages, ms", quantile(pages, 0.99), quantile(pages, 0.99) < DEADLINE * 1e3),
        ("turned away after, p99.5 ms", quantile(away, 0.995), quantile(away, 0.995) < AT_ONCE),
        ("turned away 10 s after the overload", len(late), not late),
    ]
    for name, value, passed in bars:
        print(f"{'PASS' if passed else 'FAIL'}  {name}: {value:.2f}")
    return 0 if all(passed for _, _, passed in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
