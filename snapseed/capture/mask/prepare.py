"""Prepare the masks of a capture: everything that could go wrong with a rule is found here, before a row is written.

Rules are checked against the catalogs, get their keys and functions, and are tried by the server on a sample.
"""

from __future__ import annotations

import importlib
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
from snapseed.capture.mask.masks import TableMasks
from snapseed.capture.mask.personal import Personal, personal_columns, sampled_reasons, values_in_schema
from snapseed.capture.mask.rules import assign, kind_of, label_of, rules_of_paths, shifted_by
from snapseed.capture.mask.values import BoundRule, Function
from snapseed.config import Project
from snapseed.config.settings import MaskRule, variable_of
from snapseed.errors import ConfigurationError, RefusedError, SnapseedError, SnapshotError, UsageError
from snapseed.postgres import listed
from snapseed.postgres.connect import Connection
from snapseed.postgres.copy_out import copied_out
from snapseed.postgres.facts import TableName
from snapseed.snapshot.decoding import arrow_schema
from snapseed.snapshot.keys import as_text
from snapseed.snapshot.manifest import Column
from snapseed.snapshot.types import Family, parse_type

_SHORTEST_SECRET = 32
# Rows of a table that are masked and tried.
_SAMPLE = 100


@dataclass(frozen=True)
class PreparedMasks:
    """The masks of each table, the columns that look personal and have no rule, and where the schema looks personal.

    `target` is the database that they are for.
    """

    target: str
    tables: Mapping[TableName, TableMasks]
    personal: tuple[Personal, ...]
    in_schema: tuple[str, ...]

    @property
    def masked(self) -> tuple[str, ...]:
        """The masked columns, as the manifest lists them."""
        return tuple(sorted(bound.shown for table in self.tables.values() for bound in table.rules.values()))

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

    def require_no_function(self) -> None:
        """Raise `UsageError` for a rule that a worker of a cluster does not have: a function of the user's."""
        bound = [bound for table in self.tables.values() for bound in table.rules.values()]
        parts = {own.shown: [own, *own.paths.values(), *filter(None, [own.other])] for own in bound}
        if names := [name for name, rules in parts.items() if any(rule.function for rule in rules)]:
            raise UsageError(
                "a mask that calls a function of yours cannot be applied on a cluster",
                where="[mask]",
                observed=", ".join(names),
                next_step="leave --cluster out, or use another rule",
            )


def prepare_masks(
    connection: Connection,
    project: Project,
    target: str,
    tables: Collection[TableName],
    *,
    secret: str | None = None,
    is_check: bool = False,
) -> PreparedMasks:
    """The masks of `project` for these tables of a database. A check needs no secret, and looks at no values.

    Raises `ConfigurationError` for rules that do not fit: an unknown column, a type or a length, a unique index that
    could not stay unique, a check that masked values would not meet; and for a secret that is missing or short.
    """
    facts = read_facts(connection, project.capture.references)

    def ready(
        more: Mapping[str, MaskRule],
    ) -> tuple[Mapping[Place, MaskRule], Mapping[TableName, TableMasks], list[str]]:
        """By the project's rules and these: the rule of each column, the masks of the tables, and what is wrong.

        Each problem begins with the name of its column.
        """
        rules, problems = assign(facts, {**project.mask, **more})
        if problems:
            return rules, {}, problems
        bound, problems = _bound(connection, facts, rules, project, secret or "")
        masks = {table: TableMasks(table, own) for table, own in bound.items() if table in tables}
        unmet = [problem for own in masks.values() for problem in _unmet(connection, facts, own, is_check=is_check)]
        return rules, masks, [*problems, *unmet]

    rules, masks, problems = ready({})
    if problems:
        raise ConfigurationError(
            f"{len(problems)} problem{'s' * (len(problems) > 1)} with the rules for masks",
            where=f"{project.file} [mask]",
            observed="\n".join(problems),
            next_step="change these lines; choice, null and keep fit most columns: docs/mask.md",
        )
    if not is_check and any(kind_of(rule).is_keyed for rule in rules.values()):
        _require_secret(secret or "")
    captured = [
        place
        for place, column in facts.columns.items()
        if place not in rules and not column.is_generated and column.of_table in tables
    ]
    reasons = {} if is_check else sampled_reasons(connection, facts, captured)
    personal = personal_columns(facts, captured, reasons, lambda more: ready(more)[2])
    return PreparedMasks(target, masks, personal, tuple(values_in_schema(connection)))


def _require_secret(secret: str) -> None:
    """Raise `ConfigurationError` for a secret that somebody could guess."""
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
) -> tuple[dict[TableName, dict[str, BoundRule]], list[str]]:
    """The rules of each table with their keys, except `keep`. Also what is wrong with them, in words."""
    rooms = _rooms(facts, rules)

    def of(rule: MaskRule, column: MaskableColumn | None = None) -> BoundRule:
        """The rule for values of a column, or for those in documents."""
        label = label_of(rule)
        own = BoundRule(rule, MaskKey.of(secret, label), room=rooms.get(label))
        if column:
            by = shifted_by(facts, (column.oid, column.name), rule) if rule.rule == "date" else ()
            own = replace(own, kind=parse_type(column.type), shown=column.shown, by=by)
        if ":" in rule.rule:
            return replace(own, function=_function(rule.rule, project.folder))
        if rule.rule in {"choice", "constant"}:
            texts = _given(rule, project)
            return replace(own, options=_options(connection, column, texts) if column else pa.array(texts))
        if rule.rule == "json":
            inner = {path: of(path_rule) for path, path_rule in rules_of_paths(rule).items()}
            return replace(own, paths=inner, other=of(MaskRule(rule.other)))
        return own

    tables: dict[TableName, dict[str, BoundRule]] = {}
    problems = []
    for place, rule in rules.items():
        column = facts.columns[place]
        if rule.rule != "keep":
            try:
                tables.setdefault(column.of_table, {})[column.name] = of(rule, column)
            except (SnapseedError, psycopg.Error) as exc:
                text = exc.diag.message_primary if isinstance(exc, psycopg.Error) else exc.summary
                problems.append(f"{column.shown}: {text}")
    return tables, problems


