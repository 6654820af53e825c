#!/usr/bin/env python3
"""The Debian packages: installed on this machine, their services started by their units' command lines, upgraded, purged.

Needs root and dpkg; says so and ends with 0 where that is not so. Needs tests/packages/setup and deploy/debian/build
to have been run. Nothing is left behind: neither file nor user nor group.
"""

import configparser
import grp
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from ports import free_port  # noqa: E402

UNITS = Path("/usr/lib/systemd/system")
NAMES = ("sluice-balancer", "sluice-agent")
LEFT_BEHIND = ("/etc/sluice", "/var/lib/sluice-balancer", "/var/log/sluice-balancer", "/var/cache/sluice-agent")
PATIENCE = 60.0  # seconds


def say(what):
    print(f"ok: {what}", flush=True)


def command(*arguments):
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(map(str, arguments))}: {done.stdout}{done.stderr}"
    return done.stdout


def packages(version):
    """The two packages' files, built from the binaries that are there."""
    directory = Path(tempfile.mkdtemp(prefix="sluice-packages-"))
    command(ROOT / "deploy/debian/build", "--deb-version", version, "--fast", "--output", directory)
    found = sorted(directory.glob("*.deb"))
    assert len(found) == len(NAMES), found
    return found


def dpkg(*arguments):
    # Services are not started by the package manager where there is no service manager.
    return command("dpkg", *arguments)


def unit(name):
    """A unit's section [Service]. Keys may come more than once: the last one of each is kept."""
    text = (UNITS / name).read_text()
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read_string(text)
    return parser["Service"]


