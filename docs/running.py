"""What a running pair of programs exports: the reference must have all of it, and say the same of it."""

import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from ports import free_port  # noqa: E402

PATIENCE = 20.0  # seconds for a program to start
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def scrape(address, process):
    """The metrics of a program, as soon as it serves them."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            with OPENER.open(f"http://{address}/metrics", timeout=PATIENCE) as answer:
                return answer.read().decode()
        except OSError as error:
            if time.monotonic() > end or process.poll() is not None:
                raise RuntimeError(f"no metrics at {address}: {error}") from error
            time.sleep(0.05)


def exported(programs):
    """{program: {metric: (type, help)}} of both, started for this."""
    clients, balancer, instance, agent, admin = (f"127.0.0.1:{free_port()}" for _ in range(5))
    with tempfile.TemporaryDirectory(prefix="sluice-metrics-") as directory:
        log = str(Path(directory) / "access.log")
        commands = {
            "sluice-balancer": [balancer, "--listen", clients, "--admin", balancer, "--access-log", log,
                                "--otlp-endpoint", f"http://{instance}"],
            "sluice-agent": [admin, "--balancer", f"http://{balancer}", "--instance", instance, "--listen", agent,
                             "--admin", admin, "--compress", "gzip", "--xsendfile-root", directory],
        }  # fmt: skip
        started = {}
        try:
            for name, (_, *options) in commands.items():
                started[name] = subprocess.Popen([programs / name, *options], env={}, stderr=subprocess.DEVNULL)
            texts = {name: scrape(commands[name][0], process) for name, process in started.items()}
        finally:
            for process in started.values():
                process.send_signal(signal.SIGKILL)
                process.wait()
    return {name: families(text) for name, text in texts.items()}


def families(text):
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    helps = dict(re.findall(r"^# HELP (\S+) (.*)$", text, re.M))
    return {name: (kind, helps.get(name, "")) for name, kind in kinds.items() if name.startswith("sluice_")}
