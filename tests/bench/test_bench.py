"""Self-test of the benchmark: `python3 -m unittest discover tests/bench`."""

import contextlib
import http.client
import http.server
import json
import os
import socket
import sys
import threading
import unittest
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tables
from bars import BARS, Bar, Rival, Spoilt, Verdict, judge
from options import Plan
from processes import BenchError, Processes, accepts, is_free, processes
from render import TEMPLATES, render
from report import comparison
from reports import LIES, Spoiler, constant_zero, other_classes, thousand_workers
from sites import PEERS, Kind, Setting
from stats import Request, Spread, figures, quantile, spread, spreads
from workloads import NAMES, InstanceSpec, Workload, at_load

KINDS = {name: peer.kind for name, peer in PEERS.items()}


class Statistics(unittest.TestCase):
    def test_quantiles_are_the_nearest_rank(self) -> None:
        values = [float(n) for n in range(100, 0, -1)]  # 1 to 100, not in order
        for q, expected in ((0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100), (0.0, 1)):
            self.assertEqual(quantile(values, q), expected, q)
        self.assertIsNone(quantile([], 0.5))

    def test_figures_are_of_answered_requests_by_size(self) -> None:
        requests = [
            Request(large=False, at_ms=0, total_ms=10, failed=False),
            Request(large=False, at_ms=0, total_ms=9999, failed=True),
            Request(large=True, at_ms=0, total_ms=500, failed=False),
        ]
        found = figures(requests, appears_s=None, learn_s=10)
        self.assertEqual(found, {"small_p50": 10, "small_p99": 10, "large_p50": 500, "large_p99": 500})

    def test_what_appears_has_ten_seconds_to_be_learnt(self) -> None:
        at = (7_999, 8_000, 17_999, 18_000)  # of a class that appears at 8 s
        requests = [Request(large=False, at_ms=ms, total_ms=ms, failed=False) for ms in at]
        found = figures(requests, appears_s=8, learn_s=10)
        self.assertEqual((found["learning_small_p99"], found["learnt_small_p99"]), (17_999, 18_000))
        self.assertNotIn("large_p50", found)
        short = figures(requests[:3], appears_s=8, learn_s=10)
        self.assertNotIn("learnt_small_p99", short, "a run that ends before it is learnt")

    def test_spreads_are_over_the_runs_that_have_the_figure(self) -> None:
        found = spreads([{"a": 3.0, "b": 1.0}, {"a": 1.0}, {"a": 2.0}])
        self.assertEqual(found, {"a": Spread(2.0, 1.0, 3.0, 3), "b": Spread(1.0, 1.0, 1.0, 1)})


