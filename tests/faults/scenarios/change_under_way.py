"""The configuration is reloaded, and the program is replaced, under load."""

import signal

from load import Load
from registry import scenario
from resources import held
from running import Options, Run

RELOADS, UPGRADES = 10, 3


@scenario("reload", "SIGHUP ten times, the configuration file changed each time, once to a bad one")
def reload(run: Run) -> None:
    file = run.directory / "balancer.toml"
    file.write_text("queue-length = 1000\n")
    with run.site(Options(balancer=("--config", str(file)))) as site:
        before = held(site.parts["balancer"].pid).rss_mib
        with run.load(site) as load:
            for n in range(RELOADS):
                load.until((n + 1) / (RELOADS + 2))
                file.write_text("queue-length = many\n" if n == RELOADS // 2 else f"queue-length = {1000 + n}\n")
                site.signal("balancer", signal.SIGHUP)
            load.until(1)
        judge(run, load)
        run.findings.at_most("memory more than before (MiB)", held(site.parts["balancer"].pid).rss_mib - before, 8.0)


@scenario("upgrade", "SIGUSR2 three times: a new process of the balancer takes over its sockets")
def upgrade(run: Run) -> None:
    with run.site() as site:
        with run.load(site) as load:
            for n in range(UPGRADES):
                load.until((n + 1) / (UPGRADES + 1))
                old = site.parts["balancer"].pid
                site.signal("balancer", signal.SIGUSR2)
                site.until("another process has taken over", lambda: site.follow("balancer", old))
            load.until(1)
            site.until("every instance gets requests", lambda: len(site.routed()) == 4)
        judge(run, load)


def judge(run: Run, load: Load) -> None:
    lost = load.lost() + load.cut() + load.lost("post") + load.cut("post")
    run.findings.at_most("requests lost", lost, 0)
    run.findings.at_most("probes failed, refused connections among them", load.probe.failures(), 0)
    run.findings.at_most("requests later than 2 s", load.late(), 0, timed=True)
