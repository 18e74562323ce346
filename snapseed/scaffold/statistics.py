"""PostgreSQL's statistics about columns: values only of numbers, times, Booleans, enums and codes; none personal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path

from snapseed.capture.mask.personal import PERSONAL_VALUES, may_be_personal
from snapseed.capture.mask.rules import MOMENTS, NUMBERS
from snapseed.errors import ConfigurationError
from snapseed.postgres import query
from snapseed.postgres.catalog import read_rows
from snapseed.postgres.connect import Connection
from snapseed.postgres.facts import ColumnFacts, TableFacts
from snapseed.scaffold.names import PLACE_NAMES
from snapseed.snapshot.types import Family, parse_type

_QUERIES = Path(__file__).parent / "queries"
_MOST_WEIGHTS = 120  # The rows of a lookup have weights of their own if they are not more


@dataclass(frozen=True)
class ColumnStatistics:
    """What ANALYZE found out about a column.

    `distinct` counts its values, `shares` are those of the most common ones, of all rows. These are `common`, `bounds`
    divide all others into equal shares, as text; both are empty if nobody may know them. `squares` is the sum of the
    squares of all shares, of the rows that are not NULL. `sizes` divide arrays by their length, `correlation` is with
    the rows on disk, `until` the end of the day of the newest moment that has passed. `joint` has columns and their
    common combinations with shares, unless this `is_hidden` from the role.
    """

    null_share: float = 0.0
    distinct: int = 0
    width: int = 0
    correlation: float = 0.0
    shares: tuple[float, ...] = ()
    squares: float = 0.0
    common: tuple[str, ...] = ()
    bounds: tuple[str, ...] = ()
    sizes: tuple[float, ...] = ()
    until: datetime | None = None
    joint: Sequence[tuple[list[str], list[tuple[list[str | None], float]]]] = ()
    is_hidden: bool = False

    @property
    def all_shares(self) -> tuple[float, ...]:
        """How often each value is: the most common ones as they are, all others alike."""
        others = max(0, self.distinct - len(self.shares))
        return (*self.shares, *[(1 - self.null_share - sum(self.shares)) / max(1, others)] * others)

    @property
    def texts(self) -> dict[str, float]:
        """How often each known value is. It is without the spaces at the end that `char(n)` has."""
        return {text.rstrip(): share for text, share in zip(self.common, self.shares, strict=False)}


def shares_of_keys(found: ColumnStatistics, keys: Sequence[str]) -> tuple[int, ...]:
    """How often a foreign key refers to each of these keys, in thousandths: by value, order, or most frequent first."""
    shares, count = found.all_shares, len(keys)
    if not found.shares or len(shares) > count or count > _MOST_WEIGHTS:
        return ()
    if len(found.common) == len(shares):
        if found.texts.keys() <= {*keys}:
            return tuple(round(1_000 * found.texts.get(key, 0)) for key in keys)
        shares = tuple(share for _, share in sorted(found.texts.items(), key=lambda item: (len(item[0]), item[0])))
    return (*(max(1, round(1_000 * share)) for share in shares), *[0] * (count - len(shares)))


def read_statistics(connection: Connection, tables: Mapping[int, TableFacts]) -> dict[int, dict[str, ColumnStatistics]]:
    """The statistics of the columns that this role may read, by the oid of the table and the column's name."""
    wanted = [
        (oid, column.name, _shown(table.table, column)) for oid, table in tables.items() for column in table.columns
    ]
    oids, names, shown = zip(*wanted, strict=True) if wanted else ((), (), ())
    found: dict[int, dict[str, ColumnStatistics]] = {}
    text, columns = query("statistics", _QUERIES), {"oids": list(oids), "names": list(names), "shown": list(shown)}
    for row in read_rows(connection, text, **columns, personal=PERSONAL_VALUES, places=PLACE_NAMES):
        known = {item.name: row[item.name] for item in fields(ColumnStatistics) if row[item.name] is not None}
        found.setdefault(row["oid"], {})[row["name"]] = ColumnStatistics(**known)
    return found


def _shown(table: str, column: ColumnFacts) -> str:
    """Which values of a column may be known: `all`, `codes`, or `none`."""
    try:
        kind = parse_type(column.type)
    except ConfigurationError:
        return "none"
    base, is_enum = kind.base.rpartition(".")[2], column.kind == "e"
    if kind.is_array or may_be_personal(table, [column.name], base, is_enum=is_enum):
        return "none"
    if is_enum or base in NUMBERS | MOMENTS | {"boolean"}:
        return "all"
    return "codes" if kind.family in {Family.TEXT, Family.CHARACTER} else "none"
