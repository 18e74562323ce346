"""Whose rows a load would lose or double: decided row by row, and asked for when they are not snapseed's own."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from snapseed import LoadRequest, generate_snapshot, load_snapshot
from snapseed.errors import RefusedError
from snapseed.events import Event
from snapseed.generate.request import Request
from snapseed.load.outcome import Outcome
from snapseed.load.request import Mode
from tests.command_line import CONTEXT
from tests.conftest import Sandbox, copied
from tests.load.shapes import TABLES, Shapes

PARTITIONED = """
DROP TABLE teams;
CREATE TABLE teams (code text PRIMARY KEY, title text NOT NULL, captain bigint) PARTITION BY LIST (code);
CREATE TABLE teams_red PARTITION OF teams FOR VALUES IN ('Red');
CREATE TABLE teams_rest PARTITION OF teams FOR VALUES IN ('blue', 'green', 'ünï');
CREATE TABLE more (LIKE teams INCLUDING ALL);
"""
# What somebody does to a loaded table, and whether a load would lose anything by it.
DEEDS = {
    "a row added": ("INSERT INTO teams VALUES ('mine', 'precious')", True),
    "a row changed": ("UPDATE teams SET title = 'mine' WHERE code = (SELECT min(code) FROM teams)", True),
    "a row changed in a child": ("UPDATE badges SET mark = 'mine' WHERE id = (SELECT id FROM badges LIMIT 1)", True),
    "all replaced by the same": (
        "CREATE TEMP TABLE t AS TABLE badges; DELETE FROM badges; INSERT INTO badges TABLE t",
        True,
    ),
    "rewritten with new values": ("ALTER TABLE teams ADD COLUMN extra float DEFAULT random()", True),
    "rows deleted": ("DELETE FROM badges", False),
    "emptied": ("TRUNCATE badges", False),
    "rows locked": ("SELECT FROM teams FOR UPDATE", False),
    "a column added": ("ALTER TABLE teams ADD COLUMN extra text DEFAULT 'same'", False),
    "an index built": ("CREATE INDEX ON teams (title); REINDEX TABLE teams; ANALYZE teams", False),
    "moved": ("CLUSTER teams USING teams_pkey", False),
    "rows of another table": ("CREATE TABLE other AS TABLE teams", False),
}


@pytest.mark.parametrize("deed", DEEDS)
def test_rows_that_others_wrote_since_the_load_need_consent(shapes: Shapes, deed: str) -> None:
    """Added and changed ones do, whether they were counted or not. Rows that are gone, or only moved, do not."""
    statement, loses = DEEDS[deed]
    shapes.create()
    shapes.load()
    shapes.execute(statement)
    if loses:
        assert isinstance(shapes.refused(), RefusedError)
        assert isinstance(shapes.refused(dry_run=True), RefusedError)
        shapes.load(consent=True)
    shapes.load(agrees="extra" not in statement)


def test_vacuum_moves_rows_and_freezes_them(shapes: Shapes) -> None:
    """They are still those of the load. Not in the table above, because VACUUM runs in no transaction."""
    shapes.create()
    shapes.load()
    with shapes.connect() as connection:
        connection.execute("VACUUM (FULL, FREEZE) teams")
    assert shapes.load().outcome is Outcome.COMMITTED


def test_replace_existing_is_consent(shapes: Shapes) -> None:
    """As it is for rows from before the first load."""
    shapes.create()
    shapes.load()
    shapes.execute("INSERT INTO teams VALUES ('mine', 'precious')")
    report = load_snapshot(shapes.project, shapes.environment(replace_existing=True))
    assert report.outcome is Outcome.COMMITTED
    assert shapes.one("SELECT count(*) FROM teams WHERE code = 'mine'") == 0


def test_rows_of_several_loads_are_ours(shapes: Shapes) -> None:
    """What a load in another mode added, or changed back, is no reason to ask; what others did in between is."""
    shapes.create()
    shapes.load()
    shapes.execute("DELETE FROM badges")
    shapes.load(Mode.UPSERT, agrees=True)
    shapes.load(agrees=True)
    shapes.execute("INSERT INTO teams VALUES ('mine', 'precious')")
    shapes.load(Mode.UPSERT)
    assert isinstance(shapes.refused(), RefusedError)


def test_rows_that_were_only_added_are_ours(shapes: Shapes) -> None:
    """A table that no load has replaced has rows of others only if somebody else wrote them, before or after."""
    shapes.create()
    shapes.load(Mode.APPEND)
    shapes.load()
    shapes.execute("TRUNCATE snapseed.loads; TRUNCATE teams, people, badges")
    shapes.execute("INSERT INTO teams VALUES ('mine', 'precious')")
    shapes.load(Mode.APPEND)
    assert isinstance(shapes.refused(), RefusedError)


@pytest.mark.parametrize(
    ("attach", "loses"),
    [
        ("INSERT INTO more VALUES ('mine', 'precious'); ", True),
        ("", False),
        ("INSERT INTO more VALUES ('mine', 'precious'); DELETE FROM more; ", False),
    ],
)
def test_the_partitions_of_a_table_belong_to_it(shapes: Shapes, attach: str, *, loses: bool) -> None:
    """Rows that came with a partition after the load need consent. An empty partition does not."""
    shapes.create(PARTITIONED)
    shapes.load()
    shapes.execute(f"{attach}ALTER TABLE teams ATTACH PARTITION more FOR VALUES IN ('mine')")
    if loses:
        assert isinstance(shapes.refused(), RefusedError)
    shapes.load(agrees=True, consent=loses)
    shapes.load()


@pytest.mark.parametrize("mode", [Mode.REPLACE, Mode.APPEND])
def test_a_partition_on_another_server_is_refused_whatever_the_consent(shapes: Shapes, mode: Mode) -> None:
    """Nobody has allowed that server. It is not even asked whether it has rows."""
    shapes.create(PARTITIONED)
    shapes.execute(
        """
        ALTER TABLE teams DROP CONSTRAINT teams_pkey;
        DROP FOREIGN DATA WRAPPER IF EXISTS nowhere CASCADE;
        CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER elsewhere FOREIGN DATA WRAPPER nowhere;
        CREATE FOREIGN TABLE far PARTITION OF teams DEFAULT SERVER elsewhere;
        """
    )
    with pytest.raises(RefusedError) as caught:
        shapes.load(mode, consent=True)
    assert "far of public.teams" in str(caught.value.observed)


@pytest.mark.parametrize("mode", sorted({*Mode} - {Mode.REPAIR}))
def test_a_table_of_an_extension_is_refused_whatever_the_consent(shapes: Shapes, mode: Mode) -> None:
    """Its rows are commands to the extension, such as the jobs of pg_cron. Other tables can be loaded."""
    shapes.create()
    shapes.execute("ALTER EXTENSION plpgsql ADD TABLE badges")
    try:
        with pytest.raises(RefusedError) as caught:
            shapes.load(mode, consent=True)
        assert "public.badges, of plpgsql" in str(caught.value.observed)
        assert shapes.load(mode, only=["teams", "people"], consent=True).outcome is Outcome.COMMITTED
    finally:
        shapes.execute("ALTER EXTENSION plpgsql DROP TABLE badges")


@pytest.mark.parametrize("first", [Mode.APPEND, Mode.REPLACE, Mode.UPSERT])
def test_a_snapshot_is_not_added_twice(shapes: Shapes, first: Mode) -> None:
    """A job that is repeated doubles nothing, although no unique index keeps the rows out. Consent adds them again."""
    shapes.create("ALTER TABLE teams DROP CONSTRAINT teams_pkey")
    shapes.execute("ALTER TABLE people DROP CONSTRAINT people_pkey; ALTER TABLE badges DROP CONSTRAINT badges_pkey")
    if first is Mode.UPSERT:
        shapes.execute("ALTER TABLE teams ADD PRIMARY KEY (code)")
    shapes.load(first, only=["teams"])
    error = shapes.refused(Mode.APPEND, only=["teams"])
    assert isinstance(error, RefusedError)
    assert "public.teams" in str(error.observed)
    shapes.execute("ALTER TABLE teams DROP CONSTRAINT IF EXISTS teams_pkey")
    rows = shapes.one("SELECT count(*) FROM teams")
    shapes.load(Mode.APPEND, only=["people", "badges"])
    shapes.load(Mode.APPEND, only=["teams"], consent=True)
    assert shapes.one("SELECT count(*) FROM teams") == 2 * int(str(rows))


UNKEYED = "".join(f"ALTER TABLE {name} DROP CONSTRAINT {name}_pkey; " for name in TABLES)


def test_parts_are_not_added_twice_from_a_snapshot_of_another_name(shapes: Shapes, tmp_path: Path) -> None:
    """Of another scale too. Only tables with a part that is there already are named."""
    other = Shapes(copied(shapes.folder, tmp_path), shapes.url)
    generate_snapshot(other.project, Request("other", other.project.seed, 31))
    shapes.create(UNKEYED)
    shapes.load(Mode.APPEND)
    error = other.refused(Mode.APPEND, snapshot="other")
    assert isinstance(error, RefusedError)
    assert "public.teams (1 of 1 parts)" in str(error.observed)
    assert "people" not in str(error.observed)


def append_and_die(folder: Path, url: str) -> None:
    """In a process: an append that gets `kill -9` when it is committed, before anybody hears of it."""

    def die(event: Event) -> None:
        if event is Outcome.COMMITTED:
            os.kill(os.getpid(), signal.SIGKILL)

    sandbox = Sandbox(folder, url)
    load_snapshot(sandbox.project, sandbox.environment(), LoadRequest(mode=Mode.APPEND), listener=die)


def test_an_append_whose_report_is_lost_is_not_repeated(shapes: Shapes) -> None:
    """Without a unique index: the record is committed with the rows."""
    shapes.create(UNKEYED)
    process = CONTEXT.Process(target=append_and_die, args=(shapes.folder, shapes.url))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert shapes.one("SELECT count(*) FROM people") == 30
    assert isinstance(shapes.refused(Mode.APPEND), RefusedError)


def test_an_append_that_failed_may_be_repeated(shapes: Shapes) -> None:
    """It added nothing. So may one to a table that was emptied or created again."""
    shapes.create("ALTER TABLE teams ADD CONSTRAINT c CHECK (code <> 'Red')")
    shapes.refused(Mode.APPEND)
    shapes.execute("ALTER TABLE teams DROP CONSTRAINT c")
    shapes.load(Mode.APPEND)
    shapes.empty()
    shapes.load(Mode.APPEND)
    shapes.execute("ALTER TABLE teams RENAME TO teams_before; CREATE TABLE teams (LIKE teams_before INCLUDING ALL)")
    assert shapes.load(Mode.APPEND, only=["teams"], agrees=True).outcome is Outcome.COMMITTED
