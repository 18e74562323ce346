"""Which columns of a table are filled at all, and which of them from rows of other tables."""

from __future__ import annotations

from datetime import datetime

from snapseed.errors import ConfigurationError
from snapseed.scaffold.checking import check_rules
from snapseed.scaffold.choosing import choose_draws
from snapseed.scaffold.facts import ForeignKey
from snapseed.scaffold.following import may_be_ahead
from snapseed.scaffold.relations import Relations, Source
from snapseed.scaffold.sheet import ImpossibleError, Sheet
from snapseed.snapshot.types import parse_type

_Origins = dict[str, tuple[int, str]]


def fill_columns(relations: Relations, now: datetime, taken: set[str], ahead: set[tuple[str, str]]) -> Sheet:
    """The columns of a table, all decided about. `taken` are names that no variable may have.

    To `ahead` are added those of its moments that may lie after `now`, for tables that descend from it. Raises
    `ImpossibleError` where a column has to have values, and none are known.
    """
    sheet = Sheet(relations, now, taken, ahead)
    _leave_to_the_database(sheet)
    origins: _Origins = {}
    for source in relations.sources():
        _take(sheet, source, origins)
    ordered = {name for order in sheet.orders for name in (order.before, order.after)}
    sheet.uniqueness.settle(set(sheet.foreign), set(sheet.null), sheet.limits, ordered)
    for key, source in sheet.uniqueness.replaced.items():
        sheet.foreign.update(source.codes)
        sheet.missing -= set(key.columns)
        sheet.imports |= source.needs
        if source.parameter is not None:
            sheet.parameters[source.parameter] = None
    for index in sheet.uniqueness.unmet:
        _leave_one_null(sheet, index)
    choose_draws(sheet)
    check_rules(sheet)
    ahead |= {(relations.name, name) for name in sheet.draws if sheet.is_moment(name) and may_be_ahead(sheet, name)}
    sheet.notes += [f"{name}: {reason}" for name, reason in sheet.null.items()]
    return sheet


def _leave_to_the_database(sheet: Sheet) -> None:
    table = sheet.table
    if any(not found.partitions for found in table.partitions.values()):
        raise ImpossibleError(table.oid, "it has no partitions")
    needed = {*table.foreign_columns, *sheet.place.key}
    for column in table.columns:
        if column.generated:
            continue
        try:
            sheet.kinds[column.name] = parse_type(column.type)
        except ConfigurationError:
            sheet.leave(column, f"no values of {column.type} are known")
            continue
        if column.name not in needed and (column.identity or column.name in table.serials):
            sheet.null[column.name] = "numbered by the database"


def _leave_one_null(sheet: Sheet, index: tuple[str, ...]) -> None:
    """NULLs are no duplicates of each other. Raises `ImpossibleError` where all columns of the index need values."""
    name = next((name for name in reversed(index) if sheet.takes_null(name)), None)
    if name is None:
        raise ImpossibleError(sheet.table.oid, f"no rows are known that are unique by ({', '.join(index)})")
    sheet.null[name] = f"NULL, for no values are known that are unique by ({', '.join(index)})"
    sheet.foreign.pop(name, None)


def _take(sheet: Sheet, source: Source, origins: _Origins) -> None:
    """The columns of a foreign key, as far as no other has taken them."""
    key = source.key
    fresh = [name for name in key.columns if name not in sheet.foreign]
    if not fresh and _is_implied(sheet, key, origins):
        return
    if not fresh or not source.codes or _contradicts(sheet, source):
        _leave_null(sheet, key, fresh)
        return
    for name, referred in zip(key.columns, key.target_columns, strict=True):
        if name in fresh:
            sheet.foreign[name] = source.codes[name]
            origins[name] = (key.target, referred)
        if source.parameter is not None and source.how in {"parent", "ancestor", "lookup", "one each"}:
            sheet.uses.add((source.parameter, source.taken.get(name, referred)))
    sheet.imports |= source.needs
    if source.parameter is not None:
        sheet.parameters[source.parameter] = None
    if source.statement is not None:
        sheet.statements.append(source.statement)
    if source.how in {"one each", "same number"}:
        sheet.uniqueness.columns |= set(key.columns)
    if source.how in {"lookup", "reference", "self"} and len(key.columns) == 1:
        sheet.missing |= {name for name in fresh if sheet.takes_null(name)}


def _contradicts(sheet: Sheet, source: Source) -> bool:
    """Whether another foreign key has given a column another value already."""
    taken = {name: sheet.foreign[name] for name in source.codes if name in sheet.foreign}
    return source.how not in {"self", "parent"} and any(source.codes[name] != code for name, code in taken.items())


def _leave_null(sheet: Sheet, key: ForeignKey, fresh: list[str]) -> None:
    nullable = [name for name in fresh if sheet.takes_null(name)]
    if not nullable:
        raise ImpossibleError(sheet.table.oid, f"its foreign key ({', '.join(key.columns)}) cannot be met")
    sheet.null.update(dict.fromkeys(nullable, "NULL, for no row to refer to can be chosen"))


def _is_implied(sheet: Sheet, key: ForeignKey, origins: _Origins) -> bool:
    """Whether the rows that the columns come from refer to the table themselves, or are its own."""
    for name, referred in zip(key.columns, key.target_columns, strict=True):
        oid, column = origins[name]
        others = [(oid, column)] + [
            (other.target, its)
            for other in sheet.relations.keys_of(oid)
            for own, its in zip(other.columns, other.target_columns, strict=True)
            if own == column
        ]
        if (key.target, referred) not in others:
            return False
    return True
