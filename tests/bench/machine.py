"""What was measured, where and when: the line under every table."""

import datetime
import os
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
# Daemons are where root finds them, and Envoy in the environment that tests/bench/setup makes.
PATHS = f"{ROOT / 'target' / 'bench-venv' / 'bin'}:{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"


def find(program: str) -> Path | None:
    """A peer's program; None: it is not installed."""
    found = shutil.which(program, path=PATHS)
    return Path(found) if found else None


def version(program: Path) -> str:
    """The first number of the form 1.2 or 1.2.3 that the program says when asked for its version."""
    flag = {"haproxy": "-v", "nginx": "-v"}.get(program.name, "--version")
    said = subprocess.run([str(program), flag], capture_output=True, text=True, check=False)
    number = re.search(r"\b\d+\.\d+(?:\.\d+)*\b", said.stdout + said.stderr)
    return number[0] if number else "of unknown version"


def cores() -> int:
    return len(os.sched_getaffinity(0))


def processor() -> str:
    models = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    return models[0] if models else "unknown processor"


def kernel() -> str:
    return os.uname().release


def revision() -> str:
    """The commit that is checked out; `+` if there are changes."""
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+"]
    described = subprocess.run(git, capture_output=True, text=True, check=False)
    return described.stdout.strip() or "unknown revision"


def today() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
