"""The tables of a load as a whole: in which order they are loaded, and which of them can be truncated or unlogged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from snapseed.load.plan import Prepared, RowChanges
from snapseed.load.request import LoadRequest, LoadSettings, Mode
from snapseed.postgres.facts import TableFacts
from snapseed.snapshot.manifest import EntityRecord


@dataclass(frozen=True)
class TableSet:
    """What the choices for one table depend on beyond its own facts: the other tables of the load, and the request.

    `tables` are in load order, by oid. `truncated` are emptied by TRUNCATE; `truncatable` are those that would be if
    the role were granted TRUNCATE on the tables that it cannot empty at all. `logged` says by oid why a table cannot
    become unlogged. `changes` are those of a repair, by oid.
    """

    prepared: Prepared
    request: LoadRequest
    settings: LoadSettings
    tables: Mapping[int, tuple[EntityRecord, TableFacts]]
    truncated: frozenset[int]
    truncatable: frozenset[int]
    logged: Mapping[int, str]
    changes: Mapping[int, RowChanges]

    @classmethod
    def of(
        cls, entities: Sequence[EntityRecord], prepared: Prepared, request: LoadRequest, settings: LoadSettings
    ) -> TableSet:
        """The tables of `entities`, which are in load order."""
        tables = {prepared.facts[entity.name].oid: (entity, prepared.facts[entity.name]) for entity in entities}
        emptied = {facts.oid: facts for facts in [*(facts for _, facts in tables.values()), *prepared.children]}
        if request.mode is not Mode.REPLACE:
            emptied = {}
        allowed = {oid for oid, facts in emptied.items() if "TRUNCATE" in facts.privileges}
        helpless = {oid for oid, facts in emptied.items() if not facts.privileges & {"TRUNCATE", "DELETE"}}
        truncated, truncatable = _closed(emptied, allowed), _closed(emptied, allowed | helpless)
        changes = {prepared.facts[name].oid: changes for name, changes in prepared.changes.items()}
        logged = _logged(tables, truncated)
        return cls(prepared, request, settings, tables, truncated, truncatable, logged, changes)

    def deletes_from(self, facts: TableFacts) -> bool:
        """Whether the table is emptied by DELETE, also if the role still needs a grant for that."""
        if self.request.mode is not Mode.REPLACE or facts.oid in self.truncated:
            return False
        return "DELETE" in facts.privileges or facts.oid not in self.truncatable

    def commands(self, facts: TableFacts) -> frozenset[str]:
        """The commands other than COPY and TRUNCATE that change rows of the table."""
        if self.request.mode is Mode.UPSERT:
            return frozenset({"INSERT", "UPDATE"})
        deletes = frozenset({"DELETE"}) if self.deletes_from(facts) else frozenset[str]()
        return self.changes.get(facts.oid, RowChanges()).commands | deletes


def referenced_first(tables: Sequence[TableFacts]) -> list[TableFacts]:
    """Each table once, after those of `tables` that it refers to. In a cycle, the given order decides."""
    by_oid = {facts.oid: facts for facts in tables}
    ordered: list[TableFacts] = []
    visited: set[int] = set()

    def visit(facts: TableFacts) -> None:
        """Put the tables that it refers to in order, and then itself."""
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
    """Those of `allowed` that one TRUNCATE may name: every table that refers to one of them is among them."""
    truncated = set(allowed)
    while blocked := {
        oid for oid in truncated if not all(other.is_among(truncated) for other in tables[oid].referenced_by)
    }:
        truncated -= blocked
    return frozenset(truncated)


def _logged(tables: Mapping[int, tuple[EntityRecord, TableFacts]], truncated: frozenset[int]) -> dict[int, str]:
    """Why tables stay logged: by themselves, or because a logged table must not refer to an unlogged one."""
    logged: dict[int, str] = {}
    for oid, (_, facts) in tables.items():
        if facts.kind != "r":
            logged[oid] = "it is partitioned"
        elif facts.citus:
            logged[oid] = f"it is a {facts.citus} table of Citus"
        elif not facts.owned:
            logged[oid] = "the role does not own it"
        elif oid not in truncated:
            logged[oid] = "it is not truncated"
        elif facts.is_published:
            logged[oid] = "it is published"
    while blocked := {
        oid: f"{other.name} refers to it and stays logged"
        for oid, (_, facts) in tables.items()
        if oid not in logged
        for other in facts.referenced_by
        if other.is_among(logged) or not other.is_among(tables)
    }:
        logged.update(blocked)
    return logged
