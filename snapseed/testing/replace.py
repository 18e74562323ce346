"""Replace a database by a copy of a template that keeps its settings: copied first, then renamed in one transaction."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import psycopg
from psycopg import sql

from snapseed.errors import ServerError, UsageError
from snapseed.events import Listener
from snapseed.postgres.connect import Connection
from snapseed.testing.server import Run, Server
from snapseed.testing.template import Template

# ALTER DATABASE … RENAME waits five seconds for sessions to go. Shorter tries end those that come back meanwhile.
_TRY_MILLISECONDS = 500
_TRIES = 20
# How long a session may take to end before it counts as one that stays.
_END_MILLISECONDS = 5_000


@dataclass(frozen=True)
class CopyReady:
    """The copy `name` is complete. The database is still in place."""

    name: str


@dataclass(frozen=True)
class CopyInPlace:
    """The copy has taken the database's name. The old database, now named `old`, has not been dropped yet."""

    old: str


@dataclass(frozen=True)
class _Properties:
    """What belongs to a database but not to its contents: CREATE DATABASE … TEMPLATE copies none of it."""

    owner: str
    connection_limit: int
    is_template: bool
    comment: str | None
    has_acl: bool
    grants: tuple[tuple[str | None, str, bool], ...]
    settings: tuple[tuple[str | None, str, str], ...]


def require_replaceable(server: Server, database: str) -> None:
    """Raise `UsageError` where the role does not own the database, or something ties the server to it."""
    _read_properties(server, database)


def replace_database(
    server: Server, database: str, template: Template, run: Run, own: set[int], listener: Listener
) -> int:
    """Put a copy of the template in the place of `database`, and return how many sessions were ended for it.

    Until the last moment nothing is changed; then both renames are committed together. If a crash leaves something
    behind (before that the copy, after it the old database), it has a name of `run`, and is dropped with that run.
    `own` are process ids of the caller's sessions that are about to end. The listener gets `CopyReady` and
    `CopyInPlace`.
    """
    properties = _read_properties(server, database)
    copy, old = run.next_name(), run.next_name()
    try:
        template.copy(server, copy, owner=properties.owner)
        with server.connection.transaction():
            _apply(server.connection, copy, properties)
        listener(CopyReady(copy))
        sessions = _rename(server, database, copy, old, own)
    except BaseException:
        with suppress(psycopg.Error):
            server.drop(copy)
        raise
    listener(CopyInPlace(old))
    with suppress(psycopg.Error):
        # If the old one cannot be dropped now, it is dropped with the run.
        if properties.is_template:
            server.execute("ALTER DATABASE {} IS_TEMPLATE false", old)
        server.drop(old)
    return sessions


def _rename(server: Server, database: str, copy: str, old: str, own: set[int]) -> int:
    """Rename `database` to `old` and `copy` to `database`; return how many sessions were ended."""
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
    """End the sessions of clients in a database, and return how many there were, without those in `own`."""
    rows = server.connection.execute(
        "SELECT pid, pg_terminate_backend(pid, %s) FROM pg_stat_activity"
        " WHERE datname = %s AND backend_type = 'client backend' AND pid <> pg_backend_pid()",
        [_END_MILLISECONDS, database],
    ).fetchall()
    return sum(pid not in own for pid, _ in rows)


def still_in_use(server: Server, database: str, outcome: str) -> ServerError:
    """The error for a database to which programs connect again as fast as their sessions are ended."""
    rows = server.connection.execute(
        "SELECT DISTINCT coalesce(nullif(application_name, ''), 'unnamed') || ', role ' || coalesce(usename, '?')"
        "  FROM pg_stat_activity WHERE datname = %s",
        [database],
    ).fetchall()
    return ServerError(
        f"programs connect to the database again faster than their sessions are ended; {outcome}",
        where=database,
        observed="; ".join(str(who) for (who,) in rows) or "a session, or a prepared transaction",
        next_step="stop the programs that use it, or their connection pools, and run the same command again",
    )


def _read_properties(server: Server, database: str) -> _Properties:
    """The properties of a database. Raises as `require_replaceable`."""
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
            "only the owner of a database can replace it",
            where=database,
            observed=f"it belongs to {owner!r}, and {server.role!r} is not a member of that role",
            next_step="connect as the owner or as a superuser, or use `snapseed load`",
        )
    grants = server.connection.execute(_GRANTS, parameters).fetchall()
    settings = server.connection.execute(_SETTINGS, parameters).fetchall()
    return _Properties(
        owner=str(owner),
        connection_limit=int(str(limit)),
        is_template=bool(is_template),
        comment=None if comment is None else str(comment),
        has_acl=bool(has_acl),
        grants=tuple((None if role is None else str(role), str(right), bool(option)) for role, right, option in grants),
        settings=tuple((None if role is None else str(role), str(name), str(value)) for role, name, value in settings),
    )


def _apply(connection: Connection, database: str, properties: _Properties) -> None:
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
            # FROM CURRENT, because a list such as search_path must not be quoted as one string.
            connection.execute("SELECT set_config(%s, %s, true)", [setting, value])
            identifier = sql.Identifier(*setting.split("."))
            connection.execute(sql.SQL("ALTER {} SET {} FROM CURRENT").format(place, identifier))
        except psycopg.errors.InsufficientPrivilege as exc:
            raise UsageError(
                "a setting of the database could not be copied; nothing was changed",
                where=f"{setting} of {'the database' if role is None else f'role {role!r} in the database'}",
                observed=exc.diag.message_primary,
                next_step="connect as a superuser, or ask one to GRANT SET ON PARAMETER to the role (PostgreSQL 15)",
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
