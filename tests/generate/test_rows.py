"""The draws of `Rows` and `Items`: bounds, proportions, siblings, references, and errors for impossible arguments."""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from snapseed import Rhythm, Rows, as_decimals, entity, json_object, scale
from snapseed.errors import GeneratorError
from snapseed.generate.pools import PoolFolder
from tests.generate.making import NOW, make_rows
from tests.generate.statistics import chi_square

TABLE = pl.DataFrame({"kind": ["a", "a", "a", "b"], "word": ["one", "two", "never", "three"], "weight": [1, 3, 0, 2]})


@entity(key="id", columns={"id": "uuid"})
def people(rows: Rows) -> pl.DataFrame:
    """As many rows as the scale."""
    return pl.DataFrame({"id": rows.key()})


@entity(key="id", columns={"id": "integer"}, rows=scale(0.1))
def clubs(rows: Rows) -> pl.DataFrame:
    """One row for every ten."""
    return pl.DataFrame({"id": rows.key()})


@entity(key="id", columns={"id": "bigint"}, rows=scale(2.5))
def badges(rows: Rows) -> pl.DataFrame:
    """Five rows for every two."""
    return pl.DataFrame({"id": rows.key()})


@entity(key="id", columns={"id": "bigint"}, rows=scale(1 / 3))
def thirds(rows: Rows) -> pl.DataFrame:
    """A fraction that has no exact float."""
    return pl.DataFrame({"id": rows.key()})


@entity(key="id", columns={"id": "integer"}, rows=4)
def countries(rows: Rows) -> pl.DataFrame:
    """Four rows at every scale."""
    return pl.DataFrame({"id": rows.key()})


@entity(key="id", columns={"id": "bigint"}, parent=people, per_parent=2)
def letters(rows: Rows) -> pl.DataFrame:
    """Children."""
    return pl.DataFrame({"id": rows.key()})


def test_integers_stay_within_their_bounds_and_reach_both() -> None:
    """Both bounds are included."""
    drawn = make_rows(2000).integers("n", -3, 4)
    assert drawn.dtype == pl.Int64
    assert sorted(drawn.unique()) == list(range(-3, 5))
    assert make_rows(3).integers("n", 7, 7).to_list() == [7, 7, 7]


def test_integers_take_bounds_row_by_row() -> None:
    """Each row has its own bounds."""
    low = pl.Series(range(-500, 500))
    drawn = make_rows(1000).integers("n", low, low + 2)
    assert sorted((drawn - low).unique()) == [0, 1, 2]


@given(st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1)).map(sorted))
@example([-(2**63), 2**63 - 1])
def test_integers_allow_bounds_of_any_size(bounds: list[int]) -> None:
    """No range overflows, not even that of all 64-bit integers."""
    drawn = make_rows(20).integers("n", *bounds)
    assert all(bounds[0] <= number <= bounds[1] for number in drawn)
    assert bounds[1] - bounds[0] < 2**32 or drawn.n_unique() == 20


def test_chances_of_zero_and_one_are_certain() -> None:
    """Nothing is true with probability 0, everything with 1, and the right share in between."""
    rows = make_rows(20_000)
    assert not rows.chance("c", 0.0).any()
    assert rows.chance("c", 1.0).all()
    mean = rows.chance("c", 0.3).cast(pl.Int64).mean()
    assert isinstance(mean, float)
    assert abs(mean - 0.3) < 0.015


def test_choices_keep_their_type_and_their_nulls() -> None:
    """Options may be texts, numbers, nulls or a series."""
    rows = make_rows(500)
    assert set(rows.choice("c", ["x", None])) == {"x", None}
    assert rows.choice("c", pl.Series([1, 2], dtype=pl.Int16)).dtype == pl.Int16
    assert set(rows.choice("c", ["x", "y", "z"], [1, 0, 1])) == {"x", "z"}


