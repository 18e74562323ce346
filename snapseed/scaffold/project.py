"""A project for the tables of a database: connect, read the catalogs, plan, ask the server about checks, write text."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from snapseed.config import interpolate
from snapseed.config.settings import variable_with
from snapseed.errors import UsageError
from snapseed.postgres.connect import connected, target_of
from snapseed.postgres.guard import identify
from snapseed.postgres.locks import reading
from snapseed.redaction import redacted, url_without_password
from snapseed.scaffold.modules import Origin, project_files
from snapseed.scaffold.plan import plan_project
from snapseed.scaffold.schema import read_schema
from snapseed.scaffold.trial import answer, refusal

_SOURCE = "--from-database"
# A function in a check may never return.
_LONGEST_CHECK = "10s"


@dataclass(frozen=True)
class Scaffold:
    """The files of a project by their paths, and what to tell people: notes on each table, remarks on the whole."""

    files: Mapping[str, str]
    notes: Mapping[str, tuple[str, ...]]
    remarks: tuple[str, ...]
    tables: int
    described: str
    lacks_password: bool


def scaffold_project(url: str) -> Scaffold:
    """The files of a project for the tables of a database.

    Only catalogs are read, and only checks are evaluated, in one transaction that may not write. Rows are tried in
    temporary tables, by transactions that are rolled back. `url` may contain `${NAME}`. Raises `UsageError` if there is
    no table to make rows for, and what connecting raises.
    """
    filled, _ = interpolate(url, where=_SOURCE)
    target = target_of(filled, _SOURCE)
    with reading(target, "reading the catalogs") as connection, connected(target, create=False) as trying:
        tables = read_schema(connection)
        for session in (connection, trying):
            session.execute(sql.SQL("SET statement_timeout = {}").format(sql.Literal(_LONGEST_CHECK)))
        plan = plan_project(tables, partial(answer, connection), partial(refusal, trying))
        identity = identify(connection)
    if not plan.entities:
        raise UsageError(
            "there is no table to make rows for",
            where=target.described,
            observed="; ".join(f"{table}: {why}" for table, why in plan.left_out.items()) or "no tables",
            expected="tables in a schema that this role may use, apart from those of extensions",
            next_step="make the tables first, with the application's migrations",
        )
    is_here = identity.address is None or ipaddress.ip_address(identity.address).is_loopback
    origin = origin_of(url, filled, None if is_here else identity.host or identity.address)
    remarks = [f"left out: {table}: {why}" for table, why in plan.left_out.items()]
    if origin.lacks_password:
        remarks.append("the password is not written: give it in PGPASSWORD or libpq's password file")
    filled_tables = [str(table) for table in tables if table.has_rows and str(table) not in plan.left_out]
    if filled_tables:
        remarks.insert(0, f"these tables hold rows, which a load would replace: {', '.join(filled_tables)}")
    return Scaffold(
        files=project_files(plan, origin),
        notes={entity.table or entity.name: entity.notes for entity in plan.entities if entity.notes},
        remarks=tuple(remarks),
        tables=len(plan.entities),
        described=target.described,
        lacks_password=origin.lacks_password,
    )


def origin_of(url: str, filled: str, host: str | None) -> Origin:
    """How snapseed.toml names the database: as given, by a variable that holds it, or without its password."""
    if url != filled or redacted(url) == url:
        return Origin(url, host)
    if name := variable_with(url):
        return Origin(f"${{{name}}}", host)
    if "://" in url and (bare := url_without_password(url)) is not None:
        return Origin(bare, host, lacks_password=True)
    settings = [make_conninfo("", **{name: value}) for name, value in conninfo_to_dict(url).items()]
    return Origin(" ".join(text for text in settings if redacted(text) == text), host, lacks_password=True)
