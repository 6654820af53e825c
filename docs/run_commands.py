#!/usr/bin/env python3
"""Runs the commands of the book's guides, page by page, each in an empty directory: `run_commands.py [PAGE ...]`.

In a page:
    <!-- commands: run -->              from here on commands are run, to the end or to `commands: end`; a page without it
                                        must have no commands
    <!-- commands: run, needs envoy --> the same, if there is such a program; said, if not
    <!-- file: app.py -->               the block below is that file
    <!-- before: COMMAND -->            is run, too, and not shown to readers
    ```console                          commands in order; one that ends in & goes on beside the others until the page ends
    ```console,setup                    installs something: docs/setup does it
    <!-- not run: REASON -->            the block below is not run: it needs what no test can have
    ```text                             below a block of commands: what the last of them prints; ... stands for anything

Each command must end with 0, and print what is expected, within PATIENCE: until then it is tried again, as a reader
would. 127.0.0.1:PORT, port = PORT and port_value: PORT become free ports, /etc/sluice a directory. Pages run side by
side. Needs release binaries, and what docs/setup installs.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from ports import free_port  # noqa: E402

BOOK = ROOT / "docs" / "src"
PROGRAMS = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
INSTALLED = [ROOT / "target" / venv / "bin" for venv in ("guides-venv", "bench-venv")]
PATH = os.pathsep.join([str(PROGRAMS), *map(str, INSTALLED), os.environ["PATH"], "/usr/sbin"])
PATIENCE = 60.0  # seconds for a command to do what the page says
AT_ONCE = 4  # pages
PORT = re.compile(r"((?:127\.0\.0\.1|localhost):|^port ?= ?|port_value: )(\d{4,5})\b", re.M)
MARK = re.compile(r"^<!-- commands: run(?:, needs (\S+))? -->$(.*?)(?:^<!-- commands: end -->$|\Z)", re.M | re.S)


class Block(NamedTuple):
    line: int
    kind: str
    file: str
    left_out: str  # the reason for which it is not run
    text: str


class Part(NamedTuple):
    """What of a page is run."""

    path: Path
    begin: int  # its line
    text: str
    needs: str  # a program, or nothing


def blocks(page, begin=1):
    """What stands between fences, with what the line above says of it."""
    # In one line, so that lines can be counted.
    page = re.sub(r"^<!-- before: (.*) -->$", r"```console \1```", page, flags=re.M)
    form = r"^```console (?P<before>[^\n]*)```$|" \
        r"(?:<!-- (?P<what>file|not run): (?P<said>[^\n]+) -->\n)?^```(?P<kind>[^\n]*)\n(?P<text>.*?)^```$"
    for match in re.finditer(form, page, re.S | re.M):
        if match["before"]:
            # As if the fence were in the line before.
            yield Block(begin + page.count("\n", 0, match.start()) - 1, "console", "", "", match["before"] + "\n")
            continue
        line = begin + page.count("\n", 0, match.start("kind"))
        said = {match["what"]: match["said"]}
        yield Block(line, match["kind"], said.get("file", ""), said.get("not run", ""), match["text"])


def commands(block):
    """(line, command) of a block of commands; a backslash continues a line."""
    line = block.line
    for command in re.findall(r"(?:[^\n]*\\\n)*[^\n]*\n", block.text):
        line += command.count("\n")
        if command.strip() and not command.startswith("#"):
            yield line, command.strip()


def matches(expected, printed):
    """Whether it was printed: spaces at the ends of lines aside, and with anything for `...`."""
    lines = [re.escape(line.rstrip()).replace(re.escape("..."), ".*") for line in expected.strip().splitlines()]
    pattern = "\n".join("(?s:.*)" if line == ".*" else line for line in lines)
    text = "\n".join(line.rstrip() for line in printed.strip().splitlines())
    return re.fullmatch(pattern, text) is not None


class Failed(Exception):
    pass


class Page:
    """One page's commands under way."""

    def __init__(self, part, directory):
        self.part, self.directory = part, Path(directory)
        self.ports, self.beside = {}, []
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("SLUICE_") and "proxy" not in k.lower()}
        self.env["PATH"] = PATH

    def free(self, text):
        """With free ports instead of those of the page, the same for the same, and no directory of the machine's."""

        def port(match):
            if match[2] not in self.ports:
                self.ports[match[2]] = free_port()
            return f"{match[1]}{self.ports[match[2]]}"

        return PORT.sub(port, text).replace("/etc/sluice", str(self.directory / "etc"))

    def run(self):
        (self.directory / "etc").mkdir()
        listed = list(blocks(self.part.text, self.part.begin))
        for block, after in zip(listed, [*listed[1:], None]):
            if block.file:
                target = self.directory / block.file
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(self.free(block.text))
            if block.kind != "console" or block.left_out:
                continue
            steps = list(commands(block))
            for line, command in steps:
                expected = after.text if after and after.kind == "text" and (line, command) == steps[-1] else None
                self.step(line, self.free(command), expected and self.free(expected))
        self.check_beside()

    def step(self, line, command, expected):
        if command.endswith("&"):
            with open(self.directory / f"output-{line}", "wb") as log:
                process = subprocess.Popen(
                    ["bash", "-c", f"exec {command[:-1]}"], cwd=self.directory, env=self.env,
                    stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                )  # fmt: skip
            self.beside.append((line, command, process))
            return
        end = time.monotonic() + PATIENCE
        while True:
            done = subprocess.run(
                ["bash", "-c", command], cwd=self.directory, env=self.env, text=True, errors="replace",
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE,
            )  # fmt: skip
            if done.returncode == 0 and (expected is None or matches(expected, done.stdout)):
                return
            self.check_beside()
            if time.monotonic() > end:
                said = f"it ended with {done.returncode} and printed\n{done.stdout}{done.stderr}"
                wanted = f"instead of\n{expected}" if expected is not None else ""
                raise Failed(f"line {line}: {command}\n{said}{wanted}{self.outputs()}")
            time.sleep(0.2)

    def outputs(self):
        """What the processes beside have printed at last."""
        texts = []
        for line, command, process in self.beside:
            state = "runs" if process.poll() is None else f"ended with {process.returncode}"
            tail = (self.directory / f"output-{line}").read_text(errors="replace").splitlines()[-15:]
            texts.append("\n".join(["", f"--- line {line}, {state}: {command}", *tail]))
        return "".join(texts)

    def check_beside(self):
        """What is to go on beside must not have ended badly."""
        for line, command, process in self.beside:
            if process.poll() not in (None, 0):
                raise Failed(f"line {line}: {command}\nit ended with {process.returncode}{self.outputs()}")

    def end(self):
        """Ends what goes on, with whatever it has started, the last first."""
        for _, _, process in reversed(self.beside):
            if process.poll() is None:
                process.terminate()
        end = time.monotonic() + 5
        for _, _, process in self.beside:
            try:
                process.wait(max(end - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                pass
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()


def name_of(path):
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def run(part):
    """Whether all went well."""
    name, started = name_of(part.path), time.monotonic()
    if part.needs and not shutil.which(part.needs, path=PATH):
        print(f"{name}: left out, as there is no {part.needs} for this machine", flush=True)
        return True
    # What web servers serve must be readable to their users.
    with tempfile.TemporaryDirectory(prefix="sluice-guide-") as directory:
        os.chmod(directory, 0o755)
        page = Page(part, directory)
        try:
            page.run()
        except (Failed, subprocess.TimeoutExpired) as error:
            print(f"{name}: {error}", file=sys.stderr, flush=True)
            return False
        finally:
            page.end()
    print(f"{name}: every command did what the page says ({time.monotonic() - started:.1f} s)", flush=True)
    return True


def parts(path):
    """What is to be run of a page; ends if it has commands of which it does not say what is to become of them."""
    text, marked = path.read_text(), []
    for match in MARK.finditer(text):
        begin = text.count("\n", 0, match.start(2)) + 1
        marked.append(Part(path, begin, match[2], match[1] or ""))
        for block in blocks(match[2], begin):
            if block.left_out:
                print(f"{name_of(path)}, line {block.line}: not run, {block.left_out}")
    shown = [block.kind for block in blocks(text) if block.kind in ("console", "sh", "bash", "shell")]
    if path.is_relative_to(BOOK) and (set(shown) - {"console"} or shown and not marked):
        sys.exit(f"{name_of(path)} does not say what is to become of its commands")
    return marked


def main():
    pages = [Path(name).resolve() for name in sys.argv[1:]] or [ROOT / "README.md", *sorted(BOOK.rglob("*.md"))]
    chosen = [part for path in pages for part in parts(path)] or sys.exit("no page has commands to run")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        sys.exit(0 if all(list(pool.map(run, chosen))) else 1)


if __name__ == "__main__":
    main()
