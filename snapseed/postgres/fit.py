"""Does a table fit an entity? Every mismatch, with the SQL that fixes it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from psycopg import sql

from snapseed.config.settings import suggestion
from snapseed.errors import ConfigurationError, SchemaError
from snapseed.postgres import listed
from snapseed.postgres.catalog import read_tables
from snapseed.postgres.connect import Connection
from snapseed.postgres.facts import ColumnFacts, TableFacts, TableName
from snapseed.snapshot.manifest import Column, EntityRecord
from snapseed.snapshot.types import ColumnType, Family, parse_type

# PostgreSQL converts the types of a group to one another on assignment.
_ASSIGNED = (
    {Family.SMALLINT, Family.INTEGER, Family.BIGINT, Family.REAL, Family.DOUBLE, Family.NUMERIC},
    {Family.DATE, Family.TIMESTAMP, Family.TIMESTAMPTZ},
)


def table_name(entity: EntityRecord) -> TableName:
    """The table that the entity names; without a schema, the search path finds it."""
    return TableName(entity.schema, entity.table)


@dataclass(frozen=True)
class Problem:
    """A mismatch in words, the SQL that would fix it if one plain statement can, and what generators can do instead."""

    text: str
    fix: str | None = None
    remedy: str | None = None


def problem(text: str, fix: str | None, *names: sql.Composable | str, remedy: str | None = None) -> Problem:
    """A problem whose fix, if any, has `names` at its braces: identifiers quoted, strings as they are."""
    if fix is None:
        return Problem(text, remedy=remedy)
    parts = [sql.SQL(name) if isinstance(name, str) else name for name in names]
    return Problem(text, sql.SQL(fix).format(*parts).as_string() + ";", remedy)


def schema_problems(entity: EntityRecord, facts: TableFacts | None) -> list[Problem]:
    """Why the rows of a table cannot be compared with those of its entity; empty if they can."""
    name = table_name(entity)
    if facts is None:
        return [Problem(f"table {name} does not exist", remedy=f"remove {entity.name}")]
    if not facts.is_table:
        return [Problem(f"{name} is not a table")]
    found = (column_problem(entity, column, facts) for column in entity.columns)
    return [problem for problem in found if problem is not None]


def not_compared(entity: EntityRecord, facts: TableFacts) -> tuple[str, ...]:
    """The columns of a table that its entity lacks: generated, or left to the database. Nothing says what they hold."""
    known = {column.name for column in entity.columns}
    return tuple(
        f"{column.name} (generated)" if column.generated else column.name
        for column in facts.columns
        if column.name not in known
    )


def fitting_tables(
    connection: Connection, entities: Sequence[EntityRecord]
) -> tuple[list[str], list[tuple[EntityRecord, TableFacts]]]:
    """Why tables do not fit their entities, in words; and each entity whose table fits, with the table."""
    facts = read_tables(connection, [table_name(entity) for entity in entities])
    problems: list[str] = []
    fitting = []
    for entity in entities:
        found = facts.get(table_name(entity))
        misfits = schema_problems(entity, found)
        problems += [problem.text for problem in misfits]
        if found is not None and not misfits:
            fitting.append((entity, found))
    require_readable(connection, ((found, {column.name for column in entity.columns}) for entity, found in fitting))
    return problems, fitting


def lacks_usage(schema: str, role: str) -> Problem:
    """The role may not use the schema."""
    names = (sql.Identifier(schema), sql.Identifier(role))
    return problem(f"the role lacks USAGE on schema {schema}", "GRANT USAGE ON SCHEMA {} TO {}", *names)


def lacks_privilege(privilege: str, facts: TableFacts, role: str, columns: Sequence[str] = ()) -> Problem:
    """The role lacks a privilege on these columns; on the whole table if none are named, or all."""
    names = (facts.name.identifier(), sql.Identifier(role))
    if len(columns) in {0, len(facts.columns)}:
        return problem(f"the role lacks {privilege} on {facts.name}", f"GRANT {privilege} ON {{}} TO {{}}", *names)
    text = f"the role lacks {privilege} ({', '.join(columns)}) on {facts.name}"
    return problem(text, f"GRANT {privilege} ({{}}) ON {{}} TO {{}}", listed(columns), *names)


def unreadable(facts: TableFacts, columns: Collection[str], role: str) -> Iterator[Problem]:
    """What the role lacks to read these columns."""
    if "USAGE" not in facts.privileges:
        yield lacks_usage(facts.schema, role)
    if lacking := [column.name for column in facts.columns if column.name in columns and not column.may_select]:
        yield lacks_privilege("SELECT", facts, role, lacking)


def require_readable(connection: Connection, tables: Iterable[tuple[TableFacts, Collection[str]]]) -> None:
    """Raise `SchemaError` with every GRANT that the role lacks to read these columns of tables."""
    ((role,),) = connection.execute("SELECT current_user").fetchall()
    lacking = [found for facts, columns in tables for found in unreadable(facts, columns, str(role))]
    if lacking:
        raise misfit("the role may not read these tables", f"database {connection.info.dbname!r}", lacking)


def misfit(summary: str, where: str, problems: Sequence[Problem], advice: str | None = None) -> SchemaError:
    """The error that lists these problems, with the SQL that fixes them; `advice` if no SQL does."""
    fixes = dict.fromkeys(found.fix for found in problems if found.fix)
    return SchemaError(
        summary,
        where=where,
        observed="; ".join(dict.fromkeys(found.text for found in problems)),
        next_step="\n".join(["this SQL would fix it:", *fixes]) if fixes else advice,
    )


def column_problem(entity: EntityRecord, column: Column, facts: TableFacts) -> Problem | None:
    """Why a column of the entity does not fit its table; None if it does."""
    name, found = table_name(entity), facts.column(column.name)
    place, names = f"{name}.{column.name}", (name.identifier(), sql.Identifier(column.name), column.type)
    if found is None:
        meant = suggestion(column.name, [facts.name for facts in facts.columns])
        text = f"{place} does not exist (expected {column.type})"
        remedy = f"{meant} Otherwise, " * bool(meant) + f"leave {column.name} out of {entity.name}"
        return problem(text, "ALTER TABLE {} ADD COLUMN {} {}", *names, remedy=remedy)
    if _fits(column.kind(), found):
        return None
    text, remedy = f"{place} is {found.type}, expected {column.type}", declare(entity, found)
    return problem(text, _type_fix(column.kind(), found), *names, remedy=remedy)


def declare(entity: EntityRecord, facts: ColumnFacts) -> str:
    """What an entity has to declare to fit the column of its table."""
    return f"declare {entity.name}.{facts.name} as {facts.type}"


def type_of(facts: ColumnFacts) -> ColumnType | None:
    """The column's type; None for one that a snapshot cannot have, such as a vector without dimensions."""
    try:
        return parse_type(facts.type)
    except ConfigurationError:
        return None


