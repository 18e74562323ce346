"""The load plan: what a load does to each table, and why. Made of the manifest, the catalogs' facts and the options.

Pure: nothing in here touches a file or a database. `records` is what a plan consists of, `choices` decides table by
table, and `requirements` lists what keeps a load from working at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from snapseed.load.plan.choices import choose_settings, ordered_entities, plan_child, plan_table
from snapseed.load.plan.records import ColumnPlan, EmptiedTable, Emptying, LoadOptions, LoadPlan, Mode, TablePlan
from snapseed.load.plan.requirements import require_loadable
from snapseed.load.plan.surroundings import Surroundings
from snapseed.postgres.catalog import ServerFacts, TableFacts
from snapseed.postgres.fit import Problem
from snapseed.snapshot.manifest import EntityRecord

__all__ = ["ColumnPlan", "EmptiedTable", "Emptying", "LoadOptions", "LoadPlan", "Mode", "TablePlan", "plan_load"]


def plan_load(
    entities: Sequence[EntityRecord],
    facts: Mapping[str, TableFacts],
    options: LoadOptions | None = None,
    *,
    server: ServerFacts | None = None,
    children: Sequence[TableFacts] = (),
    problems: Sequence[Problem] = (),
) -> LoadPlan:
    """The plan for `entities`, given the facts of their tables by entity name.

    `children` are tables outside the load that are to be emptied in the same transaction. Raises `SchemaError` that
    lists everything in which the tables do not fit the snapshot or this role lacks a privilege, all at once, with
    `problems` that were found elsewhere.
    """
    options = options or LoadOptions()
    there = [entity for entity in entities if entity.name in facts]
    ordered = ordered_entities(there, facts)
    load = Surroundings.of(ordered, facts, children, options)
    require_loadable(entities, facts, load, server=server, children=children, also=problems)
    return LoadPlan(
        tables=tuple(plan_table(entity, facts[entity.name], load) for entity in ordered),
        mode=options.mode,
        children=tuple(plan_child(child, load) for child in children),
        settings=choose_settings(server),
    )
