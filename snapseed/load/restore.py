"""What a captured database had besides rows: where its sequences stood, and which constraints its rows may break."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from psycopg import sql

from snapseed.load.request import LoadRequest, Mode
from snapseed.postgres import query
from snapseed.postgres.catalog import ConstraintFacts, SequenceFacts, TableFacts, TableName, read_rows
from snapseed.postgres.connect import Connection, role_search_path
from snapseed.snapshot.manifest import Manifest, SequencePosition


@dataclass(frozen=True)
class Restoration:
    """What a load brings back besides rows.

    `positions` are where sequences stood, by schema and name; `sequences` are those of them that fill no column.
    `unvalidated` are the constraints, by table, that were added without a look at the rows. `unfilled` are the
    materialized views that the schema has just created without data, in the order in which they can be filled.
    """

    positions: Mapping[tuple[str, str], SequencePosition] = field(default_factory=dict)
    sequences: Sequence[SequenceFacts] = ()
    unvalidated: Mapping[int, Sequence[ConstraintFacts]] = field(default_factory=dict)
    unfilled: Sequence[TableName] = ()

    def after(self, sequence: SequenceFacts) -> str:
        """Where the sequence continues, in words."""
        return "where it stood" if (sequence.schema, sequence.name) in self.positions else "after the loaded keys"

    def postponed(self, table: int) -> tuple[ConstraintFacts, ...]:
        """The constraints of a table that are added after its rows are in."""
        return tuple(self.unvalidated.get(table, ()))

    def facts(self, found: TableFacts) -> TableFacts:
        """The facts about a table whose rows need not meet those constraints."""
        names = {constraint.name for constraint in self.postponed(found.oid)}
        return replace(found, foreign_keys=tuple(key for key in found.foreign_keys if key.name not in names))


def read_restoration(
    connection: Connection,
    manifest: Manifest,
    request: LoadRequest,
    tables: Mapping[str, TableFacts],
    *,
    is_created: bool,
) -> Restoration:
    """What this load brings back. `tables` are those of the loaded entities; `is_created`: by the schema, just now."""
    found = read_rows(connection, query("unfilled_views")) if is_created else []
    unfilled = [TableName(**row) for row in found]
    if not manifest.capture or request.mode is not Mode.REPLACE:
        return Restoration(unfilled=unfilled)
    entities = [entity for entity in manifest.entities if entity.name in tables]
    free = () if request.only else manifest.capture.sequences
    positions = [*free, *chain.from_iterable(entity.sequences or () for entity in entities)]
    names = {"schemas": [position.schema for position in free], "names": [position.name for position in free]}
    unvalidated: dict[int, list[ConstraintFacts]] = {}
    for row in read_rows(connection, query("unvalidated"), tables=[table.oid for table in tables.values()]):
        unvalidated.setdefault(row.pop("table"), []).append(ConstraintFacts(**row))
    return Restoration(
        positions={(position.schema, position.name): position for position in positions},
        sequences=[SequenceFacts(**row) for row in read_rows(connection, query("named_sequences"), **names)],
        unvalidated=unvalidated,
        unfilled=unfilled,
    )


def fill_views(connection: Connection, views: Sequence[TableName]) -> None:
    """Fill materialized views in this order."""
    with role_search_path(connection):
        for view in views:
            connection.execute(sql.SQL("REFRESH MATERIALIZED VIEW {}").format(view.identifier()))
