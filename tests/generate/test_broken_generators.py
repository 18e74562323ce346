"""The error for a wrong generator names entity and column, what was observed and what was expected."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from snapseed.errors import GeneratorError
from tests.generate.making import make_snapshot, write_project


@dataclass(frozen=True)
class Broken:
    """A faulty module, and what the error must say: anywhere in its text, and in its `where`."""

    module: str
    says: tuple[str, ...]
    where: str = "entity 'things'"


def one_column(kind: str, values: str, *says: str) -> Broken:
    """An entity whose column `value` is declared as `kind` and filled with `values`."""
    module = f"""
@entity(key="id", columns={{"id": "uuid", "value": {kind!r}}})
def things(rows):
    return pl.DataFrame({{"id": rows.key(), "value": {values}}})
"""
    return Broken(module, says, "entity 'things', column 'value'")


def one_key(kind: str, values: str, *says: str) -> Broken:
    """An entity whose only column is a key of type `kind`, filled with `values`."""
    module = f"""
@entity(key="id", columns={{"id": {kind!r}}})
def things(rows):
    return pl.DataFrame({{"id": {values}}})
"""
    return Broken(module, says, "entity 'things', column 'id'")


def two_keys(first: str, second: str, *says: str, where: str = "entity 'things'") -> Broken:
    """An entity whose key has two columns, filled with these."""
    module = f"""
@entity(key=("a", "b"), columns={{"b": "text", "a": "bigint"}})
def things(rows):
    number = rows.number() - 1
    return pl.DataFrame({{"a": {first}, "b": {second}}})
"""
    return Broken(module, says, where)


def returning(result: str, *says: str) -> Broken:
    """An entity whose generator returns `result`."""
    module = f"""
@entity(key="id", columns={{"id": "bigint", "size": "bigint"}})
def things(rows):
    return {result}
"""
    return Broken(module, says)


def declared(arguments: str, *says: str, where: str = "entity 'things'", parameters: str = "rows") -> Broken:
    """An entity with these arguments of the decorator."""
    module = f"""
@entity({arguments})
def things({parameters}):
    return pl.DataFrame({{"id": rows.key()}})
"""
    return Broken(module, says, where)


GOOD = """
@entity(key="id", columns={"id": "uuid"})
def others(rows):
    return pl.DataFrame({"id": rows.key()})
