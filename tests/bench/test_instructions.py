"""Self-test of the count of instructions: `python3 -m unittest discover tests/bench`."""

import json
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from instructions import BOUNDS, TIMES, judge, of_one, read_collected


class Counting(unittest.TestCase):
    def test_what_callgrind_prints_is_read(self) -> None:
        printed = "==7== Events    : Ir\n==7== Collected : 51598543\n==7== \n==7== I   refs:      51,598,543\n"
        self.assertEqual(read_collected(printed), 51_598_543)
        with self.assertRaises(ValueError):
            read_collected("Segmentation fault")

    def test_what_comes_before_the_work_is_not_counted(self) -> None:
        self.assertEqual(of_one((5_000_000 + 1234 * TIMES[0], 5_000_000 + 1234 * TIMES[1])), 1234)


class Judged(unittest.TestCase):
    def test_a_tenth_more_or_less_is_tolerated_and_no_more(self) -> None:
        for now, kept, word in ((1100, True, "as before"), (1101, False, "MORE"), (900, True, "as before"), (899, False, "LESS")):
            text, all_kept = judge({"pick": now}, {"pick": 1000})
            self.assertEqual((all_kept, word in text), (kept, True), text)

    def test_cases_that_come_or_go_must_be_written_down(self) -> None:
        for found, bounds, word in (({"pick": 1}, {}, "new"), ({}, {"pick": 1}, "gone")):
            text, kept = judge(found, bounds)
            self.assertEqual((kept, word in text), (False, True))

    def test_what_is_kept_are_counts(self) -> None:
        bounds = json.loads(BOUNDS.read_text())
        self.assertTrue(all(isinstance(bound, int) and bound > 0 for bound in bounds.values()))


if __name__ == "__main__":
    unittest.main()
