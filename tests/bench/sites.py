"""Each peer as a site: four emulated instances behind it, everything on free ports of the loopback address."""

import json
import os
import pwd
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from machine import PROGRAMS
from processes import Processes, Started
from render import render_file
from reports import Spoiler
from workloads import InstanceSpec, Workload

# Requests wait as long and as many as they may in HAProxy's configuration, which has no limit of its own.
QUEUE = ["--queue-timeout", "1m", "--queue-length", "10000"]
# Whatever proxy the environment names: these requests stay on this machine.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Kind(Enum):
    SLUICE = "Sluice"
    AUTOMATIC = "automatic"
    SPLIT = "an expert's split by path"
    BY_HAND = "slow instance taken out by hand"


@dataclass(frozen=True)
class Instance:
    name: str
    port: int
    spec: InstanceSpec
    program: Started

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def fields(self) -> Mapping[str, object]:
        """For templates."""
        return {"name": self.name, "address": self.address, "port": self.port, "workers": self.spec.workers}


@dataclass(frozen=True)
class Site:
    """A running site. `balancers`: the programs between client and instances, for their CPU time."""

    front: int
    balancers: list[Started]
    spoiler: Spoiler | None = None


@dataclass(frozen=True)
class Setting:
    """How Sluice runs: flags that are tried out, and what spoils its reports."""

    balancer_flags: list[str] = field(default_factory=list)
    agent_flags: list[str] = field(default_factory=list)
    spoiler: Callable[[int, int], Spoiler] | None = None


@dataclass(frozen=True)
class Peer:
    """`program`: what must be installed. `start`: brings the balancer up before the instances."""

    name: str
    title: str
    kind: Kind
    program: str
    start: Callable[[Processes, Path, Workload, list[Instance], Setting], Site]

    def fits(self, workload: Workload) -> bool:
        """An expert's configuration is there only for a workload that has what it is about."""
        if self.kind is Kind.SPLIT:
            return bool(workload.large_paths)
        return self.kind is not Kind.BY_HAND or workload.has_slow_instance


def start_instances(running: Processes, workload: Workload) -> list[Instance]:
    return [start_instance(running, f"instance-{n}", spec) for n, spec in enumerate(workload.instances, 1)]


def start_instance(running: Processes, name: str, spec: InstanceSpec) -> Instance:
    port = running.free_port()
    cache = [] if spec.cache is None else ["--cache", str(spec.cache)]
    command = [
        str(PROGRAMS / "sluice-instance"), "--listen", f"127.0.0.1:{port}", "--name", name,
        "--workers", str(spec.workers), "--release", spec.release, "--speed", str(spec.speed), *cache,
    ]
    return Instance(name, port, spec, running.start(name, command, [port]))


def haproxy(template: str, only: Callable[[Instance], bool] = lambda _: True) -> Callable[..., Site]:
    """HAProxy with the common template and this one."""

    def start(
        running: Processes, program: Path, workload: Workload, instances: list[Instance], _: Setting
    ) -> Site:
        front = running.free_port()
        used = [instance for instance in instances if only(instance)]
        values = {"front": f"127.0.0.1:{front}", "large_paths": " ".join(workload.large_paths)}
        groups = {"all": fields(used), "small": fields(used[:-1]), "large": fields(used[-1:])}
        command = [str(program)]
        for name in ("haproxy.cfg", template):
            command += ["-f", write(running, name, render_file(name, values, groups))]
        return Site(front, [running.start("haproxy", command, [front])])

    return start


def nginx(running: Processes, program: Path, _: Workload, instances: list[Instance], __: Setting) -> Site:
    front = running.free_port()
    # Its workers must be able to write into our directory; only root may say who they are.
    user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
    values = {"front": f"127.0.0.1:{front}", "directory": running.directory, "user": user}
    text = render_file("nginx.conf", values, {"all": fields(instances)})
    log = str(running.directory / "nginx-error.log")
    command = [str(program), "-e", log, "-c", write(running, "nginx.conf", text)]
    return Site(front, [running.start("nginx", command, [front])])


