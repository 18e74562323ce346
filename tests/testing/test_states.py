"""States: a database goes back to what was saved, and a name holds the old state or the new one, whatever happens."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from snapseed import delete_state, list_states, load_snapshot, reset_to_state, save_state
from snapseed.errors import (
    ConfigurationError,
    InterruptedByUserError,
    LoadError,
    RefusedError,
    ServerError,
    SnapseedError,
    UsageError,
)
from snapseed.servers.targets import resolve_target
from snapseed.testing.replace import Replacing
from snapseed.testing.server import StateMark, connected_server, opened_server, state_name
from snapseed.testing.states import names_at_once
from snapseed.testing.template import drop_unused, strategy_for
from tests.projects.state import schema_of
from tests.testing.conftest import Owner, kill_at

Action = Callable[..., object]


def execute(owner: Owner, statement: str) -> list[tuple[object, ...]]:
    """A statement in the environment's database."""
    with owner.connect() as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def write(owner: Owner, number: int) -> None:
    """Make this number all that the database holds."""
    execute(owner, f"DROP TABLE IF EXISTS notes; CREATE TABLE notes AS SELECT {number} AS n")


def read(owner: Owner) -> object:
    """The number that the database holds."""
    [(number,)] = execute(owner, "SELECT n FROM notes")
    return number


def save(owner: Owner, name: str = "one", *, number: int | None = None) -> None:
    """Save the database, with this number in it, and replace the state if there is one."""
    if number is not None:
        write(owner, number)
    save_state(owner.project, owner.environment(), name, consent=True)


def back(owner: Owner, name: str = "one") -> object:
    """Go back to a state, and return the number that the database then holds."""
    reset_to_state(owner.project, owner.environment(), name, consent=True)
    assert owner.databases("snapseed_clone") == []
    return read(owner)


def names(owner: Owner) -> list[str]:
    """The names of the database's states."""
    return [state.name for state in list_states(owner.project, owner.environment()).states]


def test_everything_is_as_it_was_saved(owner: Owner) -> None:
    """Rows, schema, sequences and the record of loads; as often as wanted. The report says what the state holds."""
    load_snapshot(owner.project, owner.environment(create_schema=True))
    execute(owner, "CREATE TABLE notes (id serial, n int); INSERT INTO notes (n) VALUES (1)")
    before = schema_of(owner.url)
    saved = save_state(owner.project, owner.environment(), "one").state
    assert (saved.name, saved.snapshot) == ("one", "dev")
    assert saved.size > 10**6
    for _ in range(2):
        execute(owner, "DROP TABLE people CASCADE; DELETE FROM notes; INSERT INTO notes (n) VALUES (2), (3)")
        execute(owner, "DROP SCHEMA snapseed CASCADE")
        assert back(owner) == 1
        assert schema_of(owner.url) == before
        assert execute(owner, "SELECT last_value FROM notes_id_seq") == [(1,)]
        assert execute(owner, "SELECT snapshot FROM snapseed.loads") == [("dev",)]


def test_a_name_is_replaced_only_with_consent(owner: Owner) -> None:
    """The report says what was replaced; the other states stay."""
    save(owner, "one", number=1)
    save(owner, "two", number=2)
    with pytest.raises(RefusedError):
        save_state(owner.project, owner.environment(), "one")
    replaced = save_state(owner.project, owner.environment(), "one", consent=True).replaced
    assert replaced is not None
    assert replaced.name == "one"
    assert (back(owner, "two"), back(owner, "one")) == (2, 2)
    assert sorted(names(owner)) == ["one", "two"]
    delete_state(owner.project, owner.environment(), "one")
    assert names(owner) == ["two"]
    with pytest.raises(UsageError) as caught:
        reset_to_state(owner.project, owner.environment(), "tow")
    assert "'two'" in str(caught.value.next_step)


