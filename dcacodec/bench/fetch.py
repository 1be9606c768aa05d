"""Files from the web, each fetched once: a cut connection is gone on with, and nothing counts before it was checked."""

from __future__ import annotations

import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Final

from dcacodec._version import __version__
from dcacodec.errors import BenchError

_BLOCK: Final = 1 << 16
_ATTEMPTS: Final = 5
"""How often in a row a connection may be cut without one new byte."""
_RANGE: Final = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class _Cut(Exception):
    """The connection ended before the file did; the text says how."""


def fetch(
    address: str,
    target: Path,
    check: Callable[[Path], str | None],
    progress: Callable[[int], object] = lambda count: None,
    timeout: float = 20.0,
    pause: float = 1.0,
) -> None:
    """Fetch a file. What has arrived stays in ``target`` with ".part" behind its name until the file is complete and
    sound, and the next call goes on from there.

    Args:
        address: http or https.
        target: where the file goes; its folder is made if need be.
        check: gets the path of a complete file and says what is wrong with it, None if nothing is.
        progress: called with the number of bytes that have arrived since the last call.
        timeout: seconds without a sign of the server.
        pause: seconds between attempts.

    Raises:
        BenchError: the server cannot be reached or does not have the file, the connection is cut again and again, or
            the file is not what it should be.
        OSError: the file cannot be written.
    """
    if not address.startswith(("http://", "https://")):
        raise BenchError(f"{address}: only http and https addresses are fetched")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    resumed = part.exists()
    _complete(address, part, progress, timeout, pause)
    wrong = check(part)
    if wrong and resumed:  # the beginning may have been another file's
        part.unlink()
        _complete(address, part, progress, timeout, pause)
        wrong = check(part)
    if wrong:
        part.unlink()
        raise BenchError(f"{address}: {wrong}")
    os.replace(part, target)


def _complete(address: str, part: Path, progress: Callable[[int], object], timeout: float, pause: float) -> None:
    """Fetch what is missing of the file."""
    failures = 0
    while True:
        before = _size(part)
        try:
            return _transfer(address, part, progress, timeout)
        except _Cut as cut:
            failures = 0 if _size(part) > before else failures + 1
            if failures == _ATTEMPTS:
                raise BenchError(f"{address}: {cut}; what has arrived is kept, run it again to go on") from cut
            time.sleep(pause)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _transfer(address: str, part: Path, progress: Callable[[int], object], timeout: float) -> None:
    """Make one request for all that is missing."""
    start = _size(part)
    headers = {"User-Agent": f"dcacodec/{__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        reply = urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416:  # there is nothing after what we have
                if error.headers.get("Content-Range") == f"bytes */{start}":
                    return
                part.unlink()
                raise _Cut("the server's file is shorter than what was fetched of it") from error
            if error.code in (408, 429) or error.code >= 500:
                raise _Cut(f"the server says {error.code} {error.reason}") from error
            raise BenchError(f"{address}: the server says {error.code} {error.reason}") from error
    except ConnectionResetError as error:
        raise _Cut("the connection was cut") from error
    except (OSError, HTTPException, ValueError) as error:
        raise BenchError(f"{address} cannot be reached: {_reason(error)}") from error
    with reply:
        total = _place(reply, start, part)
        with open(part, "ab") as file:
            while block := _read(reply):
                file.write(block)
                progress(len(block))
    if total is not None and _size(part) != total:
        raise _Cut(f"the connection was cut after {_size(part)} of {total} bytes")


def _place(reply: HTTPResponse, start: int, part: Path) -> int | None:
    """Cut the partial file to where the reply begins. Gives the size of the whole file, None if it is not told."""
    found = _RANGE.fullmatch(reply.headers.get("Content-Range", "")) if reply.status == 206 else None
    if found and int(found[1]) == start:
        return int(found[2]) if found[2] != "*" else None
    if reply.status == 206:
        part.unlink(missing_ok=True)
        raise _Cut("the server sends another part than the one that was asked for")
    part.write_bytes(b"")  # it sends the whole file
    length = reply.headers.get("Content-Length")
    return int(length) if length and length.isdigit() else None


def _read(reply: HTTPResponse) -> bytes:
    try:
        return reply.read(_BLOCK)
    except (OSError, HTTPException) as error:
        raise _Cut(f"the connection was cut: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """What an error of the network says, without the numbers and wrappings around it."""
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    return " ".join(str(inner).split()) or type(inner).__name__
