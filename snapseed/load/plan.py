"""Decide what a load will do to each table, and why, from the manifest and the catalogs. Pure: touches nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from snapseed.database.catalog import ForeignKeyFacts, IndexFacts, SequenceFacts, TableFacts, TableName, TriggerFacts
from snapseed.errors import SchemaError
from snapseed.snapshot.manifest import Column, EntityRecord
from snapseed.snapshot.types import ColumnType, parse_type
from snapseed.verify.schema import load_problems, table_name

# From this many rows on, indexes and foreign keys are dropped before the rows and made again behind them. Measured
# (docs/benchmarks.md): a foreign key gains a fifth and more from a thousand rows on, an index in key order never loses
# much (5 %), one out of order gains from fifty thousand.
REBUILD_ROWS = 2_000


@dataclass(frozen=True)
class ColumnPlan:
    """A column of the COPY statement: the snapshot's type, and the type the table has."""

    name: str
    kind: ColumnType
    target: ColumnType
    element_oid: int


@dataclass(frozen=True)
class TablePlan:
    """What happens to one table. `reasons` says, in words, why each choice was made."""

    entity: EntityRecord
    table: TableName
    columns: tuple[ColumnPlan, ...]
    binary: bool
    empty_by: str
    freeze: bool
    drop_indexes: tuple[IndexFacts, ...]
    drop_foreign_keys: tuple[ForeignKeyFacts, ...]
    disable_triggers: tuple[TriggerFacts, ...]
    sequences: tuple[SequenceFacts, ...]
    reasons: tuple[str, ...]

    @property
    def rebuilt(self) -> list[str]:
        """The names of what is dropped and made again."""
        return [*(index.name for index in self.drop_indexes), *(key.name for key in self.drop_foreign_keys)]


@dataclass(frozen=True)
class LoadPlan:
    """The tables in the order in which they are loaded."""

    tables: tuple[TablePlan, ...]

    @property
    def rows(self) -> int:
        """Rows to load."""
        return sum(table.entity.rows for table in self.tables)


def plan_load(entities: Sequence[EntityRecord], facts: Mapping[str, TableFacts]) -> LoadPlan:
    """The plan for `entities`, given the facts of their tables by entity name.

    Raises `SchemaError` that lists everything in which the tables do not fit the snapshot, all at once.
    """
    problems = [problem for entity in entities for problem in load_problems(entity, facts.get(entity.name))]
    if problems:
        raise SchemaError(
            "the tables of the database do not fit the snapshot",
            where=", ".join(dict.fromkeys(str(table_name(entity)) for entity in entities)),
            observed="; ".join(problems),
            next_step="change the schema or the generators so that they agree",
        )
    ordered = _ordered(entities, facts)
    tables = {facts[entity.name].oid: facts[entity.name] for entity in ordered}
    truncated = _truncatable(tables)
    return LoadPlan(
        tuple(
            _plan_table(entity, facts[entity.name], truncated, later=set(list(tables)[position + 1 :]))
            for position, entity in enumerate(ordered)
        )
    )


def _truncatable(tables: Mapping[int, TableFacts]) -> set[int]:
    """The tables that one TRUNCATE may name: whatever refers to one of them is among them."""
    truncated = set(tables)

    def is_blocked(facts: TableFacts) -> bool:
        return any(other.oid not in truncated for other in facts.referenced_by)

    while blocked := {oid for oid in truncated if is_blocked(tables[oid])}:
        truncated -= blocked
    return truncated


def _plan_table(entity: EntityRecord, facts: TableFacts, truncated: set[int], later: set[int]) -> TablePlan:
    columns = tuple(_plan_column(column, facts) for column in entity.columns)
    binary, format_reason = _choose_format(columns, facts)
    empty_by, empty_reason = _choose_emptying(facts, truncated)
    freeze = empty_by == "truncate" and facts.kind == "r"
    indexes, foreign_keys, rebuild_reasons = _choose_rebuild(entity, facts, later)
    filled = {column.name for column in columns}
    return TablePlan(
        entity=entity,
        table=facts.name,
        columns=columns,
        binary=binary,
        empty_by=empty_by,
        freeze=freeze,
        drop_indexes=indexes,
        drop_foreign_keys=foreign_keys,
        disable_triggers=facts.triggers if facts.owned else (),
        sequences=tuple(sequence for sequence in facts.sequences if sequence.column in filled),
        reasons=(
            format_reason,
            empty_reason,
            "FREEZE: truncated in this transaction, so its pages need no later vacuum"
            if freeze
            else "no FREEZE: it needs an ordinary table, truncated in this transaction",
            *rebuild_reasons,
            *_trigger_reasons(facts),
        ),
    )


