"""A load fills the tables as the manifest says, and leaves the schema as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from snapseed import LoadRequest, SnapseedError, load_snapshot, verify_snapshot
from snapseed.errors import ConfigurationError, LoadError, RefusedError, SchemaError, ServerError, UsageError
from snapseed.events import Advanced, Event
from snapseed.load.outcome import LoadReport, Outcome, report_of
from snapseed.load.request import LoadSettings
from tests.conftest import Sandbox
from tests.projects.moments import COMMITTED, at_moments
from tests.projects.state import contents, schema_of

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


@pytest.mark.parametrize("limit", [0, 10**9], ids=["rebuilt", "kept"])
def test_the_schema_after_a_load_is_the_schema_before(shop: Sandbox, limit: int) -> None:
    """Indexes, foreign keys and triggers that were dropped or turned off come back exactly."""
    created(
        shop,
        """
        CREATE INDEX partial ON orders (total DESC NULLS LAST) INCLUDE (paid) WHERE total > 5;
        CREATE INDEX expression ON customers (lower(name) COLLATE "C" text_pattern_ops) WITH (fillfactor = 70);
        CREATE INDEX "Mixed Case" ON customers USING gin (tags);
        CREATE UNIQUE INDEX kept_unique ON notes (customer_id, number);
        CREATE INDEX commented ON notes (number); COMMENT ON INDEX commented IS 'stays';
        CREATE INDEX clustered ON notes (customer_id); ALTER TABLE notes CLUSTER ON clustered;
        ALTER TABLE shops ADD CONSTRAINT "Late one" FOREIGN KEY (owner) REFERENCES customers
              ON UPDATE CASCADE ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED;
        ALTER TABLE notes ADD CONSTRAINT unchecked FOREIGN KEY (customer_id) REFERENCES customers NOT VALID;
        CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'fired'; END $$;
        CREATE TRIGGER usual BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION fails();
        CREATE TRIGGER always AFTER INSERT ON orders EXECUTE FUNCTION fails();
        CREATE TRIGGER truncating BEFORE TRUNCATE ON orders EXECUTE FUNCTION fails();
        CREATE TRIGGER replica AFTER INSERT ON orders EXECUTE FUNCTION fails();
        CREATE TRIGGER off AFTER INSERT ON orders EXECUTE FUNCTION fails();
        ALTER TABLE orders ENABLE ALWAYS TRIGGER always;
        ALTER TABLE orders ENABLE REPLICA TRIGGER replica;
        ALTER TABLE orders DISABLE TRIGGER off;
        """,
    )
    before = schema_of(shop.url)
    plan = load_snapshot(shop.project, shop.environment(), settings=LoadSettings(rebuild_rows=limit)).plan
    dropped = {index.name for table in plan.tables for index in table.drop_indexes}
    dropped |= {key.name for table in plan.tables for key in table.drop_foreign_keys}
    expected = {"partial", "expression", "Mixed Case", "orders_customer_id", "Late one", "orders_customer_id_fkey"}
    expected |= {"orders_pkey", "kept_unique", "commented", "clustered"}
    assert (expected <= dropped) if limit == 0 else not dropped
    assert not dropped & {"unchecked", "customers_pkey"}
    assert schema_of(shop.url) == before
    assert "ENABLE ALWAYS TRIGGER always" in before


def test_triggers_do_not_fire_during_a_load(shop: Sandbox) -> None:
    """A trigger that writes an audit row for each change sees neither the new rows nor the removal of the old ones."""
    load(shop)
    with shop.connect() as connection:
        connection.execute("""
            CREATE TABLE audit (what text);
            CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
              $$ BEGIN INSERT INTO audit VALUES (TG_OP); RETURN NULL; END $$;
            CREATE TRIGGER rows_change AFTER INSERT OR DELETE ON customers FOR EACH ROW EXECUTE FUNCTION note();
            CREATE TRIGGER empties AFTER TRUNCATE ON customers EXECUTE FUNCTION note();
        """)
        load(shop)
        assert connection.execute("SELECT count(*) FROM audit").fetchone() == (0,)
        connection.execute("""
            INSERT INTO customers (id, name, settings, balance, joined, tags)
            SELECT 0, name, settings, balance, joined, tags FROM customers LIMIT 1
        """)
        assert connection.execute("SELECT what FROM audit").fetchall() == [("INSERT",)]


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


def test_a_sequence_stays_within_its_bounds(shop: Sandbox) -> None:
    """A sequence that cannot continue after the last key stays at its end, and the load does not fail."""
    created(
        shop, "ALTER SEQUENCE customers_id_seq MAXVALUE 250; ALTER SEQUENCE orders_id_seq MINVALUE 1 MAXVALUE 99999999"
    )
    load(shop)
    with shop.connect() as connection:
        assert connection.execute("SELECT last_value FROM customers_id_seq").fetchone() == (250,)


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


def test_foreign_keys_in_a_cycle_do_not_stop_a_load(kinds: Sandbox) -> None:
    """The key that refers to later rows is dropped and rebuilt, however few the rows."""
    steps = {step.entity.name: step for step in load(kinds).plan.tables}
    dropped = [key.name for name in ("teams", "players") for key in steps[name].drop_foreign_keys]
    assert len(dropped) == 1
    with kinds.connect() as connection, pytest.raises(psycopg.errors.ForeignKeyViolation):
        connection.execute("UPDATE teams SET captain = -1")


def test_a_vector_loads_into_an_array_where_the_server_has_no_pgvector(kinds: Sandbox) -> None:
    """A `vector(4)` of the snapshot goes into `real[]`, and verifies there with the same fingerprint."""
    created(kinds, "ALTER TABLE points DROP COLUMN place; ALTER TABLE points ADD COLUMN place real[] NOT NULL")
    load(kinds)
    with kinds.connect() as connection:
        assert connection.execute("SELECT DISTINCT cardinality(place) FROM points").fetchall() == [(4,)]


def test_a_partitioned_table_loads_without_freeze(shop: Sandbox) -> None:
    """PostgreSQL refuses FREEZE for partitioned tables, so it is not used there."""
    created(
        shop,
        """
        DROP TABLE notes;
        CREATE TABLE notes (id integer PRIMARY KEY, customer_id bigint NOT NULL REFERENCES customers, number integer)
            PARTITION BY RANGE (id);
        CREATE TABLE notes_low PARTITION OF notes FOR VALUES FROM (MINVALUE) TO (100);
        CREATE TABLE notes_high PARTITION OF notes FOR VALUES FROM (100) TO (MAXVALUE);
        """,
    )
    steps = {step.entity.name: step for step in load(shop).plan.tables}
    assert (steps["notes"].freeze, steps["notes"].empty_by) == (False, "truncate")
    assert steps["customers"].freeze
    load(shop)


def test_a_table_that_others_refer_to_is_emptied_by_delete(shop: Sandbox) -> None:
    """So are the tables that it refers to: a TRUNCATE of them would have to name it too."""
    created(shop, "CREATE TABLE complaints (id int, order_id bigint REFERENCES orders)")
    load(shop)
    steps = {step.entity.name: step for step in load(shop).plan.tables}
    assert (steps["orders"].empty_by, steps["orders"].freeze) == ("delete", False)
    assert (steps["customers"].empty_by, steps["categories"].empty_by) == ("delete", "delete")
    assert steps["invoices"].empty_by == "truncate"
    assert any("complaints" in reason for reason in steps["orders"].reasons)


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


def test_all_problems_of_the_schema_are_reported_at_once(shop: Sandbox) -> None:
    """One error lists missing tables and columns, other types, generated columns and new columns that need values."""
    created(
        shop,
        """
        DROP TABLE notes;
        ALTER TABLE shops RENAME owner TO proprietor;
        ALTER TABLE categories ALTER rank TYPE bigint;
        ALTER TABLE orders ALTER total TYPE numeric(9, 3);
        ALTER TABLE customers DROP COLUMN balance;
        ALTER TABLE customers ADD COLUMN balance numeric(10, 2) GENERATED ALWAYS AS (1.5) STORED;
        ALTER TABLE customers ADD COLUMN needed integer NOT NULL, ADD COLUMN optional integer;
        ALTER TABLE customers ADD COLUMN filled integer NOT NULL DEFAULT 5;
        """,
    )
    text = str(refused(shop))
    for problem in (
        "table notes does not exist",
        "shops.owner does not exist (expected bigint)",
        "categories.rank is bigint, expected smallint",
        "orders.total is numeric(9,3), expected numeric(8,2)",
        "customers.balance is a generated column",
        "customers.needed is NOT NULL without a default",
    ):
        assert problem in text
    assert "optional" not in text
    assert "customers.filled" not in text


def test_a_view_in_place_of_a_table_is_not_loaded_into(shop: Sandbox) -> None:
    """A view of the right name is a problem of the schema."""
    created(shop, "ALTER TABLE notes RENAME TO real_notes; CREATE VIEW notes AS SELECT * FROM real_notes")
    assert "notes is not a table" in str(refused(shop))


def test_the_search_path_decides_where_unqualified_tables_are(shop: Sandbox) -> None:
    """A table is loaded where the role's search path finds it, and the record names its schema."""
    created(shop, "CREATE SCHEMA app; ALTER TABLE notes SET SCHEMA app")
    url = f"{shop.url} options='-c search_path=app,public'"
    report = load_snapshot(shop.project, shop.environment(database=url))
    assert "app.notes" in {str(step.table) for step in report.plan.tables}
    assert verify_snapshot(shop.project, shop.environment(database=url)).agrees


