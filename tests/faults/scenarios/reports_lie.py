"""Reports that stop, lie, are malformed, come in masses, or are of another time."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from findings import Skipped
from load import Load
from registry import scenario
from resources import cpu_s, held, metric
from running import INSTANCES, Options, Run, Site, Watch
from wire import Wire

GHOST = "ghost"
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
MIB = 1024 * 1024


@scenario("reports-stop", "all reports are swallowed from a third on, over connections that stay")
def reports_stop(run: Run) -> None:
    with contextlib.ExitStack() as stack:
        wires: list[Wire] = []

        def through_a_wire(admin: int) -> int:
            port = run.ports.free_port()
            wires.append(stack.enter_context(Wire(port, admin)))
            return port

        site = stack.enter_context(run.site(Options(reports_to=through_a_wire)))
        with run.load(site) as load:
            load.until(1 / 3)
            wires[0].swallow()
            load.until(1)
        wires[0].carry()
        judge(run, load)


def judge(run: Run, load: Load) -> None:
    """Whatever reports say or do not: no request is lost by it."""
    lost = load.lost() + load.cut() + load.lost("post") + load.cut("post")
    run.findings.at_least("requests answered", load.answered(), 1)
    run.findings.at_most("requests lost", lost, 0)
    run.findings.at_most("probes failed", load.probe.failures(), 0)
    run.findings.at_most("requests later than 2 s", load.late(), 0, timed=True)
    run.findings.at_most("probe p99 (ms)", load.probe.p99_ms(), 500.0, timed=True)


@scenario("lying-agent", "an agent that claims 50 workers where there is one")
def lying_agent(run: Run) -> None:
    # The site's own gate would keep the lie from the instance; its agent believes itself.
    with run.site(Options(flags={"agent-4": ("--workers", "50")})) as site:
        before = {name: site.answered_by(name) for name in INSTANCES}
        with run.load(site) as load:
            load.until(1)
        answered = {name: site.answered_by(name) - before[name] for name in INSTANCES}
    judge(run, load)
    fair = sum(answered.values()) / len(answered)
    run.findings.at_most("the liar's share of the requests, of a fair one", answered["instance-4"] / fair, 2.0)


def ghost(seq: int, **changes: Any) -> dict[str, Any]:
    """A report of an instance that is down: it is taken note of, and gets nothing."""
    return {
        "schema": 1, "name": GHOST, "service": "default", "address": "127.0.0.1:9", "boot_id": "1-1", "seq": seq,
        "interval_ms": 1000, "window_ms": 1000, "workers": 1, "release": {"point": "end", "found": "configured"},
        "mode": "inline", "state": "down", "now": {"in_flight": 0}, "classes": [], **changes,
    }


def post(site: Site, body: bytes, sender: str = "127.0.0.1") -> int:
    """The status that a report from the address `sender` is answered with; 0: the connection was cut instead."""
    host, _, port = site.admin.rpartition(":")
    head = f"{head_of_post(site)}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=10, source_address=(sender, 0)) as connection:
        with contextlib.suppress(OSError):  # it may answer before it has everything, and close
            connection.sendall(head.encode() + body)
        answer = connection.makefile("rb").readline().split()
        return int(answer[1]) if len(answer) > 1 else 0
    return 0


def head_of_post(site: Site) -> str:
    fields = {"Host": site.admin, "Authorization": f"Bearer {site.token}", "Content-Type": "application/json"}
    return "POST /v1/report HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())


def hostile() -> dict[str, bytes]:
    """Reports that say what can not be, in JSON and in what is none."""
    good = json.dumps(ghost(1))
    changed = {
        f"{key} = {value}": good.replace(f'"{key}": 1000', f'"{key}": {value}').encode()
        for key in ("interval_ms", "window_ms")
        for value in ("NaN", "Infinity", "-Infinity", "-1", "1e308", "null", '"many"', "[]", "0", "1.5")
    }
    others = {
        "nothing": b"", "no JSON": b"\x00\xff\xfe", "half": good.encode()[: len(good) // 2], "a list": b"[]",
        "two": (good + good).encode(), "deep": b"[" * 100_000, "deep in a field": good.replace("[]", "[" * 100_000).encode(),
        "a million keys": ("{" + ",".join(f'"k{n}":0' for n in range(60_000)) + "}").encode(),
        "no worker": json.dumps(ghost(1, workers=0)).encode(), "workers": json.dumps(ghost(1, workers=10**9)).encode(),
        "another schema": json.dumps(ghost(1, schema=2)).encode(), "no UTF-8": good.replace(GHOST, "gh\udcff").encode("utf-8", "surrogateescape"),
        "a name with a line end": json.dumps(ghost(1, name="a\nb")).encode(),
        "a name for markup": json.dumps(ghost(1, name="<script>")).encode(),
        "an endless name": json.dumps(ghost(1, name="n" * 100_000)).encode(),
    }
    return {**changed, **others}


@scenario("hostile-reports", "NaN, impossible values, no JSON, deep JSON, again and again")
def hostile_reports(run: Run) -> None:
    with run.site() as site:
        before = site.instances()
        refused = lambda: metric(site.admin, "sluice_reports_total") - metric(site.admin, "sluice_reports_total", "accepted")
        counted = refused()
        statuses: dict[str, int] = {}
        refusals = 0
        with run.load(site) as load:
            while not refusals or time.monotonic() < load.began + 0.8 * run.pace.secs:
                statuses = {what: post(site, body) for what, body in hostile().items()}
                refusals += sum(400 <= status < 500 for status in statuses.values())
                time.sleep(0.5)
        judge(run, load)
        # 0: no answer in time, or the connection was reset while something was still being sent.
        taken = [what for what, status in statuses.items() if status and not 400 <= status < 500]
        run.findings.at_most(f"hostile reports that were taken {taken or ''}".strip(), len(taken), 0)
        run.findings.at_least("of them counted, in percent", 100 * (refused() - counted) / refusals, 100)
        names = lambda instances: sorted(one["name"] for one in instances)
        run.findings.true("the instances are the same", names(site.instances()) == names(before))


@scenario("huge-reports", "bodies of 1 MiB that say nothing, and larger ones")
def huge_reports(run: Run) -> None:
    with run.site() as site:
        before = held(site.parts["balancer"].pid).rss_mib
        at_limit = json.dumps(ghost(1)).encode().ljust(MIB)
        with run.load(site) as load:
            load.until(0.2)
            statuses = [post(site, at_limit[:-1] + b"x") for _ in range(5)]
            statuses += [post(site, at_limit + b" " * size) for size in (1, MIB, 8 * MIB)]
            load.until(1)
        judge(run, load)
        # 0: the connection is reset while the rest of what nobody reads is still being sent.
        others = [status for status in statuses if status not in (0, 400, 413)]
        run.findings.at_most(f"answers other than 400 and 413 {others or ''}".strip(), len(others), 0)
        grown = held(site.parts["balancer"].pid).rss_mib - before
        run.findings.at_most("memory more than before (MiB)", grown, 16.0)


@scenario("replayed-reports", "old, reordered, future and foreign reports")
def replayed_reports(run: Run) -> None:
    with run.site() as site:
        sent = [(ghost(10), 200), (ghost(10), 409), (ghost(9), 409), (ghost(2**63), 200), (ghost(11), 409)]
        sent += [(ghost(1, boot_id="1-2"), 200), (ghost(1, service="nowhere"), 422)]
        # What a start of the agent before the present one said.
        sent += [(ghost(2**63 + 1), 409)]
        # Another's name from elsewhere, and another's address.
        forged = [ghost(1, name="instance-1", boot_id="9-9"), ghost(2**63 + 2, boot_id="1-2", address=address_of(site, "instance-1"))]
        with Watch(site) as watch, run.load(site) as load:
            answered = [post(site, json.dumps(report).encode()) for report, _ in sent]
            answered += [post(site, json.dumps(report).encode(), "127.0.0.2") for report in forged]
            load.until(1)
        judge(run, load)
        expected = [status for _, status in sent] + [403] * len(forged)
        wrong = [f"{got} for {want}" for got, want in zip(answered, expected, strict=True) if got != want]
        run.findings.at_most(f"answers that are not as they should be {wrong or ''}".strip(), len(wrong), 0)
        run.findings.at_most("instances taken out", watch.ejections(), 0)


def address_of(site: Site, name: str) -> str:
    return next(one["address"] for one in site.instances() if one["name"] == name)


@scenario("report-flood", "reports as fast as they can be written, on four connections")
def report_flood(run: Run) -> None:
    with run.site() as site:
        pid = site.parts["balancer"].pid
        with run.load(site) as load, flood(site) as sent:
            began, before = time.monotonic(), cpu_s(pid)
            load.until(1)
            cores = (cpu_s(pid) - before) / (time.monotonic() - began)
        judge(run, load)
        run.findings.note("reports per second", sum(sent) / run.pace.secs)
        # They are read on one thread, which is not that of requests.
        run.findings.at_most("CPU of the balancer (cores)", cores, 1.5, timed=True)


@contextlib.contextmanager
def flood(site: Site) -> Iterator[list[int]]:
    """Pipelined reports in a hundred different states of sequence, until the block is left. How many were sent."""
    over = threading.Event()
    sent = [0] * 4
    writers = [threading.Thread(target=write_reports, args=(site, over, sent, n), daemon=True) for n in range(4)]
    for writer in writers:
        writer.start()
    try:
        yield sent
    finally:
        over.set()
        for writer in writers:
            writer.join()


def write_reports(site: Site, over: threading.Event, sent: list[int], index: int) -> None:
    head = f"{head_of_post(site)}Content-Length: "
    bodies = [json.dumps(ghost(seq)).encode() for seq in range(100)]
    batch = b"".join(head.encode() + str(len(body)).encode() + b"\r\n\r\n" + body for body in bodies)
    host, _, port = site.admin.rpartition(":")
    while not over.is_set():
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1) as connection:
            connection.settimeout(1)
            while not over.is_set():
                connection.sendall(batch)
                answers = 0
                while answers < len(bodies):  # all but those cut in two by the end of a read
                    got = connection.recv(1 << 20)
                    if not got:
                        break
                    answers += got.count(b"HTTP/1.1 ")
                sent[index] += len(bodies)
                if not got:
                    break
        over.wait(0.01)


@scenario("clock-skew", "an agent whose clock is an hour ahead, another an hour behind")
def clock_skew(run: Run) -> None:
    ahead, behind = faked("+1h"), faked("-1h")
    with run.site(Options(environment={"agent-1": ahead, "agent-2": behind})) as site:
        with Watch(site) as watch, run.load(site) as load:
            load.until(1)
    judge(run, load)
    run.findings.at_most("instances taken out", watch.ejections(), 0)


@scenario("clock-jumps", "the wall clocks of the balancer and of an agent jump an hour, forth and back")
def clock_jumps(run: Run) -> None:
    file = run.directory / "time"
    file.write_text("+0")
    environment = {**faked(None), "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1"}
    with run.site(Options(environment={"balancer": environment, "agent-1": environment})) as site:
        with Watch(site) as watch, run.load(site) as load:
            for share, offset in ((0.25, "+3600"), (0.5, "-3600"), (0.75, "+0")):
                load.until(share)
                file.write_text(offset)
            load.until(1)
    judge(run, load)
    run.findings.at_most("instances taken out", watch.ejections(), 0)


def faked(offset: str | None) -> dict[str, str]:
    """The environment in which a program's wall clock is another; durations are as they are."""
    if not FAKETIME.exists():
        raise Skipped("faketime is not installed (tests/faults/setup)")
    preloaded = {"LD_PRELOAD": str(FAKETIME), "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    return preloaded if offset is None else {**preloaded, "FAKETIME": offset}
