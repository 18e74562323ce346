"""The load plan is a pure function of the manifest's records and the catalogs' facts, and gives its reasons."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from msgspec.structs import replace as replace_struct

from snapseed.errors import SchemaError
from snapseed.load.copy import stage_of
from snapseed.load.plan import LoadPlan, Prepared, TablePlan
from snapseed.load.plan.tables import plan_load
from snapseed.load.request import LoadRequest, LoadSettings, Mode
from snapseed.postgres.facts import (
    ColumnFacts,
    ForeignKeyFacts,
    IndexFacts,
    ReferenceFacts,
    RuleFacts,
    SequenceFacts,
    ServerFacts,
    TableFacts,
    TableName,
    TriggerFacts,
)
from snapseed.postgres.partitions import PartitionFacts, TreeFacts
from snapseed.snapshot.manifest import Column, EntityRecord, PartFile
from tests.load.shapes import mentions

ALL = frozenset({"USAGE", "SELECT", "DELETE", "TRUNCATE"})

REBUILD_ROWS = LoadSettings().rebuild_rows
SERVER = ServerFacts(
    database="db",
    role="me",
    may_create_temporary=True,
    toast_compressions=(),
    toast_compression_is_default=False,
    connection_room=90,
)


def entity(name: str, *types: str, rows: int = 10) -> EntityRecord:
    """An entity with a bigint key, and columns c1, c2, … of these types."""
    columns = (Column("id", "bigint"), *(Column(f"c{number}", kind) for number, kind in enumerate(types, 1)))
    return EntityRecord(name, None, name, "id", columns, None, rows, "0" * 16, ())


def column(name: str, kind: str, typtype: str = "b", element: str | None = None) -> ColumnFacts:
    """A column that may be NULL and has no default."""
    return ColumnFacts(name, kind, typtype, 0, element, not_null=False, has_default=False, identity="", generated="")


def index(oid: int, name: str, *, unique: bool = False, keep: str | None = None) -> IndexFacts:
    """An index, or a unique constraint with its index."""
    return IndexFacts(oid, name, "CREATE …", unique, ("id",) if unique else (), "u" if unique else None, "", (), keep)


def foreign_key(table: str, other: int, keep: str | None = None) -> ForeignKeyFacts:
    """A foreign key to the table of this oid, and to the index whose oid is ten times as high."""
    return ForeignKeyFacts(
        f"{table}_to_{other}",
        "FOREIGN KEY …",
        (),
        other,
        f"t{other}",
        other * 10,
        is_required=False,
        keep_reason=keep,
    )


def table(oid: int, name: str, *columns: ColumnFacts, refers_to: tuple[int, ...] = ()) -> TableFacts:
    """An owned, empty, ordinary table with a bigint key."""
    return TableFacts(
        oid=oid,
        schema="public",
        table=name,
        kind="r",
        persistence="p",
        owned=True,
        may_index=True,
        privileges=ALL,
        has_rows=False,
        estimated_rows=0,
        row_security=False,
        columns=(column("id", "bigint"), *columns),
        indexes=(),
        foreign_keys=tuple(foreign_key(name, other) for other in refers_to),
        triggers=(),
        rules=(),
        sequences=(),
        referenced_by=(),
    )


def referred_by(facts: TableFacts, *others: TableFacts) -> TableFacts:
    """The same table, with foreign keys of other tables that refer to it."""
    references = tuple(
        ReferenceFacts(other.oid, "public", other.table, facts.oid * 10, has_rows=False) for other in others
    )
    return replace(facts, referenced_by=references)


def plan_of(
    records: list[EntityRecord],
    facts: dict[str, TableFacts],
    request: LoadRequest = LoadRequest(),
    *,
    server: ServerFacts | None = None,
    children: list[TableFacts] | None = None,
) -> LoadPlan:
    """The plan for these entities."""
    return plan_load(Prepared(records, facts, children or [], server=server), request)


def plan_one(record: EntityRecord, facts: TableFacts, request: LoadRequest = LoadRequest()) -> TablePlan:
    """The plan for a single table."""
    (planned,) = plan_of([record], {record.name: facts}, request).tables
    return planned


def said(planned: TablePlan, words: str) -> bool:
    """Whether a reason of the plan has these words in this order."""
    return mentions("\n".join(planned.reasons), words)


def test_referenced_tables_come_first_and_otherwise_in_manifest_order() -> None:
    """A chain that the manifest lists backwards is reversed."""
    records = [entity("c"), entity("b"), entity("a"), entity("z")]
    facts = {
        "a": table(1, "a"),
        "b": table(2, "b", refers_to=(1,)),
        "c": table(3, "c", refers_to=(2,)),
        "z": table(4, "z"),
    }
    assert [step.entity.name for step in plan_of(records, facts).tables] == ["a", "b", "c", "z"]


def test_two_entities_of_one_table_are_both_in_the_plan() -> None:
    """The order is by table, and no entity gets lost."""
    facts = {"b": table(2, "b", refers_to=(1,)), "a": table(1, "a"), "twin": table(1, "a")}
    planned = plan_of([entity("b"), entity("a"), entity("twin")], facts).tables
    assert [step.entity.name for step in planned] == ["a", "twin", "b"]


def test_a_reference_to_itself_or_to_a_table_outside_orders_nothing() -> None:
    """Neither affects the order, and neither is dropped."""
    planned = plan_of([entity("a"), entity("b")], {"a": table(1, "a", refers_to=(1, 99)), "b": table(2, "b")}).tables
    assert [step.entity.name for step in planned] == ["a", "b"]
    assert planned[0].drop_foreign_keys == ()


def test_in_a_cycle_the_key_to_the_later_table_is_dropped() -> None:
    """One key of the cycle is enough, and the plan says why."""
    facts = {"a": table(1, "a", refers_to=(2,)), "b": table(2, "b", refers_to=(1,))}
    first, second = plan_of([entity("a"), entity("b")], facts).tables
    assert [key.name for key in first.drop_foreign_keys] == [
        f"{first.entity.name}_to_{1 if first.entity.name == 'b' else 2}"
    ]
    assert second.drop_foreign_keys == ()
    assert said(first, f"{first.drop_foreign_keys[0].name} … later")


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
    """The binary form of an enum is its label. A type without an encoder means text COPY; the plan names the column."""
    planned = plan_one(entity("a", kind), table(1, "a", found))
    assert planned.binary is binary
    assert said(planned, "binary COPY" if binary else "text COPY … c1")


def test_truncate_and_freeze_go_together() -> None:
    """A table that is not truncated is not frozen, and neither is a partitioned one."""
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
    """PostgreSQL refuses a TRUNCATE that does not name every table with a foreign key to the table, empty or not."""
    child = referred_by(table(2, "child", refers_to=(1,)), table(9, "outside"))
    facts = {"parent": referred_by(table(1, "parent"), child), "child": child, "other": table(3, "other")}
    planned = plan_of([entity("parent"), entity("child"), entity("other")], facts).tables
    assert [step.empty_by for step in planned] == ["delete", "delete", "truncate"]


def test_indexes_and_keys_are_rebuilt_from_a_number_of_rows_on() -> None:
    """With one row less they stay."""
    facts = replace(
        table(1, "a", refers_to=(7,)),
        indexes=(index(10, "i"), index(11, "u", unique=True), index(12, "k", keep="keep me")),
    )
    many, few = plan_one(entity("a", rows=REBUILD_ROWS), facts), plan_one(entity("a", rows=REBUILD_ROWS - 1), facts)
    assert ([found.name for found in many.drop_indexes], len(many.drop_foreign_keys)) == (["i", "u"], 1)
    assert (few.drop_indexes, few.drop_foreign_keys) == ((), ())
    assert said(many, "index k … keep me")
    assert said(few, f"fewer … {REBUILD_ROWS:,}")


def family(**changes: object) -> dict[str, TableFacts]:
    """A parent with a unique index, and a child whose foreign key rests on it."""
    child = replace(table(2, "child", refers_to=(1,)), **changes)  # type: ignore[arg-type]
    parent = replace(referred_by(table(1, "parent"), child), indexes=(index(10, "key", unique=True),))
    return {"parent": parent, "child": child}


def test_a_unique_index_goes_with_the_foreign_keys_that_rest_on_it() -> None:
    """However few rows the child has, its foreign key is in the way."""
    records = [entity("parent", rows=REBUILD_ROWS), entity("child", rows=1)]
    parent, child = plan_of(records, family()).tables
    assert [found.name for found in parent.drop_indexes] == ["key"]
    assert [key.name for key in child.drop_foreign_keys] == ["child_to_1"]
    assert said(child, "child_to_1 … index of t1")


@pytest.mark.parametrize(
    ("records", "changes", "reason"),
    [
        (["parent"], {}, "public.child … not part of this load"),
        (["parent", "child"], {"owned": False}, "child_to_1 … own"),
        (["parent", "child"], {"kind": "p"}, "child_to_1 … partitioned"),
        (["parent", "child"], {"foreign_keys": (foreign_key("child", 1, "keep me"),)}, "child_to_1 … keep me"),
    ],
)
def test_a_unique_index_stays_where_a_foreign_key_on_it_must(
    records: list[str], changes: dict[str, object], reason: str
) -> None:
    """The plan names the foreign key, and why it stays."""
    facts = family(**changes)
    children = [] if "child" in records else [facts["child"]]
    entities = [entity(name, rows=REBUILD_ROWS) for name in records]
    parent = plan_of(entities, {name: facts[name] for name in records}, children=children).tables[0]
    assert parent.drop_indexes == ()
    assert said(parent, reason)


@pytest.mark.parametrize(
    ("options", "changes", "dropped", "reason"),
    [
        (LoadRequest(mode=Mode.UPSERT), {}, [], "upsert"),
        (LoadRequest(mode=Mode.APPEND), {}, ["i"], "unique … not truncated"),
        (
            LoadRequest(mode=Mode.APPEND),
            {"estimated_rows": REBUILD_ROWS + 1},
            [],
            "more rows … 2,001",
        ),
        (LoadRequest(), {"may_index": False}, [], "role … schema"),
        (LoadRequest(), {"privileges": frozenset({"USAGE", "DELETE"})}, ["i"], "the table is not truncated"),
    ],
)
def test_an_index_that_existing_rows_need_is_not_dropped(
    options: LoadRequest, changes: dict[str, object], dropped: list[str], reason: str
) -> None:
    """Unique indexes cover all rows. If most rows already exist, a rebuild costs more."""
    facts = replace(table(1, "a"), indexes=(index(10, "i"), index(11, "u", unique=True)), **changes)  # type: ignore[arg-type]
    planned = plan_one(entity("a", rows=REBUILD_ROWS), facts, options)
    assert [found.name for found in planned.drop_indexes] == dropped
    assert said(planned, reason)


def test_what_only_the_owner_may_do_is_left_alone() -> None:
    """No index, key or trigger of another role's table is touched."""
    facts = replace(
        table(1, "a", refers_to=(7,)),
        owned=False,
        indexes=(index(10, "i"),),
        triggers=(TriggerFacts("public", "a", "t", always=False, owned=False),),
    )
    planned = plan_one(entity("a", rows=REBUILD_ROWS), facts)
    assert (planned.drop_indexes, planned.drop_foreign_keys, planned.disable_triggers) == ((), (), ())
    assert said(planned, "triggers t stay on")


