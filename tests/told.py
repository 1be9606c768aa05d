"""What an error says: a line. Which words it takes, `test_messages.py` holds for all of them, and no other test."""

from typing import Any

import pytest


def one_line(caught: pytest.ExceptionInfo[Any]) -> str:
    """The text of an error."""
    text = str(caught.value)
    assert text.strip() and text.isprintable(), repr(text)
    return text
