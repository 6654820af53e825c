"""A small WSGI application as it stands behind Sluice: pages that cost work, and one image.

The image is served as Zope and most frameworks serve files: by the server's `wsgi.file_wrapper`.
"""

import logging.handlers
import os
import time
from wsgiref.util import FileWrapper

IMAGE_BYTES = 2_613_064
IMAGE = os.path.join(os.environ.get("SLUICE_REAL_DIR", "/tmp"), "image.jpg")
LOG = os.path.join(os.path.dirname(IMAGE), "waitress-access.log")
BLOCK = 64 * 1024
LOGGED = None
PAGE = b"<!doctype html><title>page</title>" + b"<p>words</p>" * 700


def application(environ, start_response):
    if environ["PATH_INFO"] == "/image.jpg":
        headers = [("Content-Type", "image/jpeg"), ("Content-Length", str(IMAGE_BYTES))]
        start_response("200 OK", headers)
        wrapper = environ.get("wsgi.file_wrapper", FileWrapper)
        return wrapper(open(IMAGE, "rb"), BLOCK)
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
