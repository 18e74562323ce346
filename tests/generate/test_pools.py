"""Pools and tables derived from them are prepared once, and draws from them are like draws from any other table."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapseed.errors import GeneratorError
from snapseed.generate.draws.choices import RunningSums
from snapseed.generate.pools import PoolFolder, Pools
from tests.generate.making import SHOP_POOLS, make_rows, make_snapshot, write_project

GREETINGS = """
def greetings(pool):
    return pool("names").select(text="hello " + pl.col("name"))

@entity(key="id", columns={"id": "uuid", "text": "text"})
def things(rows):
    return pl.DataFrame({"id": rows.key(), "text": rows.sample("text", rows.derived(greetings))["text"]})
"""


def test_a_derived_table_is_made_once() -> None:
    """All rows of a process get the same frame."""
    made = []

    def shouted(pool: Callable[[str], pl.DataFrame]) -> pl.DataFrame:
        made.append(pool("names"))
        return made[-1].select(pl.col("name").str.to_uppercase())

    tables = [make_rows(10).derived(shouted), make_rows(5, first=3).derived(shouted)]
    assert tables[0] is tables[1]
    assert len(made) == 1
    assert tables[0]["name"].equals(make_rows(1).pool("names")["name"].str.to_uppercase())


def test_the_manifest_names_the_pools_of_a_derived_table(tmp_path: Path) -> None:
    """Also in a second run of the same process, which does not build the table again."""
    project = write_project(tmp_path / "project", GREETINGS)
    (project.generators / "pools").mkdir()
    (project.generators / "pools/names.csv").write_text("name\nAda\nGrace\n")
    assert list(make_snapshot(project, 5).manifest.pools) == ["names"]
    assert list(make_snapshot(project, 6).manifest.pools) == ["names"]


def test_a_derived_table_follows_its_pools(tmp_path: Path) -> None:
    """A pool that was edited changes the tables that were derived from it, in the same process."""
    pools, path = PoolFolder(tmp_path), tmp_path / "names.csv"

    def shouted(pool: Callable[[str], pl.DataFrame]) -> pl.DataFrame:
        return pool("names").select(pl.col("name").str.to_uppercase())

    for number, name in enumerate(["Ada", "Grace"]):
        path.write_text(f"name\n{name}\n")
        os.utime(path, ns=(number, number))
        assert pools.derived(shouted).table["name"].to_list() == [name.upper()]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_pool_from_a_spreadsheet_is_read(encoding: str, tmp_path: Path) -> None:
    """A byte order mark and CRLF are no part of names and values; another encoding is named."""
    (tmp_path / "names.csv").write_bytes("name,city\r\nÖzil,Köln\r\n".encode(encoding))
    pools = PoolFolder(tmp_path)
    if encoding == "utf-16":
        with pytest.raises(GeneratorError, match="cannot be read") as caught:
            pools.pool("names")
        assert "UTF-16" in (caught.value.observed or "")
    else:
        assert pools.pool("names").table.rows(named=True) == [{"name": "Özil", "city": "Köln"}]


def test_a_table_of_pools_is_grouped_once() -> None:
    """For each set of columns and weights, by all rows of a process; the pools that were read are recorded."""
    pools, others = Pools(SHOP_POOLS), Pools(SHOP_POOLS)
    table = pools.table("names")
    assert pools.grouped(table, ["name"], None) is others.grouped(table, ["name"], None)
    assert pools.grouped(table, ["name"], None) is not pools.grouped(table, [], None)
    assert (pools.used, others.used) == ({"names"}, set())


def test_any_other_table_is_grouped_for_each_call() -> None:
    """So a new table at the address of an old one has its own groups."""
    rows = make_rows(20)
    for number in range(50):
        table = pl.DataFrame({"letter": ["a", "b"], "text": [f"a{number}", f"b{number}"]})
        assert set(rows.sample("letter", table, letter="b")["text"]) == {f"b{number}"}


def test_a_pool_that_changes_is_read_again(tmp_path: Path) -> None:
    """In the same process; its rows and its digest are those of the new file."""
    folder, path = PoolFolder(tmp_path), tmp_path / "words.csv"
    pools = Pools(folder)
    path.write_text("word\none\n")
    os.utime(path, ns=(1, 1))
    before = pools.table("words")["word"].to_list(), pools.digests()
    path.write_text("word\ntwo\n")
    os.utime(path, ns=(2, 2))
    after = pools.table("words")["word"].to_list(), pools.digests()
    assert (before[0], after[0]) == (["one"], ["two"])
    assert before[1] != after[1]


@given(
    st.lists(st.integers(0, 10**6) | st.sampled_from([0, 1, 10**12]), min_size=1, max_size=60).filter(any),
    st.lists(st.floats(0, 1, exclude_max=True), max_size=30),
)
def test_running_sums_find_the_same_place_as_a_binary_search(weights: list[int], fractions: list[float]) -> None:
    """For any weights: equal, zero, or of very different sizes."""
    sums = RunningSums.of(np.array(weights, dtype=np.int64))
    edges = [value for end in sums.sums.tolist() for value in (end - 1, end) if 0 <= value < sums.sums[-1]]
    numbers = np.array([*edges, *(int(part * int(sums.sums[-1])) for part in fractions)], dtype=np.uint64)
    assert sums.places(numbers).tolist() == np.searchsorted(sums.sums, numbers, side="right").tolist()


@pytest.mark.parametrize("small", [9, 1_000])
def test_long_runs_of_small_weights_are_found_as_well(small: int) -> None:
    """Even if one bucket of the guide has many of them."""
    sums = RunningSums.of(np.array([2**40, *[1] * small, 2**40], dtype=np.int64))
    numbers = np.arange(2**40 - 2, 2**40 + small + 2, dtype=np.uint64)
    assert sums.places(numbers).tolist() == np.searchsorted(sums.sums, numbers, side="right").tolist()
