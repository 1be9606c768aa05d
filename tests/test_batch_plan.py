"""Batches: what is planned."""

import os
import time
from pathlib import Path

import pytest
from batch_runs import TEXT, fill, pairs, planned, target_folders

from dcacodec.batch.plan import Job, Stamp, make_plan
from dcacodec.batch.work import Decoding
from dcacodec.errors import BatchError
from dcacodec.files.temporary import remove_leftovers
from dcacodec.format.container import MAGIC
from dcacodec.images.formats import picture_suffixes


def test_a_tree_is_mirrored(tmp_path: Path) -> None:
    fill(tmp_path, "in/b.txt", "in/a.b.TXT", "in/deep/er/c.txt", "in/note.md", "in/.hidden.txt", "in/.git/d.txt")
    plan = planned(tmp_path, "in")
    assert pairs(plan, tmp_path) == [
        ("in/a.b.TXT", "out/a.b.dca"),
        ("in/b.txt", "out/b.dca"),
        ("in/deep/er/c.txt", "out/deep/er/c.dca"),
    ]
    assert (plan.skipped, plan.failures, plan.warnings) == ((), (), ())
    assert plan.left_out == (tmp_path / "in/note.md",)
    assert not (tmp_path / "out").exists()


def test_files_and_folders_together(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.txt", "else/b.text", "c.txt")
    plan = planned(tmp_path, "in", "else/b.text", "in/a.txt", "c.txt")
    assert plan.warnings == ()
    assert pairs(plan, tmp_path) == [
        ("in/a.txt", "out/a.dca"),  # once, though named twice
        ("else/b.text", "out/b.dca"),  # a file that is named needs no suffix that is known
        ("c.txt", "out/c.dca"),
    ]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("in/*", ["a", "x/b", "x/y/c", "x2/d"]),  # folders that match are gone through
        ("in/*.txt", ["a"]),
        ("in/x?/*", ["x2/d"]),
        ("in/**/*.txt", ["a", "x/b", "x/y/c", "x2/d"]),
        ("in/**", ["a", "x/b", "x/y/c", "x2/d"]),
        ("in/[!a]/y", ["x/y/c"]),
        ("i*", ["in/a", "in/x/b", "in/x/y/c", "in/x2/d"]),  # what comes before the first sign is mirrored from
    ],
)
def test_patterns(pattern: str, found: list[str], tmp_path: Path) -> None:
    fill(tmp_path, "in/a.txt", "in/x/b.txt", "in/x/y/c.txt", "in/x2/d.txt", "in/.h/e.txt", "in/x/note.md", "in/.f.txt")
    targets = [job.target.relative_to(tmp_path / "out") for job in planned(tmp_path, pattern).jobs]
    assert sorted(map(str, targets)) == [f"{name}.dca" for name in found]


def test_a_name_that_looks_like_a_pattern(tmp_path: Path) -> None:
    fill(tmp_path, "a[1].txt", "a1.txt", "b[1]/c.txt")
    assert pairs(planned(tmp_path, "a[1].txt", "b[1]"), tmp_path) == [
        ("a[1].txt", "out/a[1].dca"),
        ("b[1]/c.txt", "out/c.dca"),
    ]


def test_what_is_not_older_than_its_source_is_skipped(tmp_path: Path) -> None:
    fill(tmp_path, "in/older.txt", "in/same.txt", "in/newer.txt", "in/none.txt", "out/older.dca", "out/same.dca")
    fill(tmp_path, "out/newer.dca")
    for name, seconds in (("older", -1), ("same", 0), ("newer", 1)):
        os.utime(tmp_path / f"in/{name}.txt", (1000, 1000))
        os.utime(tmp_path / f"out/{name}.dca", (1000 + seconds, 1000 + seconds))
    plan = planned(tmp_path, "in")
    assert pairs(plan, tmp_path) == [("in/none.txt", "out/none.dca"), ("in/older.txt", "out/older.dca")]
    assert [(job.source.name, job.target.name) for job in plan.skipped] == [
        ("newer.txt", "newer.dca"),
        ("same.txt", "same.dca"),
    ]
    found = (tmp_path / "out/older.dca").stat()
    assert [job.before for job in plan.jobs] == [None, Stamp(found.st_ino, 999 * 10**9, found.st_size)]
    forced = planned(tmp_path, "in", force=True)
    assert (len(forced.jobs), forced.skipped) == (4, ())


