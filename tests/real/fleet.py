"""Emulated instances, agents beside them, and somebody else's balancer before them, as processes on free ports."""

import contextlib
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from paced import Paced, ask
from run import PROGRAMS, ROOT, free_port, stop

ENVOY = ROOT / "target" / "bench-venv" / "bin" / "envoy"

WORKERS, BLOBS, BLOB_SECS = 4, 3, 12.0
PAGES_PER_SEC, PAGE_US = 40, 5_000
WITHIN, COUNTED = 3.0, 4.0  # seconds: until a change has to show, and over which pages are counted


class Fleet:
    """Subclasses say what `start_all` starts."""

    workers = WORKERS

    def __init__(self, directory, names, others):
        """`names`: of the instances. `others`: what else has a port."""
        self.directory = directory
        parts = (f"{one}{part}" for one in names for part in ("", "_check", "_admin", "_app"))
        self.ports = {name: free_port() for name in (*others, *parts)}
        self.processes = {}

    def start(self, name, *command):
        with open(self.directory / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)

    def address(self, name):
        return f"127.0.0.1:{self.ports[name]}"

    def url(self, name, path="/"):
        return f"http://{self.address(name)}{path}"

    def start_instance(self, one):
        name = f"{one}_app"
        listen = ("--listen", self.address(name), "--name", one)
        self.start(name, PROGRAMS / "sluice-instance", *listen, "--workers", self.workers, "--release", "end")

    def start_agent(self, one, *flags):
        self.start(
            one, PROGRAMS / "sluice-agent", "--instance", self.address(f"{one}_app"),
            "--listen", self.address(one), "--admin", self.address(f"{one}_admin"), "--workers", self.workers, *flags,
        )

    def start_envoy(self, configuration):
        file = self.directory / "envoy.yaml"
        file.write_text(configuration)
        self.start("envoy", ENVOY, "-c", file, "--concurrency", 1, "--use-dynamic-base-id", "--log-level", "warning")

    def stop(self, name):
        return stop(self.processes.pop(name))

    def kill(self, name):
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def stop_all(self):
        # The balancer first: it is the last that was started.
        for name in reversed(list(self.processes)):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop(name)

    def pages(self):
        """Pages at a steady rate."""
        return Paced(self.url("site"), PAGES_PER_SEC, PAGE_US)

    def blobs(self, one):
        """Takes workers of an instance for BLOB_SECS; returns whoever is to be joined."""
        threads = [threading.Thread(target=ask, args=(self.url(one), int(BLOB_SECS * 1e6))) for _ in range(BLOBS)]
        for thread in threads:
            thread.start()
        return threads


@contextlib.contextmanager
def running(kind, *arguments):
    """A fleet of that kind in a directory of its own. If what is done with it fails, its logs are shown."""
    with tempfile.TemporaryDirectory(prefix=f"sluice-{kind.__name__.lower()}-") as name:
        fleet = kind(Path(name), *arguments)
        try:
            fleet.start_all()
            yield fleet
        except BaseException:
            for log in sorted(Path(name).glob("*.log")):
                print(f"--- {log.name}\n{log.read_text()[-2000:]}", file=sys.stderr)
            raise
        finally:
            fleet.stop_all()
