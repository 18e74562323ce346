"""`snapseed reset`: the database is as it was when the template was made, with its own settings."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import replace

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from snapseed import load_snapshot, verify_snapshot
from snapseed.errors import InterruptedByUserError, RefusedError, UsageError
from snapseed.events import PhaseStarted
from snapseed.testing.replace import Replacing
from snapseed.testing.reset import ResetReport, reset_environment
from tests.projects.state import schema_of
from tests.testing.conftest import Owner, kill_at

_PROPERTIES = """
SELECT pg_get_userbyid(datdba), datconnlimit, array(SELECT unnest(datacl)::text ORDER BY 1),
       shobj_description(d.oid, 'pg_database'),
       array(SELECT coalesce(rolname, 'all') || ' ' || setconfig::text
               FROM pg_db_role_setting LEFT JOIN pg_roles r ON r.oid = setrole WHERE setdatabase = d.oid ORDER BY 1)
  FROM pg_database d WHERE datname = %s
"""


def reset(owner: Owner, *, consent: bool = False, fresh: bool = False) -> ResetReport:
    """Reset, and check that the database then holds the snapshot and that no clone is left."""
    report = reset_environment(
        owner.project, replace(owner.environment(), create_schema=True), consent=consent, fresh=fresh
    )
    assert verify_snapshot(owner.project, owner.environment()).agrees
    assert owner.databases("snapseed_clone") == []
    return report


def execute(owner: Owner, statement: str) -> list[tuple[object, ...]]:
    """A statement in the environment's database."""
    with owner.connect() as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def test_the_first_reset_loads_and_the_next_copies(owner: Owner) -> None:
    """Whatever was done to the rows in between. The schema stays the same."""
    assert reset(owner).loaded
    before = schema_of(owner.url)
    execute(owner, "DELETE FROM badges; UPDATE people SET name = 'changed'; TRUNCATE teams")
    assert not reset(owner).loaded
    assert schema_of(owner.url) == before
    assert len(owner.databases("snapseed_template")) == 1


def test_what_belongs_to_the_database_stays(owner: Owner) -> None:
    """Owner, privileges, comment, connection limit and settings stay, also lists and settings of one role.

    Where the role may not make one of the settings, the reset fails and changes nothing.
    """
    name = f"{owner.role}_db"
    reset(owner)
    for statement in (
        "GRANT CONNECT ON DATABASE {} TO pg_monitor WITH GRANT OPTION",
        "REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC",
        "COMMENT ON DATABASE {} IS 'the team''s'",
        "ALTER DATABASE {} CONNECTION LIMIT 7",
        'ALTER DATABASE {} SET search_path = "$user", public, other',
        "ALTER DATABASE {} SET app.tenant = 'a=b, c'",
        'ALTER DATABASE {} SET temp_tablespaces = missing, "Two, words"',
        "ALTER DATABASE {} SET statement_timeout = '90s'",
    ):
        owner.administer(statement, name)
    owner.administer("ALTER ROLE {} IN DATABASE {} SET work_mem = '8MB'", owner.role, name)
    superuser = str(conninfo_to_dict(owner.server)["user"])
    owner.administer("ALTER ROLE {} IN DATABASE {} SET search_path = ''", superuser, name)
    with psycopg.connect(owner.server) as connection:
        before = connection.execute(_PROPERTIES, [name]).fetchone()
    # Another setting, another template.
    assert reset(owner).loaded
    with pytest.raises(UsageError) as caught:
        reset(owner)
    assert isinstance(caught.value.__cause__, psycopg.errors.InsufficientPrivilege)
    owner.administer("ALTER ROLE {} SUPERUSER", owner.role)
    assert not reset(owner).loaded
    with psycopg.connect(owner.server) as connection:
        assert connection.execute(_PROPERTIES, [name]).fetchone() == before


def test_sessions_of_this_database_end_and_no_others(owner: Owner) -> None:
    """The report says how many."""
    reset(owner)
    with owner.connect() as first, owner.connect() as second, psycopg.connect(owner.server) as other:
        assert reset(owner).sessions == 2
        for ended in (first, second):
            with pytest.raises(psycopg.OperationalError):
                ended.execute("SELECT")
        other.execute("SELECT")