def test_rows_that_no_load_wrote_are_lost_only_with_consent(owner: Owner) -> None:
    """Others' changes in loaded tables are what a reset is for."""
    load_snapshot(owner.project, owner.environment(create_schema=True))
    save(owner)
    execute(owner, "UPDATE people SET name = 'changed'")
    reset_to_state(owner.project, owner.environment(), "one")
    assert execute(owner, "SELECT FROM people WHERE name = 'changed'") == []
    write(owner, 1)
    with pytest.raises(RefusedError) as caught:
        reset_to_state(owner.project, owner.environment(), "one")
    assert caught.value.observed == "rows in public.notes"
    assert read(owner) == 1
    reset_to_state(owner.project, owner.environment(replace_existing=True), "one")
    assert execute(owner, "SELECT to_regclass('notes')") == [(None,)]


@pytest.mark.parametrize(
    ("action", "event", "database", "state"),
    [
        (save_state, Replacing.COPY_READY, 2, 1),
        (save_state, Replacing.RENAMED, 2, 2),
        (reset_to_state, Replacing.COPY_READY, 2, 1),
        (reset_to_state, Replacing.RENAMED, 1, 1),
        (delete_state, Replacing.RENAMED, 2, None),
    ],
)
def test_after_a_kill_a_name_holds_the_old_or_the_new(
    owner: Owner, action: Action, event: Replacing, database: int, state: int | None
) -> None:
    """Never none, unless it was deleted. The database that is left over is dropped by the next command."""
    save(owner, number=1)
    write(owner, 2)
    kill_at(event, action, owner, "one", consent=True)
    assert len(owner.databases("snapseed_clone")) == 1
    assert read(owner) == database
    assert names(owner) == ([] if state is None else ["one"])
    if state is None:
        save(owner, number=3)
    assert back(owner) == (state or 3)


@pytest.mark.parametrize(
    ("action", "event", "stands"),
    [
        (save_state, Replacing.COPY_READY, "nothing was changed or the state is saved"),
        (save_state, Replacing.RENAMED, "; the state is saved"),
        (reset_to_state, Replacing.RENAMED, "; the database is reset"),
        (delete_state, Replacing.RENAMED, "; the state is deleted"),
    ],
)
def test_a_failure_says_what_stands(owner: Owner, action: Action, event: Replacing, stands: str) -> None:
    """The old state or database, or the new one."""
    save(owner, number=1)

    def interrupt(told: object) -> None:
        if told is event:
            raise KeyboardInterrupt

    with pytest.raises(InterruptedByUserError, match=stands):
        action(owner.project, owner.environment(), "one", consent=True, listener=interrupt)


def test_sessions_are_ended_and_named(owner: Owner) -> None:
    """With process, application and role. Those that this role may not end are named too, and nothing is done."""
    with owner.connect() as other:
        pid = other.info.backend_pid
        assert save_state(owner.project, owner.environment(), "one").ended == [
            f"process {pid} (pytest, role {owner.role})"
        ]
    superuser = make_conninfo(owner.server, dbname=f"{owner.role}_db", application_name="psql")
    with psycopg.connect(superuser) as other:
        for action in (save_state, reset_to_state):
            with pytest.raises(ServerError) as caught:
                action(owner.project, owner.environment(), "one", consent=True)
            assert f"process {other.info.backend_pid} (psql, role {other.info.user})" in str(caught.value.observed)
        other.execute("SELECT")
    assert owner.databases("snapseed_clone") == []


def test_databases_do_not_share_states(owner: Owner) -> None:
    """The same name in another database, whose own name may have any length, is another state."""
    long = f"{owner.role}_{'x' * 63}"[:63]
    owner.administer("CREATE DATABASE {} OWNER {}", long, owner.role)
    other = Owner(owner.folder, make_conninfo(owner.url, dbname=long), owner.server, owner.role)
    name = "a" * 41
    save(owner, name, number=1)
    save(other, name, number=2)
    save(other, "more")
    assert (names(owner), names(other)) == ([name], [name, "more"])
    assert (back(owner, name), back(other, name)) == (1, 2)


