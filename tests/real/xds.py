#!/usr/bin/env python3
"""A real Envoy carries the requests, and Sluice only thinks: endpoint discovery (xDS) from the balancer's plan.

Four emulated instances behind agents, Envoy before the agents, and a balancer that no request passes. Pages and exports
through Envoy, whose routes send `/export` to the subset `sluice.role: large`. The balancer must see from the agents'
reports alone that exports are large, dedicate an instance to them, and Envoy must follow: that, a drain, and a death,
each within 3 s of the balancer's plan, and without a failed request. Once more incrementally, over TLS with client
certificates left out. Run by ./check real.
"""

import json
import re
import signal
import sys
import time
import urllib.request

from fleet import ENVOY, Fleet, running
from paced import Paced
from run import DEADLINE, OPENER, PROGRAMS, ROOT, eventually, status

PAGE = ROOT / "docs" / "src" / "operate" / "envoy.md"
NAMES = "abcd"
PAGES_PER_SEC, PAGE_US = 40, 5_000
EXPORTS_PER_SEC, EXPORT_US = 1.5, 600_000
WITHIN, COUNTED = 3.0, 8.0  # seconds: from a plan to Envoy, and over which requests are counted
LEARNED = 60.0  # seconds until a plan must have followed from what agents report


def configuration(api_type, ports):
    """Envoy's, as the book has it, at our ports."""
    text = re.search(r"^<!-- file: envoy.yaml -->\n```yaml\n(.*?)^```$", PAGE.read_text(), re.S | re.M)[1]
    text = text.replace("api_type: GRPC", f"api_type: {api_type}")
    for theirs, ours in (("9905", "envoy_admin"), ("10000", "site"), ("18000", "xds")):
        assert text.count(f"port_value: {theirs}}}") == 1, f"port {theirs} of {PAGE}"
        text = text.replace(f"port_value: {theirs}}}", f"port_value: {ports[ours]}}}")
    return text


class Xds(Fleet):
    """Envoy before four agents, each beside an instance, and a balancer beside all."""

    workers = 2

    def __init__(self, directory, api_type):
        super().__init__(directory, NAMES, ["site", "envoy_admin", "balancer", "admin", "xds"])
        self.api_type = api_type
        self.dedicated = set()  # ever

    def start_balancer(self):
        self.start(
            "balancer_process", PROGRAMS / "sluice-balancer", "--listen", self.address("balancer"),
            "--admin", self.address("admin"), "--xds", self.address("xds"),
        )

    def start_agent(self, one):
        super().start_agent(one, "--name", one, "--balancer", self.url("admin", ""), "--health-interval", "500ms")

    def start_all(self):
        self.start_balancer()
        for one in NAMES:
            self.start_instance(one)
            self.start_agent(one)
        self.start_envoy(configuration(self.api_type, self.ports))
        eventually("Envoy knows all instances", lambda: len(self.told()) == len(NAMES))
        eventually("Envoy serves", lambda: status(self.url("site"))[0] == 200)

    def planned(self):
        """What the balancer has decided: instances for large requests, by name, and those that get none."""
        instances = json.loads(status(self.url("admin", "/v1/instances"))[1] or "{}")
        instances = instances.get("instances", instances) if isinstance(instances, dict) else instances
        large = {one["name"] for one in instances if one["routed"] and one["role"] == "large"}
        return large, {one["name"] for one in instances if not one["routed"]}

    def told(self):
        """What Envoy has: role and health by name of the instance, where draining is unhealthy as well."""
        dump = json.loads(status(self.url("envoy_admin", "/config_dump?include_eds"))[1] or "{}")
        found = {}
        for part in dump.get("configs", []):
            # Of a cluster from the file, though its endpoints are discovered.
            for cluster in part.get("static_endpoint_configs", []):
                for locality in cluster["endpoint_config"].get("endpoints", []):
                    for endpoint in locality["lb_endpoints"]:
                        keys = endpoint.get("metadata", {}).get("filter_metadata", {}).get("envoy.lb")
                        if keys is None:
                            continue  # the balancer itself
                        found[keys["sluice.instance"]] = (keys["sluice.role"], endpoint.get("health_status"))
        return found

    def follows(self, large, out=frozenset()):
        """Whether Envoy has exactly these instances for large requests, and these for none."""
        told = self.told()
        is_of = lambda role: {name for name, (serves, _) in told.items() if serves == role}
        fit = {name for name, (_, health) in told.items() if health == "HEALTHY"}
        return is_of("large") == large and is_of("out") == out and fit == told.keys() - out

    def until_followed(self, what, wanted, seconds=DEADLINE):
        """Waits for a plan of which `wanted` is true, then for Envoy; the plan's large ones, and how long Envoy took."""
        end = time.monotonic() + seconds
        while not wanted(plan := self.planned()):
            assert time.monotonic() < end, f"not within {seconds} s: {what}: {plan}"
            time.sleep(0.02)
        begin = time.monotonic()
        eventually(f"Envoy follows: {what}", lambda: self.follows(*plan))
        took = time.monotonic() - begin
        print(f"{what}: exports to {', '.join(sorted(plan[0])) or 'all'}; Envoy followed within {took:.2f} s")
        assert took <= WITHIN, took
        self.dedicated |= plan[0]
        return plan[0]

    def operate(self, name, word):
        url = self.url("admin", f"/v1/instances/{name}/{word}")
        with OPENER.open(urllib.request.Request(url, method="POST"), timeout=DEADLINE) as answer:
            assert answer.status == 200, answer.status


