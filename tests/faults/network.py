"""A network namespace for one instance and its agent, joined to the balancer by a pair of virtual interfaces."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from findings import Skipped

PREFIX = "slf"
PATHS = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class Namespace:
    """`near`: the balancer's address on the link, `far`: the agent's."""

    def __init__(self, index: int) -> None:
        # Of this process and index: several runs, and several scenarios of one, have links of their own.
        number = (os.getpid() * 4 + index) % (64 * 256)
        net = f"10.{192 + number // 256}.{number % 256}"
        self.name = f"{PREFIX}{os.getpid()}n{index}"
        self.near_end, self.far_end = f"{self.name}a"[-15:], f"{self.name}b"[-15:]
        self.near, self.far = f"{net}.1", f"{net}.2"

    def wrap(self) -> tuple[str, ...]:
        """Put before a command, it runs over there."""
        return (program("ip"), "netns", "exec", self.name)

    def inside(self, *command: str) -> None:
        tool(*self.wrap(), program(command[0]), *command[1:])

    def drop(self, *which: str) -> None:
        """What fits these words of iptables is lost, from now on and in both directions."""
        for chain in ("INPUT", "OUTPUT"):
            self.inside("iptables", "-w", "-A", chain, "-i" if chain == "INPUT" else "-o", self.far_end, *which, "-j", "DROP")

    def drop_none(self) -> None:
        self.inside("iptables", "-w", "-F")


_used = iter(range(1_000_000))


@contextlib.contextmanager
def namespace() -> Iterator[Namespace]:
    """Makes one; skips the scenario where that is not permitted."""
    space = Namespace(next(_used))
    try:
        make(space)
        yield space
    except subprocess.CalledProcessError as error:
        raise Skipped(f"networks can not be made here: {error.stderr.strip() or error}") from error
    finally:
        with contextlib.suppress(subprocess.CalledProcessError, Skipped):
            # The pair goes with the namespace, once nothing runs there any more.
            tool(program("ip"), "link", "del", space.near_end)
        with contextlib.suppress(subprocess.CalledProcessError, Skipped):
            tool(program("ip"), "netns", "del", space.name)


def make(space: Namespace) -> None:
    ip = program("ip")
    tool(ip, "netns", "add", space.name)
    tool(ip, "link", "add", space.near_end, "type", "veth", "peer", "name", space.far_end, "netns", space.name)
    tool(ip, "address", "add", f"{space.near}/30", "dev", space.near_end)
    tool(ip, "link", "set", space.near_end, "up")
    space.inside("ip", "address", "add", f"{space.far}/30", "dev", space.far_end)
    space.inside("ip", "link", "set", space.far_end, "up")
    space.inside("ip", "link", "set", "lo", "up")
    space.inside("iptables", "-w", "-L", "-n")


def program(name: str) -> str:
    found = shutil.which(name, path=PATHS)
    if found is None:
        raise Skipped(f"{name} is not installed (tests/faults/setup)")
    return str(Path(found))


def tool(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
