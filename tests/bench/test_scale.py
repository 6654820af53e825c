"""What the benchmark of scale must notice, and its plot: `python3 -m unittest discover tests/bench`."""

import unittest
import xml.etree.ElementTree as ElementTree

import plot
import scale


def data(cores=0.4, accepted=100_000, refused=0, many_us=110.0, lost=0):
    agents = {"agents": 10_000, "secs": 10, "accepted": accepted, "refused": refused, "failed": 0, "bytes": 9_000,
              "cores": {"all": cores}, "registering_s": 9.0, "p99_ms": 3.0, "held": {"rss_kib": 300_000}}

    def asked(instances, classes, us):
        return {"instances": instances, "classes": classes, "data_us": us, "other_cores": 0.01, "failed": 0}

    held = {"rss_kib": 100_000, "descriptors": 19_800}
    idle = {"connections": 19_700, "failed": lost, "before": {"rss_kib": 20_000}, "with_all": held, "idle_cores": 0.01}
    return {
        "agents": [agents],
        "instances": [asked(4, 200, 100.0), asked(1_000, 200, many_us)],
        "classes": [asked(100, 10, 100.0), asked(100, 2_000, 100.0)],
        "connections": [idle],
    }


class Bars(unittest.TestCase):
    def test_what_is_beyond_a_bar_is_named(self):
        for case, measured, named in [
            ("all is well", data(), None),
            ("too dear", data(cores=0.51), "0.51 cores"),
            ("too few came to say", data(accepted=94_000), "94% of the reports came"),
            ("refused", data(refused=1), "1 reports refused"),
            ("grows with instances", data(many_us=126.0), "instances: 126 us with 1000"),
            ("lost", data(lost=2), "2 idle connections lost"),
        ]:
            found = scale.beyond(measured)
            self.assertEqual(len(found), 0 if named is None else 1, case)
            self.assertIn(named or "", "".join(found), case)

    def test_tables_tell_the_cost_of_one(self):
        table = scale.tables(data())
        self.assertIn("| 10,000 | 10,000 | 9.0 | 0.40 | 40 |", table)
        self.assertIn("| 19,700 | 4.2 | 19,800 |", table)


class Plots(unittest.TestCase):
    def test_every_point_is_drawn_where_it_belongs(self):
        points = [(10, 0.1), (100, 0.2), (1_000, 0.4)]
        picture = ElementTree.fromstring(plot.svg("a & b", [plot.Panel("t", "x", "y", points, bar=0.5)]))
        circles = [(float(c.get("cx")), float(c.get("cy"))) for c in picture.iter("{http://www.w3.org/2000/svg}circle")]
        self.assertEqual(len(circles), len(points))
        (x1, y1), (x2, y2), (x3, y3) = circles
        self.assertAlmostEqual(x2 - x1, x3 - x2, delta=0.2)  # equal factors, equal distances
        self.assertAlmostEqual(2 * (y1 - y2), y2 - y3, delta=0.2)  # and upwards
        self.assertTrue(all(0 < x < plot.WIDTH and 0 < y < plot.HEIGHT for x, y in circles))


if __name__ == "__main__":
    unittest.main()
