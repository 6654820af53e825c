"""A small WSGI application as it stands behind Sluice: pages that cost work, an image, a film if there is one, and files
for the proxy to send.

Image and film are served as Zope and most frameworks serve files: by the server's `wsgi.file_wrapper`. What is under
`/offload/` is only named, as collective.xsendfile 2.0 does it: status 200 whatever range is asked for, the absolute
path, no validators, the length of a placeholder; without a proxy in front, and to HEAD, it is answered without the field.
"""

import logging.handlers
import os
import time
from wsgiref.util import FileWrapper

DIRECTORY = os.environ.get("SLUICE_REAL_DIR", "/tmp")
IMAGE = os.path.join(DIRECTORY, "image.jpg")
FILES = {"/image.jpg": "image/jpeg", "/film.mp4": "video/mp4"}
LOG = os.path.join(DIRECTORY, "waitress-access.log")
PLACEHOLDER = b"collective.xsendfile - proxy missing?"
BLOCK = 64 * 1024
LOGGED = None
PAGE = b"<!doctype html><title>page</title>" + b"<p>words</p>" * 700


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path in FILES:
        return stream(environ, start_response, DIRECTORY + path, FILES[path])
    if path.startswith("/offload/"):
        return offload(environ, start_response, path.removeprefix("/offload/"))
    time.sleep(0.01)
    start_response("200 OK", [("Content-Type", "text/html"), ("Content-Length", str(len(PAGE)))])
    return [PAGE]


def logged(environ, start_response):
    """The same with an access log as Zope writes it: waitress has none of its own."""
    global LOGGED
    if LOGGED is None:
        from paste.translogger import TransLogger

        logger = logging.getLogger("access")
        logger.addHandler(logging.handlers.WatchedFileHandler(LOG))
        logger.setLevel(logging.INFO)
        LOGGED = TransLogger(application, logger=logger, setup_console_handler=False)
    return LOGGED(environ, start_response)


def stream(environ, start_response, path, kind="image/jpeg"):
    headers = [("Content-Type", kind), ("Content-Length", str(os.stat(path).st_size))]
    start_response("200 OK", headers)
    wrapper = environ.get("wsgi.file_wrapper", FileWrapper)
    return wrapper(open(path, "rb"), BLOCK)


def offload(environ, start_response, name):
    """Names the file; nothing at all for no name. `?work`: with a page's work before it."""
    if environ.get("QUERY_STRING") == "work":
        time.sleep(0.01)
    if not name:
        start_response("200 OK", [("Content-Type", "image/jpeg"), ("Content-Length", "0")])
        return []
    path = os.path.join(DIRECTORY, name)
    if environ["REQUEST_METHOD"] == "HEAD" or "HTTP_X_FORWARDED_FOR" not in environ:
        return stream(environ, start_response, path)
    # Rack's convention: the proxy says what it understands.
    if environ.get("HTTP_X_SENDFILE_TYPE") == "X-Accel-Redirect":
        field = ("X-Accel-Redirect", f"/xsendfile/{name}")
    else:
        field = ("X-Sendfile", path)
    headers = [
        ("Content-Type", "image/jpeg"),
        ("Content-Disposition", "attachment; filename*=UTF-8''image.jpg"),
        ("Content-Length", str(len(PLACEHOLDER))),
        field,
    ]
    start_response("200 OK", headers)
    return [PLACEHOLDER]
