#!/usr/bin/env python3
"""Pages beside slow downloads: real gunicorn (sync, 1 worker) behind Sluice, HAProxy and nginx, in one run.

10 clients take a blob at 200 kB/s each, again and again, while pages of 10 ms are asked for at fixed times; the
latency of a page counts from the time at which it was due. Each row compares with the same way without a download.
Then 200 clients at once, with 64 MiB of memory allowed: what the agent has at most, and what is left after kill -9.

Exit code 1 if behind Sluice the median is above 1.2 times that without downloads, the 99th percentile above twice, or
the agent's memory above 64 + 40 MiB. Needs tests/real/setup, tests/bench/setup and release binaries.
"""

import argparse
import concurrent.futures
import contextlib
import http.client
import os
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from run import PROGRAMS, Site, eventually, status

IMAGE_BYTES, FILM_BYTES = 2_613_064, 25_000_000
CLIENTS, RATE, CROWD = 10, 200_000, 200
PAGES_PER_S = 20
HURRY = 10.0  # seconds until measuring begins at the latest
TICK = 0.05  # seconds between the reads of a slow client
PATIENCE = 30.0  # seconds after the last page was due until those without an answer are given up
MEDIAN_BAR, P99_BAR, MEMORY_BAR_MIB = 1.2, 2.0, 64 + 40
HAPROXY, NGINX = "/usr/sbin/haproxy", "/usr/sbin/nginx"

HAPROXY_CONFIG = """
global
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 5m
    timeout server 5m
    timeout queue 1m
frontend site
    bind 127.0.0.1:{site}
    default_backend apps
backend apps
    server app 127.0.0.1:{app} maxconn 1
"""

# Buffering as it is by default: in memory, then in a file of up to 1 GB.
NGINX_CONFIG = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/nginx-error.log warn;
{user}
events {{ worker_connections 4000; }}
http {{
    access_log off;
    client_body_temp_path {directory}/nginx-body;
    proxy_temp_path {directory}/nginx-proxy;
    fastcgi_temp_path {directory}/nginx-fastcgi;
    uwsgi_temp_path {directory}/nginx-uwsgi;
    scgi_temp_path {directory}/nginx-scgi;
    server {{
        listen 127.0.0.1:{site} backlog=4096;
        location / {{
            proxy_pass http://127.0.0.1:{app};
            proxy_read_timeout 5m;
        }}
    }}
}}
"""


class Front(Site):
    """gunicorn behind one of the programs that are compared; `way` says which."""

    def __init__(self, way, directory):
        super().__init__("gunicorn", directory)
        self.way = way

    def start_front(self):
        self.start_app()
        if self.way in ("agent", "balancer + agent"):
            self.start_agent()
        elif self.way == "HAProxy":
            config = self.write("haproxy.cfg", HAPROXY_CONFIG.format(**self.ports))
            self.start("front", HAPROXY, "-db", "-f", config)
        elif self.way == "nginx":
            user = "user root;" if os.geteuid() == 0 else ""
            text = NGINX_CONFIG.format(directory=self.directory, user=user, **self.ports)
            self.start("front", NGINX, "-p", self.directory, "-c", self.write("nginx.conf", text))
        eventually(f"{self.way} serves", lambda: status(self.url(self.entry(), "/"))[0] == 200)

    def start_agent(self, *flags):
        address = {name: f"127.0.0.1:{port}" for name, port in self.ports.items()}
        self.start("balancer", PROGRAMS / "sluice-balancer", "--listen", address["site"], "--admin", address["admin"])
        self.start(
            "agent", PROGRAMS / "sluice-agent",
            "--balancer", self.url("admin"), "--instance", address["app"],
            "--listen", address["agent"], "--admin", address["agent_admin"], *flags,
        )
        eventually("the balancer is ready", lambda: status(self.url("admin", "/readyz"))[0] == 200)

    def entry(self):
        return {"direct": "app", "agent": "agent"}.get(self.way, "site")

    def write(self, name, text):
        path = self.directory / f"{self.way.split()[0]}-{name}"
        path.write_text(text)
        return path

    def stop_all(self):
        with contextlib.suppress(subprocess.TimeoutExpired):
            if "front" in self.processes:
                self.stop("front")
        super().stop_all()


@contextlib.contextmanager
def front(way, directory):
    running = Front(way, directory)
    try:
        running.start_front()
        yield running
    finally:
        running.stop_all()


class SlowClient:
    """Takes a blob at RATE, then asks again. The first `share` of the first one it takes as fast as it comes."""

    def __init__(self, port, path, length, share):
        self.port, self.path, self.length = port, path, length
        self.hurry = share * length
        self.done = 0
        self.connect()

    def connect(self):
        self.taken = 0
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        self.socket.connect(("127.0.0.1", self.port))
        self.socket.sendall(f"GET {self.path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        self.socket.setblocking(False)

    def take(self):
        most = 1 << 20 if self.taken < self.hurry else int(RATE * TICK)
        try:
            n = len(self.socket.recv(most))
        except BlockingIOError:
            return
        except OSError:
            n = 0
        self.taken += n
        if n == 0:
            self.done += self.taken > self.length
            self.hurry = 0
            self.socket.close()
            self.connect()


def slow_clients(port, path, length, count):
    """The main of a process of its own, so that the clients do not slow the measurement down. Ends by SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    clients = [SlowClient(port, path, length, index / count) for index in range(count)]
    due = time.monotonic()
    hurrying = True
    while True:
        for client in clients:
            client.take()
        if hurrying and all(client.taken >= client.hurry for client in clients):
            hurrying = False
            print("none is in a hurry any more", flush=True)
        due = max(due + TICK, time.monotonic() - 1.0)
        time.sleep(max(0.0, due - time.monotonic()))


