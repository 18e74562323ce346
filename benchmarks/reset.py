"""How long a test waits for a database with the snapshot: by the pytest plugin, a reset, a plain copy, pgmem, a load.

Each way ends with a connection, or with an unused database. Dropping what it leaves does not count.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
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

from benchmarks.measure import (
    Comparison,
    Findings,
    Spread,
    Table,
    in_milliseconds,
    in_seconds,
    seconds,
    spreads_in_turns,
)
from benchmarks.workspace import PROJECTS, Workspace, temporary_workspace
from snapseed.config import Environment
from snapseed.load.snapshot import load_snapshot
from snapseed.servers.targets import resolve_target
from snapseed.testing.clones import Clones, opened_clones
from snapseed.testing.reset import reset_environment
from snapseed.testing.server import Server, connected_server
from snapseed.testing.states import reset_to_state, save_state
from snapseed.testing.template import FILE_CLONE, FILE_COPY, SERVER_DEFAULT, WAL_LOG, copy_database

PACKAGES = ("pgmem",)

# A copy takes a few hundredths of a second and varies by as much, so it needs more rounds.
MORE_ROUNDS = 6
_TESTS = 20
_AHEAD = 2
_FILLED = sql.SQL("CREATE TABLE filled AS SELECT n, repeat(md5(n::text), 30) FROM generate_series(1, {}::int) n")
_MEMORY = Path("/dev/shm")  # noqa: S108 - only a temporary folder inside it is used


@dataclass(frozen=True)
class _Ways:
    """The ways to get a database, ready to be measured again and again."""

    workspace: Workspace
    environment: Environment
    on_demand: Clones
    ahead: Clones
    fork: Callable[[], pgmem.Fork]

    def plain_copy(self) -> float:
        """`CREATE DATABASE … TEMPLATE` on an open connection."""
        server, name = self.on_demand.server, "plain"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            sql.Identifier(name), sql.Identifier(self.on_demand.template.name)
        )
        took = seconds(lambda: server.connection.execute(statement))
        server.drop(name)
        return took

    def take(self, clones: Clones, *, connect: bool = False) -> float:
        """What the fixture does; with `connect`, also the test's own connection and query."""
        if clones is self.ahead:
            _wait_until_idle(clones)
        started = time.perf_counter()
        database = clones.take()
        if connect:
            _query(database.url)
        took = time.perf_counter() - started
        clones.give_back(database)
        if clones is self.ahead:
            _wait_until_idle(clones)
        return took

    def pgmem(self) -> float:
        """A fork of pgmem's server in memory, and a connection to it."""
        started = time.perf_counter()
        with self.fork() as fork:
            _query(fork.dsn)
            return time.perf_counter() - started

    def load(self) -> float:
        """Truncate and load in this process, into an existing database."""
        return seconds(lambda: load_snapshot(self.workspace.project, self.environment))

    def reset(self) -> float:
        """`snapseed reset` in this process."""
        return seconds(lambda: reset_environment(self.workspace.project, self.environment))


def measure_reset(workspace: Workspace) -> Findings:
    """Copies of `snapshots/test` made by the pytest plugin and by `snapseed reset`."""
    with _ready(workspace) as ways:
        comparisons = _comparisons(ways)
        tables = (_waits(ways), _strategies(workspace, ways.on_demand.server))
    return Findings((*comparisons, _large_reset(workspace)), (*tables, *_in_memory(workspace)))


def measure_states(workspace: Workspace) -> Findings:
    """`snapseed save` over an older state, and `snapseed reset` to it, in this process, on a database of 250 MB."""
    project, environment = workspace.project, replace(workspace.project.environment("dev"), name="states")
    with workspace.connection("states") as connection:
        connection.execute(_FILLED.format(round(220_000 * workspace.scale)))
    save = partial(save_state, project, environment, "measured", consent=True)
    # The first one tries which way of copying is the fastest.
    size, numbers = save().state.size, count()
    with connected_server(resolve_target(project, environment), environment) as server:

        def copied_twice(strategy: str) -> float:
            return sum(_copied(server, strategy, numbers, "snapseed_states") for _ in range(2))

        saved, gone_back, plain, files = spreads_in_turns(
            workspace.rounds,
            partial(seconds, save),
            partial(seconds, partial(reset_to_state, project, environment, "measured", consent=True)),
            partial(copied_twice, SERVER_DEFAULT),
            partial(copied_twice, FILE_COPY),
        )
    what = f"`save` and `reset` of a database of {size / 1e6:.0f} MB"
    both, twice = saved + gone_back, "`CREATE DATABASE … TEMPLATE` twice"
    return Findings(
        (
            in_milliseconds(what, twice, both, plain, 1.1),
            in_milliseconds(what, f"{twice}, `STRATEGY file_copy`", both, files),
            in_milliseconds("`save` alone", "`reset` alone", saved, gone_back),
        )
    )


