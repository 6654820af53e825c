"""What a scenario promises, beside what was measured."""

from dataclasses import dataclass, field


class Skipped(Exception):
    """This machine does not permit the scenario; the text says what is missing."""


@dataclass(frozen=True)
class Figure:
    """`timed`: it depends on how busy the machine is, and is only judged in long form. `routine`: every scenario has it."""

    what: str
    bar: str
    measured: float
    passed: bool
    timed: bool = False
    routine: bool = False


@dataclass
class Findings:
    """Collects the figures of one scenario."""

    figures: list[Figure] = field(default_factory=list)

    def at_most(
        self, what: str, measured: float, bar: float, *, timed: bool = False, routine: bool = False
    ) -> None:
        self.figures.append(Figure(what, f"<= {bar:g}", measured, measured <= bar, timed, routine))

    def at_least(self, what: str, measured: float, bar: float, *, timed: bool = False) -> None:
        self.figures.append(Figure(what, f">= {bar:g}", measured, measured >= bar, timed))

    def true(self, what: str, holds: bool) -> None:
        self.figures.append(Figure(what, "yes", float(holds), holds))

    def note(self, what: str, measured: float) -> None:
        """A figure that is told and not judged."""
        self.figures.append(Figure(what, "-", measured, True))

    def missed(self, *, long: bool) -> list[Figure]:
        return [figure for figure in self.figures if not figure.passed and (long or not figure.timed)]