def test_a_state_is_for_copying_only_and_outlives_templates(owner: Owner) -> None:
    """Nobody can connect to it, and what drops unused databases leaves it alone. It stays when its database goes."""
    save(owner, number=1)
    database = f"{owner.role}_db"
    place = state_name(owner.role, database, "one")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(owner.server, dbname=place)
    environment = owner.environment()
    with connected_server(resolve_target(owner.project, environment), environment) as server:
        assert drop_unused(server, max_age=-1, max_templates=0) == []
        # A database of another name is no state, whatever its comment says.
        server.set_mark(database, StateMark("two", database, 0, 0, ""))
    assert names(owner) == ["one"]
    said = owner.run_json("db", "drop", "--yes")
    assert (said["dropped"], said["states"]) == (database, ["one"])
    owner.administer("CREATE DATABASE {} OWNER {}", database, owner.role)
    assert back(owner) == 1


def test_what_one_trial_has_found_holds_for_the_server(owner: Owner) -> None:
    """A large state that was cloned faster than copied is why the next copy of a large database is a clone."""
    save(owner, number=1)
    with opened_server(resolve_target(owner.project, owner.environment())) as server:
        if server.identity.version < 15:
            pytest.skip("one way to copy")
        place, large = state_name(owner.role, f"{owner.role}_db", "one"), 10**9
        assert strategy_for(server, large) == "file_copy"
        server.set_mark(place, StateMark("one", f"{owner.role}_db", 0, large, "file_clone"))
        assert strategy_for(server, large) == "file_clone"
        assert strategy_for(server, 10**6) == "wal_log"


def test_a_name_is_easy_to_type(owner: Owner) -> None:
    """Others are refused before anything is done."""
    for name in ("", "Über", "UP", "a b", "../x", "-x", "a" * 42, 'a"', "a\n"):
        with pytest.raises(ConfigurationError):
            save_state(owner.project, owner.environment(), name)


def test_it_is_guarded_as_a_load(owner: Owner) -> None:
    """Names of production, roles without CREATEDB or of another owner, and the database that others are made from."""
    name = f"{owner.role}_db"
    save(owner, number=1)

    def refuse(kind: type[SnapseedError], url: str = owner.url, *actions: Action) -> None:
        for action in actions or (save_state, reset_to_state):
            with pytest.raises(kind):
                action(owner.project, owner.at(url), "one", consent=True)

    refuse(RefusedError, make_conninfo(owner.url, dbname="production"), save_state, reset_to_state, delete_state)
    refuse(UsageError, make_conninfo(owner.url, dbname="postgres"))
    owner.administer("ALTER DATABASE {} OWNER TO pg_monitor", name)
    refuse(UsageError)
    owner.administer("ALTER DATABASE {} OWNER TO {}", name, owner.role)
    owner.administer("ALTER ROLE {} NOCREATEDB", owner.role)
    refuse(LoadError)
    owner.administer("ALTER ROLE {} CREATEDB", owner.role)
    assert (names(owner), back(owner)) == (["one"], 1)


def test_the_commands_say_what_they_did(owner: Owner) -> None:
    """A single argument that names no environment is the state's name."""
    write(owner, 1)
    assert "one, saved " in owner.run("save", "one", check=True).stdout
    assert "replaced one, saved " in owner.run("save", "dev", "one", "--yes", check=True).stdout
    assert "reset to one, saved " in owner.run("reset", "one", "--yes", check=True).stdout
    assert owner.run("reset", "dev", "one", "--fresh").returncode == 2
    assert owner.run("save", "dev").returncode == 2
    assert " one " in owner.run("states", check=True).stdout
    assert "deleted one, saved " in owner.run("states", "--delete", "one", check=True).stdout
    assert "no state" in owner.run("states", check=True).stdout


def test_shells_complete_states_of_a_server_that_answers(owner: Owner) -> None:
    """In silence otherwise."""
    save(owner, "one", number=1)
    assert names_at_once(owner.project, owner.environment()) == ["one"]
    away = "postgresql://localhost:1/x"
    for words, url, found in (
        ("snapseed reset dev o", owner.url, "one"),
        ("snapseed states --delete x", owner.url, ""),
        ("snapseed reset dev o", away, ""),
    ):
        done = owner.run(SNAPSEED_DATABASE=url, _SNAPSEED_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD="3")
        assert (done.stdout.strip(), done.stderr) == (found, "")