def test_rules_are_off_where_rows_are_deleted_or_merged() -> None:
    """COPY ignores them, DELETE and INSERT do not."""
    facts = replace(table(1, "a"), rules=(RuleFacts("r", "DELETE", always=False),))
    assert plan_one(entity("a"), facts).disable_rules == ()
    assert plan_one(entity("a"), replace(facts, privileges=ALL - {"TRUNCATE"})).disable_rules == facts.rules


def test_an_upsert_has_a_temporary_table_for_each_entity() -> None:
    """However long the name is: PostgreSQL cuts names at 63 bytes, not characters."""
    names = [stage_of(plan_one(entity(name), table(1, "a"))).as_string() for name in ("ü" * 40, "ü" * 41)]
    assert len({name.encode()[:63] for name in names}) == 2
    assert all(re.fullmatch('"pg_temp"."snapseed_new_[0-9a-f]{16}"', name) for name in names)


def test_rules_of_a_child_that_the_role_does_not_own() -> None:
    """A rule on DELETE would keep its rows if they were deleted. The plan says that the others stay on."""
    rules = (RuleFacts("keeps", "DELETE", always=False), RuleFacts("copies", "INSERT", always=False))
    facts = family(rules=rules, owned=False)
    parent, child = {"parent": facts["parent"]}, facts["child"]
    (planned,) = plan_of([entity("parent")], parent, children=[child]).children
    assert any("keeps, copies" in reason for reason in planned.reasons)
    for privileges in ({"USAGE", "DELETE"}, {"USAGE"}):
        with pytest.raises(SchemaError) as caught:
            plan_of(
                [entity("parent")],
                parent,
                children=[replace(child, privileges=frozenset(privileges))],
                server=SERVER,
            )
        acts = "rule keeps of public.child would act on DELETE" in str(caught.value.observed)
        assert acts is ("DELETE" in privileges)


