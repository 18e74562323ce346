"""Put the code of an entity's function together: the statements before the frame, and a value for each column."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from snapseed.scaffold.draws import Draw, quoted
from snapseed.scaffold.holding import Trial, holds
from snapseed.scaffold.sheet import Sheet

# How often a column that may be NULL is.
_OFTEN = "0.1"
_NUMBER = ("number", "rows.number().cast(pl.String)")
# The values of another column of the row; an entity, not its rows.
_OWN = re.compile(r"\{own:([^}]*)\}")
_ENTITY = re.compile(r"\{entity:([^}]*)\}")


@dataclass(frozen=True)
class Body:
    """The inside of a function: statements as names and code, the value of each column, and the names it imports."""

    statements: tuple[tuple[str, str], ...]
    values: Mapping[str, str]
    imports: frozenset[str]


def assemble(sheet: Sheet) -> Body:
    """The code that fills a table as the sheet says. Each column's statements stand before those that use them."""
    for code in sheet.foreign.values():
        for name in _OWN.findall(code):
            if sheet.place.key != (name,) and name in sheet.draws:
                sheet.hoisted(name)
    found = _Assembly(sheet)
    values = {name: found.value(name) for name in [*sheet.foreign, *sheet.draws]}
    in_order = {column.name: values[column.name] for column in sheet.table.columns if column.name in values}
    statements = tuple((name, found.without_marks(code)) for name, code in found.statements)
    values = {name: found.without_marks(code) for name, code in in_order.items()}
    return Body(statements, values, frozenset(found.imports))


class _Assembly:
    def __init__(self, sheet: Sheet) -> None:
        self.statements = list(sheet.statements)
        self.imports = set(sheet.imports)
        self._sheet = sheet
        self._written: set[str] = set()

    def value(self, name: str) -> str:
        """The expression that stands beside a column's name in the frame."""
        sheet = self._sheet
        if name in sheet.foreign:
            code = sheet.foreign[name]
            return self._now_and_then(name, code) if name in sheet.missing else code
        draw = sheet.draws[name]
        code = self._drawn(name, draw)
        if draw.finish:
            code = f"({code}){draw.finish}" if " + " in code else code + draw.finish
        if not self._is_sometimes_null(name, draw):
            return code
        if " + " in code:
            self.statements.append((sheet.hoisted(name), code))
            code = sheet.hoisted(name)
        return self._now_and_then(name, code)

    def without_marks(self, code: str) -> str:
        """Code with the names of entities and the values of other columns filled in."""
        return _ENTITY.sub(lambda match: self._entity(match[1]), _OWN.sub(lambda match: self._own(match[1]), code))

    def _drawn(self, name: str, draw: Draw) -> str:
        """A column's values as they are drawn: the variable that holds them, where others use it."""
        sheet, code = self._sheet, draw.code
        self.imports |= draw.needs - {"number"}
        if "number" in draw.needs and _NUMBER not in self.statements:
            self.statements.insert(0, _NUMBER)
        if draw.before is not None:
            ending, made = draw.before
            local = sheet.variable(f"{name}_{ending}")
            self.statements.append((local, made))
            code = code.replace("{local}", local)
        if name not in sheet.locals and draw.finish.count("(") > 1:
            sheet.hoisted(name)
        if name in sheet.locals and name not in self._written:
            self._written.add(name)
            self.statements.append((sheet.locals[name], code))
        return sheet.locals.get(name, code)

    def _now_and_then(self, name: str, code: str) -> str:
        return f"rows.or_null({quoted(name + ' missing')}, {code}, {_OFTEN})"

    def _is_sometimes_null(self, name: str, draw: Draw) -> bool:
        """Whether NULLs are drawn for a column: where it may have them, often has, and no check is against it."""
        sheet = self._sheet
        if not sheet.is_optional(name) or name in sheet.filled or "(" not in draw.code:
            return False
        if any(name in exclusion.columns for exclusion in sheet.table.exclusions):
            return False
        trials = (
            holds(rule, {**sheet.examples(rule.columns), name: (None,)}, sheet.now)
            for rule in sheet.rules
            if name in rule.columns
        )
        return Trial.FAILS not in trials

    def _own(self, name: str) -> str:
        sheet = self._sheet
        if name in sheet.foreign:
            return self.without_marks(sheet.foreign[name])
        # Drawing again gives the same, and the key is the shortest draw of all.
        return sheet.draws[name].code if sheet.place.key == (name,) else sheet.hoisted(name)

    def _entity(self, name: str) -> str:
        """An entity by a name that no parameter hides."""
        if name not in self._sheet.parameters:
            return name
        self.imports.discard(f"entity:{name}")
        self.imports.add(f"entity:{name} as {name}_entity")
        return f"{name}_entity"