def _rooms(facts: Facts, rules: Mapping[Place, MaskRule]) -> dict[str, int]:
    """The most characters that all columns with the same rule have room for, by the label of the rule."""
    rooms: dict[str, int] = {}
    for place, rule in rules.items():
        if (room := facts.columns[place].room) is not None:
            rooms[label_of(rule)] = min(room, rooms.get(label_of(rule), room))
    return rooms


def _given(rule: MaskRule, project: Project) -> list[str]:
    """The values that a rule chooses from, as texts."""
    if rule.pool is None:
        options = rule.options if rule.rule == "choice" else (rule.value,)
        return [str(option).lower() if isinstance(option, bool) else str(option) for option in options]
    # With polars, which few rules need.
    from snapseed.generate.pools import PoolFolder, Pools

    table = Pools(PoolFolder(project.generators / "pools")).table(rule.pool)
    if (name := rule.column or table.columns[0]) not in table.columns:
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
    """The function `module:name` of a module in the project's folder."""
    module, _, attribute = name.partition(":")
    sys.path.append(str(folder))
    try:
        function: Function = getattr(importlib.import_module(module), attribute)
    except Exception as exc:
        raise ConfigurationError(f"{name} cannot be imported: {type(exc).__name__}: {exc}") from exc
    finally:
        sys.path.remove(str(folder))
    return function


# ── Masked values, tried by the server on a sample ───────────────────────────────────────────────────────────────────


def _unmet(connection: Connection, facts: Facts, masks: TableMasks, *, is_check: bool) -> Iterator[str]:
    """Checks of a table, and of domains, that masked values do not meet: tried by the server on a sample."""
    columns, masked = [own for own in facts.columns.values() if own.of_table == masks.table], masks.rules.keys()
    checks = [found for found in facts.checks if found.oid == columns[0].oid and masked & set(found.columns)]
    is_domain = any(column.name in masked and column.full_type != column.type for column in columns)
    has_function = not is_check and any(bound.function for bound in masks.rules.values())
    if checks or is_domain or has_function:
        needed = set(masked).union(*(bound.by for bound in masks.rules.values()))
        may_look = not is_check and all(column.may_select for column in columns)
        read = [Column(column.name, column.type) for column in columns if column.name in needed]
        sample = _sampled(connection, read, masks.table) if may_look else _made_up(read, masks)
        yield from _tried(connection, columns, masks.apply(sample).select(sorted(masked)), checks)


def _sampled(connection: Connection, columns: list[Column], table: TableName) -> pa.RecordBatch:
    """The first rows of a table; none if one of them has a value that its type in a snapshot cannot hold."""
    source = sql.SQL("(SELECT * FROM {} LIMIT {}) sample").format(table.identifier(), sql.Literal(_SAMPLE))
    rows = [pa.RecordBatch.from_pylist([], arrow_schema(columns))]
    with suppress(SnapshotError), connection.transaction():  # noqa: SIM117 - the COPY has ended before the transaction
        with copied_out(connection, columns, source, str(table)) as batches:
            rows += batches
    return pa.concat_batches(rows)


def _made_up(columns: list[Column], masks: TableMasks) -> pa.RecordBatch:
    """Rows with a text wherever a rule treats all texts the same way, and NULL elsewhere."""
    free = {name for name, bound in masks.rules.items() if kind_of(bound.rule).is_fixed}
    texts, schema = pa.array(f"sample {number}" for number in range(_SAMPLE)), arrow_schema(columns)
    arrays = [
        texts if field.name in free and field.type == texts.type else pa.nulls(_SAMPLE, field.type) for field in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _tried(
    connection: Connection, columns: list[MaskableColumn], rows: pa.RecordBatch, checks: list[CheckFacts]
) -> Iterator[str]:
    """What the server says about masked rows: as values of the columns' types, their spelling, and in the checks."""
    own = {column.name: column for column in columns if column.name in rows.schema.names}
    texts = {name: [as_text(value, parse_type(own[name].type)) for value in rows.column(name)] for name in own}
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
    query = sql.SQL("SELECT count(*) FROM (SELECT {} FROM unnest({}) AS r ({})) AS t WHERE ({}) IS FALSE")
    for asked, what, expression in questions:
        types = {column.name: sql.SQL(column.full_type) for column in columns if column.name in asked}
        # A column that is not masked is NULL, which makes no check false.
        arrays = (sql.SQL("{}::text[]").format(texts.get(name, [None] * len(rows))) for name in types)
        values = [sql.SQL("{0}::{1} AS {0}").format(sql.Identifier(name), kind) for name, kind in types.items()]
        values.append(sql.SQL('{} AS "as given"').format(sql.Identifier(next(iter(types)))))
        statement = query.format(listed(values), listed(arrays), listed(types), sql.SQL(expression))
        try:
            with connection.transaction():
                (unmet,) = connection.execute(statement).fetchone() or (0,)
                problem = "masked values do not meet " + what if unmet else None
        except (psycopg.DataError, psycopg.IntegrityError) as exc:
            problem = f"masked values do not fit {what}: {exc.diag.message_primary}"
        if problem:
            yield f"{columns[0].table}.{next(name for name in asked if name in own)}: {problem}"
            return
