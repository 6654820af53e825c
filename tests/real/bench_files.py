#!/usr/bin/env python3
"""Files that an application only names: Sluice's X-Sendfile against nginx's X-Accel-Redirect, in the same run.

Three figures, of medians of alternating rounds, before one gunicorn with one sync worker:

- the rate at which ab gets a blob through the agent, against through nginx, which are one hop each; and what each
  spends of CPU time. Through balancer and agent as well, for information.
- how long a blob holds the worker, by the agent's own measurement, against an empty response of the same handler,
  which does 10 ms of work for either.

Exit code 1 if the rate is below --bar times nginx's, or the worker is held more than --held times as long.
Needs tests/real/setup and tests/bench/setup to have been run, and release binaries (cargo build --release).
"""

import argparse
import os
import pwd
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import run

BLOB = "blob.jpg"
MB = 1_000_000


def nginx(running, front):
    """Starts nginx in front of the application, at the port `front`."""
    program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    values = {
        "directory": running.directory / "nginx", "files": running.directory, "front": f"127.0.0.1:{front}",
        "app": f"127.0.0.1:{running.ports['app']}",
        # Its worker must be able to read our directory; only root may say who it is.
        "user": f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else "",
    }
    values["directory"].mkdir()
    template = Path(__file__).with_name("nginx-files.conf").read_text()
    configuration = values["directory"] / "nginx.conf"
    configuration.write_text(re.sub(r"@\{(\w+)\}", lambda name: str(values[name[1]]), template))
    log = values["directory"] / "nginx-error.log"
    running.start("nginx", program, "-e", log, "-c", configuration)
    running.ports["nginx"] = front
    run.eventually("nginx answers", lambda: run.status(running.url("nginx", "/offload/"))[0] == 200)


def cpu_seconds(running, name):
    """Of a program and its children: nginx's worker is one."""
    pid = running.processes[name].pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ticks = 0
    for process in (pid, *children):
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def rate(url, size, options):
    """MB/s that ab gets, after checking that all of it arrived."""
    command = ["ab", "-q", "-n", str(options.requests), "-c", str(options.concurrency), url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    figure = lambda name: float(re.search(rf"^{name}:\s+([\d.]+)", text, re.M).group(1))
    assert figure("Failed requests") == 0 and "Non-2xx" not in text, text
    assert figure("HTML transferred") == options.requests * size, text
    return figure("Transfer rate") * 1024 / MB


def compare_rates(running, options):
    """(MB/s, CPU seconds per GB) of each way, as medians of alternating rounds."""
    ways = {"nginx": ("nginx",), "agent": ("agent",), "site": ("balancer", "agent")}
    rows = {way: [] for way in ways}
    gigabytes = options.requests * options.mb * MB / 1e9
    for _ in range(options.rounds):
        for way, programs in ways.items():
            before = sum(cpu_seconds(running, name) for name in programs)
            got = rate(running.url(way, f"/offload/{BLOB}"), options.mb * MB, options)
            used = sum(cpu_seconds(running, name) for name in programs) - before
            rows[way].append((got, used / gigabytes))
    return {way: [statistics.median(column) for column in zip(*rows[way])] for way in ways}


def held_seconds(running):
    """Seconds that requests have held the worker, and how many there were."""
    page = run.fetch(running.url("agent_admin", "/metrics"))[2].decode()
    total = lambda name: sum(float(n) for n in re.findall(rf"^sluice_agent_held_seconds_{name}{{.*}} (\S+)$", page, re.M))
    return total("sum"), total("count")


def held_by(running, path, count):
    """Milliseconds for which a request for `path` holds the worker, on average; one after the other."""
    url = running.url("agent", path)
    before = held_seconds(running)
    for _ in range(count):
        code, body = run.status(url)
        assert code == 200, (code, body[:100])
    # The last one is counted when its body is done with, which may be after we have it.
    run.eventually("all are counted", lambda: held_seconds(running)[1] == before[1] + count)
    after = held_seconds(running)
    return (after[0] - before[0]) / count * 1000


def compare_held(running, options):
    """Milliseconds that the worker is held by an empty response and by a blob: medians of alternating rounds."""
    rounds = [
        (held_by(running, "/offload/?work", 20), held_by(running, f"/offload/{BLOB}?work", 20))
        for _ in range(options.rounds)
    ]
    return [statistics.median(column) for column in zip(*rounds)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=80, help="requests of a round")
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--mb", type=int, default=25, help="size of the blob, in MB")
    parser.add_argument("--bar", type=float, default=1.0, help="lowest rate that passes, as a share of nginx's")
    parser.add_argument("--held", type=float, default=1.2, help="longest time that passes, as a multiple of an empty response's")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sluice-files-") as name:
        directory = Path(name)
        (directory / BLOB).write_bytes(os.urandom(options.mb * MB))
        with run.site("gunicorn", directory) as running:
            try:
                nginx(running, run.free_port())
                rates = compare_rates(running, options)
                empty, blob = compare_held(running, options)
            finally:
                if "nginx" in running.processes:
                    running.stop("nginx")
    print("| through | MB/s | of nginx's | CPU s/GB |\n|---|---|---|---|")
    reference = rates["nginx"][0]
    for way, title in (("nginx", "nginx"), ("agent", "agent"), ("site", "balancer and agent")):
        got, cpu = rates[way]
        print(f"| {title} | {got:.0f} | {got / reference:.2f} | {cpu:.2f} |")
    print(f"\nworker held: {empty:.3f} ms by an empty response, {blob:.3f} ms by {options.mb} MB: {blob / empty:.2f}x")
    passed = rates["agent"][0] >= options.bar * reference and blob <= options.held * empty
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