@pytest.mark.parametrize(
    ("names", "sources", "message"),
    [
        (
            ["in/a.txt", "in/a.TXT"],
            ["in"],
            "{0}/in/a.TXT and {0}/in/a.txt would both become {0}/out/a.dca; --keep-suffix keeps them apart",
        ),
        (
            ["in/a.txt", "in/a.TXT", "in/b/c.txt", "in/b/c.Txt", "in/b/c.TXT", "in/d.txt"],
            ["in"],
            (
                "{0}/in/a.TXT and {0}/in/a.txt would both become {0}/out/a.dca (and 2 more); "
                "--keep-suffix keeps them apart"
            ),
        ),
        (["x/a.txt", "y/a.txt"], ["x", "y"], "{0}/x/a.txt and {0}/y/a.txt would both become {0}/out/a.dca"),
        (  # --keep-suffix would not do for all
            ["x/a.txt", "x/a.TXT", "y/a.txt"],
            ["x", "y"],
            "{0}/x/a.TXT and {0}/x/a.txt would both become {0}/out/a.dca (and 1 more)",
        ),
        (["in/a.txt", "out/a.dca/b"], ["in"], "{0}/in/a.txt would become {0}/out/a.dca, which is a folder"),
        (
            ["in/a.txt", "in/a.dca/b.txt"],
            ["in"],
            "{0}/in/a.txt would become {0}/out/a.dca, which {0}/in/a.dca/b.txt needs as a folder",
        ),
        (["out/a.dca"], ["out/a.dca"], "{0}/out/a.dca would become {0}/out/a.dca, which is one of the sources"),
        ([], ["none"], "{0}/none: No such file or directory"),
        ([], ["*.txt"], "{0}/*.txt: no file matches"),
        (["in/note.md"], ["in"], "nothing to do: no file in {0}/in ends in .txt"),
        (["in/note.md"], ["in/*"], "nothing to do: no file in {0}/in/* ends in .txt"),
    ],
)
def test_what_is_refused(names: list[str], sources: list[str], message: str, tmp_path: Path) -> None:
    fill(tmp_path, *names)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BatchError) as caught:
        planned(tmp_path, *sources)
    assert str(caught.value) == message.format(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("link", ["out/a", "out/a/x.dca"])
def test_targets_that_are_links_to_one_another_are_one_target(link: str, tmp_path: Path) -> None:
    fill(tmp_path, "in/a/x.txt", "in/b/x.txt")
    (tmp_path / "out" / "b").mkdir(parents=True)
    (tmp_path / link).parent.mkdir(exist_ok=True)
    (tmp_path / link).symlink_to(tmp_path / link.replace("/a", "/b"))
    with pytest.raises(BatchError, match="would both become"):
        planned(tmp_path, "in")


@pytest.mark.parametrize(("one", "other"), [("A", "a"), ("deep/A", "Deep/a"), ("\u00fc", "u\u0308"), ("SS", "\u00df")])
def test_targets_that_the_file_system_does_not_distinguish(one: str, other: str, tmp_path: Path) -> None:
    """Whether it does is tried in the folder of the targets, and nothing of that is left there."""
    fill(tmp_path, f"x/{one}.txt", f"y/{other}.txt", f"probe/{one}")
    if (tmp_path / "probe" / other).exists():
        with pytest.raises(BatchError, match="would both become"):
            planned(tmp_path, "x", "y")
    else:
        assert len(planned(tmp_path, "x", "y").jobs) == 2
    assert sorted(each.name for each in tmp_path.iterdir()) == ["probe", "x", "y"]


def test_a_file_system_that_ignores_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "x/A.txt", "y/a.txt", "y/b.txt", "x/C/A.txt")
    found = Path.iterdir
    monkeypatch.setattr(Path, "exists", lambda path: path.name.lower() in (n.name.lower() for n in found(path.parent)))
    with pytest.raises(BatchError, match=r"x/A\.txt and .*y/a\.txt would both become .*out/a\.dca on this file system"):
        planned(tmp_path, "x", "y")


