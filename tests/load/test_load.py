"""A load fills the tables as the manifest says, and leaves the schema as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from snapseed import LoadRequest, SnapseedError, load_snapshot, verify_snapshot
from snapseed.errors import ConfigurationError, LoadError, RefusedError, SchemaError, ServerError, UsageError
from snapseed.events import Advanced, Event
from snapseed.load.outcome import LoadReport, Outcome, report_of
from tests.conftest import Sandbox
from tests.load.faults.failing import TERMINATE
from tests.projects.moments import COMMITTED, at_moments
from tests.projects.state import contents

MakeProject = Callable[[str], Sandbox]


@pytest.fixture
def kinds(make_generated: Callable[[str], Sandbox]) -> Sandbox:
    """A project with an awkward schema, and its snapshot."""
    return make_generated("kinds")


def load(sandbox: Sandbox, *, consent: bool = False, only: tuple[str, ...] = (), **overrides: object) -> LoadReport:
    """Load, and check that the database then agrees with the manifest."""
    report = load_snapshot(
        sandbox.project, sandbox.environment(None, **overrides), LoadRequest(consent=consent, only=only)
    )
    assert verify_snapshot(sandbox.project, sandbox.environment(), only=only).agrees
    return report


def created(sandbox: Sandbox, more: str = "") -> None:
    """Create the project's tables by hand, then run `more`."""
    schema = sandbox.project.schema
    assert schema is not None
    with sandbox.connect() as connection:
        connection.execute(schema.read_bytes())
        connection.execute(more.encode())


def refused(sandbox: Sandbox, *, with_children: bool = False, **overrides: object) -> SnapseedError:
    """The error of a load that must fail, and must have changed nothing."""
    with sandbox.connect() as connection:
        before = contents(connection)
        with pytest.raises(SnapseedError) as caught:
            load_snapshot(
                sandbox.project, sandbox.environment(None, **overrides), LoadRequest(with_children=with_children)
            )
        assert contents(connection) == before
    assert caught.value.summary.endswith("; nothing was changed")
    return caught.value


def test_a_load_creates_the_schema_fills_it_and_agrees_with_the_manifest(shop: Sandbox) -> None:
    """From an empty database to rows that verify, in one call."""
    report = load(shop)
    assert report.schema_created
    with shop.connect() as connection:
        assert connection.execute("SELECT count(*) FROM customers").fetchone() == (250,)


def test_tables_are_filled_in_the_order_of_their_foreign_keys(shop: Sandbox) -> None:
    """A table comes after every table that it refers to."""
    order = [step.entity for step in load(shop).entities]
    assert sorted(order) == ["categories", "customers", "invoices", "notes", "orders", "shops"]
    for before, after in (
        ("categories", "orders"),
        ("customers", "orders"),
        ("orders", "invoices"),
        ("customers", "shops"),
    ):
        assert order.index(before) < order.index(after)


def test_a_second_load_replaces_the_first(shop: Sandbox) -> None:
    """Loading twice leaves the rows once, and needs no consent."""
    load(shop)
    report = load(shop)
    assert not report.schema_created
    with shop.connect() as connection:
        assert connection.execute("SELECT count(*) FROM snapseed.loads").fetchone() == (2,)


def test_a_load_records_what_was_loaded(shop: Sandbox) -> None:
    """snapseed.loads names environment, snapshot, identity, scale and tables, in the transaction of the rows."""
    report = load(shop)
    with shop.connect() as connection:
        row = connection.execute("SELECT environment, snapshot, identity, scale, rows FROM snapseed.loads").fetchone()
        assert row == ("dev", "dev", report.manifest.identity, 250, report.manifest.rows)
        tables = connection.execute("SELECT jsonb_array_elements_text(tables) FROM snapseed.loads").fetchall()
    assert ("public.customers",) in tables
    assert len(tables) == 6


