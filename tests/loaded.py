"""Databases that hold a snapshot, of which tests get copies, and a server that tests may harm."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from psycopg import sql

from snapseed import load_snapshot
from tests.conftest import PROJECTS, Sandbox, WithData, copied, new_database
from tests.projects.own_server import OwnServer, own_server
from tests.projects.state import generated

CHUNK_ROWS = 40


@pytest.fixture(scope="session")
def harmed(with_data: WithData) -> Iterator[OwnServer]:
    """A server that tests stop, fill up and starve. It is always our own, whatever server the other tests use."""
    with own_server(prepared=with_data) as server:
        yield server


@pytest.fixture(scope="session")
def small_chunks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop with a snapshot of chunks of 40 rows; tests only read it."""
    sandbox = Sandbox(copied(PROJECTS / "shop", tmp_path_factory.mktemp("chunks")), "")
    return generated(sandbox, chunk_rows=CHUNK_ROWS).folder


def loaded_into(url: str, project: Path) -> str:
    """Load the snapshot of a project into the database of this URL."""
    sandbox = Sandbox(project, url)
    load_snapshot(sandbox.project, sandbox.environment())
    return url


@pytest.fixture(scope="session")
def loaded_once(server: str, small_chunks: Path) -> Iterator[str]:
    """The database of the shop in small chunks, to be copied."""
    with new_database(server) as url:
        yield loaded_into(url, small_chunks)


@pytest.fixture(scope="session")
def kinds_once(server: str, generated_once: Callable[[str], Path]) -> Iterator[str]:
    """The database of the table with a column of every type, to be copied."""
    with new_database(server) as url:
        yield loaded_into(url, generated_once("kinds"))


@pytest.fixture
def loaded(server: str, small_chunks: Path, loaded_once: str, tmp_path: Path) -> Iterator[Sandbox]:
    """A shop that was loaded from chunks of 40 rows."""
    with new_database(server, template=loaded_once) as url:
        yield Sandbox(copied(small_chunks, tmp_path), url)


@pytest.fixture
def role(loaded: Sandbox) -> Iterator[str]:
    """A role that may fill the tables but does not own them, so their triggers stay on."""
    name = f"loader_{uuid.uuid4().hex[:8]}"
    with loaded.connect() as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
        for schema in ("public", "snapseed"):
            for what in ("USAGE ON SCHEMA {}", "ALL ON ALL TABLES IN SCHEMA {}"):
                grant = sql.SQL("GRANT " + what + " TO {}").format(sql.Identifier(schema), sql.Identifier(name))
                connection.execute(grant)
        yield name
        connection.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(name)))


@pytest.fixture
def kinds(server: str, generated_once: Callable[[str], Path], kinds_once: str, tmp_path: Path) -> Iterator[Sandbox]:
    """The table with a column of every type, loaded."""
    with new_database(server, template=kinds_once) as url:
        yield Sandbox(copied(generated_once("kinds"), tmp_path), url)
