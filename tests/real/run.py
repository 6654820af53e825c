#!/usr/bin/env python3
"""Sluice in front of real application servers: gunicorn (sync, 1 worker) and waitress.

Without arguments: a test. Everything arrives, whole, also files that are only named (X-Sendfile), and failures are
told as promised; the metrics of both programs are valid for Prometheus. With --bench: transfer rates through Sluice against
direct ones, alternating in the same run, medians; exit code 1 if the ratio is below --bar.

Needs tests/real/setup to have been run, and release binaries (cargo build --release).
"""

import argparse
import concurrent.futures
import contextlib
import http.client
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from ports import free_port  # noqa: E402

VENV = ROOT / "target" / "real-venv" / "bin"
PROGRAMS = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
REQUESTS, CONCURRENCY, IMAGE_BYTES = 200, 20, 2_613_064
DEADLINE = 20.0  # seconds for anything that is awaited


def eventually(what, check):
    """Polls `check` until it is true; fails after DEADLINE."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if check():
            return
        time.sleep(0.02)
    raise AssertionError(f"not within {DEADLINE} s: {what}")


# Whatever proxy the environment names: these requests stay on this machine.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def status(url):
    """Status and body of a GET; status 0 if there is no whole answer."""
    try:
        with OPENER.open(url, timeout=DEADLINE) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except (OSError, http.client.HTTPException):
        return 0, b""


def stop(process):
    """Asks it to stop; its exit code. One that does not is killed, and that is an error."""
    process.terminate()
    try:
        return process.wait(timeout=DEADLINE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


class Site:
    """An application server, its agent and a balancer, as processes on free ports."""

    def __init__(self, server, directory):
        self.server, self.directory = server, directory
        self.agent = PROGRAMS / "sluice-agent"
        self.ports = {name: free_port() for name in ("app", "agent", "agent_admin", "site", "admin")}
        self.processes = {}

    def url(self, name, path=""):
        return f"http://127.0.0.1:{self.ports[name]}{path}"

    def start(self, name, *command, user=None):
        log = open(self.directory / f"{self.server}-{name}.log", "ab")
        # The caller's own SLUICE_... variables would change what is tested.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SLUICE_")}
        environment["SLUICE_REAL_DIR"] = str(self.directory)
        here = Path(__file__).parent
        with log:
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log, cwd=here, env=environment, user=user)

    def start_app(self):
        address = f"127.0.0.1:{self.ports['app']}"
        if self.server == "gunicorn":
            self.start("app", VENV / "gunicorn", "--bind", address, "--workers", "1", "app:application")
        else:
            # It drops X-Forwarded-For unless it is told whom to trust.
            trust = ("--trusted-proxy=127.0.0.1", "--trusted-proxy-headers=x-forwarded-for")
            self.start("app", VENV / "waitress-serve", f"--listen={address}", "--threads=1", *trust, "app:application")
        eventually("the application answers", lambda: status(self.url("app", "/"))[0] == 200)

    def start_all(self, agent_user=None):
        self.start_app()
        address = {name: f"127.0.0.1:{port}" for name, port in self.ports.items()}
        self.start("balancer", PROGRAMS / "sluice-balancer", "--listen", address["site"], "--admin", address["admin"])
        self.start(
            "agent", self.agent,
            "--balancer", self.url("admin"), "--instance", address["app"],
            "--listen", address["agent"], "--admin", address["agent_admin"],
            "--xsendfile-root", self.directory,
            user=agent_user,
        )
        eventually("the balancer is ready", lambda: status(self.url("admin", "/readyz"))[0] == 200)

    def stop(self, name):
        return stop(self.processes.pop(name))

    def kill_app(self):
        """kill -9, of gunicorn's worker as well: it would serve on for a while without its master."""
        process = self.processes.pop("app")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for pid in (process.pid, *map(int, children)):
            os.kill(pid, signal.SIGKILL)
        process.wait()

    def stop_all(self):
        for name in ("agent", "balancer", "app"):
            with contextlib.suppress(subprocess.TimeoutExpired):
                if name in self.processes:
                    self.stop(name)

    def cpu_seconds(self, name):
        fields = Path(f"/proc/{self.processes[name].pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def site(server, directory, agent_user=None):
    running = Site(server, directory)
    if agent_user is not None:
        # Where it is built, somebody else may not look.
        running.agent = shutil.copy(running.agent, directory / "sluice-agent")
    try:
        running.start_all(agent_user)
        yield running
    finally:
        running.stop_all()


def ab(url):
    """Loads `url` with ab; its figures, after checking that all of it arrived."""
    command = ["ab", "-q", "-n", str(REQUESTS), "-c", str(CONCURRENCY), url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    figure = lambda name: float(re.search(rf"^{name}:\s+([\d.]+)", text, re.M).group(1))
    assert figure("Complete requests") == REQUESTS, text
    assert figure("Failed requests") == 0, text
    assert "Non-2xx" not in text, text
    assert figure("HTML transferred") == REQUESTS * IMAGE_BYTES, text
    return figure("Transfer rate") * 1024 / 1e6  # MB/s


def check_metrics(url):
    _, page = status(url)
    checked = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test(server, directory):
    with site(server, directory) as running:
        with concurrent.futures.ThreadPoolExecutor() as load:
            images = load.submit(ab, running.url("site", "/image.jpg"))
            while True:  # under load, and once more after it
                over = images.done()
                check_metrics(running.url("admin", "/metrics"))
                check_metrics(running.url("agent_admin", "/metrics"))
                if over:
                    break
            images.result()
        check_named_files(running)
        running.kill_app()
        code, line = status(running.url("site", "/"))
        assert code in (502, 503) and line.count(b"\n") == 1, (code, line)
        running.start_app()
        eventually("the site is back", lambda: status(running.url("site", "/"))[0] == 200)
        assert running.stop("agent") == 0, "the agent leaves in order"
        assert running.stop("balancer") == 0, "the balancer stops in order"
    print(f"{server}: {REQUESTS} complete, 0 failed, {REQUESTS * IMAGE_BYTES} bytes; told its failure and came back")


def fetch(url, method="GET", **fields):
    """Status, fields and body."""
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    try:
        with OPENER.open(urllib.request.Request(url, method=method, headers=headers), timeout=DEADLINE) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def check_named_files(running):
    """What the application only names is sent by the agent, as a file server sends it."""
    image = (running.directory / "image.jpg").read_bytes()
    url = running.url("site", "/offload/image.jpg")
    code, fields, body = fetch(url)
    assert (code, body == image, fields["Content-Length"]) == (200, True, str(IMAGE_BYTES)), (code, fields)
    assert fields["Content-Type"] == "image/jpeg" and "image.jpg" in fields["Content-Disposition"], fields
    assert not any(name.lower().startswith(("x-sendfile", "x-accel")) for name in fields), fields
    code, part, body = fetch(url, Range="bytes=1000-1999", If_Range=fields["ETag"])
    assert (code, body) == (206, image[1000:2000]), (code, part)
    assert part["Content-Range"] == f"bytes 1000-1999/{IMAGE_BYTES}", part
    assert fetch(url, If_None_Match=fields["ETag"])[0] == 304
    code, fields, body = fetch(url, method="HEAD")
    assert (code, fields["Content-Length"], body) == (200, str(IMAGE_BYTES), b""), (code, fields)
    assert fetch(running.url("site", "/offload/none.jpg"))[0] == 404
    # A client can not make the application name files in a way of its own.
    assert fetch(url, X_Sendfile_Type="X-Accel-Redirect")[2] == image


def test_permissions(directory):
    """What the application may read and the agent may not is an error, without a word about where it is."""
    directory.chmod(0o755)
    blobs = directory / "blobs"
    blobs.mkdir()
    (blobs / "a").write_bytes(b"blob")
    # As root nothing is forbidden.
    with site("gunicorn", directory, agent_user=65534 if os.geteuid() == 0 else None) as running:
        url = running.url("site", "/offload/blobs/a")
        assert fetch(url)[::2] == (200, b"blob")
        for revoked, mode in ((blobs / "a", 0o644), (blobs, 0o755)):
            revoked.chmod(0)
            code, _, body = fetch(url)
            assert code == 500 and b"blobs" not in body, (code, body)
            revoked.chmod(mode)
            assert fetch(url)[::2] == (200, b"blob")
        metrics = fetch(running.url("agent_admin", "/metrics"))[2].decode()
        assert 'sluice_agent_file_refusals_total{reason="forbidden"} 2' in metrics, metrics
    print("permissions: revoked twice, refused twice, and served again")


def bench(server, directory, rounds):
    """Rates in MB/s and CPU seconds per GB, as medians of alternating rounds."""
    with site(server, directory) as running:
        rows = []
        for _ in range(rounds):
            direct = ab(running.url("app", "/image.jpg"))
            before = [running.cpu_seconds(name) for name in ("balancer", "agent")]
            through = ab(running.url("site", "/image.jpg"))
            used = [running.cpu_seconds(name) - b for name, b in zip(("balancer", "agent"), before)]
            gigabytes = REQUESTS * IMAGE_BYTES / 1e9
            rows.append((direct, through, through / direct, *(seconds / gigabytes for seconds in used)))
    return [statistics.median(column) for column in zip(*rows)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", action="store_true", help="measure instead of testing")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bar", type=float, default=0.95, help="lowest ratio that passes")
    options = parser.parse_args()
    servers = ("gunicorn", "waitress")
    with tempfile.TemporaryDirectory(prefix="sluice-real-") as name:
        directory = Path(name)
        (directory / "image.jpg").write_bytes(os.urandom(IMAGE_BYTES))
        # What was written just now could be written again within the same tick: its ETag would be weak.
        an_hour_ago = time.time() - 3600
        os.utime(directory / "image.jpg", (an_hour_ago, an_hour_ago))
        if not options.bench:
            for server in servers:
                test(server, directory)
            test_permissions(directory)
            print(f"{len(servers) + 1} passed, 0 failed")
            return 0
        print("| server | direct MB/s | through Sluice MB/s | ratio | balancer CPU s/GB | agent CPU s/GB |")
        print("|---|---|---|---|---|---|")
        ratios = []
        for server in servers:
            direct, through, ratio, balancer, agent = bench(server, directory, options.rounds)
            print(f"| {server} | {direct:.0f} | {through:.0f} | {ratio:.2f} | {balancer:.2f} | {agent:.2f} |")
            ratios.append(ratio)
        return 0 if min(ratios) >= options.bar else 1


if __name__ == "__main__":
    sys.exit(main())
