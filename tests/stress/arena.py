"""The place for faults: a server that may be harmed, a shop's snapshot, and a fresh copy of one database per fault."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import LiteralString

import psycopg
from psycopg import sql

from snapseed import load_snapshot
from tests.conftest import PROJECTS, Connection, Sandbox
from tests.projects.moments import LoadProcess, each_statement, start_load
from tests.projects.own_server import OwnServer, own_server
from tests.projects.proxy import Direction, proxied
from tests.projects.state import generated, load_and_mark

# A role that owns nothing, so triggers stay on when it loads.
ROLE = "loader"
_GRANTS = """
CREATE ROLE {role} LOGIN;
GRANT USAGE ON SCHEMA public, snapseed TO {role};
GRANT ALL ON ALL TABLES IN SCHEMA public, snapseed TO {role};
"""
_TEMPLATE = "loaded"
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Measured:
    """An undisturbed load. Random points for faults are drawn from these figures."""

    seconds: float
    moments: int
    bytes: dict[Direction, int]


@dataclass
class Case:
    """The database of one fault, with rows that the load is to replace, and the figures of an undisturbed load."""

    sandbox: Sandbox
    server: OwnServer
    dice: Random
    measured: Measured
    output: Path
    load: LoadProcess | None = field(default=None)

    def execute(self, statements: LiteralString, **values: int) -> None:
        """Run statements on the database."""
        with self.sandbox.connect() as connection:
            connection.execute(sql.SQL(statements).format(**values))

    def number(self, query: LiteralString, **values: int) -> int:
        """The number that a query returns."""
        with self.sandbox.connect() as connection:
            row = connection.execute(sql.SQL(query).format(**values)).fetchone()
        assert row is not None
        return int(str(row[0]))

    def start(self, variables: dict[str, str], die_at: int | None, *options: str) -> LoadProcess:
        """Start the load."""
        settings = {"SNAPSEED_DATABASE": self.sandbox.url, **variables}
        return start_load(self.sandbox.folder, self.output, settings, *options, die_at=die_at)

    def wait_a_while(self) -> None:
        """Wait until a random point of a load that began just now."""
        time.sleep(self.dice.uniform(0.02, 1.0) * self.measured.seconds)


@dataclass(frozen=True)
class Arena:
    """The server and the project, for any number of cases."""

    server: OwnServer
    folder: Path
    measured: Measured

    @contextmanager
    def case(self, number: int, dice: Random) -> Iterator[Case]:
        """A case with a database of its own, dropped at the end."""
        name = f"fault_{number}"
        sandbox = Sandbox(self.folder, self.server.make_database(name, _TEMPLATE))
        self.server.flush()
        try:
            yield Case(sandbox, self.server, dice, self.measured, self.folder / "output.txt")
        finally:
            with psycopg.connect(self.server.url(), autocommit=True) as connection:
                _drop(connection, name)


@contextmanager
def arena(customers: int) -> Iterator[Arena]:
    """A server, a project and a snapshot with this many customers, removed at the end."""
    with tempfile.TemporaryDirectory(prefix="snapseed-stress-") as temporary, own_server() as server:
        folder = Path(temporary) / "shop"
        shutil.copytree(PROJECTS / "shop", folder, ignore=shutil.ignore_patterns("__pycache__"))
        sandbox = generated(Sandbox(folder, server.make_database(_TEMPLATE)), customers)
        measured = _measure(sandbox)
        load_and_mark(sandbox)
        with sandbox.connect() as connection:
            connection.execute(sql.SQL(_GRANTS).format(role=sql.Identifier(ROLE)))
        yield Arena(server, folder, measured)


def _measure(sandbox: Sandbox) -> Measured:
    moments: list[str] = []
    with proxied(sandbox.url) as proxy, each_statement(moments.append):
        load_snapshot(sandbox.project, sandbox.environment(database=proxy.url))
    seconds = 0.0
    # The first load also starts the process that forks the others.
    for _ in range(2):
        started = time.monotonic()
        load = start_load(sandbox.folder, sandbox.folder / "output.txt", {"SNAPSEED_DATABASE": sandbox.url})
        code, said = load.wait(_PATIENCE_SECONDS)
        assert code == 0, said
        seconds = time.monotonic() - started
    return Measured(seconds, len(moments), dict(proxy.passed))


def _drop(connection: Connection, name: str) -> None:
    connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