def test_programs_that_connect_again_do_not_stop_it(owner: Owner) -> None:
    """However often they do."""
    reset(owner)
    done = threading.Event()

    def come_back() -> None:
        while not done.is_set():
            with suppress(psycopg.OperationalError), owner.connect() as connection:
                connection.execute("SELECT pg_sleep(0.2)")

    threads = [threading.Thread(target=come_back) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        report = reset_environment(owner.project, owner.environment())
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not report.loaded


def test_rows_of_somebody_else_are_refused(owner: Owner) -> None:
    """Rows in the snapshot's tables that no load recorded, as in a load, and changed rows in other tables."""
    assert owner.project.schema is not None
    execute(owner, owner.project.schema.read_text(encoding="utf-8") + "CREATE TABLE notes (n int)")
    execute(owner, "INSERT INTO teams VALUES ('mine', 'x', NULL)")
    with pytest.raises(RefusedError) as caught:
        reset(owner)
    assert caught.value.observed == "rows in public.teams"
    execute(owner, "DELETE FROM teams")
    assert reset(owner).loaded
    execute(owner, "INSERT INTO notes VALUES (1)")
    with pytest.raises(RefusedError) as caught:
        reset(owner)
    assert "public.notes" in str(caught.value.observed)
    assert execute(owner, "SELECT n FROM notes") == [(1,)]


def test_other_tables_go_back_with_consent_or_stay_in_a_fresh_template(owner: Owner) -> None:
    """--yes puts them back too. --fresh makes a new template of what they hold now."""
    load_snapshot(owner.project, owner.environment())
    execute(owner, "CREATE TABLE notes AS SELECT 1 AS n")
    assert reset(owner).loaded
    execute(owner, "INSERT INTO notes VALUES (2)")
    assert not reset(owner, consent=True).loaded
    assert execute(owner, "SELECT n FROM notes") == [(1,)]
    execute(owner, "INSERT INTO notes VALUES (3)")
    assert reset(owner, fresh=True).loaded
    assert not reset(owner).loaded
    assert execute(owner, "SELECT n FROM notes ORDER BY 1") == [(1,), (3,)]


def test_a_changed_schema_stays_changed(owner: Owner) -> None:
    """A migration is not undone: the snapshot is loaded again, and another template made."""
    reset(owner)
    execute(owner, "ALTER TABLE people ADD COLUMN extra integer")
    before = schema_of(owner.url)
    assert reset(owner).loaded
    assert not reset(owner).loaded
    assert schema_of(owner.url) == before


def test_a_new_schema_file_replaces_what_loads_have_filled(owner: Owner) -> None:
    """With `recreate`; rows of others are refused first, as in a load."""
    reset(owner)
    before = schema_of(owner.url)
    execute(owner, "ALTER TABLE people DROP COLUMN team CASCADE")
    execute(owner, "CREATE TABLE notes AS SELECT 1 AS n")
    environment = replace(owner.environment(), create_schema=True)
    with pytest.raises(RefusedError):
        reset_environment(owner.project, environment, recreate=True)
    assert reset_environment(owner.project, environment, recreate=True, consent=True).loaded
    assert schema_of(owner.url) == before


@pytest.mark.parametrize("event", Replacing)
def test_the_next_reset_clears_up_after_a_killed_one(owner: Owner, event: Replacing) -> None:
    """The database exists all the time, either unchanged or reset. The database that is left over is dropped."""
    reset(owner)
    execute(owner, "DELETE FROM badges")
    kill_at(event, reset_environment, owner)
    assert len(owner.databases("snapseed_clone")) == 1
    assert verify_snapshot(owner.project, owner.environment()).agrees is (event is Replacing.RENAMED)
    left: list[str] = []

    def look(event: object) -> None:
        if event is Replacing.COPY_READY:
            left.extend(owner.databases("snapseed_clone"))

    # It takes no room any more when the next copy is made.
    assert not reset_environment(owner.project, owner.environment(), listener=look).loaded
    assert len(left) == 1
    assert owner.databases("snapseed_clone") == []


@pytest.mark.parametrize(
    ("moment", "stands"),
    [
        (PhaseStarted("looking at the database"), "nothing was changed"),
        (Replacing.COPY_READY, "either nothing was changed or the database is reset"),
        (Replacing.RENAMED, "the database is reset"),
        (PhaseStarted("making the template"), "the snapshot is loaded"),
    ],
)
def test_a_failure_says_which_database_stands(owner: Owner, moment: object, stands: str) -> None:
    """The old one, whole, or the new one."""
    loads = moment == PhaseStarted("making the template")
    environment = replace(owner.environment(), create_schema=True)
    if not loads:
        reset(owner)
        execute(owner, "DELETE FROM badges")

    def interrupt(event: object) -> None:
        if event == moment:
            raise KeyboardInterrupt

    with pytest.raises(InterruptedByUserError, match=stands):
        reset_environment(owner.project, environment, listener=interrupt)
    assert verify_snapshot(owner.project, environment).agrees is (loads or moment is Replacing.RENAMED)


def test_two_at_once_take_turns(owner: Owner) -> None:
    """Both succeed, and the second finds the template of the first."""
    reports = []

    def run() -> None:
        reports.append(reset_environment(owner.project, owner.environment()))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(report.loaded for report in reports) == [False, True]
    assert verify_snapshot(owner.project, owner.environment()).agrees


def test_only_the_owner_may(owner: Owner) -> None:
    """A database of another role is left alone, and so is the one that others are created from."""
    reset(owner)
    owner.administer("ALTER DATABASE {} OWNER TO pg_monitor", f"{owner.role}_db")
    try:
        with pytest.raises(UsageError) as caught:
            reset_environment(owner.project, owner.environment())
        assert "'pg_monitor'" in str(caught.value.observed)
    finally:
        owner.administer("ALTER DATABASE {} OWNER TO {}", f"{owner.role}_db", owner.role)
    url = psycopg.conninfo.make_conninfo(owner.url, dbname="postgres")
    with pytest.raises(UsageError) as caught:
        reset_environment(owner.project, owner.at(url))
    assert "'postgres'" in str(caught.value.where)


def test_the_command_says_what_it_did(owner: Owner) -> None:
    """For people and for programs."""
    document = owner.run_json("reset", "dev")
    assert (document["done"], document["sessions_ended"], document["rows"]) == ("loaded", 0, 94)
    with owner.connect() as connection:
        text = owner.run("reset", "dev", check=True).stdout
        assert connection.closed is False
    assert "sessions 1 ended" in text
    assert "template: 94 rows in" in text
