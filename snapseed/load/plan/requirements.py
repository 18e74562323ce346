"""Find everything that would keep the load from working, before anything is changed: the schema, privileges, values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from msgspec import UNSET, UnsetType
from psycopg import sql

from snapseed.errors import SchemaError, UsageError
from snapseed.load.plan import ColumnContents, Prepared
from snapseed.load.plan.indexes import deferral_problems
from snapseed.load.plan.table_set import TableSet
from snapseed.load.request import Mode
from snapseed.postgres.facts import ColumnFacts, ForeignKeyFacts, ServerFacts, TableFacts, TableName
from snapseed.postgres.fit import (
    Problem,
    column_problem,
    declare,
    lacks_privilege,
    lacks_usage,
    problem,
    schema_problems,
    table_name,
    type_of,
)
from snapseed.snapshot.manifest import CaptureRecord, Column, EntityRecord, names_of
from snapseed.snapshot.types import ColumnType, Family

# Types whose column may hold less than the snapshot declares: text is cut or refused, fractions are rounded.
_LENGTHS = {"character varying", "character", "bit varying", "bit"}
_CHARACTERS = {"character varying", "character"}
_FRACTIONS = {Family.TIME, Family.TIMESTAMP, Family.TIMESTAMPTZ}
_MICROSECONDS = 6
_ALTER = "ALTER TABLE {} ALTER COLUMN {}"


def require_loadable(load: TableSet) -> None:
    """Raise `SchemaError` that lists every problem, with the SQL that would fix it.

    Raises `UsageError` if the loaded rows must refer to rows of a table that is not loaded and is empty.
    """
    prepared, server = load.prepared, load.prepared.server
    problems: list[Problem] = []
    for entity in prepared.entities:
        found = prepared.facts.get(entity.name)
        problems += schema_problems(entity, found)
        if found is not None and found.is_table:
            problems += _table_problems(entity, found, load, prepared.contents.get(entity.name, {}))
            problems += _privilege_problems(entity, found, load, server) if server is not None else []
    for child in prepared.children:
        problems += _changes_refused(child, load)
        if load.deletes_from(child):
            problems += _row_security(child, child.name, "DELETE would leave rows")
        problems += _emptying_problems(child, load, server.role) if server is not None else []
    problems += deferral_problems(load)
    is_staged = load.request.mode in {Mode.UPSERT, Mode.REPAIR}
    if server is not None and is_staged and not server.may_create_temporary:
        names = (sql.Identifier(server.database), sql.Identifier(server.role))
        text = f"the role may not create temporary tables in this database, which an {load.request.mode} needs"
        problems.append(problem(text, "GRANT TEMPORARY ON DATABASE {} TO {}", *names))
    problems += prepared.problems
    if problems:
        everywhere = [str(table_name(entity)) for entity in prepared.entities]
        named = {word for found in problems for word in re.findall(r"\w+", found.text)}
        tables = [name for name in everywhere if name.rpartition(".")[2] in named] or everywhere
        raise schema_error(problems, tables, prepared.capture, prepared.environment)
    _require_parents(prepared)


def schema_error(
    problems: Sequence[Problem], tables: Sequence[str], capture: CaptureRecord | UnsetType, environment: str
) -> SchemaError:
    """One error that states each of the problems once. What to do depends on whether the snapshot is a capture."""
    problems = list(dict.fromkeys(problems))
    remedies = list(dict.fromkeys(found.remedy for found in problems if found.remedy))
    if capture is UNSET:
        agree, anew = "the generators", "or, if the tables come from a schema file that has changed, create all of them"
        first = [f"change the generators, and run `snapseed generate {environment}` again:", *remedies]
        steps = [*first, f"{anew} again: snapseed load {environment} --recreate"]
    else:
        agree, anew = "the source", "create all tables again, with the schema of the capture"
        steps = [f"{anew}: snapseed load {environment} --recreate"]
        if not capture.schema:
            steps = ["capture again, with the schema"]
    steps = steps if remedies else []
    if fixes := list(dict.fromkeys(found.fix for found in problems if found.fix)):
        how_much = "it" if all(found.fix for found in problems) else "some of it"
        steps += [f"{'or change the database; ' if remedies else ''}this SQL would fix {how_much}:", *fixes]
    return SchemaError(
        "the tables of the database do not fit the snapshot",
        where=", ".join(dict.fromkeys(tables)),
        observed="; ".join(found.text for found in problems),
        next_step="\n".join(steps) or f"change the database or {agree} so that they agree",
    )


def _require_parents(prepared: Prepared) -> None:
    """A foreign key that is not enforced, or whose triggers are off, needs no parents."""
    facts = prepared.facts
    loaded = {facts[entity.name].oid for entity in prepared.entities}
    missing = [
        (str(table_name(entity)), key)
        for entity in prepared.entities
        for key in facts[entity.name].foreign_keys
        if key.has_rows is False
        and key.is_checked
        and not key.targets.union(key.below) & loaded
        and entity.rows > (0 if key.is_required else _rows_without(prepared, entity, key))
    ]
    if missing:
        others = ", ".join(dict.fromkeys(key.references_name for _, key in missing))
        is_known = all(any(found.oid in key.targets for found in facts.values()) for _, key in missing)
        raise UsageError(
            "these rows refer to rows of entities that are not part of this load",
            where=", ".join(dict.fromkeys(table for table, _ in missing)),
            observed="; ".join(f"{table} refers to {key.references_name}, which has no rows" for table, key in missing),
            expected=f"rows in {others}",
            next_step="add --with-parents to load those as well, or load them first"
            if is_known
            else f"make a snapshot that has {others} too, or load those rows first",
        )


def _rows_without(prepared: Prepared, entity: EntityRecord, key: ForeignKeyFacts) -> int:
    """At most how many rows have a NULL in the key, and so need no parent."""
    seen = prepared.contents.get(entity.name, {})
    return sum(seen[name].nulls if name in seen else entity.rows for name in key.columns)


def _table_problems(
    entity: EntityRecord, facts: TableFacts, load: TableSet, contents: Mapping[str, ColumnContents]
) -> Iterator[Problem]:
    """What keeps the rows from getting into the table. A column that does not fit at all is reported elsewhere."""
    name = table_name(entity)
    for column in entity.columns:
        if found := facts.column(column.name):
            if not column_problem(entity, column, facts):
                yield from _column_problems(entity, column, found)
            if seen := contents.get(column.name):
                yield from _content_problems(entity, column, found, seen)
    filled = {column.name for column in entity.columns}
    for found in facts.columns:
        has_value = found.has_default or found.identity or found.generated
        if found.name not in filled and found.not_null and not has_value:
            text = f"{name}.{found.name} is {_not_null(found)} without a default, and not in the snapshot"
            yield Problem(text, remedy=f"add {found.name} {found.type} to {entity.name}")
    yield from _changes_refused(facts, load)
    yield from _row_security(facts, name, "COPY is refused")
    if load.request.mode is Mode.UPSERT and facts.has_rows:
        yield from conflict_problems(entity, facts)
    is_repaired = load.request.mode is Mode.REPAIR and load.commands(facts)
    if facts.citus and is_repaired and not facts.unique_on(*names_of(entity.key)):
        yield Problem(f"{name} is a table of Citus without a unique index on its key, which a repair needs: load it")


def _column_problems(entity: EntityRecord, column: Column, found: ColumnFacts) -> Iterator[Problem]:
    """Why the column takes no values, or not all values of the snapshot's type."""
    name = table_name(entity)
    place, names = f"{name}.{column.name}", (name.identifier(), sql.Identifier(column.name))
    if found.generated:
        text = f"{place} is a generated column, which takes no values"
        yield Problem(text, remedy=f"leave {column.name} out of {entity.name}")
    elif _holds_less(type_of(found), column.kind()):
        fix = None if found.is_used else f"{_ALTER} TYPE {{}}"
        text = f"{place} is {found.type}, less than {column.type}"
        yield problem(text, fix, *names, column.type, remedy=declare(entity, found))


