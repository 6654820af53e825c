"""What is compared as one hop: each program in front of the same origin, with one thread that carries requests."""

import os
import pwd
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import machine
from processes import Processes, Started
from render import render_file
from sites import routed, write

# More than any client has connections: nothing waits for a worker.
WORKERS = "4000"
PAGE = "/page/1"
PAGE_BYTES = 1024
# The size of an image that `./check bench` sends too.
BLOB = "/files/blob"
BLOB_BYTES = 2_613_064
# Longer than what sockets between two programs can hold.
LARGE = "/files/large"
LARGE_BYTES = 100_000_000


@dataclass(frozen=True)
class Origin:
    port: int
    certificate: Path

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Running:
    """A hop at work: its ports, and the programs that it is made of. Without a TLS port it is the origin itself."""

    clear: int
    tls: int | None
    programs: list[Started]


@dataclass(frozen=True)
class Hop:
    """`program`: what must be installed."""

    name: str
    title: str
    program: str
    start: Callable[[Processes, Path, Origin], Running]


def start_origin(running: Processes) -> Origin:
    files = running.directory / "files"
    files.mkdir()
    for name, length in ((BLOB, BLOB_BYTES), (LARGE, LARGE_BYTES)):
        with (files / Path(name).name).open("wb") as file:
            file.truncate(length)
    port = running.free_port()
    values = {"origin": f"127.0.0.1:{port}", "page": "x" * PAGE_BYTES, **own_directory(running)}
    start_nginx(running, "origin", machine.find("nginx") or Path("nginx"), "hop-origin.conf", values, [port])
    # Workers of nginx may be another user, who must be able to read the files.
    running.directory.chmod(0o755)
    return Origin(port, make_certificate(running.directory))


def make_certificate(directory: Path) -> Path:
    """Certificate and key in one file, as HAProxy wants them; the others take it for both."""
    key, certificate, both = (directory / name for name in ("key.pem", "certificate.pem", "both.pem"))
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command = ["openssl", "req", "-x509", *curve, "-subj", "/CN=localhost", "-days", "2"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    both.write_text(certificate.read_text() + key.read_text())
    return both


def own_directory(running: Processes) -> dict[str, object]:
    # Workers must be able to write into our directory; only root may say who they are.
    user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
    return {"directory": running.directory, "user": user}


def fronts(running: Processes, origin: Origin) -> tuple[list[int], dict[str, object]]:
    """Two free ports, and what templates say of them and of the origin."""
    clear, tls = running.free_port(), running.free_port()
    values: dict[str, object] = {
        "front": f"127.0.0.1:{clear}", "front_port": clear, "front_tls": f"127.0.0.1:{tls}", "front_tls_port": tls,
        "origin": origin.address, "origin_port": origin.port, "certificate": origin.certificate,
    }
    return [clear, tls], values


def direct(_: Processes, __: Path, origin: Origin) -> Running:
    """No hop at all."""
    return Running(origin.port, None, [])


def haproxy(option: str) -> Callable[[Processes, Path, Origin], Running]:
    def start(running: Processes, program: Path, origin: Origin) -> Running:
        ports, values = fronts(running, origin)
        command = [str(program)]
        for name in ("haproxy.cfg", "hop-haproxy.cfg"):
            text = render_file(name, {**values, "option": option}, {})
            command += ["-f", write(running, name, text)]
        return Running(ports[0], ports[1], [running.start("haproxy", command, ports)])

    return start


def start_nginx(
    running: Processes, name: str, program: Path, template: str, values: dict[str, object], ports: list[int]
) -> Started:
    log = str(running.directory / f"{name}-error.log")
    file = write(running, template, render_file(template, values, {}))
    return running.start(name, [str(program), "-e", log, "-c", file], ports)


def nginx(running: Processes, program: Path, origin: Origin) -> Running:
    ports, values = fronts(running, origin)
    values |= own_directory(running)
    return Running(*ports, [start_nginx(running, "nginx", program, "hop-nginx.conf", values, ports)])


def envoy(running: Processes, program: Path, origin: Origin) -> Running:
    ports, values = fronts(running, origin)
    file = write(running, "hop-envoy.yaml", render_file("hop-envoy.yaml", values, {}))
    command = [str(program), "-c", file, "--concurrency", "1", "--disable-hot-restart", "--log-level", "warn"]
    return Running(ports[0], ports[1], [running.start("envoy", command, ports)])


def balancer(running: Processes, program: Path, origin: Origin, instances: list[str]) -> tuple[Running, int]:
    """The balancer as it comes, but for one thread; and the port where agents report."""
    ports, _ = fronts(running, origin)
    admin = running.free_port()
    command = [
        str(program), "--threads", "1", "--admin", f"127.0.0.1:{admin}", "--listen", f"127.0.0.1:{ports[0]}",
        "--listen", f"127.0.0.1:{ports[1]},tls={origin.certificate}:{origin.certificate}", *instances,
    ]
    started = running.start("balancer", command, [*ports, admin])
    return Running(ports[0], ports[1], [started]), admin


def sluice(running: Processes, program: Path, origin: Origin) -> Running:
    instance = ["--instance", f"{origin.address},workers={WORKERS}"]
    return balancer(running, program, origin, instance)[0]


def sluice_with_agent(running: Processes, program: Path, origin: Origin) -> Running:
    front, reports = balancer(running, program, origin, [])
    listen, admin = running.free_port(), running.free_port()
    command = [
        str(machine.PROGRAMS / "sluice-agent"), "--threads", "1", "--balancer", f"http://127.0.0.1:{reports}",
        "--instance", origin.address, "--listen", f"127.0.0.1:{listen}", "--admin", f"127.0.0.1:{admin}",
        "--workers", WORKERS, "--release", "end",
    ]
    agent = running.start("agent", command, [listen, admin])
    running.until("the agent's instance gets requests", lambda: routed(reports) == 1)
    return Running(front.clear, front.tls, [*front.programs, agent])


HOPS = {
    hop.name: hop
    for hop in (
        Hop("direct", "no hop", "nginx", direct),
        Hop("sluice", "Sluice balancer", "sluice-balancer", sluice),
        Hop("sluice-agent", "Sluice balancer and agent", "sluice-balancer", sluice_with_agent),
        Hop("haproxy", "HAProxy", "haproxy", haproxy("")),
        Hop("haproxy-splice", "HAProxy, option splice-response", "haproxy", haproxy("option splice-response")),
        Hop("nginx", "nginx", "nginx", nginx),
        Hop("envoy", "Envoy", "envoy", envoy),
    )
}


def program_of(hop: Hop) -> Path | None:
    """None: not installed, or not built."""
    own = machine.PROGRAMS / hop.program
    if hop.program.startswith("sluice-"):
        return own if own.exists() else None
    return machine.find(hop.program)