def test_a_type_that_cannot_be_read_is_copied_under_its_own_name() -> None:
    """A vector without dimensions, under a domain whose name the snapshot uses."""
    found = replace(column("c1", "vector"), domains=("spot",))
    planned = plan_one(entity("a", "spot"), table(1, "a", found))
    assert planned.columns[1].target.name == "spot"
    assert not planned.binary


def test_triggers_of_partitions_are_named_with_their_table() -> None:
    """Each is turned off separately."""
    triggers = (TriggerFacts("public", "a", "t", always=False), TriggerFacts("public", "a_1", "t", always=True))
    planned = plan_one(entity("a"), replace(table(1, "a"), kind="p", triggers=triggers))
    assert planned.disable_triggers == triggers
    assert said(planned, "triggers t, t of a_1")


def test_children_are_emptied_in_the_same_statement() -> None:
    """With them in the TRUNCATE, nothing outside refers to the parent."""
    facts = family()
    planned: LoadPlan = plan_of([entity("parent")], {"parent": facts["parent"]}, children=[facts["child"]])
    assert [(str(child.table), str(child.empty_by)) for child in planned.children] == [("public.child", "truncate")]
    assert planned.tables[0].empty_by == "truncate"


@pytest.mark.parametrize(
    ("changes", "unlogged", "reason"),
    [
        ({}, True, "UNSAFE"),
        ({"kind": "p"}, False, "logged … partitioned"),
        ({"owned": False}, False, "logged … own"),
        ({"persistence": "u"}, False, "unlogged … crash"),
    ],
)
def test_unlogged_is_only_on_request_and_called_unsafe(
    changes: dict[str, object], reason: str, *, unlogged: bool
) -> None:
    """Never without the option. If it is not possible, the plan says why."""
    facts = replace(table(1, "a"), **changes)  # type: ignore[arg-type]
    planned = plan_one(entity("a"), facts, LoadRequest(unlogged=True))
    assert planned.make_unlogged is unlogged
    assert said(planned, reason)
    assert not plan_one(entity("a"), facts).make_unlogged


