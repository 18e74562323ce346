"""Whether the tables of a database fit the entities of a snapshot: each disagreement, with the SQL that mends it."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from snapseed.errors import ConfigurationError
from snapseed.postgres.catalog import ColumnFacts, TableFacts, TableName
from snapseed.snapshot.manifest import Column, EntityRecord
from snapseed.snapshot.types import ColumnType, Family, parse_type

# Types that PostgreSQL assigns to one another.
_ASSIGNED = (
    {Family.SMALLINT, Family.INTEGER, Family.BIGINT, Family.REAL, Family.DOUBLE, Family.NUMERIC},
    {Family.DATE, Family.TIMESTAMP, Family.TIMESTAMPTZ},
)


def table_name(entity: EntityRecord) -> TableName:
    """Where the entity goes."""
    return TableName(entity.schema, entity.table)


@dataclass(frozen=True)
class Problem:
    """A disagreement as a sentence with names, and the SQL that would mend it where that is plain."""

    text: str
    mend: str | None = None


def problem(text: str, mend: str, *names: sql.Composable | str) -> Problem:
    """With the names quoted into `mend` at its braces; strings stand there as they are."""
    parts = [sql.SQL(name) if isinstance(name, str) else name for name in names]
    return Problem(text, sql.SQL(mend).format(*parts).as_string() + ";")


def schema_problems(entity: EntityRecord, facts: TableFacts | None) -> list[Problem]:
    """Everything in which a table does not fit its entity, so that its rows cannot be compared."""
    name = table_name(entity)
    if facts is None:
        return [Problem(f"table {name} does not exist")]
    if not facts.is_table:
        return [Problem(f"{name} is not a table")]
    found = (column_problem(entity, column, facts) for column in entity.columns)
    return [problem for problem in found if problem is not None]


def column_problem(entity: EntityRecord, column: Column, facts: TableFacts) -> Problem | None:
    """In what the column of a table does not fit the entity's; None where it does."""
    name, found = table_name(entity), facts.column(column.name)
    place, names = f"{name}.{column.name}", (name.identifier(), sql.Identifier(column.name), column.type)
    if found is None:
        return problem(f"{place} does not exist (expected {column.type})", "ALTER TABLE {} ADD COLUMN {} {}", *names)
    if _fits(column.kind(), found):
        return None
    text, mend = f"{place} is {found.type}, expected {column.type}", _type_mend(column.kind(), found)
    return problem(text, mend, *names) if mend else Problem(text)


def read_problems(entity: EntityRecord, facts: TableFacts | None) -> list[str]:
    """The sentences of `schema_problems`."""
    return [problem.text for problem in schema_problems(entity, facts)]


def type_of(facts: ColumnFacts) -> ColumnType | None:
    """The column's type; None for one that no snapshot has, a vector without dimensions say, which knows no limits."""
    try:
        return parse_type(facts.type)
    except ConfigurationError:
        return None


def _type_mend(kind: ColumnType, facts: ColumnFacts) -> str | None:
    """The SQL that makes the column one of `kind`; None where a default, an expression or a view would have to go."""
    target = type_of(facts)
    by_itself = target is not None and kind.is_array == target.is_array and _is_assigned(target.family, kind.family)
    if facts.generated or facts.is_used or (facts.has_default and not by_itself):
        return None
    mend = "ALTER TABLE {0} ALTER COLUMN {1} TYPE {2}"
    return mend if by_itself else mend + " USING {1}::text::{2}"


def _is_assigned(found: Family, wanted: Family) -> bool:
    """Whether PostgreSQL casts one to the other by itself (CREATE CAST, "AS ASSIGNMENT")."""
    if wanted is Family.TEXT or found is wanted is not Family.TEXT_FORM:
        return True
    return any({found, wanted} <= group for group in _ASSIGNED)


def _fits(kind: ColumnType, facts: ColumnFacts) -> bool:
    """Whether values of `kind` go into the column and have the same fingerprint there."""
    if kind.family is Family.VECTOR and facts.type == "real[]":
        return True
    if kind.family is Family.TEXT_FORM and not kind.is_array and _bare(kind.base) in map(_bare, facts.domains):
        return True
    target = type_of(facts)
    if target is None:
        return False
    texts = {Family.TEXT, Family.TEXT_FORM}
    if kind.family in texts and target.family in texts and kind.is_array == target.is_array:
        # An enum, say, stands under its own name in the snapshot; a text column takes any text.
        same_name = _bare(kind.base) == _bare(target.base)
        return same_name or (kind.family is Family.TEXT and target.base in {"text", "character varying", "citext"})
    if kind.family is Family.NUMERIC or target.family is Family.NUMERIC:
        same = kind.is_array == target.is_array  # format_type does not tell how many dimensions an array has
        return same and (kind.element or kind).name == (target.element or target).name
    return (
        kind.family is target.family and kind.is_array == target.is_array and _dimensions(kind) == _dimensions(target)
    )


def _dimensions(kind: ColumnType) -> tuple[int, ...]:
    return kind.modifiers if kind.family is Family.VECTOR else ()


def _bare(name: str) -> str:
    """A type's name without schema and quotes: format_type adds them only where the search path does not find it."""
    return name.rpartition(".")[2].strip('"')
