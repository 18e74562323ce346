"""Databases for tests: how long one waits for a database with the snapshot, against a bare copy and other ways.

Every way ends with a connection, or with a database that nobody has used; what it leaves is dropped outside the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median

import pgmem
import psycopg
from psycopg import sql

from benchmarks.measure import Findings, Headline, Spread, Table, seconds, spreads_in_turns
from benchmarks.place import Place, temporary_place
from snapseed.config import Environment
from snapseed.load.snapshot import load_snapshot
from snapseed.testing.copying import FILE_CLONE, FILE_COPY, WAL_LOG, copy_database
from snapseed.testing.reset import reset_environment
from snapseed.testing.server import Server
from snapseed.testing.supply import Supply, opened_supply

PACKAGES = ("pgmem",)

# One copy takes some hundredths of a second, and varies by as much.
_TIMES_ROUNDS = 6
_TESTS = 20
_AHEAD = 2
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it


@dataclass(frozen=True)
class _Ways:
    """What is compared, ready to be asked for a database again and again."""

    place: Place
    environment: Environment
    cold: Supply
    warm: Supply
    fork: Callable[[], pgmem.Fork]

    def bare(self) -> float:
        """`CREATE DATABASE … TEMPLATE`, on a connection that is open."""
        server, name = self.cold.server, "bare"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            sql.Identifier(name), sql.Identifier(self.cold.template.name)
        )
        took = seconds(lambda: server.connection.execute(statement))
        server.drop(name)
        return took

    def take(self, supply: Supply, *, connect: bool = False) -> float:
        """What the fixture does, and with `connect` its user's connection."""
        if supply is self.warm:
            _until_ready(supply)
        started = time.perf_counter()
        database = supply.take()
        if connect:
            _query(database.url)
        took = time.perf_counter() - started
        supply.give_back(database)
        if supply is self.warm:
            _until_ready(supply)
        return took

    def pgmem(self) -> float:
        """A fork of pgmem's server in memory, and a connection to it."""
        started = time.perf_counter()
        with self.fork() as fork:
            _query(fork.dsn)
            return time.perf_counter() - started

    def load(self) -> float:
        """Truncate and load, in this process, into a database that is there."""
        return seconds(lambda: load_snapshot(self.place.project, self.environment))

    def reset(self) -> float:
        """`snapseed reset`, in this process."""
        return seconds(lambda: reset_environment(self.place.project, self.environment))


def measure(place: Place) -> Findings:
    """Copies of `snapshots/test` by the pytest plugin and by `snapseed reset`."""
    with _ready(place) as ways:
        headlines = _headlines(ways)
        tables = (_waits(ways), _strategies(place, ways.cold.server))
    return Findings((*headlines, _large_reset(place)), (*tables, *_in_memory(place)))


def _headlines(ways: _Ways) -> list[Headline]:
    for first in (ways.load, ways.reset):
        first()
    bare, cold, warm, cold_used, warm_used, fork, load, reset = spreads_in_turns(
        ways.place.rounds * _TIMES_ROUNDS,
        ways.bare,
        partial(ways.take, ways.cold),
        partial(ways.take, ways.warm),
        partial(ways.take, ways.cold, connect=True),
        partial(ways.take, ways.warm, connect=True),
        ways.pgmem,
        ways.load,
        ways.reset,
    )
    copy, used = "`CREATE DATABASE … TEMPLATE` of the same", "pgmem: fork and connect"
    load_name = "truncate and load: `load_snapshot` in a running process"
    return [
        _headline("a test's database, none made ahead", copy, cold, bare, 1.2),
        _headline("a test's database, made ahead", copy, warm, bare, 0.3),
        _headline("made ahead, and connected to", used, warm_used, fork, 1.0),
        _headline("none made ahead, and connected to", used, cold_used, fork),
        _headline("made ahead, and connected to", load_name, warm_used, load, 0.2),
        _headline("none made ahead, and connected to", load_name, cold_used, load),
        _headline("`reset_environment` in a running process", load_name, reset, load),
    ]


def _in_memory(place: Place) -> list[Table]:
    """The same where making files costs little; nothing where the system has no such folder."""
    if not _MEMORY.is_dir():
        return []
    with temporary_place(place.size, place.rounds, folder=_MEMORY) as memory, _ready(memory) as ways:
        rows = [
            (line.what, line.floor, f"{line.ratio.median:.2f}", line.ratio.range, line.absolute)
            for line in _headlines(ways)
        ]
    text = (
        f"The ratios above with the server's data in `{_MEMORY}`: what copies cost where the file system makes and"
        " removes files as quickly as can be."
    )
    return [Table("On a file system in memory", text, ("what", "÷ what", "ratio", "spread", "measured"), rows)]


