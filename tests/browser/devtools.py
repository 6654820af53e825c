"""Chromium, driven by its own protocol over a pair of pipes: no driver, no package, no port.

https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import json
import os
import queue
import subprocess
import tempfile
import threading
import time

DEADLINE = 90.0  # seconds for anything that is awaited: machines of a CI are slow at times

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-default-apps", "--disable-extensions", "--disable-dev-shm-usage", "--no-proxy-server",
    "--hide-scrollbars", "--force-color-profile=srgb", "--remote-debugging-pipe",
)


class Chromium:
    """A browser of its own with a profile of its own; ends with the `with` block."""

    def __enter__(self):
        self.profile = tempfile.TemporaryDirectory(prefix="sluice-browser-", ignore_cleanup_errors=True)
        commands, self.to_browser = os.pipe()
        self.from_browser, answers = os.pipe()
        # The browser reads commands from descriptor 3 and answers on 4.
        command = f"exec chromium \"$@\" 3<&{commands} 4>&{answers}"
        self.process = subprocess.Popen(
            ["sh", "-c", command, "chromium", *FLAGS, f"--user-data-dir={self.profile.name}", "about:blank"],
            pass_fds=(commands, answers), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True, env={**os.environ, "HOME": self.profile.name},
        )
        os.close(commands)
        os.close(answers)
        self.last_id = 0
        self.answers = {}
        self.handlers = {}
        self.lock = threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def __exit__(self, *_):
        try:
            self.command("Browser.close")
        except (OSError, AssertionError):
            self.process.kill()
        try:
            self.process.wait(timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.to_browser)
        self.profile.cleanup()

    def page(self):
        """A new tab."""
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        session = self.command("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        return Page(self, session, target)

    def command(self, method, session=None, **parameters):
        """Sends a command and returns what it answers."""
        with self.lock:
            self.last_id += 1
            number, answer = self.last_id, queue.Queue()
            self.answers[number] = answer
            message = {"id": number, "method": method, "params": parameters}
            if session:
                message["sessionId"] = session
            self._write(json.dumps(message).encode() + b"\0")
        try:
            result = answer.get(timeout=DEADLINE)
        except queue.Empty:
            raise AssertionError(f"no answer to {method}") from None
        assert "error" not in result, f"{method}: {result['error']}"
        return result["result"]

    def _write(self, data):
        while data:
            data = data[os.write(self.to_browser, data):]

    def _read(self):
        with os.fdopen(self.from_browser, "rb") as stream:
            rest = b""
            while chunk := stream.read1(1 << 16):
                *messages, rest = (rest + chunk).split(b"\0")
                for message in messages:
                    self._take(json.loads(message))
        for answer in list(self.answers.values()):
            answer.put({"error": "the browser has ended"})

    def _take(self, message):
        if "id" in message:
            self.answers.pop(message["id"]).put(message)
        elif handler := self.handlers.get(message.get("sessionId")):
            handler(message["method"], message["params"])


class Page:
    """A tab: what it requested and complained about is noted from the start."""

    def __init__(self, browser, session, target):
        self.browser, self.session, self.target = browser, session, target
        self.requests, self.complaints = [], []
        browser.handlers[session] = self._note
        for domain in ("Page", "Runtime", "Log", "Network", "DOM", "Accessibility"):
            self.command(f"{domain}.enable")

    def command(self, method, **parameters):
        return self.browser.command(method, self.session, **parameters)

    def _note(self, method, parameters):
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{parameters['entry']['text']} ({parameters['entry'].get('url')})")
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.complaints.append(" ".join(str(argument.get("value")) for argument in parameters["args"]))
        elif method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", details["text"]))

    def look(self, width=1440, height=900, scheme="light", motion="reduce"):
        """The size of the window, and what the user prefers."""
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        features = [{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": motion}]
        self.command("Emulation.setEmulatedMedia", features=features)

    def open(self, url, before=None):
        """`before`: a script that runs before those of the page."""
        if before:
            self.command("Page.addScriptToEvaluateOnNewDocument", source=before)
        self.command("Page.navigate", url=url)

    def evaluate(self, expression):
        """The value of an expression, of a promise what it resolves to."""
        answer = self.command("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, f"{expression}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def until(self, what, expression):
        """Waits until the expression is true or a node; returns its value."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            if value := self._value(f"((value) => value instanceof Node || value)({expression})"):
                return value
            time.sleep(0.05)
        text = self.evaluate("document.body.innerText")
        raise AssertionError(f"not within {DEADLINE} s: {what}\n{expression}\n{text}\n{self.complaints}")

    def _value(self, expression):
        """`None` also while the page is being replaced, or has not what is asked about."""
        try:
            return self.evaluate(expression)
        except AssertionError:
            return None

    def click(self, selector):
        """With a mouse, where the element is."""
        box = self.until(f"{selector} is there", f"""(() => {{
            const node = document.querySelector({json.dumps(selector)});
            if (!node) return null;
            node.scrollIntoView({{ block: 'center', behavior: 'instant' }});
            const box = node.getBoundingClientRect();
            return box.width > 0 && {{ x: box.x + box.width / 2, y: box.y + box.height / 2 }};
        }})()""")
        for kind in ("mousePressed", "mouseReleased"):
            self.command("Input.dispatchMouseEvent", type=kind, x=box["x"], y=box["y"], button="left", clickCount=1)

    def type(self, text):
        """With the keyboard, into what has the focus."""
        self.command("Input.insertText", text=text)

    def press(self, key):
        text = "\r" if key == "Enter" else ""
        code = {"Enter": 13, "Tab": 9, "Escape": 27}[key]
        for kind in ("keyDown", "keyUp"):
            extra = {"text": text} if text and kind == "keyDown" else {}
            self.command("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **extra)

    def screenshot(self, whole=False):
        """A PNG, of the window or of the whole page."""
        extra = {}
        if whole:
            size = self.command("Page.getLayoutMetrics")["cssContentSize"]
            extra = {"captureBeyondViewport": True, "clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}
        return base64.b64decode(self.command("Page.captureScreenshot", format="png", **extra)["data"])

    def accessible(self):
        """The nodes that assistive programs see: pairs of role and name."""
        nodes = self.command("Accessibility.getFullAXTree")["nodes"]
        shown = [node for node in nodes if not node.get("ignored")]
        return [(node.get("role", {}).get("value"), node.get("name", {}).get("value", "")) for node in shown]

    def close(self):
        self.browser.command("Target.closeTarget", targetId=self.target)
