"""The text of generator modules, from the plan. Formatted as people's formatters would."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from snapseed.scaffold.draws import quoted
from snapseed.scaffold.layout import WIDTH, is_too_long, laid_out
from snapseed.scaffold.naming import identifier
from snapseed.scaffold.plan import EntityPlan
from snapseed.scaffold.vocabulary import WORDS

_STANDARD = {
    "datetime": {"date": "date", "datetime": "UTC, datetime", "timedelta": "timedelta"},
    "decimal": {"Decimal": "Decimal"},
}
_COUNTED = {"1": "One row", "2": "Two rows"}
_SCALED = {"scale(0.2)": "A row for every five of the scale.", "scale(0.05)": "A row for every twenty of the scale."}
_OURS = ("as_decimals", "exactly", "fan_out", "scale")


def module_text(plan: EntityPlan) -> str:
    """The module of one entity."""
    values, statements = _hoisted(plan)
    lines = [f'"""{plan.title}"""', "", *_imports(plan), "", ""]
    for note in plan.notes:
        lines += textwrap.wrap(
            f"# {note[0].upper() if note[:3] == 'not' else note[0]}{note[1:]}.",
            WIDTH,
            subsequent_indent="# ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    lines += ["@entity(", *_declaration(plan), ")", *_signature(plan)]
    lines.append(f'    """{_described(plan)}"""')
    if plan.late:
        lines += ["    # These modules refer to each other, so they cannot import each other at their top."]
        lines += [f"    from .{name} import {name}" for name in plan.late]
        lines += [""]
    for name, code in statements:
        lines += laid_out(f"{name} = ", code, "", 4)
    lines += ["    return pl.DataFrame(", "        {"]
    for column, code in values.items():
        lines += laid_out(f"{quoted(column)}: ", code, ",", 12)
    lines += ["        }", "    )"]
    return "\n".join(lines) + "\n"


def words_text(names: Iterable[str]) -> str:
    """The module `words.py`: lists to choose from."""
    lines = ['"""Words that the generators choose from."""', ""]
    for name in names:
        lines += laid_out(f"{name} = ", "[" + ", ".join(map(quoted, WORDS[name])) + "]", "", 0)
    return "\n".join(lines) + "\n"


def _hoisted(plan: EntityPlan) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """What would not fit beside its column's name becomes a statement before the frame."""
    values, statements = dict(plan.values), list(plan.statements)
    taken = {name for name, _ in statements} | {*plan.parameters, plan.name, *plan.late}
    taken |= {need.partition(":")[2] for need in plan.imports}
    for column, code in values.items():
        if is_too_long(f"{quoted(column)}: ", code, 12):
            local = identifier(column, taken)
            taken.add(local)
            statements.append((local, code))
            values[column] = local
    return values, statements


def _imports(plan: EntityPlan) -> list[str]:
    lines = []
    for module, names in _STANDARD.items():
        used = [text for name, text in names.items() if name in plan.imports]
        if used:
            lines.append(f"from {module} import {', '.join(sorted(', '.join(used).split(', '), key=_import_order))}")
    lines += [""] * bool(lines)
    ours = ["Rows", "entity", *(name for name in _OURS if name in plan.imports)]
    lines += ["import polars as pl", "", f"from snapseed import {', '.join(sorted(ours, key=_import_order))}"]
    others = {need.removeprefix("entity:") for need in plan.imports if need.startswith("entity:")}
    others |= {_parent(plan)} if plan.parent else set()
    modules = {name.partition(" as ")[0]: name for name in others}
    words = sorted(need.removeprefix("words:") for need in plan.imports if need.startswith("words:"))
    modules |= {"words": ", ".join(words)} if words else {}
    lines += [""] * bool(modules)
    for module in sorted(modules):
        lines += _import_from(module, modules[module])
    return lines


def _import_from(module: str, names: str) -> list[str]:
    line = f"from .{module} import {names}"
    if len(line) <= WIDTH:
        return [line]
    return [f"from .{module} import (", *(f"    {name}," for name in names.split(", ")), ")"]


def _import_order(name: str) -> tuple[bool, bool, str]:
    """Constants, then classes, then functions."""
    return not name.isupper(), name.islower(), name


def _parent(plan: EntityPlan) -> str:
    """What is imported as the parent: under another name where rows refer to it as well, since its own is taken."""
    aliased = f"{plan.parent} as {plan.parent}_entity"
    return aliased if f"entity:{aliased}" in plan.imports else plan.parent or ""


def _declaration(plan: EntityPlan) -> list[str]:
    lines = []
    if plan.parent is not None:
        lines.append(f"    parent={_parent(plan).rpartition(' as ')[2]},")
        lines += laid_out("per_parent=", plan.per_parent or "", ",", 4)
    if plan.rows is not None:
        lines.append(f"    rows={plan.rows},")
    if plan.table is not None:
        lines.append(f"    table={quoted(plan.table)},")
    if plan.schema is not None:
        lines.append(f"    schema={quoted(plan.schema)},")
    key = ", ".join(map(quoted, plan.key))
    lines += [*laid_out("key=", f"({key})" if len(plan.key) > 1 else key, ",", 4), "    columns={"]
    lines += [f"        {quoted(name)}: {quoted(kind)}," for name, kind in plan.columns.items()]
    return [*lines, "    },"]


def _signature(plan: EntityPlan) -> list[str]:
    parameters = ["rows: Rows", *(f"{name}: pl.DataFrame" for name in plan.parameters)]
    line = f"def {plan.name}({', '.join(parameters)}) -> pl.DataFrame:"
    if len(line) <= WIDTH:
        return [line]
    inner = "    " + ", ".join(parameters)
    if len(inner) <= WIDTH:
        return [f"def {plan.name}(", inner, ") -> pl.DataFrame:"]
    return [f"def {plan.name}(", *(f"    {parameter}," for parameter in parameters), ") -> pl.DataFrame:"]


def _described(plan: EntityPlan) -> str:
    if plan.parent is not None:
        return f"{_COUNTED.get(plan.per_parent or '', 'Some rows')} for each of `{plan.parent}`."
    if plan.rows is not None:
        return _SCALED.get(plan.rows, "The same rows at every scale, for others to choose from.")
    return "As many rows as the scale says."
