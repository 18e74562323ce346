"""Prepare the masks of a capture: everything that could go wrong with a rule is found here, before a row is written.

Rules are checked against the catalogs, get their keys and functions, and are tried by the server on a sample.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pyarrow as pa
from psycopg import sql

from snapseed.capture.mask.facts import CheckFacts, Facts, MaskableColumn, Place, read_facts
from snapseed.capture.mask.keyed import MaskKey
from snapseed.capture.mask.masks import MaskedColumn, Masks
from snapseed.capture.mask.personal import Personal, personal_columns, sampled_reasons, values_in_schema
from snapseed.capture.mask.rules import assign, kind_of, label_of, rules_of_paths, shifted_by
from snapseed.capture.mask.values import BoundRule, Function
from snapseed.config import MaskRule, Project, variable_of
from snapseed.errors import ConfigurationError, RefusedError, SnapseedError, SnapshotError
from snapseed.postgres.connect import Connection
from snapseed.postgres.copy_out import copied_out
from snapseed.postgres.facts import TableName
from snapseed.snapshot.decoding import arrow_schema
from snapseed.snapshot.manifest import Column
from snapseed.snapshot.types import Family, parse_type

_SHORTEST_SECRET = 32
# Rows of a table that are masked and tried.
_SAMPLE = 100


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


def prepare_masks(
    connection: Connection,
    project: Project,
    tables: Collection[TableName] | None = None,
    *,
    secret: str | None = None,
    is_check: bool = False,
) -> PreparedMasks:
    """The masks of `project` for these tables of a database, or all. A check needs no secret, and looks at no values.

    Raises `ConfigurationError` for rules that do not fit: an unknown column, a type or a length, a unique index that
    could not stay unique, a check that masked values would not meet; and for a secret that is missing or short.
    """
    facts, where = read_facts(connection, project.capture.references), f"{project.file} [mask]"
    rules, problems = assign(facts, project.mask)
    _require_none(problems, where)
    if not is_check and any(kind is not None and kind.is_keyed for kind in map(kind_of, rules.values())):
        _require_secret(secret or "")

    def ready(rules: Mapping[Place, MaskRule]) -> tuple[Masks, list[str]]:
        """The masks, and what is wrong with values that they make."""
        bound, problems = _bound(connection, facts, rules, project, secret or "")
        masks = _masks(facts, bound, tables)
        return masks, [*problems, *_unmet(connection, facts, masks, is_check=is_check)]

    def problems_with(proposed: Mapping[str, MaskRule]) -> list[str]:
        """What is wrong with the project's rules and these, each problem after the name of its column."""
        rules, problems = assign(facts, {**project.mask, **proposed})
        return problems or ready(rules)[1]

    masks, problems = ready(rules)
    _require_none(problems, where)
    captured = [
        place
        for place, column in facts.columns.items()
        if place not in rules and not column.is_generated and (tables is None or column.of_table in tables)
    ]
    reasons = {} if is_check else sampled_reasons(connection, facts, captured)
    personal = personal_columns(facts, captured, reasons, problems_with)
    return PreparedMasks(masks, personal, tuple(values_in_schema(connection)))


def _require_none(problems: Collection[str], where: str) -> None:
    if problems:
        raise ConfigurationError(
            f"{len(problems)} problem{'s' * (len(problems) > 1)} with the rules for masks",
            where=where,
            observed="\n".join(problems),
            next_step="change these lines; choice, null and keep fit most columns: docs/mask.md",
        )


def _require_secret(secret: str) -> None:
    if len(secret) < _SHORTEST_SECRET:
        raise ConfigurationError(
            "masks need a secret, so that nobody can tell which value became which",
            where=f"the variable {variable_of('mask_secret')}",
            observed="too short" if secret else "not set",
            expected=f"at least {_SHORTEST_SECRET} characters, which nobody can guess",
            next_step="if .env has it, add --env-file .env; if not, make one with `openssl rand -hex 32`, and keep it: "
            "another secret gives other values",
        )


# ── Rules with their keys ────────────────────────────────────────────────────────────────────────────────────────────


def _bound(
    connection: Connection, facts: Facts, rules: Mapping[Place, MaskRule], project: Project, secret: str
) -> tuple[dict[Place, BoundRule], list[str]]:
    """Each rule with its key, and what the columns that have it can hold. Also, in words, what is wrong with them."""
    rooms: dict[str, int] = {}
    for place, rule in rules.items():
        if (room := facts.columns[place].room) is not None:
            rooms[label_of(rule)] = min(room, rooms.get(label_of(rule), room))

    def of(rule: MaskRule, column: MaskableColumn | None = None) -> BoundRule:
        """The rule for values of a column, or for those in documents."""
        own = BoundRule(rule, MaskKey.of(secret, label_of(rule)), rooms.get(label_of(rule)))
        if ":" in rule.rule:
            return replace(own, function=_function(rule.rule, project.folder))
        if rule.rule in {"choice", "constant"}:
            texts = _given(rule, project)
            return replace(own, options=_options(connection, column, texts) if column else pa.array(texts))
        if rule.rule == "json":
            inner = {path: of(path_rule) for path, path_rule in rules_of_paths(rule).items()}
            return replace(own, paths=inner, other=of(MaskRule(rule.other)))
        return own

    bound, problems = {}, []
    for place, rule in rules.items():
        try:
            bound[place] = of(rule, facts.columns[place])
        except (SnapseedError, psycopg.Error) as exc:
            text = exc.diag.message_primary if isinstance(exc, psycopg.Error) else exc.summary
            problems.append(f"{facts.names[place]}: {text}")
    return bound, problems


