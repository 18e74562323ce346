"""Through a pooler, load, verify, diff and ci work, and leave its sessions as they were. The rest refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from snapseed import (
    LoadRequest,
    delete_state,
    list_states,
    load_snapshot,
    reset_to_state,
    save_state,
    verify_snapshot,
)
from snapseed.ci.process import run_ci
from snapseed.embeddings.source import embedding_session, require_queue
from snapseed.errors import ConfigurationError, ServerError
from snapseed.events import Note
from snapseed.postgres.connect import connected
from snapseed.servers.targets import resolve_target
from snapseed.testing.clones import opened_clones
from snapseed.testing.reset import reset_environment
from tests.conftest import Sandbox
from tests.differences import diff_snapshot
from tests.postgres.awkward import assign, awkward_settings
from tests.projects.own_pooler import needs_pgbouncer, own_pooler

pytestmark = needs_pgbouncer
# Everything that lasts for a session. PgBouncer itself passes the name of its client on, and settings with a point in
# their names appear with PL/pgSQL.
_SESSION = """
SELECT 'setting', name, setting FROM pg_settings
 WHERE name <> 'application_name' AND strpos(name, '.') = 0
UNION ALL SELECT 'statement', name, statement FROM pg_prepared_statements
UNION ALL SELECT 'cursor', name, statement FROM pg_cursors
UNION ALL SELECT 'lock', locktype, mode FROM pg_locks WHERE locktype = 'advisory'
UNION ALL SELECT 'temporary', relname, relkind::text FROM pg_class WHERE relpersistence = 't'
UNION ALL SELECT 'role', current_user, session_user
UNION ALL SELECT 'search path', current_schemas(true)::text, '' ORDER BY 1, 2
"""
# As pg_dump writes it.
_DUMPED = "SET statement_timeout = 0; SELECT pg_catalog.set_config('search_path', '', false); SET row_security = off;\n"


@pytest.fixture
def pooled(shop: Sandbox) -> Iterator[Sandbox]:
    """The shop, by way of a pooler with a single session, which one transaction after the other borrows."""
    with own_pooler(shop.url) as url:
        yield Sandbox(shop.folder, url)


def left_behind(sandbox: Sandbox) -> list[tuple[object, ...]]:
    """What is left in the session of the pool."""
    with psycopg.connect(sandbox.url, autocommit=True, prepare_threshold=None) as connection:
        return connection.execute(_SESSION).fetchall()


def test_what_a_load_needs_works_through_a_pooler(shop: Sandbox, pooled: Sandbox) -> None:
    """Twice each, with a schema file that changes its session; others find the session as it was."""
    schema = pooled.folder / "generators" / "schema.sql"
    schema.write_text(f"{schema.read_text()}\n{_DUMPED}")
    before = left_behind(pooled)
    for _ in range(2):
        load_snapshot(pooled.project, pooled.environment())
        assert verify_snapshot(pooled.project, pooled.environment()).agrees
        assert diff_snapshot(pooled.project, pooled.environment()).agrees
        assert run_ci(pooled.project, pooled.environment()).error is None
        load_snapshot(pooled.project, pooled.environment(), LoadRequest(if_changed=True))
    assert pooled.run("status", "dev", check=True).stdout.count("the snapshot on disk") == 1
    assert left_behind(pooled) == before
    assert verify_snapshot(shop.project, shop.environment()).agrees


def test_settings_of_the_database_change_nothing_through_a_pooler(shop: Sandbox, pooled: Sandbox) -> None:
    """Each transaction has its own settings, in whichever of the pool's sessions it runs."""
    with shop.connect() as connection:
        assign(connection, "DATABASE", connection.info.dbname, awkward_settings(connection))
    load_snapshot(pooled.project, pooled.environment())
    assert verify_snapshot(pooled.project, pooled.environment()).agrees
    assert diff_snapshot(pooled.project, pooled.environment()).agrees


def test_a_wait_behind_a_pooler_names_who_blocks(shop: Sandbox) -> None:
    """The process that waits is the server's, not the number that the pooler gave its client."""
    load_snapshot(shop.project, shop.environment())
    told: list[str] = []
    with own_pooler(shop.url, size=3) as url, shop.connect() as holder, holder.transaction():
        holder.execute("SELECT FROM orders")
        environment = Sandbox(shop.folder, url).environment(lock_timeout="2500ms")
        with pytest.raises(ServerError) as caught:
            load_snapshot(
                shop.project, environment, listener=lambda e: told.append(str(e)) if isinstance(e, Note) else None
            )
        assert f"blocked by process {holder.info.backend_pid} " in (caught.value.observed or "")
    assert len(told) == 1


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_what_needs_a_session_refuses_a_pooler(shop: Sandbox, mode: str) -> None:
    """Reset, states, databases for tests, and workers: before anything is changed. Listing states needs none."""
    with own_pooler(shop.url, mode) as url:
        pooled = Sandbox(shop.folder, url)
        with pytest.raises(ConfigurationError, match="pooler"):
            reset_environment(pooled.project, pooled.environment())
        for action in (save_state, reset_to_state, delete_state):
            with pytest.raises(ConfigurationError, match="pooler"):
                action(pooled.project, pooled.environment(), "one")
        assert list_states(pooled.project, pooled.environment()).states == []
        with pytest.raises(ConfigurationError, match="pooler"), opened_clones(pooled.project, pooled.environment()):
            pass
        assert pooled.run("reset").returncode == 2
    with shop.connect() as connection:
        assert connection.execute("SELECT FROM pg_class WHERE relname = 'orders'").fetchall() == []
    with connected(resolve_target(shop.project, shop.environment())) as session:
        assert not session.is_pooled


def test_workers_refuse_a_pooler_before_the_load(make_generated: Callable[[str], Sandbox]) -> None:
    """What they would do for its rows needs a session: before Redis is asked, and before a row is replaced."""
    letters = make_generated("letters")
    with own_pooler(letters.url) as url:
        pooled = Sandbox(letters.folder, url)
        assert pooled.run("load", "dev").returncode == 2
        environment = pooled.environment("dev", embeddings="queue")
        with pytest.raises(ConfigurationError, match="pooler"):
            require_queue(pooled.project, environment)
        with pytest.raises(ConfigurationError, match="pooler"), embedding_session(pooled.project, environment):
            pass
    with letters.connect() as connection:
        assert connection.execute("SELECT FROM pg_class WHERE relname = 'letters'").fetchall() == []
