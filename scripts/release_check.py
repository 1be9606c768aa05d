"""Check that a tag can be released: version, changelog and citation agree, and have the date.

PYTHONPATH=. python scripts/release_check.py v0.1.0
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from dcacodec._version import __version__

ROOT = Path(__file__).resolve().parent.parent


def obstacles(tag: str, version: str, changelog: str, citation: str) -> Iterator[str]:
    """What is in the way of releasing a tag, one line each.

    Args:
        tag: "v" and the version.
        version: of the package.
        changelog: the text of CHANGELOG.md.
        citation: the text of CITATION.cff.
    """
    if tag != f"v{version}":
        yield f"the tag is {tag}, and the version of the package {version}"
    heading = re.search(rf"^## \[{re.escape(version)}\] - (\d{{4}}-\d\d-\d\d)$", changelog, re.MULTILINE)
    if heading is None:
        yield f"CHANGELOG.md has no section {version} with a date"
    unreleased = re.search(r"^## \[Unreleased\]\n(.*?)(?=^## )", changelog, re.DOTALL | re.MULTILINE)
    if unreleased is None or unreleased[1].strip():
        yield "CHANGELOG.md needs an empty section Unreleased above those of versions"
    if not re.search(rf"^version: {re.escape(version)}$", citation, re.MULTILINE):
        yield f"CITATION.cff is not of version {version}"
    if heading is not None and not re.search(rf"^date-released: {heading[1]}$", citation, re.MULTILINE):
        yield f"CITATION.cff does not have the date of the changelog, {heading[1]}"


def main(tag: str) -> None:
    """Exit with the obstacles, if there are any."""
    texts = ((ROOT / name).read_text("utf-8") for name in ("CHANGELOG.md", "CITATION.cff"))
    sys.exit("\n".join(obstacles(tag, __version__, *texts)) or None)


if __name__ == "__main__":
    main(*sys.argv[1:])
