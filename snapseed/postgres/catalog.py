"""Read what the catalogs say about tables, of PostgreSQL 14 to 18."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from psycopg import sql
from psycopg.rows import dict_row

from snapseed.postgres import listed, query
from snapseed.postgres.connect import Connection, role_search_path
from snapseed.postgres.facts import ServerFacts, TableFacts, TableName

# The queries about the parts of a table. Each has the name of its field in `TableFacts`.
_PARTS = ("columns", "indexes", "foreign_keys", "triggers", "rules", "sequences", "referenced_by")


def read_server(connection: Connection) -> ServerFacts:
    """What the server offers, and what this role may do in the database."""
    return msgspec.convert(read_rows(connection, query("server"))[0], ServerFacts)


def search_schemas(connection: Connection) -> list[str]:
    """The schemas in which the role's own sessions look for a name, in this order."""
    with connection.transaction(force_rollback=True), role_search_path(connection):
        (schemas,) = connection.execute("SELECT pg_catalog.current_schemas(true)").fetchall()
    return list(schemas[0])  # type: ignore[call-overload, no-any-return]


def every_table(connection: Connection) -> list[TableName]:
    """Every table that holds rows of its own or in partitions, without those of the server, of extensions, and ours."""
    return [TableName(**row) for row in read_rows(connection, query("all_tables"))]


def find_tables(connection: Connection, names: Sequence[TableName], path: Sequence[str]) -> dict[TableName, TableName]:
    """Those of `names` that exist, each with the name in full. Without a schema, they are looked up in `path`."""
    parameters = {"schemas": [name.schema for name in names], "tables": [name.table for name in names]}
    found = read_rows(connection, query("found_tables"), **parameters, path=list(path))
    return {names[row.pop("number") - 1]: TableName(**row) for row in found}


def read_tables(connection: Connection, names: Sequence[TableName]) -> dict[TableName, TableFacts]:
    """The facts about those of `names` that exist, by a handful of queries, however many tables they are."""
    path = search_schemas(connection)
    found = find_tables(connection, names, path)
    schemas, tables = [name.schema for name in found.values()], [name.table for name in found.values()]
    rows = {row["oid"]: row for row in read_rows(connection, query("tables"), schemas=schemas, tables=tables)}
    for row in rows.values():
        row.update({part: [] for part in (*_PARTS, "refuses")})
    for part in _PARTS:
        for row in read_rows(connection, query(part), oids=list(rows), path=path):
            rows[row["of_table"]][part].append(row)
    for row in read_rows(connection, query("refused_commands"), oids=list(rows)):
        rows[row["of_table"]]["refuses"].append(row["command"])
    if read_rows(connection, b"SELECT FROM pg_class WHERE oid = to_regclass('pg_catalog.pg_dist_partition')"):
        for row in read_rows(connection, query("distributed"), oids=list(rows)):
            table = rows[row["of_table"]]
            # Citus lets nobody alter the sequences of its tables.
            sequences = [sequence | {"may_alter": False} for sequence in table["sequences"]]
            table |= {"citus": row["citus"], "alone": False, "sequences": sequences}
    indexes = [index for row in rows.values() for index in row["indexes"]]
    definitions = index_definitions(connection, [index["oid"] for index in indexes])
    for index in indexes:
        index["definition"] = definitions[index["oid"]]
    others = [other for row in rows.values() for part in ("referenced_by", "foreign_keys") for other in row[part]]
    _look_for_rows(connection, [*rows.values(), *others])
    facts = {
        TableName(row["schema"], row["table"]): msgspec.convert(
            {**row, "has_rows": row["has_rows"] is not False}, TableFacts
        )
        for row in rows.values()
    }
    return {name: facts[full] for name, full in found.items() if full in facts}


def index_definitions(connection: Connection, oids: Sequence[int]) -> dict[int, str]:
    """The text of each index, by its oid. It means the same where it is read and where the index is built."""
    statement = """SELECT oid::pg_catalog.int8, pg_catalog.pg_get_indexdef(oid)
                     FROM pg_catalog.unnest(%s::pg_catalog.oid[]) AS oid"""
    with connection.transaction(force_rollback=True), role_search_path(connection):
        return dict(connection.execute(statement, [list(oids)]).fetchall())  # type: ignore[arg-type]


def _look_for_rows(connection: Connection, tables: Sequence[dict[str, Any]]) -> None:
    """Whether each table has a row in which none of the columns `filled` is NULL; None where we may not look."""
    looks = []
    for table in tables:
        name = TableName(table["schema"], table["table"], alone=table["alone"])
        filled = [sql.SQL("{} IS NOT NULL").format(sql.Identifier(column)) for column in table["filled"]]
        where = sql.SQL(" AND ").join([sql.SQL("true"), *filled])
        exists = sql.SQL("EXISTS (SELECT 1 FROM {} WHERE {})").format(name.rows(), where)
        looks.append(exists if table["may_look"] else sql.SQL("NULL"))
    statement = sql.SQL("SELECT ARRAY[{}]::bool[]").format(listed(looks))
    ((answers,),) = connection.execute(statement).fetchall()
    for table, answer in zip(tables, answers, strict=True):  # type: ignore[call-overload]
        table["has_rows"] = answer


def read_rows(connection: Connection, text: bytes, **parameters: object) -> list[dict[str, Any]]:
    """The rows of a query by the names of their columns, arrays as tuples."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(text, parameters).fetchall()
    return [{name: tuple(value) if isinstance(value, list) else value for name, value in row.items()} for row in rows]
