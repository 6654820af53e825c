#!/usr/bin/env python3
"""A real HAProxy, which knows of Sluice only by `agent-check`, takes load off an instance that is busy with blobs.

Two emulated instances behind agents, pages at a steady rate through HAProxy (roundrobin). Blobs take three of the four
workers of one: its share of the pages must fall within 3 s, and come back. Then the instance goes down and comes
back, and an agent is stopped and started again, both without one failed page. Run by ./check real.
"""

import csv
import io
import shutil
import socket
import subprocess
import sys
import time

from fleet import BLOBS, COUNTED, WITHIN, Fleet, running
from run import eventually, status

HAPROXY = shutil.which("haproxy") or "/usr/sbin/haproxy"

CONFIGURATION = """
global
    nbthread 1
    noreuseport
    stats socket {directory}/stats level admin
defaults
    mode http
    timeout connect 5s
    timeout client 1m
    timeout server 1m
    timeout queue 1m
    timeout check 2s
    retries 3
    option redispatch
listen site
    bind 127.0.0.1:{site}
    balance roundrobin
    default-server weight 100 check inter 500ms fastinter 200ms agent-check agent-inter 500ms
    server a 127.0.0.1:{a} agent-port {a_check}
    server b 127.0.0.1:{b} agent-port {b_check}
"""


class Haproxied(Fleet):
    """HAProxy before two agents, each beside an instance."""

    def __init__(self, directory):
        super().__init__(directory, "ab", ["site"])

    def start_agent(self, one):
        super().start_agent(one, "--agent-check", self.address(f"{one}_check"), "--health-interval", "500ms")

    def start_all(self):
        for one in "ab":
            self.start_instance(one)
            self.start_agent(one)
        file = self.directory / "haproxy.cfg"
        file.write_text(CONFIGURATION.format(directory=self.directory, **self.ports))
        subprocess.run([HAPROXY, "-c", "-q", "-f", file], check=True)
        self.start("haproxy", HAPROXY, "-db", "-f", file)
        self.until("both are up at full weight", lambda rows: all(is_ready(row) for row in rows.values()))

    def rows(self):
        """HAProxy's statistics by server; none before it listens."""
        with socket.socket(socket.AF_UNIX) as stats:
            try:
                stats.connect(str(self.directory / "stats"))
            except OSError:
                return {}
            stats.sendall(b"show stat site 4 -1\n")
            text = b"".join(iter(lambda: stats.recv(65536), b"")).decode()
        return {row["svname"]: row for row in csv.DictReader(io.StringIO(text.removeprefix("# ")))}

    def until(self, what, check):
        def holds():
            rows = self.rows()
            return len(rows) == 2 and check(rows)
        eventually(what, holds)


def is_ready(row):
    """Up by HAProxy's own check and by the agent's word, and free as an instance is that serves a few pages."""
    return row["status"] == "UP" and int(row["weight"]) >= 80 and row["agent_status"] == "L7OK"


def test_share(fleet, pages):
    before = pages.share("a", COUNTED)
    busy = fleet.blobs("a")
    time.sleep(WITHIN)
    # A quarter of its workers against a whole instance: a fifth.
    beside = pages.share("a", COUNTED)
    weight = int(fleet.rows()["a"]["weight"])
    for thread in busy:
        thread.join()
    time.sleep(WITHIN)
    after = pages.share("a", COUNTED)
    print(f"pages at a: {before:.0%} before, {beside:.0%} beside {BLOBS} blobs (weight {weight}), {after:.0%} after")
    assert 0.4 <= before <= 0.6, before
    assert beside <= 0.33 and weight <= 40, (beside, weight)
    assert 0.4 <= after <= 0.6, after
    assert pages.failed() == 0, pages.failed()


def test_down_and_back(fleet):
    fleet.kill("a_app")
    # Not by its own check, which only sees that the agent listens.
    fleet.until("a is down by its agent's word", lambda rows: rows["a"]["status"].startswith("DOWN") and rows["a"]["agent_status"] == "L7STS")
    reason = fleet.rows()["a"]["last_agt"]
    assert "connections" in reason, reason
    fleet.start_instance("a")
    fleet.until("a is back", lambda rows: is_ready(rows["a"]))
    print(f"down and back: {reason!r}")


def test_drain_and_back(fleet, pages):
    failed = pages.failed()
    assert fleet.stop("b") == 0, "the agent leaves in order"
    eventually("a has all pages", lambda: len(pages.answers) > 20 and {name for _, name in pages.answers[-20:]} == {"a"})
    assert "DRAIN" in fleet.rows()["b"]["status"] or "DOWN" in fleet.rows()["b"]["status"], fleet.rows()["b"]
    fleet.start_agent("b")
    fleet.until("b is back: its drain is over", lambda rows: is_ready(rows["b"]))
    eventually("b has pages again", lambda: "b" in {name for _, name in pages.answers[-20:]})
    assert pages.failed() == failed, "an agent's restart fails no page"
    print("drained and back: no page failed")


def main():
    with running(Haproxied) as fleet:
        with fleet.pages() as pages:
            test_share(fleet, pages)
        test_down_and_back(fleet)
        with fleet.pages() as pages:
            test_drain_and_back(fleet, pages)
        page = status(fleet.url("a_admin", "/metrics"))[1].decode()
        assert 'sluice_agent_agent_checks_total{state="ready"}' in page, page
    return 0


if __name__ == "__main__":
    sys.exit(main())
