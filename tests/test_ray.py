"""Batches on a Ray cluster of two nodes on this machine."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from batch_worker import Capitals
from click.testing import CliRunner
from PIL import Image
from tiny import photo

from dcacodec import Codec, read_picture
from dcacodec.batch.plan import make_plan
from dcacodec.batch.work import Outcome
from dcacodec.cli.app import cli
from dcacodec.codec.targets import outcome
from dcacodec.errors import BatchError
from dcacodec.ratecontrol import MaxBytes, encode_to

pytest.importorskip("ray.data", reason="Ray is not installed: pip install 'dcacodec[ray]'")

from dcacodec.batch.cluster import run_on_ray

ROOT = Path(__file__).resolve().parent
STORE = 80 << 20


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Two nodes with room for one worker each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT.parent), str(ROOT))))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster

        node = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=node)
        try:
            cluster.add_node(num_cpus=1, object_store_memory=STORE)
            yield cluster.address
        finally:
            cluster.shutdown()


def test_a_worker_is_killed_and_nothing_is_lost_or_done_twice(address: str, tmp_path: Path) -> None:
    names = [*(f"n{number}" for number in range(8)), "half", "whole"]
    source, notes = tmp_path / "source", tmp_path / "notes"
    source.mkdir()
    notes.mkdir()
    for name in names:
        (source / f"{name}.txt").write_text(f"text of {name}")
    plan = make_plan([str(source)], tmp_path / "out", {".txt"}, ".dca")
    outcomes = list(run_on_ray(plan.jobs, Capitals(notes), address))

    # One was killed with half of a file written, one with a complete file that it had not reported.
    assert sorted(path.name for path in notes.glob("died-*")) == ["died-half.txt", "died-whole.txt"]
    assert sorted(outcome.job.source for outcome in outcomes) == sorted(source.iterdir())
    assert [outcome.error for outcome in outcomes] == [None] * len(names)
    ledger = (notes / "ledger").read_text().split()
    assert sorted(ledger[::2]) == sorted(f"{name}.dca" for name in names)  # each was put into its place once
    assert len(set(ledger[1::2])) >= 2
    for name in names:
        assert (tmp_path / "out" / f"{name}.dca").read_text() == f"TEXT OF {name.upper()}"


def test_what_no_worker_survives_is_a_failure_and_the_others_are_done(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcacodec.batch.cluster._RETRIES", 1)
    monkeypatch.setattr("dcacodec.batch.cluster._BLOCKS", 2)  # so that it takes a neighbour with it at first
    for name in ("a", "b", "bad", "deadly", "e"):
        (tmp_path / f"{name}.txt").write_text(name)
    plan = make_plan([str(tmp_path)], tmp_path / "out", {".txt"}, ".dca")
    outcomes = {outcome.job.source.stem: outcome for outcome in run_on_ray(plan.jobs, Capitals(tmp_path), address)}
    assert {name: outcome.error for name, outcome in outcomes.items()} == {
        "a": None,
        "b": None,
        "bad": "no capitals for it",
        "deadly": "its worker process died 2 times; is there enough memory?",
        "e": None,
    }
    ledger = (tmp_path / "ledger").read_text().split()
    assert sorted(ledger[::2]) == ["a.dca", "b.dca", "e.dca"]


def test_a_worker_that_cannot_be_made_ends_the_batch(address: str, tmp_path: Path) -> None:
    from batch_worker import no_weights

    (tmp_path / "a.txt").write_text("a")
    plan = make_plan([str(tmp_path)], tmp_path / "out", {".txt"}, ".dca")
    with pytest.raises(BatchError, match=r"^there are no weights$"):
        run(plan.jobs, no_weights, address)


def run(*arguments: object) -> list[Outcome]:
    return list(run_on_ray(*arguments))  # type: ignore[arg-type]


def test_the_command_with_the_real_codec(address: str, tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    Image.fromarray(photo(40, 56)).save(tmp_path / "in" / "deep" / "a.png")
    (tmp_path / "in" / os.fsdecode(b"no\nutf8 \xff.png")).write_bytes(b"no picture")
    arguments = ["batch", "--quiet", "--json", "--jobs", "1", "--device", "cpu", "--ray", address]
    result = CliRunner().invoke(cli, [*arguments, str(tmp_path / "in"), str(tmp_path / "out")])
    facts = json.loads(result.stdout)
    assert (result.exit_code, facts["done"], facts["failed"]) == (1, 1, 1)
    assert facts["failures"][0]["source"] == str(tmp_path / "in" / os.fsdecode(b"no\nutf8 \xff.png"))
    expected = Codec.load("small", device="cpu").encode(read_picture(tmp_path / "in" / "deep" / "a.png"), quality=50)
    assert (tmp_path / "out" / "deep" / "a.dca").read_bytes() == expected


def test_a_target_reaches_the_workers(address: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(photo(40, 56)).save(tmp_path / "in" / "a.png")
    codec, picture = Codec.load("small", device="cpu"), read_picture(tmp_path / "in" / "a.png")
    options = ["--jobs", "1", "--device", "cpu", "--ray", address, "--force", "--json"]
    for count in (300, 1):
        arguments = ["batch", *options, "--target-size", str(count), str(tmp_path / "in"), str(tmp_path / "out")]
        result = CliRunner().invoke(cli, arguments)
        best = encode_to(codec, picture, MaxBytes(count))
        line = f"quality {best.quality}: {outcome(MaxBytes(count), best, picture)}"
        assert (result.exit_code, (tmp_path / "out" / "a.dca").read_bytes()) == (0, best.data)
        assert best.target_met == (count == 300)
        misses = [] if best.target_met else [{"source": str(tmp_path / "in" / "a.png"), "result": line}]
        assert json.loads(result.stdout)["misses"] == misses
        warnings = [line for line in result.stderr.splitlines() if line.startswith("dcacodec: ")]
        assert warnings == [f"dcacodec: warning: {each['source']}: {each['result']}" for each in misses]


def test_a_cluster_that_is_not_there() -> None:
    with pytest.raises(BatchError, match=r"^Ray at 127.0.0.1:1: "):
        run((), Capitals(Path()), "127.0.0.1:1")
