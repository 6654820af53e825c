#!/usr/bin/env python3
"""What decisions and reports cost in instructions, which no other load on the machine changes.

Each case of tests/instructions runs under callgrind for two numbers of times; the difference is what one
costs. Compares with tests/bench/instructions.json; exit code 1 beyond 10 % of it, in either direction: what became
cheaper is to be kept (--write).

Needs valgrind (tests/bench/setup) and a release binary: `./check instructions` sees to both.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import machine
import tables

BOUNDS = Path(__file__).parent / "instructions.json"
TIMES = (100, 400)
TOLERANCE = 0.1


def collected(program: Path, case: str, times: int) -> int:
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", str(program), case, str(times)]
    return read_collected(subprocess.run(command, check=True, capture_output=True, text=True).stderr)


def read_collected(printed: str) -> int:
    """Instructions, from callgrind's last words."""
    found = re.search(r"Collected : (\d+)", printed)
    if not found:
        raise ValueError(f"callgrind told no count:\n{printed}")
    return int(found[1])


def of_one(counts: tuple[int, int]) -> int:
    return round((counts[1] - counts[0]) / (TIMES[1] - TIMES[0]))


def judge(found: Mapping[str, int], bounds: Mapping[str, int]) -> tuple[str, bool]:
    """A table, and whether every case is what it was."""
    rows = [row(case, found.get(case), bounds.get(case)) for case in dict.fromkeys([*found, *bounds])]
    return tables.table(["case", "instructions", "before", "change", ""], rows), all(r[-1] == "as before" for r in rows)


def row(case: str, now: int | None, before: int | None) -> list[str]:
    if now is None or before is None:
        return [case, tables.number(now), tables.number(before), tables.NONE, "gone" if now is None else "new"]
    change = now - before
    words = "as before" if abs(change) <= TOLERANCE * before else "MORE" if change > 0 else "LESS"
    return [case, tables.number(now), tables.number(before), f"{100 * change / before:+.1f} %", words]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="take what is found for what is to be kept")
    options = parser.parse_args()
    program = machine.PROGRAMS / "sluice-instructions"
    listed = subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout
    found = {
        case: of_one((collected(program, case, TIMES[0]), collected(program, case, TIMES[1])))
        for case in listed.split()
    }
    if options.write:
        BOUNDS.write_text(json.dumps(found, indent=1) + "\n")
    text, kept = judge(found, json.loads(BOUNDS.read_text()))
    print(text)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
