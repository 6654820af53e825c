#!/usr/bin/env python3
"""What people watch, with the real programs: Prometheus, the Grafana dashboard's queries, `top` in a terminal.

One demo serves all. Needs tests/real/setup to have been run, and release binaries (cargo build --release).
"""

import sys
import tempfile
from pathlib import Path

import prometheus
import terminal
from demo import running_demo


def main():
    with tempfile.TemporaryDirectory(prefix="sluice-observe-") as name:
        directory = Path(name)
        with open(directory / "log", "w") as log, running_demo(log) as demo:
            with prometheus.tracing_balancer(demo, log) as (site, admin):
                with prometheus.Prometheus(demo, admin, directory, log) as scraping:
                    # While it gathers samples.
                    print(terminal.test(demo, directory, log))
                    print(prometheus.test(demo, site, scraping))
    return 0


if __name__ == "__main__":
    sys.exit(main())