def _choose_format(columns: Sequence[ColumnPlan], facts: TableFacts) -> tuple[bool, str]:
    """Whether binary COPY can carry every column."""
    text_only = [column.name for column in columns if not _is_binary(column, facts)]
    if text_only:
        return False, f"text COPY: {', '.join(text_only)} has no binary encoder"
    return True, "binary COPY: every column has a binary encoder"


def _choose_emptying(facts: TableFacts, truncated: set[int]) -> tuple[str, str]:
    if facts.oid in truncated:
        return "truncate", "emptied by TRUNCATE: nothing outside this load refers to it"
    outside = [other.table for other in facts.referenced_by if other.oid not in truncated]
    return "delete", f"emptied by DELETE: {', '.join(outside)} refers to it and is not truncated in this load"


def _choose_rebuild(
    entity: EntityRecord, facts: TableFacts, later: set[int]
) -> tuple[tuple[IndexFacts, ...], tuple[ForeignKeyFacts, ...], list[str]]:
    """The indexes and foreign keys to drop before the rows and to make again behind them.

    Where keys form a cycle, some refer to a table that is loaded `later`: those are dropped however few the rows.
    """
    if not facts.owned:
        return (), (), ["indexes and foreign keys stay: the role does not own the table"]
    if facts.kind != "r":
        return (), (), ["indexes and foreign keys stay: the table is partitioned"]
    if entity.rows < REBUILD_ROWS:
        cycle = tuple(key for key in facts.foreign_keys if key.references in later and not key.keep_reason)
        reasons = [f"indexes and foreign keys stay: fewer than {REBUILD_ROWS:,} rows"]
        reasons += [f"but {key.name} is dropped and made again: it refers to rows that come later" for key in cycle]
        return (), cycle, reasons
    reasons = [f"index {index.name} stays: {index.keep_reason}" for index in facts.indexes if index.keep_reason]
    reasons += [f"foreign key {key.name} stays: {key.keep_reason}" for key in facts.foreign_keys if key.keep_reason]
    indexes = tuple(index for index in facts.indexes if not index.keep_reason)
    foreign_keys = tuple(key for key in facts.foreign_keys if not key.keep_reason)
    dropped = [*(index.name for index in indexes), *(key.name for key in foreign_keys)]
    if dropped:
        reasons.append(f"dropped, and made again behind the rows: {', '.join(dropped)}")
    return indexes, foreign_keys, reasons


def _trigger_reasons(facts: TableFacts) -> list[str]:
    if not facts.triggers:
        return []
    names = ", ".join(trigger.name for trigger in facts.triggers)
    if facts.owned:
        return [f"off during the load: triggers {names}"]
    return [f"triggers {names} stay on: the role does not own the table"]


def _plan_column(column: Column, facts: TableFacts) -> ColumnPlan:
    found = facts.column(column.name)
    assert found is not None
    return ColumnPlan(column.name, column.kind(), parse_type(found.type), found.element_oid)


def _is_binary(column: ColumnPlan, facts: TableFacts) -> bool:
    """Known types have an encoder; an enum's binary form is its label."""
    if column.kind.has_binary_form:
        # A text column may stand over citext or another type of an extension, whose binary form is not ours to know.
        return column.target.has_binary_form
    found = facts.column(column.name)
    assert found is not None
    return (found.element_kind if column.kind.is_array else found.kind) == "e"


def _ordered(entities: Sequence[EntityRecord], facts: Mapping[str, TableFacts]) -> list[EntityRecord]:
    """Referenced tables before those that refer to them; in a cycle, the manifest's order decides."""
    by_oid = {facts[entity.name].oid: entity for entity in entities}
    ordered: list[EntityRecord] = []
    visiting: set[str] = set()

    def visit(entity: EntityRecord) -> None:
        if entity in ordered or entity.name in visiting:
            return
        visiting.add(entity.name)
        for foreign_key in facts[entity.name].foreign_keys:
            if foreign_key.references in by_oid:
                visit(by_oid[foreign_key.references])
        ordered.append(entity)

    for entity in entities:
        visit(entity)
    return ordered
