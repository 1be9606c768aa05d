"""The documentation: links lead somewhere, Python blocks run, commands exist, and the site has every page."""

import importlib
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from PIL import Image
from tiny import photo

import dcacodec
from dcacodec.cli.app import cli
from dcacodec.images.formats import OUTPUT_FORMATS, READABLE

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
SITE = sorted(ROOT.glob("docs/**/*.md"))
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("*/*.md"), *SITE])
TEXTS = {path: path.read_text("utf-8") for path in {*PAGES, *SITE}}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(text: str, language: str) -> list[str]:
    """The fenced code blocks of a language, also those in lists."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    return [re.sub(f"^{indent}", "", code, flags=re.MULTILINE) for indent, code in found]


# Python


@pytest.mark.parametrize("path", [path for path in PAGES if blocks(TEXTS[path], "python")], ids=name_of)
def test_python_runs(path: Path, desk: Path) -> None:
    names: dict[str, Any] = {"__name__": "page"}
    for number, block in enumerate(blocks(TEXTS[path], "python")):
        exec(compile(block, f"{name_of(path)}, block {number + 1}", "exec"), names)
    saved = set(re.findall(r'(?:save\(|encode_file\([^,]*, |decode_file\([^,]*, )"([^"]+)"', TEXTS[path]))
    assert saved | {"photo.png", "photo.dca"} == set(os.listdir(desk))


def test_pages_with_python() -> None:
    """A page that lost its examples, or whose fences are not found, is noticed."""
    running = {path for path in PAGES if blocks(TEXTS[path], "python")}
    assert {name_of(path) for path in running} >= {
        "README.md",
        "docs/how-to/compressai.md",
        "docs/how-to/pillow.md",
        "docs/how-to/target-size.md",
        "docs/reference/format.md",
        "docs/reference/python.md",
        "docs/tutorial/python.md",
    }
    for path in PAGES:
        assert TEXTS[path].count("```") == 2 * len(blocks(TEXTS[path], r"\w*")), name_of(path)


# commands


def commands(*paths: Path) -> Iterator[list[str]]:
    """The command lines of pages, each as words, without comments and redirections."""
    for path in paths:
        for block in blocks(TEXTS[path], "sh"):
            for line in block.splitlines():
                words = shlex.split(line, comments=True)
                ends = [place for place, word in enumerate(words) if word in "<>|"]
                yield words[: min(ends, default=None)]


def unique(found: Iterator[list[str]]) -> list[list[str]]:
    return [shlex.split(line) for line in sorted({shlex.join(words) for words in found})]


COMMANDS = unique(commands(*PAGES))
OWN = unique(words[words.index("dcacodec") :] for words in COMMANDS if words[0] in ("dcacodec", "torchrun"))


def test_all_programs_are_known() -> None:
    """Of these, only the first four can be checked here."""
    known = {"dcacodec", "make", "python", "torchrun"}
    assert {words[0] for words in COMMANDS} == known | {
        ".", "cat", "eval", "file", "install", "pip", "python3", "xdg-mime"
    }  # fmt: skip


@pytest.mark.parametrize("words", OWN, ids=" ".join)
def test_commands_exist(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for word in words[2:]:  # what the command wants to be there, is there
        path = tmp_path / word
        (path.parent if path.suffix else path).mkdir(parents=True, exist_ok=True)
        if path.suffix:
            path.touch()
    command = cli.get_command(click.Context(cli), words[1])
    assert command is not None
    parent = click.Context(cli, **cli.context_settings)
    command.make_context(words[1], words[2:], parent)  # parses them, and runs nothing


@pytest.mark.parametrize(
    "name",
    [
        "tutorial/first-pictures",
        pytest.param("tutorial/folder", marks=pytest.mark.slow),
        pytest.param("how-to/target-size", marks=pytest.mark.slow),
        pytest.param("how-to/batch", marks=pytest.mark.slow),
    ],
)
def test_commands_run(name: str, desk: Path) -> None:
    """One after the other, as somebody does who follows the page."""
    for path in ("photos/trip/a.png", "photos/b.png", "photos/c.tif", "scans/d.png"):
        (desk / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo(16, 24)).save(desk / path)
    for words in commands(ROOT / "docs" / f"{name}.md"):
        if words[0] == "dcacodec":
            one_process = ["--jobs", "1"] if words[1] == "batch" and "--jobs" not in words else []
            result = CliRunner().invoke(cli, [words[1], *one_process, *words[2:]], prog_name="dcacodec")
            assert result.exit_code == 0, (words, result.stderr)


@pytest.mark.parametrize("words", [words for words in COMMANDS if words[0] == "python"], ids=" ".join)
def test_programs_exist(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    if words[1] == "-m":
        monkeypatch.syspath_prepend(ROOT)
        assert importlib.util.find_spec(words[2]) is not None
        return
    path = ROOT / words[1]
    assert path.is_file()
    monkeypatch.syspath_prepend(path.parent)
    module = importlib.import_module(path.stem)
    assert Path(str(module.__file__)) == path
    if isinstance(module.main, click.Command):
        known = {name for parameter in module.main.params for name in parameter.opts}
        assert {word for word in words[2:] if word.startswith("-")} <= known


@pytest.mark.parametrize("words", [words for words in COMMANDS if words[0] == "make"], ids=" ".join)
def test_targets_exist(words: list[str]) -> None:
    assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


# links and the site


def without_code(text: str) -> str:
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(text: str) -> set[str]:
    """Those that GitHub and MkDocs give to the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(TEXTS[path])):
        if "://" in target:
            continue
        file, _, heading = target.partition("#")
        linked = (path.parent / file).resolve() if file else path
        assert linked.exists(), target
        assert not heading or heading in anchors(linked.read_text("utf-8")), target
        assert path not in SITE or (ROOT / "docs") in linked.parents, f"{target} is not part of the site"


