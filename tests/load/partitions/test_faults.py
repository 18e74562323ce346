"""A parallel load that fails or is killed leaves the old rows; the next one takes over or clears its staging tables."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg
import pytest

from snapseed import LoadRequest, SnapseedError, load_snapshot
from snapseed.capture.mask.facts import read_facts
from snapseed.errors import LoadError, ServerError, SnapshotError, UsageError, VerificationError
from snapseed.events import Event, Listener, Note, PhaseEnded, PhaseStarted, ignore
from snapseed.load.outcome import LoadReport
from snapseed.load.plan import LoadPlan
from snapseed.load.request import LoadSettings
from snapseed.postgres.catalog import every_table
from snapseed.scaffold.schema import read_schema
from snapseed.verify.status import status_of
from tests.capture.conftest import project_in
from tests.command_line import CONTEXT
from tests.conftest import Sandbox, copied
from tests.load.partitions.test_exchange import PEOPLE, RANGES
from tests.load.shapes import Shapes


def by_hash(count: int, table: str = PEOPLE % "id") -> str:
    """A table with so many partitions."""
    parts = (
        f"CREATE TABLE p{n} PARTITION OF people FOR VALUES WITH (MODULUS {count}, REMAINDER {n});" for n in range(count)
    )
    return f"{table} PARTITION BY HASH (id);" + "".join(parts)


HASHED = by_hash(3)
STAGES = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'snapseed\\__%' ORDER BY 1"
ROWS = "SELECT count(*), max(name) FROM people"
OLD, NEW = [(1, "old")], [(30, "Çelik")]


def load(folder: Path, url: str, listener: Listener = ignore) -> LoadReport:
    """A load over two connections."""
    sandbox = Sandbox(folder, url)
    environment = sandbox.environment(None, connections=2, lock_timeout="300ms")
    settings = LoadSettings(parallel_rows=0)
    return load_snapshot(sandbox.project, environment, LoadRequest(consent=True), listener=listener, settings=settings)


def unfinished(shapes: Shapes) -> tuple[str, ...]:
    """What `snapseed status` and a dry run say that loads have left which did not finish."""
    plan = shapes.load(dry_run=True, consent=True).plan
    found = status_of(shapes.project, shapes.environment()).unfinished
    assert found == tuple(dict.fromkeys(map(str, plan.stages)))
    return found


def left_unfinished(shapes: Shapes) -> None:
    """A load that waits in vain for a reader leaves its staging tables."""
    with shapes.connect() as reader, reader.transaction():
        reader.execute("SELECT FROM people")
        with pytest.raises(ServerError):
            load(shapes.folder, shapes.url)
    assert shapes.execute(STAGES) != []


def notes(events: list[Event]) -> str:
    """The notes among these events."""
    return "\n".join(event.text for event in events if isinstance(event, Note))


def prepared(shapes: Shapes, ddl: str) -> Shapes:
    """Tables with a row that a load replaces."""
    shapes.create(ddl)
    shapes.execute("INSERT INTO people (id, name) VALUES (3, 'old')")
    return shapes


def at(phase: str, act: Callable[[], object], kind: type[PhaseStarted | PhaseEnded] = PhaseEnded) -> Listener:
    """A listener that acts when this phase ends, or starts."""

    def listen(event: Event) -> None:
        if isinstance(event, kind) and event.phase == phase:
            act()

    return listen


def killed(folder: Path, url: str, phase: str) -> None:
    """In a process: a load that gets `kill -9` when this phase has ended."""
    load(folder, url, at(phase, lambda: os.kill(os.getpid(), signal.SIGKILL)))


@pytest.mark.parametrize("ddl", [RANGES, HASHED], ids=["by bounds", "by the server"])
def test_readers_see_the_old_rows_until_the_commit(shapes: Shapes, ddl: str) -> None:
    """While partitions are filled others read, and do not write; before the COMMIT they wait."""
    prepared(shapes, ddl)
    seen: list[object] = []

    def look() -> None:
        with psycopg.connect(shapes.url) as other:
            other.execute("SET lock_timeout = '50ms'")
            seen.append(other.execute(ROWS).fetchall())
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute("DELETE FROM people")

    def wait() -> None:
        with psycopg.connect(shapes.url) as other, pytest.raises(psycopg.errors.LockNotAvailable):
            other.execute("SET lock_timeout = '50ms'; SELECT FROM people")
        seen.append("waits")

    def listen(event: Event) -> None:
        at("filling partitions", look)(event)
        at("attaching partitions", wait)(event)

    load(shapes.folder, shapes.url, listen)
    assert seen == [OLD, "waits"]
    assert shapes.execute(ROWS) == NEW


def test_analyze_does_not_wait_for_a_table_that_others_have_locked(shapes: Shapes) -> None:
    """Autovacuum locks a table while it analyzes it. All other new partitions and the table itself have statistics."""
    prepared(shapes, RANGES)
    with shapes.connect() as other, other.transaction():
        hold = partial(other.execute, "LOCK TABLE low IN SHARE UPDATE EXCLUSIVE MODE")
        load(shapes.folder, shapes.url, at("committing", hold))
    analyzed = "SELECT DISTINCT tablename::text, inherited FROM pg_stats WHERE tablename IN ('people', 'low', 'high')"
    assert shapes.execute(f"{analyzed} ORDER BY 1") == [("high", False), ("people", True)]


ALL = ("looking for staging tables", "filling partitions", "recording")


@pytest.mark.parametrize(("ddl", "phases"), [(RANGES, ALL), (HASHED, ALL[1:2])], ids=["by bounds", "by the server"])
def test_kill_9_leaves_the_old_rows_and_the_next_load_takes_over(
    shapes: Shapes, ddl: str, phases: tuple[str, ...]
) -> None:
    """Filled partitions are not filled again: their rows are still of the transactions that wrote them."""
    prepared(shapes, ddl)
    for phase in phases:
        process = CONTEXT.Process(target=killed, args=(shapes.folder, shapes.url, phase))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert shapes.execute(ROWS) == OLD, phase
        (stage, *_) = stages = [str(name) for (name,) in shapes.execute(STAGES)]
        (said,) = unfinished(shapes)
        assert all(name in said for name in [f"{stage}*", "public.people"])
        assert all(name.startswith(stage) for name in stages)
    result = f"TABLE {stage}.parts"
    written = {(done["transaction"],) for _, done in shapes.execute(result) if done["copied"]}  # type: ignore[index]
    heard: list[Event] = []
    report = load(shapes.folder, shapes.url, heard.append)
    assert "public.people" in notes(heard)
    assert [copy.seconds for copy in report.entities if copy.entity == "people"] == [0.0]
    assert shapes.execute(ROWS) == NEW
    recorded = "SELECT jsonb_array_elements(state -> 'public.people' -> 'transactions') FROM snapseed.loads"
    assert set(shapes.execute(recorded)) == written != set()
    times = "SELECT entity -> 'rows' FROM (SELECT (state ->> 'times')::jsonb times FROM snapseed.loads ORDER BY id) l,"
    times += " jsonb_array_elements(times -> 'entities') entity WHERE times -> 'phases' ? 'filling partitions'"
    assert shapes.execute(times)
    assert shapes.execute(STAGES) == []


def test_staging_tables_of_other_rows_are_dropped(shapes: Shapes) -> None:
    """The table has changed since the load ended; and a load over one connection clears what is left as well."""
    prepared(shapes, RANGES)
    left_unfinished(shapes)
    shapes.execute("ALTER TABLE people ADD more int DEFAULT 1")
    ((stage,), *_) = shapes.execute(STAGES)
    heard: list[Event] = []
    load(shapes.folder, shapes.url, heard.append)
    assert str(stage) in notes(heard)
    assert shapes.execute(STAGES) == []
    mark = f"snapseed staging {'1' * 64}"
    shapes.execute(
        f"CREATE SCHEMA snapseed_1 CREATE TABLE parts (); COMMENT ON SCHEMA snapseed_1 IS '{mark}';"
        "CREATE SCHEMA snapseed_2; COMMENT ON SCHEMA snapseed_2 IS 'snapseed staging area';"
        f"CREATE SCHEMA staging; COMMENT ON SCHEMA staging IS '{mark}'"
    )
    shapes.load(agrees=True)
    assert shapes.execute(STAGES) == [("snapseed_2",)]
    assert shapes.execute("SELECT nspname FROM pg_namespace WHERE nspname = 'staging'")


# What is wrong with one part of the rows, and what the message names.
VIOLATIONS = {
    "a check": (
        "ALTER TABLE low ADD CONSTRAINT bad CHECK (score < 0) NO INHERIT",
        ("low", "bad", "from people.parquet"),
    ),
    "a unique index": ("CREATE UNIQUE INDEX bad ON middle (team)", ("middle", "bad", "from people.parquet")),
    "a foreign key": (
        "ALTER TABLE teams ADD n int UNIQUE; ALTER TABLE people ADD FOREIGN KEY (seat) REFERENCES teams (n)",
        ("attaching the partitions of public.people", "people_seat_fkey"),
    ),
    "no partition": ("DROP TABLE high", ("public.people", "19 rows")),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_violation_in_one_part_undoes_all(shapes: Shapes, name: str) -> None:
    """The message names partition, files and constraint. No staging table is left."""
    ddl, named = VIOLATIONS[name]
    prepared(shapes, RANGES + ddl)
    with pytest.raises(LoadError) as caught:
        load(shapes.folder, shapes.url)
    assert not [word for word in named if word not in str(caught.value)], caught.value
    assert shapes.execute(ROWS) == OLD
    assert shapes.execute(STAGES) == []


@pytest.mark.parametrize("ddl", [RANGES, HASHED], ids=["by bounds", "by the server"])
def test_a_reader_that_does_not_end_is_waited_for_up_to_lock_timeout(shapes: Shapes, ddl: str) -> None:
    """The work is kept. If a crash of the server then empties the record of it, the next load stages all again."""
    prepared(shapes, ddl)
    left_unfinished(shapes)
    assert shapes.execute(ROWS) == OLD
    ((stage,), *_) = shapes.execute(STAGES)
    record = "SELECT relpersistence FROM pg_class WHERE relname = 'parts' AND relnamespace::regnamespace::text LIKE"
    assert shapes.one(f"{record} 'snapseed\\__%'") == "u"
    shapes.execute(f"TRUNCATE {stage}.parts")
    load(shapes.folder, shapes.url)
    assert (shapes.execute(ROWS), shapes.execute(STAGES)) == (NEW, [])


def test_the_phases_say_where_the_time_went(shapes: Shapes) -> None:
    """What several connections do side by side counts as the time of one of them, so all phases add up to the whole."""
    prepared(shapes, RANGES)
    started = time.monotonic()
    phases = load(shapes.folder, shapes.url).phases
    assert sum(phases.values()) <= time.monotonic() - started
    assert all(phases[name] > 0 for name in ("filling partitions", "copying rows", "building indexes", "verifying"))


def test_more_connections_than_the_server_has_room_for(shapes: Shapes) -> None:
    """Refused before anything is touched; the next step says how many there is room for."""
    shapes.create(by_hash(110))
    error = shapes.refused(connections=1_000, dry_run=True)
    assert isinstance(error, UsageError)
    assert re.search(r"--connections \d+", str(error.next_step))


def test_ctrl_c_stops_all_connections_and_clears(shapes: Shapes) -> None:
    """While partitions are filled."""
    prepared(shapes, HASHED)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SnapseedError) as caught:
        load(shapes.folder, shapes.url, at("filling partitions", interrupt, PhaseStarted))
    assert caught.value.exit_code == 130
    assert (shapes.execute(ROWS), shapes.execute(STAGES)) == (OLD, [])


def test_what_reads_a_whole_database_does_not_see_staging_tables(shapes: Shapes, tmp_path: Path) -> None:
    """A capture, also with masks, a project made from the tables, and the list of tables for `diff`."""
    prepared(shapes, RANGES)
    source = project_in(tmp_path, shapes.url)

    def seen() -> tuple[object, ...]:
        with psycopg.connect(shapes.url) as connection:
            return source.capture().manifest, read_schema(connection), read_facts(connection), every_table(connection)

    before = seen()
    left_unfinished(shapes)
    assert seen() == before


def test_a_part_that_is_altered_while_partitions_are_filled_changes_nothing(shapes: Shapes, tmp_path: Path) -> None:
    """Its SHA-256 was right when the load began. Nothing of it is kept for the next load."""
    prepared(shapes, RANGES)
    folder = copied(shapes.folder, tmp_path)
    part = folder / "snapshots" / "dev" / "people.parquet"

    def alter() -> None:
        found = part.read_bytes()
        half = len(found) // 2
        part.write_bytes(bytes(byte ^ 1 for byte in found[:half]) + found[half:])

    with pytest.raises((SnapshotError, VerificationError)):
        load(folder, shapes.url, at("filling partitions", alter, PhaseStarted))
    assert (shapes.execute(ROWS), shapes.execute(STAGES)) == (OLD, [])


LOCKS = "SELECT count(*)::int FROM pg_locks WHERE NOT fastpath GROUP BY pid ORDER BY 1 DESC LIMIT 1"
COUNTED = {
    "much of its own": (
        PEOPLE % "id",
        """CREATE INDEX ON people (team); CREATE INDEX ON people (lower(name));
        ALTER TABLE people ADD CHECK (score > -1), ALTER score SET DEFAULT 3, ALTER name SET NOT NULL""",
    ),
    "keys to both sides": (
        PEOPLE % "id",
        """ALTER TABLE people ADD FOREIGN KEY (team) REFERENCES teams;
        ALTER TABLE badges ADD FOREIGN KEY (person) REFERENCES people""",
    ),
}


@pytest.mark.parametrize("name", COUNTED)
def test_the_plan_counts_the_locks_of_the_last_transaction(shapes: Shapes, name: str) -> None:
    """Ten more partitions take no more locks than the plan says, and not less than half."""
    counts: list[tuple[int, int]] = []

    def listen(event: Event) -> None:
        if isinstance(event, LoadPlan):
            planned.extend(
                part.locks for table in event.tables if table.parallel for part in table.parallel.tree.partitions
            )
        at("attaching partitions", lambda: counts.append((sum(planned), int(str(shapes.one(LOCKS))))))(event)

    table, more = COUNTED[name]
    for partitions in (2, 12):
        planned: list[int] = []
        shapes.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        shapes.create(by_hash(partitions, table) + more)
        load(shapes.folder, shapes.url, listen)
    (few, before), (many, after) = counts
    assert 0.5 * (many - few) <= after - before <= many - few
