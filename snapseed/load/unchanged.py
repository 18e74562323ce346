"""Tell in milliseconds whether a database still holds what the last load put there, for `load --if-changed`.

A load records the state in which it leaves each table: its data files, how many rows were ever inserted, updated or
deleted in it, and the fingerprint of the rows on a few of its pages. The counts are PostgreSQL's own statistics. An
idle session may report its counts up to ten seconds late. A crash resets them; the table then counts as changed.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql
from psycopg.rows import dict_row

from snapseed.load.request import LoadRequest, Mode
from snapseed.postgres.catalog import TableName
from snapseed.postgres.connect import Connection
from snapseed.postgres.fit import table_name
from snapseed.postgres.provenance import last_states
from snapseed.postgres.rowhash import row_hash
from snapseed.snapshot.manifest import EntityRecord, Manifest

# Each costs a fraction of a millisecond. The counts cover the other pages.
_SAMPLED_PAGES = 8


def is_unchanged(
    connection: Connection, manifest: Manifest, entities: Sequence[EntityRecord], request: LoadRequest
) -> bool:
    """Whether the tables of `entities` were last loaded from this snapshot and have not changed since.

    After an upsert or an append they may hold other rows, which a load in mode `replace` would remove. If the request
    asks for verification, an unverified load does not count.
    """
    states = last_states(connection)
    for entity in entities:
        found = _resolve(connection, table_name(entity))
        if found is None:
            return False
        identity, state = states.get(str(found), ("", None))
        if identity != manifest.identity or not isinstance(state, dict) or state.get("changes") is None:
            return False
        if state["mode"] not in {request.mode, Mode.REPLACE} or (request.verify and not state.get("verified")):
            return False
        loaded = LoadRequest(mode=state["mode"], verify=bool(state.get("verified")))
        if state != table_state(connection, entity, found, loaded, pages=state["pages"]):
            return False
    return True


def count_changes(connection: Connection, table: TableName) -> int:
    """How many rows were inserted, updated or deleted since the statistics were last reset, in partitions too."""
    return int(str(_facts(connection, table)["changes"] or 0))


def table_state(
    connection: Connection,
    entity: EntityRecord,
    table: TableName,
    request: LoadRequest,
    *,
    changes: int | None = None,
    pages: Sequence[int] | None = None,
) -> dict[str, object]:
    """The state of a table now, after a load with this request.

    `changes` replaces the count of changes, which does not include those of this transaction yet. `pages` are the ones
    to sample, to compare with an earlier state. The count is None if the server does not keep one.
    """
    facts = _facts(connection, table)
    if pages is None:
        last = max(int(str(facts["blocks"])) - 1, 0)
        spread = {last * number // (_SAMPLED_PAGES - 1) for number in range(_SAMPLED_PAGES)}
        pages = sorted(spread) if table.alone and facts["may_select"] else []
    counted = facts["changes"]
    return {
        "oid": facts["oid"],
        "mode": str(request.mode),
        "verified": request.verify,
        "columns": facts["columns"],
        "files": facts["files"],
        "changes": counted if changes is None or counted is None else changes,
        "pages": pages,
        "sample": _sample(connection, entity, table, pages),
    }


def _sample(connection: Connection, entity: EntityRecord, table: TableName, pages: Sequence[int]) -> str:
    """Number and fingerprint of the rows on these pages, and on all pages after the last of them."""
    if not pages:
        return ""
    conditions = [sql.SQL("ctid >= {}").format(sql.Literal(f"({page},0)")) for page in pages]
    for place, page in enumerate(pages[:-1]):
        conditions[place] += sql.SQL(" AND ctid < {}").format(sql.Literal(f"({page + 1},0)"))
    parts = [
        sql.SQL("SELECT {} AS digest FROM {} WHERE {}").format(row_hash(entity.columns), table.rows(), condition)
        for condition in conditions
    ]
    query = sql.SQL("SELECT count(*) || ' ' || coalesce(sum(digest), 0) FROM ({}) sampled")
    row = connection.execute(query.format(sql.SQL(" UNION ALL ").join(parts))).fetchone()
    assert row is not None
    return str(row[0])


def _facts(connection: Connection, table: TableName) -> dict[str, object]:
    with connection.cursor(row_factory=dict_row) as cursor:
        facts = cursor.execute(_STATE, {"table": table.identifier().as_string(connection)}).fetchone()
    assert facts is not None
    return facts


def _resolve(connection: Connection, name: TableName) -> TableName | None:
    row = connection.execute(_RESOLVE, (name.identifier().as_string(connection),)).fetchone()
    return None if row is None else TableName(str(row[0]), str(row[1]), alone=row[2] == "r")


_STATE = """
SELECT %(table)s::regclass::oid::int8 AS oid,
       (SELECT to_jsonb(array_agg(attname || ' ' || format_type(atttypid, atttypmod) ORDER BY attnum))
          FROM pg_attribute WHERE attrelid = %(table)s::regclass AND attnum > 0 AND NOT attisdropped) AS columns,
       to_jsonb(array_agg(pg_relation_filenode(relid) ORDER BY relid)) AS files,
       CASE WHEN current_setting('track_counts')::bool
            THEN sum(pg_stat_get_tuples_inserted(relid) + pg_stat_get_tuples_updated(relid)
                     + pg_stat_get_tuples_deleted(relid))::int8 END AS changes,
       sum(pg_relation_size(relid) / current_setting('block_size')::int)::int8 AS blocks,
       bool_and(has_table_privilege(relid, 'SELECT')) AS may_select
  FROM (SELECT %(table)s::regclass AS relid UNION SELECT relid FROM pg_partition_tree(%(table)s::regclass)) parts
"""

_RESOLVE = """
SELECT n.nspname, c.relname, c.relkind::text
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%s)
"""
