#!/usr/bin/env python3
"""A real Envoy, which knows of Sluice only by load reports (ORCA), takes load off an instance that is busy with blobs: as
agent_check.py, with Envoy's client-side weighted round robin. Reports come in responses, in two forms, and out of
band: on streams that Envoy opens at the addresses where it sends requests, or at one port of each host. Run by ./check
real.
"""

import json
import string
import sys
import time

from fleet import BLOBS, COUNTED, ENVOY, WITHIN, Fleet, running
from run import eventually, fetch, free_port, status

TRIES = 12  # of 4 s each

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

CONFIGURATION = string.Template("""
admin: {address: {socket_address: {address: 127.0.0.1, port_value: $envoy_admin}}}
static_resources:
  listeners:
  - name: site
    address: {socket_address: {address: 127.0.0.1, port_value: $site}}
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
              routes: [{match: {prefix: "/"}, route: {cluster: instances, timeout: 60s}}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
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
            $out_of_band
    load_assignment:
      cluster_name: instances
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: $a}}}
        - endpoint: {address: {socket_address: {address: 127.0.0.2, port_value: $b}}}
""")


class Orca(Fleet):
    """Envoy before two agents, each beside an instance."""

    def __init__(self, directory, flags, out_of_band):
        super().__init__(directory, "ab", ["site", "envoy_admin"])
        port = free_port()
        self.flags = lambda one: [flag.format(host=HOSTS[one], port=port) for flag in flags]
        # JSON is YAML: further lines of the policy.
        self.out_of_band = "\n            ".join(
            f"{key}: {json.dumps(value)}".replace('"{port}"', str(port)) for key, value in out_of_band.items()
        )

    def address(self, name):
        return f"{HOSTS.get(name, '127.0.0.1')}:{self.ports[name]}"

    def start_all(self):
        for one in "ab":
            self.start_instance(one)
            self.start_agent(one, *self.flags(one))
        for one in "ab":
            eventually("the agent is ready", lambda: status(self.url(f"{one}_admin", "/readyz"))[0] == 200)
        self.start_envoy(CONFIGURATION.substitute(out_of_band=self.out_of_band, **self.ports))
        eventually("Envoy serves", lambda: status(self.url("site"))[0] == 200)
        code, fields, _ = fetch(self.url("site"))
        assert code == 200 and "endpoint-load-metrics" not in fields, fields
        if self.out_of_band:
            eventually("Envoy asks both", lambda: all(self.is_asked(one) for one in "ab"))
            eventually("and hears", lambda: self.counted("reports_received") >= 4)

    def is_asked(self, one):
        """Whether a stream of reports is open."""
        return "\nsluice_agent_orca_streams 1\n" in status(self.url(f"{one}_admin", "/metrics"))[1].decode()

    def counted(self, name):
        """Of Envoy's streams of reports."""
        text = status(self.url("envoy_admin", f"/stats?filter=lb_orca_oob.{name}$"))[1].decode()
        return int(text.rpartition(":")[2] or 0)


def test(way):
    with running(Orca, *WAYS[way]) as fleet:
        if way != OWN_PORT:
            test_share(way, fleet)
        if fleet.out_of_band:
            print(f"{way}: {fleet.counted('reports_received')} reports")
            assert fleet.counted("active_sessions") == 2 and fleet.counted("stream_terminated") == 0


def test_share(way, fleet):
    with fleet.pages() as pages:
        time.sleep(WITHIN)
        before = pages.share("a", COUNTED)
        busy = fleet.blobs("a")
        time.sleep(WITHIN)
        beside = pages.share("a", COUNTED)
        for thread in busy:
            thread.join()
        # Requests by utilization: little is told in responses of who gets little, so it comes back in steps.
        after = next((share for share in (pages.share("a", COUNTED) for _ in range(TRIES)) if share >= 0.25), 0.0)
        print(f"{way}: pages at a: {before:.0%} before, {beside:.0%} beside {BLOBS} blobs, {after:.0%} after")
    assert pages.failed() == 0, pages.failed()
    assert 0.2 <= before <= 0.8, before
    assert beside < before / 2, (before, beside)
    assert after > 0.0, "it comes back"


def main():
    if not ENVOY.exists():
        print("no Envoy for this machine: left out")
        return 0
    for way in WAYS:
        test(way)
    return 0


if __name__ == "__main__":
    sys.exit(main())
