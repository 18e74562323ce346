"""The choices for one table, each with its reason in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from snapseed.load.plan.rebuild import choose_rebuild, keys_ahead
from snapseed.load.plan.records import ColumnPlan, EmptiedTable, Emptying, Mode, Setting, TablePlan
from snapseed.load.plan.surroundings import Surroundings, referenced_first
from snapseed.postgres.catalog import ServerFacts, TableFacts, TriggerFacts
from snapseed.postgres.fit import type_of
from snapseed.snapshot.manifest import Column, EntityRecord


def plan_table(entity: EntityRecord, facts: TableFacts, load: Surroundings) -> TablePlan:
    """The plan for one table of the load."""
    options = load.options
    columns = tuple(_plan_column(column, facts) for column in entity.columns)
    binary, format_reason = _choose_format(columns, facts)
    empty_by, empty_reason = choose_emptying(facts, load)
    freeze = empty_by is Emptying.TRUNCATE and facts.kind == "r"
    indexes, foreign_keys, rebuild_reasons = choose_rebuild(entity, facts, load)
    make_unlogged, unlogged_reasons = _choose_logging(facts, load)
    disables_rules = facts.owned and (empty_by is Emptying.DELETE or options.mode is Mode.UPSERT)
    filled = {column.name for column in columns}
    deferred = [key.name for key in keys_ahead(facts, load)]
    return TablePlan(
        entity=entity,
        table=facts.name,
        columns=columns,
        binary=binary,
        empty_by=empty_by,
        freeze=freeze,
        staged=options.mode is Mode.UPSERT,
        make_unlogged=make_unlogged,
        drop_indexes=indexes,
        drop_foreign_keys=foreign_keys,
        disable_triggers=tuple(trigger for trigger in facts.triggers if trigger.owned),
        disable_rules=facts.rules if disables_rules else (),
        sequences=tuple(sequence for sequence in facts.sequences if sequence.column in filled),
        reasons=(
            format_reason,
            empty_reason,
            _freeze_reason(facts, freeze=freeze),
            *unlogged_reasons,
            *rebuild_reasons,
            *(f"foreign key {name} is checked behind all rows: it refers to rows that come later" for name in deferred),
            *_trigger_reasons(facts),
            *_rule_reasons(facts, disabled=disables_rules),
            *_sequence_reasons(facts, filled),
        ),
        defers=bool(deferred),
    )


def plan_child(facts: TableFacts, load: Surroundings) -> EmptiedTable:
    """The plan for a table outside the load that is emptied along with it."""
    empty_by, reason = choose_emptying(facts, load)
    disables_rules = facts.owned and empty_by is Emptying.DELETE
    return EmptiedTable(
        table=facts.name,
        empty_by=empty_by,
        disable_triggers=tuple(trigger for trigger in facts.triggers if trigger.owned),
        disable_rules=facts.rules if disables_rules else (),
        reasons=(reason, *_trigger_reasons(facts), *_rule_reasons(facts, disabled=disables_rules)),
    )


def choose_emptying(facts: TableFacts, load: Surroundings) -> tuple[Emptying, str]:
    """How the table is emptied: TRUNCATE where nothing stands in the way, else DELETE."""
    if load.options.mode is Mode.APPEND:
        return Emptying.NOTHING, "not emptied: rows are added to those that are there"
    if load.options.mode is Mode.UPSERT:
        return (
            Emptying.NOTHING,
            "not emptied: rows go through a temporary table, and replace those of the same key that differ",
        )
    if facts.oid in load.truncated:
        return Emptying.TRUNCATE, "emptied by TRUNCATE: nothing outside this load refers to it"
    outside = sorted({str(other.name) for other in facts.referenced_by if not other.is_among(load.truncated)})
    if "TRUNCATE" not in facts.privileges:
        return Emptying.DELETE, "emptied by DELETE: the role has no TRUNCATE privilege"
    return Emptying.DELETE, f"emptied by DELETE: {', '.join(outside)} refers to it and is not truncated in this load"


def choose_settings(server: ServerFacts | None) -> tuple[Setting, ...]:
    """Settings for the time of the load, as far as they are this server's to choose."""
    if server is not None and "lz4" in server.toast_compressions and server.toast_compression_is_default:
        reason = "long values are compressed with lz4, which costs a fraction of pglz; both are read alike"
        return (Setting("default_toast_compression", "lz4", reason),)
    return ()