def test_timestamps_stay_within_their_bounds() -> None:
    """From start to end, by default the project's now, to the microsecond."""
    rows, start = make_rows(2000), datetime(2025, 12, 31, 23, 59, 59, 999_998, tzinfo=UTC)
    assert sorted(rows.timestamps("t", start).unique()) == [start + timedelta(microseconds=n) for n in range(3)]
    starts = rows.timestamps("s", datetime(1970, 1, 1, tzinfo=UTC))
    later = rows.timestamps("e", starts)
    assert (later >= starts).all()
    assert later.max() <= NOW  # type: ignore[operator]
    assert later.dtype == pl.Datetime("us", "UTC")


def test_decimals_are_exact_and_stay_within_bounds_finer_than_their_steps() -> None:
    """A bound that is a step is reached; another one is never exceeded."""
    rows = make_rows(2000)
    assert sorted(rows.decimals("d", "-0.02", "0.01").unique()) == [Decimal(n).scaleb(-2) for n in range(-2, 2)]
    assert sorted(rows.decimals("d", "0.005", "0.026").unique()) == [Decimal("0.01"), Decimal("0.02")]


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=5), st.integers(0, 18))
def test_as_decimals_moves_the_point_and_nothing_else(units: list[int | None], digits: int) -> None:
    """Exact over the whole range, for negative numbers too; a null stays null."""
    assert as_decimals(pl.Series(units, dtype=pl.Int64), digits).to_list() == [
        None if n is None else Decimal(n).scaleb(-digits) for n in units
    ]


def test_a_sample_takes_rows_that_match_in_proportion_to_their_weights() -> None:
    """Only matching rows, whole, and never one of weight zero."""
    rows = make_rows(9000)
    kind = rows.choice("kind", ["a", "b"])
    found = rows.sample("s", TABLE, weights="weight", kind=kind)
    assert found.columns == TABLE.columns
    assert found["kind"].equals(kind)
    words = dict(found["word"].value_counts().iter_rows())
    assert set(words) == {"one", "two", "three"}
    assert abs(words["two"] / words["one"] - 3) < 0.3
    assert set(rows.sample("s", TABLE, kind="a")["word"]) == {"one", "two", "never"}
    assert set(rows.sample("s", TABLE)["word"]) == {"one", "two", "never", "three"}


def test_a_sample_matches_values_of_a_similar_type() -> None:
    """Integers of another width, and an enum for text; a null matches nothing."""
    rows = make_rows(2)
    table = pl.DataFrame({"size": [1, 2], "kind": ["a", "b"], "word": ["one", "two"]})
    assert rows.sample("s", table, size=pl.Series([2, 1], dtype=pl.Int16))["word"].to_list() == ["two", "one"]
    kinds = pl.Series(["b", "a"], dtype=pl.Enum(["a", "b"]))
    assert rows.sample("s", table, kind=kinds, size=pl.Series([2, 1]))["word"].to_list() == ["two", "one"]
    with pytest.raises(ValueError, match=r"'s'.*kind=None"):
        rows.sample("s", table, kind=pl.Series(["b", None]))


def test_a_sample_does_not_depend_on_the_other_rows() -> None:
    """A slice of the rows gets the same result."""
    whole, part = make_rows(300), make_rows(100, first=200)
    kind = whole.choice("kind", ["a", "b"])
    assert whole.sample("s", TABLE, kind=kind)[200:].equals(part.sample("s", TABLE, kind=kind[200:]))


def test_references_are_never_later_than_the_row_itself() -> None:
    """A row refers to an earlier row of its entity: the first to none, the second to the first."""
    rows = make_rows(3000, of=people)
    keys = rows.key().to_list()
    number = {key: place for place, key in enumerate(keys)}
    places = [None if key is None else number[key] for key in rows.reference("r", people)]
    assert places[:2] == [None, 0]
    assert all(place is not None and place < own for own, place in enumerate(places) if own)
    assert len(set(places)) > 1000


