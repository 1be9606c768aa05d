"""What dcacodec is installed with, what its distributions contain, and what a release must agree in."""

import configparser
import datetime
import importlib.util
import re
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml

from dcacodec._version import __version__

ROOT = Path(__file__).resolve().parent.parent

TOOLS = {"build", "codespell", "mypy", "ruff", "twine"}
"""What only checks and builds is always the newest."""

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))

_spec = importlib.util.spec_from_file_location("release_check", ROOT / "scripts" / "release_check.py")
assert _spec is not None and _spec.loader is not None
release_check = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(release_check)


def parsed(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def test_the_lowest_versions_are_those_of_setup_cfg() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", "utf-8")
    extras = config["options.extras_require"]
    wanted = "\n".join((config["options"]["install_requires"], extras["bench"], extras["dev"]))
    allowed = dict(re.findall(r"^([a-z0-9-]+)>=([0-9.]+)", wanted, re.MULTILINE))
    constraints = (ROOT / "ci" / "lowest.txt").read_text("utf-8")
    tested = dict(re.findall(r"^([a-z0-9-]+)==([0-9.]+?)(?:\.\*)?$", constraints, re.MULTILINE))
    assert tested == {name: version for name, version in allowed.items() if name not in TOOLS}


# ------------------------------------------------------------------------------------------------------- distributions


def left_out(files: list[str], manifest: str) -> list[str]:
    """Files that are neither modules of the package nor named by the lines of MANIFEST.in."""
    patterns = ["setup.py", "setup.cfg", "MANIFEST.in", "README.md", "dcacodec/*.py", "dcacodec/py.typed"]
    for line in manifest.splitlines():
        command, *words = line.split()
        assert command in ("include", "recursive-include"), line
        patterns += words if command == "include" else [f"{words[0]}/{name}" for name in words[1:]]
    return [file for file in files if not any(fnmatchcase(file, pattern) for pattern in patterns)]


def test_the_source_distribution_has_all_but_what_only_git_and_ci_read() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [file for file in listed.split("\0") if file and (ROOT / file).exists()]
    manifest = (ROOT / "MANIFEST.in").read_text("utf-8")
    assert left_out(files, manifest) == [".ci/run", ".gitignore"]
    assert "models/index.json" in left_out(
        files, manifest.replace("recursive-include models", "recursive-include other")
    )


def test_the_image_has_what_the_installation_needs() -> None:
    """.dockerignore leaves out everything else."""
    rules = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    kept = {rule[1:] for rule in rules if rule.startswith("!")}
    assert "*" in rules
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", "utf-8")
    sources = {value.split("/")[0] for value in config["options.data_files"].values()}
    read = {"README.md", config["metadata"]["license_files"]}
    assert kept == {"dcacodec", "models", "setup.py", "setup.cfg", *sources, *read}
    assert all((ROOT / name).exists() for name in kept - {"dcacodec"})  # which tests of a wheel have elsewhere


def test_the_page_on_pypi_has_no_links_to_files_that_are_not_there() -> None:
    command = [sys.executable, "setup.py", "--long-description"]
    page = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.search(r"\]\(https?:", page) and not re.search(r"\]\((?!https?:)", page)
    named = re.findall(r" \(`([^`\s]+)`\)", page)
    assert {"LICENSE", "SECURITY.md", "docs/index.md"} <= set(named)
    assert all((ROOT / path).exists() for path in named)


def test_the_image_runs_a_command_as_another_user_than_root() -> None:
    stages = re.split(r"^FROM ", (ROOT / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE)[1:]
    assert len(stages) == 2
    user = re.search(r"^USER (\S+)$", stages[-1], re.MULTILINE)
    assert user is not None and user[1].split(":")[0] not in ("0", "root")
    assert 'ENTRYPOINT ["dcacodec"]' in stages[-1]


# ------------------------------------------------------------------------------------------------------------- releases


def test_the_citation_is_of_this_version_and_names_the_paper() -> None:
    citation = parsed(ROOT / "CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # those that the format requires
    assert citation["version"] == __version__
    (paper,) = citation["references"]
    assert paper["title"].startswith("Diversify, Contextualize, and Adapt")
    assert [each["value"] for each in paper["identifiers"]] == ["arXiv:2411.05832"]
    assert all(author["family-names"] and author["given-names"] for author in paper["authors"])
    assert isinstance(citation.get("date-released", datetime.date.min), datetime.date)


def test_the_changelog_has_this_version_below_what_is_unreleased() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    assert re.fullmatch(rf"\[{re.escape(__version__)}\] - (YYYY-MM-DD|\d{{4}}-\d\d-\d\d)", headings[1])


def test_only_the_date_is_in_the_way_of_this_release() -> None:
    """While a version is prepared, what is merged belongs to it (RELEASING.md)."""
    changelog, citation = ((ROOT / name).read_text("utf-8") for name in ("CHANGELOG.md", "CITATION.cff"))
    section = f"## [{__version__}] - YYYY-MM-DD"
    if section in changelog:
        dated = changelog.replace(section, f"## [{__version__}] - 2030-04-05")
        citation += "date-released: 2030-04-05\n"
        assert list(release_check.obstacles(f"v{__version__}", __version__, dated, citation)) == []


CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2030-04-05\n\n- news\n"
CITATION = "title: x\nversion: 1.2.0\ndate-released: 2030-04-05\n"


@pytest.mark.parametrize(
    ("tag", "changelog", "citation", "count"),
    [
        ("v1.2.0", CHANGELOG, CITATION, 0),
        ("1.2.0", CHANGELOG, CITATION, 1),
        ("v1.2.1", CHANGELOG, CITATION, 1),
        ("v1.2.0", CHANGELOG.replace("2030-04-05", "YYYY-MM-DD"), CITATION, 1),
        ("v1.2.0", CHANGELOG.replace("1.2.0", "1.1.0"), CITATION, 1),
        ("v1.2.0", CHANGELOG.replace("[Unreleased]\n", "[Unreleased]\n\n- more\n"), CITATION, 1),
        ("v1.2.0", CHANGELOG.replace("## [Unreleased]\n", ""), CITATION, 1),
        ("v1.2.0", CHANGELOG, CITATION.replace("1.2.0", "1.1.0"), 1),
        ("v1.2.0", CHANGELOG, CITATION.replace("2030-04-05", "2030-04-06"), 1),
        ("v1.2.0", CHANGELOG, CITATION.replace("date-released: 2030-04-05\n", ""), 1),
    ],
)
def test_what_is_in_the_way_of_a_release(tag: str, changelog: str, citation: str, count: int) -> None:
    assert len(list(release_check.obstacles(tag, "1.2.0", changelog, citation))) == count


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_run_steps_with_few_rights(path: Path) -> None:
    workflow = parsed(path)
    assert True in workflow  # YAML 1.1 reads the key "on" so
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["runs-on"] and job["timeout-minutes"]
        assert all(("uses" in step) != ("run" in step) for step in job["steps"])


def test_only_a_tag_publishes_and_only_what_was_tested() -> None:
    workflow = parsed(ROOT / ".github" / "workflows" / "release.yml")
    assert workflow[True] == {"push": {"tags": ["v*"]}}
    build, publish = workflow["jobs"]["build"], workflow["jobs"]["publish"]
    runs = [step["run"] for step in build["steps"] if "run" in step]
    assert "release_check.py" in runs[0] and runs[1] == "make wheel-test"
    assert (publish["needs"], publish["environment"]) == ("build", "pypi")
    assert publish["permissions"] == {"id-token": "write"}
    assert not any("checkout" in step["uses"] for step in publish["steps"])
    assert "permissions" not in build


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_issue_forms_ask_for_something(path: Path) -> None:
    form = parsed(path)
    if path.name == "config.yml":
        assert set(form) <= {"blank_issues_enabled", "contact_links"}
        return
    assert form["name"] and form["description"]
    fields = [each for each in form["body"] if each["type"] != "markdown"]
    assert len({each["id"] for each in fields}) == len(fields)
    assert any(each.get("validations", {}).get("required") for each in fields)


def test_a_bug_report_has_the_output_of_doctor() -> None:
    bug = parsed(ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml")
    (field,) = [each for each in bug["body"] if each.get("id") == "doctor"]
    assert "dcacodec doctor" in field["attributes"]["label"] and field["validations"]["required"]
