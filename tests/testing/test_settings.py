"""No setting of a role or a database changes what load, verify, diff and reset do."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from snapseed import load_snapshot, verify_snapshot
from snapseed.postgres.connect import PINNED, connected
from snapseed.servers.targets import resolve_target
from snapseed.testing.reset import reset_environment
from tests.differences import diff_snapshot
from tests.postgres.awkward import assign, awkward_settings
from tests.testing.conftest import Owner

KINDS = ("ROLE", "DATABASE")


def everything(owner: Owner) -> None:
    """Load into an empty database, verify, compare, and reset twice: by a load, and by a copy of the template."""
    project, environment = owner.project, owner.environment()
    load_snapshot(project, environment)
    assert verify_snapshot(project, environment).agrees
    assert diff_snapshot(project, environment).agrees
    assert reset_environment(project, environment).loaded
    with owner.connect() as connection:
        connection.execute("DELETE FROM badges")
    assert not verify_snapshot(project, environment).agrees
    assert not reset_environment(project, environment).loaded
    assert verify_snapshot(project, environment).agrees


@pytest.mark.parametrize("kind", KINDS)
def test_all_settings_at_once_change_nothing(owner: Owner, kind: str) -> None:
    """Each has an awkward value. What is pinned has ours, and the rows are right by the usual settings as well."""
    database = str(conninfo_to_dict(owner.url)["dbname"])
    name = owner.role if kind == "ROLE" else database
    with psycopg.connect(owner.server, autocommit=True) as connection:
        settings = awkward_settings(connection)
        # What an older server does not have is not set.
        assert len(settings) > 100
        assert PINNED.keys() & settings.keys() >= {"datestyle", "statement_timeout", "session_replication_role"}
        if kind == "DATABASE":
            # For a superuser, who alone may copy settings of superusers to a database that takes the place of another.
            owner.administer("ALTER ROLE {} SUPERUSER", owner.role)
        else:
            settings |= {"session_replication_role": "origin"}
        assign(connection, kind, name, settings)
    with connected(resolve_target(owner.project, owner.environment())) as session:
        values = "SELECT name, current_setting(name, true) FROM unnest(%s::text[]) AS pinned (name)"
        assert {value for value in session.execute(values, [list(PINNED)]) if value[1] is not None} <= set(
            PINNED.items()
        )
    everything(owner)
    with psycopg.connect(owner.server, autocommit=True) as connection:
        assign(connection, kind, name, {})
    assert verify_snapshot(owner.project, owner.environment()).agrees
