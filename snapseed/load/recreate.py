"""Remake a database: everything in it is dropped inside the load's transaction, or the database itself is dropped.

Both are guarded as a load is. Rows that no load wrote are looked for in every table, not only in the snapshot's.
"""

from __future__ import annotations

from dataclasses import replace

from psycopg import sql
from psycopg.conninfo import make_conninfo

from snapseed.config import Environment, Project
from snapseed.errors import RefusedError, ServerError, UsageError
from snapseed.postgres import query
from snapseed.postgres.catalog import every_table, read_tables
from snapseed.postgres.connect import Connection, connected
from snapseed.postgres.facts import TableName
from snapseed.postgres.failures import translated
from snapseed.postgres.guard import Identity, identify_allowed, require_ours
from snapseed.postgres.locks import lock_tables, sessions_in
from snapseed.postgres.provenance import changed_tables, filled_tables
from snapseed.servers.targets import resolve_target

# Others connect to these to create and drop databases, and copy them.
_MAINTENANCE = ("postgres", "template0", "template1")


def drop_contents(
    connection: Connection, identity: Identity, environment: Environment, *, consent: bool
) -> list[TableName]:
    """Drop every schema with all that is in it, in the current transaction; `public` comes back empty.

    Returns the tables that are gone. The records of loads stay, and so does what is in no schema: settings and
    privileges of the database, publications, foreign servers. Raises `RefusedError` as `drop_database` does, and
    `UsageError` where Citus is.
    """
    if connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'citus'").fetchone():
        raise UsageError(
            "the schemas of a database with Citus are not dropped: its extension and its list of nodes would go too",
            where=str(identity),
            next_step="drop the tables, or create the database and its extension on all nodes again",
        )
    # Before anything is decided about their rows.
    tables = every_table(connection)
    lock_tables(connection, tables, exclusive=True)
    _require_disposable(connection, identity, environment, consent=consent)
    for (statements,) in connection.execute(query("drop_schemas")).fetchall():
        connection.execute(str(statements).encode())
    return tables


def drop_database(project: Project, environment: Environment, *, consent: bool = False) -> str:
    """Drop the environment's database, and return its name.

    Raises `RefusedError` for a server that a load may not change, for a maintenance database, and without `consent` for
    rows that no load wrote; `UsageError` if there is no embedded database; `ServerError` that names the sessions if
    others are connected to it.
    """
    target = resolve_target(project, environment)
    with translated("dropping the database", target.described):
        with connected(target, create=False) as connection, connection.transaction():
            identity = identify_allowed(connection, target, environment, consent=consent)
            _require_disposable(connection, identity, environment, consent=consent)
            own, name, server = connection.backend_pid, identity.database, connection.place | {"dbname": "postgres"}
        elsewhere = replace(target, conninfo=make_conninfo(target.conninfo, **server), database="postgres")
        with connected(elsewhere) as connection:
            identify_allowed(connection, target, environment, consent=consent)
            if others := sessions_in(connection, name, own=own):
                raise ServerError(
                    "other sessions are connected to the database; it was not dropped",
                    where=str(identity),
                    observed="; ".join(others),
                    next_step="end them, and run the same command again",
                )
            connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
    return name


def _require_disposable(connection: Connection, identity: Identity, environment: Environment, *, consent: bool) -> None:
    """Raise `RefusedError` for a database whose contents may not be dropped."""
    if identity.database in _MAINTENANCE:
        raise RefusedError(
            "this is a maintenance database of the server, which is never dropped",
            where=str(identity),
            next_step="give the environment a database of its own",
        )
    tables, filled = read_tables(connection, every_table(connection)).values(), filled_tables(connection)
    ours = set(filled)
    if not (consent or environment.replace_existing):
        ours -= changed_tables(connection, tables, filled)
    require_ours(tables, ours, identity, environment, consent=consent)
