"""Networks between the balancer and one instance of four: cut, lossy, slow, half open."""

import contextlib
import time
from collections.abc import Iterator

from load import Load
from network import Namespace, namespace
from registry import scenario
from running import Options, Run, Site, Watch, agent_of

FAR = "instance-4"
# One at work, and those of the probe and the load that were sent there while nobody knew.
IN_FLIGHT = 2


@contextlib.contextmanager
def site_over_a_network(run: Run) -> Iterator[tuple[Site, Namespace]]:
    """A site whose last instance and its agent are on the other side of a link."""
    with namespace() as space:
        with run.site(Options(far=space)) as site:
            yield site, space


@scenario("partition", "packets between the balancer and one agent are dropped both ways, for a third of the run")
def partition(run: Run) -> None:
    with site_over_a_network(run) as (site, space):
        with Watch(site) as watch, run.load(site) as load:
            load.until(1 / 3)
            space.drop("-p", "tcp")
            at = time.monotonic()
            load.until(2 / 3)
            space.drop_none()
            healed = time.monotonic()
            load.until(1)
            took = site.until("it gets requests again", lambda: FAR in site.routed())
        # What was sent there waits until the agent has been silent for two reports and can not be reached, and is sent
        # elsewhere then; nothing else is sent there meanwhile. In short form the link is back before that.
        judge(run, load)
        run.findings.note("seconds until it is taken out", min(watch.out_after_s(FAR, at), healed - at))
        run.findings.at_most("seconds until it gets requests again", min(watch.in_after_s(FAR, healed), time.monotonic() - healed + took), 5.0, timed=True)


def judge(run: Run, load: Load, late: int = IN_FLIGHT) -> None:
    run.findings.at_least("requests answered", load.answered(), 1)
    run.findings.at_most("GETs lost", load.lost() + load.cut(), 0)
    run.findings.at_most("POSTs lost", load.lost("post") + load.cut("post"), IN_FLIGHT)
    run.findings.at_most("probes failed", load.probe.failures(), 0)
    run.findings.at_most("requests later than 2 s", load.late(), late, timed=True)
    run.findings.at_most("probe p99 (ms)", load.probe.p99_ms(), 500.0, timed=True)


@scenario("reports-lost", "packets of one agent's reports are dropped, requests pass")
def reports_lost(run: Run) -> None:
    with site_over_a_network(run) as (site, space):
        port = site.admin.rpartition(":")[2]
        with Watch(site) as watch, run.load(site) as load:
            load.until(1 / 3)
            space.drop("-p", "tcp", "--dport", port)
            load.until(1)
        space.drop_none()
        judge(run, load)
        run.findings.note("times that it was taken out", watch.ejections())


@scenario("packet-loss", "a packet of twenty is lost on the way to one agent and back")
def packet_loss(run: Run) -> None:
    with site_over_a_network(run) as (site, space):
        with Watch(site) as watch, run.load(site) as load:
            load.until(1 / 4)
            space.drop("-m", "statistic", "--mode", "random", "--probability", "0.05")
            load.until(1)
        space.drop_none()
        judge(run, load, late=5)
        run.findings.at_most("times that it was taken out", watch.ejections(), 2)


@scenario("slow-link", "the link to one agent carries 1 Mbit/s, with 200 ms of queue")
def slow_link(run: Run) -> None:
    with site_over_a_network(run) as (site, space):
        before = site.answered_by(FAR)
        with run.load(site) as load:
            load.until(1 / 4)
            space.inside("tc", "qdisc", "add", "dev", space.far_end, "root", "tbf", "rate", "1mbit", "burst", "16k", "latency", "200ms")
            load.until(1)
        space.inside("tc", "qdisc", "del", "dev", space.far_end, "root")
        share = (site.answered_by(FAR) - before) / load.answered()
        judge(run, load, late=5)
        run.findings.at_most("its share of the requests, of a fair one", 4 * share, 1.0, timed=True)


@scenario("half-open", "the link to one agent goes down without a word, and comes back with an agent that knows nothing")
def half_open(run: Run) -> None:
    with site_over_a_network(run) as (site, space):
        with run.load(site) as load:
            load.until(1 / 3)
            # What the agent's side says while it dies is not heard.
            space.drop()
            site.kill(agent_of(FAR))
            load.until(1 / 2)
            site.start(agent_of(FAR), wait=False)
            space.drop_none()
            load.until(1)
            site.until("it gets requests again", lambda: FAR in site.routed())
        judge(run, load)
