"""The tables of a load as one: their order, what one TRUNCATE may name, and what refers to what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from snapseed.load.plan.records import LoadOptions, Mode
from snapseed.postgres.catalog import ForeignKeyFacts, TableFacts
from snapseed.snapshot.manifest import EntityRecord


@dataclass(frozen=True)
class Surroundings:
    """What each table's choices depend on beside its own facts. `tables` are in load order, by oid.

    `truncated` are the tables that are truncated; `truncatable` those that would be, had the role the privilege for all
    that it can empty in no way. `logged` says why a table can not become unlogged, by oid.
    """

    options: LoadOptions
    tables: Mapping[int, tuple[EntityRecord, TableFacts]]
    truncated: frozenset[int] = frozenset()
    truncatable: frozenset[int] = frozenset()
    logged: Mapping[int, str] = field(default_factory=dict)

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
        if options.mode is not Mode.REPLACE:
            return cls(options, tables, logged=_logged(tables, frozenset()))
        emptied = {found.oid: found for found in [*(found for _, found in tables.values()), *children]}
        allowed = {oid for oid, found in emptied.items() if "TRUNCATE" in found.privileges}
        helpless = {oid for oid, found in emptied.items() if not found.privileges & {"TRUNCATE", "DELETE"}}
        truncated = _closed(emptied, allowed)
        return cls(options, tables, truncated, _closed(emptied, allowed | helpless), _logged(tables, truncated))

    def deletes_from(self, facts: TableFacts) -> bool:
        """Whether rows of the table go by DELETE; not where TRUNCATE is all that the role could be granted to mend."""
        if self.options.mode is not Mode.REPLACE or facts.oid in self.truncated:
            return False
        return "DELETE" in facts.privileges or facts.oid not in self.truncatable

    def is_later(self, key: ForeignKeyFacts, than: int) -> bool:
        """Whether the table that `key` refers to is loaded after table `than`."""
        order = list(self.tables)
        return any(order.index(oid) > order.index(than) for oid in key.targets & self.tables.keys())


def referenced_first(tables: Sequence[TableFacts]) -> list[TableFacts]:
    """Each table once, behind those of `tables` that it refers to; in a cycle, the order given decides."""
    by_oid = {facts.oid: facts for facts in tables}
    ordered: list[TableFacts] = []
    visited: set[int] = set()

    def visit(facts: TableFacts) -> None:
        if facts.oid in visited:
            return
        visited.add(facts.oid)
        for key in facts.foreign_keys:
            for oid in key.targets & by_oid.keys():
                visit(by_oid[oid])
        ordered.append(facts)

    for facts in tables:
        visit(facts)
    return ordered


def _closed(tables: Mapping[int, TableFacts], allowed: set[int]) -> frozenset[int]:
    """Those of `allowed` that one TRUNCATE may name: whatever refers to one of them is among them."""
    truncated = set(allowed)
    while blocked := {
        oid for oid in truncated if not all(other.is_among(truncated) for other in tables[oid].referenced_by)
    }:
        truncated -= blocked
    return frozenset(truncated)


def _logged(tables: Mapping[int, tuple[EntityRecord, TableFacts]], truncated: frozenset[int]) -> dict[int, str]:
    """Why tables stay logged: for themselves, or since a logged table may not refer to an unlogged one."""
    logged: dict[int, str] = {}
    for oid, (_, facts) in tables.items():
        if facts.kind != "r":
            logged[oid] = "it is partitioned"
        elif not facts.owned:
            logged[oid] = "the role does not own it"
        elif oid not in truncated:
            logged[oid] = "it is not truncated"
        elif facts.is_published:
            logged[oid] = "it is published"
    while blocked := {
        oid: f"{other.name} refers to it, and stays logged"
        for oid, (_, facts) in tables.items()
        if oid not in logged
        for other in facts.referenced_by
        if other.is_among(logged) or not other.is_among(tables)
    }:
        logged.update(blocked)
    return logged