@pytest.mark.parametrize("target", [people, clubs, badges, thirds, countries], ids=lambda entity: entity.name)
@pytest.mark.parametrize("source", [people, clubs, badges, thirds], ids=lambda entity: entity.name)
def test_references_exist_at_every_scale_at_which_the_row_exists(source: object, target: object) -> None:
    """For any growth of both entities, at any scale, no reference is dangling."""
    from snapseed import Entity

    assert isinstance(source, Entity)
    assert isinstance(target, Entity)
    if source is target:
        return
    keys = {key: number for number, key in enumerate(make_rows(target.root_rows.at(2000), of=target).key())}
    rows = make_rows(source.root_rows.at(2000), of=source)
    for latest in (1, 0.2, 0):
        drawn = [keys[key] for key in rows.reference("r", target, latest=latest)]
        for scale_ in (1, 2, 9, 10, 11, 250, 1999, 2000):
            there = target.root_rows.at(scale_)
            assert max(drawn[: source.root_rows.at(scale_)]) < there, scale_


@given(st.integers(0, 2**47), st.floats(0.001, 5))
def test_the_scale_that_a_row_needs_is_the_first_that_has_it(root: int, fraction: float) -> None:
    """Exact for rows and fractions of any size."""

    @entity(key="id", columns={"id": "bigint"}, rows=scale(fraction))
    def some(rows: Rows) -> pl.DataFrame:
        return pl.DataFrame({"id": rows.key()})

    needed = int(some.scale_needed(np.array([root], dtype=np.uint64))[0])
    assert some.root_rows.at(max(1, needed)) > root
    assert needed <= 1 or some.root_rows.at(needed - 1) <= root
    before = people.earlier_rows(some, np.array([root], dtype=np.uint64))
    assert int(before[0]) == max(1, needed)


def make_letters(counts: list[int], first: int = 0) -> Rows:
    """Children of people: `counts[i]` for person i."""
    roots = np.repeat(np.arange(first, first + len(counts)), counts)
    return Rows.of(letters, make_rows(0).settings, roots.astype(np.uint64), roots)


def test_siblings_can_have_distinct_options_and_keys() -> None:
    """Among children of one parent and items of one row, up to all options, each equally often."""
    counts = make_rows(20_000).integers("n", 0, 5)
    rows = make_letters(counts.to_list(), first=100)
    frame = pl.DataFrame(
        {
            "root": rows.roots,
            "option": rows.choice("o", list("abcde"), distinct=True),
            "country": make_letters([4] * 20_000).reference("c", countries, distinct=True)[: len(rows)],
            "person": rows.reference("p", people, distinct=True),
        }
    )
    assert (frame.group_by("root").len()["len"] <= 5).all()
    for column in ("option", "person"):
        assert (frame.group_by("root").agg(pl.col(column).is_unique().all())[column]).all()
    assert chi_square(frame["option"].value_counts()["count"].to_numpy(), [1] * 5) < 1
    persons = frame.group_by("root", maintain_order=True).agg("person", pl.col("person").sort().alias("in order"))
    assert persons["person"].to_list() == persons["in order"].to_list()
    assert set(frame["country"].reshape((-1, 4))[:5].to_list()[0]) == {1, 2, 3, 4}
    items = make_rows(20_000).items("tags", counts)
    tags = items.lists(items.choice("tag", list("vwxyz"), distinct=True))
    assert (tags.list.n_unique() == counts).all()
    firsts = tags.list.first().drop_nulls().value_counts()["count"]
    assert chi_square(firsts.to_numpy(), [1] * 5) < 1


def test_siblings_can_be_sorted() -> None:
    """Each parent keeps its values, sorted; texts by their bytes, nulls last."""
    rows = make_letters([3, 0, 2, 4])
    values = pl.Series("v", ["b", "a", "C", "é", "z", None, "2", "10", None])
    ascending = rows.ascending(values)
    assert ascending.name == "v"
    assert ascending.to_list() == ["C", "a", "b", "z", "é", "10", "2", None, None]
    binary = pl.Series([b"\xff", b"\x00", b"\x7f", b"b", b"a", b"4", b"3", b"2", b"1"])
    assert rows.ascending(binary).to_list()[:3] == [b"\x00", b"\x7f", b"\xff"]
    assert make_letters([0]).ascending(pl.Series([], dtype=pl.Int64)).to_list() == []


