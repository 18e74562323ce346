"""What the database's catalogs say about the tables of a snapshot, read in a few queries into frozen records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from psycopg import sql
from psycopg.rows import class_row

from snapseed.database.connect import Connection

_Facts = TypeVar("_Facts")


@dataclass(frozen=True)
class TableName:
    """A table as it is asked for; without a schema the search path decides."""

    schema: str | None
    table: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.table}" if self.schema else self.table

    def identifier(self) -> sql.Identifier:
        """Quoted for SQL."""
        return sql.Identifier(self.schema, self.table) if self.schema else sql.Identifier(self.table)


@dataclass(frozen=True)
class ColumnFacts:
    """One column. `type` is `format_type`'s spelling, of a domain the type beneath it; `kind` is pg_type.typtype."""

    name: str
    type: str
    kind: str
    element_oid: int
    element_kind: str | None
    not_null: bool
    has_default: bool
    identity: str
    generated: str


@dataclass(frozen=True)
class IndexFacts:
    """An index that no constraint owns. `keep_reason` says why it cannot be dropped and made again as it was."""

    name: str
    definition: str
    keep_reason: str | None


@dataclass(frozen=True)
class ForeignKeyFacts:
    """A foreign key of the table. `keep_reason` as for an index."""

    name: str
    definition: str
    references: int
    keep_reason: str | None


@dataclass(frozen=True)
class TriggerFacts:
    """A user trigger that would fire; `always` tells the two ways in which it can be enabled apart."""

    name: str
    always: bool


@dataclass(frozen=True)
class SequenceFacts:
    """A sequence that gives an integer column its values: one that it owns (serial, identity), or a mere default."""

    schema: str
    name: str
    column: str
    increment: int
    minimum: int
    maximum: int
    owned: bool


@dataclass(frozen=True)
class ReferenceFacts:
    """A table whose foreign key refers to this one. `action` is what a DELETE does to its own rows, None if nothing.

    Whether it has rows is asked only where they are in danger.
    """

    oid: int
    table: str
    action: str | None
    has_rows: bool


@dataclass(frozen=True)
class TableFacts:
    """One table as the catalogs know it, with the schema it was found in."""

    oid: int
    schema: str
    table: str
    kind: str
    owned: bool
    has_rows: bool
    row_security: bool
    columns: tuple[ColumnFacts, ...]
    indexes: tuple[IndexFacts, ...]
    foreign_keys: tuple[ForeignKeyFacts, ...]
    triggers: tuple[TriggerFacts, ...]
    sequences: tuple[SequenceFacts, ...]
    referenced_by: tuple[ReferenceFacts, ...]

    @property
    def name(self) -> TableName:
        """The qualified name."""
        return TableName(self.schema, self.table)

    def column(self, name: str) -> ColumnFacts | None:
        """The column of this name, if there is one."""
        return next((column for column in self.columns if column.name == name), None)


def read_tables(connection: Connection, names: Sequence[TableName]) -> dict[TableName, TableFacts]:
    """The facts of those of `names` that exist."""
    found = {}
    for name in names:
        row = connection.execute(_TABLE, {"schema": name.schema, "table": name.table}).fetchone()
        if row is not None:
            found[name] = _read_table(connection, row)
    return found


def _read_table(connection: Connection, row: tuple[object, ...]) -> TableFacts:
    oid, schema, table, kind, owned, row_security = row
    identifier = sql.Identifier(str(schema), str(table))
    referenced = [
        ReferenceFacts(
            int(str(other)),
            str(name),
            None if action is None else str(action),
            action is not None and _has_rows(connection, sql.Identifier(str(outer), str(name_alone))),
        )
        for other, name, outer, name_alone, action in connection.execute(_REFERENCED_BY, {"oid": oid}).fetchall()
    ]

    def facts(kind: type[_Facts], query: str) -> tuple[_Facts, ...]:
        with connection.cursor(row_factory=class_row(kind)) as cursor:
            return tuple(cursor.execute(query, {"oid": oid}).fetchall())

    return TableFacts(
        oid=int(str(oid)),
        schema=str(schema),
        table=str(table),
        kind=str(kind),
        owned=bool(owned),
        # Where row-level security applies it cannot be asked, and such a table is not loaded into anyway.
        has_rows=bool(row_security) or _has_rows(connection, identifier),
        row_security=bool(row_security),
        columns=facts(ColumnFacts, _COLUMNS),
        indexes=facts(IndexFacts, _INDEXES),
        foreign_keys=facts(ForeignKeyFacts, _FOREIGN_KEYS),
        triggers=facts(TriggerFacts, _TRIGGERS),
        sequences=facts(SequenceFacts, _SEQUENCES),
        referenced_by=tuple(referenced),
    )


def _has_rows(connection: Connection, identifier: sql.Identifier) -> bool:
    row = connection.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(identifier)).fetchone()
    return row == (True,)


