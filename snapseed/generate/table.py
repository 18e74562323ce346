"""A generator's frame as an Arrow table of the declared types, or an error that names entity and column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from snapseed.errors import GeneratorError
from snapseed.generate.json import canonical
from snapseed.snapshot.arrow import data_of, offsets_of, sizes_and_elements
from snapseed.snapshot.manifest import FirstKey
from snapseed.snapshot.types import ColumnType, Family

if TYPE_CHECKING:
    from snapseed.generate.entity import Entity

# Keys that compare as PostgreSQL's types do; of several columns a tuple.
Key = int | bytes | tuple[int | bytes, ...]

# JSON is checked for PostgreSQL's own spelling in this many rows of each call: enough to catch a wrong writer, and a
# wrong rare row is still found by the verification of the load. It is Python, value by value.
_JSON_SAMPLE = 4
# The first finds candidates at 60 ns for a text of a kilobyte, where the second, which sees whether the backslash is
# itself escaped, takes 1,400.
_NUL = r"\\u0000"
_ESCAPED_NUL = r"(^|[^\\])(\\\\)*\\u0000"


def checked_table(entity: Entity, frame: object, rows: int) -> pa.Table:
    """`frame` with the entity's columns, in their order and of their Arrow types.

    Raises `GeneratorError` for a result that is no frame, missing or extra columns, a wrong number of rows, a type
    that does not hold the declared one, values that PostgreSQL has no place for (NUL in a text, arrays of several
    dimensions that are no boxes), and a key that is null, repeated or not ascending.
    """
    if not isinstance(frame, pl.DataFrame):
        raise _broken(entity, None, f"a {type(frame).__name__}", "a polars.DataFrame")
    if set(frame.columns) != set(entity.columns):
        missing = ", ".join(name for name in entity.columns if name not in frame.columns)
        extra = ", ".join(name for name in frame.columns if name not in entity.columns)
        observed = [f"missing: {missing}"] * bool(missing) + [f"not declared: {extra}"] * bool(extra)
        raise _broken(entity, None, "; ".join(observed), "a column for each that is declared, and no other")
    if len(frame) != rows:
        raise _broken(entity, None, f"{len(frame)} rows", f"{rows} rows, one for each it was asked for")
    arrays = [_converted(entity, name, kind, frame[name]) for name, kind in entity.columns.items()]
    table = pa.table(
        arrays, schema=pa.schema([(name, array.type) for name, array in zip(entity.columns, arrays, strict=True)])
    )
    if rows:
        _check_key(entity, table)
    return table


def first_key(entity: Entity, table: pa.Table) -> FirstKey:
    """The key of the first row, as the manifest has it."""
    values = [table.column(name)[0].as_py() for name in entity.key_columns]
    keys = tuple(value if isinstance(value, int) else str(value) for value in values)
    return keys if len(keys) > 1 else keys[0]


def key_of(entity: Entity, table: pa.Table, row: int) -> Key:
    """The key of a row, so that keys compare as PostgreSQL's types do."""
    keys = tuple(_comparable(table.column(name).chunk(0).slice(row, 1))[0].as_py() for name in entity.key_columns)
    return keys if len(keys) > 1 else keys[0]


def described_key(entity: Entity) -> str:
    """The column of the key, or all of them, for the place of an error."""
    return ("column " if isinstance(entity.key, str) else "columns ") + ", ".join(map(repr, entity.key_columns))


def _comparable(keys: pa.Array) -> pa.Array:
    """Keys in a form whose order is PostgreSQL's: integers as they are, text and uuid by their bytes."""
    if isinstance(keys, pa.ExtensionArray):
        keys = keys.storage
    return keys if pa.types.is_integer(keys.type) else keys.cast(pa.binary())


def _converted(entity: Entity, name: str, kind: ColumnType, series: pl.Series) -> pa.Array:
    try:
        converted = _cast(_arrow(series), kind)
        values = _values(converted, kind)
        _check_characters(values, kind)
    except (pa.ArrowException, ValueError) as exc:
        detail = str(exc).splitlines()[0]
        raise _broken(entity, name, f"{series.dtype}: {detail}", f"values of {kind.name} (Arrow {kind.arrow})") from exc
    if kind.family is Family.JSONB:
        _check_json(entity, name, values)
    return converted


def _values(array: pa.Array, kind: ColumnType) -> pa.Array:
    """The column itself, of arrays all their elements. Raises `ValueError` for arrays that PostgreSQL cannot have."""
    return sizes_and_elements(array, kind.dimensions)[1] if kind.is_array else array


def _check_characters(values: pa.Array, kind: ColumnType) -> None:
    """Raise `ValueError` for what COPY would refuse: NUL in a text, and its escape in a jsonb."""
    if not pa.types.is_string(values.type):
        return
    offsets = offsets_of(values)
    # Looking at the bytes costs next to nothing; only where one is zero, which may lie under a NULL, is it asked where.
    if not data_of(values)[offsets[0] : offsets[-1]].all() and pc.any(pc.match_substring(values, "\0")).as_py():
        raise ValueError("a text has a NUL character, which PostgreSQL has no place for")
    if kind.family is Family.JSONB and all(_any_matches(values, pattern) for pattern in (_NUL, _ESCAPED_NUL)):
        raise ValueError("a JSON text has \\u0000, which jsonb has no place for")