class Bars(unittest.TestCase):
    def verdict(self, workload: str, bar: Bar, peers: dict[str, dict[str, float]]) -> Verdict:
        found = {(workload, peer): {k: spread([v]) for k, v in values.items()} for peer, values in peers.items()}
        matching = [verdict for verdict in judge(found, KINDS) if verdict.bar == bar]
        self.assertEqual(len(matching), 1)
        return matching[0]

    def test_each_bar_passes_at_its_factor_and_fails_just_above(self) -> None:
        rival = {
            Rival.ANY: "nginx", Rival.AUTOMATIC: "envoy", Rival.SPLIT: "haproxy-split",
            Rival.BY_HAND: "haproxy-by-hand", Rival.HAPROXY: "haproxy-unlimited",
        }
        for bar in BARS:
            for above, passed in ((0.0, True), (0.01, False)):
                ours = {bar.figure: 1000 * (bar.factor + above)}
                theirs = {rival[bar.rival]: {bar.figure: 1000.0}}
                verdict = self.verdict(bar.workload, bar, {"sluice-inline": ours, **theirs})
                self.assertIs(verdict.passed, passed, verdict)
                self.assertAlmostEqual(verdict.ratio or 0, bar.factor + above)

    def test_the_best_rival_of_its_kind_counts(self) -> None:
        values = {"sluice-inline": 50.0, "nginx": 300.0, "haproxy-unlimited": 200.0, "haproxy-split": 10.0}
        peers = {name: {"small_p99": value} for name, value in values.items()}
        bar = Bar("exports", "small_p99", Rival.AUTOMATIC, 0.25)
        verdict = self.verdict("exports", bar, peers)
        self.assertEqual((verdict.rival, verdict.theirs, verdict.passed), ("haproxy-unlimited", 200, True))

    def test_without_a_rival_nothing_is_claimed(self) -> None:
        bar = Bar("exports", "small_p99", Rival.SPLIT, 1.5)
        verdict = self.verdict("exports", bar, {"sluice-inline": {"small_p99": 1.0}, "nginx": {"small_p99": 1.0}})
        self.assertEqual((verdict.passed, verdict.ratio), (None, None))
        self.assertIn("not measured", tables.verdict_row(verdict))

    def test_a_peer_that_fails_its_large_requests_is_not_the_best_at_them(self) -> None:
        failing = {"large_p50": 1.0, "large_sent": 100.0, "large_failed": 2.0}
        sound = {"large_p50": 2.0, "large_sent": 100.0, "large_failed": 1.0}
        bar = Bar("blobs-slow-clients", "large_p50", Rival.ANY, 1.02)
        peers = {"sluice-inline": {"large_p50": 2.0}, "haproxy-split": failing, "nginx": sound}
        self.assertEqual(self.verdict("blobs-slow-clients", bar, peers).rival, "nginx")

    def test_sluice_may_not_fail_more_requests_than_the_best(self) -> None:
        for failed, passed in ((1.0, True), (2.0, False)):
            counts = {"sluice-inline": failed, "nginx": 1.0, "envoy": 5.0}
            peers = {name: {"small_failed": count} for name, count in counts.items()}
            bar = Bar("caches", "failed", Rival.ANY, 1.0)
            self.assertIs(self.verdict("caches", bar, peers).passed, passed)

    def test_loads_of_one_workload_are_judged_each(self) -> None:
        figures = {"small_p99": spread([1.0])}
        found = {(f"all-small {load} %", peer): figures for load in (50, 85) for peer in ("sluice-passive", "nginx")}
        judged = [v.workload for v in judge(found, KINDS) if v.bar.figure == "small_p99"]
        self.assertEqual(judged, ["all-small 50 %", "all-small 85 %"])

    def test_lost_reports_have_a_bar_and_lies_are_shown(self) -> None:
        cases = (("lose-all", 105.0, True), ("late-10s", 106.0, False), ("nonsense", 300.0, None))
        for mode, p99, passed in cases:
            row = Spoilt("exports", "sluice-inline", mode, spread([p99]), spread([100.0]), spread([0.25]), None)
            self.assertIs(row.passed, passed)
            self.assertIn("25 %", tables.spoilt_row(row))

    def test_every_workload_has_a_bar(self) -> None:
        self.assertEqual({bar.workload for bar in BARS}, set(NAMES))


class Tables(unittest.TestCase):
    def test_cells(self) -> None:
        cases = (([38_900.4], "38,900"), ([7.25], "7.2"), ([3.0, 250, 300], "250 (3.0-300)"), ([0.0], "0"))
        for values, expected in cases:
            self.assertEqual(tables.cell(spread(values)), expected)
        self.assertEqual(tables.cell(None), "-")

    def test_peers_that_are_not_there_are_said_to_be(self) -> None:
        found = {("exports", "nginx"): {"small_p99": spread([12.0])}}
        text = tables.by_peer(found, ["exports"], [("nginx", "nginx"), ("envoy", "Envoy")], "small_p99", ["envoy"])
        self.assertIn("| exports  | 12    | not installed |", text)


    def test_failures_are_a_table_only_if_there_are_some(self) -> None:
        for failed, said in ((0.0, False), (1.0, True)):
            spreads_of = {"small_p99": spread([12.0]), "small_failed": spread([0.0, failed])}
            peer = PEERS["nginx"]
            workload = Workload("exports", {"secs": 24, "classes": []}, ())
            work = Plan([workload], [(peer, Path("nginx"))], [], range(1, 3), Setting(), [])
            text = "\n".join(comparison(work, {("exports", "nginx"): spreads_of}))
            self.assertEqual(("Small requests failed" in text, "No request failed." in text), (said, not said))


