#!/usr/bin/env python3
"""Keeps the README's lists of flags true: `flags.py` rewrites them, `flags.py --check` compares.

Needs release binaries.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"


def rows(program):
    """(flag, what it does) from the short help."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("SLUICE_")}
    text = subprocess.run([PROGRAMS / program, "-h"], capture_output=True, text=True, check=True, env=env).stdout
    # Further headings ("Limits:") are no part of the flag above them.
    options = re.sub(r"\n\n\S.*:\n", "\n", text.split("Options:\n", 1)[1])
    for entry in re.split(r"\n(?=\s+-)", options):
        flag, _, about = entry.strip().partition("  ")
        about = re.sub(r"\s*\[env: [^\]]*\]", "", " ".join(about.split()))
        flag = flag.replace("-h, ", "").replace("-V, ", "")
        yield flag.strip().replace("|", "\\|"), about.replace("|", "\\|").replace("<", "&lt;")


def table(program):
    lines = ["| flag | what |", "|---|---|"]
    lines += [f"| `{flag}` | {about} |" for flag, about in rows(program)]
    return "\n".join(lines)


def main():
    readme = ROOT / "README.md"
    text = new = readme.read_text()
    for program in ("sluice-balancer", "sluice-agent"):
        pattern = rf"(<!-- flags of {program} -->\n).*?(<!-- end -->)"
        new = re.sub(pattern, lambda match: f"{match[1]}{table(program)}\n{match[2]}", new, flags=re.S)
    if "--check" not in sys.argv:
        readme.write_text(new)
    elif new != text:
        sys.exit("README.md does not list the flags as they are: run tests/flags.py")


if __name__ == "__main__":
    main()