@pytest.mark.parametrize("distinct", [False, True])
def test_references_to_the_latest_rows_are_about_as_many_for_each(*, distinct: bool) -> None:
    """None of the rows is left out, whether it is new since the last root row or shared by its siblings."""
    rows = make_letters([2] * 20_000, first=20)
    counts = {latest: rows.reference("r", badges, latest=latest, distinct=distinct) for latest in (1, 0.1, 0)}
    found = {latest: keys.value_counts()["count"].to_list() for latest, keys in counts.items()}
    assert max(found[1]) > 8 > max(*found[0.1], *found[0])
    assert len(found[0]) > len(found[0.1]) > len(found[1]) * 1.2
    first = make_letters([200]).reference("r", badges, latest=0)
    assert set(first) == {1, 2}
    assert rows.reference("r", badges, latest=0, distinct=distinct)[-1] > 49_000


def test_an_exponent_makes_the_first_rows_the_most_popular_references() -> None:
    """Like ranks: with exponent 1 each doubling of the number has equally many."""
    rows = make_rows(100_000, of=people, first=2**20)
    keys = rows.reference("r", clubs, exponent=1)
    doublings = [((keys >= 2**place) & (keys < 2 ** (place + 1))).sum() for place in range(16)]
    assert chi_square(doublings, [1] * 16) < 1
    assert make_rows(2, of=people).reference("r", people, exponent=2).to_list()[0] is None


class Colour(enum.Enum):
    """Labels as an application has them."""

    RED = "red"
    BLUE = "blue"


def test_options_may_be_a_mapping_or_an_enum() -> None:
    """The values of a mapping are weights; the values of an enum are the options."""
    rows = make_rows(1000)
    weighted = rows.choice("c", {"a": 1, "b": 0, "c": 3})
    assert weighted.equals(rows.choice("c", ["a", "b", "c"], [1, 0, 3]))
    assert set(rows.choice("c", Colour)) == {"red", "blue"}
    assert set(rows.choice("c", {Colour.RED: 1, Colour.BLUE: 2})) == {"red", "blue"}


def test_items_belong_to_their_rows() -> None:
    """Positions count from zero in each row; rows without items have empty lists, texts and totals."""
    rows = make_rows(4)
    items = rows.items("i", pl.Series([2, 0, 3, 0]))
    assert len(items) == 5
    assert items.positions.to_list() == [0, 1, 0, 1, 2]
    assert items.of_owner(pl.Series(["a", "b", "c", "d"])).to_list() == ["a", "a", "c", "c", "c"]
    numbers = pl.Series([1, 2, 3, 4, 5])
    assert items.lists(numbers).to_list() == [[1, 2], [], [3, 4, 5], []]
    assert items.joined(pl.Series(["p", "q", "r", "s", "t"]), "-").to_list() == ["p-q", "", "r-s-t", ""]
    assert items.total(numbers).to_list() == [3, 0, 12, 0]
    assert items.running_total(numbers).to_list() == [0, 1, 0, 3, 7]


def test_no_items_at_all_are_no_special_case() -> None:
    """Every method works on nothing."""
    items = make_rows(2).items("i", pl.Series([0, 0]))
    empty = pl.Series([], dtype=pl.Int64)
    assert items.integers("n", 0, 9).to_list() == []
    assert items.lists(empty).to_list() == [[], []]
    assert items.joined(pl.Series([], dtype=pl.String)).to_list() == ["", ""]
    assert items.total(empty).to_list() == [0, 0]
    assert items.running_total(empty).to_list() == []
    assert items.sample("s", TABLE, kind=pl.Series([], dtype=pl.String)).is_empty()


