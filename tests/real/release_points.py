#!/usr/bin/env python3
"""What an agent finds out about when real servers' workers are free, and how fast.

For each server and kind of response: a client takes the beginning of a long response and no more, until the agent
says what it learned. Prints a table; fails if something was learned that is not so, or nothing. Where a worker is
said to be free, a page is asked for beside the response, and has to come.

Needs tests/real/setup to have been run, and release binaries (cargo build --release).
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from run import PROGRAMS, VENV, eventually, free_port, status

MIB = 1 << 20
PATIENCE = 30.0  # seconds until something must have been learned, also on a machine that is busy with other tests

# All with one worker. waitress' outbuf_high_watermark is 16 MiB.
SERVERS = {
    "waitress": ("waitress-serve", "--listen={address}", "--threads=1", "release_app:wsgi"),
    "gunicorn sync": ("gunicorn", "--bind={address}", "--workers=1", "release_app:wsgi"),
    "gunicorn gthread": (
        "gunicorn", "--bind={address}", "--workers=1", "--worker-class=gthread", "--threads=1", "release_app:wsgi",
    ),
    "uvicorn": ("uvicorn", "--host={host}", "--port={port}", "--no-access-log", "release_app:asgi"),
}

# Server, response, size in MiB, the truth. Larger ones than sockets' buffers, or any server were rid of them at once.
CASES = [
    ("waitress", "file", 64, "first-byte"),
    ("waitress", "generator", 14, "first-byte"),
    ("waitress", "generator", 64, "end"),
    ("gunicorn sync", "file", 64, "end"),
    ("gunicorn sync", "generator", 64, "end"),
    ("gunicorn gthread", "file", 64, "end"),
    ("gunicorn gthread", "generator", 64, "end"),
    ("uvicorn", "generator", 64, "first-byte"),
]
KINDS = {"file": "file wrapper", "generator": "generator"}


class Pair:
    """A server and its agent, as processes on free ports."""

    def __init__(self, server, directory, processes):
        self.app, self.agent, self.admin, nobody = (free_port() for _ in range(4))
        self.processes, self.directory = processes, directory
        names = {"address": f"127.0.0.1:{self.app}", "host": "127.0.0.1", "port": self.app}
        program, *arguments = SERVERS[server]
        self.start(VENV / program, *(argument.format(**names) for argument in arguments))
        eventually(f"{server} answers", lambda: status(f"http://127.0.0.1:{self.app}/page")[0] == 200)
        self.start(
            PROGRAMS / "sluice-agent",
            "--balancer", f"http://127.0.0.1:{nobody}", "--instance", names["address"], "--health-path", "/page",
            "--listen", f"127.0.0.1:{self.agent}", "--admin", f"127.0.0.1:{self.admin}",
        )
        eventually("the agent serves", lambda: status(f"http://127.0.0.1:{self.agent}/page")[0] == 200)
        eventually("the instance is up", lambda: status(f"http://127.0.0.1:{self.admin}/readyz")[0] == 200)

    def start(self, *command):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SLUICE_")}
        environment["SLUICE_REAL_DIR"] = str(self.directory)
        with open(self.directory / "log", "ab") as log:
            here = Path(__file__).parent
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=here, env=environment)
        self.processes.callback(end, process)

    def claim(self, kind):
        """What the agent knows of `/KIND/N`."""
        claims = json.loads(status(f"http://127.0.0.1:{self.admin}/v1/status")[1])["releases"]
        return next((claim for claim in claims if claim["class"] == f"GET /{kind}/{{n}}"), None)

    def evidence(self, kind):
        claim = self.claim(kind)
        return claim["evidence"] if claim else {"answered": 0, "waited": 0}

    def begin(self, path):
        """A client that has the beginning of the response, and a small buffer."""
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        client.settimeout(PATIENCE)
        client.connect(("127.0.0.1", self.agent))
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 200"), path
        return client


def end(process):
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def is_free(claim, length):
    return claim["point"] == "first-byte" and length <= (claim["up_to_bytes"] or 0)


def learn(pair, kind, mib, truth):
    """Begins such a response; what the agent comes to say of it, after how many questions and seconds.

    That a worker is held may be said for a while of one that is not, as a busy machine looks the same; the other way
    round is a fault.
    """
    before, began, length = pair.evidence(kind), time.monotonic(), mib * MIB
    with contextlib.closing(pair.begin(f"/{kind}/{mib}")):
        while time.monotonic() < began + PATIENCE:
            claim = pair.claim(kind)
            is_held = claim and claim["evidence"]["waited"] > before["waited"]
            if claim and (is_free(claim, length) or is_held and truth == "end"):
                asked = sum(claim["evidence"][what] - before[what] for what in ("answered", "waited"))
                return "first-byte" if is_free(claim, length) else "end", asked, time.monotonic() - began
            time.sleep(0.02)
    raise AssertionError(f"of /{kind}/{mib} nothing was learned that is so: {pair.claim(kind)}")


def page_beside(pair, kind, mib):
    """Milliseconds in which a page comes while such a response, begun anew, is being sent."""
    with contextlib.closing(pair.begin(f"/{kind}/{mib}")):
        began = time.monotonic()
        assert status(f"http://127.0.0.1:{pair.agent}/page") == (200, b"page\n")
        return (time.monotonic() - began) * 1000


def idle(pair):
    now = json.loads(status(f"http://127.0.0.1:{pair.admin}/v1/status")[1])["now"]
    return now["in_flight"] == now["streaming"] == now["queued"] == 0


def main():
    print("| server, one worker | response | learned | requests: long + beside it | seconds | a page beside another |")
    print("|---|---|---|---|---|---|")
    wrong = []
    for server in SERVERS:
        with tempfile.TemporaryDirectory(prefix="sluice-real-") as name, contextlib.ExitStack() as processes:
            pair = Pair(server, Path(name), processes)
            for _, kind, mib, truth in (case for case in CASES if case[0] == server):
                learned, asked, seconds = learn(pair, kind, mib, truth)
                eventually("the agent is rid of the response", lambda: idle(pair))
                beside = f"{page_beside(pair, kind, mib):.0f} ms" if learned == truth == "first-byte" else "-"
                eventually("the agent is rid of the response", lambda: idle(pair))
                print(f"| {server} | {KINDS[kind]}, {mib} MiB | {learned} | 1 + {asked} | {seconds:.1f} | {beside} |", flush=True)
                if learned != truth:
                    wrong.append(f"{server}, {kind} of {mib} MiB: {learned} is not so")
    print("\n".join(wrong) or f"{len(CASES)} of {len(CASES)} learned, all true")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
