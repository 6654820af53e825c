"""Long responses in the ways that servers know, for release_points.py: WSGI (`wsgi`) and ASGI (`asgi`).

`/file/N`: N MiB by the server's `wsgi.file_wrapper`; `/generator/N`: N MiB in pieces; all else: a short page.
`X-Accel-Buffering: no` says that nobody is to take them in before the client does.
"""

import os
import tempfile

MIB = 1 << 20
PIECE = bytes(64 * 1024)
FILES = os.environ.get("SLUICE_REAL_DIR", tempfile.gettempdir())


def asked(path):
    """How, and how many bytes."""
    kind, _, number = path.strip("/").partition("/")
    return (kind, int(number) * MIB) if kind in ("file", "generator") else ("page", 5)


def pieces(length):
    for _ in range(length // len(PIECE)):
        yield PIECE


def fields(length):
    return [("Content-Length", str(length)), ("Content-Type", "text/plain"), ("X-Accel-Buffering", "no")]


def file_of(length):
    path = os.path.join(FILES, f"zeros-{length}")
    with open(path, "wb") as new:
        new.truncate(length)
    return open(path, "rb")


def wsgi(environ, start_response):
    kind, length = asked(environ["PATH_INFO"])
    start_response("200 OK", fields(length))
    if kind == "file":
        return environ["wsgi.file_wrapper"](file_of(length), 64 * 1024)
    return pieces(length) if kind == "generator" else [b"page\n"]


async def asgi(scope, receive, send):
    kind, length = asked(scope["path"])
    headers = [(name.encode(), value.encode()) for name, value in fields(length)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    body = pieces(length) if kind == "generator" else [b"page\n"]
    for piece in body:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