# Ordinary, partitioned and foreign tables and views; to_regclass follows the search path where no schema is given.
_TABLE = """
SELECT c.oid, n.nspname, c.relname, c.relkind::text, pg_has_role(c.relowner, 'USAGE'),
       c.relrowsecurity AND (c.relforcerowsecurity OR NOT pg_has_role(c.relowner, 'USAGE'))
         AND NOT (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = to_regclass(coalesce(quote_ident(%(schema)s) || '.', '') || quote_ident(%(table)s))
"""

_COLUMNS = """
SELECT a.attname AS name,
       CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod)
            ELSE format_type(a.atttypid, a.atttypmod) END AS type,
       b.typtype::text AS kind, b.typelem::int8 AS element_oid, e.typtype::text AS element_kind,
       a.attnotnull AS not_null, a.atthasdef AS has_default, a.attidentity::text AS identity,
       a.attgenerated::text AS generated
  FROM pg_attribute a
  JOIN pg_type t ON t.oid = a.atttypid
  JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
  LEFT JOIN pg_type e ON e.oid = b.typelem AND b.typcategory = 'A'
 WHERE a.attrelid = %(oid)s AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum
"""

# What pg_get_indexdef does not say would be lost by dropping an index: such indexes are kept.
_INDEXES = """
SELECT c.relname AS name, pg_get_indexdef(i.indexrelid) AS definition,
       CASE WHEN i.indisunique THEN 'it is unique'
            WHEN i.indisreplident THEN 'it is the replica identity'
            WHEN i.indisclustered THEN 'the table is clustered on it'
            WHEN NOT i.indisvalid THEN 'it is not valid'
            WHEN c.relispartition OR c.relkind <> 'i' THEN 'it belongs to a partitioned index'
            WHEN c.reltablespace <> 0 THEN 'it has a tablespace of its own'
            WHEN obj_description(c.oid, 'pg_class') IS NOT NULL THEN 'it has a comment'
            WHEN EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attstattarget >= 0)
              THEN 'it has a statistics target'
            WHEN EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid)
              THEN 'something depends on it'
            WHEN EXISTS (SELECT FROM pg_depend d
                          WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('e', 'x'))
              THEN 'it belongs to an extension'
       END AS keep_reason
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
 WHERE i.indrelid = %(oid)s AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = c.oid AND k.contype <> 'f')
 ORDER BY c.relname
"""

_FOREIGN_KEYS = """
SELECT k.conname AS name, pg_get_constraintdef(k.oid) AS definition, k.confrelid::int8 AS references,
       CASE WHEN k.conparentid <> 0 OR NOT k.conislocal THEN 'it is inherited'
            WHEN NOT k.convalidated THEN 'it is not validated: made again, it would not check the new rows'
            WHEN obj_description(k.oid, 'pg_constraint') IS NOT NULL THEN 'it has a comment'
            WHEN EXISTS (SELECT FROM pg_trigger t WHERE t.tgconstraint = k.oid AND t.tgenabled <> 'O')
              THEN 'its triggers are not in their usual state'
       END AS keep_reason
  FROM pg_constraint k
 WHERE k.conrelid = %(oid)s AND k.contype = 'f'
 ORDER BY k.conname
"""

_TRIGGERS = """
SELECT t.tgname AS name, t.tgenabled = 'A' AS always
  FROM pg_trigger t
 WHERE t.tgrelid = %(oid)s AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND t.tgparentid = 0
 ORDER BY t.tgname
"""

# pg_get_serial_sequence raises on some columns and knows no defaults; pg_depend does not, and does.
_SEQUENCES = """
SELECT n.nspname AS schema, c.relname AS name, a.attname AS column, s.seqincrement AS increment,
       s.seqmin AS minimum, s.seqmax AS maximum, bool_or(u.owned) AS owned
  FROM (SELECT d.objid AS sequence, d.refobjsubid AS number, true AS owned
          FROM pg_depend d
         WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = %(oid)s
           AND d.deptype IN ('a', 'i')
        UNION ALL
        SELECT d.refobjid, v.adnum, false
          FROM pg_attrdef v
          JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = v.oid
                          AND d.refclassid = 'pg_class'::regclass
         WHERE v.adrelid = %(oid)s) u
  JOIN pg_class c ON c.oid = u.sequence AND c.relkind = 'S'
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_sequence s ON s.seqrelid = c.oid
  JOIN pg_attribute a ON a.attrelid = %(oid)s AND a.attnum = u.number
  JOIN pg_type t ON t.oid = a.atttypid
 WHERE coalesce(nullif(t.typbasetype, 0), t.oid) IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
 GROUP BY 1, 2, 3, 4, 5, 6
 ORDER BY 1, 2, 3
"""

_REFERENCED_BY = """
SELECT DISTINCT k.conrelid::int8, k.conrelid::regclass::text, n.nspname, c.relname,
       CASE k.confdeltype WHEN 'c' THEN 'ON DELETE CASCADE' WHEN 'n' THEN 'ON DELETE SET NULL'
                          WHEN 'd' THEN 'ON DELETE SET DEFAULT' END
  FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE k.confrelid = %(oid)s AND k.contype = 'f' AND k.conrelid <> k.confrelid AND k.conparentid = 0
 ORDER BY 2
"""
