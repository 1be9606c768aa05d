"""Downloads with verification."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from dcacodec._version import __version__
from dcacodec.errors import BenchError

RETRIES: Final = 2
"""Number of retries of a failed download."""


def fetch(address: str, target: Path, check: Callable[[Path], str | None], timeout: float = 20.0) -> None:
    """Download a file. ``target`` is replaced only by a complete file that has passed the check.

    Args:
        address: http or https.
        target: path of the file; its folder is created if necessary.
        check: returns the problem with a complete file, None if there is none.
        timeout: seconds to wait for the server.

    Raises:
        BenchError: pooch is not installed, the server cannot be reached or does not have the file, the connection fails
            repeatedly, or the file does not pass the check.
        OSError: the file cannot be written.
    """
    try:
        import pooch
        import requests
    except ImportError as error:
        raise BenchError("downloads need pooch: pip install 'dcacodec[bench]'") from error
    if not address.startswith(("http://", "https://")):
        raise BenchError(f"{address}: only http and https addresses are fetched")
    downloader = pooch.HTTPDownloader(timeout=timeout, headers={"User-Agent": f"dcacodec/{__version__}"})
    pooch.get_logger().setLevel("WARNING")  # the caller reports progress
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)  # of a killed process
    store = pooch.create(
        path=target.parent, base_url="", registry={part.name: None}, urls={part.name: address}, retry_if_failed=RETRIES
    )
    try:
        store.fetch(part.name, downloader=downloader)
    except (requests.RequestException, ValueError) as error:
        reply = getattr(error, "response", None)
        if reply is not None:
            raise BenchError(f"{address}: the server says {reply.status_code} {reply.reason}") from error
        raise BenchError(f"{address} cannot be fetched: {_reason(error)}") from error
    if wrong := check(part):
        part.unlink()
        raise BenchError(f"{address}: {wrong}")
    part.replace(target)


def _reason(error: BaseException) -> str:
    """The message of the innermost error, in one line."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return getattr(error, "strerror", None) or " ".join(str(error).split())
