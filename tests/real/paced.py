"""Load at a steady rate, whatever becomes of it: who answered what, and when it was asked for."""

import collections
import sys
import threading
import time
import urllib.request

from run import OPENER


def ask(url, work_us):
    """The instance that answered."""
    request = urllib.request.Request(url, headers={"X-Emulate-Work-Us": str(work_us)})
    with OPENER.open(request, timeout=60) as answer:
        answer.read()
        return answer.headers["X-Emulate-Instance"]


class Paced:
    """Asks for one URL at a steady rate, and remembers when, and who answered; `None` for a failure."""

    def __init__(self, url, per_second, work_us):
        self.url, self.pause, self.work_us = url, 1 / per_second, work_us
        self.answers, self.over, self.threads = [], threading.Event(), []

    def __enter__(self):
        self.clock = threading.Thread(target=self.run)
        self.clock.start()
        return self

    def run(self):
        due = time.monotonic()
        while not self.over.wait(max(0.0, due - time.monotonic())):
            due += self.pause
            thread = threading.Thread(target=self.ask, args=(time.monotonic(),))
            thread.start()
            self.threads.append(thread)

    def ask(self, asked):
        try:
            self.answers.append((asked, ask(self.url, self.work_us)))
        except OSError as error:
            print(f"{self.url} failed: {error}", file=sys.stderr)
            self.answers.append((asked, None))

    def __exit__(self, *_):
        self.over.set()
        self.clock.join()
        for thread in self.threads:
            thread.join()

    def failures(self):
        """When those were asked for that failed."""
        return [asked for asked, name in list(self.answers) if name is None]

    def failed(self):
        return len(self.failures())

    def since(self, begin):
        """Who answered what was asked for since then."""
        return collections.Counter(name for asked, name in list(self.answers) if asked >= begin)

    def share(self, of, seconds):
        """Waits that long, or until enough is answered to tell, and counts what was asked for meanwhile."""
        begin, enough = time.monotonic(), seconds / self.pause / 4
        time.sleep(seconds)
        while self.since(begin).total() < enough and time.monotonic() < begin + 5 * seconds:
            time.sleep(0.1)
        counted = self.since(begin)
        assert counted.total() >= enough, f"too few answers to tell: {counted}"
        return counted[of] / counted.total()
