"""Prepare the masks of a capture: everything that could go wrong with a rule is found here, before a row is written."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
from psycopg import sql

from snapseed.capture.mask.assign import assign, shifted_by
from snapseed.capture.mask.facts import CheckFacts, Facts, MaskableColumn, Place, read_facts
from snapseed.capture.mask.keyed import MaskKey
from snapseed.capture.mask.masks import MaskedColumn, Masks
from snapseed.capture.mask.personal import Personal, personal_columns, sampled_reasons, values_in_schema
from snapseed.capture.mask.rules import kind_of, label_of, rules_of_paths
from snapseed.capture.mask.values import BoundRule, Function
from snapseed.config import MaskRule, Project, variable_of
from snapseed.errors import ConfigurationError, RefusedError, SnapseedError, SnapshotError
from snapseed.generate.pools import PoolFolder, Pools
from snapseed.postgres.catalog import TableName
from snapseed.postgres.connect import Connection
from snapseed.postgres.copy_out import copied_out
from snapseed.snapshot.decoding import arrow_schema
from snapseed.snapshot.manifest import Column
from snapseed.snapshot.types import INTEGERS, parse_type

_SHORTEST_SECRET = 32
# Rows of a table that are masked to see whether they meet its checks.
_SAMPLE = 100


@dataclass(frozen=True)
class MaskRequest:
    """What to mask: the captured tables (None: all). A check needs no secret, and looks at no values."""

    tables: Collection[TableName] | None = None
    secret: str | None = None
    is_check: bool = False


@dataclass(frozen=True)
class PreparedMasks:
    """The masks, the columns that look personal and have no rule, and where the schema itself has personal values."""

    masks: Masks
    personal: tuple[Personal, ...]
    in_schema: tuple[str, ...]

    def require_rules(self, project: Project) -> None:
        """Raise `RefusedError` with the lines to add, if a column that looks personal has no rule."""
        if self.personal:
            columns, lines = len(self.personal), [personal.line for personal in self.personal]
            raise RefusedError(
                f"{columns} column{'s' * (columns > 1)} without a rule look{'s' * (columns == 1)} personal",
                where=f"{project.file} [mask]",
                expected='a rule for each, or "keep" where the values may be copied as they are',
                next_step="\n".join(["check these lines, and add them:", "[mask]", *lines]),
            )


def prepare_masks(connection: Connection, project: Project, request: MaskRequest) -> PreparedMasks:
    """The masks of `project` for the tables of a database.

    Raises `ConfigurationError` for rules that do not fit: an unknown column, a type or a length, a unique index that
    could not stay unique, a check that masked values would not meet; and for a secret that is missing or short.
    """
    facts, where = read_facts(connection), f"{project.file} [mask]"
    assigned = assign(facts, project.mask, _declared(facts, project))
    _require_none(assigned.problems, where)
    _require_secret(assigned.rules.values(), request)
    bound, problems = _bound(connection, facts, assigned.rules, project, request.secret or "")
    masks = _masks(facts, bound, request.tables)
    _require_none([*problems, *_unmet_checks(connection, facts, masks, is_check=request.is_check)], where)
    captured = [
        place
        for place, column in facts.columns.items()
        if place not in assigned.rules
        and not column.is_generated
        and (request.tables is None or TableName(column.schema, column.table) in request.tables)
    ]
    reasons = {} if request.is_check else sampled_reasons(connection, facts, captured)
    personal = personal_columns(facts, project.mask, captured, reasons)
    return PreparedMasks(masks, personal, tuple(values_in_schema(connection)))


def _declared(facts: Facts, project: Project) -> Iterator[tuple[str, str]]:
    """The columns of `[[capture.references]]`, each with the one that it refers to: of the key, if nothing is said."""
    keys = {
        spelled.rpartition(".")[0]: unique.parts
        for unique in facts.unique
        if unique.is_primary
        for spelled, place in facts.spelled.items()
        if place == (unique.oid, unique.parts[0])
    }
    for reference in project.capture.references:
        targets = reference.to_columns or keys.get(reference.to, ())
        for own, target in zip(reference.columns, targets, strict=False):
            yield f"{reference.table}.{own}", f"{reference.to}.{target}"


def _require_none(problems: Iterable[str], where: str) -> None:
    if problems := tuple(problems):
        raise ConfigurationError(
            f"{len(problems)} problem{'s' * (len(problems) > 1)} with the rules for masks",
            where=where,
            observed="\n".join(problems),
        )


def _require_secret(rules: Iterable[MaskRule], request: MaskRequest) -> None:
    is_keyed = any(kind is not None and kind.is_keyed for kind in map(kind_of, rules))
    if is_keyed and not request.is_check and len(request.secret or "") < _SHORTEST_SECRET:
        raise ConfigurationError(
            "masks need a secret, so that nobody can tell which value became which",
            where=f"the variable {variable_of('mask_secret')}",
            observed="not set" if not request.secret else "too short",
            expected=f"at least {_SHORTEST_SECRET} characters, which nobody can guess",
            next_step="make one with `openssl rand -hex 32`, and keep it: another secret gives other values",
        )


def _bound(
    connection: Connection, facts: Facts, rules: Mapping[Place, MaskRule], project: Project, secret: str
) -> tuple[dict[Place, BoundRule], list[str]]:
    """Each rule with its key, and what the columns that have it can hold."""
    of_label: dict[str, BoundRule] = {}

    def of(rule: MaskRule) -> BoundRule:
        return of_label.get(label_of(rule)) or BoundRule(rule, MaskKey.of(secret, label_of(rule)))

    for place, rule in rules.items():
        column, known = facts.columns[place], of(rule)
        room = min((room for room in (known.room, column.room) if room is not None), default=None)
        ends = np.iinfo(column.kind.arrow.to_pandas_dtype()).max if column.kind.family in INTEGERS else known.limit
        of_label[label_of(rule)] = replace(known, room=room, limit=min(known.limit, int(ends)))
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
    source = sql.SQL("(SELECT unnest({}::text[])::{} AS value) options").format(sql.Literal(texts), _as_sql(element))
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


def _masks(facts: Facts, bound: Mapping[Place, BoundRule], wanted: Collection[TableName] | None) -> Masks:
    tables: dict[TableName, tuple[MaskedColumn, ...]] = {}
    for place, rule in bound.items():
        column = facts.columns[place]
        table = TableName(column.schema, column.table)
        if rule.rule.rule != "keep" and (wanted is None or table in wanted):
            by = shifted_by(facts, place, rule.rule) if rule.rule.rule == "date" else ()
            masked = MaskedColumn(column.name, facts.names[place], parse_type(column.type), rule, by)
            tables[table] = (*tables.get(table, ()), masked)
    return Masks(tables)


def _unmet_checks(connection: Connection, facts: Facts, masks: Masks, *, is_check: bool) -> Iterator[str]:
    """Checks of tables, and of domains, that masked values do not meet: tried by the server on a sample."""
    by_table: dict[TableName, list[MaskableColumn]] = {}
    for column in facts.columns.values():
        by_table.setdefault(TableName(column.schema, column.table), []).append(column)
    for table, columns in by_table.items():
        masked = masks.masked(table)
        checks = [found for found in facts.checks if found.oid == columns[0].oid and masked & set(found.columns)]
        is_domain = any(column.name in masked and column.full_type != column.type for column in columns)
        if table in masks.tables and (checks or is_domain):
            rules = masks.tables[table]
            needed = masked.union(*(rule.by for rule in rules))
            read = [Column(column.name, column.type) for column in columns if column.name in needed]
            sample = _made_up(read, rules) if is_check else _sampled(connection, read, table)
            yield from _tried(connection, columns, masks.apply(table, sample).select(sorted(masked)), checks)


def _sampled(connection: Connection, columns: list[Column], table: TableName) -> pa.RecordBatch:
    """The first rows of a table; none if one of them has a value that its type in a snapshot cannot hold."""
    source = sql.SQL("(SELECT * FROM {} LIMIT {}) sample").format(table.identifier(), sql.Literal(_SAMPLE))
    rows = arrow_schema(columns).empty_table()
    with suppress(SnapshotError), connection.transaction():  # noqa: SIM117 - the COPY has ended before the transaction
        with copied_out(connection, columns, source, str(table)) as batches:
            rows = pa.Table.from_batches(batches, arrow_schema(columns)).combine_chunks()
    return next(iter(rows.to_batches()), pa.RecordBatch.from_pylist([], arrow_schema(columns)))


def _made_up(columns: list[Column], masked: Collection[MaskedColumn]) -> pa.RecordBatch:
    """Rows with a text wherever a rule treats all texts alike, and NULL elsewhere."""
    free = {found.name for found in masked if (kind := kind_of(found.bound.rule)) and kind.is_fixed}
    texts, schema = pa.array(f"sample {number}" for number in range(_SAMPLE)), arrow_schema(columns)
    return pa.RecordBatch.from_arrays(
        [
            texts if field.name in free and field.type == texts.type else pa.nulls(_SAMPLE, field.type)
            for field in schema
        ],
        schema=schema,
    )


def _tried(
    connection: Connection, columns: list[MaskableColumn], rows: pa.RecordBatch, checks: list[CheckFacts]
) -> Iterator[str]:
    """What the server says about masked rows: as values of the columns' types, and in the checks."""
    try:
        document = json.dumps(rows.to_pylist(), default=str)
    except (ValueError, OverflowError):
        return  # moments that Python does not have
    own = {column.name: column for column in columns if column.name in rows.schema.names}
    # Evaluated for each value, and never false.
    questions: list[tuple[tuple[str, ...], str, str]] = [
        ((name,), f"the type {column.full_type}", "t::text IS NOT NULL") for name, column in own.items()
    ]
    questions += [(check.columns, f"the check {check.name} {check.expression}", check.expression) for check in checks]
    query = sql.SQL("SELECT count(*) FROM jsonb_to_recordset({}::jsonb) AS t ({}) WHERE ({}) IS FALSE")
    for names, what, expression in questions:
        fields = [
            sql.SQL("{} {}").format(sql.Identifier(column.name), _as_sql(column.full_type))
            for column in columns
            if column.name in names
        ]
        try:
            with connection.transaction():
                parts = sql.Literal(document), sql.SQL(", ").join(fields), _as_sql(expression)
                (unmet,) = connection.execute(query.format(*parts)).fetchone() or (0,)
                problem = "masked values do not meet " + what if unmet else None
        except (psycopg.DataError, psycopg.IntegrityError) as exc:
            problem = f"masked values do not fit {what}: {exc.diag.message_primary}"
        if problem:
            yield f"{columns[0].table}.{next(name for name in names if name in own)}: {problem}"
            return


def _as_sql(text: str) -> sql.SQL:
    """SQL that the server itself has printed."""
    return sql.SQL(text)