def test_lz4_compresses_long_values_where_the_server_leaves_the_choice() -> None:
    """If the administrator chose something else, that stays."""
    record, facts = entity("a"), {"a": table(1, "a")}
    free = replace(SERVER, toast_compressions=("pglz", "lz4"), toast_compression_is_default=True)
    assert [setting.value for setting in plan_of([record], facts, server=free).settings] == ["lz4"]
    for other in (replace(free, toast_compressions=("pglz",)), replace(free, toast_compression_is_default=False)):
        assert plan_of([record], facts, server=other).settings == ()


def test_long_values_are_stored_uncompressed_where_there_is_only_pglz() -> None:
    """Only on an embedded server, in wide tables, in columns for which nobody chose anything."""
    pglz = replace(SERVER, toast_compressions=("pglz",), toast_compression_is_default=True)
    wide = entity("a", "text", "text", "text", rows=REBUILD_ROWS)
    part = PartFile(path="a/0.parquet", rows=wide.rows, bytes=1000 * wide.rows, sha256="0" * 64, chunks=())
    wide = replace_struct(wide, files=(part,))
    columns = [replace(column(f"c{number}", "text"), compresses=number != 2) for number in (1, 2, 3)]
    facts = table(1, "a", *columns)

    def stored(record: EntityRecord = wide, found: TableFacts = facts, **changes: object) -> tuple[str, ...]:
        prepared = Prepared([record], {"a": found}, server=pglz, is_embedded=True)
        return plan_load(replace(prepared, **changes)).tables[0].uncompressed  # type: ignore[arg-type]

    assert stored() == ("c1", "c3")
    assert stored(is_embedded=False) == ()
    assert stored(may_choose_compression=False) == ()
    assert stored(server=replace(pglz, toast_compressions=("pglz", "lz4"))) == ()
    assert stored(server=replace(pglz, toast_compression_is_default=False)) == ()
    assert stored(replace_struct(wide, files=(replace_struct(part, bytes=wide.rows),))) == ()
    assert stored(replace_struct(wide, rows=REBUILD_ROWS - 1)) == ()
    assert stored(found=replace(facts, owned=False)) == ()


