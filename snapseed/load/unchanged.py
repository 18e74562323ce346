"""Tell in milliseconds whether a database still holds what the last load put there, for `load --if-changed`.

A load records the state in which it leaves each table: its data files, how many rows were ever inserted, updated or
deleted in it, and the fingerprint of the rows on a few of its pages. The counts are PostgreSQL's own statistics. An
idle session may report its counts up to ten seconds late. A crash resets them; the table then counts as changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import sql
from psycopg.rows import dict_row

from snapseed.load.plan.requirements import conflict_problems
from snapseed.load.request import LoadRequest, Mode
from snapseed.postgres import query
from snapseed.postgres.catalog import find_tables, search_schemas
from snapseed.postgres.connect import Connection
from snapseed.postgres.facts import TableFacts, TableName
from snapseed.postgres.fit import schema_problems, table_name
from snapseed.postgres.provenance import FilledTable, last_states
from snapseed.postgres.rowhash import row_hash, table_fingerprint
from snapseed.snapshot.manifest import EntityRecord, Manifest

# Each costs a fraction of a millisecond. The counts cover the other pages.
_SAMPLED_PAGES = 8
# Comparing larger tables with the snapshot takes too long to do it before every load.
_MOST_COMPARED = 100_000


def why_to_load(
    connection: Connection, manifest: Manifest, entities: Sequence[EntityRecord], request: LoadRequest
) -> str | None:
    """None if the tables of `entities` were last loaded from this snapshot and have not changed since, else the reason.

    After an upsert or an append they may hold other rows, which a load in mode `replace` would remove. If the request
    asks for verification, an unverified load does not count.
    """
    states = last_states(connection)
    tables = find_tables(connection, [table_name(entity) for entity in entities], search_schemas(connection))
    for entity in entities:
        found = tables.get(table_name(entity))
        if found is None:
            return f"{table_name(entity)} does not exist"
        if states and str(found) not in states and _holds(connection, entity, found):
            # As `held_rows` has left it.
            continue
        identity, state = states.get(str(found), ("", None))
        if identity != manifest.identity or not isinstance(state, dict) or state.get("changes") is None:
            return f"{found} was not last loaded from this snapshot, or nobody counts its changes"
        if state["mode"] not in {request.mode, Mode.REPLACE, Mode.REPAIR}:
            return f"{found} was last loaded with --mode {state['mode']}, so it may hold other rows too"
        if request.verify and not state.get("verified"):
            return f"the last load of {found} was not verified"
        if state != state | table_state(connection, entity, found, state["pages"]):
            return f"{found} has changed since the last load"
    return None


def held_rows(
    connection: Connection,
    request: LoadRequest,
    entities: Sequence[EntityRecord],
    facts: Mapping[str, TableFacts],
    filled: Mapping[str, FilledTable],
) -> list[str]:
    """The entities of which others have put exactly the rows into their tables, so that there is nothing to replace.

    With consent, they are replaced like all others. An upsert asks this about tables in which it could not tell which
    rows are the same.
    """
    if request.recreate or request.mode is Mode.APPEND or (request.consent and request.mode is Mode.REPLACE):
        return []
    there = [(entity, facts[entity.name]) for entity in entities if entity.name in facts]
    held = []
    for entity, found in there:
        no_upsert = request.mode is Mode.UPSERT and any(conflict_problems(entity, found))
        is_foreign = request.mode is Mode.REPLACE and str(found.name) not in filled
        may_look = not found.foreign_partitions and all(column.may_select for column in found.columns)
        is_asked = (no_upsert or is_foreign) and may_look and not schema_problems(entity, found)
        if is_asked and _holds(connection, entity, found.name):
            held.append(entity.name)
    # What refers to rows that are replaced is replaced with them.
    while request.mode is Mode.REPLACE:
        replaced = {found.oid for entity, found in there if entity.name not in held}
        staying = [name for name in held if not any(key.targets & replaced for key in facts[name].foreign_keys)]
        if staying == held:
            break
        held = staying
    return held


def _holds(connection: Connection, entity: EntityRecord, table: TableName) -> bool:
    """Whether a table that is not large holds exactly these rows."""
    if not 0 < entity.rows <= _MOST_COMPARED:
        return False
    count = sql.SQL("SELECT count(*) FROM (SELECT 1 FROM {} LIMIT {}) counted")
    rows = connection.execute(count.format(table.rows(), entity.rows + 1)).fetchone()
    return rows == (entity.rows,) and table_fingerprint(connection, entity, table) == entity.digest()


def table_state(
    connection: Connection, entity: EntityRecord, table: TableName, pages: Sequence[int] | None = None
) -> dict[str, Any]:
    """The state of a table now.

    `pages` are the ones to sample, to compare with an earlier state.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        facts = cursor.execute(query("table_state"), {"table": table.identifier().as_string(connection)}).fetchone()
    assert facts is not None
    last = max(facts.pop("blocks") - 1, 0)
    may_sample = facts.pop("may_select") and table.alone
    if pages is None:
        spread = {last * number // (_SAMPLED_PAGES - 1) for number in range(_SAMPLED_PAGES)}
        pages = sorted(spread) if may_sample else []
    return {**facts, "pages": pages, "sample": _sample(connection, entity, table, pages)}


def _sample(connection: Connection, entity: EntityRecord, table: TableName, pages: Sequence[int]) -> str:
    """Number and fingerprint of the rows on these pages, and on all pages after the last of them."""
    if not pages:
        return ""
    conditions = [sql.SQL("ctid >= {}").format(sql.Literal(f"({page},0)")) for page in pages]
    for place, page in enumerate(pages[:-1]):
        conditions[place] += sql.SQL(" AND ctid < {}").format(sql.Literal(f"({page + 1},0)"))
    part = sql.SQL("SELECT {} AS digest FROM {} WHERE {}")
    parts = [part.format(row_hash(entity.columns), table.rows(), condition) for condition in conditions]
    total = sql.SQL("SELECT count(*) || ' ' || coalesce(sum(digest), 0) FROM ({}) sampled")
    ((sample,),) = connection.execute(total.format(sql.SQL(" UNION ALL ").join(parts))).fetchall()
    return str(sample)
