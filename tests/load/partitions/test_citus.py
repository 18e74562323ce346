"""What the plan says about tables of Citus, by catalogs of the same shape as those that its manual describes."""

from __future__ import annotations

from dataclasses import replace

from snapseed.load.request import LoadRequest
from snapseed.postgres.catalog import read_tables
from snapseed.postgres.facts import TableName
from snapseed.postgres.provenance import FilledTable, changed_tables
from tests.load.shapes import Shapes
from tests.load.test_plan import entity, plan_of, table

_CATALOG = """
SET LOCAL allow_system_table_mods = on;
CREATE TABLE pg_catalog.pg_dist_partition
  (logicalrelid regclass, partmethod "char", partkey text, colocationid int, repmodel "char");
INSERT INTO pg_catalog.pg_dist_partition VALUES
  ('people', 'h', '{VAR …}', 1, 's'), ('teams', 'n', NULL, 2, 't'), ('badges', 'n', NULL, 3, 's'),
  ('managed', 'n', NULL, 0, 's');
"""
KINDS = {"people": "distributed", "teams": "reference", "badges": "single-shard", "managed": "local"}


def test_tables_of_citus_are_known_by_its_catalog(shapes: Shapes) -> None:
    """Their rows may be on other nodes, where the numbers of transactions are others, so they may not be ours."""
    shapes.create("INSERT INTO teams VALUES ('Red', 'x'); CREATE TABLE managed ()")
    with shapes.connect() as connection, connection.transaction(force_rollback=True):
        names = [TableName("public", name) for name in KINDS]
        assert {facts.citus for facts in read_tables(connection, names).values()} == {None}
        connection.execute(_CATALOG.encode())
        facts = read_tables(connection, names)
        assert {found.table: found.citus for found in facts.values()} == KINDS
        assert not any(found.name.alone for found in facts.values())
        ours = FilledTable(
            name="public.teams",
            replaced=True,
            upserted=False,
            by_workers=False,
            has_grown=False,
            identities=(),
            transactions=(),
            parts=frozenset(),
        )
        assert changed_tables(connection, [facts[names[1]]], {"public.teams": ours}) == {"public.teams"}


def test_the_plan_for_a_table_of_citus() -> None:
    """No FREEZE, no DDL on indexes, no unlogged tables; and no condition when rows are merged."""
    found = replace(table(1, "a"), citus="distributed")
    plan = plan_of([entity("a", rows=10**6)], {"a": found}, LoadRequest(unlogged=True))
    (step,) = plan.tables
    assert (step.freeze, step.make_unlogged, step.rebuilt, step.parallel) == (False, False, [], None)
    assert step.updates_all
