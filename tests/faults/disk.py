"""A file system of 1 MiB, in memory, that can be full."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from findings import Skipped


@contextlib.contextmanager
def small_disk(at: Path) -> Iterator[Path]:
    """Mounts it; skips the scenario where that is not permitted."""
    at.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "sluice-faults", str(at)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        raise Skipped(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield at
    finally:
        # Lazily: a program may still have a file of it open.
        subprocess.run(["umount", "-l", str(at)], capture_output=True, check=False)


def fill(disk: Path) -> Path:
    """Takes all that is left; the file to delete to make room again."""
    hog = disk / "hog"
    with hog.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(os.urandom(4096))
    return hog
