"""The statements of a repair: sent to the server one by one, or written into a script that does the same later."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import IO, LiteralString

from psycopg import sql
from psycopg.abc import QueryNoTemplate

from snapseed.load.copy import stage_of
from snapseed.load.execute import build_foreign_keys, drop_indexes_and_keys
from snapseed.load.plan import ColumnPlan, LoadPlan, Prepared, RowChanges, TablePlan
from snapseed.postgres import query
from snapseed.postgres.connect import PINNED, Connection, role_search_path
from snapseed.postgres.facts import TableFacts, TableName
from snapseed.postgres.rowhash import row_hash
from snapseed.snapshot.manifest import Column, names_of
from snapseed.snapshot.types import Family, parse_type

_COPY_BYTES = 1 << 20
# What stands for a row that has no key.
HASH = ColumnPlan("hash", parse_type("bigint"), parse_type("bigint"), 0)
_FAIL = sql.SQL("IF ({}) THEN RAISE EXCEPTION USING MESSAGE = {}; END IF;")


class Rows(StrEnum):
    """The rows of a temporary table: those to delete, to insert, to update, or to delete and insert with other values.

    The last ones are `MOVED`: others may take over their unique values, and PostgreSQL looks at each row by itself.
    """

    GONE = "gone"
    NEW = "new"
    CHANGED = "changed"
    MOVED = "moved"


@dataclass(frozen=True)
class Server:
    """Sends statements, and rows as text COPY has them."""

    connection: Connection

    def execute(self, statement: QueryNoTemplate, /) -> object:
        """Run a statement."""
        return self.connection.execute(statement)

    def copy(self, statement: sql.Composed, rows: IO[bytes]) -> None:
        """Send rows."""
        with self.connection.cursor() as cursor, cursor.copy(statement) as copy:
            while data := rows.read(_COPY_BYTES):
                copy.write(data)


@dataclass(frozen=True)
class Script:
    """Writes statements and rows into a file for psql. The connection says how the server takes texts."""

    connection: Connection
    file: IO[bytes]

    def execute(self, statement: QueryNoTemplate, /) -> object:
        """Write a statement."""
        query = sql.SQL(statement) if isinstance(statement, str) else statement
        return self.file.write((query if isinstance(query, bytes) else query.as_bytes(self.connection)) + b";\n")

    def copy(self, statement: sql.Composed, rows: IO[bytes]) -> None:
        """Write rows."""
        self.execute(statement)
        shutil.copyfileobj(rows, self.file)
        self.file.write(b"\\.\n")

    def begin(self, tables: Sequence[TablePlan], title: str) -> None:
        """What comes first: the settings of our sessions, and the locks that keep others from writing."""
        self.file.write(f"-- {title}\n\\set ON_ERROR_STOP on\n\\encoding UTF8\nBEGIN;\n".encode())
        pinned = sql.SQL(", ").join(sql.SQL("({}, {})").format(*item) for item in PINNED.items())
        pin = sql.SQL(
            "PERFORM pg_catalog.set_config(name, value, true) FROM (VALUES {}) AS pinned (name, value)"
            " WHERE pg_catalog.current_setting(name, true) OPERATOR(pg_catalog.<>) value;"
        )
        self.execute(_block(self.connection, pin.format(pinned)))
        names = sql.SQL(", ").join(table.table.rows() for table in tables)
        self.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(names))

    def verify(self, tables: Sequence[TablePlan]) -> None:
        """Let the script fail unless the tables then hold the rows of the snapshot."""
        differs = sql.SQL("SELECT count(*) <> {} OR (coalesce(sum({}), 0) - {}) % 18446744073709551616 <> 0 FROM {}")
        for table in tables:
            digest, text = table.entity.digest(), f"{table.table} would not hold the rows of the snapshot"
            fails = differs.format(digest.rows, row_hash(table.entity.columns), digest.total, table.table.rows())
            self.execute(_block(self.connection, _FAIL.format(fails, text)))


def staged_columns(table: TablePlan, facts: TableFacts, rows: Rows) -> list[ColumnPlan]:
    """The columns that are sent of some rows: those to delete may break constraints, so only their key, or a hash."""
    if rows is not Rows.GONE:
        return list(table.columns)
    key = names_of(table.entity.key) if is_keyed(table, facts) else ()
    return [each for each in table.columns if each.name in key] or [HASH]


def stage(server: Server | Script, table: TablePlan, facts: TableFacts, rows: Rows, data: IO[bytes]) -> None:
    """Bring rows into a temporary table. Those that are moved get all columns of their table."""
    columns = staged_columns(table, facts, rows)
    name, names = stage_of(table, rows), [column.name for column in columns]
    held = _names(names + (_others(table, facts) if rows is Rows.MOVED else []))
    if columns == [HASH]:
        held = sql.SQL("NULL::pg_catalog.int8 AS {}").format(held)
    create = sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA")
    server.execute(create.format(name, held, table.table.identifier()))
    server.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(name, _names(names)), data)
    # Without it, the planner would take a few rows for thousands, and read the whole table.
    server.execute(sql.SQL("ANALYZE {}").format(name))


def change_rows(server: Server | Script, plan: LoadPlan, prepared: Prepared) -> None:
    """Delete, insert and update the staged rows, with triggers, rules and foreign keys as in a load."""
    changed = {name: changes for name, changes in prepared.changes.items() if changes.commands}
    affected = [table for table in plan.tables if table.entity.name in changed]
    tables = tuple(table for table in plan.tables if table in affected or table.drop_foreign_keys)
    for table in affected:
        others = _others(table, prepared.facts[table.entity.name])
        if changed[table.entity.name].moved and others:
            keep = _assigned(others, "held")
            server.execute(
                _joined("UPDATE {staged} AS staged SET {values} FROM {table} AS held", table, Rows.MOVED, keep)
            )
    drop_indexes_and_keys(server, replace(plan, tables=tables))
    with role_search_path(server):
        for table in reversed(affected):
            for statement in _deletes(table, changed[table.entity.name], prepared.facts[table.entity.name]):
                server.execute(statement)
        for table in affected:
            for statement in _inserts(table, changed[table.entity.name], prepared.facts[table.entity.name]):
                server.execute(statement)
        server.execute("SET CONSTRAINTS ALL IMMEDIATE")
    build_foreign_keys(server, replace(plan, tables=tables))
    own = {facts.oid for facts in prepared.facts.values()}
    acting = {
        reference.name
        for name in changed
        for reference in prepared.facts[name].referenced_by
        if changed[name].deleted and reference.acts and not reference.is_among(own)
    }
    if acting:
        server.execute(_block(server.connection, _require_untouched(acting)))


def is_keyed(table: TablePlan, facts: TableFacts) -> bool:
    """Whether the key finds exactly one row: the server has a unique index on it, and it takes no NULL."""
    key, required = names_of(table.entity.key), {column.name for column in facts.columns if column.not_null}
    return bool(key) and required >= set(key) and bool(facts.unique_on(*key))


def _deletes(table: TablePlan, changes: RowChanges, facts: TableFacts) -> Iterator[sql.Composed]:
    if not is_keyed(table, facts):
        if changes.deleted:
            texts = changes.as_text
            columns = [Column(each.name, "text") if each.name in texts else each for each in table.entity.columns]
            names = {"table": table.table.rows(), "hash": row_hash(columns), "staged": stage_of(table, Rows.GONE)}
            yield _template("delete_equal").format(**names)
        return
    for rows, count in ((Rows.GONE, changes.deleted - changes.moved), (Rows.MOVED, changes.moved)):
        if count:
            yield _joined("DELETE FROM {table} AS held USING {staged} AS staged", table, rows)


def _inserts(table: TablePlan, changes: RowChanges, facts: TableFacts) -> Iterator[sql.Composed]:
    names = [column.name for column in table.columns]
    columns = {Rows.MOVED: names + _others(table, facts), Rows.NEW: names}
    for rows, count in ((Rows.MOVED, changes.moved), (Rows.NEW, changes.inserted - changes.moved)):
        if count:
            yield sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {}").format(
                table.table.identifier(), *[_names(columns[rows])] * 2, stage_of(table, rows)
            )
    if changes.updated:
        values = _assigned([name for name in names if name in changes.columns], "staged")
        yield _joined("UPDATE {table} AS held SET {values} FROM {staged} AS staged", table, Rows.CHANGED, values)


def _joined(
    statement: LiteralString, table: TablePlan, rows: Rows, values: sql.Composable | None = None
) -> sql.Composed:
    """A statement about the rows of a table whose keys are staged."""
    kinds = {column.name: column.target for column in table.columns}
    # Types of extensions have operators of their own, which only the role's search path would find.
    forms = ["{}::pg_catalog.text" if kinds[k].family is Family.TEXT_FORM else "{}" for k in names_of(table.entity.key)]
    equal = sql.SQL(" AND ").join(
        sql.SQL("{} OPERATOR(pg_catalog.=) {}").format(
            *(sql.SQL(form).format(sql.Identifier(side, name)) for side in ("held", "staged"))
        )
        for name, form in zip(names_of(table.entity.key), forms, strict=True)
    )
    named = {"table": table.table.rows(), "staged": stage_of(table, rows), "values": values or sql.SQL("")}
    return sql.SQL(statement + " WHERE {equal}").format(**named, equal=equal)


def _require_untouched(tables: Collection[TableName]) -> sql.Composed:
    """Fail if rows of these tables were deleted or changed with rows that they refer to."""
    names = sql.SQL(", ").join(sql.Literal(table.identifier().as_string()) for table in tables)
    text = (
        f"rows of {', '.join(map(str, tables))} refer to rows that the snapshot does not have, and would go with them"
    )
    return _FAIL.format(_template("touched").format(tables=names), text)


def _block(connection: Connection, body: sql.Composed) -> sql.Composed:
    """Statements of PL/pgSQL, to be executed as one."""
    return sql.SQL("DO {}").format(sql.SQL("BEGIN {} END").format(body).as_string(connection))


def _template(name: str) -> sql.SQL:
    return sql.SQL(query(name, Path(__file__).parent).decode())


def _others(table: TablePlan, facts: TableFacts) -> list[str]:
    """The columns that the snapshot does not have, and that can be written."""
    own = {column.name for column in table.columns}
    return [column.name for column in facts.columns if column.name not in own and not column.generated]


def _assigned(columns: Sequence[str], source: str) -> sql.Composed:
    pairs = ((sql.Identifier(name), sql.Identifier(source, name)) for name in columns)
    return sql.SQL(", ").join(sql.SQL("{} = {}").format(*pair) for pair in pairs)


def _names(columns: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))