"""

BROKEN = {
    # what comes back
    "nothing": returning("None", "a NoneType", "a polars.DataFrame"),
    "a lazy frame": returning('pl.LazyFrame({"id": rows.key()})', "a LazyFrame", "a polars.DataFrame"),
    "a missing column": returning('pl.DataFrame({"id": rows.key()})', "missing: size"),
    "other columns": returning('pl.DataFrame({"id": rows.key(), "siez": 1})', "missing: size", "not declared: siez"),
    "an extra column": returning('pl.DataFrame({"id": rows.key(), "size": 1, "x": 2})', "not declared: x"),
    "too few rows": returning('pl.DataFrame({"id": rows.key(), "size": 1}).head(3)', "3 rows", "20 rows"),
    "no rows": returning('pl.DataFrame({"id": rows.key(), "size": 1}).clear()', "0 rows", "20 rows"),
    # keys
    "a null key": one_key("uuid", "rows.key().shift(1)", "1 nulls", "a key without nulls"),
    "a repeated key": one_key("bigint", "rows.key() // 2", "repeats the one before", "rows.key()"),
    "an unsorted key": one_key("bigint", "100 - rows.key()", "the key of row 2, 98, is smaller than the one before"),
    "a text key in another order": one_key(
        "text", '"x" + (rows.number() + 5).cast(pl.String)', "x10, is smaller than the one before"
    ),
    "a null in a key": two_keys(
        "number", "rows.or_null('b', number.cast(pl.String), 1)", "20 nulls", where="entity 'things', column 'b'"
    ),
    "a repeated key of two": two_keys(
        "number // 2",
        "number.clip(0, 8).cast(pl.String)",
        "the key of row 10, (4, 8), repeats the one before",
        "distinct",
    ),
    "the second of two falls back": two_keys(
        "number // 4",
        "(9 - number % 3).cast(pl.String)",
        "the key of row 2, (0, 8), is smaller than the one before",
        "by a, ",
        " by b;",
    ),
    "the first of two falls back": two_keys(
        "-number", "number.cast(pl.String)", "the key of row 2, (-1, 1), is smaller than the one before"
    ),
    "rows.key() of two": two_keys("rows.key()", "rows.key()", "rows.key()", "a bigint, b text", where="first.py"),
    # values
    "floats for integers": one_column("integer", "rows.integers('v', 1, 9) / 2", "Float64", "values of integer"),
    "integers for floats": one_column("double precision", "rows.integers('v', 1, 9)", "Int64", "double precision"),
    "floats for numeric": one_column("numeric(8,2)", "rows.integers('v', 1, 9) / 2", "Float64", "numeric(8,2)"),
    "numbers for text": one_column("text", "rows.integers('v', 1, 9)", "Int64: ", "values of text"),
    "text for numbers": one_column("integer", "pl.repeat('007', len(rows), eager=True)", "String: ", "integer"),
    "text for dates": one_column("date", "pl.repeat('2026-01-01', len(rows), eager=True)", "String: ", "date"),
    "text for a uuid": one_column("uuid", "pl.repeat('x' * 16, len(rows), eager=True)", "String: ", "uuid"),
    "numbers for booleans": one_column("boolean", "rows.integers('v', 0, 9)", "Int64", "values of boolean"),
    "numbers in a list of texts": one_column("text[]", "pl.Series([[1]] * len(rows))", "List(Int64)", "text[]"),
    "a naive datetime": one_column(
        "timestamptz",
        "rows.timestamps('v', rows.now).dt.replace_time_zone(None)",
        "Datetime",
        "UTC",
    ),
    "a number too large": one_column("integer", "rows.integers('v', 2**31, 2**31)", "2147483648", "values of integer"),
    "a numeric too large": one_column("numeric(4,2)", "rows.decimals('v', 100, 100)", "numeric(4,2)"),
    "digits that numeric would drop": one_column("numeric(8,1)", "rows.decimals('v', '0.01', '0.09')", "numeric(8,1)"),
    "a vector of another size": one_column(
        "vector(3)", "pl.Series([[1.0, 2.0]] * len(rows), dtype=pl.Array(pl.Float32, 2))", "values of vector(3)"
    ),
    "Python objects": one_column(
        "uuid", "pl.Series([__import__('uuid').UUID(int=1)] * len(rows), dtype=pl.Object)", "Object", "values of uuid"
    ),
    "JSON in another spelling": one_column(
        "jsonb",
        """pl.repeat('{"b":1, "a":2}', len(rows), eager=True)""",
        """{"a": 2, "b": 1}""",
        "json_object() writes it",
    ),
    "text that is no JSON": one_column("jsonb", "pl.repeat('{a}', len(rows), eager=True)", "is not JSON"),
    "text with a NUL": one_column("text", "pl.repeat('a' + chr(0), len(rows), eager=True)", "a NUL character", "text"),
    "a NUL in a list": one_column("inet[]", "pl.Series([[None, chr(0)]] * len(rows))", "a NUL character", "inet[]"),
    "JSON with a NUL": one_column("jsonb[]", """pl.Series([['"' + chr(92) * 3 + 'u0000"']] * len(rows))""", "u0000"),
    "arrays that are no box": one_column("integer[][]", "pl.Series([[[1, 2], [3]]] * len(rows))", "differ in length"),
    "an array without one of its rows": one_column("text[][]", "pl.Series([[['a'], None]] * len(rows))", "has a NULL"),
    "JSON that only Python knows": one_column("jsonb", "pl.repeat('[NaN]', len(rows), eager=True)", "is not JSON"),
    # what it does
    "a column that a parent lacks": Broken(
        """
@entity(key="id", columns={"id": "bigint"})
def things(rows):
    return pl.DataFrame({"id": rows.key()})
@entity(parent=things, per_parent=1, key="id", columns={"id": "bigint", "size": "bigint"})
def parts(rows, things):
    return pl.DataFrame({"id": rows.key(), "size": things["size"]})
""",
        ("the generator of 'parts' failed", "ColumnNotFoundError", "things has id"),
        "first.py:10",
    ),
    "a draw that does not exist": Broken(
        """
@entity(key="id", columns={"id": "uuid"})
def things(rows):
    return {"id": rows.uuidd()}
""",
        ("the generator of 'things' failed", "AttributeError", "did you mean 'uuid"),
        "first.py:7",
    ),
    "a division by zero": Broken(
        """
@entity(key="id", columns={"id": "uuid"})
def things(rows):
    half = 1
    return 1 / 0
""",
        ("the generator of 'things' failed", "ZeroDivisionError: division by zero", "--verbose"),
        "first.py:8",
    ),
    "a draw that cannot be": Broken(
        """
@entity(key="id", columns={"id": "uuid"})
def things(rows):
    return rows.integers("size", 2, 1)
""",
        ("the generator of 'things' failed", "integers('size'): a maximum is smaller than its minimum"),
        "first.py:7",
    ),
    "a polars error": Broken(
        """
@entity(key="id", columns={"id": "uuid"})
def things(rows):
    return pl.DataFrame({"id": rows.key()}).select("name")
""",
        ("the generator of 'things' failed", "ColumnNotFoundError"),
        "first.py:7",
    ),
    "a count beyond its maximum": Broken(
        """
