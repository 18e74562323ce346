"""How much generated rows are like those of the source that statistics were taken from: a distance for each column.

It is 0 if the distributions are the same, and 1 if they have nothing in common. Numbers and times: the largest
difference of the cumulative distributions (Kolmogorov and Smirnov); columns with few values: half of the sum of all
differences of shares (total variation); foreign keys: one of these, of the number of rows for each row that they refer
to, by its rank if these are few; all others: the difference of the shares of NULL. Primary keys are not compared.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg import sql

_FEW = 50
_ROWS = 50_000
_NUMBERS = {"int2", "int4", "int8", "numeric", "float4", "float8"}
_MOMENTS = {"date", "timestamp", "timestamptz"}
_COLUMNS = """
SELECT n.nspname, c.relname, a.attname, coalesce(b.typname, t.typname) AS type, f.target, f.referred
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
  JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = t.typbasetype
  LEFT JOIN LATERAL (SELECT k.confrelid::regclass::text AS target, r.attname AS referred
                       FROM pg_constraint k JOIN pg_attribute r ON r.attrelid = k.confrelid AND r.attnum = k.confkey[1]
                      WHERE k.conrelid = c.oid AND k.contype = 'f' AND k.conkey = ARRAY[a.attnum] LIMIT 1) f ON true
 WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname !~ '^pg_'
   AND n.nspname NOT IN ('information_schema', 'snapseed')
   AND (f.target IS NOT NULL OR NOT EXISTS (
         SELECT FROM pg_index i WHERE i.indrelid = c.oid AND a.attnum = ANY (i.indkey::int2[])
            AND i.indisunique AND (i.indisprimary OR i.indnatts = 1)))
 ORDER BY 1, 2, a.attnum
"""


@dataclass(frozen=True)
class Likeness:
    """One column of both databases. `kind` is how they are compared; `distinct` has the numbers of different values."""

    column: str
    kind: str
    distance: float
    nulls: tuple[float, float]
    distinct: tuple[int, int]
    ranges: tuple[str, str]


def compared(source: str, generated: str) -> list[Likeness]:
    """All columns of tables that have rows in both databases."""
    with psycopg.connect(source) as left, psycopg.connect(generated) as right:
        columns = left.execute(_COLUMNS).fetchall()
        tried = (_compared((left, right), column[:3], *column[3:]) for column in columns)
        return [found for found in tried if found is not None]


def medians(found: list[Likeness]) -> dict[str, float]:
    """The median distance of each kind of column, and of all."""
    kinds = {kind: [item.distance for item in found if item.kind == kind] for kind in sorted({i.kind for i in found})}
    return {kind: statistics.median(values) for kind, values in {**kinds, "all": [i.distance for i in found]}.items()}


def _compared(
    connections: tuple[psycopg.Connection, psycopg.Connection],
    names: tuple[str, str, str],
    type_: str,
    *refers: str | None,
) -> Likeness | None:
    """`refers` are the table and the column that a foreign key refers to, both None for other columns."""
    target, referred = refers
    _, table, column = names
    sides = [_Column(connection, *names) for connection in connections]
    if not all(side.rows for side in sides):
        return None
    nulls, distinct = (sides[0].nulls, sides[1].nulls), (sides[0].distinct, sides[1].distinct)
    is_ordered = type_ in _NUMBERS | _MOMENTS
    ranges = tuple(side.range if is_ordered and target is None else "" for side in sides)
    if target is not None and referred is not None:
        counts = [side.fan_out(target, referred) for side in sides]
        kind, distance = "fan-out", _smirnov(*counts) if len(counts[0]) > _FEW else _variation(*map(_by_rank, counts))
    elif distinct[0] <= _FEW and sides[0].rows >= 5 * distinct[0]:
        kind, distance = "few values", _variation(*(side.shares() for side in sides))
    elif is_ordered:
        kind = "numbers and times"
        distance = _smirnov(*(side.values(is_moment=type_ in _MOMENTS) for side in sides))
    else:
        kind, distance = "others: NULL", abs(nulls[0] - nulls[1])
    return Likeness(f"{table}.{column}", kind, distance, nulls, distinct, (ranges[0], ranges[1]))


@dataclass(frozen=True)
class _Column:
    connection: psycopg.Connection
    schema: str
    table: str
    column: str

    def _query(self, text: str) -> list[tuple[object, ...]]:
        """`{c}` stands for the column, `{t}` for the table."""
        names = {"c": sql.Identifier(self.column), "t": sql.Identifier(self.schema, self.table)}
        return self.connection.execute(sql.SQL(text).format(**names)).fetchall()

    def _number(self, text: str) -> float:
        return float(str(self._query(text)[0][0] or 0))

    @property
    def rows(self) -> int:
        return int(self._number("SELECT count(*) FROM {t}"))

    @property
    def nulls(self) -> float:
        return self._number("SELECT avg(({c} IS NULL)::int) FROM {t}")

    @property
    def distinct(self) -> int:
        return int(self._number("SELECT count(DISTINCT {c}::text) FROM {t}"))

    @property
    def range(self) -> str:
        return " to ".join(str(value) for value in self._query("SELECT min({c})::text, max({c})::text FROM {t}")[0])

    def values(self, *, is_moment: bool) -> npt.NDArray[np.float64]:
        value = "extract(epoch FROM {c})" if is_moment else "{c}"
        found = self._query(f"SELECT {value}::float8 FROM {{t}} WHERE {{c}} IS NOT NULL LIMIT {_ROWS}")  # noqa: S608
        return np.array([row[0] for row in found], dtype=np.float64)

    def shares(self) -> dict[object, float]:
        rows = self.rows
        return {value: int(str(n)) / rows for value, n in self._query("SELECT {c}::text, count(*) FROM {t} GROUP BY 1")}

    def fan_out(self, target: str, referred: str) -> npt.NDArray[np.float64]:
        """How many rows refer to each row of the other table."""
        name = sql.Identifier(referred).as_string(self.connection)
        found = self._query(
            f"SELECT coalesce(n, 0) FROM {target} AS p LEFT JOIN"  # noqa: S608
            f" (SELECT {{c}} AS own, count(*) AS n FROM {{t}} GROUP BY 1) AS c ON own = p.{name}"
        )
        return np.array([row[0] for row in found], dtype=np.float64)


def _by_rank(counts: npt.NDArray[np.float64]) -> dict[object, float]:
    """The shares of the rows with the most, the second most, … rows that refer to them."""
    return dict(enumerate(sorted(counts / max(1, counts.sum()), reverse=True)))


def _smirnov(left: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> float:
    if not len(left) or not len(right):
        return float(len(left) != len(right))
    places = np.unique(np.concatenate([left, right]))
    below = [np.searchsorted(np.sort(values), places, side="right") / len(values) for values in (left, right)]
    return float(np.abs(below[0] - below[1]).max())


def _variation(left: dict[object, float], right: dict[object, float]) -> float:
    return sum(abs(left.get(value, 0) - right.get(value, 0)) for value in left.keys() | right.keys()) / 2
