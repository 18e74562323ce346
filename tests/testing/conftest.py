"""Each test has its own role that may create databases, so what it creates can be recognized, and is dropped."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from snapseed.config import Environment
from tests import server_choice
from tests.command_line import CONTEXT
from tests.conftest import Sandbox


@dataclass(frozen=True)
class Owner(Sandbox):
    """The project `shapes`, on a database that belongs to a role without superuser rights."""

    server: str
    role: str

    def databases(self, prefix: str = "snapseed_") -> list[str]:
        """The databases of this role with names that begin like this."""
        with psycopg.connect(self.server) as connection:
            rows = connection.execute(
                "SELECT datname FROM pg_database WHERE datdba = %s::regrole AND starts_with(datname, %s) ORDER BY 1",
                [self.role, prefix],
            ).fetchall()
        return [str(name) for (name,) in rows]

    def sessions(self, database: str) -> int:
        """How many sessions a database has."""
        with psycopg.connect(self.server) as connection:
            row = connection.execute(
                "SELECT numbackends FROM pg_stat_database WHERE datname = %s", [database]
            ).fetchone()
        return int(row[0]) if row else 0

    def administer(self, statement: str, *names: str) -> None:
        """Execute a statement as superuser, outside the role's database."""
        with psycopg.connect(self.server, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def at(self, url: str) -> Environment:
        """The project's environment on another database."""
        return self.project.environment(None, {"database": url})


def kill_at(event: object, action: Callable[..., object], owner: Owner, *arguments: object, **options: object) -> None:
    """Do something with the owner's project and environment in another process, which is killed at this event."""
    process = CONTEXT.Process(target=_killed, args=(event, action, owner, arguments, options))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def _killed(
    event: object,
    action: Callable[..., object],
    owner: Owner,
    arguments: tuple[object, ...],
    options: dict[str, object],
) -> None:
    def die(told: object) -> None:
        if told == event:
            os.kill(os.getpid(), signal.SIGKILL)

    action(owner.project, owner.environment(), *arguments, **options, listener=die)


@pytest.fixture(scope="session")
def shapes_folder(generated_once: Callable[[str], Path]) -> Path:
    """The project with its snapshot. Tests only read it."""
    return generated_once("shapes")


@pytest.fixture
def owner(server: str, shapes_folder: Path) -> Iterator[Owner]:
    """A role with CREATEDB and an empty database. Everything that it created is dropped afterwards."""
    with new_owner(server, shapes_folder) as found:
        yield found


@contextmanager
def new_owner(server: str, shapes_folder: Path) -> Iterator[Owner]:
    """A role with CREATEDB and an empty database, until the end of the block."""
    role = f"snapseed_owner_{uuid.uuid4().hex[:8]}"
    database = f"{role}_db"
    url = make_conninfo(server, dbname=database, user=role, application_name="pytest")
    found = Owner(shapes_folder, url, server, role)
    found.administer("CREATE ROLE {} LOGIN CREATEDB", role)
    if password := conninfo_to_dict(server).get("password"):
        found.administer(f"ALTER ROLE {{}} PASSWORD {sql.quote(str(password))}", role)
    found.administer("CREATE DATABASE {} OWNER {} " + server_choice.copy_strategy(), database, role)
    try:
        yield found
    finally:
        for name in found.databases(""):
            found.administer("ALTER DATABASE {} IS_TEMPLATE false", name)
            found.administer("DROP DATABASE {} WITH (FORCE)", name)
        found.administer("DROP ROLE {}", role)