def test_progress_reaches_the_total_of_each_entity(shop: Sandbox) -> None:
    """The last report of an entity says all of its rows."""
    last: dict[str, Advanced] = {}

    def listen(event: Event) -> None:
        if isinstance(event, Advanced):
            last[event.what] = event

    report = load_snapshot(shop.project, shop.environment(), listener=listen)
    for entity in report.manifest.entities:
        assert (last[entity.name].done, last[entity.name].total) == (entity.rows, entity.rows)


def test_inserts_after_a_load_continue_after_its_keys(shop: Sandbox) -> None:
    """Identity and serial columns get keys that no loaded row has."""
    load(shop)
    with shop.connect() as connection:
        for query in (
            """WITH new AS (INSERT INTO customers (name, settings, balance, joined, tags)
                            SELECT name, settings, balance, joined, tags FROM customers LIMIT 1 RETURNING id)
               SELECT new.id - max(customers.id) FROM new, customers GROUP BY new.id""",
            """WITH new AS (INSERT INTO orders (customer_id, category, paid, total)
                            SELECT customer_id, category, paid, total FROM orders LIMIT 1 RETURNING id)
               SELECT new.id - max(orders.id) FROM new, orders GROUP BY new.id""",
        ):
            assert connection.execute(query).fetchone() == (1,)


def test_a_sequence_that_is_only_a_default_goes_forward_never_back(shop: Sandbox) -> None:
    """A sequence that no column owns continues after the loaded keys, or stays where it was if that is later."""
    created(
        shop,
        """
        CREATE SEQUENCE shared;
        ALTER TABLE notes ALTER id SET DEFAULT nextval('shared');
        ALTER TABLE shops ALTER id SET DEFAULT nextval('shared');
        CREATE SEQUENCE labels; ALTER TABLE invoices ALTER customer_name SET DEFAULT 'Customer ' || nextval('labels');
        """,
    )
    load(shop)
    with shop.connect() as connection:
        assert connection.execute(
            "SELECT nextval('shared') > greatest((SELECT max(id) FROM notes), (SELECT max(id) FROM shops))"
        ).fetchone() == (True,)
        connection.execute("SELECT setval('shared', 1000000)")
        load(shop)
        assert connection.execute("SELECT nextval('shared')").fetchone() == (1_000_001,)


def test_a_failed_load_leaves_sequences_where_they_were(shop: Sandbox) -> None:
    """A rollback also undoes changes of sequences."""
    load(shop)
    with shop.connect() as connection:
        connection.execute("SELECT setval('customers_id_seq', 77); SELECT setval('orders_id_seq', 78)")
        # Fails only at the very end of the load, after the sequences.
        connection.execute("ALTER SEQUENCE snapseed.loads_id_seq MINVALUE 0 MAXVALUE 1")
        error = refused(shop)
        assert isinstance(error, LoadError)
        assert connection.execute("SELECT nextval('customers_id_seq'), nextval('orders_id_seq')").fetchone() == (78, 79)


def test_every_type_and_odd_name_loads_and_verifies(kinds: Sandbox) -> None:
    """Quoted names, another schema, dropped and added columns, another order, arrays of enums, text COPY: all agree."""
    plan = load(kinds).plan
    steps = {step.entity.name: step for step in plan.tables}
    assert str(steps["kinds"].table) == "Odd Place.Kinds of things"
    assert steps["kinds"].binary
    assert not steps["spans"].binary
    with kinds.connect() as connection:
        query = 'SELECT count(*), count(DISTINCT serial_number), min("Extra") FROM "Odd Place"."Kinds of things"'
        assert connection.execute(query).fetchone() == (60, 60, "filled by its default")
    load(kinds)


@pytest.mark.parametrize("action", ["NO ACTION", "CASCADE", "SET NULL"])
def test_rows_of_other_tables_that_refer_to_replaced_ones_stop_a_load(shop: Sandbox, action: str) -> None:
    """Whatever their foreign key would do. with_children empties that table in the same transaction."""
    load(shop)
    with shop.connect() as connection:
        connection.execute(f"CREATE TABLE complaints (order_id bigint REFERENCES orders ON DELETE {action})".encode())
        connection.execute("INSERT INTO complaints SELECT id FROM orders LIMIT 1")
        error = refused(shop)
        assert isinstance(error, UsageError)
        assert "rows of public.complaints refer to public.orders" in str(error)
        assert "--with-children" in str(error)
        error = refused(shop, with_children=True)
        assert isinstance(error, RefusedError)
        assert "rows in public.complaints" in str(error)
        report = load_snapshot(shop.project, shop.environment(), LoadRequest(with_children=True, consent=True))
        assert [str(child.table) for child in report.plan.children] == ["public.complaints"]
        assert connection.execute("SELECT count(*) FROM complaints").fetchone() == (0,)


