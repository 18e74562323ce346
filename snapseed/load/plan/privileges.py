"""The privileges that a load needs and this role lacks, each with the GRANT that would give it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from psycopg import sql

from snapseed.database.catalog import TableFacts
from snapseed.load.plan.records import LoadOptions, Mode
from snapseed.snapshot.manifest import EntityRecord
from snapseed.verify.schema import Problem, problem


def privilege_problems(entity: EntityRecord, facts: TableFacts, options: LoadOptions, role: str) -> Iterator[Problem]:
    """What `role` would need on the entity's table and on the sequences behind it."""
    if "USAGE" not in facts.privileges:
        text = f"the role lacks USAGE on schema {facts.schema}"
        yield problem(text, "GRANT USAGE ON SCHEMA {} TO {}", sql.Identifier(facts.schema), _role(role))
    needed = {"INSERT": "may_insert"}
    if options.verify or options.mode is Mode.UPSERT:
        needed["SELECT"] = "may_select"
    if options.mode is Mode.UPSERT:
        needed["UPDATE"] = "may_update"
    for privilege, attribute in needed.items():
        lacking = [column.name for column in entity.columns if not getattr(facts.column(column.name), attribute)]
        if lacking:
            yield _missing(privilege, facts, role, () if len(lacking) == len(entity.columns) else lacking)
    if options.mode is Mode.REPLACE:
        yield from emptying_problems(facts, role)
    filled = {column.name for column in entity.columns}
    for sequence in facts.sequences:
        if sequence.column in filled and not (sequence.may_alter or sequence.may_set):
            name = sql.Identifier(sequence.schema, sequence.name)
            text = f"the role lacks UPDATE on sequence {sequence.schema}.{sequence.name}"
            yield problem(text, "GRANT UPDATE ON SEQUENCE {} TO {}", name, _role(role))


def emptying_problems(facts: TableFacts, role: str) -> Iterator[Problem]:
    """That the table can be emptied neither way."""
    if not facts.privileges & {"TRUNCATE", "DELETE"}:
        yield _missing("TRUNCATE", facts, role)


def _missing(privilege: str, facts: TableFacts, role: str, columns: Sequence[str] = ()) -> Problem:
    some = f" ({', '.join(columns)})" if columns else ""
    quoted = sql.SQL(" ({})").format(sql.SQL(", ").join(map(sql.Identifier, columns))) if columns else sql.SQL("")
    text = f"the role lacks {privilege}{some} on {facts.name}"
    return problem(text, f"GRANT {privilege}{{}} ON {{}} TO {{}}", quoted, facts.name.identifier(), _role(role))


def _role(name: str) -> sql.Composable:
    return sql.Identifier(name)