def measure_suite(workspace: Workspace) -> Findings:
    """A suite of small tests, each with a database of its own, next to the same tests on a database that is there."""
    workspace.copy_committed("test")
    project, environment = workspace.project, workspace.project.environment("test")
    load_snapshot(project, environment)
    # In the project's folder, away from the settings of our own tests.
    tests = shutil.copy(PROJECTS / "small_suite" / "test_small.py", project.folder)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)]
    run = partial(subprocess.run, cwd=project.folder, check=True, stdout=subprocess.DEVNULL)
    shared = {**os.environ, "SHARED": resolve_target(project, environment).conninfo}
    with_plugin = partial(seconds, partial(run, command))
    without = partial(seconds, partial(run, [*command, "-p", "no:snapseed"], env=shared))
    # The first run makes the template.
    with_plugin()
    ours, theirs = spreads_in_turns(workspace.rounds, with_plugin, without)
    added = Spread(tuple(mine - yours for mine, yours in zip(ours.values, theirs.values, strict=True)))
    limit = Spread((2.0,) * workspace.rounds)
    what = f"what {_TESTS} small tests take longer, each with a database of its own"
    return Findings(
        (
            in_seconds(what, "two seconds", added, limit, 1.0),
            in_seconds("the whole run of pytest", "the same tests on a database that is there", ours, theirs),
        )
    )


def _comparisons(ways: _Ways) -> list[Comparison]:
    # The first load and the first reset create databases.
    ways.load()
    ways.reset()
    copy, on_demand, ahead, on_demand_used, ahead_used, fork, load, reset = spreads_in_turns(
        ways.workspace.rounds * MORE_ROUNDS,
        ways.plain_copy,
        partial(ways.take, ways.on_demand),
        partial(ways.take, ways.ahead),
        partial(ways.take, ways.on_demand, connect=True),
        partial(ways.take, ways.ahead, connect=True),
        ways.pgmem,
        ways.load,
        ways.reset,
    )
    compare = partial(in_milliseconds, digits=1)
    template, pgmem_used = "`CREATE DATABASE … TEMPLATE` of the same", "pgmem: fork and connect"
    loaded = "truncate and load: `load_snapshot` in a running process"
    return [
        compare("a test's database, created on demand", template, on_demand, copy, 1.2),
        compare("a test's database, created ahead", template, ahead, copy, 0.3),
        compare("created ahead, with a connection", pgmem_used, ahead_used, fork, 1.0),
        compare("created on demand, with a connection", pgmem_used, on_demand_used, fork),
        compare("created ahead, with a connection", loaded, ahead_used, load, 0.2),
        compare("created on demand, with a connection", loaded, on_demand_used, load),
        compare("`reset_environment` in a running process", loaded, reset, load),
    ]


def _in_memory(workspace: Workspace) -> list[Table]:
    """The same on a file system in memory; no table where the system has none."""
    if not _MEMORY.is_dir():
        return []
    with temporary_workspace(workspace.scale, workspace.rounds, folder=_MEMORY) as memory, _ready(memory) as ways:
        rows = [
            (line.what, line.baseline, f"{line.ratio.median:.2f}", line.ratio.range, line.absolute)
            for line in _comparisons(ways)
        ]
    text = (
        f"The ratios above with the server's data in `{_MEMORY}`, where creating and deleting files is as fast as it"
        " can be."
    )
    return [Table("On a file system in memory", text, ("what", "÷ what", "ratio", "spread", "measured"), rows)]


