"""A project for the tables of a database: connect, read the catalogs, plan, ask the server about checks, write text."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from snapseed.capture.mask.personal import values_in_schema
from snapseed.config import Project
from snapseed.config.settings import interpolate, variable_with
from snapseed.errors import UsageError
from snapseed.generate.entity import Entity
from snapseed.generate.generators import load_generators
from snapseed.postgres.connect import connected, target_of
from snapseed.postgres.guard import identify
from snapseed.postgres.locks import reading
from snapseed.redaction import redacted, url_without_password
from snapseed.scaffold.decide.trial import answer, refusal
from snapseed.scaffold.expressions import NOW
from snapseed.scaffold.kept import HeldRows, read_held_rows
from snapseed.scaffold.modules import Origin, Scaffold, generator_files, settings_of
from snapseed.scaffold.plan import ProjectPlan, plan_project
from snapseed.scaffold.schema import Table, read_schema
from snapseed.scaffold.update import tables_of, update_project

_SOURCE = "--from-database"
_HOW_TO_FILL = (
    "--keep-small keeps the rows of every small table that has no personal columns",
    "--keep-rows TABLE keeps the rows of one table",
    "--include-filled generates other rows for all of them",
)
_LONGEST_CHECK = "10s"  # A function in a check may never return


@dataclass(frozen=True)
class ScaffoldRequest:
    """A project for the tables of the database at `url`, which may contain `${NAME}`.

    `keep_rows` names tables that keep their rows, with `keep_small` all small ones without personal columns do. Others
    that hold rows are left out, unless `include_filled`: then rows for them take their shape from PostgreSQL's
    `statistics`. With a project to `update`, only what it lacks is made.
    """

    url: str
    keep_rows: Sequence[str] = ()
    keep_small: bool = False
    include_filled: bool = False
    statistics: bool = True
    update: Project | None = None


@dataclass(frozen=True)
class _Found:
    """What the database says: its tables, what they hold, what is planned, and how to name the database."""

    tables: Sequence[Table]
    held: HeldRows
    plan: ProjectPlan
    described: str
    origin: Origin
    exposed: Sequence[str]


def scaffold_project(request: ScaffoldRequest) -> Scaffold:
    """The files of a project for the tables of a database.

    One transaction that may not write reads catalogs and the rows to keep, and evaluates checks; others, rolled back,
    try rows in temporary tables. Raises `UsageError` without a table, and for rows that cannot be kept.
    """
    if request.update is None:
        return _new(request, _read(request, []))
    entities = list(load_generators(request.update.generators).entities.values())
    found = _read(request, entities)
    return update_project(request.update.generators, entities, found.tables, found.plan)


def _read(request: ScaffoldRequest, entities: Sequence[Entity]) -> _Found:
    """Read the catalogs and plan all entities. The rows in the tables of these `entities` are the project's own."""
    url = interpolate(request.url, where=_SOURCE)[0]
    target = target_of(url, _SOURCE)
    with reading(target, "reading the catalogs") as connection, connected(target, create=False) as trying:
        tables = read_schema(connection, with_statistics=request.statistics and request.include_filled)
        for session in (connection, trying):
            session.execute(sql.SQL("SET statement_timeout = {}").format(sql.Literal(_LONGEST_CHECK)))
        chosen = tables if request.include_filled else tables_of(entities, tables).values()
        included = {table.oid for table in chosen}
        held = read_held_rows(connection, tables, request.keep_rows, small=request.keep_small, included=included)
        known = [found.until for table in tables for found in table.statistics.values() if found.until is not None]
        now = request.update.now if request.update else max(known, default=NOW)
        plan = plan_project(tables, partial(answer, connection), held, partial(refusal, trying), now)
        identity, exposed = identify(connection), values_in_schema(connection)
    is_here = identity.address is None or ipaddress.ip_address(identity.address).is_loopback
    origin = origin_of(request.url, url, None if is_here else identity.host or identity.address)
    return _Found(tables, held, plan, target.described, origin, exposed)


def _new(request: ScaffoldRequest, found: _Found) -> Scaffold:
    """A project for all tables."""
    plan, held, origin = found.plan, found.held, found.origin
    # The shortest reasons first: they are the plainest.
    left_out = [f"{table}: {why}" for table, why in sorted(plan.left_out.items(), key=lambda item: len(item[1]))]
    if not plan.entities:
        raise UsageError(
            "there is no table to make rows for",
            where=found.described,
            observed="; ".join(left_out) or "no tables",
            expected="tables in a schema that this role may use, apart from those of extensions",
            next_step="; ".join(_HOW_TO_FILL) if held.by_others else "make the tables first: migrate the application",
        )
    copied = [f"{entity.table or entity.name}.{name}" for entity in plan.entities for name in entity.copied]
    copied += [f"all of {entity.table or entity.name}" for entity in plan.entities if entity.pool]
    remarks = [f"left out: {reason}" for reason in left_out]
    if held.by_others:
        remarks += ["tables that hold rows are left out, and no load touches them:", *map("  {}".format, _HOW_TO_FILL)]
    if held.personal:
        remarks.append(f"the pools hold what looks personal: {', '.join(held.personal)}; check before you commit")
    remarks += _about_replaced(request, found)
    if found.exposed:
        remarks.append(f"these values in the schema look personal, and may be drawn: {', '.join(found.exposed)}")
    if copied:
        remarks.append(f"values taken from the source: {', '.join(copied)}; read them before you commit")
    if origin.lacks_password:
        remarks.append("the password is not written: give it in PGPASSWORD or libpq's password file")
    count = len(plan.entities)
    return Scaffold(
        heading=f"generators for {count} table{'s' * (count != 1)} of {found.described}:",
        files={"snapseed.toml": settings_of(plan, origin), **generator_files(plan)},
        notes={entity.table or entity.name: entity.notes for entity in plan.entities if entity.notes},
        remarks=tuple(remarks),
        next_steps=(*["export PGPASSWORD=PASSWORD"] * origin.lacks_password, "snapseed generate", "snapseed load"),
    )


def _about_replaced(request: ScaffoldRequest, found: _Found) -> Iterator[str]:
    """What to know about tables that hold rows and get others: what is in the way, and which were not analyzed."""
    filled = [table for table in found.tables if table.has_rows and table.oid not in found.held.kept]
    replaced = {table.oid: table for table in filled if str(table) not in found.plan.left_out}
    if not replaced:
        return
    yield f"a load would replace the rows now in these tables: {', '.join(map(str, replaced.values()))}"
    if found.plan.scale:
        yield f"for as many rows as the source has: snapseed generate --scale {found.plan.scale}"
    others = [table for table in filled if table.oid not in replaced]
    if blocking := [str(table) for table in others if any(key.target in replaced for key in table.foreign_keys)]:
        yield f"a load stops, unless --with-children empties those that refer to them: {', '.join(blocking)}"
    if hidden := [str(table) for table in filled if any(found.is_hidden for found in table.statistics.values())]:
        yield f"only their owner may read the extended statistics of these tables: {', '.join(hidden)}; not used"
    if unknown := [str(table) for table in replaced.values() if request.statistics and not table.statistics]:
        yield f"PostgreSQL has no statistics of these tables: {', '.join(unknown)}; ANALYZE them, and repeat this"


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