def share(counted, names):
    return sum(counted[name] for name in names) / max(counted.total(), 1)


def counted_apart(fleet, pages, exports):
    """Waits, and asserts that exports went to the dedicated instances, and pages elsewhere.

    How many are dedicated may change meanwhile: exports must be at one that was, pages at one that was not all along.
    """
    begin, large, always = time.monotonic(), set(), set(NAMES)
    while time.monotonic() - begin < COUNTED:
        now = {name for name, (serves, _) in fleet.told().items() if serves == "large"}
        large, always = large | now, always & now
        time.sleep(0.1)
    assert always and large != set(NAMES), (large, always)
    of_exports, of_pages = exports.since(begin), pages.since(begin)
    print(f"  exports at {'/'.join(sorted(large))}: {share(of_exports, large):.0%}, pages there: {share(of_pages, always):.0%}")
    assert of_exports.total() >= 3 and of_pages.total() >= 40, (of_exports, of_pages)
    assert share(of_exports, large) >= 0.9, of_exports
    assert share(of_pages, always) == 0.0, of_pages


def test_whole(fleet):
    pages = Paced(fleet.url("site", "/page"), PAGES_PER_SEC, PAGE_US)
    exports = Paced(fleet.url("site", "/export/all"), EXPORTS_PER_SEC, EXPORT_US)
    with pages:
        eventually("pages are served by all", lambda: set(pages.since(0)) >= set(NAMES))
        assert fleet.follows(set()), fleet.told()
        with exports:
            large = fleet.until_followed("exports began", lambda plan: plan[0], LEARNED)
            counted_apart(fleet, pages, exports)
            one = min(large)
            asked = time.monotonic()
            fleet.operate(one, "drain")
            fleet.until_followed(f"{one} drained", lambda plan: one in plan[1] and plan[0])
            print(f"  {time.monotonic() - asked:.2f} s after the operator's word")
            counted_apart(fleet, pages, exports)
            fleet.operate(one, "ready")
            fleet.until_followed(f"{one} is back", lambda plan: not plan[1] and plan[0])
            assert exports.failed() == 0, "nobody is cut by a plan"
            # None that was for exports: what it works on dies with it.
            one = max(set(NAMES) - fleet.dedicated)
            died = time.monotonic()
            fleet.kill(f"{one}_app")
            fleet.until_followed(f"{one} died", lambda plan: one in plan[1])
            print(f"  {time.monotonic() - died:.2f} s after its death")
            fleet.start_instance(one)
            fleet.until_followed(f"{one} lives again", lambda plan: not plan[1] and plan[0])
            test_restart(fleet)
            fleet.until_followed("exports go on", lambda plan: plan[0])
        ended = time.monotonic()
        while not all(told == ("mixed", "HEALTHY") for told in fleet.told().values()):
            assert time.monotonic() - ended < LEARNED, fleet.told()
            time.sleep(0.1)
        eventually("pages are served by all", lambda: set(pages.since(time.monotonic() - 5)) >= set(NAMES))
        print(f"exports ended: all instances serve pages {time.monotonic() - ended:.0f} s later")
    # One, if there were more for exports in between than were seen.
    assert exports.failed() <= 1, exports.failed()
    # Those that the killed instance worked on, or was asked for before Envoy knew: its agent answers 502 then.
    print(f"pages: {len(pages.answers)}, failed by the death: {pages.failed()}")
    assert pages.failed() <= PAGES_PER_SEC / 2, pages.failed()


def test_restart(fleet):
    """While the balancer is away Envoy goes on with what it was told last; nothing is unlearned by its return."""
    before = fleet.told()
    fleet.processes["balancer_process"].send_signal(signal.SIGTERM)
    assert fleet.stop("balancer_process") == 0, "the balancer stops in order"
    assert fleet.told() == before, "Envoy keeps what it has"
    fleet.start_balancer()
    connected = lambda: metric(fleet, 'sluice_xds_streams{protocol="sotw"}') == 1
    eventually("Envoy is back at the balancer", connected)
    eventually("it is told again", lambda: metric(fleet, 'sluice_xds_answers_total{answer="ack",protocol="sotw"}') >= 1)
    assert set(fleet.told()) == set(before), "never fewer instances"
    fleet.until_followed("the balancer is back", lambda plan: plan[0], LEARNED)


def metric(fleet, series):
    page = status(fleet.url("admin", "/metrics"))[1].decode()
    found = [line for line in page.splitlines() if line.startswith(series)]
    return float(found[0].split()[-1]) if found else -1.0


def test_delta(fleet):
    """Incrementally: the same endpoints, and one that is drained."""
    assert metric(fleet, 'sluice_xds_streams{protocol="delta"}') == 1
    fleet.operate("c", "drain")
    fleet.until_followed("incrementally: c drained", lambda plan: plan[1] == {"c"})
    fleet.operate("c", "ready")
    fleet.until_followed("incrementally: c is back", lambda plan: not plan[1])
    assert metric(fleet, 'sluice_xds_answers_total{answer="nack",protocol="delta"}') == 0


def in_fleet(api_type, test):
    with running(Xds, api_type) as fleet:
        test(fleet)
        assert status(fleet.url("admin", "/v1/classes"))[0] == 200
        carried = metric(fleet, "sluice_requests_total")
        assert carried <= 0, f"no request is to pass the balancer: {carried}"


def main():
    if not ENVOY.exists():
        print("no Envoy for this machine: left out")
        return 0
    in_fleet("GRPC", test_whole)
    in_fleet("DELTA_GRPC", test_delta)
    return 0


if __name__ == "__main__":
    sys.exit(main())
