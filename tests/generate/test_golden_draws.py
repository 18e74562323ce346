"""Draws are the same in every version of snapseed, Python, NumPy and polars, and on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from snapseed import Rhythm, Rows, filled, slug
from tests.generate.making import make_rows, things

START = datetime(2020, 1, 1, tzinfo=UTC)
TABLE = pl.DataFrame({"kind": ["a", "a", "b"], "word": ["one", "two", "three"], "weight": [1, 3, 2]})

# The first 16 hexadecimal digits of the SHA-256 of 20,000 drawn values as text, one per line, in the first version that
# had the draw. A draw with another result would change other people's snapshots.
GOLDEN: dict[str, tuple[Callable[[Rows], pl.Series], str]] = {
    "bits": (lambda rows: pl.Series(rows.bits("a")), "5230678af2fb22bc"),
    "key": (lambda rows: rows.key(), "665fcb497dfb608c"),
    "number": (lambda rows: rows.number(5, 3), "b3b732d850e89d16"),
    "integers": (lambda rows: rows.integers("a", -5, rows.number()), "c5626d85d28189fa"),
    "decimals": (lambda rows: rows.decimals("a", "-1.5", "99.999", 3), "ff4ed9ada994cd0f"),
    "chance": (lambda rows: rows.chance("a", 0.3), "1ce821a83960880b"),
    "chance by row": (lambda rows: rows.chance("a", rows.choice("c", [0.0, 0.1, 1 / 3, 1.0])), "3055231be05195ab"),
    "or_null": (lambda rows: rows.or_null("a", rows.number(), 0.5), "c55eb8aa016e7e58"),
    "zipf": (lambda rows: rows.zipf("a", 10**12), "6c1115c272fb84b3"),
    "zipf 0.7": (lambda rows: rows.zipf("a", 10**12, 0.7), "3309f1ed494c12b5"),
    "zipf 1.8": (lambda rows: rows.zipf("a", rows.number(), 1.8), "04b2ef44767e6ad7"),
    "normal": (lambda rows: rows.normal("a", 0, 10**15), "5010ba5b56e63499"),
    "normal, cut": (lambda rows: rows.normal("a", 38, 14, minimum=18, maximum=rows.number() + 20), "3c7c708da876b082"),
    "log_normal": (lambda rows: rows.log_normal("a", 10**12, 2.5), "49161b894e4307ac"),
    "log_normal, cut": (lambda rows: rows.log_normal("a", rows.number(), "1.3", maximum=15_000), "a85f23ae1cd87396"),
    "choice": (lambda rows: rows.choice("a", ["x", "y", None]), "7c6bcf622eb1f2cc"),
    "choice, weighted": (lambda rows: rows.choice("a", {"x": 1, "y": 5, "z": 2}), "506bd9c621841106"),
    "choice, distinct": (
        lambda rows: rows.items("i", rows.integers("n", 0, 4)).choice("a", list("vwxyz"), distinct=True),
        "c5b766b82c1f7cfa",
    ),
    "sample": (
        lambda rows: rows.sample("a", TABLE, "weight", kind=rows.choice("k", ["a", "b"]))["word"],
        "5af840f43ebd7f29",
    ),
    "reference": (lambda rows: rows.reference("a", things), "8c645dc0bbc3f649"),
    "reference, latest": (lambda rows: rows.reference("a", things, latest=0.2), "c40791b05c15ddbe"),
    "reference, popular": (lambda rows: rows.reference("a", things, exponent=1.2), "53417b258bad5d8f"),
    "timestamps": (lambda rows: rows.timestamps("a", START), "9348d2ed13ac64d7"),
    "timestamps, growing": (lambda rows: rows.timestamps("a", START, growth=7), "0f8d4ad3546b0f43"),
    "timestamps, falling": (lambda rows: rows.timestamps("a", START, growth="0.3"), "c1b7b99a757d4792"),
    "timestamps, in a rhythm": (
        lambda rows: rows.timestamps("a", START, growth=2, rhythm=Rhythm(), ahead=timedelta(hours=-5)),
        "c3d49610edfa6c2b",
    ),
    "quantiles": (lambda rows: rows.quantiles("a", [-5, 0, 0, 7, 10**15]), "ac6c96429755f753"),
    "quantiles, from a minimum": (
        lambda rows: rows.quantiles("a", [0, 10**4, 3 * 10**4], minimum=rows.number()),
        "b6c25773d2f60e18",
    ),
    "quantiles, ascending": (
        lambda rows: rows.items("i", rows.integers("n", 0, 4)).quantiles("a", [0, 9, 10**6], ascending=True),
        "69ae1bdb0cb669f5",
    ),
    "quantiles of moments": (
        lambda rows: rows.quantiles("a", ["2020-01-01", "2020-03-01T12:00:00", "2024-01-01"], minimum=START),
        "4d2a3810f5f99211",
    ),
    "dates": (lambda rows: rows.dates("a", date(1950, 1, 1)), "901c139fa045b43c"),
    "code": (lambda rows: rows.code("a", 9), "aee970f8c8f91d2a"),
    "long code": (lambda rows: rows.code("a", 30, "ACGT"), "176f679c464d8e76"),
    "unique": (lambda rows: rows.unique("a", rows.choice("n", ["x", "y1"]), longest=11), "4f2739f90b47e164"),
    "uuids": (lambda rows: rows.uuids("a").bin.encode("hex"), "038f14865c5a7e62"),
    "items": (lambda rows: rows.items("a", rows.integers("n", 0, 3)).integers("b", 0, 10**9), "bf3f6f606a73cac6"),
    "filled": (lambda rows: filled(rows.choice("t", ["{n}", "a {n}"]), n=rows.number()), "902dff9facbd43c4"),
    "slug": (lambda rows: slug(rows.choice("w", ["Crème brûlée", "Łódź & Æ", "\ufb01ve"])), "755d5b12b51c0c03"),
}


@pytest.mark.parametrize("draw", GOLDEN)
def test_draws_are_the_same_as_in_every_earlier_version(draw: str) -> None:
    """For the first rows and for rows beyond a billion."""
    function, expected = GOLDEN[draw]
    near, far = (function(make_rows(10_000, first=first)).to_list() for first in (0, 3_000_000_000))
    lines = "".join(f"{value}\n" for value in near + far)
    assert hashlib.sha256(lines.encode()).hexdigest()[:16] == expected
