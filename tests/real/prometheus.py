"""What `deploy/` promises, held against a real Prometheus that scrapes a running demo.

Rules and metrics are valid, every alert fires when it should (alerts_test.yml), the rules evaluate, every panel of the
dashboard shows something, and histograms lead to traces (exemplars).
"""

import contextlib
import json
import math
import subprocess
import time
import urllib.parse

from demo import running
from run import PROGRAMS, ROOT, check_metrics, eventually, free_port, status

DEPLOY = ROOT / "deploy"


def promtool(*arguments):
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def check_files():
    promtool("check", "config", str(DEPLOY / "prometheus/prometheus.yml"))
    promtool("test", "rules", str(DEPLOY / "prometheus/alerts_test.yml"))


@contextlib.contextmanager
def tracing_balancer(demo, log):
    """Another balancer, in front of the demo, that records every request; its address and its admin's. Nobody collects."""
    listen, admin, collector = (f"127.0.0.1:{free_port()}" for _ in range(3))
    with running([
        PROGRAMS / "sluice-balancer", "--listen", listen, "--admin", admin, "--instance", f"{demo.site},workers=100",
        "--otlp-endpoint", f"http://{collector}", "--otlp-sample", "1",
    ], log):
        eventually("the balancer in front is ready", lambda: status(f"http://{admin}/readyz")[0] == 200)
        yield listen, admin


def config(demo, front):
    """JSON is YAML."""
    job = lambda name, targets: {"job_name": name, "static_configs": [{"targets": targets}]}
    return json.dumps({
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(DEPLOY / "prometheus/alerts.yml")],
        "scrape_configs": [job("sluice-balancer", [demo.admin, front]), job("sluice-agent", demo.agents)],
    })


def queries():
    """(title of the panel, query) of the dashboard, with its variables filled in."""
    dashboard = json.loads((DEPLOY / "grafana/sluice.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"].replace("$__rate_interval", "5s").replace("$service", ".*")
            assert "$" not in query, f"a variable that is not known here: {query}"
            yield panel["title"], query


class Prometheus:
    def __init__(self, demo, front, directory, log):
        self.address = f"127.0.0.1:{free_port()}"
        file = directory / "prometheus.yml"
        file.write_text(config(demo, front))
        self.started = running([
            "prometheus", f"--config.file={file}", f"--storage.tsdb.path={directory / 'tsdb'}",
            f"--web.listen-address={self.address}", "--log.level=warn",
            "--enable-feature=exemplar-storage",
        ], log)

    def __enter__(self):
        self.started.__enter__()
        return self

    def __exit__(self, *why):
        return self.started.__exit__(*why)

    def ask(self, path, **parameters):
        code, body = status(f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        return json.loads(body)["data"] if code == 200 else {}

    def shows_something(self, query):
        samples = self.ask("query", query=query).get("result", [])
        return any(not math.isnan(float(sample["value"][1])) for sample in samples)


    def traces(self):
        """Trace ids that the histogram of durations leads to."""
        found = self.ask("query_exemplars", query="sluice_request_duration_seconds_bucket", start=0, end=time.time() + 60)
        return {exemplar["labels"]["trace_id"] for series in found or () for exemplar in series["exemplars"]}


def test_exemplars(site, prometheus):
    def traced():
        status(f"http://{site}/page/1")
        return prometheus.traces()

    eventually("a trace", traced)


def test(demo, site, prometheus):
    check_files()
    test_exemplars(site, prometheus)
    for admin in (demo.admin, *demo.agents):
        check_metrics(f"http://{admin}/metrics")
    panels = list(queries())
    for title, query in panels:
        eventually(f"panel {title!r} shows something: {query}", lambda query=query: prometheus.shows_something(query))
    rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    unwell = [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"]
    assert rules and not unwell, unwell
    return f"{len(panels)} queries of the dashboard show something, {len(rules)} alerts evaluate"
