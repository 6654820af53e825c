"""Pictures for the documentation, and what drawing a large site costs."""

import time

from devtools import Chromium
from large_site import LargeSite, Server
from program import demo
from watching import ask, await_snapshots, show, show_all_classes, task_seconds

# Seconds for which the demo runs before its pictures are taken: the shortest range of the plots, filled.
FOR_PICTURES = 290.0


def pictures(directory):
    """Takes those of the documentation, once the demo has run for a while."""
    directory.mkdir(parents=True, exist_ok=True)
    with Chromium() as browser, demo(100) as site:
        page = browser.page()
        show(page, site.url)
        began = time.monotonic()
        while time.monotonic() - began < FOR_PICTURES:
            page.until("that it is live", "document.querySelector('#connection-text').textContent.startsWith('live')")
            time.sleep(1)
        take = lambda name, **more: (directory / f"{name}.png").write_bytes(page.screenshot(**more))
        page.until("a dedicated instance", "document.querySelector('.badge.dedicated')")
        take("dashboard-light", whole=True)
        page.look(scheme="dark")
        await_snapshots(page, 1)
        take("dashboard-dark", whole=True)
        page.look(scheme="light")
        ask(page, "/export/77")
        take("explain")


def bench():
    """What a snapshot of a large site, all of it shown, costs the main thread, and how frames come meanwhile."""
    with Chromium() as browser, Server(LargeSite(200, 500), 1) as site:
        page = browser.page()
        show(page, site.url, motion="no-preference")
        show_all_classes(page)
        used = task_seconds(page)
        await_snapshots(page, 10)
        each = (task_seconds(page) - used) / 10
        page.evaluate("noteFrames()")
        await_snapshots(page, 10)
        frames = sorted(page.evaluate("noted.frames"))
        p50, p99 = frames[len(frames) // 2], frames[len(frames) * 99 // 100]
        print(f"{each * 1000:.0f} ms of CPU time per snapshot; frames p50 {p50:.0f} ms, p99 {p99:.0f} ms")
