"""A balancer and four emulated instances, each behind an agent: processes that can be killed, stopped and replaced."""

import contextlib
import json
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from findings import Findings
from load import Load, Pace
from machine import PROGRAMS
from network import Namespace
from processes import BenchError, Processes, Started, accepts, spawn, stop, tail
from resources import Held, get, held, metric

INSTANCES = ("instance-1", "instance-2", "instance-3", "instance-4")
# For whatever is awaited: generous, as nothing is measured by it.
PATIENCE_S = 40.0
ALIVE_MIB = 256.0
# Descriptors that a process may have more than before: a data thread keeps 16 pipes once it had use for them.
PIPES = 32 + 5


@dataclass
class Part:
    """One program: how it is started, again if need be, and the process that runs now."""

    name: str
    command: list[str]
    port: int
    environment: dict[str, str] = field(default_factory=dict)
    far: Namespace | None = None
    started: Started | None = None
    # A process that the one that was started has handed its work over to.
    successor: int | None = None

    @property
    def pid(self) -> int:
        if self.successor is not None:
            return self.successor
        assert self.started is not None, f"{self.name} runs"
        return self.started.process.pid


@dataclass(frozen=True)
class Options:
    """What a scenario wants to be different. Flags by the name of a part."""

    balancer: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    flags: dict[str, tuple[str, ...]] = field(default_factory=dict)
    # Put before a part's command line.
    wrap: dict[str, tuple[str, ...]] = field(default_factory=dict)
    environment: dict[str, dict[str, str]] = field(default_factory=dict)
    # Where agents keep what waits for slow clients, if not beside everything else.
    spool: Path | None = None
    # Where the last instance and its agent are, if not here.
    far: Namespace | None = None
    # Port that agents report to instead of the balancer's own.
    reports_to: Callable[[int], int] = lambda port: port


