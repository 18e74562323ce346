"""Every draw has an example in its docstring, and the examples are right."""

from __future__ import annotations

import doctest
import inspect
import uuid

import polars as pl
import pytest

import snapseed
from snapseed import Items, Rows
from tests.generate.making import make_rows, things

FUNCTIONS = ["as_decimals", "filled", "json_array", "json_object", "slug"]
# What every example may use: four rows of the entity `things`, drawn with seed 42.
GIVEN = {"things": things, "pl": pl, "uuid": uuid, **{name: getattr(snapseed, name) for name in snapseed.__all__}}


def examples() -> list[doctest.DocTest]:
    """The docstrings of the public methods of `Rows` and `Items`, and of the public functions for generators."""
    parser = doctest.DocTestParser()
    found = []
    for owner in (Rows, Items):
        for name, member in inspect.getmembers(owner, inspect.isfunction):
            if not name.startswith("_") and (owner is Rows or not hasattr(Rows, name)):
                place = f"{owner.__name__}.{name}"
                found.append(parser.get_doctest(inspect.getdoc(member) or "", GIVEN, place, None, None))
    for name in FUNCTIONS:
        function = getattr(snapseed, name)
        found.append(parser.get_doctest(inspect.getdoc(function) or "", GIVEN, name, None, None))
    return found


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_the_example_of_a_draw_is_right(example: doctest.DocTest) -> None:
    """Each draw has one, and its output is right on every machine and with every version of NumPy and polars."""
    assert example.examples, f"{example.name} has no example"
    example.globs = GIVEN | {"rows": make_rows(4)}
    said: list[str] = []
    doctest.DocTestRunner().run(example, out=said.append)
    assert not said, "".join(said)
