"""Our turn with an environment's database, which is copied or replaced whole: one command at a time, guarded as a load.

A failure says which database stands: the old one, the new one, or one of the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from snapseed.config import Environment, Project
from snapseed.errors import SnapseedError, UsageError, interruption
from snapseed.events import Event, Listener, PhaseStarted, phase, phase_seconds, recorded
from snapseed.load.outcome import report_of
from snapseed.postgres import locks
from snapseed.postgres.connect import Session, Target, connected
from snapseed.postgres.failures import translated
from snapseed.postgres.guard import Identity, identify_allowed
from snapseed.servers.targets import resolve_target
from snapseed.testing.replace import Replacing
from snapseed.testing.server import Server, connected_server

TEMPLATING = "making the template"


@dataclass(frozen=True)
class TurnReport:
    """What a turn did with a database, and where.

    `ended` names the sessions of others that were ended, `cleared` has the names of unused databases that were dropped,
    `phases` the seconds of each phase.
    """

    environment: str
    target: str
    source: str
    server: str
    ended: list[str]
    cleared: list[str]
    phases: dict[str, float]

    @property
    def seconds(self) -> float:
        """All phases together."""
        return sum(self.phases.values())


@dataclass(frozen=True)
class Turn:
    """No other reset or save works on this database meanwhile. The listener `tell` also records the run's events."""

    target: Target
    environment: Environment
    consent: bool
    server: Server
    tell: Listener
    _events: Sequence[Event]

    def told(self, identity: Identity, ended: list[str], cleared: list[str]) -> TurnReport:
        """What every report of a turn says, so far."""
        server, target = identity.server, self.target
        phases = phase_seconds(self._events)
        return TurnReport(self.environment.name, target.described, target.source, server, ended, cleared, phases)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A phase in which the driver's errors become ours."""
        with phase(self.tell, name), translated(name, self.target.described):
            yield

    @contextmanager
    def database(self, *, create: bool = True) -> Iterator[tuple[Session, Identity]]:
        """A connection to the database, once no load is running in it: copying it would end the load's session.

        `create` as in `connected`. Raises `RefusedError` as a load does, and `UsageError` for the database that others
        are created from.
        """
        with connected(self.target, create=create) as connection:
            identity = identify_allowed(connection, self.target, self.environment, consent=self.consent)
            if identity.database == self.server.identity.database:
                raise UsageError(
                    "this database cannot be copied or replaced: others are created from a connection to it",
                    where=str(identity),
                    next_step="give the environment a database of its own, or use `snapseed load`",
                )
            waiting = locks.waiting(self.target, connection, "waiting for a load", self.server.listener)
            with waiting, connection.transaction():
                locks.lock(connection)
            yield connection, identity


@contextmanager
def taking_turns(
    project: Project, environment: Environment, done: str, *, consent: bool, listener: Listener
) -> Iterator[Turn]:
    """Wait for our turn. `done` says what stands once a copy is in place, as in "the database is reset".

    Raises what `connected_server` raises, and `ServerError` after waiting for another command as long as for any lock.
    """
    target = resolve_target(project, environment)
    events, tell = recorded(listener)
    connecting = connected_server(target, environment, consent=consent, listener=listener)
    with _saying_what_stands(events, done), connecting as server:
        turn = Turn(target, environment, consent, server, tell, events)
        with turn.step("waiting for another reset"):
            server.lock(f"reset {target.database or target.described}")
        yield turn


@contextmanager
def _saying_what_stands(events: Sequence[Event], done: str) -> Iterator[None]:
    """Add to a failure what stands. A load says that itself."""
    try:
        yield
    except SnapseedError as exc:
        if report_of(exc) is None:
            exc.summary += f"; {_outcome(events, done, certain=exc.__cause__ is None)}"
        raise
    except KeyboardInterrupt as exc:
        raise interruption(exc, f"interrupted; {_outcome(events, done, certain=False)}") from exc


def _outcome(events: Sequence[Event], done: str, *, certain: bool) -> str:
    """What stands after these events. It is not certain if a connection was lost, perhaps during a COMMIT."""
    if Replacing.RENAMED in events:
        return done
    if PhaseStarted(TEMPLATING) in events:
        return "the snapshot is loaded, but there is no template of it yet"
    if Replacing.COPY_READY in events and not certain:
        return f"either nothing was changed or {done}"
    return "nothing was changed"
