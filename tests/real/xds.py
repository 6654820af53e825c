#!/usr/bin/env python3
"""A real Envoy carries the requests, and Sluice only thinks: endpoint discovery (xDS) from the balancer's plan.

Four emulated instances behind agents, Envoy before the agents, and a balancer that no request passes. Pages and exports
through Envoy, whose routes send `/export` to the subset `sluice.role: large`. The balancer must see from the agents'
reports alone that exports are large, dedicate an instance to them, and Envoy must follow: that, a drain, and a death,
each within 3 s of the balancer's plan, and without a failed request. Once more incrementally, over TLS with client
certificates left out. Run by ./check real.
"""

import collections
import contextlib
import json
import re
import signal
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from agent_check import Fleet
from run import DEADLINE, OPENER, PROGRAMS, ROOT, eventually, free_port, status

ENVOY = ROOT / "target" / "bench-venv" / "bin" / "envoy"
NAMES, WORKERS = "abcd", 2
PAGES_PER_SEC, PAGE_US = 40, 5_000
EXPORTS_PER_SEC, EXPORT_US = 1.5, 600_000
WITHIN, COUNTED = 3.0, 8.0  # seconds: from a plan to Envoy, and over which requests are counted
LEARNED = 60.0  # seconds until a plan must have followed from what agents report

CONFIGURATION = """
node: {{id: test, cluster: test}}
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {envoy_admin}}}}}}}
static_resources:
  listeners:
  - name: site
    address: {{socket_address: {{address: 127.0.0.1, port_value: {site}}}}}
    enable_reuse_port: false
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: site
          route_config:
            request_headers_to_remove: [x-sluice-class]
            virtual_hosts:
            - name: site
              domains: ["*"]
              retry_policy: {{retry_on: "connect-failure,refused-stream,reset-before-request", num_retries: 3}}
              routes:
              - match: {{prefix: "/export"}}
                route:
                  cluster: instances
                  timeout: 60s
                  metadata_match: {{filter_metadata: {{envoy.lb: {{sluice.role: large}}}}}}
              - match: {{prefix: "/"}}
                route:
                  cluster: instances
                  timeout: 60s
                  metadata_match: {{filter_metadata: {{envoy.lb: {{sluice.role: small}}}}}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: instances
    type: EDS
    connect_timeout: 1s
    lb_policy: LEAST_REQUEST
    eds_cluster_config:
      service_name: sluice
      eds_config:
        resource_api_version: V3
        api_config_source:
          api_type: {api_type}
          transport_api_version: V3
          grpc_services: [{{envoy_grpc: {{cluster_name: sluice}}}}]
    lb_subset_config:
      # While no instance is dedicated, all are "mixed", and every request may go anywhere.
      fallback_policy: ANY_ENDPOINT
      subset_selectors: [{{keys: [sluice.role]}}]
  - name: sluice
    type: STATIC
    connect_timeout: 1s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    load_assignment:
      cluster_name: sluice
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {xds}}}}}}}
"""


class XdsFleet(Fleet):
    """Envoy before four agents, each beside an instance, and a balancer beside all."""

    def __init__(self, directory):
        super().__init__(directory)
        names = ("balancer", "admin", "xds", *(f"{one}{part}" for one in NAMES for part in ("", "_admin", "_app")))
        for name in names:
            self.ports.setdefault(name, free_port())
        self.dedicated = set()  # ever

    def start_balancer(self):
        self.start(
            "balancer_process", PROGRAMS / "sluice-balancer", "--listen", self.address("balancer"),
            "--admin", self.address("admin"), "--xds", self.address("xds"),
        )

    def start_agent(self, one):
        self.start(
            f"{one}_agent", PROGRAMS / "sluice-agent", "--name", one, "--instance", self.address(f"{one}_app"),
            "--listen", self.address(one), "--admin", self.address(f"{one}_admin"),
            "--balancer", f"http://{self.address('admin')}", "--workers", WORKERS, "--health-interval", "500ms",
        )

    def start_instance(self, one):
        listen = ("--listen", self.address(f"{one}_app"), "--name", one)
        self.start(f"{one}_app", PROGRAMS / "sluice-instance", *listen, "--workers", WORKERS, "--release", "end")

    def start_all(self, api_type):
        self.start_balancer()
        for one in NAMES:
            self.start_instance(one)
            self.start_agent(one)
        file = self.directory / "envoy.yaml"
        file.write_text(CONFIGURATION.format(api_type=api_type, **self.ports))
        self.start("envoy", ENVOY, "-c", file, "--concurrency", 1, "--use-dynamic-base-id", "--log-level", "warning")
        eventually("Envoy knows all instances", lambda: len(self.told()) == len(NAMES))
        eventually("Envoy serves", lambda: status(f"http://{self.address('site')}/")[0] == 200)

    def planned(self):
        """What the balancer has decided: instances for large requests, by name, and those that get none."""
        instances = json.loads(status(f"http://{self.address('admin')}/v1/instances")[1] or "{}")
        instances = instances.get("instances", instances) if isinstance(instances, dict) else instances
        large = {one["name"] for one in instances if one["routed"] and one["role"] == "large"}
        return large, {one["name"] for one in instances if not one["routed"]}

    def told(self):
        """What Envoy has: role and health by name of the instance, where draining is unhealthy as well."""
        dump = json.loads(status(f"http://{self.address('envoy_admin')}/config_dump?include_eds")[1] or "{}")
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
        url = f"http://{self.address('admin')}/v1/instances/{name}/{word}"
        with OPENER.open(urllib.request.Request(url, method="POST"), timeout=DEADLINE) as answer:
            assert answer.status == 200, answer.status