class Templates(unittest.TestCase):
    def test_a_line_is_repeated_for_each_of_its_group(self) -> None:
        group = [{"name": "a"}, {"name": "b"}]
        text = render("on @{front} $host\n  server @{all.name} @{front}", {"front": 1}, {"all": group})
        self.assertEqual(text, "on 1 $host\n  server a 1\n  server b 1\n")
        with self.assertRaises(KeyError):
            render("@{unknown}", {}, {})

    def test_every_template_can_be_filled_in(self) -> None:
        member = {"name": "i", "address": "127.0.0.1:1", "port": 1, "workers": 1}
        values = {"front": "127.0.0.1:2", "front_port": 2, "directory": "/d", "user": "", "large_paths": "/export/"}
        values |= {"origin": "127.0.0.1:3", "origin_port": 3, "front_tls": "127.0.0.1:4", "front_tls_port": 4}
        values |= {"page": "x", "option": "", "certificate": "/d/c.pem"}
        for template in TEMPLATES.iterdir():
            text = render(template.read_text(), values, {name: [member] for name in ("all", "small", "large")})
            self.assertNotIn("@{", text, template.name)


class Loads(unittest.TestCase):
    def test_a_load_is_a_part_of_what_the_instances_can_do(self) -> None:
        classes = [{"name": "page", "rate": {"constant": 280.0}, "work_ms": {"lognormal": {"mean": 10.0, "cv": 1.0}}}]
        workload = Workload("all-small", {"secs": 24, "classes": classes}, (InstanceSpec(1, "end", 1.0, None),) * 4)
        half = at_load(workload, 50)
        self.assertEqual((half.name, half.base), ("all-small 50 %", "all-small"))
        self.assertAlmostEqual(half.json["classes"][0]["rate"]["constant"], 200.0)  # 400/s keep four workers busy


HELD = {"zeros": 1, "bins": [[10, 2]], "min": 0, "max": 9, "sum": 18}
REPORT = {
    "name": "instance-4", "workers": 1, "now": {"in_flight": 1}, "heavy_urls": [],
    "classes": [
        {"class": "page", "requests": 3, "errors": 0, "held_us": HELD},
        {"class": "export", "requests": 1, "errors": 0},
    ],
}