def _content_problems(
    entity: EntityRecord, column: Column, found: ColumnFacts, seen: ColumnContents
) -> Iterator[Problem]:
    """Values of the snapshot that the column refuses: NULL, labels that an enum lacks, texts that are too long."""
    name = table_name(entity)
    place, names = f"{name}.{column.name}", (name.identifier(), sql.Identifier(column.name))
    if found.not_null and seen.nulls:
        text = f"{place} is {_not_null(found)}, and NULL in {seen.nulls:,} rows of the snapshot"
        yield Problem(text, remedy=f"draw no NULL for {entity.name}.{column.name}")
    limit = text_limit(column, found)
    if limit is not None and seen.longest > limit:
        text = f"{place} is {found.type}, and the snapshot's longest value has {seen.longest} characters"
        fix = None if found.is_used else f"{_ALTER} TYPE varchar({seen.longest})"
        yield problem(text, fix, *names, remedy=f"{declare(entity, found)}, and draw no longer texts")
    for label in sorted(seen.labels.difference(found.labels)):
        kind = found.type.removesuffix("[]")
        text = f"{place}: the type {kind} has no label {label!r}"
        remedy = f"draw no other labels for {entity.name}.{column.name} than {', '.join(sorted(found.labels))}"
        yield problem(text, "ALTER TYPE {} ADD VALUE {}", kind, sql.Literal(label), remedy=remedy)


