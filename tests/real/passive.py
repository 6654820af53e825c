#!/usr/bin/env python3
"""Passive agents beside real servers: what the balancer sees itself is what the agent reads in the access log.

gunicorn, its log rotated by renaming and SIGUSR1; waitress with Zope's logger, its log truncated; nginx in front of
waitress, its log rotated by renaming and SIGUSR1. Run by ./check real, after tests/real/run.py.
"""

import json
import os
import re
import signal
import sys
import tempfile
from pathlib import Path

from run import IMAGE_BYTES, PROGRAMS, VENV, Site, eventually, status

PAGES = 40
GUNICORN = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s" %({content-length}o)s %(D)s'
NGINX = '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" $upstream_response_time'


class Passive(Site):
    """An application server, a passive agent that follows its log, and a balancer."""

    def __init__(self, server, directory):
        super().__init__(server, directory)
        self.log = directory / f"{server}-access.log"

    def start_app(self):
        address = f"127.0.0.1:{self.ports['app']}"
        waitress = (VENV / "waitress-serve", "--threads=1")
        if self.server == "gunicorn":
            log = ("--access-logfile", self.log, "--access-logformat", GUNICORN)
            self.start("app", VENV / "gunicorn", "--bind", address, "--workers", "1", *log, "app:application")
        elif self.server == "waitress":
            self.start("app", *waitress, f"--listen={address}", "app:logged")
        else:
            self.start("behind", *waitress, f"--listen=127.0.0.1:{self.ports['agent']}", "app:application")
            self.start("app", "nginx", "-p", self.directory, "-c", self.nginx_conf(address), "-e", "stderr")
        eventually("the application answers", lambda: status(self.url("app", "/"))[0] == 200)

    def nginx_conf(self, address):
        file = self.directory / "nginx.conf"
        # The master keeps this process' rights; workers must reach the log in a private directory.
        user = "user root;" if os.geteuid() == 0 else ""
        temp = " ".join(f"{kind}_temp_path {kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        file.write_text(
            f"daemon off; {user} worker_processes 1; pid {self.directory}/nginx.pid; events {{}}"
            f" http {{ {temp} log_format timed '{NGINX}'; access_log {self.log} timed;"
            f" server {{ listen {address}; location / {{ proxy_pass http://127.0.0.1:{self.ports['agent']}; }} }} }}"
        )
        return file

    def start_all(self):
        self.start_app()
        address = {name: f"127.0.0.1:{port}" for name, port in self.ports.items()}
        self.start("balancer", PROGRAMS / "sluice-balancer", "--listen", address["site"], "--admin", address["admin"])
        line = {"gunicorn": GUNICORN, "waitress": "zope", "nginx": NGINX}[self.server]
        self.start(
            "agent", PROGRAMS / "sluice-agent", "--mode", "passive", "--balancer", self.url("admin"),
            "--instance", address["app"], "--admin", address["agent_admin"],
            "--access-log", self.log, "--access-log-format", line,
        )
        eventually("the balancer is ready", lambda: status(self.url("admin", "/readyz"))[0] == 200)
        eventually("the log is followed", lambda: self.instance()["measured"]["by"] == ["access-log"])
        self.taken_before = self.taken()

    def instance(self):
        return self.asked("/v1/instances")[0]

    def asked(self, path):
        return json.loads(status(self.url("admin", path))[1])

    def taken(self):
        page = status(self.url("agent_admin", "/metrics"))[1].decode()
        return int(re.search(r'^sluice_agent_log_lines_total\{outcome="taken"\} (\d+)', page, re.M).group(1))

    def rotate(self):
        if self.server == "waitress":  # copytruncate: what was read is safe
            self.log.write_bytes(b"")
            return
        self.log.rename(self.log.with_suffix(".1"))
        self.processes["app"].send_signal(signal.SIGUSR1)

    def ask(self, wanted):
        """Pages and images; waits until the agent has reported as many as the balancer has seen, `wanted`."""
        for n in range(PAGES // 2):
            for path in ("/image.jpg", f"/page/{n}"):
                assert status(self.url("site", path))[0] == 200
        def all_reported():
            self.classes = {one["class"]: one for one in self.asked("/v1/classes")}
            reported = [self.classes.get(name, {}).get("reported", {}).get("requests") for name in ("GET /image.jpg", "GET /page/{n}")]
            return all(reported) and self.taken() - self.taken_before == wanted
        eventually(f"{wanted} requests are counted and reported", all_reported)

    def stop_all(self):
        super().stop_all()
        if "behind" in self.processes:
            self.stop("behind")


def check(server, directory):
    running = Passive(server, directory)
    try:
        running.start_all()
        running.ask(PAGES)
        running.rotate()
        running.ask(2 * PAGES)
        eventually("a new log", lambda: running.log.exists() and running.log.stat().st_size > 0)
        image, page = running.classes["GET /image.jpg"], running.classes["GET /page/{n}"]
        assert image["reported"]["response_bytes"]["mean"] == IMAGE_BYTES, image["reported"]
        assert image["seen"]["response_bytes"]["mean"] == IMAGE_BYTES, image["seen"]
        held = page["reported"]["held_ms"]["p50"]
        if server == "waitress":  # translogger writes no time
            assert held is None and running.instance()["measured"]["held_us"] == "unmeasured"
        else:  # a page works for 10 ms
            assert 9 <= held <= 1000 and running.instance()["measured"]["held_us"] == "estimated", held
        assert page["reported"]["ttfb_ms"]["p50"] is None
        assert running.stop("agent") == 0, "the agent leaves in order"
    finally:
        running.stop_all()
    print(f"passive beside {server}: {2 * PAGES} requests reported over a rotation, a page holds {held} ms")


def main():
    with tempfile.TemporaryDirectory(prefix="sluice-passive-") as name:
        directory = Path(name)
        (directory / "image.jpg").write_bytes(os.urandom(IMAGE_BYTES))
        for server in ("gunicorn", "waitress", "nginx"):
            check(server, directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
