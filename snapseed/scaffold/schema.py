"""The tables of a database with their keys, checks and partitions: frozen records, and how they are read.

Reads catalogs only, no rows. Expressions are in the server's own spelling.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, LiteralString

from psycopg.rows import dict_row

from snapseed.postgres.catalog import ColumnFacts, TableFacts, TableName, read_tables
from snapseed.postgres.connect import Connection

# A column of an exclusion constraint with its operator, as pg_get_constraintdef prints them.
_ELEMENT = re.compile(r'[(,] ?((?:"(?:[^"]|"")+"|\w+)) WITH ([^\s,)]+)')


@dataclass(frozen=True)
class ForeignKey:
    """Columns that refer to columns of the table with the oid `target`, in the order of the constraint.

    `cascades`: deleting a row deletes those that refer to it. `is_required`: no column of the key takes NULL.
    """

    columns: tuple[str, ...]
    target: int
    target_columns: tuple[str, ...]
    cascades: bool = False
    is_required: bool = True

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Each column with the one that it refers to."""
        return list(zip(self.columns, self.target_columns, strict=True))


@dataclass(frozen=True)
class Check:
    """A condition on `columns`. In the check of a domain, `VALUE` stands for the column."""

    expression: str
    columns: tuple[str, ...]
    of_domain: bool = False

    def __str__(self) -> str:
        return f"CHECK {' '.join(self.expression.split())}"


@dataclass(frozen=True)
class Exclusion:
    """A constraint that keeps any two rows from matching in all of its columns or expressions."""

    definition: str
    columns: tuple[str, ...]

    @property
    def equal(self) -> tuple[str, ...]:
        """The columns compared by `=`. If one of them is unique, the constraint holds."""
        elements = _ELEMENT.findall(self.definition)
        named = {name.strip('"').replace('""', '"') for name, sign in elements if sign == "="}
        return tuple(name for name in self.columns if name in named)