def test_an_item_is_the_same_whatever_comes_after_it() -> None:
    """Longer lists start like shorter ones, and the items of other rows do not matter."""
    rows = make_rows(2)
    short, long = (rows.items("i", pl.Series(counts)) for counts in ([1, 1], [3, 2]))
    assert short.bits("x").tolist() == [long.bits("x")[0], long.bits("x")[3]]


def test_no_rows_are_no_special_case() -> None:
    """An entity may have no rows in a part; every draw then returns nothing."""
    rows = make_rows(0)
    assert rows.key().to_list() == []
    assert rows.integers("n", 1, 2).to_list() == []
    assert rows.choice("c", ["a"]).to_list() == []
    assert rows.timestamps("t", NOW).to_list() == []
    assert rows.sample("s", TABLE, kind="a").is_empty()
    assert rows.reference("r", people).to_list() == []
    assert rows.zipf("z", 9, 2).to_list() == rows.normal("b", 0, 1, minimum=0).to_list() == []
    assert rows.log_normal("l", 9, 2).to_list() == rows.uuids("u").to_list() == rows.code("c", 4).to_list() == []
    assert rows.timestamps("t", NOW.replace(2020), growth=2, rhythm=Rhythm()).to_list() == []
    assert rows.dates("d", NOW.date()).to_list() == []
    assert rows.unique("u", pl.Series([], dtype=pl.String), longest=9).to_list() == []
    assert make_letters([0]).choice("o", ["a"], distinct=True).to_list() == []
    assert rows.items("i", pl.Series([], dtype=pl.Int64)).positions.to_list() == []


