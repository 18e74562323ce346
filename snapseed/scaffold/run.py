"""From the URL of a database to the files of a project: connect, read the catalogs, plan, write as text."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from snapseed.config import interpolate
from snapseed.errors import UsageError
from snapseed.postgres.connect import Connection, connected, target_of
from snapseed.postgres.failures import translated
from snapseed.postgres.guard import identify
from snapseed.redaction import redacted
from snapseed.scaffold.plan import plan_project
from snapseed.scaffold.project import Origin, project_files
from snapseed.scaffold.read import read_schema

_SOURCE = "--from-database"
# The variable that a URL with a password is taken from, where it is the same.
_USUAL_VARIABLE = "${DATABASE_URL:-}"
# What stands between `user:` and the last @ of a URL.
_PASSWORD = re.compile(r"(?<=://)(?P<user>[^:/?#@\s]*):[^/?#]*(?=@)")


@dataclass(frozen=True)
class Scaffold:
    """The files of a project by their paths, and what people should know of it: by table, and of the whole."""

    files: Mapping[str, str]
    notes: Mapping[str, tuple[str, ...]]
    remarks: tuple[str, ...]
    tables: int
    described: str
    has_rows: bool


def scaffold_project(url: str) -> Scaffold:
    """A first project for the tables of a database, whose catalogs are read and nothing else.

    `url` may have `${NAME}` in it. Raises `UsageError` where there is no table to make rows for, and what connecting
    raises.
    """
    filled, _ = interpolate(url, where=_SOURCE)
    target = target_of(filled, _SOURCE)
    with (
        connected(target) as connection,
        translated("reading the catalogs", target.described),
        connection.transaction(),
    ):
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        tables = read_schema(connection)
        host = _host_beyond(connection)
    plan = plan_project(tables)
    if not plan.entities:
        raise UsageError(
            "there is no table to make rows for",
            where=target.described,
            observed="; ".join(f"{table}: {why}" for table, why in plan.left_out.items()) or "no tables",
            expected="tables in a schema that this role may use, apart from those of extensions",
            next_step="make the tables first, with the application's migrations",
        )
    origin = origin_of(url, filled, host)
    notes = {plan.table or plan.name: plan.notes for plan in plan.entities if plan.notes}
    remarks = [f"left out: {table}: {why}" for table, why in plan.left_out.items()]
    if origin.lacks_password:
        remarks.append("the password is not written: give it in PGPASSWORD or libpq's password file")
    return Scaffold(
        files=project_files(plan, origin),
        notes=notes,
        remarks=tuple(remarks),
        tables=len(plan.entities),
        described=target.described,
        has_rows=any(table.has_rows for table in tables),
    )


def origin_of(url: str, filled: str, host: str | None) -> Origin:
    """How the configuration names the database: as given, by the variable that holds it, or without a password."""
    if url != filled:
        return Origin(url, host)
    if redacted(url) == url:
        return Origin(url, host)
    if interpolate(_USUAL_VARIABLE, where=_SOURCE)[0] == url:
        return Origin("${DATABASE_URL}", host)
    if "://" in url:
        bare = _PASSWORD.sub(r"\g<user>", url)
        if redacted(bare) == bare:
            return Origin(bare, host, lacks_password=True)
    parts = {name: value for name, value in conninfo_to_dict(url).items() if name not in {"password", "sslpassword"}}
    return Origin(make_conninfo("", **parts), host, lacks_password=True)


def _host_beyond(connection: Connection) -> str | None:
    """The server's name, or else its address, where it is not this machine."""
    identity = identify(connection)
    if identity.address is None or ipaddress.ip_address(identity.address).is_loopback:
        return None
    return identity.host or identity.address
