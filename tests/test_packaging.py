"""What dcacodec is installed with."""

import configparser
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

TOOLS = {"build", "codespell", "mypy", "ruff"}
"""What only checks and builds is always the newest."""


def test_the_lowest_versions_are_those_of_setup_cfg() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", "utf-8")
    extras = config["options.extras_require"]
    wanted = "\n".join((config["options"]["install_requires"], extras["bench"], extras["dev"]))
    allowed = dict(re.findall(r"^([a-z0-9-]+)>=([0-9.]+)", wanted, re.MULTILINE))
    constraints = (ROOT / "ci" / "lowest.txt").read_text("utf-8")
    tested = dict(re.findall(r"^([a-z0-9-]+)==([0-9.]+?)(?:\.\*)?$", constraints, re.MULTILINE))
    assert tested == {name: version for name, version in allowed.items() if name not in TOOLS}
