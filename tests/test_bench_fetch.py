"""Downloads, from a server on this machine that does what servers do wrong."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from told import one_line
from web import Site, serve

from dcacodec.bench.fetch import RETRIES, fetch
from dcacodec.errors import BenchError

CONTENT = bytes(range(256)) * 1000


@pytest.fixture
def site() -> Iterator[Site]:
    with serve({"/file": CONTENT, "/other": b"something else"}) as site:
        yield site


def sound(path: Path) -> str | None:
    return None if path.read_bytes() == CONTENT else "it has other bytes"


def test_a_file_arrives_whole(site: Site, tmp_path: Path) -> None:
    fetch(f"{site.address}/file", tmp_path / "new" / "file", sound)
    assert (tmp_path / "new" / "file").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]
    assert site.requests == ["/file"]


def test_a_cut_connection_and_a_busy_server_are_tried_again(site: Site, tmp_path: Path) -> None:
    site.statuses = [503]
    site.cuts = [100_000]
    fetch(f"{site.address}/file", tmp_path / "file", sound)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert len(site.requests) == 3


def test_a_connection_that_is_always_cut_leaves_nothing(site: Site, tmp_path: Path) -> None:
    site.cuts = [100_000] * (1 + RETRIES)
    with pytest.raises(BenchError, match=r"/file\b"):
        fetch(f"{site.address}/file", tmp_path / "file", sound)
    assert not site.cuts
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_thrown_away(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT[:1000])
    fetch(f"{site.address}/file", tmp_path / "file", sound)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_other_content_is_refused(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"what was there")
    with pytest.raises(BenchError) as caught:
        fetch(f"{site.address}/other", tmp_path / "file", sound)
    assert f"{site.address}/other" in one_line(caught)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"what was there"


def test_what_is_not_there(site: Site, tmp_path: Path) -> None:
    with pytest.raises(BenchError) as caught:
        fetch(f"{site.address}/nothing", tmp_path / "file", sound)
    assert f"{site.address}/nothing" in one_line(caught) and "404" in one_line(caught)
    assert list(tmp_path.iterdir()) == []


def test_offline(site: Site, tmp_path: Path) -> None:
    with socket.socket() as free:  # bound, but not listening: refused
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/file"
        with pytest.raises(BenchError) as caught:
            fetch(address, tmp_path / "file", sound)
    assert address in one_line(caught)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("address", ["file:///etc/hostname", "ftp://127.0.0.1/file", "name"])
def test_other_addresses_are_not_fetched(address: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"\bhttp\b.*\bhttps\b"):
        fetch(address, tmp_path / "file", sound)


def test_an_address_that_is_none(site: Site, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=":port/"):
        fetch("http://127.0.0.1:port/", tmp_path / "file", sound)