def _large_reset(workspace: Workspace) -> Comparison:
    """A reset of a database with enough rows to matter."""
    environment = replace(
        workspace.environment(workspace.snapshot(workspace.rows(10_000)), "large"), create_schema=True
    )
    reset = partial(reset_environment, workspace.project, environment)
    rows = reset().manifest.rows
    ours, load = spreads_in_turns(
        min(workspace.rounds, 3),
        partial(seconds, reset),
        partial(seconds, partial(load_snapshot, workspace.project, environment)),
    )
    return in_milliseconds(f"the same, {rows:,} rows", "truncate and load", ours, load, digits=1)


@contextmanager
def _ready(workspace: Workspace) -> Iterator[_Ways]:
    workspace.copy_committed("test")
    environment = workspace.project.environment("test")
    with ExitStack() as stack:
        on_demand = stack.enter_context(opened_clones(workspace.project, environment))
        ahead = stack.enter_context(opened_clones(workspace.project, environment, ahead=_AHEAD))
        server = stack.enter_context(pgmem.start(database="app"))
        load_snapshot(workspace.project, replace(environment, database=server.template.dsn))
        snapshot = server.template.snapshot()
        yield _Ways(workspace, environment, on_demand, ahead, snapshot.fork)


def _query(url: str) -> None:
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (25,)


def _wait_until_idle(clones: Clones) -> None:
    """Wait until no database is being created or dropped, so that background work is not measured."""
    while not clones.idle:
        time.sleep(0.001)


def _waits(ways: _Ways) -> Table:
    """How long tests wait when they run one after another, by how long each takes."""
    rows = []
    for milliseconds in (0, 20, 50, 100, 200):
        cells = [f"{milliseconds} ms"]
        for clones in (ways.on_demand, ways.ahead):
            _wait_until_idle(clones)
            waits = []
            for _ in range(_TESTS):
                started = time.perf_counter()
                database = clones.take()
                waits.append(time.perf_counter() - started)
                _query(database.url)
                time.sleep(milliseconds / 1000)
                clones.give_back(database)
            cells.append(f"{1000 * median(waits):.1f} ms")
            cells.append(f"{1000 * sum(waits) / len(waits):.1f} ms")
        rows.append(tuple(cells))
    text = (
        f"{_TESTS} tests one after another. Each connects, runs one query, then sleeps and leaves the machine to the"
        f" server. The times are waits for a database, created on demand or with {_AHEAD} created ahead. Creating and"
        " dropping take the same time in both cases, so tests that are shorter than that still wait."
    )
    header = ("a test takes", "on demand: median", "mean", f"{_AHEAD} ahead: median", "mean")
    return Table("Waits of consecutive tests", text, header, rows)


def _strategies(workspace: Workspace, server: Server) -> Table:
    """Copies of databases of increasing size with each strategy."""
    rows = []
    for megabytes in (0, 16, 64, 256):
        size = _create_large(server, round(megabytes * workspace.scale * 1000))
        numbers = count()
        spreads = spreads_in_turns(
            workspace.rounds,
            *(partial(_copied, server, strategy, numbers) for strategy in (WAL_LOG, FILE_COPY, FILE_CLONE)),
        )
        rows.append((f"{size / 1e6:.0f} MB", *(f"{1000 * spread.median:.0f} ms" for spread in spreads)))
    text = (
        "`CREATE DATABASE … TEMPLATE` by `STRATEGY`, and `file_copy` with `file_copy_method = clone`, which shares"
        " blocks if the file system supports it. snapseed chooses between the first two by size. When it creates a"
        " template, it tries whether cloning is faster than copying files."
    )
    return Table("Copy strategies by size", text, ("database", "wal_log", "file_copy", "file_copy, clone"), rows)


def _create_large(server: Server, rows: int) -> int:
    """Create a database `large` with a table of this many rows, about 1 kB each; return its size."""
    server.drop("large")
    copy_database(server, "template0", "large", WAL_LOG)
    with psycopg.connect(server.conninfo("large"), autocommit=True) as connection:
        connection.execute(_FILLED.format(rows))
        row = connection.execute("SELECT pg_database_size('large')").fetchone()
    assert row is not None
    return int(row[0])


def _copied(server: Server, strategy: str, numbers: Iterator[int], source: str = "large") -> float:
    name = f"copied_{next(numbers)}"
    took = seconds(lambda: copy_database(server, source, name, strategy))
    server.drop(name)
    return took
