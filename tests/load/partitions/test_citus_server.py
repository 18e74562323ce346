"""All commands against a Citus cluster: `SNAPSEED_TEST_CITUS` is the URL of a database on its coordinator.

Citus refuses much that PostgreSQL allows, and its manual does not list it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from snapseed import LoadRequest, SnapseedError, find_project, generate_snapshot, load_snapshot, verify_snapshot
from snapseed.capture.request import CaptureRequest
from snapseed.capture.snapshot import capture_snapshot
from snapseed.config import Environment, Project
from snapseed.diff.repair import RepairRequest, repair_snapshot
from snapseed.generate.request import Request
from snapseed.load.request import Mode
from snapseed.postgres.catalog import read_tables
from snapseed.postgres.facts import TableName

_SETTING = "SNAPSEED_TEST_CITUS"
pytestmark = pytest.mark.skipif(_SETTING not in os.environ, reason=f"{_SETTING} names no coordinator of Citus")
_TABLES = ("tenants", "orders", "notes", "badges", "managed", "plain")
_KINDS: dict[str, str | None] = {
    "tenants": "reference",
    "orders": "distributed",
    "notes": "distributed",
    "badges": "single-shard",
}
_KINDS |= {"managed": "local", "plain": None}
_SCHEMA = """
SET LOCAL citus.shard_count = 4;
CREATE TABLE tenants (id bigint PRIMARY KEY, name text NOT NULL);
CREATE TABLE orders (id bigint NOT NULL, tenant bigint NOT NULL REFERENCES tenants, name text, PRIMARY KEY (tenant, id))
  PARTITION BY RANGE (id);
CREATE TABLE orders_1 PARTITION OF orders FOR VALUES FROM (0) TO (50);
CREATE TABLE orders_2 PARTITION OF orders FOR VALUES FROM (50) TO (1000);
CREATE TABLE notes (id bigserial PRIMARY KEY, tenant bigint REFERENCES tenants, name text);
CREATE TABLE badges (id bigserial PRIMARY KEY, tenant bigint, name text);
CREATE TABLE managed (id bigserial PRIMARY KEY, tenant bigint REFERENCES tenants, name text);
CREATE TABLE plain (id bigserial PRIMARY KEY, tenant bigint, name text);
SELECT create_reference_table('tenants');
SELECT create_distributed_table('orders', 'tenant');
SELECT create_distributed_table('notes', 'id');
SELECT create_distributed_table('badges', NULL);
SELECT citus_add_local_table_to_metadata('managed');
"""
_GENERATORS = """
import polars as pl
from snapseed import Rows, entity

def _rows(rows: Rows) -> pl.DataFrame:
    return pl.DataFrame({"id": rows.key(), "tenant": rows.key(), "name": rows.choice("name", ["Ann", "Bob"])})

@entity(key="id", columns={"id": "bigint", "name": "text"})
def tenants(rows: Rows) -> pl.DataFrame:
    return _rows(rows).drop("tenant")
"""
_MORE = """
@entity(key="id", columns={{"id": "bigint", "tenant": "bigint", "name": "text"}})
def {0}(rows: Rows) -> pl.DataFrame:
    return _rows(rows)
"""


@contextmanager
def _connected() -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """The coordinator."""
    with psycopg.connect(os.environ[_SETTING], autocommit=True) as connection:
        yield connection


def _values(query: str) -> list[tuple[object, ...]]:
    """What a query returns."""
    with _connected() as connection:
        return connection.execute(query.encode()).fetchall()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project with a table of each kind, and its snapshot of 100 rows each. The tables are dropped afterwards."""
    (tmp_path / "generators").mkdir()
    code = _GENERATORS + "".join(_MORE.format(name) for name in _TABLES[1:])
    (tmp_path / "generators" / "rows.py").write_text(code)
    (tmp_path / "schema.sql").write_text(_SCHEMA)
    (tmp_path / "snapseed.toml").write_text(
        '[snapseed]\nschema = "schema.sql"\n[environments.dev]\nscale = 100\ncreate_schema = true\n'
        f'database = "${{{_SETTING}}}"\n[mask]\n' + "".join(f'"{name}.name" = "keep"\n' for name in _TABLES)
    )
    project = find_project(tmp_path)
    generate_snapshot(project, Request("dev", 42, 100))
    drop = f"DROP TABLE IF EXISTS {', '.join(_TABLES)}; DROP SCHEMA IF EXISTS snapseed CASCADE"
    with _connected() as connection:
        # Other processes of this run have the same database.
        connection.execute("SELECT pg_advisory_lock(17)")
        connection.execute(drop.encode())
        yield project
        connection.execute(drop.encode())


def test_commands_on_tables_of_citus(project: Project) -> None:
    """Tables of each kind are created, loaded, verified, merged, repaired and captured; their sequences follow."""
    environment, consent = project.environment("dev"), LoadRequest(consent=True)
    load_snapshot(project, environment)
    with _connected() as connection:
        facts = read_tables(connection, [TableName("public", name) for name in _TABLES])
    assert {name.table: found.citus for name, found in facts.items()} == _KINDS
    assert _values("SELECT nextval('notes_id_seq'), nextval('badges_id_seq'), nextval('managed_id_seq')") == [
        (101,) * 3
    ]
    assert not load_snapshot(project, environment, LoadRequest(if_changed=True, consent=True)).already_loaded
    load_snapshot(project, replace(environment, connections=2), consent)
    _values("UPDATE notes SET name = 'Zoe' WHERE id < 9 RETURNING 1")
    _values("DELETE FROM badges WHERE id < 9 RETURNING 1")
    assert not verify_snapshot(project, environment).agrees
    merged = load_snapshot(project, environment, LoadRequest(mode=Mode.UPSERT))
    assert [left.entity for left in merged.plan.left if not left.agrees] == []
    assert verify_snapshot(project, environment).agrees
    _values("UPDATE managed SET name = 'Zoe' WHERE id < 9 RETURNING 1")
    repaired = repair_snapshot(project, environment, RepairRequest(consent=True))
    assert [(each.entity, each.updated) for each in repaired.entities] == [("managed", 8)]
    source = replace(environment, snapshot="captured", source=os.environ[_SETTING])
    captured = capture_snapshot(project, source, CaptureRequest(jobs=2))
    assert captured.manifest.rows == 600
    load_snapshot(project, environment, consent)
    assert verify_snapshot(project, environment).agrees


@pytest.mark.parametrize(
    "act",
    [
        lambda project, environment: repair_snapshot(project, environment, RepairRequest(consent=True)),
        lambda project, environment: load_snapshot(project, environment, LoadRequest(recreate=True, consent=True)),
        lambda project, environment: load_snapshot(project, environment, LoadRequest(mode=Mode.APPEND)),
    ],
    ids=["repair without a unique index on the key", "recreate", "append of the same parts"],
)
def test_what_citus_cannot_do_is_refused_by_name(
    project: Project, act: Callable[[Project, Environment], object]
) -> None:
    """Such a request ends before anything is changed, with a reason that is ours and not the server's."""
    environment = project.environment("dev")
    load_snapshot(project, environment)
    _values("UPDATE orders SET name = 'Zoe' WHERE id = 5 RETURNING 1")
    with pytest.raises(SnapseedError) as failed:
        act(project, environment)
    assert not isinstance(failed.value.__cause__, psycopg.Error)
    assert _values("SELECT count(*), count(*) FILTER (WHERE name = 'Zoe') FROM orders") == [(100, 1)]