class Site:
    """Ports come from `ports`, which all sites of a run share."""

    def __init__(self, ports: Processes, directory: Path, options: Options) -> None:
        self.directory, self.options = directory, options
        self.parts: dict[str, Part] = {}
        front, admin = ports.free_port(), ports.free_port()
        self.token = secrets.token_hex(16)
        (directory / "token").touch(0o600)
        (directory / "token").write_text(self.token)
        self.front = f"127.0.0.1:{front}"
        # On the link's address, which can be reached from both sides and not from anywhere else.
        self.admin = f"{options.far.near if options.far else '127.0.0.1'}:{admin}"
        self._add("balancer", front, [
            str(PROGRAMS / "sluice-balancer"), "--listen", self.front, "--admin", self.admin, "--threads", "1",
            # So that a scenario ends soon after its load: unused connections are not kept for long.
            "--instance-keep-alive", "2s", "--token-file", str(directory / "token"), *options.balancer,
        ])
        self.agent_admin: dict[str, str] = {}
        balancer = f"http://{self.admin.rpartition(':')[0]}:{options.reports_to(admin)}"
        for name in INSTANCES:
            self._add_instance(name, ports, balancer)

    def _add_instance(self, name: str, ports: Processes, balancer: str) -> None:
        port, listen, admin = ports.free_port(), ports.free_port(), ports.free_port()
        agent = agent_of(name)
        far = self.options.far if name == INSTANCES[-1] else None
        host = far.far if far else "127.0.0.1"
        self.agent_admin[agent] = f"{host}:{admin}"
        command = [str(PROGRAMS / "sluice-instance"), "--listen", f"127.0.0.1:{port}", "--name", name]
        self._add(name, port, command, far)
        self._add(agent, listen, [
            str(PROGRAMS / "sluice-agent"), "--listen", f"{host}:{listen}", "--admin", self.agent_admin[agent],
            "--balancer", balancer, "--instance", f"127.0.0.1:{port}", "--name", name,
            "--health-path", "/health", "--health-interval", "500ms", "--instance-keep-alive", "2s",
            "--spool-dir", str(self.options.spool or self.directory), "--token-file", str(self.directory / "token"), *self.options.agents,
        ], far)

    def _add(self, name: str, port: int, command: list[str], far: Namespace | None = None) -> None:
        wrap = far.wrap() if far else self.options.wrap.get(name, ())
        command = [*wrap, *command, *self.options.flags.get(name, ())]
        self.parts[name] = Part(name, command, port, self.options.environment.get(name, {}), far)

    def start_all(self) -> None:
        for name in self.parts:
            self.start(name)
        self.until("every instance gets requests", lambda: len(self.routed()) == len(INSTANCES))

    def start(self, name: str, *, wait: bool = True) -> None:
        """Starts a part, and waits until it listens."""
        part = self.parts[name]
        log = self.directory / f"{name}.log"
        # The caller's own SLUICE_... variables would change what is tested.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SLUICE_")}
        with log.open("ab") as out:
            process = spawn(
                part.command, stdout=out, stderr=out, env={**environment, **part.environment}, cwd=self.directory
            )
        part.started = Started(name, process, log)
        if wait:
            self.until(f"{name} listens", lambda: self._listens(part))

    def _listens(self, part: Part) -> bool:
        assert part.started is not None
        if part.started.process.poll() is not None:
            raise BenchError(f"{part.name} ended with {part.started.process.returncode}: {tail(part.started.log)}")
        if part.far is None:
            return accepts(part.port)
        # Of the far side only the agent can be asked from here; it says when its instance is well.
        with socket.socket() as probe:
            probe.settimeout(1)
            return part.name in INSTANCES or probe.connect_ex((part.far.far, part.port)) == 0

    def kill(self, name: str) -> None:
        """kill -9."""
        part = self.parts[name]
        assert part.started is not None
        part.started.process.kill()
        part.started.process.wait()
        part.started = None

    def end(self, name: str) -> None:
        """Stops a part in order."""
        part = self.parts[name]
        assert part.started is not None
        stop([part.started])
        part.started = None

    def follow(self, name: str, old: int) -> bool:
        """Whether another process than `old` does that part's work and `old` has ended; from then on it is that part."""
        part = self.parts[name]
        assert part.started is not None
        part.started.process.poll()  # takes note of its end, so that it is gone from /proc
        if Path(f"/proc/{old}").exists():
            return False
        part.successor = next((pid for pid in running_as(part.command) if pid != old), None)
        return part.successor is not None

    def signal(self, name: str, number: signal.Signals) -> None:
        os.kill(self.parts[name].pid, number)

    def stop_all(self) -> None:
        running = [part.started for part in self.parts.values() if part.started is not None]
        for one in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.process.pid, signal.SIGCONT)
        stop(running)
        for pid in (part.successor for part in self.parts.values() if part.successor is not None):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def instances(self) -> list[dict[str, Any]]:
        """As the balancer shows them; empty while it does not answer."""
        with contextlib.suppress(OSError, ValueError):
            found: list[dict[str, Any]] = json.loads(get(f"http://{self.admin}/v1/instances", timeout=1))
            return found
        return []

    def routed(self) -> set[str]:
        return {one["name"] for one in self.instances() if gets_requests(one)}

    def answered_by(self, name: str) -> float:
        """Requests that an instance answered, as its agent counts."""
        return metric(self.agent_admin[agent_of(name)], "sluice_agent_requests_total")

    def until(self, what: str, check: Callable[[], bool], patience_s: float = PATIENCE_S) -> float:
        """Polls until `check` holds; the seconds that it took."""
        began = time.monotonic()
        while not check():
            if time.monotonic() > began + patience_s:
                raise BenchError(f"not within {patience_s:.0f} s: {what}")
            time.sleep(0.05)
        return time.monotonic() - began


def running_as(command: list[str]) -> Iterator[int]:
    """Processes with that command line."""
    wanted = b"\0".join(word.encode() for word in command) + b"\0"
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it may have ended since it was listed
            if path.read_bytes() == wanted:
                yield int(path.parent.name)


def gets_requests(instance: dict[str, Any]) -> bool:
    return bool(instance["routed"]) and instance["breaker"] != "open"


def agent_of(instance: str) -> str:
    return instance.replace("instance", "agent")


