"""Pools: tables of words and names that generators draw from, committed as CSV files.

The manifest names the digest of each pool that a snapshot was made of.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import time
from itertools import accumulate, chain
from pathlib import Path
from uuid import UUID

import polars as pl
import pyarrow as pa

from snapseed.config.settings import decoded
from snapseed.errors import GeneratorError
from snapseed.generate.draws.choices import Groups
from snapseed.snapshot.types import ColumnType, Family

Derive = Callable[[Callable[[str], pl.DataFrame]], pl.DataFrame]
# What stands for NULL where a pool holds the rows of a table, as in COPY.
NULL = r"\N"
# Types that Arrow does not make of a text.
_READ: Mapping[Family, Callable[[str], object]] = {
    Family.BYTEA: lambda text: bytes.fromhex(text.removeprefix(r"\x")),
    Family.UUID: lambda text: UUID(text).bytes,
    Family.TIME: time.fromisoformat,
}
# Python's limit of 128 KiB for a cell would be one for all documents and pictures in a pool.
csv.field_size_limit(2**31 - 1)


@dataclass
class _Kept:
    """A table that stays in memory: the pools that it was made of, as they were then, and its groups."""

    table: pl.DataFrame
    pools: Mapping[str, int]
    groups: dict[tuple[tuple[str, ...], str | None], Groups] = field(default_factory=dict)


class PoolFolder:
    """The folder `pools/` of a project. It keeps each table that was read or derived, so that it is made only once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: dict[str | Derive, _Kept] = {}

    def pool(self, name: str) -> _Kept:
        """The pool `name`; read again if its file has changed. Raises what `Pools.table` raises."""
        path = self.path / f"{name}.csv"
        if not path.is_file():
            known = ", ".join(sorted(file.stem for file in self.path.glob("*.csv"))) or "none"
            raise GeneratorError(
                f"there is no pool named {name!r}", where=str(path), expected=f"a CSV file; pools here: {known}"
            )
        changed = path.stat().st_mtime_ns
        if name not in self._kept or self._kept[name].pools != {name: changed}:
            self._kept[name] = _Kept(_read(path), {name: changed})
        return self._kept[name]

    def derived(self, build: Derive) -> _Kept:
        """The table that `build` makes of pools."""
        kept = self._kept.get(build)
        if kept is None or kept.pools != self._as_they_are(kept.pools):
            pools = Pools(self)
            table = build(pools.table)
            self._kept[build] = _Kept(table, self._as_they_are(pools.used))
        return self._kept[build]

    def _as_they_are(self, pools: Iterable[str]) -> dict[str, int]:
        """When the files of these pools were last changed."""
        return {name: self.pool(name).pools[name] for name in pools}

    def kept(self, table: pl.DataFrame) -> _Kept | None:
        """What is known about a table, if it came from here."""
        return next((kept for kept in self._kept.values() if kept.table is table), None)


class Pools:
    """The pools as one part sees them. It records in `used` which ones the part read."""

    def __init__(self, folder: PoolFolder) -> None:
        self.folder = folder
        self.used: set[str] = set()

    def table(self, name: str) -> pl.DataFrame:
        """The pool `name` (`NAME.csv`) with every column as text, in the order of the file.

        Raises `GeneratorError` if there is no such pool, or it is not a CSV file with rows.
        """
        return self._recorded(self.folder.pool(name))

    def derived(self, build: Derive) -> pl.DataFrame:
        """The table that `build` makes of pools; the pools that it reads count as used."""
        return self._recorded(self.folder.derived(build))

    def grouped(self, table: pl.DataFrame, by: Sequence[str], weights: str | None) -> Groups:
        """The table grouped for weighted draws; kept for tables from here. Raises what `Groups.of` raises."""
        kept, layout = self.folder.kept(table), (tuple(by), weights)
        if kept is None:
            return Groups.of(table, by, weights)
        if layout not in kept.groups:
            kept.groups[layout] = Groups.of(table, by, weights)
        return kept.groups[layout]

    def digests(self) -> dict[str, str]:
        """The SHA-256 of each pool that was used, by name."""
        files = {name: self.folder.path / f"{name}.csv" for name in sorted(self.used)}
        return {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()}

    def _recorded(self, kept: _Kept) -> pl.DataFrame:
        """A table, after a note that its pools were used."""
        self.used.update(kept.pools)
        return kept.table


def values_of(texts: Sequence[str | None], kind: ColumnType) -> pa.Array:
    """The values that PostgreSQL prints as these texts. An array is a JSON list of the texts of its elements.

    Raises `ValueError` for a text that is no such value, and for moments that Arrow or Python has no value for.
    """
    if kind.element is not None or kind.family is Family.VECTOR:
        lists = [None if text is None else json.loads(text) for text in texts]
        elements = list(chain.from_iterable(filter(None, lists)))
        values = values_of(elements, kind.element) if kind.element else pa.array(elements, pa.float32())
        ends = list(accumulate((len(found or ()) for found in lists), initial=0))
        return pa.ListArray.from_arrays(
            pa.array(ends, pa.int32()), values, mask=pa.array([found is None for found in lists])
        )
    if (read := _READ.get(kind.family)) is not None:
        stored = pa.binary() if kind.family is Family.UUID else kind.arrow
        return pa.array([None if text is None else read(text) for text in texts], stored)
    return pa.array(texts, pa.string()).cast(kind.arrow)


def _read(path: Path) -> pl.DataFrame:
    """The rows of a CSV file as texts."""
    try:
        # Python's reader rather than polars': it infers no types, so the words `nan` and `1984` stay text, and it does
        # the same in every version. A pool is small.
        lines = io.StringIO(decoded(path.read_bytes()), newline="")
        header, *rows = list(csv.reader(lines, strict=True)) or [[]]
        table = pl.DataFrame(rows, schema=dict.fromkeys(header, pl.String), orient="row")
    except (csv.Error, ValueError, pl.exceptions.PolarsError) as exc:
        raise GeneratorError(
            "a pool cannot be read", where=str(path), observed=str(exc), expected="a CSV file"
        ) from exc
    if table.is_empty():
        raise GeneratorError("a pool is empty", where=str(path), expected="at least one row below the header")
    return table
