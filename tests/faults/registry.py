"""Which scenarios there are."""

from collections.abc import Callable
from dataclasses import dataclass

from running import Run


@dataclass(frozen=True)
class Scenario:
    """`off`: why it does not run unless it is named. `alone`: beside others it would be disturbed, or disturb."""

    name: str
    about: str
    run: Callable[[Run], None]
    alone: bool = False
    off: str | None = None


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    name: str, about: str, *, alone: bool = False, off: str | None = None
) -> Callable[[Callable[[Run], None]], Callable[[Run], None]]:
    def register(run: Callable[[Run], None]) -> Callable[[Run], None]:
        SCENARIOS[name] = Scenario(name, about, run, alone, off)
        return run

    return register
