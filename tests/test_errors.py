"""Errors say what happened, can be sent between processes, and have the documented exit codes."""

from __future__ import annotations

import copy
import pickle

import pytest

from snapseed import errors
from snapseed.errors import SnapseedError

ALL = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, SnapseedError)]


@pytest.mark.parametrize("kind", ALL)
def test_an_error_survives_pickling_and_copying(kind: type[SnapseedError]) -> None:
    """With its type and all its parts."""
    error = kind("it broke", observed="a", expected="b", where="c", next_step="d")
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - our own bytes
        assert type(twin) is kind
        assert vars(twin) == vars(error)
        assert str(twin) == str(error)


def test_an_error_prints_its_parts_in_order() -> None:
    """Summary, where, observed, expected, next; unknown parts are left out."""
    error = SnapseedError("it broke", next_step="fix it", observed="3", expected="4", where="here")
    assert str(error) == "it broke\n  where:    here\n  observed: 3\n  expected: 4\n  next:     fix it"
    assert str(SnapseedError("it broke")) == "it broke"
    assert SnapseedError("it broke", expected="4").details() == {"expected": "4"}


def test_exit_codes_are_those_of_the_design() -> None:
    """1 findings, 2 wrong input, 3 refused, 4 worth a retry, 130 and 143 interrupted."""
    assert {kind.__name__: kind.exit_code for kind in ALL if kind.exit_code != 2} == {
        "VerificationError": 1,
        "RefusedError": 3,
        "ServerError": 4,
        "StoreError": 4,
        "EmbedderAwayError": 4,
        "InterruptedByUserError": 130,
        "TerminatedError": 143,
    }
