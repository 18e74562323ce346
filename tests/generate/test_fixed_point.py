"""Logarithms, powers and normal quantiles in whole numbers: accurate, monotone, and the same for ever."""

from __future__ import annotations

import hashlib
import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapseed.generate.draws import fixed_point
from snapseed.generate.draws.fixed_point import LOG_BITS, NORMAL_BITS, exp2, log2, normal, normal_bits

_BITS = st.integers(0, 2**64 - 1)
_LOG, _NORMAL = 2**LOG_BITS, 2**NORMAL_BITS
_BELL = NormalDist()

# SHA-256 of the tables of the first version. They never change.
GOLDEN = {
    "_logarithms": "26689c73583a3f461443e9775cfeff0832ea1a9c1468cbd63460a106b2966925",
    "_powers": "ace07942bb3047496761753442bf42ef3abe6c5c8ca49573a82ad828e56ff7d7",
    "_quantiles": "ecf60161674b5ba5d380b25b3b9fe053bd15c74a7d945c8c556a880abc508cd4",
}


@pytest.mark.parametrize("table", GOLDEN)
def test_tables_are_the_same_as_in_every_earlier_version(table: str) -> None:
    """Golden digests: entries are whole numbers, so no rounding changes them."""
    parts = [part.astype("<i8").tobytes() for part in getattr(fixed_point, table)()]
    assert hashlib.sha256(b"".join(parts)).hexdigest() == GOLDEN[table]


@given(st.integers(1, 2**63 - 1))
def test_logarithms_are_accurate(value: int) -> None:
    """Within 2^-24, the error of the linear interpolation."""
    assert abs(int(log2(np.array([value]))[0]) / _LOG - math.log2(value)) < 2**-24


@given(st.integers(0, 63 * _LOG - 1))
def test_powers_are_accurate(exponent: int) -> None:
    """Within 2^-25 of them, rounded down."""
    true = 2.0 ** (exponent / _LOG)
    assert -1 - true * 2**-25 < int(exp2(np.array([exponent]))[0]) - true < true * 2**-25


@given(st.integers(2**28, 2**64 - 2**28))
def test_normal_quantiles_are_accurate(bits: int) -> None:
    """Within a ten-thousandth of a deviation, up to six deviations."""
    upper = bits >= 2**63
    true = _BELL.inv_cdf((2**64 - bits if upper else bits) / 2**64) * (-1 if upper else 1)
    assert abs(int(normal(np.array([bits], dtype=np.uint64))[0]) / _NORMAL - true) < 1e-4


@given(_BITS)
def test_the_normal_distribution_is_symmetric(bits: int) -> None:
    """The complement of the bits gives the same value with the other sign, within 8.3 deviations."""
    one, other = normal(np.array([bits, 2**64 - 1 - bits], dtype=np.uint64)).tolist()
    assert one == -other != 0
    assert abs(one) < 8.3 * _NORMAL


@given(st.lists(_BITS, min_size=2))
def test_all_three_are_monotone(values: list[int]) -> None:
    """Sorted values have sorted results."""
    bits = np.array(sorted(values), dtype=np.uint64)
    assert (np.diff(normal(bits)) >= 0).all()
    whole = np.maximum(bits >> np.uint64(1), np.uint64(1)).view(np.int64)
    assert (np.diff(log2(whole)) >= 0).all()
    assert (np.diff(exp2((bits >> np.uint64(11)).view(np.int64))) >= 0).all()


@given(st.integers(2**40, 2**64 - 2**40))
def test_normal_bits_inverts_normal(bits: int) -> None:
    """Within about 2^-22 of the tail."""
    [back] = normal_bits(normal(np.array([bits], dtype=np.uint64))).tolist()
    assert abs(back - bits) <= min(bits, 2**64 - bits) / 2**22 + 2**12


@given(_BITS)
def test_powers_invert_logarithms(value: int) -> None:
    """Both interpolations together have an error below 2^-23."""
    number = max(value >> 2, 1)
    back = int(exp2(log2(np.array([number])))[0])
    assert abs(back - number) <= 1 + number * 2**-23


def test_powers_of_two_and_extreme_arguments_are_exact() -> None:
    """Powers of two, the smallest and the largest arguments."""
    powers = np.array([2**place for place in range(63)])
    assert log2(powers).tolist() == [place * _LOG for place in range(63)]
    assert exp2(np.arange(63) * _LOG).tolist() == powers.tolist()
    assert exp2(np.array([63 * _LOG - 1])).tolist() == [9_223_372_036_854_753_098]
    assert log2(np.array([2**63 - 1])).tolist() == [63 * _LOG]
    assert normal_bits(np.array([-9 * _NORMAL, 9 * _NORMAL])).tolist() == [2**10, 2**64 - 1 - 2**10]