def _large_reset(place: Place) -> Headline:
    """The same with rows enough to matter."""
    environment = replace(place.environment(place.snapshot(place.rows(10_000)), "large"), create_schema=True)
    reset = partial(reset_environment, place.project, environment)
    rows = reset().manifest.rows
    ours, load = spreads_in_turns(
        min(place.rounds, 3),
        partial(seconds, reset),
        partial(seconds, partial(load_snapshot, place.project, environment)),
    )
    what = f"the same, {rows:,} rows"
    return _headline(what, "truncate and load", ours, load)


def _headline(what: str, floor: str, ours: Spread, theirs: Spread, bar: float | None = None) -> Headline:
    absolute = f"{1000 * ours.median:.1f} ms ÷ {1000 * theirs.median:.1f} ms"
    return Headline(what, floor, ours / theirs, absolute, bar)


@contextmanager
def _ready(place: Place) -> Iterator[_Ways]:
    place.committed("test")
    environment = place.project.environment("test")
    with ExitStack() as stack:
        cold = stack.enter_context(opened_supply(place.project, environment))
        warm = stack.enter_context(opened_supply(place.project, environment, ahead=_AHEAD))
        server = stack.enter_context(pgmem.start(database="app"))
        load_snapshot(place.project, replace(environment, database=server.template.dsn))
        snapshot = server.template.snapshot()
        yield _Ways(place, environment, cold, warm, snapshot.fork)


def _query(url: str) -> None:
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (25,)


def _until_ready(supply: Supply) -> None:
    """Wait until nothing is left to be made or dropped, so that one thing is measured and not two."""
    while not supply.clones.idle:
        time.sleep(0.001)


def _waits(ways: _Ways) -> Table:
    """How long tests wait that follow one another, by how long each takes."""
    rows = []
    for milliseconds in (0, 20, 50, 100, 200):
        cells = [f"{milliseconds} ms"]
        for supply in (ways.cold, ways.warm):
            _until_ready(supply)
            waits = []
            for _ in range(_TESTS):
                started = time.perf_counter()
                database = supply.take()
                waits.append(time.perf_counter() - started)
                _query(database.url)
                time.sleep(milliseconds / 1000)
                supply.give_back(database)
            cells.append(f"{1000 * median(waits):.1f} ms")
            cells.append(f"{1000 * sum(waits) / len(waits):.1f} ms")
        rows.append(tuple(cells))
    text = (
        f"{_TESTS} tests one after the other, each connects, asks a query and then sleeps, for the server to have the"
        f" machine; wait for its database, without any made ahead and with {_AHEAD}. Copying and dropping take time in"
        " any case: where tests are shorter than that, none can be ready."
    )
    header = ("a test takes", "none ahead: median", "mean", f"{_AHEAD} ahead: median", "mean")
    return Table("Waits of tests that follow one another", text, header, rows)


def _strategies(place: Place, server: Server) -> Table:
    """Copies of databases of growing size by each strategy."""
    rows = []
    for megabytes in (0, 16, 64, 256):
        size = _make_large(server, round(megabytes * place.size * 1000))
        numbers = count()
        spreads = spreads_in_turns(
            place.rounds,
            *(partial(_copied, server, strategy, numbers) for strategy in (WAL_LOG, FILE_COPY, FILE_CLONE)),
        )
        rows.append((f"{size / 1e6:.0f} MB", *(f"{1000 * spread.median:.0f} ms" for spread in spreads)))
    text = (
        "`CREATE DATABASE … TEMPLATE` by `STRATEGY`, and by files with `file_copy_method = clone`, which shares blocks"
        " only where the file system can. The size decides between the first two; whether the third is faster than the"
        " second is tried when a template is made."
    )
    return Table("Strategies by size", text, ("database", "wal_log", "file_copy", "file_copy, clone"), rows)


def _make_large(server: Server, rows: int) -> int:
    """A database `large` with a table of this many kilobytes; its size."""
    server.drop("large")
    copy_database(server, "template0", "large", WAL_LOG)
    with psycopg.connect(server.conninfo("large"), autocommit=True) as connection:
        query = "CREATE TABLE filled AS SELECT n, repeat(md5(n::text), 30) FROM generate_series(1, %s::int) n"
        connection.execute(sql.SQL(query.replace("%s", "{}")).format(rows))
        row = connection.execute("SELECT pg_database_size('large')").fetchone()
    assert row is not None
    return int(row[0])


def _copied(server: Server, strategy: str, numbers: Iterator[int]) -> float:
    name = f"copied_{next(numbers)}"
    took = seconds(lambda: copy_database(server, "large", name, strategy))
    server.drop(name)
    return took
