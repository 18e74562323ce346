"""Put a copy of a template in the place of a database: made beside it, renamed in one transaction, settings and all."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import psycopg
from psycopg import sql

from snapseed.errors import ServerError, UsageError
from snapseed.postgres.connect import Connection
from snapseed.testing.names import Run
from snapseed.testing.server import Server
from snapseed.testing.template import Template

# ALTER DATABASE … RENAME waits five seconds for sessions to go; shorter tries end those that come back meanwhile.
_TRY_MILLISECONDS = 500
_TRIES = 20
# How long a session may take to end before it counts as one that stays.
_END_MILLISECONDS = 5_000


@dataclass(frozen=True)
class Properties:
    """What belongs to a database and not to its contents: CREATE DATABASE … TEMPLATE copies none of it."""

    owner: str
    connection_limit: int
    is_template: bool
    comment: str | None
    has_acl: bool
    grants: tuple[tuple[str | None, str, bool], ...]
    settings: tuple[tuple[str | None, str, str], ...]


def read_properties(server: Server, database: str) -> Properties:
    """The properties of a database. Raises `UsageError` where something ties the server to this very database."""
    parameters = {"database": database}
    row = server.connection.execute(_PROPERTIES, parameters).fetchone()
    assert row is not None
    owner, limit, is_template, comment, has_acl, is_owner, tied = row
    if tied:
        raise UsageError(
            "the database cannot be replaced: replication is bound to it",
            where=database,
            observed=str(tied),
            expected="no logical replication slot and no subscription in it",
            next_step="drop them, or use `snapseed load`",
        )
    if not is_owner:
        raise UsageError(
            "only the owner of a database can have it replaced",
            where=database,
            observed=f"it belongs to {owner!r}, and {server.role!r} is no member of that role",
            next_step="connect as the owner or as a superuser, or use `snapseed load`",
        )
    grants = server.connection.execute(_GRANTS, parameters).fetchall()
    settings = server.connection.execute(_SETTINGS, parameters).fetchall()
    return Properties(
        owner=str(owner),
        connection_limit=int(str(limit)),
        is_template=bool(is_template),
        comment=None if comment is None else str(comment),
        has_acl=bool(has_acl),
        grants=tuple((None if role is None else str(role), str(right), bool(option)) for role, right, option in grants),
        settings=tuple((None if role is None else str(role), str(name), str(value)) for role, name, value in settings),
    )


def replace_database(server: Server, database: str, template: Template, run: Run, own: set[int]) -> int:
    """Put a copy of the template in the place of `database`, and return how many sessions were ended for it.

    Until the last moment nothing is changed; then both renames are committed together. What a crash leaves behind, the
    copy before and the old database after, belongs to `run`, and is dropped when that is cleared. `own` are sessions of
    the caller that are about to end.
    """
    properties = read_properties(server, database)
    copy, old = run.next_name(), run.next_name()
    try:
        template.copy(server, copy, owner=properties.owner)
        with server.connection.transaction():
            _apply(server.connection, copy, properties)
        sessions = _rename(server, database, copy, old, own)
    except BaseException:
        with suppress(psycopg.Error):
            server.drop(copy)
        raise
    with suppress(psycopg.Error):
        # The new one stands; the old one, if it stays now, goes when the run is cleared.
        if properties.is_template:
            server.execute("ALTER DATABASE {} IS_TEMPLATE false", old)
        server.drop(old)
    return sessions


def _rename(server: Server, database: str, copy: str, old: str, own: set[int]) -> int:
    """Give `copy` the name of `database`, and that the name `old`; return how many sessions were ended."""
    sessions = 0
    for _ in range(_TRIES):
        sessions += disconnect(server, database, own)
        with suppress(psycopg.errors.ObjectInUse, psycopg.errors.QueryCanceled), server.connection.transaction():
            server.connection.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(_TRY_MILLISECONDS))
            server.execute("ALTER DATABASE {} RENAME TO {}", database, old)
            server.execute("ALTER DATABASE {} RENAME TO {}", copy, database)
            return sessions
    raise still_in_use(server, database, "nothing was changed")


def disconnect(server: Server, database: str, own: set[int]) -> int:
    """End the sessions of clients in a database, and return how many that were, those in `own` not counted."""
    rows = server.connection.execute(
        "SELECT pid, pg_terminate_backend(pid, %s) FROM pg_stat_activity"
        " WHERE datname = %s AND backend_type = 'client backend' AND pid <> pg_backend_pid()",
        [_END_MILLISECONDS, database],
    ).fetchall()
    return sum(pid not in own for pid, _ in rows)


def still_in_use(server: Server, database: str, outcome: str) -> ServerError:
    """The error for a database whose sessions come back as fast as they are ended."""
    rows = server.connection.execute(
        "SELECT DISTINCT coalesce(nullif(application_name, ''), 'unnamed') || ', role ' || coalesce(usename, '?')"
        "  FROM pg_stat_activity WHERE datname = %s",
        [database],
    ).fetchall()
    return ServerError(
        f"others connect to the database faster than their sessions are ended; {outcome}",
        where=database,
        observed="; ".join(str(who) for (who,) in rows) or "a session, or a prepared transaction",
        next_step="stop the programs that use it, or their connection pools, and run the same command again",
    )


def _apply(connection: Connection, database: str, properties: Properties) -> None:
    name = sql.Identifier(database)
    limit = sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(name, sql.Literal(properties.connection_limit))
    connection.execute(limit)
    if properties.is_template:
        connection.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE true").format(name))
    if properties.comment is not None:
        comment = sql.SQL("COMMENT ON DATABASE {} IS {}").format(name, sql.Literal(properties.comment))
        connection.execute(comment)
    if properties.has_acl:
        owner = sql.Identifier(properties.owner)
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC, {}").format(name, owner))
    for role, right, option in properties.grants:
        grantee = sql.SQL("PUBLIC") if role is None else sql.Identifier(role)
        grant = sql.SQL("GRANT {} ON DATABASE {} TO {}").format(sql.SQL(_RIGHTS[right]), name, grantee)
        connection.execute(grant + sql.SQL(" WITH GRANT OPTION" if option else ""))
    for role, setting, value in properties.settings:
        place = sql.SQL("DATABASE {}").format(name)
        if role is not None:
            place = sql.SQL("ROLE {} IN DATABASE {}").format(sql.Identifier(role), name)
        try:
            # FROM CURRENT, because a list such as search_path must not be quoted as a whole.
            connection.execute("SELECT set_config(%s, %s, true)", [setting, value])
            identifier = sql.Identifier(*setting.split("."))
            connection.execute(sql.SQL("ALTER {} SET {} FROM CURRENT").format(place, identifier))
        except psycopg.errors.InsufficientPrivilege as exc:
            raise UsageError(
                "a setting of the database could not be carried over; nothing was changed",
                where=f"{setting} of {'the database' if role is None else f'role {role!r} in the database'}",
                observed=exc.diag.message_primary,
                next_step="connect as a superuser, or let one GRANT SET ON PARAMETER to the role (PostgreSQL 15)",
            ) from exc


_RIGHTS = {"CREATE": "CREATE", "CONNECT": "CONNECT", "TEMPORARY": "TEMPORARY"}

_PROPERTIES = """
SELECT pg_get_userbyid(datdba), datconnlimit, datistemplate, shobj_description(oid, 'pg_database'), datacl IS NOT NULL,
       pg_has_role(datdba, 'USAGE'),
       (SELECT string_agg(what, ', ')
          FROM (SELECT 'replication slot ' || slot_name FROM pg_replication_slots WHERE database = datname
                UNION ALL SELECT 'subscription ' || subname FROM pg_subscription WHERE subdbid = d.oid) bound(what))
  FROM pg_database d WHERE datname = %(database)s
"""
_GRANTS = """
SELECT CASE WHEN grantee <> 0 THEN pg_get_userbyid(grantee) END, privilege_type, bool_or(is_grantable)
  FROM pg_database, aclexplode(datacl) WHERE datname = %(database)s GROUP BY 1, 2 ORDER BY 1, 2
"""
_SETTINGS = """
SELECT CASE WHEN setrole <> 0 THEN pg_get_userbyid(setrole) END, split_part(setting, '=', 1),
       substr(setting, strpos(setting, '=') + 1)
  FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase,
       unnest(setconfig) WITH ORDINALITY listed(setting, place)
 WHERE datname = %(database)s ORDER BY setrole, place
"""
