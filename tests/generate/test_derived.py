"""Tables worked out from pools are made once, and draws from them are those of any other table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapseed.generate.draws.choices import RunningSums
from tests.generate.making import make_rows, make_snapshot, write_project

GREETINGS = """
def greetings(pool):
    return pool("names").select(text="hello " + pl.col("name"))

@entity(key="id", columns={"id": "uuid", "text": "text"})
def things(rows):
    return pl.DataFrame({"id": rows.key(), "text": rows.sample("text", rows.derived(greetings))["text"]})
"""


def test_a_derived_table_is_made_once() -> None:
    """And is the same frame for all rows of a process."""
    made = []

    def shouted(pool: Callable[[str], pl.DataFrame]) -> pl.DataFrame:
        made.append(pool("names"))
        return made[-1].select(pl.col("name").str.to_uppercase())

    tables = [make_rows(10).derived(shouted), make_rows(5, first=3).derived(shouted)]
    assert tables[0] is tables[1]
    assert len(made) == 1
    assert tables[0]["name"].equals(make_rows(1).pool("names")["name"].str.to_uppercase())


def test_pools_behind_a_derived_table_stand_in_the_manifest(tmp_path: Path) -> None:
    """Also in a second run of the same process, which makes no table anew."""
    project = write_project(tmp_path / "project", GREETINGS)
    (project.generators / "pools").mkdir()
    (project.generators / "pools/names.csv").write_text("name\nAda\nGrace\n")
    assert list(make_snapshot(project, 5).manifest.pools) == ["names"]
    assert list(make_snapshot(project, 6).manifest.pools) == ["names"]


def test_a_table_that_is_gone_leaves_no_groups_behind() -> None:
    """A new one, be it at the same address, is grouped anew."""
    rows = make_rows(20)
    for number in range(50):
        table = pl.DataFrame({"letter": ["a", "b"], "text": [f"a{number}", f"b{number}"]})
        assert set(rows.sample("letter", table, letter="b")["text"]) == {f"b{number}"}


@given(
    st.lists(st.integers(0, 10**6) | st.sampled_from([0, 1, 10**12]), min_size=1, max_size=60).filter(any),
    st.lists(st.floats(0, 1, exclude_max=True), max_size=30),
)
def test_a_place_among_running_sums_is_that_of_a_search(weights: list[int], fractions: list[float]) -> None:
    """Whatever the weights: equal, none, or of very different sizes."""
    sums = RunningSums.of(np.array(weights, dtype=np.int64))
    edges = [value for end in sums.sums.tolist() for value in (end - 1, end) if 0 <= value < sums.sums[-1]]
    numbers = np.array([*edges, *(int(part * int(sums.sums[-1])) for part in fractions)], dtype=np.uint64)
    assert sums.places(numbers).tolist() == np.searchsorted(sums.sums, numbers, side="right").tolist()


@pytest.mark.parametrize("small", [9, 1_000])
def test_long_runs_of_small_weights_are_found_as_well(small: int) -> None:
    """Where one bucket of the guide holds many."""
    sums = RunningSums.of(np.array([2**40, *[1] * small, 2**40], dtype=np.int64))
    numbers = np.arange(2**40 - 2, 2**40 + small + 2, dtype=np.uint64)
    assert sums.places(numbers).tolist() == np.searchsorted(sums.sums, numbers, side="right").tolist()