IMPOSSIBLE: dict[str, tuple[Callable[[Rows], object], str]] = {
    "maximum below minimum": (lambda rows: rows.integers("n", 2, 1), "'n'.*maximum is smaller"),
    "a null bound": (lambda rows: rows.integers("n", pl.Series([1, None]), 5), "'n'.*null"),
    "a null start": (lambda rows: rows.timestamps("t", pl.Series([NOW, None])), "'t'.*null"),
    "end before start": (lambda rows: rows.timestamps("t", NOW, NOW - timedelta(seconds=1)), "'t'"),
    "bounds of decimals": (lambda rows: rows.decimals("d", "2", "1"), "'d'.*maximum is smaller"),
    "no step between decimals": (lambda rows: rows.decimals("d", "0.001", "0.009"), "'d'.*maximum is smaller"),
    "chance above one": (lambda rows: rows.chance("c", 1.01), "'c'.*between 0 and 1"),
    "chance below zero": (lambda rows: rows.chance("c", -0.01), "'c'.*between 0 and 1"),
    "chance that is no number": (lambda rows: rows.chance("c", float("nan")), "'c'.*between 0 and 1"),
    "a text for options": (lambda rows: rows.choice("o", "active"), "'o'.*'active'"),
    "no options": (lambda rows: rows.choice("o", []), "'o'.*at least one option"),
    "fewer weights than options": (lambda rows: rows.choice("o", [1, 2], [1]), "'o'.*one weight for each"),
    "weights of nothing": (lambda rows: rows.choice("o", [1, 2], [0, 0]), "must be positive"),
    "more siblings than options": (
        lambda rows: rows.items("i", pl.Series([3, 1])).choice("o", ["a", "b"], distinct=True),
        "'o'.*3 siblings cannot be distinct among 2",
    ),
    "distinct with weights": (
        lambda rows: rows.items("i", pl.Series([1, 1])).choice("o", {"a": 1}, distinct=True),
        "'o'.*weights",
    ),
    "distinct without siblings": (lambda rows: rows.choice("o", ["a"], distinct=True), "'o'.*no siblings"),
    "siblings of a root entity": (lambda rows: rows.ascending(rows.number()), "root entity have no siblings"),
    "more siblings than earlier rows": (
        lambda _: make_letters([0, 1, 3]).reference("r", people, distinct=True),
        r"'r'.*3 siblings cannot be distinct among 2; fan_out\(…, among=people\)",
    ),
    "a share that is none": (lambda rows: rows.reference("r", people, latest=1.5), "'r'.*from 0 to 1"),
    "distinct and popular": (
        lambda rows: rows.reference("r", people, exponent=1, distinct=True),
        "'r'.*exponent",
    ),
    "chances that are no chances": (lambda rows: rows.chance("c", pl.Series([0.5, 1.5])), "'c'.*between 0 and 1"),
    "a chance that is null": (lambda rows: rows.chance("c", pl.Series([0.5, None])), "'c'.*not null"),
    "ranks of nothing": (lambda rows: rows.zipf("z", 0), "'z'.*from 1 to 2\\^56"),
    "ranks beyond counting": (lambda rows: rows.zipf("z", 2**56), "'z'.*from 1 to 2\\^56"),
    "an exponent too small": (lambda rows: rows.zipf("z", 9, 0.05), "'z'.*exponent from 0.1"),
    "an exponent too fine": (lambda rows: rows.zipf("z", 9, 1.001), "'z'.*steps of 0.01"),
    "a negative deviation": (lambda rows: rows.normal("n", 0, -1), "'n'.*deviations from 0"),
    "a mean out of range": (lambda rows: rows.normal("n", 2**56, 1), "'n'.*±2\\^56"),
    "a mean without an opposite": (lambda rows: rows.normal("n", -(2**63), 1), "'n'.*±2\\^56"),
    "bounds of a bell": (lambda rows: rows.normal("n", 0, 1, 2, 1), "'n'.*maximum not below"),
    "a null mean": (lambda rows: rows.normal("n", pl.Series([1, None]), 1), "'n'.*null"),
    "a median of zero": (lambda rows: rows.log_normal("l", 0, 2), "'l'.*from 1 to 2\\^56"),
    "no spread": (lambda rows: rows.log_normal("l", 5, 1), "'l'.*spread above 1"),
    "a size below zero": (lambda rows: rows.log_normal("l", 5, 2, minimum=-1), "'l'.*from 0 to 2\\^56"),
    "a sample without a match": (lambda rows: rows.sample("s", TABLE, kind="c"), "'s'.*kind='c'"),
    "a match of no weight": (
        lambda rows: rows.sample("s", TABLE.filter(pl.col("word") == "never"), "weight", kind="a"),
        "'s'.*kind='a'",
    ),
    "a table without rows": (lambda rows: rows.sample("s", TABLE.clear()), "'s'.*no rows"),
    "a negative weight": (
        lambda rows: rows.sample("s", pl.DataFrame({"w": [3, -1, 2]}), "w"),
        "'s'.*negative",
    ),
    "a reference to a child": (lambda rows: rows.reference("r", letters), "'r'.*letters is not a root entity"),
    "null numbers of items": (lambda rows: rows.items("i", pl.Series([1, None])), "'i'.*null"),
    "a negative number of items": (lambda rows: rows.items("i", pl.Series([1, -1])), "'i'.*negative"),
    "items for other rows": (lambda rows: rows.items("i", pl.Series([1])), "'i'"),
    "values that are not one per item": (
        lambda rows: rows.items("i", pl.Series([1, 2])).lists(pl.Series([1])),
        "3 items.*1 value",
    ),
    "too many values for the items": (
        lambda rows: rows.items("i", pl.Series([1, 2])).total(pl.Series([1, 2, 3, 4])),
        "3 items.*4 value",
    ),
    "nulls in a total": (
        lambda rows: rows.items("i", pl.Series([1, 1])).total(pl.Series([1, None])),
        "null",
    ),
    "growth of nothing": (lambda rows: rows.timestamps("t", NOW, growth=0), "'t'.*0.0001"),
    "growth beyond all": (lambda rows: rows.timestamps("t", NOW, growth=20_000), "'t'.*0.0001"),
    "end before start, growing": (
        lambda rows: rows.timestamps("t", NOW, NOW - timedelta(days=1), growth=2),
        "'t'.*before its start",
    ),
    "end before start, in a rhythm": (
        lambda rows: rows.timestamps("t", NOW, NOW - timedelta(days=1), rhythm=Rhythm()),
        "'t'.*before its start",
    ),
    "a null start, in a rhythm": (
        lambda rows: rows.timestamps("t", pl.Series([NOW, None]), rhythm=Rhythm()),
        "'t'.*null",
    ),
    "another age": (lambda rows: rows.timestamps("t", NOW.replace(1800), rhythm=Rhythm()), "'t'.*1900 to 2199"),
    "days backwards": (lambda rows: rows.dates("d", date(2025, 1, 2), date(2025, 1, 1)), "'d'.*before its start"),
    "a null day": (lambda rows: rows.dates("d", pl.Series([None, date(2025, 1, 1)])), "'d'.*null"),
    "too few hours": (lambda _: Rhythm(hours=[1, 2, 3]), "24 weights.*got"),
    "a negative day": (lambda _: Rhythm(days=[1, 1, 1, 1, 1, 1, -1]), "7 weights.*got"),
    "no hour at all": (lambda _: Rhythm(hours=[0] * 24), "not all zero"),
    "no length": (lambda rows: rows.code("c", 0), "'c'.*needs a length"),
    "one character": (lambda rows: rows.code("c", 3, "x"), "'c'.*different ASCII"),
    "a character twice": (lambda rows: rows.code("c", 3, "aab"), "'c'.*different ASCII"),
    "not ASCII": (lambda rows: rows.code("c", 3, "äöü"), "'c'.*different ASCII"),
    "a separator like a number": (lambda rows: rows.unique("u", pl.Series(["a", "b"]), "-1"), "'u'.*separator"),
    "no room": (lambda rows: rows.unique("u", pl.Series(["a", "b"]), longest=1), "'u'.*no room"),
}


