#!/usr/bin/env python3
"""The dashboard in a real browser: what people see, can do, and are spared.

Needs tests/browser/setup to have been run, and a release binary (cargo build --release).
With --screenshots DIR it takes the pictures of the documentation instead (five minutes), with --bench it prints
what drawing a large site costs. Other arguments are those of unittest: names of tests, -v.
"""

import json
import os
import signal
import sys
import tempfile
import unittest
from pathlib import Path

from devtools import DEADLINE, Chromium
from extras import bench, pictures
from large_site import LargeSite, Server
from program import OPENER, Program, demo
from watching import ask, await_snapshots, show, show_all_classes, task_seconds

CONTRAST = (Path(__file__).parent / "contrast.js").read_text()
LAYOUT = (Path(__file__).parent / "layout.js").read_text()
# Of the demo's usual traffic, in percent: so little that no busy machine makes it overload.
LOAD = 20


def row(name):
    """An expression: the row of an instance."""
    return f"[...document.querySelectorAll('#instances tr')].find((row) => row.querySelector('.name').textContent === {json.dumps(name)})"


class InBrowser(unittest.TestCase):
    """One browser for all tests of a class."""

    @classmethod
    def setUpClass(cls):
        cls.browser = cls.enterClassContext(Chromium())

    def show(self, url, **look):
        page = self.browser.page()
        self.addCleanup(page.close)
        show(page, url, **look)
        return page

    def assert_sound(self, page, url):
        """Nothing to complain of, and nothing from elsewhere."""
        self.assertEqual(page.complaints, [])
        self.assertTrue(page.requests)
        self.assertEqual([request for request in page.requests if not request.startswith(url)], [])

    def assert_legible(self, page):
        found = page.evaluate(CONTRAST)
        self.assertGreater(found["checked"], 50)
        self.assertEqual(found["faint"], [])

    def assert_steady(self, page):
        self.assertLess(page.evaluate("layoutShift()"), 0.1, page.evaluate("noted.shifts"))

    def assert_named(self, page):
        """Everything that can be used or looked at has a name, and the page has its landmarks."""
        nodes = page.accessible()
        need = {"button", "checkbox", "combobox", "dialog", "image", "link", "radio", "radiogroup", "region", "rowheader",
                "columnheader", "searchbox", "textbox", "heading", "table"}
        self.assertEqual([role for role, name in nodes if role in need - {"table"} and not name.strip()], [])
        roles = [role for role, _ in nodes]
        for landmark in ("banner", "main", "contentinfo"):
            self.assertEqual(roles.count(landmark), 1, landmark)
        self.assertGreater(roles.count("heading"), 5)
        self.assertEqual(page.evaluate("document.querySelectorAll('h1').length"), 1)
        self.assertEqual(page.evaluate("document.querySelector('#health').getAttribute('role')"), "status")