def _type_fix(kind: ColumnType, facts: ColumnFacts) -> str | None:
    """The SQL that changes the column to `kind`; None if a default, an expression or a view would be in its way."""
    target = type_of(facts)
    is_cast = target is not None and kind.is_array == target.is_array and _is_assigned(target.family, kind.family)
    if facts.generated or facts.is_used or (facts.has_default and not is_cast):
        return None
    fix = "ALTER TABLE {0} ALTER COLUMN {1} TYPE {2}"
    return fix if is_cast else fix + " USING {1}::text::{2}"


def _is_assigned(found: Family, wanted: Family) -> bool:
    """Whether PostgreSQL casts one to the other without USING (CREATE CAST, "AS ASSIGNMENT")."""
    if wanted is Family.TEXT or found is wanted is not Family.TEXT_FORM:
        return True
    return any({found, wanted} <= group for group in _ASSIGNED)


def _fits(kind: ColumnType, facts: ColumnFacts) -> bool:
    """Whether the column can hold values of `kind`, and they have the same fingerprint there."""
    if kind.name == facts.catalog_name or (kind.family is Family.VECTOR and facts.type == "real[]"):
        return True
    if kind.family is Family.TEXT_FORM and not kind.is_array and _bare(kind.base) in map(_bare, facts.domains):
        return True
    target = type_of(facts)
    # format_type does not say how many dimensions an array has.
    if target is None or kind.is_array != target.is_array:
        return False
    families = {kind.family, target.family}
    if families <= {Family.TEXT, Family.TEXT_FORM}:
        # The snapshot knows an enum by its own name; a text column takes any text.
        same_name = _bare(kind.base) == _bare(target.base)
        return same_name or (kind.family is Family.TEXT and target.base in {"text", "character varying", "citext"})
    if Family.NUMERIC in families:
        return (kind.element or kind).name == (target.element or target).name
    return kind.family is target.family and (kind.family is not Family.VECTOR or kind.modifiers == target.modifiers)


def _bare(name: str) -> str:
    """A type's name without schema and quotes: format_type adds them if the search path does not find the type."""
    return name.rpartition(".")[2].strip('"')
