"""The embedded server is the project's own, whatever libpq's variables say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest
from psycopg import pq

from snapseed import LoadRequest, Project, load_snapshot, verify_snapshot
from snapseed.servers import EmbeddedPostgres
from snapseed.testing.clones import opened_clones
from snapseed.testing.reset import reset_environment
from snapseed.verify.status import status
from tests.command_line import run_command
from tests.conftest import Sandbox, WithData

# libpq's manual, "Environment Variables": those of its options, and those that no option overrides.
VARIABLES = [option.envvar.decode() for option in pq.Conninfo.get_defaults() if option.envvar]
VARIABLES += [
    "PGSERVICEFILE",
    "PGREALM",
    "PGREQUIRESSL",
    "PGDATESTYLE",
    "PGTZ",
    "PGGEQO",
    "PGSYSCONFDIR",
    "PGLOCALEDIR",
]
# PGHOST is nothing that could answer; a service that is not defined, a protocol that does not exist, and so on.
NONSENSE = dict.fromkeys(VARIABLES, "nonsense") | {"PGHOSTADDR": "192.0.2.1", "PGPORT": "1", "PGCONNECT_TIMEOUT": "x"}


@pytest.fixture
def embedded(shop: Sandbox) -> Iterator[Project]:
    """A shop with an embedded server, which is stopped in the end."""
    yield shop.project
    EmbeddedPostgres(shop.folder).stop()


def test_no_variable_redirects_or_breaks_it(embedded: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each set to nonsense, one by one: the server starts, its database is created and found again."""
    environment = embedded.environment("dev")
    for name, value in NONSENSE.items():
        with monkeypatch.context() as patched:
            patched.setenv(name, value)
            load_snapshot(embedded, environment, LoadRequest(if_changed=True))
            assert os.environ[name] == value
    (found,) = status(embedded, ["dev"])
    assert found.loaded
    assert not found.missing
    assert verify_snapshot(embedded, environment, files="skip").agrees


def test_all_of_them_at_once_break_no_command(
    embedded: Project, with_data: WithData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands as processes, with `psql` of the server's own version; a reset; databases for tests."""
    with_data(embedded.folder)
    for name, value in NONSENSE.items():
        monkeypatch.setenv(name, value)
    environment = embedded.environment("dev")
    for command in (["load", "dev"], ["db", "psql", "dev", "-c", "SELECT FROM customers"], ["status"], ["diff", "dev"]):
        ended = run_command(command, embedded.folder, dict(os.environ), timeout_seconds=60)
        assert ended.returncode == 0, ended.stderr
    reset_environment(embedded, environment)
    assert not reset_environment(embedded, environment).loaded
    with opened_clones(embedded, environment, ahead=1) as clones:
        database = clones.take()
    monkeypatch.undo()
    with pytest.raises(psycopg.OperationalError), closing(psycopg.connect(database.url)):
        pytest.fail("it was dropped with the others")
