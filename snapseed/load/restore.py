"""What a captured database had besides rows: where its sequences stood, and which constraints its rows may break."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from msgspec import UNSET
from psycopg import sql

from snapseed.load.request import LoadRequest, Mode
from snapseed.load.schema_file import Schema
from snapseed.postgres import query
from snapseed.postgres.catalog import read_rows
from snapseed.postgres.connect import Connection, role_search_path
from snapseed.postgres.facts import ConstraintFacts, TableFacts, TableName
from snapseed.snapshot.manifest import Manifest, SequencePosition


@dataclass(frozen=True)
class Restoration:
    """What a load brings back besides rows.

    `positions` are those of sequences that exist here and belong to this role. `unvalidated` are the constraints by
    table that were added without a look at the rows; `domain_drops` are statements that drop such checks of domains,
    `domain_adds` those that add them again. `unfilled` are the materialized views that the schema has just created
    without data, in the order in which they can be filled.
    """

    positions: Sequence[SequencePosition] = ()
    unvalidated: Mapping[int, Sequence[ConstraintFacts]] = field(default_factory=dict)
    domain_drops: Sequence[str] = ()
    domain_adds: Sequence[str] = ()
    unfilled: Sequence[TableName] = ()

    @property
    def sequences(self) -> frozenset[tuple[str, str]]:
        """The sequences that get a position, by schema and name."""
        return frozenset((position.schema, position.name) for position in self.positions)

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
    tables: Sequence[TableFacts],
    created: Schema | None,
) -> Restoration:
    """What this load brings back, and what the schema `created`, if it was run just now, has left without data.

    Positions and constraints come back only if all rows become those of a captured database.
    """
    unfilled = read_rows(connection, query("unfilled_views"), but=created.unfilled) if created else []
    views = [TableName(row["schema"], row["table"]) for row in unfilled]
    if manifest.capture is UNSET or request.only or request.mode is not Mode.REPLACE:
        return Restoration(unfilled=views)
    of_entities = (entity.sequences for entity in manifest.entities if entity.sequences is not UNSET)
    positions = [*chain.from_iterable(of_entities), *manifest.capture.sequences]
    names = {"schemas": [found.schema for found in positions], "names": [found.name for found in positions]}
    fixed = {(found.schema, found.name) for table in tables for found in table.sequences if not found.may_alter}
    found = (positions[row["number"] - 1] for row in read_rows(connection, query("own_sequences"), **names))
    own = [position for position in found if (position.schema, position.name) not in fixed]
    oids = [table.oid for table in tables]
    unvalidated: dict[int, list[ConstraintFacts]] = {}
    for row in read_rows(connection, query("unvalidated"), tables=oids):
        unvalidated.setdefault(row.pop("table"), []).append(ConstraintFacts(**row))
    domains = read_rows(connection, query("unvalidated_domains"), tables=oids)
    drops, adds = ([row[action] for row in domains] for action in ("drop", "add"))
    return Restoration(own, unvalidated, drops, adds, views)


def restore_positions(connection: Connection, restoration: Restoration) -> None:
    """Set sequences as they stood. ALTER SEQUENCE gives each a new file, so a rollback undoes the setval as well."""
    for position in restoration.positions:
        name = sql.Identifier(position.schema, position.name)
        connection.execute(sql.SQL("ALTER SEQUENCE {} RESTART").format(name))
        parameters = (name.as_string(connection), position.last_value, position.is_called)
        connection.execute("SELECT setval(%s::regclass, %s, %s)", parameters)


def fill_views(connection: Connection, restoration: Restoration) -> None:
    """Fill the materialized views."""
    with role_search_path(connection):
        for view in restoration.unfilled:
            connection.execute(sql.SQL("REFRESH MATERIALIZED VIEW {}").format(view.identifier()))
