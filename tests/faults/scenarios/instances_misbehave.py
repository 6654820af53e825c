"""One instance of four passes its health checks and breaks requests."""

import contextlib
import socket
import threading
from collections.abc import Callable

import broken
from broken import BrokenInstance
from load import Load
from registry import scenario
from running import INSTANCES, Options, Run, Watch

VICTIM = "instance-2"
# Failures in a row that take an instance out (the default of --eject-after).
IN_A_ROW = 5
# Pauses of 5, 10, 20, 40 s: how often an instance is tried again within a minute, at most.
TRIALS = 4
RESPONSE_TIMEOUT_S = 2.0

How = Callable[[socket.socket, threading.Event], None]


@scenario("silent-instance", "an instance that accepts and never answers")
def silent(run: Run) -> None:
    options = Options(agents=("--response-timeout", f"{RESPONSE_TIMEOUT_S:.0f}s"))
    load, asked = misbehave(run, broken.silent, options)
    # Nobody knows of a request that waits that it will not be answered; each costs its worker's time only.
    run.findings.at_most("GETs lost", load.lost() + load.cut(), 0)
    run.findings.note("requests that it got", asked)


@scenario("garbage-instance", "an instance that answers with what is no HTTP")
def garbage(run: Run) -> None:
    load, asked = misbehave(run, broken.garbage)
    run.findings.at_most("GETs lost", load.lost() + load.cut(), 0)
    run.findings.at_most("requests that it got", asked, bar(run))


@scenario("resetting-instance", "an instance that resets connections instead of answering")
def resetting(run: Run) -> None:
    load, asked = misbehave(run, broken.reset)
    run.findings.at_most("GETs lost", load.lost() + load.cut(), 0)
    run.findings.at_most("requests that it got", asked, bar(run))


@scenario("cutting-instance", "an instance that ends in the middle of bodies")
def cutting(run: Run) -> None:
    load, asked = misbehave(run, broken.cut)
    run.findings.at_most("GETs lost before they had begun", load.lost(), 0)
    run.findings.at_most("responses cut after they had begun", load.cut() + load.probe.failures(), bar(run))
    run.findings.at_most("requests that it got", asked, bar(run))


@scenario("trickling-instance", "an instance that sends a byte of a body at a time")
def trickling(run: Run) -> None:
    load, asked = misbehave(run, broken.trickle)
    failed = load.lost() + load.cut() + load.probe.failures()
    run.findings.at_most("GETs lost, those that it has begun", failed, asked)
    # Its worker is busy all the time, and it gets the next request when a client gives up (after 10 s).
    run.findings.at_most("requests that it got", asked, IN_A_ROW + run.pace.secs / 4)


def bar(run: Run) -> int:
    return IN_A_ROW + TRIALS * 2 if run.pace.long else 2 * IN_A_ROW


def misbehave(run: Run, how: How, options: Options = Options()) -> tuple[Load, int]:
    """The load with an instance that breaks requests from a quarter on, and how many requests it got."""
    with run.site(options) as site:
        # Below a worker's capacity: three instances can do all of it.
        with Watch(site), run.load(site, share=0.4, timeout_s=10.0) as load:
            load.until(1 / 4)
            site.kill(VICTIM)
            with BrokenInstance(site.parts[VICTIM].port, how) as instance:
                load.until(1)
            site.start(VICTIM)
        run.findings.at_least("requests answered", load.answered(), 1)
    return load, instance.asked


@scenario("retry-storm", "every instance answers 503 for a while: the retries stay few")
def retry_storm(run: Run) -> None:
    with run.site() as site:
        with run.load(site, share=0.4) as load:
            load.until(1 / 3)
            for name in INSTANCES:
                site.kill(name)
            with contextlib.ExitStack() as all_broken:
                instances = [
                    all_broken.enter_context(BrokenInstance(site.parts[name].port, broken.unavailable))
                    for name in INSTANCES
                ]
                load.until(1 / 2)
            for name in INSTANCES:
                site.start(name)
        asked = sum(instance.asked for instance in instances)
        requests = load.lost() + load.lost("post") + load.probe.failures()
        run.findings.at_most("attempts per failed request", asked / max(requests, 1), 1.2)