def _not_null(found: ColumnFacts) -> str:
    """What keeps NULL out of a column."""
    return f"NOT NULL{' by its domain' if found.domain_not_null else ''}"


def text_limit(column: Column, facts: ColumnFacts) -> int | None:
    """The most characters that the table's column takes, if the snapshot declares none: its values decide then."""
    kind = type_of(facts)
    if kind is None or kind.base not in _CHARACTERS or not kind.modifiers or kind.is_array or column.kind().modifiers:
        return None
    return kind.modifiers[0]


def refused_upserts(prepared: Prepared) -> dict[str, str]:
    """The entities that an upsert leaves out, and why: their tables hold rows and allow none, or they need such rows.

    Empty if that is all of them: then the load itself is refused.
    """
    tables = {
        entity.name: (entity, found) for entity in prepared.entities if (found := prepared.facts.get(entity.name))
    }
    refused = {
        name: "; ".join(problem.text for problem in problems)
        for name, (entity, facts) in tables.items()
        if facts.has_rows and (problems := list(conflict_problems(entity, facts)))
    }
    while needing := {
        name: f"its rows refer to those of {key.references_name}"
        for name, (_, facts) in tables.items()
        for key in facts.foreign_keys
        if name not in refused and key.is_checked and key.targets & {tables[other][1].oid for other in refused}
    }:
        refused |= needing
    return refused if len(refused) < len(tables) else {}


def conflict_problems(entity: EntityRecord, facts: TableFacts) -> Iterator[Problem]:
    """What keeps PostgreSQL from INSERT … ON CONFLICT."""
    name, unique = table_name(entity), facts.unique_on(*names_of(entity.key))
    if not entity.key:
        yield Problem(
            f"{name} has no key, so an upsert cannot tell which rows are the same: --mode replace can load it"
        )
        return
    for column in entity.columns:
        found = facts.column(column.name)
        if found is not None and found.identity == "a" and column.name not in names_of(entity.key):
            yield Problem(f"{name}.{column.name} is GENERATED ALWAYS AS IDENTITY, which an upsert cannot change")
    if facts.has_update_rule:
        yield Problem(f"{name} has a rule on UPDATE, on or off, with which PostgreSQL refuses INSERT … ON CONFLICT")
    for index in unique:
        if index.is_deferrable:
            yield Problem(f"the constraint {index.name} of {name} is DEFERRABLE, which an upsert cannot use")
    if not unique:
        text = f"no unique index on exactly {name} ({', '.join(names_of(entity.key))}), which an upsert needs"
        # A constraint on other columns than those of the table's own key would keep rows out that are right.
        own = ", ".join(facts.primary_key)
        yield Problem(text, remedy=f"give {entity.name} the key of its table: {own}" if own else None)


