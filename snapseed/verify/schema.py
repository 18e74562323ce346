"""Whether the tables of a database fit the entities of a snapshot: each disagreement as a sentence with names."""

from __future__ import annotations

from snapseed.database.catalog import ColumnFacts, TableFacts, TableName
from snapseed.errors import ConfigurationError
from snapseed.snapshot.manifest import EntityRecord
from snapseed.snapshot.types import ColumnType, Family, parse_type


def table_name(entity: EntityRecord) -> TableName:
    """Where the entity goes."""
    return TableName(entity.schema, entity.table)


def read_problems(entity: EntityRecord, facts: TableFacts | None) -> list[str]:
    """Everything in which a table does not fit its entity, so that its rows cannot be compared."""
    if facts is None:
        return [f"table {table_name(entity)} does not exist"]
    if facts.kind not in {"r", "p"}:
        return [f"{table_name(entity)} is not a table"]
    problems = []
    for column in entity.columns:
        place, found = f"{table_name(entity)}.{column.name}", facts.column(column.name)
        if found is None:
            problems.append(f"{place} does not exist (expected {column.type})")
        elif not _fits(column.kind(), found):
            problems.append(f"{place} is {found.type}, expected {column.type}")
    return problems


def load_problems(entity: EntityRecord, facts: TableFacts | None) -> list[str]:
    """Everything in which a table does not fit its entity, so that COPY would fail or fill it wrongly."""
    found = read_problems(entity, facts)
    if facts is None or found:
        return found
    generated = [column.name for column in facts.columns if column.generated]
    found += [
        f"{table_name(entity)}.{column.name} is a generated column, which takes no values"
        for column in entity.columns
        if column.name in generated
    ]
    if facts.row_security:
        found.append(f"row-level security of {table_name(entity)} applies to this role, so COPY is refused")
    names = {column.name for column in entity.columns}
    for column in facts.columns:
        fills_itself = column.has_default or column.identity or column.generated
        if column.name not in names and column.not_null and not fills_itself:
            found.append(f"{table_name(entity)}.{column.name} is NOT NULL without a default, and not in the snapshot")
    return found


def _fits(kind: ColumnType, facts: ColumnFacts) -> bool:
    """Whether values of `kind` go into the column and have the same fingerprint there."""
    if kind.family is Family.VECTOR and facts.type == "real[]":
        return True
    target = _parsed(facts.type)
    if target is None:
        return False
    texts = {Family.TEXT, Family.TEXT_FORM}
    if kind.family in texts and target.family in texts and kind.is_array == target.is_array:
        # An enum, say, stands under its own name in the snapshot; a text column takes any text.
        same_name = _bare(kind.base) == _bare(target.base)
        return same_name or (kind.family is Family.TEXT and target.base in {"text", "character varying", "citext"})
    if kind.family is Family.NUMERIC or target.family is Family.NUMERIC:
        return kind.name == target.name
    return (
        kind.family is target.family and kind.is_array == target.is_array and _dimensions(kind) == _dimensions(target)
    )


def _dimensions(kind: ColumnType) -> tuple[int, ...]:
    return kind.modifiers if kind.family is Family.VECTOR else ()


def _bare(name: str) -> str:
    """A type's name without schema and quotes: format_type adds them only where the search path does not find it."""
    return name.rpartition(".")[2].strip('"')


def _parsed(name: str) -> ColumnType | None:
    try:
        return parse_type(name)
    except ConfigurationError:
        return None
