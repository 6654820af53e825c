#!/usr/bin/env python3
"""Runs commands that mostly wait side by side: `at_once.py COMMAND...`, each of them in one word, as for a shell.

What a command prints is shown whole when it has ended. All are run to their end; what those that failed have printed comes last, and the
exit code is 1 then.
"""

import shlex
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

# Whoever ends this ends what it started, without its handlers being called: they are for Ctrl-C.
STARTED = []


def run(command):
    """Its exit code, what it printed, and how long it took."""
    begin = time.monotonic()
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(shlex.split(command), stdin=subprocess.DEVNULL, stdout=printed, stderr=subprocess.STDOUT)
        STARTED.append(process)
        code = process.wait()
        printed.seek(0)
        return code, printed.read().decode(errors="replace"), time.monotonic() - begin


def show(command, code, printed, seconds):
    how = "done" if code == 0 else f"FAILED with {code}"
    print(f"=== {command}: {how} after {seconds:.0f} s\n{printed.rstrip()}", flush=True)


def stop(*_):
    for process in STARTED:
        if process.poll() is None:
            process.terminate()
    sys.exit(1)


def main(commands):
    signal.signal(signal.SIGTERM, stop)
    failed = []
    with ThreadPoolExecutor(max(len(commands), 1)) as pool:
        running = {pool.submit(run, command): command for command in commands}
        for done in as_completed(running):
            command, outcome = running[done], done.result()
            if outcome[0] == 0:
                show(command, *outcome)
            else:
                failed.append((command, *outcome))
                print(f"=== {command}: FAILED, see below", flush=True)
    for one in failed:
        show(*one)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
