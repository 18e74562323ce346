"""What a capture reads of its source, what it leaves out or refuses, and what the source's role needs for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from snapseed.capture.request import CaptureRequest, subset_request
from snapseed.capture.snapshot import capture_snapshot
from snapseed.errors import ConfigurationError, RefusedError, SchemaError, UsageError, VerificationError
from snapseed.events import Advanced, Event
from snapseed.snapshot.store import open_snapshot
from tests.capture.conftest import Captured, filled, project_in
from tests.capture.test_schema import role_in
from tests.conftest import Connection, new_database

ROWS = CaptureRequest(schema=False, unmasked=True)
OTHERS = """
CREATE TABLE plain(id serial PRIMARY KEY); INSERT INTO plain DEFAULT VALUES;
CREATE SEQUENCE free;
CREATE FOREIGN DATA WRAPPER wrapper; CREATE SERVER far FOREIGN DATA WRAPPER wrapper;
CREATE FOREIGN TABLE remote(id int) SERVER far;
CREATE TABLE parts(id int) PARTITION BY LIST (id); CREATE FOREIGN TABLE part PARTITION OF parts DEFAULT SERVER far;
CREATE TABLE of_extension(id int); ALTER EXTENSION plpgsql ADD TABLE of_extension;
CREATE SCHEMA snapseed; CREATE TABLE snapseed.loads(id int);
CREATE UNLOGGED TABLE cache(id int, tags text[]);
CREATE VIEW seen AS SELECT * FROM plain; CREATE MATERIALIZED VIEW stored AS SELECT * FROM plain;
CREATE TEMPORARY TABLE gone(id int);
CREATE TABLE nothing();
"""


@pytest.fixture(scope="module")
def others_once(server: str) -> Iterator[str]:
    """The URL of a database with relations of every kind, which tests only read."""
    with new_database(server) as url:
        yield filled(url, OTHERS)


@pytest.fixture
def unchanged(others_once: str, tmp_path: Path) -> Captured:
    """A project for this database."""
    return project_in(tmp_path, others_once)


@pytest.fixture
def others(database: str, tmp_path: Path) -> Captured:
    """A project for a database like it that the test may change."""
    return project_in(tmp_path, filled(database, OTHERS))


def names(project: Captured, request: CaptureRequest) -> list[str]:
    """The entities of a capture."""
    return [entity.name for entity in project.capture(request).manifest.entities]


def test_each_relation_is_captured_or_named(unchanged: Captured) -> None:
    """Tables of extensions, of others' servers and of snapseed itself are left out; views have no rows of their own."""
    report = unchanged.capture(ROWS)
    assert [entity.name for entity in report.manifest.entities] == ["cache", "plain"]
    said = [note.split()[0] for note in report.notes]
    assert sorted(said) == [
        *("public.cache", "public.nothing", "public.of_extension", "public.parts", "public.remote"),
    ]
    (free,) = report.manifest.capture.sequences  # type: ignore[union-attr]
    assert (free.name, free.is_called) == ("free", False)


def test_tables_are_chosen_by_name(unchanged: Captured) -> None:
    """By the name of the table or entity, with or without the schema."""
    for only, exclude, found in (
        (("plain",), (), ["plain"]),
        (("public.plain", "cache"), (), ["cache", "plain"]),
        ((), ("cache",), ["plain"]),
        (("plain", "cache"), ("public.cache",), ["plain"]),
    ):
        assert names(unchanged, CaptureRequest(only=only, exclude=exclude, schema=False)) == found, (only, exclude)


def test_the_same_name_in_two_schemas(captured: Captured) -> None:
    """Entities have the schema in their names only where they need it; a table's name stands for all that have it."""
    assert names(captured, CaptureRequest(only=("a",), schema=False)) == ["other_a", "public_a"]
    assert names(captured, CaptureRequest(only=("Other.a",), schema=False)) == ["other_a"]
    assert names(captured, CaptureRequest(only=('Weird "Name" 100%',), schema=False)) == ["weird__name__100_"]


def test_names_in_other_alphabets_stay_apart(others: Captured) -> None:
    """The name of an entity does not depend on such names of other tables."""
    filled(others.url, 'CREATE TABLE "日本"(id int)')
    alone = names(others, CaptureRequest(only=("日本",), schema=False))
    filled(others.url, 'CREATE TABLE "中文"(id int)')
    assert names(others, CaptureRequest(only=("日本",), schema=False)) == alone
    assert names(others, CaptureRequest(only=("中文",), schema=False)) != alone