class Load:
    """Asks for one path at a steady rate, and remembers who answered when; `None` for a failure."""

    def __init__(self, address, path, per_second, work_us):
        self.url, self.pause, self.work_us = f"http://{address}{path}", 1 / per_second, work_us
        self.answers, self.over, self.threads = [], threading.Event(), []

    def __enter__(self):
        self.clock = threading.Thread(target=self.run)
        self.clock.start()
        return self

    def run(self):
        due = time.monotonic()
        while not self.over.wait(max(0.0, due - time.monotonic())):
            due += self.pause
            thread = threading.Thread(target=self.ask, args=(time.monotonic(),))
            thread.start()
            self.threads.append(thread)

    def ask(self, asked):
        request = urllib.request.Request(self.url, headers={"X-Emulate-Work-Us": str(self.work_us)})
        try:
            with OPENER.open(request, timeout=60) as answer:
                answer.read()
                self.answers.append((asked, answer.headers["X-Emulate-Instance"]))
        except OSError as error:
            print(f"{self.url} failed: {error}", file=sys.stderr)
            self.answers.append((asked, None))

    def __exit__(self, *_):
        self.over.set()
        self.clock.join()
        for thread in self.threads:
            thread.join()

    def failed(self):
        return sum(name is None for _, name in self.answers)

    def since(self, begin):
        """Who answered what was asked for since then."""
        return collections.Counter(name for asked, name in list(self.answers) if asked >= begin)


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
    pages = Load(fleet.address("site"), "/page", PAGES_PER_SEC, PAGE_US)
    exports = Load(fleet.address("site"), "/export/all", EXPORTS_PER_SEC, EXPORT_US)
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
    # Those that the killed instance worked on, or was asked for before its agent knew: it answers 502 then.
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
    page = status(f"http://{fleet.address('admin')}/metrics")[1].decode()
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
    with tempfile.TemporaryDirectory(prefix="sluice-xds-") as name:
        fleet = XdsFleet(Path(name))
        try:
            fleet.start_all(api_type)
            test(fleet)
            assert status(f"http://{fleet.address('admin')}/v1/classes")[0] == 200
            carried = metric(fleet, "sluice_requests_total")
            assert carried <= 0, f"no request is to pass the balancer: {carried}"
        except BaseException:
            for log in sorted(Path(name).glob("*.log")):
                print(f"--- {log.name}\n{log.read_text()[-2000:]}", file=sys.stderr)
            raise
        finally:
            with contextlib.suppress(KeyError):
                fleet.stop_all()


def check_documentation():
    """Each line of Envoy's configuration in the book is one of what is tested here."""
    page = (ROOT / "docs" / "src" / "operate" / "envoy.md").read_text()
    lines = lambda text: [line.strip() for line in text.splitlines() if line.strip()]
    tested = CONFIGURATION.format(api_type="GRPC", **collections.defaultdict(int, xds=18000, envoy_admin=1, site=1))
    tested = set(lines(tested.replace("127.0.0.1", "10.0.0.5")))
    for block in re.findall(r"^```yaml\n(.*?)^```$", page, re.S | re.M):
        unknown = [line for line in lines(block) if line not in tested]
        assert not unknown, unknown


def main():
    check_documentation()
    if not ENVOY.exists():
        print("no Envoy for this machine: left out")
        return 0
    in_fleet("GRPC", test_whole)
    in_fleet("DELTA_GRPC", test_delta)
    return 0


if __name__ == "__main__":
    sys.exit(main())