@dataclass(frozen=True)
class Table:
    """One table. `unique` holds the columns of each unique index, the primary key first.

    `is_visible`: the search path finds it without its schema. `defaults` are those of ordinary columns. `partitions`
    are the conditions on the rows of its partitions, None where it is not partitioned.
    """

    oid: int
    schema: str
    name: str
    columns: tuple[ColumnFacts, ...]
    primary_key: tuple[str, ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    checks: tuple[Check, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    defaults: Mapping[str, str] = field(default_factory=dict)
    partitions: tuple[str, ...] | None = None
    serials: frozenset[str] = frozenset()
    is_visible: bool = True
    has_rows: bool = False
    comment: str = ""

    def __str__(self) -> str:
        return self.name if self.is_visible else f"{self.schema}.{self.name}"

    def column(self, name: str) -> ColumnFacts:
        """The column of this name, which must exist."""
        return next(column for column in self.columns if column.name == name)

    def are_unique(self, columns: Iterable[str]) -> bool:
        """Whether no two rows may have the same values in these columns."""
        given = set(columns)
        return any(set(key) <= given for key in self.unique)

    @property
    def foreign_columns(self) -> frozenset[str]:
        """The columns of all foreign keys."""
        return frozenset(name for key in self.foreign_keys for name in key.columns)


def read_schema(connection: Connection) -> tuple[Table, ...]:
    """All tables in the schemas that this role may use: no views, no partitions, no tables of extensions."""
    found = _rows(connection, _TABLES)
    oids = [row["oid"] for row in found]
    facts = {
        table.oid: table
        for table in read_tables(connection, [TableName(row["schema"], row["name"]) for row in found]).values()
    }
    details = {name: _by_table(connection, query, oids) for name, query in _DETAILS.items()}
    return tuple(
        _table(row, facts[row["oid"]], {name: rows[row["oid"]] for name, rows in details.items()})
        for row in found
        if row["oid"] in facts
    )


def _table(row: dict[str, Any], facts: TableFacts, details: dict[str, list[dict[str, Any]]]) -> Table:
    required = {column.name for column in facts.columns if column.not_null}
    (partitioned,) = details["partitions"] or [{}]
    return Table(
        **row,
        columns=facts.columns,
        primary_key=next((tuple(index["columns"]) for index in details["unique"] if index["is_primary"]), ()),
        unique=tuple(dict.fromkeys(tuple(index["columns"]) for index in details["unique"] if index["columns"])),
        foreign_keys=tuple(
            ForeignKey(
                tuple(key["columns"]),
                key["target"],
                tuple(key["target_columns"]),
                key["cascades"],
                required >= set(key["columns"]),
            )
            for key in details["foreign_keys"]
        ),
        checks=tuple(
            Check(check["expression"], tuple(check["columns"]), check["of_domain"]) for check in details["checks"]
        ),
        exclusions=tuple(Exclusion(found["definition"], tuple(found["columns"])) for found in details["exclusions"]),
        defaults={default["name"]: default["expression"] for default in details["defaults"]},
        partitions=tuple(partitioned["conditions"]) if partitioned else None,
        serials=frozenset(sequence.column for sequence in facts.sequences),
        has_rows=facts.has_rows,
    )


def _by_table(connection: Connection, query: LiteralString, oids: list[int]) -> dict[int, list[dict[str, Any]]]:
    rows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in _rows(connection, query, oids=oids):
        rows[row.pop("oid")].append(row)
    return rows


def _rows(connection: Connection, query: LiteralString, **parameters: object) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, parameters or None).fetchall()


# Ordinary and partitioned tables: no partitions, no tables of extensions, not our own. PostgreSQL 14 – 18.
_TABLES: LiteralString = r"""
SELECT c.oid::int8 AS oid, n.nspname AS schema, c.relname AS name, pg_table_is_visible(c.oid) AS is_visible,
       coalesce(obj_description(c.oid, 'pg_class'), '') AS comment
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
   AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'snapseed')
   AND has_schema_privilege(n.oid, 'USAGE')
   AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY n.nspname, c.relname
"""

_DETAILS: dict[str, LiteralString] = {
    # A key that refers to a partition counts as one that refers to the whole table.
    "foreign_keys": """
SELECT k.conrelid::int8 AS oid, coalesce(pg_partition_root(k.confrelid), k.confrelid)::oid::int8 AS target,
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u(number, place)
               JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number ORDER BY u.place) AS columns,
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY u(number, place)
               JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number ORDER BY u.place)
         AS target_columns,
       k.confdeltype = 'c' AS cascades
  FROM pg_constraint k
 WHERE k.contype = 'f' AND k.conparentid = 0 AND k.conrelid = ANY (%(oids)s)
 ORDER BY k.conrelid, k.conkey, k.conname
""",
    # The checks of the tables, and those of their columns' domains, the outermost domain first.
    "checks": """
WITH RECURSIVE domains AS (
  SELECT a.attrelid, a.attname, t.oid AS domain, t.typbasetype AS base
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
   WHERE a.attrelid = ANY (%(oids)s) AND a.attnum > 0 AND NOT a.attisdropped AND t.typtype = 'd'
  UNION ALL
  SELECT d.attrelid, d.attname, t.oid, t.typbasetype
    FROM domains d JOIN pg_type t ON t.oid = d.base WHERE t.typtype = 'd'
)
SELECT k.conrelid::int8 AS oid, k.conname AS name, pg_get_expr(k.conbin, k.conrelid) AS expression,
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey))
         AS columns,
       false AS of_domain
  FROM pg_constraint k WHERE k.contype = 'c' AND k.conrelid = ANY (%(oids)s)
UNION ALL
SELECT d.attrelid::int8, k.conname, pg_get_expr(k.conbin, 0), ARRAY[d.attname::text], true
  FROM domains d JOIN pg_constraint k ON k.contypid = d.domain AND k.contype = 'c'
 ORDER BY 1, 5, 4, 2
""",
    "exclusions": """
SELECT k.conrelid::int8 AS oid, pg_get_constraintdef(k.oid) AS definition,
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
              ORDER BY a.attnum) AS columns
  FROM pg_constraint k JOIN pg_index i ON i.indexrelid = k.conindid
 WHERE i.indisexclusion AND k.contype IN ('x', 'p', 'u') AND k.conrelid = ANY (%(oids)s)
 ORDER BY k.conrelid, k.conname
""",
    # Unique indexes, whether or not a constraint owns them, with the columns that their expressions use.
    "unique": """
SELECT i.indrelid::int8 AS oid, i.indisprimary AS is_primary,
       ARRAY(SELECT a.attname::text
               FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) WITH ORDINALITY u(number, place)
               JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.number ORDER BY u.place)
       || ARRAY(SELECT DISTINCT a.attname::text
                  FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
                 WHERE i.indexprs IS NOT NULL AND d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                   AND d.refobjid = i.indrelid AND d.refobjsubid <> ALL (i.indkey::int2[])
                   AND position(a.attname IN pg_get_expr(i.indexprs, i.indrelid)) > 0) AS columns
  FROM pg_index i
 WHERE i.indisunique AND NOT i.indisexclusion AND i.indrelid = ANY (%(oids)s)
 ORDER BY i.indrelid, NOT i.indisprimary, i.indexrelid
""",
    "defaults": """
SELECT d.adrelid::int8 AS oid, a.attname AS name, pg_get_expr(d.adbin, d.adrelid) AS expression
  FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
 WHERE a.attgenerated = '' AND d.adrelid = ANY (%(oids)s)
 ORDER BY d.adrelid, d.adnum
""",
    # Of each partitioned table the conditions on the rows of each partition that holds rows. A partition without a
    # condition takes every row.
    "partitions": """
SELECT o.oid::int8 AS oid,
       ARRAY(SELECT coalesce(pg_get_partition_constraintdef(r.relid), 'true')
               FROM pg_partition_tree(o.oid::regclass) r WHERE r.isleaf AND r.relid <> o.oid
              ORDER BY r.relid::oid) AS conditions
  FROM unnest(%(oids)s::oid[]) o(oid) JOIN pg_class t ON t.oid = o.oid AND t.relkind = 'p'
 ORDER BY o.oid
""",
}
