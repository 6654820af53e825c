"""`sluice-balancer top` in a real terminal (tmux): what it shows, what its keys do, what it leaves behind."""

import contextlib
import json
import re
import subprocess

from demo import running
from run import PROGRAMS, eventually, free_port, status

PROMPT = "the-prompt$"


class Terminal:
    """A shell in a terminal of its own; the server is this test's alone."""

    def __init__(self, directory, columns, lines):
        self.socket = directory / f"tmux-{columns}"
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(lines), f"env PS1='{PROMPT} ' sh")
        eventually("a prompt", lambda: PROMPT in self.text())

    def tmux(self, *command):
        done = subprocess.run(["tmux", "-S", self.socket, *command], capture_output=True, text=True)
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout

    def text(self):
        return self.tmux("capture-pane", "-p")

    def type(self, *keys):
        self.tmux("send-keys", *keys)

    def resize(self, columns, lines):
        self.tmux("resize-window", "-x", str(columns), "-y", str(lines))

    def shows(self, what, check):
        """Waits until the screen's text is as wanted; says what it was otherwise."""
        seen = {}

        def look():
            seen["text"] = self.text()
            return check(seen["text"])

        try:
            eventually(what, look)
        except AssertionError as late:
            raise AssertionError(f"{late}; the screen is\n{seen['text']}") from None

    def state(self, name):
        return self.tmux("display-message", "-p", f"#{{{name}}}").strip()

    def close(self):
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], capture_output=True)


@contextlib.contextmanager
def terminal(directory, columns=150, lines=50):
    opened = Terminal(directory, columns, lines)
    try:
        yield opened
    finally:
        opened.close()


def in_order(*names):
    """Whether all stand at the beginnings of lines, one below the other."""
    return lambda text: bool(re.search("".join(rf"^\s*{re.escape(name)}\s(?s:.*)" for name in names), text, re.M))


def test_keys(demo, directory):
    with terminal(directory) as screen:
        screen.type(f"{PROGRAMS}/sluice-balancer top --admin http://{demo.admin}", "Enter")
        instances = [f"instance-{n}" for n in (1, 2, 3, 4)]
        screen.shows("instances", in_order(*instances))
        screen.shows("classes, the plan and how it is", lambda text: all(
            part in text for part in ("4 of 4 instances get requests", "GET /", "small", "> Classes", "q quit")
        ))
        assert screen.state("alternate_on") == "1"
        screen.type("Tab", "r")
        screen.shows("instances the other way round", in_order(*reversed(instances)))
        screen.type("/", "instance-3", "Enter")
        screen.shows("one instance", lambda text: "instance-3" in text and not in_order("instance-1")(text))
        screen.type("Escape")
        screen.shows("all of them again", in_order(*reversed(instances)))
        screen.resize(60, 30)
        screen.shows("less on a narrow one", lambda text: in_order("instance-4")(text) and "streams" not in text)
        screen.type("q")
        screen.shows("the prompt", lambda text: text.rstrip().endswith(PROMPT))
        restored(screen)


def restored(screen):
    assert (screen.state("alternate_on"), screen.state("cursor_flag")) == ("0", "1")
    # Typed text must be shown, and Enter must be a line's end.
    screen.type("clear; stty -a", "Enter")
    screen.shows("echo and canonical mode", lambda text: re.search(r"\sicanon\s", text) and re.search(r"\secho\s", text))


def test_restart(directory, log):
    """A balancer that goes and comes back, behind a token."""
    admin, token = f"127.0.0.1:{free_port()}", directory / "token"
    token.write_text("a-token-that-nobody-guesses\n")
    token.chmod(0o600)
    command = [
        PROGRAMS / "sluice-balancer", "--listen", f"127.0.0.1:{free_port()}", "--admin", admin,
        "--token-file", token, "--instance", f"127.0.0.1:{free_port()},name=zope-1",
    ]
    ready = lambda: status(f"http://{admin}/readyz")[0] == 200
    with terminal(directory, columns=140) as screen:
        with running(command, log):
            eventually("the balancer is ready", ready)
            screen.type(f"{PROGRAMS}/sluice-balancer top --admin http://{admin} --token-file {token}", "Enter")
            screen.shows("its instance", in_order("zope-1"))
        screen.shows("that it is stale", lambda text: "STALE" in text and in_order("zope-1")(text))
        with running(command, log):
            screen.shows("that it is back", lambda text: "STALE" not in text and in_order("zope-1")(text))
        screen.type("C-c")
        screen.shows("the prompt", lambda text: text.rstrip().endswith(PROMPT))
        restored(screen)


def top(*arguments):
    return subprocess.run([PROGRAMS / "sluice-balancer", "top", *arguments], capture_output=True, text=True)


def test_scripts(demo):
    """--once and --json, and what is said where there is no terminal or no balancer."""
    admin = ("--admin", f"http://{demo.admin}")
    once = top(*admin, "--once", "--sort-instances", "-instance")
    assert once.returncode == 0 and in_order("instance-4", "instance-1")(once.stdout), once
    assert "\x1b" not in once.stdout
    site = json.loads(top(*admin, "--json").stdout)
    assert len(site["instances"]) == 4 and site["classes"] and site["plan"]["services"], site
    for arguments, part in (
        (admin, "--once"),
        (("--admin", f"http://127.0.0.1:{free_port()}", "--once"), "is the balancer running"),
        (("--admin", "nonsense", "--once"), "http://127.0.0.1:9900"),
        ((*admin, "--once", "--sort-classes", "speed"), "p99"),
    ):
        failed = top(*arguments)
        assert failed.returncode in (1, 2) and part in failed.stderr, failed


def test(demo, directory, log):
    test_scripts(demo)
    test_keys(demo, directory)
    test_restart(directory, log)
    return "top shows, sorts, filters, says what is stale, and leaves the terminal as it was"
