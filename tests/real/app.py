"""A small WSGI application as it stands behind Sluice: pages that cost work, an image, and a film if there is one.

Both are served as Zope and most frameworks serve files: by the server's `wsgi.file_wrapper`.
"""

import os
import time
from wsgiref.util import FileWrapper

DIRECTORY = os.environ.get("SLUICE_REAL_DIR", "/tmp")
FILES = {"/image.jpg": "image/jpeg", "/film.mp4": "video/mp4"}
BLOCK = 64 * 1024
PAGE = b"<!doctype html><title>page</title>" + b"<p>words</p>" * 700


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path in FILES:
        file = open(DIRECTORY + path, "rb")
        length = os.fstat(file.fileno()).st_size
        start_response("200 OK", [("Content-Type", FILES[path]), ("Content-Length", str(length))])
        wrapper = environ.get("wsgi.file_wrapper", FileWrapper)
        return wrapper(file, BLOCK)
    time.sleep(0.01)
    start_response("200 OK", [("Content-Type", "text/html"), ("Content-Length", str(len(PAGE)))])
    return [PAGE]
