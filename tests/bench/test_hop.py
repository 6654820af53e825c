"""Self-test of the hop benchmark: `python3 -m unittest discover tests/bench`."""

import socket
import sys
import threading
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import hop_memory
from hop import with_added
from hop_figures import Load, per_gb, read_h2load, read_latencies, read_wrk
from hop_report import BARS, FIGURES, TITLES, comparison, judge, verdicts
from hops import HOPS
from processes import BenchError
from stats import spread, spreads

WRK = """Running 4s test @ http://127.0.0.1:1/page/1
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     4.21ms    2.07ms  30.53ms   78.99%
    Req/Sec    15.40k     1.90k   19.14k    70.00%
  61334 requests in 4.00s, 72.41MB read
{}Requests/sec:  15320.52
Transfer/sec:     18.09MB
"""
H2LOAD = """starting benchmark...
finished in 4.00s, 10902.75 req/s, 11.20MB/s
requests: 43611 total, 43675 started, 43611 done, 43609 succeeded, 2 failed, 0 errored, 0 timeout
status codes: 43609 2xx, 0 3xx, 2 4xx, 0 5xx
"""


class Generators(unittest.TestCase):
    def test_wrk_tells_requests_rate_and_failures_of_each_kind(self) -> None:
        failures = "  Socket errors: connect 1, read 20, write 0, timeout 300\n  Non-2xx or 3xx responses: 4000\n"
        self.assertEqual(read_wrk(WRK.format("")), Load(61334, 15320.52, 0))
        self.assertEqual(read_wrk(WRK.format(failures)), Load(61334, 15320.52, 4321))

    def test_h2load_counts_what_succeeded(self) -> None:
        self.assertEqual(read_h2load(H2LOAD), Load(43609, 10902.75, 2))

    def test_a_generator_that_says_nothing_is_an_error(self) -> None:
        for read in (read_wrk, read_h2load):
            with self.assertRaises(BenchError):
                read("unable to connect\n")

    def test_blobs_are_told_per_gb(self) -> None:
        found = per_gb({"blob_per_s": 1e9 / 2_613_064, "blob_cpu_us": 2_613.064})
        self.assertAlmostEqual(found["gb_per_s"], 1.0)
        self.assertAlmostEqual(found["gb_cpu_ms"], 1000.0)


class Latencies(unittest.TestCase):
    def test_they_are_of_all_but_the_first_tenth(self) -> None:
        cold = [{"total_ms": 99.0, "failed": None}] * 100
        warm = [{"total_ms": n / 1e3, "failed": None} for n in range(1, 901)]
        found = read_latencies({"requests": cold + warm})
        self.assertEqual({name: round(value) for name, value in found.items()}, {"p50_us": 450, "p99_us": 891, "p999_us": 900})

    def test_a_failed_request_has_none_and_is_an_error(self) -> None:
        with self.assertRaises(BenchError):
            read_latencies({"requests": [{"total_ms": 1.0, "failed": "reset"}]})

    def test_a_hop_adds_what_it_takes_beyond_the_origin_in_the_same_round(self) -> None:
        found = with_added({"direct": [{"p99_us": 100.0}, {"p99_us": 300.0}], "nginx": [{"p99_us": 150.0}, {"p99_us": 360.0}]})
        self.assertEqual([one["added_p99_us"] for one in found["nginx"]], [50.0, 60.0])
        self.assertNotIn("added_p99_us", found["direct"][0])
        alone = [{"p99_us": 150.0}]
        self.assertEqual(with_added({"nginx": alone}), {"nginx": alone}, "the origin was not measured")


class Judged(unittest.TestCase):
    def test_each_bar_passes_at_its_factor_and_fails_just_above(self) -> None:
        for bar in BARS:
            for above, passed in ((0.0, True), (0.01, False)):
                limit = bar.factor * (1000.0 if bar.rival else 1.0)
                results = {bar.hop: {bar.figure: spread([limit * (1 + above)])}}
                if bar.rival:
                    results[bar.rival] = {bar.figure: spread([1000.0])}
                verdict = next(one for one in judge(results) if one.bar == bar)
                self.assertIs(verdict.passed, passed, verdict)

    def test_what_was_not_measured_is_neither_passed_nor_failed(self) -> None:
        judged = judge({"sluice": {"small_cpu_us": spread([1.0])}})
        self.assertEqual({verdict.passed for verdict in judged}, {None})
        self.assertIn("not measured", verdicts(judged))

    def test_bars_are_about_hops_and_figures_that_there_are(self) -> None:
        for bar in BARS:
            self.assertIn(bar.hop, HOPS)
            self.assertTrue(bar.rival is None or bar.rival in HOPS)
            self.assertIn(bar.figure, TITLES)

    def test_the_table_has_a_column_for_each_hop_and_a_row_for_each_figure_measured(self) -> None:
        results = {"nginx": spreads([{"idle_kb": 0.7}, {"idle_kb": 0.9}, {"idle_kb": 0.8}]), "direct": spreads([{}])}
        header, _, *rows = comparison(results).splitlines()
        self.assertLess(header.index("no hop"), header.index("nginx"))
        self.assertEqual(len(rows), 1)
        self.assertIn("0.8 (0.7-0.9)", rows[0])
        self.assertGreater(len(FIGURES), 10)


class Memory(unittest.TestCase):
    def test_a_response_is_read_to_its_end_and_no_further(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            thread = threading.Thread(target=serve_once, args=(server, b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1024))
            thread.start()
            hop_memory.answered(port, 3).close()
            thread.join()

    def test_a_response_that_breaks_off_is_an_error(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            thread = threading.Thread(target=serve_once, args=(server, b"HTTP/1.1 200 OK\r\n\r\nx"))
            thread.start()
            with self.assertRaises(BenchError):
                hop_memory.answered(port, 0)
            thread.join()


def serve_once(server: socket.socket, answer: bytes) -> None:
    client, _ = server.accept()
    with client:
        client.recv(4096)
        client.sendall(answer)


if __name__ == "__main__":
    unittest.main()
