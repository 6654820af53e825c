"""Every scenario, in the order of the table."""

from registry import SCENARIOS, Scenario

from . import processes_fail, instances_misbehave, reports_lie, networks_fail, resources_run_out, change_under_way  # noqa: F401, I001

__all__ = ["SCENARIOS", "Scenario"]