class Balancer(http.server.BaseHTTPRequestHandler):
    """Keeps what it is told."""

    told: list[bytes] = []

    def do_POST(self) -> None:
        self.told.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def spoiler(mode: str) -> Iterator[tuple[Spoiler, list[bytes]]]:
    """A spoiler before a balancer, and what that is told."""
    told: list[bytes] = []
    server = http.server.HTTPServer(("127.0.0.1", 0), type("Told", (Balancer,), {"told": told}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with processes() as running:
            with Spoiler(mode, running.free_port(), server.server_port, "instance-4", seed=7) as between:
                yield between, told
    finally:
        server.shutdown()
        server.server_close()


def post(between: Spoiler, report: dict[str, object]) -> int | None:
    """The status; None if the connection broke off."""
    connection = http.client.HTTPConnection("127.0.0.1", between.port, timeout=5)
    with contextlib.closing(connection):
        connection.request("POST", "/v1/report", json.dumps(report))
        with contextlib.suppress(http.client.RemoteDisconnected):
            return connection.getresponse().status
    return None


class Reports(unittest.TestCase):
    def test_lies(self) -> None:
        zero = constant_zero(REPORT)
        self.assertEqual(zero["classes"][0]["held_us"], {"zeros": 3, "bins": [], "min": 0, "max": 0, "sum": 0})
        self.assertEqual(thousand_workers(REPORT)["workers"], 1000)
        self.assertEqual([c["class"] for c in other_classes(REPORT)["classes"]], ["export", "page"])
        self.assertEqual(REPORT["workers"], 1, "the honest report is left as it was")

    def test_nothing_is_spoilt_before_it_begins(self) -> None:
        for mode in ("lose-all", *LIES):
            with spoiler(mode) as (between, told):
                self.assertEqual(post(between, REPORT), 200)
                self.assertEqual((json.loads(told[0]), between.spoilt), (REPORT, 0), mode)

    def test_reports_are_lost(self) -> None:
        with spoiler("lose-all") as (between, told):
            between.arm()
            self.assertEqual((post(between, REPORT), told, between.spoilt), (None, [], 1))
        with spoiler("lose-half") as (between, told):
            between.arm()
            answers = [post(between, REPORT) for _ in range(40)]
            self.assertEqual(answers.count(200), len(told))
            self.assertTrue(10 <= len(told) <= 30, f"{len(told)} of 40, seed 7")

    def test_only_the_liar_lies(self) -> None:
        with spoiler("nonsense") as (between, told):
            between.arm()
            honest = {**REPORT, "name": "instance-1"}
            self.assertEqual((post(between, honest), post(between, REPORT)), (200, 200))
            self.assertEqual(json.loads(told[0]), honest)
            self.assertEqual(json.loads(told[1]), LIES["nonsense"](REPORT))
            self.assertEqual(between.spoilt, 1)


class Programs(unittest.TestCase):
    def test_a_port_that_is_taken_is_an_error_and_never_given(self) -> None:
        with socket.socket() as taken, processes() as running:
            taken.bind(("127.0.0.1", running.free_port()))
            taken.listen()
            port = taken.getsockname()[1]
            self.assertFalse(is_free(port))
            with self.assertRaisesRegex(BenchError, f"port {port} is taken"):
                running.start("second", ["true"], [port])

    def test_a_program_that_ends_early_is_told_with_its_last_words(self) -> None:
        with processes() as running, self.assertRaisesRegex(BenchError, "ended with 3:\nno such thing"):
            running.start("early", ["sh", "-c", "echo no such thing; exit 3"], [running.free_port()])

    def test_everything_ends_with_the_block_whatever_happens(self) -> None:
        kept: list[tuple[Processes, int]] = []
        with self.assertRaises(KeyboardInterrupt), processes() as running:
            port = running.free_port()
            listen = f"import socket, time; s = socket.create_server(('127.0.0.1', {port})); time.sleep(60)"
            started = running.start("server", [sys.executable, "-c", listen], [port])
            kept.append((running, started.process.pid))
            self.assertTrue(accepts(port))
            raise KeyboardInterrupt
        running, pid = kept[0]
        with self.assertRaises(ProcessLookupError):
            os.kill(pid, 0)
        self.assertFalse(running.directory.exists())

    def test_what_a_program_printed_is_returned_and_misuse_is_an_error(self) -> None:
        with processes() as running:
            self.assertEqual(running.run("echo", ["sh", "-c", "echo out; exit 1"], 10), "out\n")
            with self.assertRaisesRegex(BenchError, "ended with 2"):
                running.run("misused", ["sh", "-c", "exit 2"], 10)


class Peers(unittest.TestCase):
    def test_experts_are_there_only_for_what_they_know(self) -> None:
        spec, slow = InstanceSpec(1, "end", 1.0, None), InstanceSpec(1, "end", 0.2, None)
        page, export = ({"name": n, "path": {"template": f"/{n}/{{n}}"}} for n in ("page", "export"))
        pages = Workload("slow-instance", {"classes": [page]}, (spec, slow))
        mixed = Workload("exports", {"classes": [page, export]}, (spec, spec))
        for workload, expert in ((pages, Kind.BY_HAND), (mixed, Kind.SPLIT)):
            fitting = {peer.kind for peer in PEERS.values() if peer.fits(workload)}
            self.assertEqual(fitting, {Kind.SLUICE, Kind.AUTOMATIC, expert})
        self.assertEqual(mixed.large_paths, ["/export/"])


if __name__ == "__main__":
    unittest.main()