@entity(key="id", columns={"id": "uuid"})
def parents(rows):
    return pl.DataFrame({"id": rows.key()})

@entity(key="id", columns={"id": "uuid"}, parent=parents, per_parent=counted(pl.lit(3), maximum=2))
def things(rows):
    return pl.DataFrame({"id": rows.key()})
""",
        ("the generator of 'things' failed", "3 to 3 children", "0 to 2"),
        "generators",
    ),
    "a lookup table that fails": Broken(
        """
@entity(key="id", columns={"id": "uuid"}, rows=1)
def things(rows):
    return {}["x"]

@entity(key="id", columns={"id": "uuid"})
def alphas(rows, things):
    return pl.DataFrame({"id": rows.key()})
""",
        ("the generator of 'things' failed", "KeyError: 'x'"),
        "first.py:7",
    ),
    "a missing pool": Broken(
        """
@entity(key="id", columns={"id": "uuid"})
def things(rows):
    return rows.pool("wrods")
""",
        ("no pool named 'wrods'", "pools here: none"),
        "wrods.csv",
    ),
    # modules
    "a module that is missing": Broken(
        "import snapseed_no_such_module", ("first.py cannot be imported", "ModuleNotFoundError"), "first.py:4"
    ),
    "a name that is missing": Broken(
        "from snapseed import nothing", ("cannot be imported", "ImportError"), "first.py:4"
    ),
    "a syntax error": Broken("def things(:\n", ("first.py cannot be imported", "SyntaxError"), "first.py:4"),
    "an error on import": Broken("\n\n1 / 0", ("cannot be imported", "ZeroDivisionError"), "first.py:6"),
    "no entity": Broken("x = 1", ("no generator declares an entity", "@entity"), "generators"),
    # declarations
    "no parameter rows": declared('key="id", columns={"id": "uuid"}', "`rows`", "['row']", parameters="row"),
    "an unknown parameter": declared(
        'key="id", columns={"id": "uuid"}',
        "the generator of 'things'",
        "shops",
        where="first.py",
        parameters="rows, shops",
    ),
    "itself as a parameter": declared(
        'key="id", columns={"id": "uuid"}, rows=3',
        "the generator of 'things'",
        where="first.py",
        parameters="rows, things",
    ),
    "a key that is no column": declared('key="code", columns={"id": "uuid"}', "code", "id"),
    "a type that is no type": declared('key="id", columns={"id": "uuid; DROP"}', "not the name of a PostgreSQL type"),
    "a vector without dimensions": declared('key="id", columns={"id": "uuid", "v": "vector"}', "needs its dimensions"),
    "a key of a type that is none": declared('key="id", columns={"id": "vector(3)"}', "id vector(3)"),
    "no key": declared('key=(), columns={"id": "uuid"}', "no column"),
    "a key twice": declared('key=("id", "id"), columns={"id": "uuid"}', "id, id"),
    "a key of a column and none": declared('key=("id", "no"), columns={"id": "uuid"}', "no"),
    "a key of a type and none": declared('key=("id", "at"), columns={"id": "uuid", "at": "date[]"}', "at date[]"),
    "a key that is a list": declared('key="id", columns={"id": "uuid[]"}', "uuid[]"),
    "per_parent without a parent": declared(
        'key="id", columns={"id": "uuid"}, per_parent=2', "`parent` and `per_parent`"
    ),
    "rows of nothing": declared('key="id", columns={"id": "uuid"}, rows=0', "rows=0"),
    "a name that is no file name": declared(
        'key="id", columns={"id": "uuid"}, name="a/../b"', "a/../b", where="a/../b"
    ),
    "a column name that is too long": declared(
        'key="id", columns={"id": "uuid", "ä" * 32: "text"}', "not a PostgreSQL identifier", "1 to 63 bytes"
    ),
    "an empty table name": declared('key="id", columns={"id": "uuid"}, schema=""', "not a PostgreSQL identifier", "''"),
    "a child without per_parent": Broken(
        GOOD + '\n@entity(key="id", columns={"id": "uuid"}, parent=others)\ndef things(rows): ...\n',
        ("`parent` and `per_parent`",),
    ),
    "a child with rows": Broken(
        GOOD
        + '\n@entity(key="id", columns={"id": "uuid"}, parent=others, per_parent=1, rows=5)\ndef things(rows): ...\n',
        ("`parent` and `per_parent`",),
    ),
    "a fan-out without room": Broken(
        GOOD
        + '\n@entity(key="id", columns={"id": "uuid"}, parent=others, per_parent=fan_out(9, 9))\ndef things(rows): 1',
        ("cannot be imported", "0 < mean < maximum / 2"),
        "first.py:9",
    ),
    "a parent that is not among the generators": Broken(
        """
