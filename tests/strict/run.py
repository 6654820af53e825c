#!/usr/bin/env python3
"""How strictly relays read HTTP/1.1: one table of raw requests and responses, sent through Sluice's balancer, Sluice's
agent, HAProxy and nginx, with a recording instance behind each.

Exit code 1 if Sluice gives a wrong answer, or as many as a peer. `--peers none` leaves the peers out.
Needs tests/bench/setup to have been run for the peers, and release binaries (cargo build --release).
"""

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "bench"))

from cases import REFUSED, Request, Response, requests, responses  # noqa: E402
from client import complete, exchange  # noqa: E402
from processes import Processes, processes  # noqa: E402
from recorder import Recorder  # noqa: E402

PROGRAMS = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
HERE = Path(__file__).parent
SLUICE = ("sluice balancer", "sluice agent")


@dataclass(frozen=True)
class Wrong:
    """`ambiguous`: something reached the instance, or the client, that should not have."""

    case: Request | Response
    ambiguous: bool
    seen: str


def start_relay(name: str, running: Processes, instance: int) -> int:
    """The port on which the relay of that name listens, with `instance` behind it."""
    port, admin = running.free_port(), running.free_port()
    if name == "sluice balancer":
        start_balancer(running, port, admin, f"127.0.0.1:{instance},workers=64")
    elif name == "sluice agent":
        balancer = running.free_port()
        start_balancer(running, running.free_port(), balancer, None)
        command = [str(PROGRAMS / "sluice-agent"), "--balancer", f"http://127.0.0.1:{balancer}"]
        command += ["--instance", f"127.0.0.1:{instance}", "--workers", "64"]
        command += ["--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}"]
        running.start(name, command, [port, admin])
    elif name == "haproxy":
        config = configured(running, "haproxy.cfg", port, instance)
        running.start(name, ["haproxy", "-db", "-f", str(config)], [port])
    else:
        config = configured(running, "nginx.conf", port, instance)
        running.start(name, ["nginx", "-p", str(running.directory), "-c", str(config)], [port])
    return port


def start_balancer(running: Processes, port: int, admin: int, instance: str | None) -> None:
    command = [str(PROGRAMS / "sluice-balancer"), "--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}"]
    running.start("balancer", command + (["--instance", instance] if instance else []), [port, admin])


def configured(running: Processes, template: str, port: int, instance: int) -> Path:
    user = "user root;" if os.geteuid() == 0 else ""
    text = (HERE / template).read_text()
    for key, value in {"port": port, "instance": instance, "directory": running.directory, "user": user}.items():
        text = text.replace(f"@{{{key}}}", str(value))
    path = running.directory / template
    path.write_text(text)
    return path


def judge_request(case: Request, name: str, port: int, recorder: Recorder) -> Wrong | None:
    raw = case.raw.replace(b"{id}", f"/case-{name}".encode())
    expected = 1 if case.verdict == REFUSED else len(case.bodies)
    found = exchange(port, raw, expected)
    statuses = [answer.status for answer in found]
    seen = recorder.seen(name)
    if case.verdict == REFUSED:
        return Wrong(case, True, f"forwarded {seen}, answered {statuses}") if seen else None
    bodies = [request.body for request in seen]
    if statuses == [200] * expected and bodies == list(case.bodies):
        return None
    ambiguous = len(bodies) > expected
    return Wrong(case, ambiguous, f"answered {statuses}, seen {[body[:30] for body in bodies]}")


def judge_response(case: Response, name: str, port: int) -> Wrong | None:
    raw = f"{case.method} /case-{name} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
    found = exchange(port, raw, 2, case.method == "HEAD")
    whole = [(answer.status, answer.body) for answer in complete(found)]
    if case.body is None:
        wrong = any(status == 200 for status, _ in whole) or any(answer.status == 101 for answer in found)
    else:
        wrong = whole != [(200, case.body)]
    return Wrong(case, case.body is None or len(found) > 1, f"client got {whole}") if wrong else None


def judge(relay: str) -> list[Wrong]:
    """Everything that the relay of that name does wrong."""
    asked = {f"q{n}": case for n, case in enumerate(requests())}
    answered = {f"r{n}": case for n, case in enumerate(responses())}
    with processes() as running:
        instance = running.free_port()
        recorder = Recorder(instance, {name: case.raw for name, case in answered.items()})
        running.enter(recorder)
        port = start_relay(relay, running, instance)
        with ThreadPoolExecutor(16) as pool:
            of_requests = pool.map(lambda item: judge_request(item[1], item[0], port, recorder), asked.items())
            wrong = [*of_requests]
            of_responses = pool.map(lambda item: judge_response(item[1], item[0], port), answered.items())
            wrong += of_responses
    return [one for one in wrong if one is not None]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peers", default="haproxy,nginx", help="which, or none [default: haproxy,nginx]")
    parser.add_argument("--verbose", action="store_true", help="every wrong answer of the peers as well")
    options = parser.parse_args()
    peers = [] if options.peers == "none" else options.peers.split(",")
    count = len(requests()) + len(responses())
    results = {relay: judge(relay) for relay in (*SLUICE, *peers)}
    print(f"{count} cases: {len(requests())} requests, {len(responses())} responses")
    print(f"{'relay':<18} {'ambiguous':>9} {'wrong':>6}")
    for relay, wrong in results.items():
        print(f"{relay:<18} {sum(one.ambiguous for one in wrong):>9} {len(wrong):>6}")
    for relay, wrong in results.items():
        for one in wrong if relay in SLUICE or options.verbose else []:
            print(f"{relay}: {one.case.section} {one.case.name}: {one.seen[:300]}")
    ours = max(len(results[relay]) for relay in SLUICE)
    best = min((len(results[peer]) for peer in peers), default=1)
    print(f"{count - ours} passed, {ours} failed")
    return 0 if ours == 0 and ours < best else 1


if __name__ == "__main__":
    sys.exit(main())