class Run:
    """One scenario under way: its site, its pace, and what was found."""

    def __init__(self, ports: Processes, directory: Path, pace: Pace) -> None:
        self.ports, self.directory, self.pace = ports, directory, pace
        self.findings = Findings()
        self.base: dict[str, Held] = {}
        self.loads: list[Load] = []

    @contextlib.contextmanager
    def site(self, options: Options = Options()) -> Iterator[Site]:
        """A running site that has served for a while. When the block is left, everything must be as before."""
        site = Site(self.ports, self.directory, options)
        try:
            site.start_all()
            self._warm_up(site)
            yield site
            self._check_returned(site)
        finally:
            site.stop_all()

    def load(self, site: Site, **changes: Any) -> Load:
        timeout_s = changes.pop("timeout_s", 20.0)
        self.loads.append(Load(self.directory, site.front, Pace(**{**vars(self.pace), **changes}), timeout_s))
        return self.loads[-1]

    def failures(self) -> str:
        """What became of the requests of the last load that were not answered well, by reason."""
        classes = self.loads[-1].summary.get("classes", []) if self.loads else []
        return ", ".join(f"{one['name']}: {one['failed']}" for one in classes if one["failed"])

    def _warm_up(self, site: Site) -> None:
        with self.load(site, secs=8.0 if self.pace.long else 1.0):
            pass
        self._idle(site)
        self.base = self._held(site)

    def _held(self, site: Site) -> dict[str, Held]:
        programs = (name for name in site.parts if not name.startswith("instance"))
        return {name: held(site.parts[name].pid) for name in programs}

    def _idle(self, site: Site) -> None:
        """Waits until nothing is under way at the balancer, and connections that nobody uses are closed."""
        names = ("sluice_slots", "sluice_queue_length", "sluice_client_connections_open", "sluice_upstream_connections_open")
        site.until("slots, queue and connections are back at 0", lambda: not any(metric(site.admin, n) for n in names))
        spooled = lambda: sum((one["agent"] or {}).get("spooled_bytes", 0) for one in site.instances())
        site.until("nothing is spooled any more", lambda: spooled() == 0)

    def _check_returned(self, site: Site) -> None:
        self._idle(site)
        for name, now in self._until_few(site).items():
            base = self.base[name]
            kind = name.partition("-")[0]
            self._worst(f"descriptors more than before, {kind}", now.descriptors - base.descriptors, PIPES + 0.1 * base.descriptors)
            self._worst(f"memory more than before (MiB), {kind}", now.rss_mib - base.rss_mib, 16.0 if self.pace.long else 48.0)
            self._worst(f"memory (MiB), {kind}", now.rss_mib, ALIVE_MIB)

    def _until_few(self, site: Site) -> dict[str, Held]:
        """Descriptors of what just ended are closed soon, if not at once."""
        with contextlib.suppress(BenchError):
            few = lambda: all(now.descriptors <= self.base[name].descriptors + PIPES for name, now in self._held(site).items())
            site.until("descriptors are back", few, 15.0)
        return self._held(site)

    def _worst(self, what: str, measured: float, bar: float) -> None:
        """Of several processes of a kind, the worst."""
        for at, figure in enumerate(self.findings.figures):
            if figure.what == what:
                if figure.measured >= measured:
                    return
                del self.findings.figures[at]
                break
        self.findings.at_most(what, round(measured, 1), round(bar, 1), routine=True)


class Watch(threading.Thread):
    """Looks every 50 ms which instances get requests, while the block lasts."""

    def __init__(self, site: Site) -> None:
        super().__init__(daemon=True)
        self._site, self._over = site, threading.Event()
        self.seen: list[tuple[float, set[str]]] = []

    def __enter__(self) -> "Watch":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.wait(0.05):
            if instances := self._site.instances():
                self.seen.append((time.monotonic(), {one["name"] for one in instances if gets_requests(one)}))

    def out_after_s(self, name: str, since: float) -> float:
        """Seconds from `since` until the instance got nothing any more; infinite: it always did."""
        return next((at - since for at, routed in self.seen if at >= since and name not in routed), float("inf"))

    def in_after_s(self, name: str, since: float) -> float:
        return next((at - since for at, routed in self.seen if at >= since and name in routed), float("inf"))

    def ejections(self) -> int:
        """How often an instance that was in went out."""
        pairs = zip(self.seen, self.seen[1:])
        return sum(len(before - after) for (_, before), (_, after) in pairs)