class Demo(InBrowser):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.demo = cls.enterClassContext(demo(LOAD))

    def test_an_operator_watches_asks_and_drains(self):
        page = self.show(self.demo.url)
        self.sees_the_site(page)
        self.sees_a_dedication_with_its_reason(page)
        self.asks_about_a_path(page)
        self.drains_and_readies(page)
        self.assert_steady(page)
        self.assert_sound(page, self.demo.url)

    def sees_the_site(self, page):
        page.until("four instances", "document.querySelectorAll('#instances tr').length === 4")
        page.until("classes", "['GET /page/{n}', 'GET /export/{n}'].every((name) => document.querySelector('#classes').innerText.includes(name))")
        page.until("flows", "document.querySelectorAll('.ribbon').length >= 4")
        page.until("plots", "[...document.querySelectorAll('.plot')].filter((plot) => plot.querySelector('.line').getAttribute('d')).length >= 3")
        page.until("a version", f"({row('instance-1')}).innerText.includes('2026.11')")
        page.until("that it is live", "document.querySelector('#connection-text').textContent.startsWith('live')")
        page.until("health", "document.querySelector('#health-text').textContent.length > 0")

    def sees_a_dedication_with_its_reason(self, page):
        page.until("a dedicated instance", "document.querySelector('.badge.dedicated')")
        page.until("what it is for", "/to (GET .*, )?GET .export.{n}.* for [0-9]+ /.test(document.querySelector('#instances').innerText)")
        page.until("why", "[...document.querySelectorAll('#timeline li')].some((line) => line.dataset.group === 'plan' && /large requests .* they go here first/.test(line.innerText))")
        page.until("it in the picture", "[...document.querySelectorAll('.mark')].some((mark) => mark.textContent.includes('dedicated'))")

    def asks_about_a_path(self, page):
        ask(page, "/export/77")
        text = page.evaluate("document.querySelector('#explanation').innerText")
        self.assertIn("GET /export/{n}", text)
        self.assertRegex(text, r"(Sent to instance-\d|Waits|Turned away)")
        self.assertRegex(text, r"holds a worker for")
        self.assertEqual(page.evaluate("document.querySelectorAll('.candidates li').length"), 4)

    def drains_and_readies(self, page):
        state = lambda: next(i for i in self.demo.json("v1/instances") if i["name"] == "instance-3")
        page.click("[aria-label='Drain instance-3']")
        page.until("a question", "document.querySelector('#confirm').open && document.activeElement.id === 'confirm-yes'")
        page.press("Escape")
        page.until("the question gone", "!document.querySelector('#confirm').open")
        self.assertTrue(state()["routed"], "nothing was confirmed")
        page.click("[aria-label='Drain instance-3']")
        page.click("#confirm-yes")
        page.until("that it is drained", f"({row('instance-3')}).innerText.includes('drained')")
        page.until("the answer", "document.querySelector('#toast').textContent.includes('instance-3 gets no requests')")
        page.until("it in the health line", "/taken out by the operator/.test(document.querySelector('#health-text').textContent)")
        page.until("its workers idle", f"({row('instance-3')}).innerText.includes('0 of 1 held')")
        self.assertFalse(state()["routed"])
        page.until("the operator's word in the timeline", "document.querySelector('#timeline li[data-group=operator]')")
        page.click("[aria-label='Ready instance-3']")
        page.press("Enter")
        page.until("that it is back", f"({row('instance-3')}).innerText.includes('general') || ({row('instance-3')}).innerText.includes('dedicated')")
        page.until("a drain button again", "document.querySelector(\"[aria-label='Drain instance-3']\")")
        self.assertTrue(state()["routed"])

    def test_it_is_legible_and_has_names_in_light_and_dark(self):
        for scheme in ("light", "dark"):
            with self.subTest(scheme):
                page = self.show(self.demo.url, scheme=scheme)
                page.until("flows", "document.querySelectorAll('.ribbon').length >= 4")
                self.assert_legible(page)
                self.assert_named(page)

    def test_nothing_sticks_out_of_a_narrow_screen(self):
        page = self.show(self.demo.url, width=390, height=844)
        self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), 390)
        self.assert_legible(page)

    def test_a_balancer_that_falls_silent_is_told_and_comes_back(self):
        with demo(LOAD) as silent:
            page = self.show(silent.url)
            silent.process.send_signal(signal.SIGSTOP)
            page.until("that it is stale", "document.body.classList.contains('stale')")
            text = page.evaluate("document.querySelector('#connection-text').textContent")
            self.assertRegex(text, r"no word for \d+ s, as of \d\d:\d\d:\d\d")
            silent.process.send_signal(signal.SIGCONT)
            page.until("that it is live", "!document.body.classList.contains('stale')")

    def test_another_site_can_not_drain(self):
        with Server(LargeSite(1, 1), 1) as elsewhere:
            page = self.browser.page()
            self.addCleanup(page.close)
            page.open(elsewhere.url + "nothing-here")
            page.until("the other site", f"location.href.startsWith({json.dumps(elsewhere.url)}) && document.readyState === 'complete'")
            target = f"{self.demo.url}v1/instances/instance-4/drain"
            page.evaluate(f"fetch({json.dumps(target)}, {{ method: 'POST', mode: 'no-cors' }}).then(() => true, () => true)")
        operators = {i["name"]: i["operator"] for i in self.demo.json("v1/instances")}
        self.assertEqual(operators["instance-4"], "ready")

    def test_a_made_up_site_looks_like_a_real_one(self):
        """Else the tests of a large site would show what no balancer says."""
        with OPENER.open(self.demo.url + "v1/live", timeout=DEADLINE) as stream:
            real = read_until(stream, "snapshot")
        made_up = LargeSite(2, 2).snapshot()
        for name in ("instances", "classes", "flows", "services"):
            with self.subTest(name):
                self.assertLessEqual(set(real[name][0]) - {"agent"}, set(made_up[name][0]))
                self.assertLessEqual(set(made_up[name][0]), set(real[name][0]))


