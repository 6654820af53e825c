"""A running `sluice-balancer demo` on free ports, and what else the tests of what people watch start."""

import contextlib
import re
import subprocess
import threading

from run import DEADLINE, PROGRAMS, eventually, status


class Demo:
    """The demo's process and its addresses, as it prints them."""

    def __init__(self, log):
        command = [PROGRAMS / "sluice-balancer", "demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        self.site, self.admin, self.agents = None, None, []
        self.addresses()
        # Whatever else it prints must not fill the pipe.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def addresses(self):
        for line in self.process.stdout:
            if found := re.match(r"\s+site\s+http://([\d.:]+)/", line):
                self.site = found.group(1)
            if found := re.match(r"\s+dashboard\s+http://([\d.:]+)/", line):
                self.admin = found.group(1)
            if found := re.match(r"\s+agent\s+http://([\d.:]+)/", line):
                self.agents.append(found.group(1))
            if len(self.agents) == 4:
                return
        raise AssertionError("the demo ended before it said where everything is")


@contextlib.contextmanager
def running_demo(log):
    demo = Demo(log)
    try:
        eventually("the demo is ready", lambda: status(f"http://{demo.admin}/readyz")[0] == 200)
        yield demo
    finally:
        # How it stops is not what is tested, and a drain takes its time.
        demo.process.kill()
        demo.process.wait()


@contextlib.contextmanager
def running(command, log, **more):
    """Any program, ended with the block."""
    process = subprocess.Popen(command, stdout=log, stderr=log, **more)
    try:
        yield process
    finally:
        process.terminate()
        stop(process)


def stop(process):
    try:
        process.wait(timeout=DEADLINE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
