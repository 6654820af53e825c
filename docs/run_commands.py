#!/usr/bin/env python3
"""Runs the commands of the book's guides, page by page, each in an empty directory: `run_commands.py [PAGE ...]`.

In a page:
    <!-- commands: run -->              what is to become of its commands; or `by hand`, with what that needs: then it is
                                        run only if it is named
    <!-- file: app.py -->               the block below is that file
    ```console                          commands in order; one that ends in & goes on beside the others until the page ends
    ```console,setup                    installs something: not run here
    ```text                             below a block of commands: what the last of them prints; ... stands for anything

Each command must end with 0, and print what is expected, within PATIENCE: until then it is tried again, as a reader
would. 127.0.0.1:PORT and port = PORT become free ports. Needs release binaries, and what docs/setup installs.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from ports import free_port

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "docs" / "src"
PROGRAMS = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
VENV = ROOT / "target" / "guides-venv" / "bin"
PATIENCE = 30.0  # seconds for a command to do what the page says
PORT = re.compile(r"((?:127\.0\.0\.1|localhost):|^port ?= ?)(\d{4,5})\b", re.M)


class Block(NamedTuple):
    line: int
    kind: str
    file: str
    text: str


def blocks(page):
    """What stands between fences, with the file's name that the line above gives it."""
    page = re.sub(r"^<!-- before: (.*) -->$", r"```console\n\1\n```", page, flags=re.M)
    form = r"(?:<!-- file: (\S+) -->\n)?^```([^\n]*)\n(.*?)^```$"
    for match in re.finditer(form, page, re.S | re.M):
        line = page.count("\n", 0, match.start(2)) + 1
        yield Block(line, match[2], match[1] or "", match[3])


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

    def __init__(self, path, directory):
        self.path, self.directory = path, Path(directory)
        self.ports, self.beside = {}, []
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("SLUICE_") and "proxy" not in k.lower()}
        self.env["PATH"] = os.pathsep.join([str(PROGRAMS), str(VENV), self.env["PATH"]])

    def free(self, text):
        """With free ports instead of those of the page, the same for the same."""

        def port(match):
            if match[2] not in self.ports:
                self.ports[match[2]] = free_port()
            return f"{match[1]}{self.ports[match[2]]}"

        return PORT.sub(port, text)

    def run(self):
        listed = list(blocks(self.path.read_text()))
        for block, after in zip(listed, [*listed[1:], None]):
            if block.file:
                target = self.directory / block.file
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(self.free(block.text))
            if block.kind != "console":
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


def run(path):
    """What went wrong, or nothing."""
    started = time.monotonic()
    # What web servers serve must be readable to their users.
    with tempfile.TemporaryDirectory(prefix="sluice-guide-") as directory:
        os.chmod(directory, 0o755)
        page = Page(path, directory)
        try:
            page.run()
        except (Failed, subprocess.TimeoutExpired) as error:
            print(f"{path.relative_to(BOOK)}: {error}", file=sys.stderr)
            return False
        finally:
            page.end()
    print(f"{path.relative_to(BOOK)}: every command did what the page says ({time.monotonic() - started:.1f} s)")
    return True


def chosen(names):
    if names:
        return [Path(name).resolve() for name in names]
    pages = []
    for path in sorted(BOOK.rglob("*.md")):
        text = path.read_text()
        mark = re.search(r"^<!-- commands: (run|by hand)\b.*-->$", text, re.M)
        if not mark and path.is_relative_to(BOOK / "start") and "```console" in text:
            sys.exit(f"{path.relative_to(BOOK)} does not say what is to become of its commands")
        if mark and mark[1] == "run":
            pages.append(path)
        elif mark:
            print(f"{path.relative_to(BOOK)}: by hand")
    return pages or sys.exit("no page has commands to run")


def main():
    failed = [path for path in chosen(sys.argv[1:]) if not run(path)]
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
