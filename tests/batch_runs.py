"""Batches of small files, and the command: what the tests of batches share."""

from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result
from PIL import Image
from tiny import photo

from dcacodec.batch.plan import Plan, make_plan
from dcacodec.cli.app import cli

TEXT = {".txt"}


def fill(folder: Path, *names: str) -> None:
    """Files, each with its own name in it."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"text of {Path(name).stem}")


def pairs(plan: Plan, root: Path) -> list[tuple[str, str]]:
    return [(str(job.source.relative_to(root)), str(job.target.relative_to(root))) for job in plan.jobs]


def planned(root: Path, *sources: str, force: bool = False, keep_suffix: bool = False) -> Plan:
    paths = [str(root / source) for source in sources]
    return make_plan(paths, root / "out", TEXT, ".dca", force=force, keep_suffix=keep_suffix)


def target_folders(plan: Plan) -> set[Path]:
    return {job.target.parent for job in plan.jobs}


def ledger(root: Path) -> list[str]:
    """The names that were put into their places, each as often as it was."""
    return sorted((root / "ledger").read_text().split()[::2])


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["batch", *map(str, arguments)], prog_name="dcacodec")


def picture_tree(root: Path) -> Path:
    """Three pictures in a tree, one of them of 16 bits, and one that is none."""
    (root / "in" / "deep").mkdir(parents=True)
    Image.fromarray(photo(40, 56)).save(root / "in" / "a.png")
    Image.fromarray(photo(33, 64, 1)).save(root / "in" / "deep" / "b.tif")
    Image.fromarray(photo(24, 24)[..., 0].astype(np.uint16) * 257).save(root / "in" / "deep" / "wide.png")
    (root / "in" / "bad.png").write_bytes(b"no picture")
    return root