def test_an_unknown_table_is_an_error(unchanged: Captured) -> None:
    """A view, or a table that is left out, cannot be asked for either."""
    for name in ("plan", "seen", "remote"):
        with pytest.raises(UsageError) as caught:
            unchanged.capture(CaptureRequest(only=(name,), schema=False))
        assert caught.value.observed == name


def test_no_table_is_an_error(others: Captured, database: str) -> None:
    """The snapshot before stays, whether the choice leaves nothing or there is nothing, as with a wrong database."""
    kept = others.capture(ROWS).manifest
    with pytest.raises(UsageError):
        others.capture(CaptureRequest(only=("plain",), exclude=("plain",)))
    filled(database, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    with pytest.raises(UsageError):
        others.capture(ROWS)
    assert open_snapshot(others.project.snapshots, "dev").manifest == kept


def test_references_that_lead_out_of_a_choice_are_named(others: Captured) -> None:
    """A copy of such a table alone could not have its foreign key."""
    filled(others.url, "CREATE TABLE child(id int REFERENCES plain, parent int); CREATE TABLE other(id int)")
    assert others.capture(ROWS).notes == others.capture(CaptureRequest(exclude=("other",), schema=False)).notes
    (note,) = others.capture(CaptureRequest(only=("child", "other"), schema=False)).notes[-1:]
    assert note.startswith("public.child refers to public.plain")


def test_a_project_without_a_source_says_how_to_name_one(unchanged: Captured) -> None:
    """The flag, or the key of the environment, whose variable only a capture needs."""
    project = unchanged.project
    with pytest.raises(ConfigurationError, match="no database to capture"):
        capture_snapshot(project, project.environment("dev"), ROWS)
    (unchanged.folder / "snapseed.toml").write_text('[environments.dev]\nsource = "${NOT_SET}"\n')
    environment = unchanged.project.environment("dev")
    with pytest.raises(ConfigurationError, match="NOT_SET"):
        capture_snapshot(unchanged.project, environment, ROWS)


def test_a_role_that_may_only_select_is_enough(others: Captured) -> None:
    """All that it lacks is listed at once, with the SQL that gives it; with that, it captures what the owner does."""
    with role_in(others.url) as (_, url, owner):
        owner.execute(f"REVOKE TEMPORARY ON DATABASE {owner.info.dbname} FROM PUBLIC".encode())
        limited = Captured(others.folder, url)
        with pytest.raises(SchemaError) as caught:
            limited.capture(ROWS)
        grants = [line for line in str(caught.value.next_step).splitlines() if line.startswith("GRANT")]
        assert sorted(grant.split(" TO ")[0] for grant in grants) == [
            'GRANT SELECT ON "public"."cache"',
            'GRANT SELECT ON "public"."plain"',
            'GRANT SELECT ON SEQUENCE "public"."free"',
            'GRANT SELECT ON SEQUENCE "public"."plain_id_seq"',
        ]
        chosen = CaptureRequest(only=("plain",), schema=False)
        for grant in grants:
            if "free" in grant:
                assert "public.free" in "".join(limited.capture(chosen).notes)
            owner.execute(grant.encode())
        assert limited.capture(ROWS).manifest == others.capture(ROWS).manifest
        assert limited.capture(CaptureRequest(schema=False, jobs=3)).manifest == others.capture(ROWS).manifest


def test_rows_that_policies_hide_are_refused_unless_asked_for(others: Captured) -> None:
    """The owner, to whom no policy applies, captures all of them."""
    with role_in(others.url) as (name, url, owner):
        owner.execute(
            f"""INSERT INTO plain DEFAULT VALUES; ALTER TABLE plain ENABLE ROW LEVEL SECURITY;
            CREATE POLICY one ON plain TO {name} USING (id = 1);
            GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name};
            GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {name}""".encode()
        )
        limited = Captured(others.folder, url)
        with pytest.raises(RefusedError) as caught:
            limited.capture(ROWS)
        assert "public.plain" in str(caught.value.observed)
        report = limited.capture(CaptureRequest(schema=False, visible_rows=True))
        assert [table.rows for table in report.tables if table.entity == "plain"] == [1]
    assert others.capture(ROWS).manifest.rows == 2


def test_rows_that_policies_hide_are_in_no_subset(others: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor behind masks; a row that refers to one of them is counted."""
    monkeypatch.setenv("SNAPSEED_MASK_SECRET", "s" * 32)
    (others.folder / "snapseed.toml").write_text('[environments.dev]\n[mask]\n"owners.email" = "email"\n')
    with role_in(others.url) as (name, url, owner):
        owner.execute("""
            CREATE TABLE owners(id int PRIMARY KEY, email text); INSERT INTO owners VALUES (1, 'a@b.c'), (2, 'd@e.f');
            CREATE TABLE pets(id int PRIMARY KEY, owner int REFERENCES owners); INSERT INTO pets VALUES (7, 1), (8, 2);
            ALTER TABLE owners ENABLE ROW LEVEL SECURITY; CREATE POLICY one ON owners USING (id = 1)""")
        owner.execute(f"GRANT SELECT ON owners, pets TO {name}".encode())
        request = CaptureRequest(only=("owners", "pets"), schema=False, subset=subset_request("pets", 2))
        environment = others.project.environment("dev", {"source": url})
        with pytest.raises(RefusedError):
            capture_snapshot(others.project, environment, request)
        report = capture_snapshot(others.project, environment, replace(request, visible_rows=True))
    assert {table.entity: table.rows for table in report.tables} == {"owners": 1, "pets": 2}
    assert report.subset
    assert [found.rows for found in report.subset.orphans] == [1]
    snapshot = open_snapshot(others.project.snapshots, "dev")
    (emails,) = (batch.column(0) for batch in snapshot.batches(snapshot.manifest.entities[0], ["email"]))
    assert emails[0].as_py().endswith("@example.com")


def test_large_objects_are_refused_by_name(others: Captured, connection: Connection) -> None:
    """Unless they are to be left out."""
    connection.execute("SELECT lo_create(0)")
    with pytest.raises(RefusedError, match="large objects"):
        others.capture(ROWS)
    report = others.capture(CaptureRequest(schema=False, large_objects=False))
    assert any("large object" in note for note in report.notes)


def test_a_difference_to_the_server_ends_the_capture(others: Captured, connection: Connection) -> None:
    """Text that is another one each time stands for anything between us and the server that changes values."""
    others.capture(ROWS)
    before = open_snapshot(others.project.snapshots, "dev").manifest
    connection.execute("""
        CREATE TYPE pair AS (a int); CREATE TABLE pairs(p pair); INSERT INTO pairs VALUES (ROW(1));
        CREATE FUNCTION shown(pair) RETURNS text LANGUAGE sql VOLATILE AS 'SELECT random()::text';
        CREATE CAST (pair AS text) WITH FUNCTION shown(pair)""")
    with pytest.raises(VerificationError) as caught:
        others.capture(ROWS)
    assert "public.pairs" in str(caught.value.observed)
    assert open_snapshot(others.project.snapshots, "dev").manifest == before


def test_progress_is_told_by_table(captured: Captured) -> None:
    """Rows and bytes, up to the end."""
    events: list[Event] = []
    environment = captured.project.environment("dev", {"source": captured.url})
    report = capture_snapshot(captured.project, environment, ROWS, listener=events.append)
    last = {event.what: (event.done, event.total, event.bytes > 0) for event in events if isinstance(event, Advanced)}
    assert last == {table.entity: (table.rows, table.rows, table.rows > 0) for table in report.tables}


def test_sequences_are_never_behind_their_keys(others: Captured, connection: Connection) -> None:
    """Explicit keys go past a sequence; a key that no sequence could give, or of another table, does not move it."""
    connection.execute("""
        INSERT INTO plain VALUES (41), (7);
        CREATE SEQUENCE narrow MAXVALUE 10; CREATE TABLE far_out(id int DEFAULT nextval('narrow'));
        SELECT nextval('narrow'); INSERT INTO far_out VALUES (1000);
        CREATE SEQUENCE down INCREMENT -1 MINVALUE -100 MAXVALUE 100;
        CREATE TABLE falling(id int DEFAULT nextval('down'));
        SELECT nextval('down'); INSERT INTO falling VALUES (-5), (99)""")
    found = {
        sequence.name: (sequence.last_value, sequence.is_called)
        for entity in others.capture(ROWS).manifest.entities
        for sequence in entity.sequences or ()
    }
    assert found == {"plain_id_seq": (41, True), "narrow": (1, True), "down": (-5, True)}
