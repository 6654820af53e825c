"""What `deploy/` promises, held against a real Prometheus that scrapes a running demo.

Rules and metrics are valid, every alert fires when it should (alerts_test.yml), the rules evaluate, and every panel
of the dashboard shows something.
"""

import json
import math
import subprocess
import urllib.parse

from demo import running
from run import ROOT, check_metrics, eventually, free_port, status

DEPLOY = ROOT / "deploy"


def promtool(*arguments):
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def check_files():
    promtool("check", "config", str(DEPLOY / "prometheus/prometheus.yml"))
    promtool("test", "rules", str(DEPLOY / "prometheus/alerts_test.yml"))


def config(demo):
    """JSON is YAML."""
    job = lambda name, targets: {"job_name": name, "static_configs": [{"targets": targets}]}
    return json.dumps({
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(DEPLOY / "prometheus/alerts.yml")],
        "scrape_configs": [job("sluice-balancer", [demo.admin]), job("sluice-agent", demo.agents)],
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
    def __init__(self, demo, directory, log):
        self.address = f"127.0.0.1:{free_port()}"
        file = directory / "prometheus.yml"
        file.write_text(config(demo))
        self.started = running([
            "prometheus", f"--config.file={file}", f"--storage.tsdb.path={directory / 'tsdb'}",
            f"--web.listen-address={self.address}", "--log.level=warn",
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


def test(demo, prometheus):
    check_files()
    for admin in (demo.admin, *demo.agents):
        check_metrics(f"http://{admin}/metrics")
    panels = list(queries())
    for title, query in panels:
        eventually(f"panel {title!r} shows something: {query}", lambda query=query: prometheus.shows_something(query))
    rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    unwell = [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"]
    assert rules and not unwell, unwell
    return f"{len(panels)} queries of the dashboard show something, {len(rules)} alerts evaluate"
