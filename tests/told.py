"""What an error says: a line. Which words it takes, `test_messages.py` holds for all of them, and no other test."""

import re
from typing import Any

import pytest
from click.testing import Result


def one_line(caught: pytest.ExceptionInfo[Any]) -> str:
    """The text of an error."""
    text = str(caught.value)
    assert text.strip() and text.isprintable(), repr(text)
    return text


def assert_fails(result: Result, *named: object) -> None:
    """A command printed one line on stderr, with the names and numbers that it must contain, and ended with 1."""
    assert (result.exit_code, result.stdout) == (1, "")
    assert re.fullmatch(r"dcacodec: error: \S.*\n", result.stderr), result.stderr
    assert all(str(each) in result.stderr for each in named), result.stderr
