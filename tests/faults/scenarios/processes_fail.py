"""Processes that are killed and started again, or stop for a while and go on."""

import signal
import time

from load import Load
from registry import scenario
from running import Run, Site, Watch, agent_of

VICTIM = "instance-2"
# A kept connection's worth: the one request that an instance of one worker has.
IN_FLIGHT = 1


@scenario("kill-instance", "kill -9 of one instance of four, then started again")
def kill_instance(run: Run) -> None:
    kill(run, VICTIM)


@scenario("kill-agent", "kill -9 of one agent of four, then started again")
def kill_agent(run: Run) -> None:
    kill(run, agent_of(VICTIM))


def kill(run: Run, part: str) -> None:
    with run.site() as site:
        with Watch(site) as watch, run.load(site) as load:
            load.until(1 / 3)
            site.kill(part)
            died = time.monotonic()
            load.until(1 / 2)
            site.start(part)
            back = time.monotonic()
            load.until(1)
            took = site.until("it gets requests again", lambda: VICTIM in site.routed())
        returned = min(watch.in_after_s(VICTIM, back), time.monotonic() - back + took)
        judge_lost(run, load)
        run.findings.at_most("seconds until nothing is sent there", watch.out_after_s(VICTIM, died), 1.0, timed=True)
        run.findings.at_most("seconds until it gets requests again", returned, 3.0, timed=True)


def judge_lost(run: Run, load: Load, cut: int = IN_FLIGHT) -> None:
    findings = run.findings
    findings.at_least("requests answered", load.answered(), 1)
    findings.at_most("GETs lost", load.lost(), 0)
    findings.at_most("responses cut after they had begun", load.cut(), cut)
    findings.at_most("POSTs lost", load.lost("post") + load.cut("post"), cut)
    findings.at_most("requests later than 2 s", load.late(), cut, timed=True)
    findings.at_most("probes failed", load.probe.failures(), cut)


@scenario("kill-balancer", "kill -9 of the balancer, which is started again at once")
def kill_balancer(run: Run) -> None:
    with run.site() as site:
        agents = {name: site.parts[name].pid for name in site.parts if name.startswith("agent")}
        with run.load(site) as load:
            load.until(1 / 3)
            site.kill("balancer")
            # Agents whose connections are reset say so at their next report; nothing of them is started again.
            site.start("balancer")
            load.until(1)
            took = site.until("every instance gets requests", lambda: len(site.routed()) == 4)
        run.findings.at_most("longest outage of the probe (s)", load.probe.longest_outage_s(), 1.0, timed=True)
        run.findings.at_most("GETs refused or cut, of those in a second", load.lost() + load.cut(), run.pace.rate)
        run.findings.at_most("seconds until it knows all instances, after the load", took, 3.0, timed=True)
        run.findings.true("agents go on", all(site.parts[name].pid == pid for name, pid in agents.items()))


@scenario("stop-instance", "SIGSTOP of one instance, SIGCONT after a sixth of the run")
def stop_instance(run: Run) -> None:
    with run.site() as site:
        with Watch(site) as watch, run.load(site) as load:
            at, woken, burst = stop_for_a_while(run, site, load, VICTIM)
        judge_pause(run, load, watch.out_after_s(VICTIM, at), woken - at)
        run.findings.at_most("its share of the requests in the second after, of a fair one", burst, 2.0, timed=True)


@scenario("stop-agent", "SIGSTOP of one agent, SIGCONT after a sixth of the run")
def stop_agent(run: Run) -> None:
    with run.site() as site:
        with Watch(site) as watch, run.load(site) as load:
            at, woken, _ = stop_for_a_while(run, site, load, agent_of(VICTIM))
        judge_pause(run, load, watch.out_after_s(VICTIM, at), woken - at)


def stop_for_a_while(run: Run, site: Site, load: Load, part: str) -> tuple[float, float, float]:
    """When it was stopped and woken, and its share of the requests in the second after, relative to a fair one."""
    load.until(1 / 3)
    site.signal(part, signal.SIGSTOP)
    at = time.monotonic()
    load.until(1 / 2)
    before = {name: site.answered_by(name) for name in others()} if part == VICTIM else {}
    of_victim = site.answered_by(VICTIM) if before else 0.0
    site.signal(part, signal.SIGCONT)
    woken = time.monotonic()
    time.sleep(1.0 if before else 0.0)
    burst = 0.0
    if before:
        fair = sum(site.answered_by(name) - count for name, count in before.items()) / len(before)
        burst = (site.answered_by(VICTIM) - of_victim) / max(fair, 1.0)
    load.until(1)
    site.until("it gets requests again", lambda: VICTIM in site.routed())
    return at, woken, burst


def others() -> list[str]:
    return [f"instance-{n}" for n in (1, 2, 3, 4) if f"instance-{n}" != VICTIM]


def judge_pause(run: Run, load: Load, out_after_s: float, paused_s: float) -> None:
    """Nothing is lost: what was in flight there is late by as much as the pause took, and no more than that is."""
    findings = run.findings
    findings.at_most("GETs lost", load.lost() + load.cut(), 0)
    findings.at_most("POSTs lost", load.lost("post") + load.cut("post"), 0)
    findings.at_most("probes failed", load.probe.failures(), 0)
    slow = sum(r["total_ms"] > 500 * paused_s for r in load.summary["requests"])
    findings.at_most("requests that took half the pause", slow, 3 * IN_FLIGHT, timed=True)
    findings.at_most("probe p99 (ms)", load.probe.p99_ms(), 500.0, timed=True)
    findings.note("seconds until it is taken out", min(out_after_s, paused_s))


@scenario("stop-balancer", "SIGSTOP of the balancer for 5 s (2 s in short form)")
def stop_balancer(run: Run) -> None:
    with run.site() as site:
        with Watch(site) as watch, run.load(site) as load:
            load.until(1 / 3)
            site.signal("balancer", signal.SIGSTOP)
            time.sleep(5.0 if run.pace.long else 2.0)
            site.signal("balancer", signal.SIGCONT)
            load.until(1)
            site.until("every instance gets requests", lambda: len(site.routed()) == 4)
        run.findings.at_most("requests lost", load.lost() + load.cut() + load.lost("post") + load.cut("post"), 0)
        run.findings.at_most("probes failed", load.probe.failures(), 0)
        run.findings.at_most("instances taken out", watch.ejections(), 0)