def _given(rule: MaskRule, project: Project) -> list[str]:
    """The values that a rule chooses from, as texts."""
    if rule.pool is None:
        options = rule.options if rule.rule == "choice" else (rule.value,)
        return [str(option).lower() if isinstance(option, bool) else str(option) for option in options]
    # With polars, which few rules need.
    from snapseed.generate.pools import PoolFolder, Pools

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


def _masks(facts: Facts, bound: Mapping[Place, BoundRule], wanted: Collection[TableName] | None) -> Masks:
    """The masked columns of the tables that are captured; None for all."""
    tables: dict[TableName, tuple[MaskedColumn, ...]] = {}
    for place, rule in bound.items():
        column = facts.columns[place]
        if rule.rule.rule != "keep" and (wanted is None or column.of_table in wanted):
            by = shifted_by(facts, place, rule.rule) if rule.rule.rule == "date" else ()
            masked = MaskedColumn(column.name, facts.names[place], parse_type(column.type), rule, by)
            tables[column.of_table] = (*tables.get(column.of_table, ()), masked)
    return Masks(tables)


# ── Masked values, tried by the server on a sample ───────────────────────────────────────────────────────────────────


def _unmet(connection: Connection, facts: Facts, masks: Masks, *, is_check: bool) -> Iterator[str]:
    """Checks of tables, and of domains, that masked values do not meet: tried by the server on a sample."""
    by_table: dict[TableName, list[MaskableColumn]] = {}
    for column in facts.columns.values():
        by_table.setdefault(column.of_table, []).append(column)
    for table, rules in masks.tables.items():
        columns, masked = by_table[table], masks.names_in(table)
        checks = [found for found in facts.checks if found.oid == columns[0].oid and masked & set(found.columns)]
        is_domain = any(column.name in masked and column.full_type != column.type for column in columns)
        has_function = not is_check and any(rule.bound.function for rule in rules)
        if checks or is_domain or has_function:
            needed = masked.union(*(rule.by for rule in rules))
            may_look = not is_check and all(column.may_select for column in columns)
            read = [Column(column.name, column.type) for column in columns if column.name in needed]
            sample = _sampled(connection, read, table) if may_look else _made_up(read, rules)
            yield from _tried(connection, columns, masks.apply(table, sample).select(sorted(masked)), checks)


def _sampled(connection: Connection, columns: list[Column], table: TableName) -> pa.RecordBatch:
    """The first rows of a table; none if one of them has a value that its type in a snapshot cannot hold."""
    source = sql.SQL("(SELECT * FROM {} LIMIT {}) sample").format(table.identifier(), sql.Literal(_SAMPLE))
    rows = pa.Table.from_batches([], arrow_schema(columns))
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
    """What the server says about masked rows: as values of the columns' types, their spelling, and in the checks."""
    try:
        # Infinities and NaN become texts: JSON has none.
        document = json.dumps(json.loads(json.dumps(rows.to_pylist(), default=_text), parse_constant=str))
    except (ValueError, OverflowError):
        return  # moments that Python does not have
    own = {column.name: column for column in columns if column.name in rows.schema.names}
    # Evaluated for each value, and never false.
    questions: list[tuple[tuple[str, ...], str, str]] = [
        ((name,), f"the type {column.full_type}", "t::text IS NOT NULL") for name, column in own.items()
    ]
    # Only what is spelled as the server does is the same after a load.
    questions += [
        ((name,), f"the spelling of {column.type}", '"as given" = ' + sql.Identifier(name).as_string() + "::text")
        for name, column in own.items()
        if column.kind.family in {Family.JSONB, Family.TEXT_FORM} and not column.type.endswith("[]")
    ]
    questions += [(check.columns, f"the check {check.name} {check.expression}", check.expression) for check in checks]
    query = sql.SQL("SELECT count(*) FROM (SELECT {} FROM jsonb_to_recordset({}) AS r ({})) AS t WHERE ({}) IS FALSE")
    for names, what, expression in questions:
        asked = [(column, sql.Identifier(column.name)) for column in columns if column.name in names]
        # From texts, since a text that is a document would become a string in a document.
        fields = [
            sql.SQL("{} {}").format(name, sql.SQL(column.full_type if column.type.endswith("[]") else "text"))
            for column, name in asked
        ]
        values = [sql.SQL("{0}::{1} AS {0}").format(name, sql.SQL(column.full_type)) for column, name in asked]
        values.append(sql.SQL('{} AS "as given"').format(asked[0][1]))
        try:
            with connection.transaction():
                parts = [sql.SQL(", ").join(values), sql.Literal(document), sql.SQL(", ").join(fields)]
                (unmet,) = connection.execute(query.format(*parts, sql.SQL(expression))).fetchone() or (0,)
                problem = "masked values do not meet " + what if unmet else None
        except (psycopg.DataError, psycopg.IntegrityError) as exc:
            problem = f"masked values do not fit {what}: {exc.diag.message_primary}"
        if problem:
            yield f"{columns[0].table}.{next(name for name in names if name in own)}: {problem}"
            return


def _text(value: object) -> str:
    return "\\x" + value.hex() if isinstance(value, bytes) else str(value)
