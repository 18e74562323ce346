"""A load fills the tables as the manifest says, or changes nothing."""

from __future__ import annotations

from snapseed import load_snapshot, verify_snapshot
from tests.conftest import Sandbox


def test_a_load_creates_the_schema_fills_it_and_agrees_with_the_manifest(shop: Sandbox) -> None:
    """From an empty database to rows that verify, in one call."""
    report = load_snapshot(shop.project, shop.environment())
    assert report.schema_created
    assert verify_snapshot(shop.project, shop.environment()).agrees
    with shop.connect() as connection:
        assert connection.execute("SELECT count(*) FROM customers").fetchone() == (250,)


def test_a_second_load_replaces_the_first(shop: Sandbox) -> None:
    """Loading twice leaves the rows once."""
    for _ in range(2):
        load_snapshot(shop.project, shop.environment())
    assert verify_snapshot(shop.project, shop.environment()).agrees
