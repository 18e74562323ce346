"""What a generator returns, checked and converted to Arrow, and the files that its rows are in.

A violated declaration is an error that names entity and column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from snapseed.errors import GeneratorError
from snapseed.generate.column_rules import ColumnRule
from snapseed.generate.draws.texts import canonical_json
from snapseed.generate.entity import Entity
from snapseed.snapshot.arrow import data_of, offsets_of
from snapseed.snapshot.hashing import EMPTY, combined
from snapseed.snapshot.keys import key_at, sortable
from snapseed.snapshot.manifest import Column, EntityRecord, FileList, FirstKey, PartFile
from snapseed.snapshot.store import Staging
from snapseed.snapshot.store_folder import describe, writing_to
from snapseed.snapshot.types import ColumnType, Family
from snapseed.snapshot.values import array_elements
from snapseed.snapshot.writing import PartWriter, WrittenFile

# This many rows of each call are checked for PostgreSQL's own spelling of JSON, value by value in Python. Enough to
# catch a generator that spells it differently; a rare wrong row is still found when a load is verified.
_JSON_SAMPLE = 4
# The first pattern finds candidates in 60 ns per kilobyte of text. The second, which sees whether the backslash itself
# is escaped, takes 1,400.
_ESCAPED_NUL = (r"\\u0000", r"(^|[^\\])(\\\\)*\\u0000")
# A value in an error is cut, so that the rest of it can be read.
_SAMPLE_CHARACTERS = 60
# An entity has at most so many files in the manifest itself, which git and people may read: a few megabytes. Beyond
# that, they are in lists of so many, and the memory of a run does not grow with their number.
MOST_FILES = 10_000
_LISTED = 1_000


def checked_table(entity: Entity, frame: object, rows: int, rules: Mapping[str, ColumnRule]) -> pa.Table:
    """The frame as an Arrow table with the entity's columns, in their order and of their Arrow types.

    Raises `GeneratorError` if the result is not a frame, columns are missing or extra, the number of rows is wrong, a
    column does not fit its declared type or its rule, PostgreSQL cannot store a value (NUL in a text, an array whose
    inner arrays differ in length), or a key is null, repeated or not ascending.
    """
    if not isinstance(frame, pl.DataFrame):
        raise _broken(entity, None, f"a {type(frame).__name__}", "a polars.DataFrame")
    if set(frame.columns) != set(entity.columns):
        missing = ", ".join(name for name in entity.columns if name not in frame.columns)
        extra = ", ".join(name for name in frame.columns if name not in entity.columns)
        observed = [f"missing: {missing}"] * bool(missing) + [f"not declared: {extra}"] * bool(extra)
        raise _broken(entity, None, "; ".join(observed), "exactly the declared columns")
    if len(frame) != rows:
        raise _broken(entity, None, f"{len(frame)} rows", f"{rows} rows, one for each of `rows`")
    arrays = [_converted(entity, name, kind, frame[name]) for name, kind in entity.columns.items()]
    for array, column in zip(arrays, entity.columns, strict=True):
        _check_rule(entity, column, array, rules[column])
    table = pa.Table.from_arrays(arrays, names=list(entity.columns))
    if rows:
        _check_key(entity, table)
    return table


def _check_rule(entity: Entity, column: str, values: pa.Array, rule: ColumnRule) -> None:
    """Raise `GeneratorError`, with a sample, for values that the table would refuse."""
    if rule.not_null and values.null_count:
        raise _broken(entity, column, f"{values.null_count} NULLs", "no NULL, as the schema file says")
    while pa.types.is_list(values.type):
        values = values.flatten()
    if not pa.types.is_string(values.type):
        return
    if rule.longest is not None and len(long := values.filter(pc.greater(pc.utf8_length(values), rule.longest))):
        text = long[0].as_py()
        sample = text if len(text) <= _SAMPLE_CHARACTERS else f"{text[:_SAMPLE_CHARACTERS]}…"
        raise _broken(entity, column, f"{sample!r}, {len(text)} characters", f"at most {rule.longest} characters")
    if rule.labels is not None and (unknown := sorted({*values.unique().to_pylist()} - rule.labels - {None})):
        expected = f"labels of its enum in the schema file: {', '.join(sorted(rule.labels))}"
        raise _broken(entity, column, repr(unknown[0]), expected)


def _comparable(keys: pa.Array) -> pa.Array:
    """Keys in a form that compares as in a snapshot: texts and uuids by their bytes, all others as they are."""
    if isinstance(keys, pa.ExtensionArray):
        keys = keys.storage
    is_text = pa.types.is_string(keys.type) or pa.types.is_fixed_size_binary(keys.type)
    return keys.cast(pa.binary()) if is_text else keys


def _converted(entity: Entity, name: str, kind: ColumnType, series: pl.Series) -> pa.Array:
    """A column of the frame as Arrow has it in a snapshot. Raises `GeneratorError` if it does not fit its type."""
    try:
        if series.dtype == pl.Object:  # polars would pass on the addresses of the objects
            raise ValueError("Python objects have no column type")  # noqa: TRY301
        converted = _cast(series.rechunk().to_arrow(), kind)
        # What PostgreSQL cannot store in an array is an error here.
        values = array_elements(converted, kind) if kind.is_array else converted
        _check_characters(values, kind)
    except (pa.ArrowException, ValueError) as exc:
        detail = str(exc).splitlines()[0]
        hint = f"; as_decimals(…, {kind.arrow.scale}) makes them" if kind.family is Family.NUMERIC else ""
        expected = f"values of {kind.name} (Arrow {kind.arrow}){hint}"
        raise _broken(entity, name, f"{series.dtype}: {detail}", expected) from exc
    if kind.family is Family.JSONB:
        _check_json(entity, name, values)
    return converted


def _check_characters(values: pa.Array, kind: ColumnType) -> None:
    """Raise `ValueError` for what COPY would reject: NUL in a text, and its escape in a jsonb."""
    if not pa.types.is_string(values.type):
        return
    offsets = offsets_of(values)
    # Looking for a zero byte costs next to nothing. If there is one, it may belong to a NULL, so look again by value.
    if not data_of(values)[offsets[0] : offsets[-1]].all() and pc.any(pc.match_substring(values, "\0")).as_py():
        raise ValueError("a text has a NUL character, which PostgreSQL cannot store")
    if kind.family is Family.JSONB and all(
        pc.any(pc.match_substring_regex(values, pattern)).as_py() for pattern in _ESCAPED_NUL
    ):
        raise ValueError("a JSON text has \\u0000, which jsonb cannot store")


def _cast(array: pa.Array, kind: ColumnType) -> pa.Array:
    """The array in a type that stores `kind`; only by casts that lose nothing."""
    if kind.stores(array.type):
        return array
    if pa.types.is_dictionary(array.type):
        array = array.cast(pa.string())
    _check_lossless(_innermost(array.type), _innermost(kind.arrow))
    if kind.family is Family.UUID and not kind.is_array:
        return pa.ExtensionArray.from_storage(pa.uuid(), array.cast(pa.binary(16)))
    return array.cast(kind.arrow)


def _check_lossless(given: pa.DataType, wanted: pa.DataType) -> None:
    """Raise `ValueError` for a cast that Arrow allows although it loses or guesses something."""
    if pa.types.is_timestamp(given) and pa.types.is_timestamp(wanted) and given.tz is None and wanted.tz:
        raise ValueError("a Datetime needs a time zone; use UTC")
    have, want = _nature(given), _nature(wanted)
    if have != want and not pa.types.is_null(given) and not (have == "text" and pa.types.is_binary(wanted)):
        raise ValueError(f"{have} is not {want}")


def _nature(arrow: pa.DataType) -> str:
    """What kind of value an Arrow type has, in words."""
    if pa.types.is_string(arrow) or pa.types.is_large_string(arrow) or pa.types.is_string_view(arrow):
        return "text"
    if pa.types.is_boolean(arrow):
        return "a Boolean"
    return "a float" if pa.types.is_floating(arrow) else "an exact value"


def _innermost(arrow: pa.DataType) -> pa.DataType:
    """The type of the values, without the lists around them."""
    while pa.types.is_list(arrow) or pa.types.is_large_list(arrow) or pa.types.is_fixed_size_list(arrow):
        arrow = arrow.value_type
    return arrow.value_type if pa.types.is_dictionary(arrow) else arrow


def _check_key(entity: Entity, table: pa.Table) -> None:
    """Raise `GeneratorError` unless the keys are complete, unique and in ascending order."""
    columns = [table.column(name).chunk(0) for name in entity.key_columns]
    columns = [
        # Spaces at the end of a `character` do not count.
        pc.utf8_rtrim(column, " ") if entity.columns[name].family is Family.CHARACTER else column
        for name, column in zip(entity.key_columns, columns, strict=True)
    ]
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
        expected = "unique keys in ascending order; rows.key() makes them"
        if others:
            expected = (
                f"unique keys in ascending order: by {name}, as the parent's key ascends, then within each parent by"
                f" {', '.join(others)}; distinct=True makes those differ, rows.ascending() sorts them"
            )
        observed = f"the key of row {position + 2}, {shown}, {how} the one before"
        raise _broken(entity, None if others else name, observed, expected)


def _is_rising(columns: list[pa.Array]) -> pa.Array:
    """For each row except the first, whether its key is larger than the one before."""
    rising = None
    for column in reversed(columns):
        before, after = column.slice(0, len(column) - 1), column.slice(1)
        larger = pc.less(before, after)
        rising = larger if rising is None else pc.or_(larger, pc.and_(pc.equal(before, after), rising))
    return rising


def _check_json(entity: Entity, name: str, texts: pa.Array) -> None:
    """Raise `GeneratorError` if one of the first texts is not spelled as `jsonb` prints it."""
    for text in texts.slice(0, _JSON_SAMPLE).to_pylist():
        if text is None:
            continue
        try:
            wanted = canonical_json(text)
        except (ValueError, RecursionError) as exc:
            raise _broken(entity, name, f"{text[:80]!r} is not JSON: {exc}", "JSON text") from exc
        if wanted != text:
            raise _broken(
                entity, name, text[:120], f"the text that jsonb prints: {wanted[:120]}; json_object() writes it"
            )


def _broken(entity: Entity, column: str | None, observed: str, expected: str) -> GeneratorError:
    """The error about rows that break the declaration of their entity."""
    return GeneratorError(
        f"the generator of {entity.name!r} returned rows that break its declaration",
        where=f"entity {entity.name!r}" + (f", column {column!r}" if column else ""),
        observed=observed,
        expected=expected,
        next_step=f"fix {entity.function.__name__}() in {entity.function.__code__.co_filename}",
    )


def columns_of(entity: Entity, names: Iterable[str]) -> tuple[Column, ...]:
    """These columns of an entity, as the manifest records them."""
    return tuple(Column(name, entity.columns[name].name) for name in names)


def require_following(entity: Entity, table: pa.Table, writer: PartWriter, path: str) -> None:
    """Raise `GeneratorError` unless the rows fit those that the writer of this path has taken: by key and by types."""
    key = columns_of(entity, entity.key_columns)
    if writer.last_key is not None and sortable(key_at(table, key, 0), key) <= sortable(writer.last_key, key):
        raise keys_do_not_ascend(entity, path)
    if writer.waiting and table.schema != writer.waiting[0].schema:
        raise GeneratorError(
            f"the generator of {entity.name!r} returned other types than before",
            where=f"entity {entity.name!r}",
            observed=str(table.schema).replace("\n", ", "),
            expected=str(writer.waiting[0].schema).replace("\n", ", "),
        )


def keys_do_not_ascend(entity: Entity, path: str) -> GeneratorError:
    """The error for keys that ascend within each call of a generator, but not from one call to the next."""
    columns = "column" if isinstance(entity.key, str) else "columns"
    return GeneratorError(
        f"the keys of {entity.name!r} do not ascend from one range of root rows to the next",
        where=f"entity {entity.name!r}, {columns} {', '.join(map(repr, entity.key_columns))}",
        observed=f"{path} has a key that is not larger than one of earlier root rows",
        expected="unique keys that ascend with the root row; "
        + ("rows.key() makes them" if isinstance(entity.key, str) else "the parent's key does"),
    )


# ── The files of an entity ───────────────────────────────────────────────────────────────────────────────────────────


class EntityFiles:
    """The files of one entity so far, in the order of their keys."""

    def __init__(self, entity: Entity, staging: Staging, most: int = MOST_FILES) -> None:
        self._entity, self._staging, self._most = entity, staging, most
        self._files: list[PartFile] = []
        self._lists: list[FileList] = []
        self._total = EMPTY
        self._last_key: FirstKey | None = None

    def add(self, written: WrittenFile) -> None:
        """Take the next file. Raises `GeneratorError` if its keys do not follow those of the file before."""
        file = written.file
        key = columns_of(self._entity, self._entity.key_columns)
        first = sortable(file.chunks[0].first_key, key)
        if self._last_key is not None and sortable(self._last_key, key) >= first:
            raise keys_do_not_ascend(self._entity, file.path)
        self._last_key = written.last_key
        self._total = combined([self._total, *(chunk.digest() for chunk in file.chunks)])
        self._files.append(file)
        if len(self._files) > self._most:
            # From the first list on, no more files wait than one has.
            self._most = min(self._most, _LISTED)
            self._list_files(len(self._files) - len(self._files) % self._most)

    def record(self) -> EntityRecord:
        """What the manifest says of the entity."""
        if self._lists:
            self._list_files(len(self._files))
        entity = self._entity
        return EntityRecord(
            name=entity.name,
            schema=entity.schema,
            table=entity.table,
            key=entity.key,
            columns=columns_of(entity, entity.columns),
            parent=entity.parent.name if entity.parent else None,
            rows=self._total.rows,
            fingerprint=str(self._total),
            files=tuple(self._files),
            lists=tuple(self._lists) if self._lists else msgspec.UNSET,
        )

    def _list_files(self, count: int) -> None:
        """Write the first files into lists, and forget them."""
        folder, size = self._staging.folder, min(self._most, _LISTED)
        for first in range(0, count, size):
            files = self._files[first : min(first + size, count)]
            path = folder / self._entity.name / f"files-{len(self._lists):05d}.json"
            with writing_to(path):
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(msgspec.json.encode(files))
                name, length, sha256 = describe(path, folder)
            rows, data_bytes = sum(file.rows for file in files), sum(file.bytes for file in files)
            listed = FileList(name, length, sha256, len(files), rows, data_bytes)
            self._staging.put(listed)
            self._lists.append(listed)
        del self._files[:count]
