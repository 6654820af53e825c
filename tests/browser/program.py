"""The balancer as a program, with its dashboard."""

import json
import os
import re
import signal
import subprocess
import threading
import urllib.request
from pathlib import Path

from devtools import DEADLINE

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "sluice-balancer"

# Whatever proxy the environment names: these requests stay on this machine.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def fetch(url, method="GET", headers=None):
    request = urllib.request.Request(url, method=method, headers=headers or {})
    with OPENER.open(request, timeout=DEADLINE) as answer:
        return answer.read().decode()


class Program:
    """The balancer with some arguments, until the `with` block ends."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __enter__(self):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SLUICE_")}
        self.process = subprocess.Popen([PROGRAM, *self.arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True, env=environment)
        self.lines = []
        found = threading.Event()
        self.reader = threading.Thread(target=self._read, args=(found,), daemon=True)
        self.reader.start()
        if not found.wait(DEADLINE):
            self.__exit__()
            raise AssertionError(f"no dashboard: {''.join(self.lines)}")
        return self

    def _read(self, found):
        for line in self.process.stdout:
            self.lines = [*self.lines[-200:], line]
            if match := re.search(r"dashboard[^:]*?(http://[0-9.:]+/)", line):
                self.url = match.group(1)
                found.set()

    def json(self, path):
        return json.loads(fetch(self.url + path))

    def __exit__(self, *_):
        for how in (signal.SIGCONT, signal.SIGINT):
            self.process.send_signal(how)
        try:
            self.process.wait(timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.reader.join()
        self.process.stdout.close()


def demo(load):
    """The demo with that percentage of its usual traffic."""
    return Program("demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--load", str(load))