def _arrow(series: pl.Series) -> pa.Array:
    if series.dtype == pl.Object:  # polars would give Arrow the addresses
        raise ValueError("Python objects, which have no column type")
    return series.rechunk().to_arrow()


def _cast(array: pa.Array, kind: ColumnType) -> pa.Array:
    """`array` as a type that stores `kind`; only casts that lose nothing."""
    if kind.stores(array.type):
        return array
    if pa.types.is_dictionary(array.type):
        array = array.cast(pa.string())
    given, wanted = _innermost(array.type), _innermost(kind.arrow)
    if not pa.types.is_null(given):
        _check_lossless(given, wanted)
    if kind.family is Family.UUID and not kind.is_array:
        return pa.ExtensionArray.from_storage(pa.uuid(), array.cast(pa.binary(16)))
    return array.cast(kind.arrow)


def _any_matches(values: pa.Array, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(values, pattern)).as_py())


def _check_lossless(given: pa.DataType, wanted: pa.DataType) -> None:
    """Raise `ValueError` for a cast that Arrow would do, and that would lose or guess something."""
    if _is_text(given) != _is_text(wanted) and not (_is_text(given) and pa.types.is_binary(wanted)):
        raise ValueError("not text" if _is_text(wanted) else "text is not a value of another type")
    if pa.types.is_boolean(given) != pa.types.is_boolean(wanted):
        raise ValueError("a Boolean is not a number, nor the other way round")
    if pa.types.is_timestamp(given) and pa.types.is_timestamp(wanted) and given.tz is None and wanted.tz:
        raise ValueError("a Datetime without a time zone; use UTC")
    if pa.types.is_floating(given) != pa.types.is_floating(wanted):
        raise ValueError("a whole number is not a float, nor the other way round")


def _innermost(arrow: pa.DataType) -> pa.DataType:
    """The type of the values themselves, in lists or not."""
    while pa.types.is_list(arrow) or pa.types.is_large_list(arrow) or pa.types.is_fixed_size_list(arrow):
        arrow = arrow.value_type
    return arrow.value_type if pa.types.is_dictionary(arrow) else arrow


def _is_text(arrow: pa.DataType) -> bool:
    return bool(pa.types.is_string(arrow) or pa.types.is_large_string(arrow) or pa.types.is_string_view(arrow))


def _check_key(entity: Entity, table: pa.Table) -> None:
    columns = [table.column(name).chunk(0) for name in entity.key_columns]
    for name, column in zip(entity.key_columns, columns, strict=True):
        if column.null_count:
            raise _broken(entity, name, f"{column.null_count} nulls", "a key without nulls")
    rising = _is_rising([_comparable(column) for column in columns])
    if not pc.all(rising).as_py() and len(rising):
        position = pc.index(rising, pa.scalar(value=False)).as_py()
        before, key = (tuple(column[row].as_py() for column in columns) for row in (position, position + 1))
        name, *others = entity.key_columns
        shown = f"({', '.join(map(str, key))})" if others else str(key[0])
        how = "repeats" if key == before else "is smaller than"
        expected = "keys in ascending order, each once; rows.key() makes such keys"
        if others:
            expected = (
                f"keys in ascending order, each once: by {name}, as the parent's key ascends, then among the rows of"
                f" each parent by {', '.join(others)}; rows.ascending() puts those in order"
            )
        observed = f"the key of row {position + 2}, {shown}, {how} the one before"
        raise _broken(entity, None if others else name, observed, expected)


def _is_rising(columns: list[pa.Array]) -> pa.Array:
    """For each row but the first, whether its key is larger than the one before: the first column that differs says."""
    rising = None
    for column in reversed(columns):
        before, after = column.slice(0, len(column) - 1), column.slice(1)
        larger = pc.less(before, after)
        rising = larger if rising is None else pc.or_(larger, pc.and_(pc.equal(before, after), rising))
    return rising


def _check_json(entity: Entity, name: str, texts: pa.Array) -> None:
    for text in texts.slice(0, _JSON_SAMPLE).to_pylist():
        if text is None:
            continue
        try:
            wanted = canonical(text)
        except (ValueError, RecursionError) as exc:
            raise _broken(entity, name, f"{text[:80]!r} is not JSON: {exc}", "JSON text") from exc
        if wanted != text:
            raise _broken(entity, name, text[:120], f"the text jsonb prints: {wanted[:120]}; json_object() writes it")


def _broken(entity: Entity, column: str | None, observed: str, expected: str) -> GeneratorError:
    return GeneratorError(
        f"the generator of {entity.name!r} returned rows that break its declaration",
        where=f"entity {entity.name!r}" + (f", column {column!r}" if column else ""),
        observed=observed,
        expected=expected,
        next_step=f"mend {entity.function.__name__}() in {entity.function.__code__.co_filename}",
    )
