"""A web server on this machine that can misbehave."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class Site:
    """What the server has, and how it behaves.

    Attributes:
        files: content by path.
        address: of the server.
        cuts: bytes after which the next answers are cut off, one after the other.
        statuses: what the next requests are answered with in place of the file.
        requests: the path of every request so far.
    """

    files: Mapping[str, bytes]
    address: str = ""
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def serve(files: Mapping[str, bytes]) -> Iterator[Site]:
    """Serve these files at ``site.address``, to downloads that do not wait between attempts."""
    site = Site(files)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            site.requests.append(self.path)
            if site.statuses:
                self.send_error(site.statuses.pop(0))
                return
            if self.path not in site.files:
                self.send_error(404)
                return
            content = site.files[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: site.cuts.pop(0)] if site.cuts else content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("pooch.core.time.sleep", lambda seconds: None)
            yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
