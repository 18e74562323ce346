"""The load plan is a pure decision: from the manifest's records and the catalog's facts, with its reasons."""

from __future__ import annotations

from dataclasses import replace

import pytest

from snapseed.database.catalog import (
    ColumnFacts,
    ForeignKeyFacts,
    IndexFacts,
    ReferenceFacts,
    SequenceFacts,
    TableFacts,
    TriggerFacts,
)
from snapseed.errors import SchemaError
from snapseed.load.plan import REBUILD_ROWS, TablePlan, plan_load
from snapseed.snapshot.manifest import Column, EntityRecord


def entity(name: str, *types: str, rows: int = 10) -> EntityRecord:
    """An entity with a bigint key, and columns c1, c2, … of these types."""
    columns = (Column("id", "bigint"), *(Column(f"c{number}", kind) for number, kind in enumerate(types, 1)))
    return EntityRecord(name, None, name, "id", columns, None, rows, "0" * 16, ())


def column(name: str, kind: str, typtype: str = "b", element: str | None = None) -> ColumnFacts:
    """A column that may be NULL and has no default."""
    return ColumnFacts(name, kind, typtype, 0, element, not_null=False, has_default=False, identity="", generated="")


def table(oid: int, name: str, *columns: ColumnFacts, refers_to: tuple[int, ...] = ()) -> TableFacts:
    """An owned, empty, ordinary table with a bigint key."""
    return TableFacts(
        oid=oid,
        schema="public",
        table=name,
        kind="r",
        owned=True,
        has_rows=False,
        row_security=False,
        columns=(column("id", "bigint"), *columns),
        indexes=(),
        foreign_keys=tuple(ForeignKeyFacts(f"{name}_to_{other}", "FOREIGN KEY …", other, None) for other in refers_to),
        triggers=(),
        sequences=(),
        referenced_by=(),
    )


def referred_by(facts: TableFacts, *others: TableFacts) -> TableFacts:
    """The same table, with foreign keys of others that refer to it."""
    references = tuple(ReferenceFacts(other.oid, other.table, None, has_rows=False) for other in others)
    return replace(facts, referenced_by=references)


def plan_one(record: EntityRecord, facts: TableFacts) -> TablePlan:
    """The plan for a single table."""
    (planned,) = plan_load([record], {record.name: facts}).tables
    return planned


def test_referenced_tables_come_first_and_otherwise_the_order_of_the_manifest_stays() -> None:
    """A chain that the manifest lists backwards is turned round."""
    records = [entity("c"), entity("b"), entity("a"), entity("z")]
    facts = {
        "a": table(1, "a"),
        "b": table(2, "b", refers_to=(1,)),
        "c": table(3, "c", refers_to=(2,)),
        "z": table(4, "z"),
    }
    assert [step.entity.name for step in plan_load(records, facts).tables] == ["a", "b", "c", "z"]


def test_a_reference_to_itself_or_to_a_table_outside_orders_nothing() -> None:
    """Neither is waited for, and neither is dropped."""
    planned = plan_load([entity("a"), entity("b")], {"a": table(1, "a", refers_to=(1, 99)), "b": table(2, "b")}).tables
    assert [step.entity.name for step in planned] == ["a", "b"]
    assert planned[0].drop_foreign_keys == ()


def test_in_a_cycle_the_key_to_the_later_table_is_dropped() -> None:
    """One key of the cycle is enough, and it is said why."""
    facts = {"a": table(1, "a", refers_to=(2,)), "b": table(2, "b", refers_to=(1,))}
    first, second = plan_load([entity("a"), entity("b")], facts).tables
    assert [key.name for key in first.drop_foreign_keys] == [
        f"{first.entity.name}_to_{1 if first.entity.name == 'b' else 2}"
    ]
    assert second.drop_foreign_keys == ()
    assert any("refers to rows that come later" in reason for reason in first.reasons)


