"""Bind rules to columns: the key of each rule, what its columns can hold, and the options and functions it uses."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import psycopg
import pyarrow as pa
from psycopg import sql

from snapseed.capture.mask.assign import shifted_by
from snapseed.capture.mask.facts import Facts, MaskableColumn, Place
from snapseed.capture.mask.keyed import MaskKey
from snapseed.capture.mask.masks import MaskedColumn, Masks
from snapseed.capture.mask.rules import label_of, rules_of_paths
from snapseed.capture.mask.values import BoundRule, Function
from snapseed.config import MaskRule, Project
from snapseed.errors import ConfigurationError, SnapseedError
from snapseed.generate.pools import PoolFolder, Pools
from snapseed.postgres.catalog import TableName
from snapseed.postgres.connect import Connection
from snapseed.postgres.copy_out import copied_out
from snapseed.snapshot.manifest import Column
from snapseed.snapshot.types import parse_type


def bound_rules(
    connection: Connection, facts: Facts, rules: Mapping[Place, MaskRule], project: Project, secret: str
) -> tuple[dict[Place, BoundRule], list[str]]:
    """Each rule with its key, and what the columns that have it can hold. Also, in words, what is wrong with them."""
    of_label: dict[str, BoundRule] = {}

    def of(rule: MaskRule) -> BoundRule:
        return of_label.get(label_of(rule)) or BoundRule(rule, MaskKey.of(secret, label_of(rule)))

    for place, rule in rules.items():
        column, known = facts.columns[place], of(rule)
        room = min((room for room in (known.room, column.room) if room is not None), default=None)
        of_label[label_of(rule)] = replace(known, room=room)
    bound, problems = {}, []
    for place, rule in rules.items():
        column = facts.columns[place]
        try:
            own = _completed(replace(of(rule), rule=rule), project)
            if rule.rule in {"choice", "constant"}:
                own = replace(own, options=_options(connection, column, _given(rule, project)))
            elif rule.rule == "json":
                inner = {path: _completed(of(path_rule), project) for path, path_rule in rules_of_paths(rule).items()}
                own = replace(own, paths=inner, other=of(MaskRule(rule.other)))
            bound[place] = own
        except (SnapseedError, psycopg.Error) as exc:
            text = exc.diag.message_primary if isinstance(exc, psycopg.Error) else exc.summary
            problems.append(f"{facts.names[place]}: {text}")
    return bound, problems


def _completed(bound: BoundRule, project: Project) -> BoundRule:
    """The rule with its function, or with the texts that it chooses from."""
    if ":" in bound.rule.rule:
        return replace(bound, function=_function(bound.rule.rule, project.folder))
    if bound.rule.rule in {"choice", "constant"}:
        return replace(bound, options=pa.array(_given(bound.rule, project)))
    return bound


def _given(rule: MaskRule, project: Project) -> list[str]:
    """The values that a rule chooses from, as texts."""
    if rule.pool is None:
        options = rule.options if rule.rule == "choice" else (rule.value,)
        return [str(option).lower() if isinstance(option, bool) else str(option) for option in options]
    table = Pools(PoolFolder(project.generators / "pools")).table(rule.pool)
    name = rule.column or table.columns[0]
    if name not in table.columns:
        raise ConfigurationError(f"the pool {rule.pool} has no column {name!r}")
    return table[name].unique(maintain_order=True).to_list()


def _options(connection: Connection, column: MaskableColumn, texts: list[str]) -> pa.Array:
    """These values as the server has them in the type of the column, or of the elements of its arrays."""
    element = column.full_type.removesuffix("[]")
    source = sql.SQL("(SELECT unnest({}::text[])::{} AS value) options").format(sql.Literal(texts), sql.SQL(element))
    with (
        connection.transaction(),
        copied_out(connection, [Column("value", column.kind.name)], source, "[mask]") as batches,
    ):
        return pa.concat_arrays([batch.column(0) for batch in batches])


def _function(name: str, folder: Path) -> Function:
    module, _, attribute = name.partition(":")
    sys.path.append(str(folder))
    try:
        function: Function = getattr(importlib.import_module(module), attribute)
    except Exception as exc:
        raise ConfigurationError(f"{name} cannot be imported: {type(exc).__name__}: {exc}") from exc
    finally:
        sys.path.remove(str(folder))
    return function


def masks_of(facts: Facts, bound: Mapping[Place, BoundRule], wanted: Collection[TableName] | None) -> Masks:
    """The masked columns of the tables that are captured; None for all."""
    tables: dict[TableName, tuple[MaskedColumn, ...]] = {}
    for place, rule in bound.items():
        column = facts.columns[place]
        table = TableName(column.schema, column.table)
        if rule.rule.rule != "keep" and (wanted is None or table in wanted):
            by = shifted_by(facts, place, rule.rule) if rule.rule.rule == "date" else ()
            masked = MaskedColumn(column.name, facts.names[place], parse_type(column.type), rule, by)
            tables[table] = (*tables.get(table, ()), masked)
    return Masks(tables)