def test_the_site_has_every_page() -> None:
    menu = re.findall(r"([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert sorted(menu) == [path.relative_to(ROOT / "docs").as_posix() for path in SITE]
    home = re.findall(r"\]\(([^)\s]+\.md)\)", TEXTS[ROOT / "docs" / "index.md"])
    assert set(home) == {*menu} - {"index.md"}
    assert [page for page in menu if page in home] == sorted(home, key=menu.index)
    assert "mkdocs build --strict" in (ROOT / "Makefile").read_text("utf-8")


def test_entries_of_the_notebook_are_complete() -> None:
    entries = re.split(r"^### ", TEXTS[ROOT / "docs" / "research" / "notebook.md"], flags=re.MULTILINE)[1:]
    for entry in entries:
        labels = re.findall(r"^\*\*(Question|Command|Result|Decision)\.\*\*", entry, re.MULTILINE)
        assert labels == ["Question", "Command", "Result", "Decision"], entry.splitlines()[0]


def test_the_api_page_has_every_public_name() -> None:
    page = TEXTS[ROOT / "docs" / "reference" / "api.md"]
    described = set(re.findall(r"^::: dcacodec\.(\w+)$", page, re.MULTILINE))
    assert described >= {*dcacodec.__all__} - {"DcaError", "__version__"}
    assert described >= {"compressai_model", "errors", "ratecontrol"}


def test_the_readme_is_short() -> None:
    assert len(TEXTS[README].splitlines()) <= 150


def test_formats_are_those_of_the_program() -> None:
    sentences = (
        r"^Reads (.*) and JPEG 2000,\nand with .*\nWrites (.*), all of them losslessly, and (.*) with a warning\.$"
    )
    found = re.search(sentences, TEXTS[README], re.MULTILINE)
    assert found is not None
    read, *written = (re.split(r", | or ", names) for names in found.groups())
    assert {name.upper() for name in read} == set(READABLE)
    lossless, lossy = ({name.lower() for name in names} for names in written)
    assert {*lossless, *lossy} == set(OUTPUT_FORMATS)
    assert lossy == {name for name, kind in OUTPUT_FORMATS.items() if kind.lossy}