def test_only_loads_the_named_entities(shop: Sandbox) -> None:
    """The other tables keep what they have."""
    load(shop)
    with shop.connect() as connection:
        connection.execute("UPDATE notes SET number = 99; UPDATE shops SET owner = NULL")
        report = load(shop, only=("notes",), consent=True)
        assert [step.entity for step in report.entities] == ["notes"]
        assert connection.execute("SELECT count(*) FROM notes WHERE number = 99").fetchone() == (0,)
        assert connection.execute("SELECT count(owner) FROM shops").fetchone() == (0,)


def test_only_does_not_apply_the_schema_over_tables_that_exist(shop: Sandbox) -> None:
    """The schema file is only for a database with none of the snapshot's tables."""
    load(shop)
    with shop.connect() as connection:
        connection.execute("DROP TABLE notes")
    with pytest.raises(SchemaError, match="do not fit") as caught:
        load_snapshot(shop.project, shop.environment(), LoadRequest(only=["notes"]))
    assert "table notes does not exist" in str(caught.value)


def test_a_dry_run_shows_the_plan_and_changes_nothing(shop: Sandbox) -> None:
    """Neither on an empty database, where the schema would be created, nor over existing rows."""
    with shop.connect() as connection:
        before = contents(connection)
        report = load_snapshot(shop.project, shop.environment(), LoadRequest(dry_run=True))
        assert report.schema_created
        assert report.plan.rows == report.manifest.rows
        assert contents(connection) == before
        load(shop)
        connection.execute("UPDATE customers SET name = 'changed'")
        before = contents(connection)
        again = LoadRequest(dry_run=True, consent=True)
        assert not load_snapshot(shop.project, shop.environment(), again).schema_created
        assert contents(connection) == before


def test_missing_tables_are_named_where_none_may_be_created(shop: Sandbox) -> None:
    """With create_schema = false the error names the tables and both ways to continue."""
    error = refused(shop, create_schema=False)
    assert isinstance(error, SchemaError)
    for word in ("customers", "invoices", "create_schema = true", "migrations"):
        assert word in str(error)


def test_no_verify_commits_without_comparing(shop: Sandbox) -> None:
    """With verify=False the rows are committed, and the report shows that nothing was compared."""
    report = load_snapshot(shop.project, shop.environment(), LoadRequest(verify=False))
    assert report.verified == ()
    assert verify_snapshot(shop.project, shop.environment()).agrees


def test_a_failure_after_the_commit_says_that_the_rows_are_there(shop: Sandbox) -> None:
    """A failure never says that nothing was changed once the rows are committed."""
    with shop.connect() as other:

        def end(moment: str) -> None:
            if moment == COMMITTED:
                other.execute(TERMINATE)

        with pytest.raises(ServerError) as caught:
            load_snapshot(shop.project, shop.environment(), listener=at_moments(end))
    assert caught.value.summary.endswith(f"; {Outcome.COMMITTED}")
    report = report_of(caught.value)
    assert report is not None
    assert (report.outcome, report.mark is not None) == (Outcome.COMMITTED, True)
    assert report.phases["analyzing"] > 0
    assert verify_snapshot(shop.project, shop.environment()).agrees


def test_a_missing_schema_file_is_named(shop: Sandbox) -> None:
    """A missing `schema` file is an error of the configuration."""
    schema = shop.project.schema
    assert schema is not None
    Path(schema).unlink()
    error = refused(shop)
    assert isinstance(error, ConfigurationError)
    assert str(schema) in str(error)
