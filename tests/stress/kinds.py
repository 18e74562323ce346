"""The kinds of faults, each at a random point, and the exit codes that a load may then end with."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from psycopg.conninfo import make_conninfo

from tests.load.faults.failing import CANCEL, TERMINATE
from tests.projects.own_server import few_locks_left
from tests.projects.proxy import Cut, Direction, proxied
from tests.projects.state import patiently
from tests.stress.arena import ROLE, Case

# A fault around a load: entering prepares and begins it, leaving repairs. In between, `Run` says how to start the load
# and what to do while it runs.
Around = Callable[[Case], AbstractContextManager["Run"]]


class Run:
    """How to run the load: environment variables, the statement that it dies at, and what happens meanwhile."""

    def __init__(
        self,
        meanwhile: Callable[[], object] = lambda: None,
        *,
        die_at: int | None = None,
        **variables: str,
    ) -> None:
        self.meanwhile, self.die_at, self.variables = meanwhile, die_at, variables


def _send(case: Case, *numbers: signal.Signals) -> Run:
    def meanwhile() -> None:
        case.wait_a_while()
        assert case.load is not None
        case.load.send(case.dice.choice(numbers))

    return Run(meanwhile)


@contextmanager
def kill_in_phase(case: Case) -> Iterator[Run]:
    """SIGKILL at a statement, or just before or after the COMMIT."""
    yield Run(die_at=case.dice.randrange(case.measured.moments))


@contextmanager
def kill_at_any_time(case: Case) -> Iterator[Run]:
    """SIGKILL after a while."""
    yield _send(case, signal.SIGKILL)


@contextmanager
def interrupt(case: Case) -> Iterator[Run]:
    """Ctrl-C, or SIGTERM."""
    yield _send(case, signal.SIGINT, signal.SIGTERM)


@contextmanager
def terminate(case: Case) -> Iterator[Run]:
    """`pg_terminate_backend`."""
    yield _later(case, lambda: case.execute(TERMINATE))


@contextmanager
def cancel(case: Case) -> Iterator[Run]:
    """`pg_cancel_backend`."""
    yield _later(case, lambda: case.execute(CANCEL))


@contextmanager
def stop_server(case: Case) -> Iterator[Run]:
    """The server stops in immediate mode."""
    try:
        yield _later(case, case.server.stop_immediately)
    finally:
        case.server.start()


@contextmanager
def kill_backend(case: Case) -> Iterator[Run]:
    """SIGKILL for the server's process of another session."""
    try:
        yield _later(case, lambda: case.server.crash(case.sandbox.url))
    finally:
        case.server.await_recovery(case.sandbox.url)


@contextmanager
def cut_connection(case: Case) -> Iterator[Run]:
    """The connection ends at some byte, by FIN or RST."""
    direction = case.dice.choice(list(Direction))
    cut = Cut(direction, case.dice.randrange(case.measured.bytes[direction]), reset=case.dice.random() < 1 / 2)
    with proxied(case.sandbox.url, cut) as proxy:
        yield Run(SNAPSEED_DATABASE=proxy.url)


@contextmanager
def full_disk(case: Case) -> Iterator[Run]:
    """A table cannot grow."""
    filler = """
        ALTER TABLE notes ADD filler text, ALTER filler SET STORAGE EXTERNAL;
        ALTER TABLE notes ALTER filler SET DEFAULT repeat('x', {length});
    """
    case.execute(filler, length=case.dice.randrange(5_000, 200_000))
    yield Run()


@contextmanager
def no_locks_left(case: Case) -> Iterator[Run]:
    """The lock table is almost full."""
    left = case.dice.randrange(60)
    with ExitStack() as stack:
        yield Run(lambda: stack.enter_context(few_locks_left(case.server.url(), left)))


@contextmanager
def statement_timeout(case: Case) -> Iterator[Run]:
    """A statement takes longer than it may."""
    yield Run(SNAPSEED_STATEMENT_TIMEOUT=f"{case.dice.randrange(1, 40)}ms")


@contextmanager
def lock_timeout(case: Case) -> Iterator[Run]:
    """Somebody holds a lock on a table."""
    table = case.dice.choice(["customers", "orders", "invoices", "notes", "shops", "categories", "snapseed.loads"])
    with case.sandbox.connect() as holder:
        holder.execute(f"BEGIN; LOCK {table} IN EXCLUSIVE MODE".encode())
        yield Run(SNAPSEED_LOCK_TIMEOUT=f"{case.dice.randrange(1, 300)}ms")