@pytest.mark.parametrize(
    ("kind", "found", "binary"),
    [
        ("text", column("c1", "text"), True),
        ("numeric(8,2)", column("c1", "numeric(8,2)"), True),
        ("mood", column("c1", "mood", "e"), True),
        ("mood[]", column("c1", "mood[]", "b", "e"), True),
        ("interval", column("c1", "interval"), False),
        ("inet[]", column("c1", "inet[]", "b", "b"), False),
        ("text", column("c1", "citext"), False),
        ("vector(3)", column("c1", "real[]"), True),
    ],
)
def test_binary_copy_is_chosen_where_every_column_has_an_encoder(
    kind: str, found: ColumnFacts, *, binary: bool
) -> None:
    """An enum's binary form is its label; a type that is not ours makes it text COPY, and the column is named."""
    planned = plan_one(entity("a", kind), table(1, "a", found))
    assert planned.binary is binary
    assert planned.reasons[0].startswith("binary COPY" if binary else "text COPY: c1 has no")


def test_truncate_and_freeze_go_together() -> None:
    """A table that cannot be truncated is not frozen, nor is a partitioned one."""
    outside = table(9, "outside")
    assert (plan_one(entity("a"), table(1, "a")).empty_by, plan_one(entity("a"), table(1, "a")).freeze) == (
        "truncate",
        True,
    )
    deleted = plan_one(entity("a"), referred_by(table(1, "a"), outside))
    assert (deleted.empty_by, deleted.freeze) == ("delete", False)
    partitioned = plan_one(entity("a"), replace(table(1, "a"), kind="p"))
    assert (partitioned.empty_by, partitioned.freeze) == ("truncate", False)


def test_a_table_is_not_truncated_that_a_deleted_one_refers_to() -> None:
    """PostgreSQL refuses a TRUNCATE that does not name every table with a foreign key to it, empty or not."""
    child = referred_by(table(2, "child", refers_to=(1,)), table(9, "outside"))
    facts = {"parent": referred_by(table(1, "parent"), child), "child": child, "other": table(3, "other")}
    planned = plan_load([entity("parent"), entity("child"), entity("other")], facts).tables
    assert [step.empty_by for step in planned] == ["delete", "delete", "truncate"]


def test_indexes_and_keys_are_rebuilt_from_a_certain_number_of_rows_on() -> None:
    """One row less and they stay."""
    facts = replace(
        table(1, "a", refers_to=(7,)), indexes=(IndexFacts("i", "…", None), IndexFacts("u", "…", "it is unique"))
    )
    many, few = plan_one(entity("a", rows=REBUILD_ROWS), facts), plan_one(entity("a", rows=REBUILD_ROWS - 1), facts)
    assert ([index.name for index in many.drop_indexes], len(many.drop_foreign_keys)) == (["i"], 1)
    assert (few.drop_indexes, few.drop_foreign_keys) == ((), ())
    assert "index u stays: it is unique" in many.reasons


def test_what_needs_the_owner_is_left_alone_without_it() -> None:
    """No index, key or trigger of a table that is somebody else's is touched."""
    facts = replace(
        table(1, "a", refers_to=(7,)),
        owned=False,
        indexes=(IndexFacts("i", "…", None),),
        triggers=(TriggerFacts("t", always=False),),
    )
    planned = plan_one(entity("a", rows=REBUILD_ROWS), facts)
    assert (planned.drop_indexes, planned.drop_foreign_keys, planned.disable_triggers) == ((), (), ())
    assert any("triggers t stay on" in reason for reason in planned.reasons)


def test_sequences_are_set_for_the_columns_that_are_filled() -> None:
    """A sequence of a column that is not in the snapshot goes on by itself."""
    sequences = tuple(SequenceFacts("public", f"{name}_seq", name, 1, 1, 10, owned=True) for name in ("id", "other"))
    facts = replace(table(1, "a", replace(column("other", "bigint"), identity="d")), sequences=sequences)
    assert [sequence.name for sequence in plan_one(entity("a"), facts).sequences] == ["id_seq"]


def test_everything_that_does_not_fit_is_said_at_once() -> None:
    """One error for all tables and columns."""
    facts = {"a": table(1, "a", column("c1", "text"))}
    with pytest.raises(SchemaError) as caught:
        plan_load([entity("a", "bigint", "text"), entity("b")], facts)
    for problem in ("a.c1 is text, expected bigint", "a.c2 does not exist (expected text)", "table b does not exist"):
        assert problem in str(caught.value)