def envoy(running: Processes, program: Path, _: Workload, instances: list[Instance], __: Setting) -> Site:
    front = running.free_port()
    text = render_file("envoy.yaml", {"front_port": front}, {"all": fields(instances)})
    command = [
        str(program), "-c", write(running, "envoy.yaml", text), "--concurrency", "1",
        "--disable-hot-restart", "--log-level", "warn",
    ]
    return Site(front, [running.start("envoy", command, [front])])


def sluice(mode: str) -> Callable[..., Site]:
    """A balancer, and an agent beside each instance: in the way of requests (inline) or not (passive)."""

    def start(
        running: Processes, program: Path, _: Workload, instances: list[Instance], setting: Setting
    ) -> Site:
        front, admin = running.free_port(), running.free_port()
        command = [
            str(program), "--listen", f"127.0.0.1:{front}", "--admin", f"127.0.0.1:{admin}",
            "--threads", "1", *QUEUE, *setting.balancer_flags,
        ]
        balancer = running.start("balancer", command, [front, admin])
        spoiler = setting.spoiler(running.free_port(), admin) if setting.spoiler else None
        if spoiler:
            running.enter(spoiler)
        reports_to = spoiler.port if spoiler else admin
        agents = [start_agent(running, mode, reports_to, instance, setting) for instance in instances]
        running.until("every instance gets requests", lambda: routed(admin) == len(instances))
        return Site(front, [balancer, *agents], spoiler)

    return start


def start_agent(
    running: Processes, mode: str, balancer: int, instance: Instance, setting: Setting
) -> Started:
    admin, listen = running.free_port(), running.free_port()
    inline = ["--listen", f"127.0.0.1:{listen}"] if mode == "inline" else []
    command = [
        str(PROGRAMS / "sluice-agent"), "--mode", mode, *inline, "--admin", f"127.0.0.1:{admin}",
        "--balancer", f"http://127.0.0.1:{balancer}", "--instance", instance.address, "--name", instance.name,
        "--workers", str(instance.spec.workers), "--release", instance.spec.release, "--threads", "1",
        *setting.agent_flags,
    ]
    return running.start(f"agent-of-{instance.name}", command, [admin, listen] if inline else [admin])


def routed(admin: int) -> int:
    """Instances that the balancer sends requests to."""
    with OPENER.open(f"http://127.0.0.1:{admin}/v1/instances", timeout=5) as answer:
        return sum(instance["routed"] for instance in json.load(answer))


def answers(front: int) -> bool:
    """Whether an instance answers through the front; /health takes no worker."""
    try:
        with OPENER.open(f"http://127.0.0.1:{front}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def fields(instances: list[Instance]) -> list[Mapping[str, object]]:
    return [instance.fields() for instance in instances]


def write(running: Processes, name: str, text: str) -> str:
    path = running.directory / name
    path.write_text(text)
    return str(path)


PEERS = {
    peer.name: peer
    for peer in (
        Peer("sluice-inline", "Sluice inline", Kind.SLUICE, "sluice-balancer", sluice("inline")),
        Peer("sluice-passive", "Sluice passive", Kind.SLUICE, "sluice-balancer", sluice("passive")),
        Peer(
            "haproxy-maxconn", "HAProxy leastconn, maxconn = workers", Kind.AUTOMATIC, "haproxy",
            haproxy("haproxy-maxconn.cfg"),
        ),
        Peer(
            "haproxy-unlimited", "HAProxy leastconn, no limit", Kind.AUTOMATIC, "haproxy",
            haproxy("haproxy-unlimited.cfg"),
        ),
        Peer("nginx", "nginx least_conn", Kind.AUTOMATIC, "nginx", nginx),
        Peer("envoy", "Envoy least request", Kind.AUTOMATIC, "envoy", envoy),
        Peer(
            "haproxy-split", "HAProxy, expert's split by path", Kind.SPLIT, "haproxy",
            haproxy("haproxy-split.cfg"),
        ),
        Peer(
            "haproxy-by-hand", "HAProxy, slow one taken out by hand", Kind.BY_HAND, "haproxy",
            haproxy("haproxy-maxconn.cfg", only=lambda instance: not instance.spec.slow),
        ),
    )
}
