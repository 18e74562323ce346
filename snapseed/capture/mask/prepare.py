"""Prepare the masks of a capture: everything that could go wrong with a rule is found here, before a row is written."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from snapseed.capture.mask.assign import assign
from snapseed.capture.mask.bind import bound_rules, masks_of
from snapseed.capture.mask.facts import Facts, read_facts
from snapseed.capture.mask.masks import Masks
from snapseed.capture.mask.personal import Personal, personal_columns, sampled_reasons, values_in_schema
from snapseed.capture.mask.rules import kind_of
from snapseed.capture.mask.samples import unmet_checks
from snapseed.config import MaskRule, Project, variable_of
from snapseed.errors import ConfigurationError, RefusedError
from snapseed.postgres.catalog import TableName
from snapseed.postgres.connect import Connection

_SHORTEST_SECRET = 32


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
    bound, problems = bound_rules(connection, facts, assigned.rules, project, request.secret or "")
    masks = masks_of(facts, bound, request.tables)
    _require_none([*problems, *unmet_checks(connection, facts, masks, is_check=request.is_check)], where)
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
    tables = {spelled.rpartition(".")[0]: oid for spelled, (oid, _) in facts.spelled.items()}
    keys = {unique.oid: unique.parts for unique in facts.unique if unique.is_primary}
    for reference in project.capture.references:
        targets = reference.to_columns or keys.get(tables.get(reference.to, 0), ())
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
