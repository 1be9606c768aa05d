"""A web server on this machine that can misbehave."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What the server has, and how it behaves.

    Attributes:
        files: content by path.
        address: of the server.
        cuts: bytes after which the next answers are cut off, one after the other.
        statuses: what the next requests are answered with in place of the file.
        ranges: whether parts of files can be asked for: "yes", "no" (the whole file is sent) or "wrong" (another part).
        tells_length: whether an answer says how long it is.
        requests: path and asked-for range of every request so far.
    """

    files: Mapping[str, bytes]
    address: str = ""
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    ranges: str = "yes"
    tells_length: bool = True
    requests: list[tuple[str, str | None]] = field(default_factory=list)


@contextmanager
def serve(files: Mapping[str, bytes]) -> Iterator[Site]:
    """Serve these files at ``site.address``."""
    site = Site(files)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            site.requests.append((self.path, asked))
            if site.statuses:
                self.send_error(site.statuses.pop(0))
                return
            if self.path not in site.files:
                self.send_error(404)
                return
            content = site.files[self.path]
            start = 0
            found = re.fullmatch(r"bytes=(\d+)-", asked or "")
            if found and site.ranges != "no":
                start = int(found[1]) if site.ranges == "yes" else 0
                if start >= len(content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(content)}")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            part = content[start:]
            if site.tells_length:
                self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            if site.cuts:
                part = part[: site.cuts.pop(0)]
            self.wfile.write(part)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
