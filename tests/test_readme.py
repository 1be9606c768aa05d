"""The README: its Python runs, and its commands exist."""

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image
from tiny import photo

from dcacodec import Codec, Picture
from dcacodec.cli.app import cli
from dcacodec.images.formats import OUTPUT_FORMATS, READABLE

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
DOCUMENTS = {
    path: path.read_text("utf-8")
    for path in (
        ROOT / "README.md",
        *(ROOT / "docs" / f"{name}.md" for name in ("how-to/train", "how-to/benchmark", "research/notebook")),
    )
}


def blocks(text: str, language: str) -> list[str]:
    """The fenced code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def commands() -> list[list[str]]:
    """The command lines of all documents, each as words, without comments and redirections."""
    lines = [line for text in DOCUMENTS.values() for block in blocks(text, "sh") for line in block.splitlines()]
    found = []
    for line in lines:
        words = shlex.split(line, comments=True)
        ends = [place for place, word in enumerate(words) if word in "<>|"]
        found.append(words[: min(ends, default=None)])
    return found


def test_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    original = photo(70, 90)
    Image.fromarray(original).save("photo.png")
    codes = blocks(README, "python")
    assert len(codes) == 3
    for number, code in enumerate(codes):
        exec(compile(code, f"README.md, block {number + 1}", "exec"), {"__name__": "readme"})

    assert sorted(path.name for path in work.iterdir()) == ["again.png", "back.png", "photo.dca", "photo.png"]
    codec = Codec.load()
    data = (work / "photo.dca").read_bytes()
    assert np.array_equal(np.array(Image.open("back.png")), codec.decode(data).pixels)
    better = codec.decode(codec.encode(Picture(original), quality=80))
    assert np.array_equal(np.array(Image.open("again.png")), better.pixels)
    line = r"the file is truncated or damaged: it has only \d+ bytes\n"
    assert re.fullmatch(line, capsys.readouterr().out)


def test_the_documents_have_commands() -> None:
    assert {words[0] for words in commands()} == {"make", "pip", "dcacodec", "python", "torchrun"}


def command_lines(program: str) -> Iterator[list[str]]:
    return (words for words in commands() if words[0] == program)


@pytest.mark.parametrize("words", list(command_lines("dcacodec")), ids=" ".join)
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


@pytest.mark.parametrize("words", list(command_lines("python")), ids=" ".join)
def test_benchmarks_exist(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = ROOT / words[1]
    monkeypatch.syspath_prepend(path.parent)
    module = importlib.import_module(path.stem)
    assert Path(str(module.__file__)) == path
    assert isinstance(module.main, click.Command)
    known = {name for parameter in module.main.params for name in parameter.opts}
    assert {word for word in words[2:] if word.startswith("-")} <= known


@pytest.mark.parametrize("words", list(command_lines("make")), ids=" ".join)
def test_targets_exist(words: list[str]) -> None:
    assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("*/*.md"), *ROOT.glob("docs/*/*.md")])


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(text: str) -> set[str]:
    """Those that GitHub gives to the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(path.read_text("utf-8"))):
        if "://" in target:
            continue
        file, _, heading = target.partition("#")
        linked = (path.parent / file).resolve() if file else path
        assert linked.exists(), target
        assert not heading or heading in anchors(linked.read_text("utf-8")), target


def test_formats_are_those_of_the_program() -> None:
    sentence = re.search(r"\bReads (.*)\.\s+Writes (.*), all of them losslessly\.", README)
    assert sentence is not None
    read, written = (set(re.split(r", | and | or ", names)) for names in sentence.groups())
    assert {name.upper() for name in read} == set(READABLE)
    assert {name.lower() for name in written} == set(OUTPUT_FORMATS)