def test_a_float_is_no_whole_number() -> None:
    """Neither a bound nor a mean is silently rounded."""
    with pytest.raises(TypeError, match=r"'n'.* got 1\.5"):
        make_rows(2).integers("n", 0, 1.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"'n'.* got 0\.5"):
        make_rows(2).normal("n", 0.5, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_an_impossible_draw_is_an_error(case: str) -> None:
    """The message names the draw and what is wrong."""
    draw, message = IMPOSSIBLE[case]
    with pytest.raises(ValueError, match=message):
        draw(make_rows(2))


def test_a_pool_has_the_texts_of_the_file_unchanged(tmp_path: Path) -> None:
    """Words that look like numbers or nulls stay words."""
    (tmp_path / "words.csv").write_text('word,count\n007,nan\n"a ""b""\nc",\n', encoding="utf-8")
    pool = make_rows(1, pools=PoolFolder(tmp_path)).pool("words")
    assert pool.rows() == [("007", "nan"), ('a "b"\nc', "")]


POOLS = {
    "missing": (None, "no pool named 'words'"),
    "empty": ("", "a pool is empty"),
    "header only": ("word\n", "a pool is empty"),
    "ragged": ("a,b\n1\n", "a pool cannot be read"),
    "not text": (b"\xff\xfe", "a pool cannot be read"),
    "open quote": ('word\n"abc\n', "a pool cannot be read"),
    "a column twice": ("a,a\n1,2\n", "a pool cannot be read"),
}


@pytest.mark.parametrize("case", POOLS)
def test_a_bad_pool_is_an_error_that_names_the_file(case: str, tmp_path: Path) -> None:
    """Missing, empty and broken files are told apart."""
    content, message = POOLS[case]
    if content is not None:
        (tmp_path / "words.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(GeneratorError, match=message) as caught:
        make_rows(1, pools=PoolFolder(tmp_path)).pool("words")
    assert caught.value.where == str(tmp_path / "words.csv")


def test_json_refuses_floats() -> None:
    """The text of a float is not what jsonb prints."""
    with pytest.raises(TypeError, match="size is a float"):
        json_object(size=pl.Series([0.5]))