class Service:
    """A program started as its unit says: that command line, as that user, told to say when it is ready."""

    def __init__(self, name, instance=""):
        self.name = name
        section = unit(name)
        line = section["ExecStart"].replace("%i", instance)
        self.user = section["User"]
        self.directory = Path(tempfile.mkdtemp(prefix="sluice-notify-"))
        self.directory.chmod(0o777)
        path = self.directory / "notify"
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(path))
        path.chmod(0o777)
        self.notify.settimeout(PATIENCE)
        environment = {"PATH": os.environ["PATH"], "NOTIFY_SOCKET": str(path)}
        self.check(section["ExecStartPre"].replace("%i", instance))
        self.process = subprocess.Popen(shlex.split(line), user=self.user, group=self.user, extra_groups=["sluice"], env=environment)

    def check(self, line):
        done = subprocess.run(shlex.split(line), user=self.user, group=self.user, extra_groups=["sluice"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def until_ready(self):
        while b"READY=1" not in self.notify.recv(4096):
            pass

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        assert code == 0, f"{self.name} ended with {code}"
        self.notify.close()
        shutil.rmtree(self.directory)


class Application:
    """What the agent stands beside."""

    def __init__(self, port):
        code = f"""
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", {port}), Handler).serve_forever()
"""
        self.process = subprocess.Popen([sys.executable, "-c", code])

    def stop(self):
        self.process.kill()
        self.process.wait()


def fetch(url):
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        return answer.status, answer.read()


def eventually(what, attempt):
    end = time.monotonic() + PATIENCE
    while True:
        try:
            if attempt():
                return
        except OSError:
            pass
        assert time.monotonic() < end, f"not within {PATIENCE} s: {what}"
        time.sleep(0.05)


def installed(files):
    dpkg("--install", *files)
    for name in NAMES:
        version = command(f"/usr/bin/{name}", "--version")
        assert version.startswith(name), version
        pwd.getpwnam(name)
        page = command("man", "--locale=C", name)
        assert "SYNOPSIS" in page, page[:200]
        assert name in (Path("/usr/share/bash-completion/completions") / name).read_text()
    say("both are installed, with users, manual pages and completions")


def units_are_sound():
    for name in ("sluice-balancer.service", "sluice-balancer.socket", "sluice-agent@zope.service"):
        source = name.replace("@zope", "@")
        with tempfile.TemporaryDirectory() as directory:
            copy = Path(directory) / name
            copy.write_text((UNITS / source).read_text())
            done = subprocess.run(["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True)
            complaints = [line for line in done.stderr.splitlines() if "sluice" in line]
            assert not complaints, complaints
    exposure = command("systemd-analyze", "security", "--offline=yes", "--threshold=25", UNITS / "sluice-balancer.service")
    assert "Overall exposure" in exposure, exposure
    say("systemd finds nothing wrong with the units, and their exposure is low")


def configure(data, admin, agent, agent_admin, app):
    balancer = Path("/etc/sluice/balancer.toml")
    text = balancer.read_text().replace("127.0.0.1:8080", f"127.0.0.1:{data}").replace("127.0.0.1:9900", f"127.0.0.1:{admin}")
    balancer.write_text(text)
    example = Path("/usr/share/doc/sluice-agent/examples/agent.toml").read_text()
    for old, new in ((9900, admin), (8001, app), (8101, agent), (9901, agent_admin)):
        example = example.replace(f"127.0.0.1:{old}", f"127.0.0.1:{new}")
    Path("/etc/sluice/agents/zope.toml").write_text(example)


def services_serve():
    data, admin, agent, agent_admin, app = (free_port() for _ in range(5))
    configure(data, admin, agent, agent_admin, app)
    # As StateDirectory=, LogsDirectory= and CacheDirectory= do.
    for path in ("/var/lib/sluice-balancer", "/var/log/sluice-balancer", "/var/cache/sluice-agent/zope"):
        user = path.split("/")[3]
        os.makedirs(path, exist_ok=True)
        shutil.chown(path, user, user)
    running = [Application(app)]
    try:
        running.append(Service("sluice-balancer.service"))
        running[-1].until_ready()
        running.append(Service("sluice-agent@.service", "zope"))
        running[-1].until_ready()
        eventually("a page comes through both", lambda: fetch(f"http://127.0.0.1:{data}/") == (200, b"hello"))
        assert fetch(f"http://127.0.0.1:{admin}/readyz")[0] == 200
        assert b"sluice_" in fetch(f"http://127.0.0.1:{agent_admin}/metrics")[1]
    finally:
        for each in reversed(running):
            each.stop()
    assert any(Path("/var/lib/sluice-balancer").iterdir()), "what was learned is kept"
    say("both services start by their units' command lines, as their users, serve and stop")


def upgraded(files):
    kept = Path("/etc/sluice/balancer.toml").read_text()
    dpkg("--install", *files)
    assert Path("/etc/sluice/balancer.toml").read_text() == kept, "an edited configuration survives"
    assert Path("/etc/sluice/agents/zope.toml").exists()
    say("an upgrade keeps what the operator wrote")


def purged():
    dpkg("--remove", *NAMES)
    assert Path("/etc/sluice/balancer.toml").exists(), "removing is not purging"
    dpkg("--purge", *NAMES)
    left = [path for path in LEFT_BEHIND if Path(path).exists()]
    left += [str(path) for path in Path("/usr").glob("*/*/*sluice*")] + [str(path) for path in UNITS.glob("*sluice*")]
    left += [entry.pw_name for entry in pwd.getpwall() if "sluice" in entry.pw_name]
    left += [entry.gr_name for entry in grp.getgrall() if "sluice" in entry.gr_name]
    assert not left, f"purging left {left}"
    say("purging leaves nothing")


def main():
    if os.geteuid() != 0 or not shutil.which("dpkg"):
        print("skipped: installing packages needs root and dpkg")
        return
    assert not any(Path(f"/usr/bin/{name}").exists() for name in NAMES), "Sluice is installed on this machine already"
    first, second = packages("0.1.0-1"), packages("0.1.0-2")
    try:
        installed(first)
        units_are_sound()
        services_serve()
        upgraded(second)
        purged()
    finally:
        subprocess.run(["dpkg", "--purge", *NAMES], capture_output=True)
        for files in (first, second):
            shutil.rmtree(files[0].parent)


if __name__ == "__main__":
    main()