@contextmanager
def deadlock(case: Case) -> Iterator[Run]:
    """Another session waits for the load, and the load for that session."""
    query = """SELECT count(*) FROM pg_locks
                WHERE relation = 'customers'::regclass AND granted AND mode = 'AccessExclusiveLock'"""
    with case.sandbox.connect() as other:
        other.execute("SET deadlock_timeout = '1min'; BEGIN; LOCK snapseed.loads IN SHARE MODE")
        waiting = threading.Thread(target=other.execute, args=(b"LOCK customers; ROLLBACK",))

        def meanwhile() -> None:
            patiently(lambda: case.number(query) > 0)
            waiting.start()

        url = make_conninfo(case.sandbox.url, options="-c deadlock_timeout=100ms")
        yield Run(meanwhile, SNAPSEED_DATABASE=url)
        waiting.join()


@contextmanager
def serialization_failure(case: Case) -> Iterator[Run]:
    """A function that a table calls fails on one of the notes."""
    row = case.dice.randrange(1, case.number("SELECT count(*) FROM notes"))
    statements = """
        CREATE FUNCTION too_late() RETURNS boolean LANGUAGE plpgsql AS
          $$ BEGIN RAISE 'could not serialize access' USING ERRCODE = 'serialization_failure'; END $$;
        ALTER TABLE notes ADD CONSTRAINT late CHECK (id <> {row} OR too_late()) NOT VALID;
    """
    case.execute(statements, row=row)
    yield Run()


@contextmanager
def unique_violation(case: Case) -> Iterator[Run]:
    """A note already exists, from some row on."""
    row = case.dice.randrange(2, case.number("SELECT count(*) FROM notes"))
    statements = "DELETE FROM notes WHERE id > {last}; CREATE UNIQUE INDEX once ON notes (least(id, {last}))"
    case.execute(statements, last=row - 1)
    yield Run()


@contextmanager
def check_violation(case: Case) -> Iterator[Run]:
    """One of the orders is not allowed."""
    row = case.number("SELECT id FROM orders ORDER BY id OFFSET {place} LIMIT 1", place=case.dice.randrange(1_000))
    case.execute("ALTER TABLE orders ADD CONSTRAINT odd CHECK (id <> {row}) NOT VALID", row=row)
    yield Run()


@contextmanager
def raising_trigger(case: Case) -> Iterator[Run]:
    """A trigger objects to one of the notes."""
    row = case.dice.randrange(1, case.number("SELECT count(*) FROM notes"))
    trigger = """
        CREATE FUNCTION objects() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'closed on Sundays'; END $$;
        CREATE TRIGGER sunday BEFORE INSERT ON notes FOR EACH ROW WHEN (NEW.id = {row}) EXECUTE FUNCTION objects();
    """
    case.execute(trigger, row=row)
    yield Run(SNAPSEED_DATABASE=make_conninfo(case.sandbox.url, user=ROLE))


@contextmanager
def corrupt_file(case: Case) -> Iterator[Run]:
    """A file of the snapshot is altered, cut short or removed, before the load or while it runs."""
    path = case.dice.choice(sorted((case.sandbox.project.snapshots.folder / "dev").rglob("*.parquet")))
    whole = path.read_bytes()
    damage = case.dice.choice([_alter, _cut_short, _remove])

    def act() -> None:
        damage(case, path)

    try:
        if case.dice.random() < 1 / 2:
            act()
            yield Run()
        else:
            yield _later(case, act)
    finally:
        path.write_bytes(whole)


def _alter(case: Case, path: Path) -> None:
    with path.open("r+b") as file:
        position = case.dice.randrange(path.stat().st_size)
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ (1 << case.dice.randrange(8))]))


def _cut_short(case: Case, path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(case.dice.randrange(path.stat().st_size))


def _remove(_: Case, path: Path) -> None:
    path.unlink()


def _later(case: Case, act: Callable[[], object]) -> Run:
    def meanwhile() -> None:
        case.wait_a_while()
        act()

    return Run(meanwhile)


# With the exit codes of the loads that they end. 0 is always possible, because some come too late.
KINDS: dict[Around, tuple[int, ...]] = {
    kill_in_phase: (-signal.SIGKILL,),
    kill_at_any_time: (-signal.SIGKILL,),
    interrupt: (130, 143, -signal.SIGTERM),
    terminate: (4,),
    cancel: (4,),
    stop_server: (4,),
    kill_backend: (4,),
    cut_connection: (4,),
    full_disk: (4,),
    no_locks_left: (4,),
    statement_timeout: (4,),
    lock_timeout: (4,),
    deadlock: (4,),
    serialization_failure: (4,),
    unique_violation: (2,),
    check_violation: (2,),
    raising_trigger: (2,),
    corrupt_file: (2, 1),
}
# Faults that also hit an upsert, with its temporary tables. The others aim at what only a replacing load does.
IN_ANY_MODE = frozenset(
    {
        kill_in_phase,
        kill_at_any_time,
        interrupt,
        terminate,
        cancel,
        stop_server,
        kill_backend,
        cut_connection,
        statement_timeout,
        lock_timeout,
        check_violation,
        corrupt_file,
    }
)