@contextlib.contextmanager
def downloads(port, path, length, count):
    arguments = ["--slow-clients", str(port), path, str(length), str(count)]
    process = subprocess.Popen([sys.executable, __file__, *arguments], stdout=subprocess.PIPE)
    try:
        # Behind some programs the first of them is in a hurry for minutes.
        select.select([process.stdout], [], [], HURRY)
        yield
        assert process.poll() is None, "the slow clients ended"
    finally:
        process.terminate()
        process.wait()


class Pages:
    """Asks for a page at fixed times. Each thread keeps a connection."""

    def __init__(self, port):
        self.port = port
        self.local = threading.local()

    def ask(self, due, end):
        """Seconds until the answer. One that is not there at `end` counts as if it came then."""
        time.sleep(max(0.0, due - time.monotonic()))
        left = end - time.monotonic()
        if left <= 0:
            return end - due
        connection = self.connection(left)
        try:
            connection.request("GET", "/")
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                return end - due
        except (OSError, http.client.HTTPException):
            connection.close()
            return end - due
        return time.monotonic() - due

    def connection(self, timeout):
        """This thread's."""
        connection = getattr(self.local, "connection", None) or http.client.HTTPConnection("127.0.0.1", self.port)
        self.local.connection = connection
        connection.timeout = timeout
        if connection.sock:
            connection.sock.settimeout(timeout)
        return connection

    def latencies(self, seconds):
        count = int(seconds * PAGES_PER_S)
        start = time.monotonic() + 0.1
        end = start + seconds + PATIENCE
        with concurrent.futures.ThreadPoolExecutor(64) as pool:
            return list(pool.map(lambda i: self.ask(start + i / PAGES_PER_S, end), range(count)))


def figures(latencies):
    """Median and 99th percentile in ms."""
    ranked = sorted(latencies)
    return statistics.median(ranked) * 1000, ranked[int(len(ranked) * 0.99)] * 1000


