#!/usr/bin/env python3
"""A real HAProxy, which knows of Sluice only by `agent-check`, takes load off an instance that is busy with blobs.

Two emulated instances behind agents, pages at a steady rate through HAProxy (roundrobin). Blobs take three of the four
workers of one: its share of the pages must fall within 3 s, and come back. Then the instance goes down and comes
back, and an agent is stopped and started again, both without one failed page. Run by ./check real.
"""

import collections
import contextlib
import csv
import io
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from run import DEADLINE, OPENER, PROGRAMS, eventually, free_port, status

HAPROXY = shutil.which("haproxy") or "/usr/sbin/haproxy"
WORKERS, BLOBS, BLOB_SECS = 4, 3, 12.0
PAGES_PER_SEC, PAGE_US = 40, 5_000
WITHIN, COUNTED = 3.0, 4.0  # seconds: until a change has to show, and over which pages are counted

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


class Fleet:
    """HAProxy before two agents, each beside an instance."""

    def __init__(self, directory):
        self.directory = directory
        names = ("site", "envoy_admin", *(f"{one}{part}" for one in "ab" for part in ("", "_check", "_admin", "_app")))
        self.ports = {name: free_port() for name in names}
        self.processes = {}

    def start(self, name, *command):
        with open(self.directory / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)

    def address(self, name):
        return f"127.0.0.1:{self.ports[name]}"

    def start_instance(self, one):
        name = f"{one}_app"
        listen = ("--listen", self.address(name), "--name", one)
        self.start(name, PROGRAMS / "sluice-instance", *listen, "--workers", WORKERS, "--release", "end")

    def start_agent(self, one):
        self.start(
            one, PROGRAMS / "sluice-agent", "--instance", self.address(f"{one}_app"),
            "--listen", self.address(one), "--admin", self.address(f"{one}_admin"),
            "--agent-check", self.address(f"{one}_check"), "--workers", WORKERS, "--health-interval", "500ms",
        )

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

    def stop(self, name):
        process = self.processes.pop(name)
        process.terminate()
        try:
            return process.wait(timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def kill(self, name):
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def stop_all(self):
        # The balancer first: it is the last that was started.
        for name in reversed(list(self.processes)):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop(name)


def is_ready(row):
    """Up by HAProxy's own check and by the agent's word, and free as an instance is that serves a few pages."""
    return row["status"] == "UP" and int(row["weight"]) >= 80 and row["agent_status"] == "L7OK"


def ask(address, work_us):
    """The instance that answered."""
    request = urllib.request.Request(f"http://{address}/", headers={"X-Emulate-Work-Us": str(work_us)})
    with OPENER.open(request, timeout=60) as answer:
        answer.read()
        return answer.headers["X-Emulate-Instance"]


class Pages:
    """Asks for pages at a steady rate, and remembers when, and who answered; `None` for a failure."""

    def __init__(self, address):
        self.address, self.answers, self.over = address, [], threading.Event()
        self.threads = []

    def __enter__(self):
        self.clock = threading.Thread(target=self.run)
        self.clock.start()
        return self

    def run(self):
        due = time.monotonic()
        while not self.over.wait(max(0.0, due - time.monotonic())):
            due += 1 / PAGES_PER_SEC
            thread = threading.Thread(target=self.page, args=(time.monotonic(),))
            thread.start()
            self.threads.append(thread)

    def page(self, asked):
        try:
            self.answers.append((asked, ask(self.address, PAGE_US)))
        except OSError as error:
            print(f"a page failed: {error}", file=sys.stderr)
            self.answers.append((asked, None))

    def __exit__(self, *_):
        self.over.set()
        self.clock.join()
        for thread in self.threads:
            thread.join()

    def failed(self):
        return sum(name is None for _, name in self.answers)

    def share(self, of):
        """Waits, and counts the pages that were asked for meanwhile."""
        begin = time.monotonic()
        time.sleep(COUNTED)
        counted = collections.Counter(name for asked, name in list(self.answers) if asked >= begin)
        assert counted.total() > COUNTED * PAGES_PER_SEC / 4, f"too few pages to tell: {counted}"
        return counted[of] / counted.total()


def blobs(address):
    """Takes workers for BLOB_SECS; returns whoever is to be joined."""
    threads = [threading.Thread(target=ask, args=(address, int(BLOB_SECS * 1e6))) for _ in range(BLOBS)]
    for thread in threads:
        thread.start()
    return threads


def test_share(fleet, pages):
    before = pages.share("a")
    busy = blobs(fleet.address("a"))
    time.sleep(WITHIN)
    beside = pages.share("a")
    weight = int(fleet.rows()["a"]["weight"])
    for thread in busy:
        thread.join()
    time.sleep(WITHIN)
    after = pages.share("a")
    print(f"pages at a: {before:.0%} before, {beside:.0%} beside {BLOBS} blobs (weight {weight}), {after:.0%} after")
    assert 0.4 <= before <= 0.6, before
    # A quarter of its workers against a whole instance: a fifth.
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
    with tempfile.TemporaryDirectory(prefix="sluice-agent-check-") as name:
        fleet = Fleet(Path(name))
        try:
            fleet.start_all()
            with Pages(fleet.address("site")) as pages:
                test_share(fleet, pages)
            test_down_and_back(fleet)
            with Pages(fleet.address("site")) as pages:
                test_drain_and_back(fleet, pages)
            page = status(f"http://{fleet.address('a_admin')}/metrics")[1].decode()
            assert 'sluice_agent_agent_checks_total{state="ready"}' in page, page
        except BaseException:
            for log in sorted(Path(name).glob("*.log")):
                print(f"--- {log.name}\n{log.read_text()[-2000:]}", file=sys.stderr)
            raise
        finally:
            fleet.stop_all()
    return 0


if __name__ == "__main__":
    sys.exit(main())
