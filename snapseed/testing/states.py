"""States: named copies of an environment's database to go back to, kept as databases of the same server.

A name holds the old copy or the new one, never half of one. States belong to a database and to the role that saved
them, and nobody can connect to them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from snapseed.config import Environment, Project
from snapseed.config.settings import require_name, suggestion
from snapseed.errors import RefusedError, UsageError
from snapseed.events import Listener, ignore
from snapseed.postgres.catalog import every_table, read_tables
from snapseed.postgres.connect import Target, connected, opened
from snapseed.postgres.failures import translated
from snapseed.postgres.guard import identify, require_ours
from snapseed.postgres.provenance import last_loads, loaded_tables
from snapseed.servers.targets import resolve_target
from snapseed.testing.replace import Replacing, keep_copy, replace_database, require_replaceable
from snapseed.testing.server import Server, StateMark, opened_server, state_name
from snapseed.testing.template import drop_unused, strategy_for
from snapseed.testing.turn import TurnReport, taking_turns

# Completion is no good to anybody after a longer wait.
_AT_ONCE_SECONDS = 2


@dataclass(frozen=True)
class StateReport(TurnReport):
    """What was `done`: the `state` was "saved", or the database "reset" to it. `replaced` had the state's name."""

    done: str
    state: StateMark
    replaced: StateMark | None


@dataclass(frozen=True)
class SavedStates:
    """The states of an environment's database, the oldest first."""

    environment: str
    target: str
    source: str
    states: list[StateMark]


def save_state(
    project: Project, environment: Environment, name: str, *, consent: bool = False, listener: Listener = ignore
) -> StateReport:
    """Copy the environment's database, to go back to it by this name. Sessions in it are ended.

    Raises `RefusedError` where a load would be refused, and without `consent` if the name is taken; `UsageError` where
    the role does not own the database.
    """
    require_name(name, where="the name of the state")
    with taking_turns(project, environment, "the state is saved", consent=consent, listener=listener) as turn:
        server = turn.server
        with turn.step("looking at the database"):
            with turn.database(create=False) as (connection, identity):
                load = next(iter(last_loads(connection)), None)
            database, size = identity.database, server.size(identity.database)
            require_replaceable(server, database)
            replaced = _states_of(server, database).get(name)
            if replaced is not None and not consent:
                raise RefusedError(
                    "there is a state of this name",
                    where=str(identity),
                    observed=str(replaced),
                    next_step="save under another name, or add --yes to replace it",
                )
            held = (load.snapshot, load.identity) if load else (None, None)
            state = StateMark(name, database, int(time.time()), size, strategy_for(server, size), *held)
        with turn.step("clearing"):
            # First: what a killed command left takes as much room as the copy that is about to be made.
            cleared = drop_unused(server)
        with turn.step("copying the database"):
            place = state_name(server.identity.role, database, name)
            ended = keep_copy(server, state, place, connection.backend_pid, turn.tell)
        return StateReport(**vars(turn.told(identity, ended, cleared)), done="saved", state=state, replaced=replaced)


def reset_to_state(
    project: Project, environment: Environment, name: str, *, consent: bool = False, listener: Listener = ignore
) -> StateReport:
    """Put the environment's database back to a saved state. Whatever was written since is lost, and sessions are ended.

    Raises `RefusedError` where a load would be refused, and without `consent` for tables with rows that no load wrote;
    `UsageError` if there is no such state, or the role does not own the database.
    """
    with taking_turns(project, environment, "the database is reset", consent=consent, listener=listener) as turn:
        server = turn.server
        with turn.step("looking at the database"):
            with turn.database() as (connection, identity):
                database = identity.database
                state = _require_state(server, database, name, project)
                if not (consent or environment.replace_existing):
                    loaded = loaded_tables(connection)
                    others = [table for table in every_table(connection) if str(table) not in loaded]
                    require_ours(
                        read_tables(connection, others).values(), loaded, identity, environment, consent=consent
                    )
            require_replaceable(server, database)
        with turn.step("clearing"):
            cleared = drop_unused(server)
        with turn.step("replacing the database"):
            place = state_name(server.identity.role, database, name)
            own = connection.backend_pid
            ended = replace_database(server, database, place, state.strategy, own, turn.tell)
        return StateReport(**vars(turn.told(identity, ended, cleared)), done="reset", state=state, replaced=None)


def list_states(project: Project, environment: Environment) -> SavedStates:
    """The states of the environment's database, which need not exist any more. No server is set up for it."""
    target = resolve_target(project, environment)
    states = list[StateMark]()
    if target.embedded is None or target.embedded.data_directory.exists():
        database = _database_of(target)
        with opened_server(target) as server, translated("looking for states", target.described):
            states = list(_states_of(server, database).values())
    return SavedStates(environment.name, target.described, target.source, states)


def delete_state(
    project: Project, environment: Environment, name: str, *, consent: bool = False, listener: Listener = ignore
) -> StateMark:
    """Drop a saved state, and return what it was.

    Raises `RefusedError` for a server that a load may not change, and `UsageError` if there is no such state.
    """
    with taking_turns(project, environment, "the state is deleted", consent=consent, listener=listener) as turn:
        server = turn.server
        with turn.step("deleting the state"):
            database = _database_of(turn.target)
            state = _require_state(server, database, name, project)
            # The name is free at once; a drop that a crash interrupts leaves half a database.
            place = state_name(server.identity.role, database, name)
            server.execute("ALTER DATABASE {} RENAME TO {}", place, server.next_clone())
            turn.tell(Replacing.RENAMED)
            drop_unused(server)
    return state


def names_at_once(project: Project, environment: Environment) -> list[str]:
    """The names of the states, for completion: only if the server runs and answers at once. May raise anything."""
    target = resolve_target(project, environment)
    if target.embedded is not None and not target.embedded.is_running():
        return []
    with opened(target, seconds=_AT_ONCE_SECONDS) as connection:
        connection.execute(f"SET statement_timeout = '{_AT_ONCE_SECONDS}s'".encode())
        return list(_states_of(Server(connection, target, identify(connection)), connection.info.dbname))


def _states_of(server: Server, database: str) -> dict[str, StateMark]:
    """The states of a database by name, the oldest first. Nobody else can give a database the name and owner of one."""
    # Through a pooler, our settings last for a transaction.
    with server.connection.transaction():
        marks = server.marks()
    found = [
        mark
        for place, mark in marks.items()
        if isinstance(mark, StateMark) and place == state_name(server.identity.role, database, mark.name)
    ]
    return {mark.name: mark for mark in sorted(found, key=lambda mark: (mark.saved, mark.name))}


def _require_state(server: Server, database: str, name: str, project: Project) -> StateMark:
    """The mark of a saved state. Raises `UsageError` if there is none of this name."""
    states = _states_of(server, database)
    if name not in states:
        # The command line may have taken the misspelled name of an environment for a state's.
        meant = suggestion(name, [*states, *project.environments])
        raise UsageError(
            f"there is no state {name!r}",
            where=f"database {database!r}, role {server.identity.role!r}",
            observed=f"saved: {', '.join(states)}" if states else "none is saved",
            next_step=meant or "see all with `snapseed states`, save one with `snapseed save`",
        )
    return states[name]


def _database_of(target: Target) -> str:
    """The name of the target's database. Only a name that libpq finds by itself is asked for."""
    if target.database:
        return target.database
    with connected(target) as connection:
        return connection.info.dbname
