"""Fetching: from a server on this machine, which does what servers do wrong."""

import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from web import Site, serve

from dcacodec.bench import fetch as module
from dcacodec.errors import BenchError

CONTENT = bytes(range(256)) * 1000


@pytest.fixture
def site() -> Iterator[Site]:
    with serve({"/file": CONTENT, "/other": b"something else"}) as site:
        yield site


fetch = partial(module.fetch, pause=0.0, timeout=5.0)


def sound(path: Path) -> str | None:
    return None if path.read_bytes() == CONTENT else "it has other bytes"


def test_a_file_arrives_whole(site: Site, tmp_path: Path) -> None:
    counts: list[int] = []
    fetch(f"{site.address}/file", tmp_path / "new" / "file", sound, counts.append)
    assert (tmp_path / "new" / "file").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]
    assert sum(counts) == len(CONTENT)
    assert site.requests == [("/file", None)]


def test_a_cut_connection_is_gone_on_with(site: Site, tmp_path: Path) -> None:
    site.cuts = [100_000, 50_000]
    counts: list[int] = []
    fetch(f"{site.address}/file", tmp_path / "file", sound, counts.append)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert site.requests == [("/file", None), ("/file", "bytes=100000-"), ("/file", "bytes=150000-")]
    assert sum(counts) == len(CONTENT)  # nothing was sent twice


def test_a_later_call_goes_on(site: Site, tmp_path: Path) -> None:
    site.cuts = [100_000, 0, 0, 0, 0, 0]
    with pytest.raises(BenchError, match=r"cut after 100000 of 256000 bytes; what has arrived is kept"):
        fetch(f"{site.address}/file", tmp_path / "file", sound)
    assert (tmp_path / "file.part").read_bytes() == CONTENT[:100_000]
    assert not (tmp_path / "file").exists()
    assert len(site.requests) == 6  # five in a row that brought nothing
    site.requests.clear()
    fetch(f"{site.address}/file", tmp_path / "file", sound)
    assert site.requests == [("/file", "bytes=100000-")]
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert not (tmp_path / "file.part").exists()


def test_a_server_that_knows_no_ranges_sends_all_again(site: Site, tmp_path: Path) -> None:
    site.ranges = "no"
    site.cuts = [100_000]
    fetch(f"{site.address}/file", tmp_path / "file", sound)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert site.requests == [("/file", None), ("/file", "bytes=100000-")]


def test_a_server_that_sends_another_part(site: Site, tmp_path: Path) -> None:
    site.ranges = "wrong"
    site.cuts = [100_000]
    fetch(f"{site.address}/file", tmp_path / "file", sound)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert site.requests == [("/file", None), ("/file", "bytes=100000-"), ("/file", None)]


def test_what_is_there_already_but_for_its_name(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT)
    fetch(f"{site.address}/file", tmp_path / "file", sound)
    assert site.requests == [("/file", "bytes=256000-")]
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("beginning", [b"x" * 1000, b"x" * len(CONTENT), CONTENT + b"x"], ids=len)
def test_the_beginning_of_another_file_is_thrown_away(beginning: bytes, site: Site, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(beginning)
    fetch(f"{site.address}/file", tmp_path / "file", sound)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert not (tmp_path / "file.part").exists()


def test_other_content_is_refused(site: Site, tmp_path: Path) -> None:
    with pytest.raises(BenchError) as caught:
        fetch(f"{site.address}/other", tmp_path / "file", sound)
    assert str(caught.value) == f"{site.address}/other: it has other bytes"
    assert list(tmp_path.iterdir()) == []


def test_a_short_file_without_its_length_is_refused(site: Site, tmp_path: Path) -> None:
    site.tells_length = False
    site.cuts = [100_000]
    with pytest.raises(BenchError, match="it has other bytes"):
        fetch(f"{site.address}/file", tmp_path / "file", sound)
    assert list(tmp_path.iterdir()) == []
    fetch(f"{site.address}/file", tmp_path / "file", sound)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_what_is_not_there(site: Site, tmp_path: Path) -> None:
    with pytest.raises(BenchError) as caught:
        fetch(f"{site.address}/nothing", tmp_path / "file", sound)
    assert str(caught.value) == f"{site.address}/nothing: the server says 404 Not Found"
    assert len(site.requests) == 1  # asking again does not help
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_busy_is_asked_again(site: Site, tmp_path: Path) -> None:
    site.statuses = [503, 429]
    fetch(f"{site.address}/file", tmp_path / "file", sound)
    assert (tmp_path / "file").read_bytes() == CONTENT
    site.statuses = [500] * 5
    with pytest.raises(BenchError, match="the server says 500"):
        fetch(f"{site.address}/file", tmp_path / "again", sound)


def test_offline(tmp_path: Path) -> None:
    with socket.socket() as free:  # bound, but not listening: refused
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/file"
        with pytest.raises(BenchError) as caught:
            fetch(address, tmp_path / "file", sound)
    assert str(caught.value) == f"{address} cannot be reached: Connection refused"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("address", ["file:///etc/hostname", "ftp://127.0.0.1/file", "name"])
def test_other_addresses_are_not_fetched(address: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="only http and https"):
        fetch(address, tmp_path / "file", sound)


def test_an_address_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="cannot be reached"):
        fetch("http://127.0.0.1:port/", tmp_path / "file", sound)
