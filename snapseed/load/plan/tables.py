"""Decide what a load does to each table, with a reason for each choice, and refuse what needs consent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from snapseed.config import Environment
from snapseed.errors import RefusedError
from snapseed.load.plan import ChildPlan, ColumnPlan, Emptying, LeftTable, LoadPlan, Prepared, Setting, TablePlan
from snapseed.load.plan.indexes import choose_rebuild, keys_to_defer
from snapseed.load.plan.parallel import Way, choose_ways
from snapseed.load.plan.requirements import refused_upserts, require_loadable
from snapseed.load.plan.table_set import TableSet, referenced_first
from snapseed.load.request import LoadRequest, LoadSettings, Mode
from snapseed.postgres.facts import ColumnFacts, RuleFacts, TableFacts, TriggerFacts
from snapseed.postgres.fit import not_compared, type_of
from snapseed.postgres.guard import require_ours
from snapseed.snapshot.manifest import EntityRecord

# What happens to the rows of a table that is not emptied.
_STAYING = {
    Mode.APPEND: "rows are added to the existing ones",
    Mode.UPSERT: "rows go through a temporary table and replace rows that have the same key and differ",
    Mode.REPAIR: "only rows that differ are changed",
}
# In its compressed Parquet file. PostgreSQL compresses rows of 2 kB and more.
_WIDE_ROW_BYTES = 300


def plan_load(
    prepared: Prepared, request: LoadRequest = LoadRequest(), settings: LoadSettings = LoadSettings()
) -> LoadPlan:
    """The plan for the prepared entities.

    Raises `SchemaError` that lists all at once why the tables do not fit and which privileges the role lacks, and
    `UsageError` if rows refer to an empty table outside the load.
    """
    refused = refused_upserts(prepared) if request.mode is Mode.UPSERT else {}
    left = [LeftTable(name, prepared.facts[name].name, why, agrees=False) for name, why in refused.items()]
    prepared = replace(prepared, entities=[entity for entity in prepared.entities if entity.name not in refused])
    present = [entity for entity in prepared.entities if entity.name in prepared.facts]
    order = [facts.oid for facts in referenced_first([prepared.facts[entity.name] for entity in present])]
    entities = sorted(present, key=lambda entity: order.index(prepared.facts[entity.name].oid))
    load = TableSet.of(entities, prepared, request, settings)
    require_loadable(load)
    ways = choose_ways(load)
    why_lz4 = "compresses long values at a fraction of the cost of pglz; PostgreSQL reads both"
    lz4 = Setting("default_toast_compression", "lz4", why_lz4)
    return LoadPlan(
        tables=tuple(_plan_table(entity, prepared.facts[entity.name], load, ways[entity.name]) for entity in entities),
        left=(*prepared.left, *left),
        stages=prepared.stages,
        mode=request.mode,
        children=tuple(_plan_child(child, load) for child in reversed(referenced_first(prepared.children))),
        settings=(lz4,) if prepared.compression == "lz4" else (),
        recreate=request.recreate,
        dropped=prepared.dropped,
        restoration=prepared.restoration,
    )


def require_consent(prepared: Prepared, request: LoadRequest, environment: Environment, snapshot: str) -> None:
    """Raise `RefusedError` if the load needs consent that was not given. `snapshot` is the snapshot's identity.

    Rows on another server, in a partition that is a foreign table, are never written or removed, nor are those in a
    table of an extension, such as the jobs of pg_cron.
    """
    tables = [*(prepared.facts[entity.name] for entity in prepared.entities), *prepared.children]
    identity, filled = prepared.identity, prepared.filled
    assert identity is not None
    if remote := [f"{name} of {table.name}" for table in tables for name in table.foreign_partitions]:
        raise RefusedError(
            "the rows of a partition are on another server",
            where=str(identity),
            observed=f"foreign tables: {', '.join(remote)}",
            expected="partitions in this database",
            next_step="detach these partitions, or leave the table out by naming the others with --only",
        )
    if taken := [f"{table.name}, of {table.extension}" for table in tables if table.extension]:
        raise RefusedError(
            "a table belongs to an extension",
            where=str(identity),
            observed="; ".join(taken),
            expected="tables of your own",
            next_step="leave the table out by naming the others with --only",
        )
    if request.mode is not Mode.APPEND:
        if request.mode is Mode.REPAIR:
            tables = [prepared.facts[name] for name, found in prepared.changes.items() if found.commands - {"INSERT"}]
        require_ours(tables, filled.keys() - prepared.changed, identity, environment, consent=request.consent)
        return
    twice = [
        f"{facts.name} ({len(again)} of {len(entity.files)} parts)"
        for entity in prepared.entities
        if (facts := prepared.facts[entity.name]).has_rows and (found := filled.get(str(facts.name)))
        # The record of an older version of snapseed has no parts.
        if (again := found.parts & set(entity.part_digests())) or snapshot in found.identities
    ]
    if twice and not request.consent:
        raise RefusedError(
            "these tables already hold rows of this snapshot",
            where=str(identity),
            observed=f"loaded before, and not replaced since: {', '.join(sorted(twice))}",
            expected="tables to which no part of this snapshot was added yet",
            next_step="there is nothing to do if a job was only repeated; to add the rows once more, add --yes",
        )


def _plan_table(entity: EntityRecord, facts: TableFacts, load: TableSet, way: Way) -> TablePlan:
    """Everything about one table, choice by choice."""
    parallel, way_reasons = way
    targets = [(column, found) for column in entity.columns if (found := facts.column(column.name))]
    columns = tuple(
        ColumnPlan(column.name, column.kind(), type_of(found) or column.kind(), found.element_oid)
        for column, found in targets
    )
    text_only = [plan.name for plan, (_, found) in zip(columns, targets, strict=True) if not _is_binary(plan, found)]
    format_reason = "binary COPY: every column has a binary encoder"
    if text_only:
        format_reason = f"text COPY: no binary encoder for {', '.join(text_only)}"
    empty_by, empty_reason = _choose_emptying(facts, load)
    freeze, freeze_reason = _choose_freeze(facts, empty_by)
    indexes, foreign_keys, rebuild_reasons = choose_rebuild(entity, facts, load)
    make_unlogged, unlogged_reasons = _choose_logging(facts, load)
    uncompressed, storage_reasons = _choose_storage(entity, facts, load)
    triggers, rules, off_reasons = _choose_off(facts, rules=facts.owned and bool(load.commands(facts)))
    deferred = keys_to_defer(facts, load)
    names = {column.name for column in columns}
    restoration = load.prepared.restoration
    postponed, captured = restoration.postponed(facts.oid), restoration.sequences
    filling = [sequence for sequence in facts.sequences if sequence.column in names]
    sequences = tuple(sequence for sequence in filling if (sequence.schema, sequence.name) not in captured)
    if load.request.mode is Mode.REPAIR:
        # As a script sets them: in one statement, which is no other for their owner.
        following = sequences if "INSERT" in load.commands(facts) else ()
        sequences = tuple(replace(sequence, may_alter=False) for sequence in following)
    return TablePlan(
        entity=entity,
        table=facts.name,
        columns=columns,
        binary=not text_only,
        empty_by=empty_by,
        freeze=freeze,
        staged=load.request.mode is Mode.UPSERT and facts.has_rows,
        make_unlogged=make_unlogged,
        uncompressed=uncompressed,
        drop_indexes=indexes,
        drop_foreign_keys=foreign_keys,
        postponed=postponed,
        disable_triggers=triggers,
        disable_rules=rules,
        sequences=sequences,
        reasons=(
            format_reason,
            empty_reason,
            *way_reasons,
            *([] if parallel else [freeze_reason]),
            *unlogged_reasons,
            *storage_reasons,
            *rebuild_reasons,
            *(f"foreign key {key.name} is checked after all rows are in: {why}" for key, why in deferred.items()),
            *(f"{found.name} is added after the rows are in: it is not validated" for found in postponed),
            *off_reasons,
            *(f"sequence {found.name} is set as it was captured" for found in filling if found not in sequences),
            *(
                f"sequence {sequence.name} is set to continue after the loaded keys, "
                + ("by ALTER SEQUENCE" if sequence.may_alter else "by setval, last, since a rollback does not undo it")
                for sequence in sequences
            ),
        ),
        defers=bool(deferred),
        parallel=parallel,
        not_compared=not_compared(entity, facts),
        # Citus refuses conditions with functions that are not IMMUTABLE, as those that print a value are.
        updates_all=facts.citus is not None,
    )


def _plan_child(facts: TableFacts, load: TableSet) -> ChildPlan:
    """A table outside the load, which is only emptied."""
    empty_by, reason = _choose_emptying(facts, load)
    triggers, rules, off_reasons = _choose_off(facts, rules=facts.owned and empty_by is Emptying.DELETE)
    rows = load.prepared.rows_lost.get(facts.oid)
    return ChildPlan(facts.name, empty_by, triggers, rules, reasons=(reason, *off_reasons), rows=rows)


def _choose_emptying(facts: TableFacts, load: TableSet) -> tuple[Emptying, str]:
    """TRUNCATE if nothing is in the way, otherwise DELETE."""
    if load.request.mode is not Mode.REPLACE:
        is_empty = load.request.mode is Mode.UPSERT and not facts.has_rows
        return Emptying.NOTHING, f"not emptied: {_STAYING[Mode.APPEND if is_empty else load.request.mode]}"
    if facts.oid in load.truncated:
        return Emptying.TRUNCATE, "emptied by TRUNCATE: nothing outside this load refers to it"
    if "TRUNCATE" not in facts.privileges:
        return Emptying.DELETE, "emptied by DELETE: the role has no TRUNCATE privilege"
    outside = sorted({str(other.name) for other in facts.referenced_by if not other.is_among(load.truncated)})
    return Emptying.DELETE, f"emptied by DELETE: {', '.join(outside)} refers to it and is not truncated in this load"


def _choose_storage(entity: EntityRecord, facts: TableFacts, load: TableSet) -> tuple[tuple[str, ...], list[str]]:
    """The columns whose long values are stored uncompressed, in tables that are wide enough to have such values."""
    is_wide = entity.bytes >= _WIDE_ROW_BYTES * entity.rows
    is_ours = facts.kind == "r" and facts.citus is None and facts.owned and facts.oid in load.truncated
    # The server has only the slow way to compress.
    avoids = load.prepared.is_embedded and load.prepared.compression == "pglz"
    if not (avoids and is_ours and is_wide and entity.rows >= load.settings.rebuild_rows):
        return (), []
    loaded = {column.name for column in entity.columns}
    columns = tuple(column.name for column in facts.columns if column.compresses and column.name in loaded)
    if not columns:
        return (), []
    reason = (
        f"long values of {', '.join(columns)} are stored uncompressed: the server has only pglz, which takes longer"
        ' than the rest of COPY (compression = "keep" in the environment compresses them)'
    )
    return columns, [reason]


def _is_binary(column: ColumnPlan, found: ColumnFacts) -> bool:
    """Whether there is an encoder for its binary form."""
    if column.kind.has_binary_form:
        # The table's type may be citext or another type of an extension, whose binary form we do not know.
        return column.target.has_binary_form
    # The binary form of an enum is its label.
    return (found.element_kind if column.kind.is_array else found.kind) == "e"


def _choose_freeze(facts: TableFacts, empty_by: Emptying) -> tuple[bool, str]:
    """Whether COPY freezes the rows."""
    if facts.citus:
        return False, f"no FREEZE: it is a {facts.citus} table of Citus"
    if facts.kind == "p":
        return False, "no FREEZE: the table is partitioned"
    if empty_by is Emptying.TRUNCATE:
        return True, "FREEZE: truncated in this transaction, so its pages need no later vacuum"
    return False, "no FREEZE: the table is not truncated in this transaction"


def _choose_logging(facts: TableFacts, load: TableSet) -> tuple[bool, list[str]]:
    """Whether the table becomes unlogged. Only on request, because a crash of the server empties it then."""
    if facts.persistence == "u":
        return False, ["unlogged: a crash of the server empties it"]
    if not load.request.unlogged:
        return False, []
    if obstacle := load.logged.get(facts.oid):
        return False, [f"stays logged: {obstacle}"]
    return True, ["UNSAFE, by --unlogged: becomes and stays an unlogged table, which a crash of the server empties"]


def _choose_off(facts: TableFacts, *, rules: bool) -> tuple[tuple[TriggerFacts, ...], tuple[RuleFacts, ...], list[str]]:
    """The triggers, and with `rules` the rules, that are off during the load."""

    def listed(triggers: Iterable[TriggerFacts]) -> str:
        """Their names, with the table of those that belong to a partition."""
        own = (facts.schema, facts.table)
        return ", ".join(
            trigger.name if (trigger.schema, trigger.table) == own else f"{trigger.name} of {trigger.table}"
            for trigger in triggers
        )

    off = tuple(trigger for trigger in facts.triggers if trigger.owned)
    reasons = [f"off during the load: triggers {listed(off)}"] if off else []
    if on := [trigger for trigger in facts.triggers if not trigger.owned]:
        reasons.append(f"triggers {listed(on)} stay on: the role does not own the table")
    if names := ", ".join(rule.name for rule in facts.rules):
        # A rule that this load would set off and that cannot be turned off is a problem, not a choice.
        stay = f"rules {names} stay on: this load triggers none"
        reasons.append(f"off during the load: rules {names}" if rules else stay)
    return off, facts.rules if rules else (), reasons