def read_until(stream, kind):
    """The data of the first event of that kind that has classes and flows."""
    wanted = False
    for line in stream:
        if line.startswith(b"event: "):
            wanted = line.strip() == f"event: {kind}".encode()
        elif wanted and line.startswith(b"data: "):
            value = json.loads(line[6:])
            if value["flows"] and value["classes"]:
                return value
    raise AssertionError("the stream has ended")


class WithToken(InBrowser):
    def test_the_token_is_asked_for_once(self):
        with tempfile.NamedTemporaryFile("w") as token:
            token.write("s3cret")
            token.flush()
            os.chmod(token.name, 0o600)
            arguments = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--token-file", token.name,
                         "--instance", "127.0.0.1:9,name=lonely")
            with Program(*arguments) as balancer:
                page = self.show(balancer.url)
                self.drain(page)
                page.until("a question for the token", "!document.querySelector('#confirm-token').hidden")
                page.type("wrong")
                page.press("Enter")
                page.until("that it is wrong", "document.querySelector('#confirm-problem').textContent.includes('wrong')")
                page.until("the field emptied", "document.querySelector('#token').value === ''")
                page.type("s3cret")
                page.press("Enter")
                page.until("that it is drained", f"({row('lonely')}).innerText.includes('drained')")
                page.click("[aria-label='Ready lonely']")
                page.press("Enter")
                page.until("that it is back", "document.querySelector(\"[aria-label='Drain lonely']\")")

    def drain(self, page):
        page.click("[aria-label='Drain lonely']")
        page.until("a question", "document.querySelector('#confirm').open")
        page.press("Enter")


class Large(InBrowser):
    """200 instances and 500 classes, all of them shown."""

    def open(self, url, **look):
        page = self.show(url, width=1440, height=900, **look)
        show_all_classes(page)
        page.until("all instances", "document.querySelectorAll('#instances tr').length === 200")
        return page

    def test_it_is_fluid_legible_and_still(self):
        with Server(LargeSite(200, 500), 0.5) as site:
            page = self.open(site.url, motion="no-preference")
            used = task_seconds(page)
            await_snapshots(page, 8)
            each = (task_seconds(page) - used) / 8
            # Of one second; generous, as other programs have the caches too. --bench tells the figure.
            self.assertLess(each, 0.4, "seconds of the main thread's CPU time for a snapshot")
            page.click("#class-filter")
            page.type("GET /news-")
            page.until("fewer classes", "document.querySelectorAll('#classes tr').length < 200")
            self.assert_steady(page)
            self.assert_legible(page)
            self.assert_sound(page, site.url)

    def test_the_picture_of_the_flows_loses_nothing_and_nothing_overlaps(self):
        with Server(LargeSite(1, 1), 1) as site:
            page = self.show(site.url)
            for classes, instances in [(1, 1), (4, 4), (12, 15), (13, 16), (500, 200)]:
                with self.subTest(f"{classes} classes, {instances} instances"):
                    page.evaluate(LAYOUT % {"classes": classes, "instances": instances})

    def test_what_is_late_out_or_unreachable_stands_out(self):
        with Server(LargeSite(12, 20), 0.5) as site:
            page = self.show(site.url)
            for name, word in [("zope-001", "drained"), ("zope-003", "5.2 s, late"), ("zope-005", "unreachable"),
                               ("zope-007", "2.5× slower"), ("zope-009", "dedicated"), ("zope-004", "1 by others")]:
                page.until(f"{name}: {word}", f"({row(name)}).innerText.includes({json.dumps(word)})")
            page.until("the late row marked", f"({row('zope-003')}).classList.contains('late')")
            page.until("many workers as a bar", f"({row('zope-006')}).querySelector('.cells-bar')")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if "--bench" in arguments:
        bench()
        sys.exit()
    if "--screenshots" in arguments:
        at = arguments.index("--screenshots")
        pictures(Path(arguments[at + 1]))
        sys.exit()
    unittest.main(argv=[sys.argv[0], *arguments])