def test_sequences_are_set_for_the_columns_that_are_filled() -> None:
    """The sequence of a column that is not in the snapshot is left alone."""
    sequences = tuple(SequenceFacts("public", f"{name}_seq", name, 1, 1, 10, owned=True) for name in ("id", "other"))
    facts = replace(table(1, "a", replace(column("other", "bigint"), identity="d")), sequences=sequences)
    assert [sequence.name for sequence in plan_one(entity("a"), facts).sequences] == ["id_seq"]


@pytest.mark.parametrize(
    ("kind", "found", "problem", "fix"),
    [
        ("bigint", None, "a.c1 does not exist (expected bigint)", 'ALTER TABLE "a" ADD COLUMN "c1" bigint;'),
        ("bigint", column("c1", "text"), "a.c1 is text, expected bigint", 'TYPE bigint USING "c1"::text::bigint;'),
        ("bigint", column("c1", "integer"), "a.c1 is integer, expected bigint", 'ALTER COLUMN "c1" TYPE bigint;'),
        (
            "varchar(40)",
            column("c1", "character varying(20)"),
            "a.c1 is character varying(20), less than varchar(40)",
            'ALTER COLUMN "c1" TYPE varchar(40);',
        ),
        (
            "timestamptz",
            column("c1", "timestamp(0) with time zone"),
            "a.c1 is timestamp(0) with time zone, less than timestamptz",
            'ALTER COLUMN "c1" TYPE timestamptz;',
        ),
        (
            "bigint",
            replace(column("c1", "bigint"), may_insert=False),
            "the role lacks INSERT (c1) on public.a",
            'GRANT INSERT ("c1") ON "public"."a" TO "me";',
        ),
    ],
)
def test_a_problem_comes_with_the_sql_that_fixes_it(
    kind: str, found: ColumnFacts | None, problem: str, fix: str
) -> None:
    """Ready to be run, with names quoted."""
    facts = {"a": table(1, "a", *([found] if found else []))}
    with pytest.raises(SchemaError) as caught:
        plan_of([entity("a", kind)], facts, server=SERVER)
    assert problem in str(caught.value.observed)
    assert fix in str(caught.value.next_step)


def test_what_an_upsert_needs() -> None:
    """A unique index on exactly the key, and no identity column that only the server may set."""
    filled = replace(table(1, "a", replace(column("c1", "bigint"), identity="a", may_update=False)), has_rows=True)
    facts = {"a": filled}
    server = replace(SERVER, may_create_temporary=False)
    with pytest.raises(SchemaError) as caught:
        plan_of([entity("a", "bigint")], facts, LoadRequest(mode=Mode.UPSERT), server=server)
    for words in (
        "unique index … a (id)",
        "a.c1 … GENERATED ALWAYS AS IDENTITY",
        "the role lacks UPDATE (c1)",
        "temporary tables",
    ):
        assert mentions(str(caught.value.observed), words)


def test_all_problems_are_reported_at_once() -> None:
    """One error for all tables and columns."""
    facts = {"a": table(1, "a", column("c1", "text"))}
    with pytest.raises(SchemaError) as caught:
        plan_of([entity("a", "bigint", "text"), entity("b")], facts)
    for problem in ("a.c1 is text, expected bigint", "a.c2 does not exist (expected text)", "table b does not exist"):
        assert problem in str(caught.value)


def test_what_does_not_fit_into_the_lock_table_is_filled_over_one_connection() -> None:
    """The server would run out of locks in the last transaction. All tables of the load share them."""
    part = PartitionFacts(
        name=TableName("public", "part"),
        stage="s",
        parent=TableName("public", "a"),
        parent_oid=1,
        bound="DEFAULT",
        defaults=1,
        version="",
        create=(),
        build=(),
        placed=(),
        locks=10,
        obstacle=None,
    )
    tree = TreeFacts(1, "s", "HASH (id)", (), (), 30, None, (part, part))
    records, facts = [entity("a", rows=10**6), entity("b", rows=10**6)], {"a": table(1, "a"), "b": table(2, "b")}
    prepared = Prepared(
        records,
        {name: replace(found, kind="p") for name, found in facts.items()},
        [],
        server=SERVER,
        connections=2,
        trees={"a": tree, "b": replace(tree, oid=2)},
    )
    first, second = plan_load(prepared, LoadRequest()).tables
    assert first.parallel
    assert second.parallel is None
    assert said(second, "one connection … 40 locks … room for 30 … max_locks_per_transaction")
