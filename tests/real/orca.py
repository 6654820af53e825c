#!/usr/bin/env python3
"""A real Envoy, which knows of Sluice only by load reports (ORCA), takes load off an instance that is busy with blobs: as
agent_check.py, with Envoy's client-side weighted round robin. Reports come in responses, in two forms, and out of
band: on streams that Envoy opens at the addresses where it sends requests, or at one port of each host. Run by ./check
real.
"""

import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path

from agent_check import BLOBS, WITHIN, WORKERS, Fleet, Pages, blobs
from run import PROGRAMS, ROOT, eventually, fetch, free_port, status

TRIES = 12  # of 4 s each
ENVOY = ROOT / "target" / "bench-venv" / "bin" / "envoy"

# Where Envoy sends requests to, and asks for streams of reports.
HOSTS = {"a": "127.0.0.1", "b": "127.0.0.2"}

OWN_PORT = "on streams at a port of their own"

# How reports come: the agent's flags, and what Envoy is told beside. The port of a stream is one for all hosts.
STREAMS = {"enable_oob_load_report": True, "oob_reporting_period": "1s"}
WAYS = {
    "in responses, text": (("--orca", "text"), {}),
    "in responses, binary": (("--orca", "binary"), {}),
    "on streams": (("--orca-on-listen", "on"), STREAMS),
    # The same from another listener: here it is enough that Envoy hears from both.
    OWN_PORT: (("--orca-listen", "{host}:{port}"), {**STREAMS, "oob_reporting_config": {"port_value": "{port}"}}),
}

CONFIGURATION = """
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
            response_headers_to_remove: [endpoint-load-metrics]
            virtual_hosts:
            - name: site
              domains: ["*"]
              routes: [{{match: {{prefix: "/"}}, route: {{cluster: instances, timeout: 60s}}}}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: instances
    type: STATIC
    connect_timeout: 1s
    load_balancing_policy:
      policies:
      - typed_extension_config:
          name: envoy.load_balancing_policies.client_side_weighted_round_robin
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.load_balancing_policies.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin
            blackout_period: 1s
            weight_update_period: 1s
            # In responses, an instance that gets next to nothing tells next to nothing: what it said must not hold long.
            weight_expiration_period: 5s
            {out_of_band}
    load_assignment:
      cluster_name: instances
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {a}}}}}}}
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.2, port_value: {b}}}}}}}
"""


class EnvoyFleet(Fleet):
    """Envoy before two agents, each beside an instance."""

    def __init__(self, directory, flags, out_of_band):
        super().__init__(directory)
        port = free_port()
        self.flags = lambda one: [flag.format(host=HOSTS[one], port=port) for flag in flags]
        # JSON is YAML: further lines of the policy.
        self.out_of_band = "\n            ".join(
            f"{key}: {json.dumps(value)}".replace('"{port}"', str(port)) for key, value in out_of_band.items()
        )

    def address(self, name):
        return f"{HOSTS.get(name, '127.0.0.1')}:{self.ports[name]}"

    def start_agent(self, one):
        self.start(
            one, PROGRAMS / "sluice-agent", "--instance", self.address(f"{one}_app"),
            "--listen", self.address(one), "--admin", self.address(f"{one}_admin"),
            *self.flags(one), "--workers", WORKERS,
        )

    def start_all(self):
        for one in "ab":
            self.start_instance(one)
            self.start_agent(one)
        for one in "ab":
            eventually("the agent is ready", lambda: status(f"http://{self.address(one + '_admin')}/readyz")[0] == 200)
        file = self.directory / "envoy.yaml"
        file.write_text(CONFIGURATION.format(out_of_band=self.out_of_band, **self.ports))
        self.start("envoy", ENVOY, "-c", file, "--concurrency", 1, "--use-dynamic-base-id", "--log-level", "warning")
        eventually("Envoy serves", lambda: status(f"http://{self.address('site')}/")[0] == 200)
        code, fields, _ = fetch(f"http://{self.address('site')}/")
        assert code == 200 and "endpoint-load-metrics" not in fields, fields
        if self.out_of_band:
            eventually("Envoy asks both", lambda: all(self.is_asked(one) for one in "ab"))
            eventually("and hears", lambda: self.counted("reports_received") >= 4)

    def is_asked(self, one):
        """Whether a stream of reports is open."""
        return "\nsluice_agent_orca_streams 1\n" in status(f"http://{self.address(one + '_admin')}/metrics")[1].decode()

    def counted(self, name):
        """Of Envoy's streams of reports."""
        text = status(f"http://{self.address('envoy_admin')}/stats?filter=lb_orca_oob.{name}$")[1].decode()
        return int(text.rpartition(":")[2] or 0)


@contextlib.contextmanager
def fleet_of(way, directory):
    fleet = EnvoyFleet(directory, *WAYS[way])
    try:
        fleet.start_all()
        yield fleet
    except BaseException:
        for log in sorted(directory.glob("*.log")):
            print(f"--- {log.name}\n{log.read_text()[-2000:]}", file=sys.stderr)
        raise
    finally:
        fleet.stop_all()


def test(way, directory):
    with fleet_of(way, directory) as fleet:
        with Pages(fleet.address("site")) as pages:
            time.sleep(WITHIN)
            before = pages.share("a")
            busy = blobs(fleet.address("a"))
            time.sleep(WITHIN)
            beside = pages.share("a")
            for thread in busy:
                thread.join()
            # Requests by utilization: little is told in responses of who gets little, so it comes back in steps.
            after = next((share for share in (pages.share("a") for _ in range(TRIES)) if share >= 0.25), 0.0)
            print(f"{way}: pages at a: {before:.0%} before, {beside:.0%} beside {BLOBS} blobs, {after:.0%} after")
        assert pages.failed() == 0, pages.failed()
        assert 0.2 <= before <= 0.8, before
        assert beside < before / 2, (before, beside)
        assert after > 0.0, "it comes back"
        if fleet.out_of_band:
            print(f"{way}: {fleet.counted('reports_received')} reports")
            assert fleet.counted("active_sessions") == 2 and fleet.counted("stream_terminated") == 0


def main():
    if not ENVOY.exists():
        print("no Envoy for this machine: left out")
        return 0
    for way in WAYS:
        with tempfile.TemporaryDirectory(prefix="sluice-orca-") as name:
            if way == OWN_PORT:
                with fleet_of(way, Path(name)) as fleet:
                    print(f"{way}: {fleet.counted('reports_received')} reports")
            else:
                test(way, Path(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