def hidden():
    @entity(key="id", columns={"id": "uuid"})
    def ghosts(rows): ...
    return ghosts

@entity(key="id", columns={"id": "uuid"}, parent=hidden(), per_parent=1)
def things(rows): ...
""",
        ("'ghosts', the parent of 'things', is not among the generators",),
        "",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_generator_is_an_error_that_names_the_place(case: str, tmp_path: Path) -> None:
    """Entity and column, or file and line; and nothing is written."""
    broken = BROKEN[case]
    project = write_project(tmp_path / "project", broken.module)
    with pytest.raises(GeneratorError) as caught:
        make_snapshot(project, 20)
    for text in broken.says:
        assert text in str(caught.value)
    assert broken.where in (caught.value.where or "")
    assert not project.snapshots.folder.exists() or not any(project.snapshots.folder.iterdir())


def test_two_entities_of_one_name_are_an_error(tmp_path: Path) -> None:
    """Even if they are in two modules."""
    with pytest.raises(GeneratorError, match="two entities are named 'others'"):
        make_snapshot(write_project(tmp_path / "project", GOOD, GOOD))


def test_an_entity_under_two_names_is_one_entity(tmp_path: Path) -> None:
    """A second name in its module, or imports under another name, do not make it two."""
    names = "from .first import others\nfrom .first import others as people\n"
    project = write_project(tmp_path / "project", GOOD + "same = others\n", names, names)
    assert [record.name for record in make_snapshot(project, 20).manifest.entities] == ["others"]


def test_two_lookup_tables_that_need_each_other_are_an_error(tmp_path: Path) -> None:
    """Neither can be made first."""
    module = ""
    for name, other in (("a", "b"), ("b", "a")):
        module += f'@entity(key="id", columns={{"id": "uuid"}}, rows=1)\ndef {name}(rows, {other}): ...\n\n'
    with pytest.raises(GeneratorError, match="'a' needs rows that need its own"):
        make_snapshot(write_project(tmp_path / "project", module))


def test_keys_that_do_not_ascend_from_part_to_part_are_an_error(tmp_path: Path) -> None:
    """Keys must ascend from part to part, and from slice to slice, as they do within one."""
    module = """
@entity(key="id", columns={"id": "bigint"})
def things(rows):
    return pl.DataFrame({"id": (rows.number() - 1) % 100})
"""
    with pytest.raises(GeneratorError, match="do not ascend") as caught:
        make_snapshot(write_project(tmp_path / "project", module), 150)
    assert caught.value.where == "entity 'things', column 'id'"
    with pytest.raises(GeneratorError, match="do not ascend"):
        make_snapshot(write_project(tmp_path / "one", module.replace("100", "500"), part_rows=5000), 1_000)


def test_keys_of_several_columns_are_in_order_from_part_to_part(tmp_path: Path) -> None:
    """If the first column is equal, the second decides, across slices and across parts."""
    module = """
@entity(key=("a", "b"), columns={"a": "bigint", "b": "bigint"})
def things(rows):
    number = rows.number(first=0)
    return pl.DataFrame({"a": number // 1_000, "b": number % 120})
"""
    with pytest.raises(GeneratorError, match="do not ascend") as caught:
        make_snapshot(write_project(tmp_path / "project", module.replace("120", "100")), 150)
    assert caught.value.where == "entity 'things', columns 'a', 'b'"
    assert "parent's key" in str(caught.value)
    with pytest.raises(GeneratorError, match="do not ascend"):
        make_snapshot(write_project(tmp_path / "one", module.replace("120", "500"), part_rows=5000), 1_000)
    snapshot = make_snapshot(write_project(tmp_path / "right", module.replace("120", "1_000")), 2_500)
    assert len(snapshot.manifest.entities[0].files) == 25


def test_an_error_in_another_process_is_the_same_error(tmp_path: Path) -> None:
    """It arrives from a worker process unchanged."""
    module = """
@entity(key="id", columns={"id": "bigint"})
def things(rows):
    assert len(rows) == 100
    return pl.DataFrame({"id": rows.key()})
"""
    project = write_project(tmp_path / "project", module)
    with pytest.raises(GeneratorError) as here:
        make_snapshot(project, 250)
    with pytest.raises(GeneratorError) as there:
        make_snapshot(project, 250, jobs=2)
    assert str(there.value) == str(here.value)


def test_a_missing_folder_of_generators_is_an_error(tmp_path: Path) -> None:
    """It names the folder and the setting."""
    project = write_project(tmp_path / "project", GOOD)
    (project.generators / "first.py").unlink()
    project.generators.rmdir()
    with pytest.raises(GeneratorError, match="generators folder") as caught:
        make_snapshot(project)
    assert caught.value.where == str(project.generators)
