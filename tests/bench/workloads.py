"""What is run: the emulation's named workloads, and all-small at several loads."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The rows of the table, in its order. all-small comes once per load.
NAMES = ("blobs-slow-clients", "exports", "bursts", "appears", "slow-instance", "caches", "all-small")
ALL_SMALL = "all-small"
SMALL_CLASS = "page"
# A balancer has 10 s to learn what appears.
LEARN_S = 10.0


@dataclass(frozen=True)
class InstanceSpec:
    """One emulated instance, as the workload wants it."""

    workers: int
    release: str
    speed: float
    cache: int | None

    @property
    def slow(self) -> bool:
        return self.speed < 1.0


@dataclass(frozen=True)
class Workload:
    """`json` is what sluice-load reads."""

    name: str
    json: dict[str, Any]
    instances: tuple[InstanceSpec, ...]

    @property
    def base(self) -> str:
        """The name without the load: `all-small` of `all-small 85 %`."""
        return self.name.split(" ")[0]

    @property
    def secs(self) -> float:
        return float(self.json["secs"])

    @property
    def class_names(self) -> list[str]:
        return [load["name"] for load in self.json["classes"]]

    @property
    def large_paths(self) -> list[str]:
        """Path prefixes of the large classes: what an expert would write into a rule."""
        large = [load for load in self.json["classes"] if load["name"] != SMALL_CLASS]
        return [load["path"]["template"].split("{")[0] for load in large]

    @property
    def appears_s(self) -> float | None:
        """When a class appears that was not there before; None: none does, or the run ends first."""
        windows = [load["rate"]["window"]["from_s"] for load in self.json["classes"] if "window" in load["rate"]]
        starts = [start for start in windows if 0 < start < self.secs]
        return min(starts) if starts else None

    @property
    def has_slow_instance(self) -> bool:
        return any(spec.slow for spec in self.instances)


def describe(load_program: Path, name: str, secs: float | None) -> Workload:
    """A named workload, as the emulation has it."""
    length = [] if secs is None else ["--secs", str(secs)]
    command = [str(load_program), "--workload", name, "--describe", *length]
    described = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    instances = tuple(InstanceSpec(**instance) for instance in described["instances"])
    return Workload(name, described["workload"], instances)


def at_load(workload: Workload, percent: float) -> Workload:
    """The same with all constant rates changed, so that it offers that part of what the instances can do."""
    capacity = sum(spec.workers * spec.speed for spec in workload.instances)
    loads = workload.json["classes"]
    offered = sum(load["rate"]["constant"] * mean(load["work_ms"]) / 1e3 for load in loads)
    factor = percent / 100 * capacity / offered
    classes = [{**load, "rate": {"constant": load["rate"]["constant"] * factor}} for load in loads]
    return Workload(f"{workload.name} {percent:g} %", {**workload.json, "classes": classes}, workload.instances)


def mean(dist: dict[str, Any]) -> float:
    """Of the distributions that all-small may use."""
    return float(dist["constant"] if "constant" in dist else next(iter(dist.values()))["mean"])
