"""Programs started, watched and ended; free ports; temporary files. Everything goes when the block is left."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

# Below the ports that the kernel gives to outgoing connections: nobody takes one between look and use.
PORTS = range(20_000, 30_000)
PATIENCE_S = 15.0
GRACE_S = 5.0


class BenchError(Exception):
    """The benchmark can not go on; its text says why."""


@dataclass(frozen=True)
class Started:
    name: str
    process: subprocess.Popen[bytes]
    log: Path


class Processes:
    """The programs of one run, in a directory of their own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._started: list[Started] = []
        self._helpers = contextlib.ExitStack()
        self._given: set[int] = set()

    def free_port(self) -> int:
        """A port that nobody listens on and that was not given before."""
        for port in random.sample(PORTS, len(PORTS)):
            if port not in self._given and is_free(port):
                self._given.add(port)
                return port
        raise BenchError(f"no port of {PORTS.start} to {PORTS.stop - 1} is free")

    def start(self, name: str, command: list[str], ports: list[int]) -> Started:
        """Starts a program that will listen on `ports`, and waits until it does."""
        for port in ports:
            if not is_free(port):
                raise BenchError(f"{name}: port {port} is taken by another process")
        log = self.directory / f"{name}.log"
        # The caller's own SLUICE_... variables would change what is measured.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SLUICE_")}
        with log.open("wb") as out:
            process = spawn(command, stdout=out, stderr=out, env=environment, cwd=self.directory)
        started = Started(name, process, log)
        self._started.append(started)
        for port in ports:
            self.until(f"{name} listens on port {port}", partial(accepts, port))
        return started

    def run(self, name: str, command: list[str], timeout_s: float) -> str:
        """Runs a program to its end while the others live; what it printed. Exit codes above 1 are errors."""
        out, log = self.directory / f"{name}.out", self.directory / f"{name}.log"
        with out.open("wb") as stdout, log.open("wb") as stderr:
            process = spawn(command, stdout=stdout, stderr=stderr)
        running = Started(name, process, log)
        try:
            self._wait(running, timeout_s)
        finally:
            stop([running])
        if process.returncode not in (0, 1):
            raise BenchError(f"{name} ended with {process.returncode}:\n{tail(log)}")
        return out.read_text()

    def _wait(self, running: Started, timeout_s: float) -> None:
        end = time.monotonic() + timeout_s
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.process.wait(timeout=0.5)
                return
            self.check_alive()
            if time.monotonic() > end:
                raise BenchError(f"{running.name} did not end within {timeout_s:.0f} s")

    def until(self, what: str, check: Callable[[], bool]) -> None:
        """Polls until `check` is true. A program that ends meanwhile is an error with its last words."""
        end = time.monotonic() + PATIENCE_S
        while not check():
            self.check_alive()
            if time.monotonic() > end:
                raise BenchError(f"not within {PATIENCE_S:.0f} s: {what}\n{self._last_words()}")
            time.sleep(0.05)

    def enter(self, helper: contextlib.AbstractContextManager[object]) -> None:
        """Takes over a helper inside this process; it ends after the programs."""
        self._helpers.enter_context(helper)

    def check_alive(self) -> None:
        for started in self._started:
            if started.process.poll() is not None:
                code = started.process.returncode
                raise BenchError(f"{started.name} ended with {code}:\n{tail(started.log)}")

    def stop_all(self) -> None:
        started, self._started = self._started, []
        with self._helpers:
            stop(started[::-1])

    def _last_words(self) -> str:
        return "\n".join(f"{started.name}: {tail(started.log)}" for started in self._started)


@contextlib.contextmanager
def processes() -> Iterator[Processes]:
    with tempfile.TemporaryDirectory(prefix="sluice-peers-", ignore_cleanup_errors=True) as name:
        running = Processes(Path(name))
        try:
            yield running
        finally:
            running.stop_all()


def spawn(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
    """In a session of its own, as Ctrl-C is ours to pass on in order. Ends with us even if we are killed (Linux)."""
    setpriv = shutil.which("setpriv")
    with_us = [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []
    return subprocess.Popen([*with_us, *command], stdin=subprocess.DEVNULL, start_new_session=True, **options)


def is_free(port: int) -> bool:
    """Whether nobody holds the port. SO_REUSEADDR only skips the remains of closed connections."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def stop(started: list[Started]) -> None:
    """SIGTERM to all, and SIGKILL to the process groups of those that do not listen to it."""
    for one in started:
        one.process.terminate()  # does nothing to one that has ended
    end = time.monotonic() + GRACE_S
    for one in started:
        with contextlib.suppress(subprocess.TimeoutExpired):
            one.process.wait(timeout=max(0.0, end - time.monotonic()))
            continue
        os.killpg(one.process.pid, signal.SIGKILL)  # it leads a session of its own, and is not reaped yet
        one.process.wait()


def cpu_seconds(started: list[Started]) -> float:
    """CPU time of these programs and of their workers, which are in the same session."""
    sessions = {one.process.pid for one in started}
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it may have ended since it was listed
            fields = stat.read_text().rsplit(")", 1)[1].split()
            if int(fields[3]) in sessions:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def tail(log: Path, lines: int = 5) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
