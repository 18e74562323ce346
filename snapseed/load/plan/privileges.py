"""The privileges that a load needs and this role lacks, each with the GRANT that would give it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from psycopg import sql

from snapseed.load.plan.records import Mode
from snapseed.load.plan.surroundings import Surroundings
from snapseed.postgres.catalog import ServerFacts, TableFacts
from snapseed.postgres.fit import Problem, problem
from snapseed.snapshot.manifest import EntityRecord, names_of


def privilege_problems(
    entity: EntityRecord, facts: TableFacts, load: Surroundings, server: ServerFacts
) -> Iterator[Problem]:
    """What the role would need on the entity's table, as far as it has the columns, and on the sequences behind it."""
    options, role = load.options, server.role
    every = [column.name for column in entity.columns if facts.column(column.name)]
    sequences = [sequence for sequence in facts.sequences if sequence.column in every]
    yield from _missing_on(facts, role, "INSERT", every)
    reads_all = options.verify or options.mode is Mode.UPSERT
    yield from _missing_on(facts, role, "SELECT", every if reads_all else [found.column for found in sequences])
    if options.mode is Mode.UPSERT:
        yield from _missing_on(facts, role, "UPDATE", [name for name in every if name not in names_of(entity.key)])
    yield from table_problems(facts, load, role)
    for sequence in sequences:
        if not sequence.may_enter:
            yield _closed(sequence.schema, role)
        for privilege, allowed in (("UPDATE", sequence.may_set), ("USAGE", sequence.may_look)):
            if not (sequence.may_alter or allowed):
                name = sql.Identifier(sequence.schema, sequence.name)
                text = f"the role lacks {privilege} on sequence {sequence.schema}.{sequence.name}"
                yield problem(text, f"GRANT {privilege} ON SEQUENCE {{}} TO {{}}", name, sql.Identifier(role))


def table_problems(facts: TableFacts, load: Surroundings, role: str) -> Iterator[Problem]:
    """What the role lacks to come to the table, and to empty it in the way in which it can be emptied."""
    if "USAGE" not in facts.privileges:
        yield _closed(facts.schema, role)
    if load.options.mode is not Mode.REPLACE or "DELETE" in facts.privileges or facts.oid in load.truncated:
        return
    if facts.oid not in load.truncatable:
        yield _missing("DELETE", facts, role)
    elif "TRUNCATE" not in facts.privileges:
        yield _missing("TRUNCATE", facts, role)


def temporary_problems(load: Surroundings, server: ServerFacts) -> Iterator[Problem]:
    """The privilege that an upsert needs on the database."""
    if load.options.mode is Mode.UPSERT and not server.may_create_temporary:
        names = (sql.Identifier(server.database), sql.Identifier(server.role))
        text = "the role may make no temporary tables in this database, which an upsert needs"
        yield problem(text, "GRANT TEMPORARY ON DATABASE {} TO {}", *names)


def _closed(schema: str, role: str) -> Problem:
    names = (sql.Identifier(schema), sql.Identifier(role))
    return problem(f"the role lacks USAGE on schema {schema}", "GRANT USAGE ON SCHEMA {} TO {}", *names)


def _missing_on(facts: TableFacts, role: str, privilege: str, columns: Sequence[str]) -> Iterator[Problem]:
    """One problem for all of `columns` on which the role lacks the privilege."""
    lacking = [name for name in columns if not _may(facts, name, privilege)]
    if lacking:
        yield _missing(privilege, facts, role, () if len(lacking) == len(facts.columns) else lacking)


def _may(facts: TableFacts, column: str, privilege: str) -> bool:
    found = facts.column(column)
    assert found is not None
    return {"INSERT": found.may_insert, "SELECT": found.may_select, "UPDATE": found.may_update}[privilege]


def _missing(privilege: str, facts: TableFacts, role: str, columns: Sequence[str] = ()) -> Problem:
    some = f" ({', '.join(columns)})" if columns else ""
    quoted = sql.SQL(" ({})").format(sql.SQL(", ").join(map(sql.Identifier, columns))) if columns else sql.SQL("")
    text = f"the role lacks {privilege}{some} on {facts.name}"
    names = (quoted, facts.name.identifier(), sql.Identifier(role))
    return problem(text, f"GRANT {privilege}{{}} ON {{}} TO {{}}", *names)