def test_a_role_that_does_not_own_the_tables_can_load_them(kinds: Sandbox) -> None:
    """Privileges on the tables are enough if no sequence has to be set. What only the owner may do is left alone."""
    created(kinds, "CREATE ROLE loader LOGIN")
    try:
        with kinds.connect() as connection:
            connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO loader")
            connection.execute(f"GRANT CREATE ON DATABASE {connection.info.dbname} TO loader".encode())
        environment = kinds.environment(database=f"{kinds.url} user=loader")
        report = load_snapshot(kinds.project, environment, LoadRequest(only=["spans", "points"]))
        assert any("does not own" in reason for step in report.plan.tables for reason in step.reasons)
        assert verify_snapshot(kinds.project, environment, only=["spans", "points"]).agrees
    finally:
        with kinds.connect() as connection:
            connection.execute("DROP OWNED BY loader; DROP ROLE loader")


def test_row_level_security_is_reported_before_copy_fails(shop: Sandbox) -> None:
    """PostgreSQL refuses COPY under row-level security, so the load reports it first."""
    created(
        shop,
        "ALTER TABLE notes ENABLE ROW LEVEL SECURITY; CREATE ROLE limited LOGIN;"
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO limited",
    )
    try:
        with pytest.raises(SchemaError, match="do not fit") as caught:
            load_snapshot(shop.project, shop.environment(database=f"{shop.url} user=limited"))
        assert "row-level security of notes" in str(caught.value)
    finally:
        with shop.connect() as connection:
            connection.execute("DROP OWNED BY limited; DROP ROLE limited")


def test_no_verify_commits_without_comparing(shop: Sandbox) -> None:
    """With verify=False the rows are committed, and the report shows that nothing was compared."""
    report = load_snapshot(shop.project, shop.environment(), LoadRequest(verify=False))
    assert report.verified == ()
    assert verify_snapshot(shop.project, shop.environment()).agrees


def test_a_failure_after_the_commit_says_that_the_rows_are_there(shop: Sandbox) -> None:
    """A failure never says that nothing was changed once the rows are committed."""
    environment = shop.environment(lock_timeout="100ms")
    with shop.connect() as other:

        def lock(moment: str) -> None:
            if moment == COMMITTED:
                other.execute("BEGIN; LOCK orders")

        with pytest.raises(ServerError) as caught:
            load_snapshot(shop.project, environment, listener=at_moments(lock))
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
