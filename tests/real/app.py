"""A small WSGI application as it stands behind Sluice: pages that cost work, and one image.

The image is served as Zope and most frameworks serve files: by the server's `wsgi.file_wrapper`.
"""

import os
import time
from wsgiref.util import FileWrapper

IMAGE_BYTES = 2_613_064
IMAGE = os.path.join(os.environ.get("SLUICE_REAL_DIR", "/tmp"), "image.jpg")
BLOCK = 64 * 1024
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
