"""The tables of a load as one: their order, what one TRUNCATE may name, and what refers to what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from snapseed.database.catalog import TableFacts
from snapseed.load.plan.records import LoadOptions, Mode
from snapseed.snapshot.manifest import EntityRecord


@dataclass(frozen=True)
class Surroundings:
    """What each table's choices depend on beside its own facts. `tables` are in load order, by oid."""

    options: LoadOptions
    tables: Mapping[int, tuple[EntityRecord, TableFacts]]
    truncated: frozenset[int]

    @classmethod
    def of(
        cls,
        entities: Sequence[EntityRecord],
        facts: Mapping[str, TableFacts],
        children: Sequence[TableFacts],
        options: LoadOptions,
    ) -> Surroundings:
        """Of `entities` in load order, with the `children` that are emptied along with them."""
        tables = {facts[entity.name].oid: (entity, facts[entity.name]) for entity in entities}
        emptied = [found for _, found in tables.values()] + list(children)
        return cls(options, tables, _truncatable(emptied) if options.mode is Mode.REPLACE else frozenset())

    def is_later(self, oid: int, than: int) -> bool:
        """Whether table `oid` is loaded after table `than`."""
        order = list(self.tables)
        return oid in self.tables and order.index(oid) > order.index(than)


def _truncatable(emptied: Sequence[TableFacts]) -> frozenset[int]:
    """The tables that one TRUNCATE may name: whatever refers to one of them is among them."""
    tables = {facts.oid: facts for facts in emptied}
    truncated = {oid for oid, facts in tables.items() if "TRUNCATE" in facts.privileges}
    while blocked := {
        oid for oid in truncated if any(other.oid not in truncated for other in tables[oid].referenced_by)
    }:
        truncated -= blocked
    return frozenset(truncated)
