"""Disks that are full, descriptors that run out, clients that only hold connections."""

import contextlib
import resource
import socket
import threading
import time
from collections.abc import Iterator

from disk import fill, small_disk
from findings import Skipped
from load import nothing_lost
from registry import scenario
from resources import cpu_s, held, metric
from running import INSTANCES, Options, Run, Site, agent_of

# Descriptors of a balancer that has few.
FEW = 256
# Of four workers two are left: what can not be spooled holds its worker for as long as its client takes.
READERS, BLOB = 2, 30_000_000


@scenario("full-disk", "spool, access log, decision log and state on a full file system of 1 MiB")
def full_disk(run: Run) -> None:
    with small_disk(run.directory / "disk") as disk:
        (disk / "state").mkdir()
        options = Options(
            balancer=(
                "--access-log", str(disk / "access.log"), "--decision-log", str(disk / "decisions"),
                "--state-dir", str(disk / "state"),
            ),
            flags={agent_of(name): ("--buffer-size", "64KiB", "--buffer-total", "128KiB") for name in INSTANCES},
            spool=disk,
        )
        with run.site(options) as site:
            hog = fill(disk)
            with run.load(site, share=0.4) as load, slow_readers(site, READERS) as got:
                load.until(1)
            faults = sum(metric(site.agent_admin[agent_of(name)], "sluice_spool_faults_total") for name in INSTANCES)
            dropped = metric(site.admin, "sluice_access_log_dropped_total")
            nothing_lost(run.findings, load)
            run.findings.at_most("slow readers that did not get everything", READERS - sum(n == BLOB for n in got), 0)
            run.findings.at_least("bodies that could not be spooled, told", faults, 1)
            run.findings.at_least("lines of the access log dropped, told", dropped, 1)
            hog.unlink()
            before = (disk / "access.log").stat().st_size
            with run.load(site, secs=1.0):
                pass
            site.until("the access log is written again", lambda: (disk / "access.log").stat().st_size > before)


@contextlib.contextmanager
def slow_readers(site: Site, count: int) -> Iterator[list[int]]:
    """Clients that take a while over a blob each; the body bytes that they got, when the block is left."""
    got = [0] * count
    readers = [threading.Thread(target=read_slowly, args=(site, got, n), daemon=True) for n in range(count)]
    for reader in readers:
        reader.start()
    yield got
    for reader in readers:
        reader.join()


def read_slowly(site: Site, got: list[int], index: int) -> None:
    host, _, port = site.front.rpartition(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    with connection, contextlib.suppress(OSError):
        connection.settimeout(30)
        connection.connect((host, int(port)))
        connection.sendall(f"GET /blob/{index} HTTP/1.1\r\nHost: a\r\nX-Emulate-Bytes: {BLOB}\r\nConnection: close\r\n\r\n".encode())
        head, _, body = connection.recv(4096).partition(b"\r\n\r\n")
        got[index] = len(body)
        time.sleep(1.5)
        while data := connection.recv(65536):
            got[index] += len(data)


@scenario("few-descriptors", f"1000 connections to a balancer that may have {FEW} descriptors")
def few_descriptors(run: Run) -> None:
    options = Options(wrap={"balancer": ("prlimit", f"--nofile={FEW}:{FEW}", "--")})
    with run.site(options) as site:
        pid = site.parts["balancer"].pid
        with run.load(site, share=0.3) as load:
            load.until(1 / 4)
            connections = connect(site, 1000)
            began, before = time.monotonic(), cpu_s(pid)
            load.until(1 / 2)
            cores = (cpu_s(pid) - before) / (time.monotonic() - began)
            for connection in connections:
                connection.close()
            recovered = site.until("a new connection is served", lambda: serves(site))
            load.until(1)
        # What came while there were none waited in the kernel's queue, or was refused at an instance; afterwards nothing is.
        with run.load(site, share=0.3, secs=1.0) as after:
            pass
        run.findings.at_least("requests answered afterwards", after.answered(), 1)
        run.findings.at_most("requests and probes lost afterwards", after.lost() + after.cut() + after.probe.failures(), 0)
        run.findings.at_most("GETs lost", load.lost() + load.cut(), 0)
        run.findings.at_most("seconds until a new connection is served", recovered, 1.0, timed=True)
        run.findings.at_most("CPU of the balancer meanwhile (cores)", cores, 0.5, timed=True)


def connect(site: Site, count: int) -> list[socket.socket]:
    host, _, port = site.front.rpartition(":")
    found = []
    with contextlib.suppress(OSError):
        for _ in range(count):
            connection = socket.socket()
            found.append(connection)
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                connection.connect((host, int(port)))
    return found


def serves(site: Site) -> bool:
    host, _, port = site.front.rpartition(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1) as connection:
        return ask(connection)
    return False


def ask(connection: socket.socket) -> bool:
    connection.sendall(b"GET /idle HTTP/1.1\r\nHost: a\r\nX-Emulate-Bytes: 10\r\n\r\n")
    return connection.recv(4096).startswith(b"HTTP/1.1 200")


@scenario("idle-connections", "10,000 connections that had one request each (1,000 in short form)", alone=True)
def idle_connections(run: Run) -> None:
    wanted = 10_000 if run.pace.long else 1_000
    count = min(wanted, room_for_descriptors() - 200)
    if count < 500:
        raise Skipped("this process may not have 700 descriptors")
    seconds = 60 if run.pace.long else 5
    with run.site(Options(balancer=("--client-keep-alive", f"{seconds}s"))) as site:
        pid = site.parts["balancer"].pid
        before = held(pid).rss_mib
        with contextlib.ExitStack() as open_ones:
            host, _, port = site.front.rpartition(":")
            answered = 0
            for _ in range(count):
                connection = open_ones.enter_context(socket.create_connection((host, int(port)), timeout=20))
                answered += ask(connection)
            # Until they rest, and the allocator has given back what they had before.
            time.sleep(3.0)
            grown = held(pid).rss_mib - before
            with run.load(site) as load:
                load.until(1)
            run.findings.at_least("connections held", count, wanted)
            run.findings.at_most("of them not answered", count - answered, 0)
            nothing_lost(run.findings, load)
            # Ten thousand measure 4.3 KiB each. A thousand also bear what any first load costs, some MiB, and many of them
            # have not rested yet, the more the busier the machine is: up to 36 KiB each.
            run.findings.at_most("memory of each (KiB)", 1024 * grown / count, 8.0 if run.pace.long else 64.0)
            closed = lambda: metric(site.admin, "sluice_client_connections_open") == 0
            site.until("they are closed when their time is over", closed, seconds + 40)


def room_for_descriptors() -> int:
    """Raises this process' own limit as far as it may be."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
