"""What connections cost a hop in memory: many that are idle, and some that carry a long response to a slow client."""

import contextlib
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from hops import BLOB, LARGE, PAGE, PAGE_BYTES, Running
from processes import BenchError, Started

# Memory is read until it changes by less than this, in KB.
STEADY_KB = 64
SETTLE_S = 4.0
# A connection is idle when nothing was asked for so long; what a program gives back only later it does not give back to
# the next request either.
IDLE_S = 3.0
# What a slow client takes of a response before it stops, and room for what is on its way.
TAKEN_BYTES = 64 * 1024
SLOW_BUFFER = 16 * 1024


def memory_kb(programs: list[Started]) -> int:
    """Proportional set size of the programs and their workers; resident pages where it is not told."""
    sessions = {one.process.pid for one in programs}
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it may have ended since it was listed
            if int((process / "stat").read_text().rsplit(")", 1)[1].split()[3]) in sessions:
                total += proportional_kb(process)
    return total


def proportional_kb(process: Path) -> int:
    try:
        found = re.search(r"^Pss:\s+(\d+) kB", (process / "smaps_rollup").read_text(), re.M)
        if found:
            return int(found[1])
    except PermissionError:
        pass
    return int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def settled_kb(programs: list[Started]) -> int:
    """Once it no longer changes, or after some seconds."""
    end = time.monotonic() + SETTLE_S
    last = memory_kb(programs)
    while time.monotonic() < end:
        time.sleep(0.25)
        now = memory_kb(programs)
        if abs(now - last) < STEADY_KB:
            return now
        last = now
    return last


def idle_kb(hop: Running, count: int) -> float:
    """KB per connection that has had one response and asks nothing more for some seconds."""
    return growth_kb(hop, count, lambda n: answered(hop.clear, n), IDLE_S)


def blob_kb(hop: Running, count: int) -> float:
    """KB per response of 100 MB whose client has stopped reading."""
    time.sleep(IDLE_S)  # until what the idle connections had is given back
    return growth_kb(hop, count, lambda n: stalled(hop.clear, n))


def growth_kb(hop: Running, count: int, connect: Callable[[int], socket.socket], wait_s: float = 0.0) -> float:
    before = settled_kb(hop.programs)
    with connections(count, connect):
        time.sleep(wait_s)
        return (settled_kb(hop.programs) - before) / count


@contextlib.contextmanager
def connections(count: int, connect: Callable[[int], socket.socket]) -> Iterator[None]:
    with contextlib.ExitStack() as held:
        for n in range(count):
            held.enter_context(contextlib.closing(connect(n)))
        yield


def connected(port: int, n: int, buffer: int | None = None) -> socket.socket:
    """From one of 200 addresses, as some programs limit what one client may have."""
    client = socket.socket()
    client.settimeout(10)
    if buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.bind((f"127.0.1.{1 + n % 200}", 0))
    client.connect(("127.0.0.1", port))
    return client


def request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def answered(port: int, n: int, path: str = PAGE, length: int = PAGE_BYTES) -> socket.socket:
    def whole(got: bytes) -> bool:
        return b"\r\n\r\n" in got and len(got.split(b"\r\n\r\n", 1)[1]) >= length

    return asked(connected(port, n), path, whole)


def stalled(port: int, n: int) -> socket.socket:
    return asked(connected(port, n, SLOW_BUFFER), LARGE, lambda got: len(got) >= TAKEN_BYTES)


def asked(client: socket.socket, path: str, enough: Callable[[bytes], bool]) -> socket.socket:
    """The connection, once it has got enough; closed if it does not."""
    try:
        client.sendall(request(path))
        read(client, enough)
    except BaseException:
        client.close()
        raise
    return client


def read(client: socket.socket, enough: Callable[[bytes], bool]) -> None:
    got = b""
    while not enough(got):
        more = client.recv(65536)
        if not more:
            raise BenchError(f"a response ended after {len(got)} bytes: {got[:200]!r}")
        got += more


def warm_up(hop: Running) -> None:
    """One page and one blob, after which pools and buffers are there that are kept."""
    for path, least in ((PAGE, PAGE_BYTES), (BLOB, PAGE_BYTES)):
        answered(hop.clear, 0, path, least).close()