def measure(way, directory, seconds):
    """Figures without a download, with images, with films."""
    with front(way, directory) as running:
        port = running.ports[running.entry()]
        pages = Pages(port)
        pages.latencies(1)  # connections and the first look at everything
        rows = [figures(pages.latencies(seconds))]
        for path, length in (("/image.jpg", IMAGE_BYTES), ("/film.mp4", FILM_BYTES)):
            with downloads(port, path, length, CLIENTS):
                rows.append(figures(pages.latencies(seconds)))
    return rows


def crowd(directory):
    """200 films at once: the agent's peak memory in MiB, and what it had in files."""
    spool = directory / "spool"
    spool.mkdir()
    running = Front("agent", directory)
    try:
        running.start_app()
        running.start_agent("--buffer-total", "64MiB", "--spool-dir", spool, "--queue-length", "1000", "--queue-timeout", "10m")
        agent = running.processes["agent"]
        with downloads(running.ports["agent"], "/film.mp4", FILM_BYTES, CROWD):
            taken = lambda: admin(running, '"streaming":') >= CROWD * 0.95 and admin(running, '"in_flight":') == 0
            end = time.monotonic() + 300
            while not taken() and time.monotonic() < end:
                time.sleep(0.5)
            files = admin(running, '"file_bytes":')
            faults = admin(running, '"faults":')
            assert status(running.url("agent", "/"))[0] == 200, "a page is served beside them"
            peak = peak_mib(agent.pid)
            left_before = list(spool.iterdir())
        agent.kill()
        agent.wait()
        del running.processes["agent"]
        assert not left_before and not list(spool.iterdir()), "spool files have no name"
        return peak, files / 1e9, faults
    finally:
        running.stop_all()


def admin(running, name):
    """The number after `name` in the agent's status."""
    _, text = status(running.url("agent_admin", "/v1/status"))
    after = text.decode().split(name, 1)[1].lstrip()
    return int(after[: len(after) - len(after.lstrip("0123456789"))])


def peak_mib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("Linux says the peak")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--secs", type=float, default=30, help="length of each measurement")
    parser.add_argument("--ways", default="agent,balancer + agent,nginx,HAProxy", help="what is compared; also: direct")
    parser.add_argument("--slow-clients", nargs=4, metavar=("PORT", "PATH", "LENGTH", "COUNT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.slow_clients:
        port, path, length, count = options.slow_clients
        return slow_clients(int(port), path, int(length), int(count))
    passed = True
    # Not /tmp, which is memory on many systems.
    with tempfile.TemporaryDirectory(prefix="sluice-blobs-", dir="/var/tmp", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        (directory / "image.jpg").write_bytes(os.urandom(IMAGE_BYTES))
        (directory / "film.mp4").write_bytes(os.urandom(FILM_BYTES))
        print("Page latency in ms, median / 99th percentile (times that without a download)\n")
        print(f"| in front of gunicorn | no download | {CLIENTS} x 2.6 MB at 200 kB/s | {CLIENTS} x 25 MB at 200 kB/s |")
        print("|---|---|---|---|")
        for way in options.ways.split(","):
            rows = measure(way, directory, options.secs)
            median, p99 = rows[0]
            cells = [f"{median:.1f} / {p99:.1f}"]
            for m, p in rows[1:]:
                cells.append(f"{m:.1f} / {p:.1f} ({m / median:.2f} / {p / p99:.2f})")
                if "agent" in way:
                    passed &= m <= MEDIAN_BAR * median and p <= P99_BAR * p99
            print(f"| {way} | {' | '.join(cells)} |", flush=True)
        peak, files, faults = crowd(directory)
        passed &= peak <= MEMORY_BAR_MIB and faults == 0
        print(f"\n{CROWD} x 25 MB at once with 64 MiB allowed: agent's peak RSS {peak:.0f} MiB (bar {MEMORY_BAR_MIB}), "
              f"{files:.1f} GB in files, {faults} faults, nothing left after kill -9")
    print("passed" if passed else "failed")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