def _changes_refused(facts: TableFacts, load: TableSet) -> Iterator[Problem]:
    """Changes of rows that the server refuses, or on which a rule acts that this role cannot turn off."""
    commands = load.commands(facts)
    if refused := sorted(commands.intersection(facts.refuses)):
        text = f"{facts.name} is published without a replica identity, so {' and '.join(refused)} is refused"
        fix = "ALTER TABLE {} REPLICA IDENTITY FULL" if facts.kind == "r" else None
        yield problem(text, fix, facts.name.identifier())
    for rule in facts.rules:
        # A rule on UPDATE forbids any upsert, which is another problem.
        is_other = load.request.mode is Mode.UPSERT and rule.event == "UPDATE"
        if rule.event in commands and not (facts.owned or is_other):
            text = f"rule {rule.name} of {facts.name} would act on {rule.event}, and the role does not own the table"
            yield Problem(f"{text}: load as its owner, who can turn it off")


def _row_security(facts: TableFacts, name: TableName, consequence: str) -> Iterator[Problem]:
    """A policy that hides rows from this role."""
    if facts.row_security:
        text = f"row-level security of {name} applies to this role, so {consequence}: load as the table's owner"
        yield Problem(f"{text} or as a role with BYPASSRLS")


def _holds_less(target: ColumnType | None, kind: ColumnType) -> bool:
    """Whether the snapshot's type allows values that are too long or too precise for the column's type."""
    if target is None:
        return False
    target, kind = target.element or target, kind.element or kind
    if target.base != kind.base or not target.modifiers:
        return False
    if target.base in _LENGTHS:
        return bool(kind.modifiers) and kind.modifiers[0] > target.modifiers[0]
    return target.family in _FRACTIONS and target.modifiers[0] < (kind.modifiers or (_MICROSECONDS,))[0]


def _privilege_problems(
    entity: EntityRecord, facts: TableFacts, load: TableSet, server: ServerFacts
) -> Iterator[Problem]:
    """Privileges that the role lacks on the table and its sequences, each with the GRANT that gives it."""
    role, mode, commands = server.role, load.request.mode, load.commands(facts)
    columns = [found for column in entity.columns if (found := facts.column(column.name))]
    names = {column.name for column in columns}
    sequences = [sequence for sequence in facts.sequences if sequence.column in names]
    read = names if load.request.verify or mode is Mode.UPSERT else {sequence.column for sequence in sequences}
    changed = names.difference(names_of(entity.key)) if "UPDATE" in commands else set[str]()
    filled = names if mode is not Mode.REPAIR or "INSERT" in commands else set[str]()
    lacking = {
        "INSERT": [column.name for column in columns if not column.may_insert and column.name in filled],
        "SELECT": [column.name for column in columns if not column.may_select and column.name in read],
        "UPDATE": [column.name for column in columns if not column.may_update and column.name in changed],
    }
    for privilege, lacks in lacking.items():
        if lacks:
            yield lacks_privilege(privilege, facts, role, lacks)
    if mode is Mode.REPAIR and "DELETE" in commands - facts.privileges:
        yield lacks_privilege("DELETE", facts, role)
    yield from _emptying_problems(facts, load, role)
    for sequence in sequences if filled else []:
        if not sequence.may_enter:
            yield lacks_usage(sequence.schema, role)
        for privilege, allowed in (("UPDATE", sequence.may_set), ("USAGE", sequence.may_look)):
            if not (sequence.may_alter or allowed):
                name = sql.Identifier(sequence.schema, sequence.name)
                text = f"the role lacks {privilege} on sequence {sequence.schema}.{sequence.name}"
                yield problem(text, f"GRANT {privilege} ON SEQUENCE {{}} TO {{}}", name, sql.Identifier(role))


def _emptying_problems(facts: TableFacts, load: TableSet, role: str) -> Iterator[Problem]:
    """What the role lacks to reach the table, and to empty it."""
    if "USAGE" not in facts.privileges:
        yield lacks_usage(facts.schema, role)
    if load.request.mode is not Mode.REPLACE or "DELETE" in facts.privileges or facts.oid in load.truncated:
        return
    if facts.oid not in load.truncatable:
        yield lacks_privilege("DELETE", facts, role)
    elif "TRUNCATE" not in facts.privileges:
        yield lacks_privilege("TRUNCATE", facts, role)
