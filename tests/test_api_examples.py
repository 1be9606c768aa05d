"""The examples in the docstrings of the API: they run, and every function has one."""

import doctest
from pathlib import Path

import pytest

import dcacodec
from dcacodec import api

EXAMPLES = [test for test in doctest.DocTestFinder().find(api, "api") if test.examples]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_the_examples_of_docstrings_run(example: doctest.DocTest, desk: Path) -> None:
    report: list[str] = []
    result = doctest.DocTestRunner().run(example, out=report.append)
    assert (result.attempted, result.failed, report) == (len(example.examples), 0, [])


def test_the_public_functions_have_examples() -> None:
    documented = {example.name.removeprefix("api.") for example in EXAMPLES}
    assert documented >= {name for name, home in dcacodec._HOMES.items() if home == "dcacodec.api"}