def test_a_suffix_that_is_kept(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.txt", "in/a.TXT", "in/x/b.c.txt", "in/none", "out/x/b.c.txt.dca")
    plan = planned(tmp_path, "in", "in/none", keep_suffix=True)
    assert pairs(plan, tmp_path) == [
        ("in/a.TXT", "out/a.TXT.dca"),
        ("in/a.txt", "out/a.txt.dca"),
        ("in/none", "out/none.dca"),
    ]
    assert [job.target for job in plan.skipped] == [tmp_path / "out/x/b.c.txt.dca"]


@pytest.mark.parametrize(
    ("names", "sources", "message"),
    [
        (["x/a.txt", "y/a.txt"], ["x", "y"], "{0}/x/a.txt and {0}/y/a.txt would both become {0}/out/a.txt.dca"),
        (
            ["in/a.txt", "in/a.txt.dca/b.txt"],
            ["in"],
            "{0}/in/a.txt would become {0}/out/a.txt.dca, which {0}/in/a.txt.dca/b.txt needs as a folder",
        ),
        (["in/a.txt", "out/a.txt.dca/b"], ["in"], "{0}/in/a.txt would become {0}/out/a.txt.dca, which is a folder"),
        (
            ["in/a.txt", "out/a.txt.dca"],
            ["in", "out/a.txt.dca"],
            "{0}/in/a.txt would become {0}/out/a.txt.dca, which is one of the sources",
        ),
    ],
)
def test_what_is_refused_though_the_suffix_is_kept(
    names: list[str], sources: list[str], message: str, tmp_path: Path
) -> None:
    fill(tmp_path, *names)
    with pytest.raises(BatchError) as caught:
        planned(tmp_path, *sources, keep_suffix=True)
    assert str(caught.value) == message.format(tmp_path)


def test_in_decoding_no_suffix_can_be_kept(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.dca", "in/a.DCA")
    with pytest.raises(BatchError) as caught:
        make_plan([str(tmp_path / "in")], tmp_path / "out", {".dca"}, ".png")
    assert str(caught.value) == f"{tmp_path}/in/a.DCA and {tmp_path}/in/a.dca would both become {tmp_path}/out/a.png"


def test_what_does_not_end_like_a_picture_is_left_out(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.txt", "in/x/b.md", "in/x/c", "in/d.text", "in/e.dca", "in/f.DCA", "in/.g.md", "in/.h/i.md")
    fill(tmp_path, "in/out/j.md", "in/k.md")
    (tmp_path / "in" / "link.md").symlink_to("k.md")
    (tmp_path / "in" / "gone.md").symlink_to("nowhere")
    os.mkfifo(tmp_path / "in" / "pipe")

    def left_out(*sources: str, suffixes: set[str] = TEXT, new_suffix: str = ".dca") -> list[str]:
        paths = [str(tmp_path / source) for source in sources]
        plan = make_plan(paths, tmp_path / "in" / "out", suffixes, new_suffix)
        assert (plan.failures, plan.warnings) == ((), ())
        return [str(path.relative_to(tmp_path / "in")) for path in plan.left_out]

    assert left_out("in") == ["d.text", "k.md", "link.md", "x/b.md", "x/c"]
    assert left_out("in/d.text", "in") == left_out("in", "in/d.text") == ["k.md", "link.md", "x/b.md", "x/c"]
    assert left_out("in/*") == left_out("in/**") == left_out("in/**/*") == left_out("in")
    assert left_out("in/*t") == ["d.text"]
    assert left_out("in", suffixes={".dca"}, new_suffix=".png") == []


def test_a_pattern_that_is_none(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.txt")
    try:
        plan = planned(tmp_path, "in/a**b*")  # newer versions of Python take it for a*b*
    except BatchError as error:
        assert str(error).startswith(f"{tmp_path}/in/a**b*: ")
    else:
        raise AssertionError(plan)


def test_a_pipe_is_no_picture(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.txt")
    os.mkfifo(tmp_path / "in" / "pipe.txt")
    assert pairs(planned(tmp_path, "in"), tmp_path) == [("in/a.txt", "out/a.dca")]
    with pytest.raises(BatchError, match=r"pipe.txt: not a file and not a folder$"):
        planned(tmp_path, "in/pipe.txt")


def test_decoding_beside_the_coded_file_is_refused(tmp_path: Path) -> None:
    """The original could be there, and would be lost."""
    fill(tmp_path, "in/x/a.dca")
    (tmp_path / "link").symlink_to("in")
    for folder in ("in", "link", "in/x/.."):
        with pytest.raises(BatchError, match=r"in/x/a\.dca: decode to another folder$"):
            make_plan([str(tmp_path / "in")], tmp_path / folder, {".dca"}, ".png")


def test_in_decoding_what_is_older_is_kept(tmp_path: Path) -> None:
    """It may be the original, which is older than what was made of it."""
    fill(tmp_path, *(f"in/{name}.dca" for name in ("older", "same", "newer", "none")))
    for name, seconds in (("older", -1), ("same", 0), ("newer", 1)):
        fill(tmp_path, f"out/{name}.png")
        os.utime(tmp_path / f"in/{name}.dca", (1000, 1000))
        os.utime(tmp_path / f"out/{name}.png", (1000 + seconds, 1000 + seconds))
    plan, forced = (
        make_plan([str(tmp_path / "in")], tmp_path / "out", {".dca"}, ".png", force=force) for force in (False, True)
    )
    assert [[job.source.stem for job in jobs] for jobs in (plan.jobs, plan.skipped, plan.kept)] == [
        ["none"],
        ["newer", "same"],
        ["older"],
    ]
    assert (len(forced.jobs), forced.skipped, forced.kept) == (4, (), ())


def test_links(tmp_path: Path) -> None:
    fill(tmp_path, "in/x/a.txt", "away/b.txt")
    (tmp_path / "in" / "away").symlink_to(tmp_path / "away")
    (tmp_path / "in" / "file.txt").symlink_to(tmp_path / "away" / "b.txt")
    (tmp_path / "in" / "gone.txt").symlink_to("nowhere")
    (tmp_path / "in" / "x" / "up").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "x" / "self").symlink_to(".")
    plan = planned(tmp_path, "in")
    assert pairs(plan, tmp_path) == [
        ("in/away/b.txt", "out/away/b.dca"),
        ("in/file.txt", "out/file.dca"),
        ("in/x/a.txt", "out/x/a.dca"),
    ]
    inside = "ignored, as it is a link to a folder that contains it"
    assert plan.warnings == (f"{tmp_path}/in/x/self: {inside}", f"{tmp_path}/in/x/up: {inside}")
    assert plan.failures == ((tmp_path / "in/gone.txt", "No such file or directory"),)
    starred = planned(tmp_path, "in/**/*.txt")  # follows no link to a folder
    assert [name for name, _ in pairs(starred, tmp_path)] == ["in/file.txt", "in/x/a.txt"]
    assert pairs(planned(tmp_path, "in/**"), tmp_path) == pairs(plan, tmp_path)


def test_the_target_folder_inside_of_a_source_is_left_out(tmp_path: Path) -> None:
    fill(tmp_path, "a.txt", "out/b.txt", "out/deep/c.txt", "other/d.txt")
    for source in (".", "*", "**"):
        found = [name for name, _ in pairs(planned(tmp_path, source), tmp_path)]
        assert sorted(found) == ["a.txt", "other/d.txt"], source
    inside = make_plan([str(tmp_path)], tmp_path, TEXT, ".dca")  # beside the pictures is a fine place for coded files
    assert len(inside.jobs) == 4


def test_a_file_as_target_folder(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.txt", "out")
    with pytest.raises(NotADirectoryError):
        planned(tmp_path, "in")


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "in/a.txt", "in/locked/b.txt")
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    plan = planned(tmp_path, "in")
    assert pairs(plan, tmp_path) == [("in/a.txt", "out/a.dca")]
    assert plan.failures == ((tmp_path / "in/locked", "Permission denied"),)
    only = planned(tmp_path, "in/locked")
    assert (only.jobs, len(only.failures)) == ((), 1)


def test_a_target_that_cannot_be_looked_at_is_named(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.txt", "file")
    plan = make_plan([str(tmp_path / "in")], tmp_path / "file" / "out", {".txt"}, ".dca")
    assert plan.failures == ((tmp_path / "in/a.txt", f"{tmp_path / 'file/out/a.dca'}: Not a directory"),)


def test_an_endless_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcacodec.files.bounded._BYTES_BESIDES", 1000)
    path = tmp_path / "in.dca"
    path.write_bytes(MAGIC + bytes(1100))
    outcome = Decoding(format="png", device="cpu", max_pixels=10)()(Job(path, tmp_path / "out.png", None))
    assert outcome.error == "more than 1080 bytes, the limit for pictures of 10 pixels"


def test_the_suffixes_of_pictures() -> None:
    found = picture_suffixes()
    assert found >= {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".bmp", ".gif", ".qoi"}
    assert not found & {".dca", ".eps", ".pdf", ".txt", ""}


def test_leftovers_of_killed_runs_are_removed(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.txt", "in/x/b.txt")
    old, new = f".dcacodec-{'0' * 16}.tmp", f".dcacodec-{'f' * 16}.tmp"
    fill(tmp_path, f"out/{old}", f"out/{new}", f"out/x/{old}", "out/.dcacodec-0.tmp", f"out/y/{old}", f"in/{old}")
    (tmp_path / "out" / f".dcacodec-{'1' * 16}.tmp").mkdir()
    now = time.time()
    for path in tmp_path.rglob(".dcacodec-*"):
        os.utime(path, (now - 3601, now - 3601))
    os.utime(tmp_path / "out" / new, (now - 3599, now - 3599))  # somebody may be writing it
    assert remove_leftovers(target_folders(planned(tmp_path, "in")), now=now) == 2
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob(".dcacodec-*"))
    assert left == sorted(
        [f"in/{old}", "out/.dcacodec-0.tmp", f"out/.dcacodec-{'1' * 16}.tmp", f"out/{new}", f"out/y/{old}"]
    )
