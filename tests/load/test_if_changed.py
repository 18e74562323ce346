"""`--if-changed` does nothing if the database still holds this snapshot, and loads if it may not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from snapseed import load_snapshot
from snapseed.events import notes_to
from snapseed.load.request import LoadRequest, Mode
from tests.load.shapes import Shapes
from tests.projects.state import generated


def is_skipped(shapes: Shapes, mode: Mode = Mode.REPLACE, **options: object) -> bool:
    """Whether a load with if_changed did nothing. It leaves a record exactly if it did something."""
    before = shapes.one("SELECT count(*) FROM snapseed.loads")
    report = shapes.load(mode, if_changed=True, consent=True, **options)  # type: ignore[arg-type]
    added = int(str(shapes.one("SELECT count(*) FROM snapseed.loads"))) - int(str(before))
    assert added == (0 if report.already_loaded else 1)
    assert bool(report.entities) is not report.already_loaded
    return report.already_loaded


@pytest.fixture
def loaded(shapes: Shapes) -> Shapes:
    """The snapshot, loaded."""
    shapes.create("CREATE TABLE outside (n int)")
    shapes.load()
    return shapes


def test_an_unchanged_database_is_left_alone(loaded: Shapes) -> None:
    """However often it is asked, also for one entity. Reading, ANALYZE and VACUUM are not changes."""
    assert is_skipped(loaded)
    loaded.execute("ANALYZE; INSERT INTO outside VALUES (1); SELECT count(*) FROM people")
    loaded.execute("VACUUM (FREEZE) people")
    assert is_skipped(loaded)
    assert is_skipped(loaded, only=["people"])
    loaded.load()
    assert is_skipped(loaded)


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO teams VALUES ('zero', 'More', NULL)",
        "UPDATE badges SET mark = 'stone' WHERE id = (SELECT id FROM badges ORDER BY id DESC LIMIT 1)",
        "DELETE FROM people WHERE id = 17",
        "DELETE FROM people WHERE id = 30; INSERT INTO outside SELECT n FROM generate_series(1, 100) n",
        "TRUNCATE badges",
        "ALTER TABLE people ALTER score TYPE bigint; ALTER TABLE people ALTER score TYPE integer",
        "CREATE TABLE copied AS TABLE teams; DROP TABLE teams; ALTER TABLE copied RENAME TO teams",
        "SELECT pg_stat_reset()",
        "ALTER TABLE people ADD COLUMN extra integer",
        "VACUUM FULL people",
        "SET session_replication_role = replica; DELETE FROM people WHERE id = 2",
        "UPDATE snapseed.loads SET identity = 'another'",
        "DELETE FROM snapseed.loads",
        "UPDATE snapseed.loads SET state = NULL",
    ],
)
def test_whatever_may_have_changed_rows_loads_again(loaded: Shapes, change: str) -> None:
    """A single row is enough, wherever it is. A table that was rewritten, or has its counts reset, is not trusted."""
    loaded.execute(change)
    assert not is_skipped(loaded)
    assert is_skipped(loaded)


def test_a_change_that_is_not_yet_counted_is_seen_in_the_rows(loaded: Shapes) -> None:
    """A session may report its counts late, but in a small table every row is compared."""
    with loaded.connect() as connection:
        connection.execute("UPDATE people SET name = 'Zoe' WHERE id = 29")
        assert not is_skipped(loaded)


def test_a_load_of_one_entity_does_not_hide_the_others(loaded: Shapes) -> None:
    """Each table is compared with its own last load."""
    loaded.execute("DELETE FROM teams WHERE code = 'Red'")
    assert is_skipped(loaded, only=["badges"])
    loaded.load(only=["badges"])
    assert not is_skipped(loaded)
    loaded.load(only=["badges"])
    assert is_skipped(loaded)


def test_another_snapshot_in_between(loaded: Shapes, tmp_path: Path) -> None:
    """The database holds what was loaded last."""
    folder = tmp_path / "other"
    shutil.copytree(loaded.folder, folder, ignore=shutil.ignore_patterns("snapshots"))
    other = Shapes(folder, loaded.url)
    generated(other, 12)
    assert not is_skipped(other)
    assert is_skipped(other)
    assert not is_skipped(loaded)


def test_extra_rows_are_a_reason_to_replace(shapes: Shapes) -> None:
    """An upsert keeps them, so a load that replaces still has something to do. Another upsert does not."""
    shapes.create("INSERT INTO teams VALUES ('zero', 'Mine', NULL)")
    shapes.load(Mode.UPSERT, consent=True)
    assert is_skipped(shapes, Mode.UPSERT)
    assert not is_skipped(shapes)
    assert is_skipped(shapes, Mode.UPSERT)
    assert is_skipped(shapes)


def test_a_partitioned_table_is_watched_by_its_counts(shapes: Shapes) -> None:
    """No pages are sampled, but the files and counts of each partition are compared."""
    shapes.create(
        """
        DROP TABLE teams;
        CREATE TABLE teams (code text PRIMARY KEY, title text NOT NULL, captain bigint) PARTITION BY HASH (code);
        CREATE TABLE teams_all PARTITION OF teams FOR VALUES WITH (MODULUS 1, REMAINDER 0);
        """
    )
    shapes.load()
    assert is_skipped(shapes)
    shapes.execute("UPDATE teams_all SET title = 'Rot' WHERE code = 'Red'")
    assert not is_skipped(shapes)


def test_the_reason_names_the_table(loaded: Shapes) -> None:
    """Each kind of reason is another one, and a load tells it before it begins."""

    def why(**options: object) -> str:
        told: list[str] = []
        request = LoadRequest(if_changed=True, dry_run=True, consent=True, **options)  # type: ignore[arg-type]
        load_snapshot(loaded.project, loaded.environment(), request, listener=notes_to(told.append))
        return "".join(told)

    assert why() == ""
    loaded.execute("UPDATE badges SET mark = 'stone'")
    changed = why()
    loaded.load(Mode.UPSERT)
    upserted = why()
    loaded.load(verify=False)
    unverified = why()
    assert why(verify=False) == ""
    loaded.execute("UPDATE snapseed.loads SET identity = 'another'")
    other = why()
    assert len({"", changed, upserted, unverified, other}) == 5
    assert "public.badges" in changed
    assert "upsert" in upserted


def test_nothing_was_ever_loaded(shapes: Shapes) -> None:
    """An empty database counts as changed."""
    report = shapes.load(if_changed=True)
    assert not report.already_loaded
    assert shapes.one("SELECT count(*) FROM people") == 30
    assert is_skipped(shapes)


def test_parents_that_were_asked_for_are_looked_at_too(shapes: Shapes) -> None:
    """With --with-parents, a change in a table that the rows refer to counts."""
    shapes.create("ALTER TABLE badges ADD CONSTRAINT its_person FOREIGN KEY (person) REFERENCES people")
    shapes.load()
    assert is_skipped(shapes, only=["badges"], with_parents=True)
    shapes.execute("UPDATE people SET name = 'Zoe' WHERE id = 3")
    assert is_skipped(shapes, only=["badges"])
    assert not is_skipped(shapes, only=["badges"], with_parents=True)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("ALTER TABLE people DROP seat", "people.seat does not exist"),
        ("DROP TABLE people", "table people does not exist"),
        ("ALTER TABLE people RENAME TO folk; CREATE VIEW people AS SELECT * FROM folk", "people is not a table"),
        ("ALTER TABLE people ALTER name TYPE varchar(4)", "name is character varying(4)"),
    ],
)
def test_the_load_reports_what_kept_it_from_comparing(loaded: Shapes, change: str, problem: str) -> None:
    """The error is the load's own, which lists everything."""
    loaded.execute("UPDATE people SET name = 'Bo'")
    loaded.execute(change)
    assert problem in str(loaded.refused(if_changed=True))


def test_an_unverified_load_does_not_count_as_a_verified_one(shapes: Shapes) -> None:
    """Another load without verification is skipped, one with verification is not."""
    shapes.create()
    shapes.load(verify=False)
    assert is_skipped(shapes, verify=False)
    assert not is_skipped(shapes)
    assert is_skipped(shapes)


def test_a_server_that_counts_nothing_is_loaded_again(loaded: Shapes) -> None:
    """Without track_counts nothing would tell of a row on a page that is not looked at."""
    database = loaded.one("SELECT current_database()")
    loaded.execute(f"ALTER DATABASE {database} SET track_counts = off")
    try:
        assert not is_skipped(loaded)
        assert not is_skipped(loaded)
    finally:
        loaded.execute(f"ALTER DATABASE {database} RESET track_counts")
