"""A site of any size as the dashboard sees it, made up, and a server that tells of it as a balancer would."""

import http.server
import json
import random
import threading
import time
from pathlib import Path

FILES = Path(__file__).resolve().parents[2] / "balancer" / "src" / "control" / "dashboard"
KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
STEP_MS = 5000


class LargeSite:
    def __init__(self, instances, classes, seed=1):
        self.chance = random.Random(seed)
        self.now_ms = int(time.time() * 1000)
        self.names = [f"zope-{n:03}" for n in range(1, instances + 1)]
        self.classes = [self._class(n) for n in range(classes)]

    def _class(self, n):
        section = self.chance.choice(["news", "events", "docs", "people", "shop", "archive"])
        view = self.chance.choice(["", "/@@search", "/@@images/{uuid}.jpeg", "/view", "/folder_contents"])
        return f"GET /{section}-{n}/{{n}}{view}", n % 10 == 9

    def snapshot(self):
        """The next second's."""
        self.now_ms += 1000
        classes = [self._class_view(name, large) for name, large in self.classes]
        instances = [self._instance(n, name) for n, name in enumerate(self.names)]
        return {
            "at_ms": self.now_ms, "version": "0.0.0",
            "health": {"level": "warning", "text": "zope-003: reports are late; zope-001: taken out by the operator"},
            "services": [self._service()], "instances": instances, "classes": classes,
            "classes_total": len(classes) + 1000, "flows": self._flows(),
        }

    def history(self):
        """An hour, until now."""
        end = self.now_ms // STEP_MS * STEP_MS
        return {"default": self._columns([end - n * STEP_MS for n in range(719, -1, -1)])}

    def event(self, number):
        name = self.chance.choice(self.names)
        return {"id": number, "at_ms": self.now_ms, "kind": "plan", "service": "default", "instance": name,
                "text": f"large requests (1.0 s each) keep {number / 10} workers busy; they go here first"}

    def _columns(self, at_ms):
        spread = lambda low, high: [round(self.chance.uniform(low, high), 2) for _ in at_ms]
        side = lambda factor: {
            "per_second": spread(100, 200), "p50_ms": spread(5 * factor, 9 * factor), "p99_ms": spread(30 * factor, 90 * factor),
            "wait_p99_ms": spread(1, 30), "waiting": [self.chance.randrange(20) for _ in at_ms], "working": spread(10, 200),
        }
        return {"step_ms": STEP_MS, "at_ms": at_ms, "failed": [0 for _ in at_ms], "workers": [800 for _ in at_ms],
                "small": side(1), "large": side(30)}

    def _service(self):
        lanes = [{"name": name, "from_s": 0.0, "to_s": None, "running": 3, "waiting": self.chance.randrange(9), "high": 99, "reason": ""}
                 for name in ("small", "large")]
        end = self.now_ms // STEP_MS * STEP_MS
        return {"service": "default", "version": 7, "mode": "pack", "since_ms": self.now_ms, "interference": 0.0, "homes": "",
                "versions": {"policy": "any", "shares": []},
                "lanes": lanes, "moves": [], "steps": self._columns([end - STEP_MS, end])}

    def _instance(self, n, name):
        dedicated, late, workers = n % 9 == 8, n == 2, 40 if n == 5 else 4
        working = self.chance.randrange(workers + 1)
        return {
            "service": "default", "name": name, "address": f"10.0.{n // 250}.{n % 250}:8080", "source": "agent", "state": "ready",
            "routed": n != 0, "reason": "serves small requests first; large ones go to 22 instances first", "role": "large" if dedicated else "general",
            "operator": "drain" if n == 0 else "ready", "breaker": "open" if n == 4 else "closed", "workers": workers, "limit": workers,
            "working": working, "large": self.chance.randrange(working + 1), "streaming": self.chance.randrange(5),
            "foreign": 1 if n == 3 and working < workers else 0, "slowness": 2.5 if n == 6 else 1.0, "homes": 3,
            "dedicated_since_ms": self.now_ms - 90_000 if dedicated else None,
            "dedicated_to": [self.classes[9][0]] if dedicated and len(self.classes) > 9 else [],
            "release": {"point": "end", "found": "configured"}, "releases": [], "measured": None, "mode": "inline", "version_label": "2026.11",
            "bound_to": "10.0.0.1", "granted": None, "knowledge": "stale" if late else "fresh", "report_age_ms": 5200 if late else self.chance.randrange(1100),
            "last_success_age_ms": 10, "agent": {"in_flight": working, "streaming": 0, "queued": 0, "spooled_bytes": 0},
            "per_second": round(self.chance.uniform(1, 50), 1), "busy": round(self.chance.uniform(0, 4), 2),
        }

    def _class_view(self, name, large):
        held = self.chance.uniform(500, 2000) if large else self.chance.uniform(2, 40)
        figure = lambda factor: round(held * factor, 1)
        return {
            "service": "default", "class": name, "by": "path", "reason": None, "lane": "large" if large else "small",
            "goes": "small: 14 ms is less than 80 ms; to the least busy instance, zope-009 and 21 others last", "homes": [],
            "predicted_ms": held, "predicted_by": "class", "per_second": round(self.chance.expovariate(0.5), 2), "busy": round(self.chance.expovariate(2), 3),
            "requests": 100, "errors": self.chance.choice([0] * 30 + [3]), "held_p50_ms": held, "held_p99_ms": figure(4),
            "latency_p50_ms": figure(1.2), "latency_p99_ms": figure(6), "bytes_p50": 20480, "bytes_p99": 90000,
        }

    def _flows(self):
        pairs = [(self.chance.choice(self.classes)[0], self.chance.choice(self.names)) for _ in range(400)]
        return [{"service": "default", "class": of, "instance": to, "per_second": round(self.chance.expovariate(1), 2),
                 "busy": round(self.chance.expovariate(4), 3), "bytes_per_second": self.chance.randrange(10**6)}
                for of, to in sorted(set(pairs))]


class Server:
    """Serves the dashboard's files as they are in the source, and `site` with a snapshot every `period` seconds."""

    def __init__(self, site, period):
        handler = type("Handler", (Handler,), {"site": site, "period": period})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/v1/live":
            self._live()
            return
        file = FILES / ("index.html" if path == "/" else path.removeprefix("/dashboard/"))
        if path != "/" and (not path.startswith("/dashboard/") or file.parent != FILES or not file.exists()):
            self.send_error(404)
            return
        self._head(KINDS[file.suffix])
        self.wfile.write(file.read_bytes())

    def _head(self, kind):
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-security-policy", POLICY)
        self.end_headers()

    def _live(self):
        self._head("text/event-stream")
        try:
            self._send("history", self.site.history())
            number = 0
            while True:
                number += 1
                self._send("snapshot", self.site.snapshot())
                self._send("event", self.site.event(number))
                time.sleep(self.period)
        except OSError:
            pass  # the page was closed

    def _send(self, kind, value):
        self.wfile.write(f"event: {kind}\ndata: {json.dumps(value)}\n\n".encode())