def ordered_entities(entities: Sequence[EntityRecord], facts: Mapping[str, TableFacts]) -> list[EntityRecord]:
    """Referenced tables before those that refer to them; in a cycle, the manifest's order decides."""
    ordered = referenced_first([facts[entity.name] for entity in entities])
    places = {found.oid: place for place, found in enumerate(ordered)}
    return sorted(entities, key=lambda entity: places[facts[entity.name].oid])


def _plan_column(column: Column, facts: TableFacts) -> ColumnPlan:
    found = facts.column(column.name)
    assert found is not None
    return ColumnPlan(column.name, column.kind(), type_of(found) or column.kind(), found.element_oid)


def _choose_format(columns: Sequence[ColumnPlan], facts: TableFacts) -> tuple[bool, str]:
    """Whether binary COPY can carry every column."""
    text_only = [column.name for column in columns if not _is_binary(column, facts)]
    if text_only:
        return False, f"text COPY: {', '.join(text_only)} has no binary encoder"
    return True, "binary COPY: every column has a binary encoder"


def _is_binary(column: ColumnPlan, facts: TableFacts) -> bool:
    """Known types have an encoder; an enum's binary form is its label."""
    if column.kind.has_binary_form:
        # A text column may stand over citext or another type of an extension, whose binary form is not ours to know.
        return column.target.has_binary_form
    found = facts.column(column.name)
    assert found is not None
    return (found.element_kind if column.kind.is_array else found.kind) == "e"


def _freeze_reason(facts: TableFacts, *, freeze: bool) -> str:
    if freeze:
        return "FREEZE: truncated in this transaction, so its pages need no later vacuum"
    if facts.kind == "p":
        return "no FREEZE: the table is partitioned"
    return "no FREEZE: it needs a table truncated in this transaction"


def _choose_logging(facts: TableFacts, load: Surroundings) -> tuple[bool, list[str]]:
    """Whether to take the table out of the write-ahead log. Only on demand: a crash of the server empties it then."""
    if facts.persistence == "u":
        return False, ["unlogged: a crash of the server empties it"]
    if not load.options.unlogged:
        return False, []
    if obstacle := load.logged.get(facts.oid):
        return False, [f"stays logged: {obstacle}"]
    return True, ["UNSAFE, by --unlogged: becomes and stays an unlogged table, which a crash of the server empties"]


def _trigger_reasons(facts: TableFacts) -> list[str]:
    reasons = []
    if off := [trigger for trigger in facts.triggers if trigger.owned]:
        reasons.append(f"off during the load: triggers {_names(off, facts)}")
    if on := [trigger for trigger in facts.triggers if not trigger.owned]:
        reasons.append(f"triggers {_names(on, facts)} stay on: the role does not own the table")
    return reasons


def _names(triggers: Iterable[TriggerFacts], facts: TableFacts) -> str:
    """Those of partitions with the partition's name."""
    own = (facts.schema, facts.table)
    return ", ".join(
        trigger.name if (trigger.schema, trigger.table) == own else f"{trigger.name} of {trigger.table}"
        for trigger in triggers
    )


def _rule_reasons(facts: TableFacts, *, disabled: bool) -> list[str]:
    if not facts.rules:
        return []
    names = ", ".join(rule.name for rule in facts.rules)
    # One that would act on a table of somebody else is a problem, not a choice.
    stay = f"rules {names} stay: nothing in this load sets them off"
    return [f"off during the load: rules {names}" if disabled else stay]


def _sequence_reasons(facts: TableFacts, filled: set[str]) -> list[str]:
    """How each sequence comes to stand behind the loaded keys."""
    reasons = []
    for sequence in facts.sequences:
        if sequence.column not in filled:
            continue
        how = "by ALTER SEQUENCE" if sequence.may_alter else "by setval, last of all, since a rollback does not undo it"
        reasons.append(f"sequence {sequence.name} is set behind the loaded keys, {how}")
    return reasons
