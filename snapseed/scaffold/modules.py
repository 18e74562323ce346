"""The text of a project's files, from its plan: snapseed.toml, one module for each entity, and the lists of words."""

from __future__ import annotations

import ast
import json
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC
from itertools import chain
from pathlib import Path

from snapseed.generate.words import WORDS
from snapseed.scaffold.draws import quoted
from snapseed.scaffold.plan import EntityPlan, ProjectPlan, alias_of

_SETTINGS = (Path(__file__).parent / "settings.toml").read_text(encoding="utf-8")
_WIDTH = 100
_IMPORT_WIDTH = 88  # Tools that sort imports break those that are longer, unless they are told otherwise
STANDARD = {"datetime": ("UTC", "date", "datetime", "timedelta"), "decimal": ("Decimal",)}
# What code may need from elsewhere, apart from other entities.
_OURS = ("Rows", "as_decimals", "entity", "exactly", "fan_out", "scale", "spread")
SOURCES = {**STANDARD, "snapseed": _OURS, ".words": tuple(WORDS)}
_COUNTED = {"1": "One row", "2": "Two rows"}


@dataclass(frozen=True)
class Origin:
    """The database of a project: its URL, which `lacks_password` if it had one, and its host if that is elsewhere."""

    url: str
    host: str | None = None
    lacks_password: bool = False


@dataclass(frozen=True)
class Scaffold:
    """The files of a project by their paths, and what to tell people: notes on tables, remarks, and what to do next."""

    heading: str
    files: Mapping[str, str]
    notes: Mapping[str, tuple[str, ...]]
    remarks: tuple[str, ...]
    next_steps: tuple[str, ...] = ()


def generator_files(plan: ProjectPlan) -> dict[str, str]:
    """The text of the files of the generators, by their paths in the project."""
    files = {f"generators/{entity.name}.py": _module(entity, plan.scale) for entity in plan.entities}
    files |= {f"generators/pools/{entity.name}.csv": entity.pool for entity in plan.entities if entity.pool}
    used = {name for entity in plan.entities for name in entity.names}
    lists = [
        (f"{name} = [", *_filled(map(quoted, words)), "]") for name, words in sorted(WORDS.items()) if name in used
    ]
    if lists:
        lines = ['"""Words that the generators choose from."""', "", *chain.from_iterable(lists), ""]
        files["generators/words.py"] = "\n".join(lines)
    return files


def settings_of(plan: ProjectPlan, origin: Origin) -> str:
    """The text of snapseed.toml."""
    database, host = (json.dumps(text, ensure_ascii=False) for text in (origin.url, origin.host))
    database += "       # its password: PGPASSWORD, or libpq's password file" * origin.lacks_password
    text = _SETTINGS.replace("{now}", f"{plan.now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")
    return f"{text}database = {database}\n" + f"allow_hosts = [{host}]\n" * (origin.host is not None)


def _module(plan: EntityPlan, scale: int) -> str:
    """The module of one entity. The source has as many rows as this `scale`."""
    lines = [f'"""{plan.title}"""', "", *_imports(plan), "", ""]
    for note in plan.notes:
        # A note that gives a reason is about something that is missing.
        text = f"# TODO: {note}." if ", because " in note else f"# {note}."
        lines += textwrap.wrap(text, _WIDTH, subsequent_indent="# ", break_long_words=False, break_on_hyphens=False)
    lines += ["@entity(", *_declaration(plan), ")"]
    parameters = ["rows: Rows", *(f"{name}: pl.DataFrame" for name in plan.parameters)]
    lines += _wrapped(f"def {plan.name}(", parameters, ") -> pl.DataFrame:", 0)
    lines.append(f'    """{_described(plan, scale)}"""')
    if plan.late:
        lines.append("    # These modules refer to each other, so they cannot import each other at the top.")
        lines += [f"    from .{name} import {name}" for name in plan.late]
        lines.append("")
    if plan.pool:
        return "\n".join([*lines, f"    return rows.from_pool({quoted(plan.name)})", ""])
    for name, code in plan.statements:
        lines += laid_out(f"{name} = ", code, "", 4)
    lines += ["    return pl.DataFrame(", "        {"]
    for column, code in plan.values.items():
        lines += [f"            # as in the source: {plan.learned[column]}"] if column in plan.learned else []
        lines += laid_out(f"{quoted(column)}: ", code, ",", 12)
    lines += ["        }", "    )"]
    return "\n".join(lines) + "\n"


def _imports(plan: EntityPlan) -> list[str]:
    used = plan.names | {"Rows", "entity"}
    lines = []
    for module, names in STANDARD.items():
        if found := [name for name in names if name in used]:
            lines.append(import_of(module, found))
    lines += [""] * bool(lines) + ["import polars as pl", ""]
    lines.append(import_of("snapseed", used & {*_OURS}))
    aliased = plan.references & {*plan.parameters}
    modules = {
        name: f"{name} as {alias_of(name, plan.parameters)}" if name in aliased else name
        for name in (plan.references | ({plan.parent} if plan.parent else set())) - {plan.name, *plan.late}
    }
    if words := WORDS.keys() & used:
        modules["words"] = ", ".join(words)
    ours = [import_of(f".{name}", modules[name].split(", ")) for name in sorted(modules)]
    return [*lines, *[""] * bool(ours), *ours]


def import_of(module: str, names: Iterable[str]) -> str:
    """The statement that imports names from a module: constants, classes and functions, each in order."""
    ordered = sorted(names, key=lambda name: (not name.isupper(), name.islower(), name))
    line = f"from {module} import {', '.join(ordered)}"
    inside = "".join(f"\n    {name}," for name in ordered)
    return line if len(line) <= _IMPORT_WIDTH else f"from {module} import ({inside}\n)"


def _declaration(plan: EntityPlan) -> list[str]:
    key = ", ".join(map(quoted, plan.key))
    arguments = {
        "parent": alias_of(plan.parent, plan.parameters) if plan.parent in plan.references else plan.parent,
        "per_parent": plan.per_parent,
        "rows": plan.rows,
        "table": plan.table and quoted(plan.table),
        "schema": plan.schema and quoted(plan.schema),
        "key": f"({key})" if len(plan.key) > 1 else key,
    }
    lines = [f"    {name}={value}," for name, value in arguments.items() if value is not None]
    columns = [f"        {quoted(name)}: {quoted(kind)}," for name, kind in plan.columns.items()]
    return [*lines, "    columns={", *columns, "    },"]


def _described(plan: EntityPlan, scale: int) -> str:
    if plan.parent is not None:
        return f"{_COUNTED.get(plan.per_parent or '', 'Some rows')} for each of `{plan.parent}`."
    if plan.pool:
        return f"The rows that the table held: pools/{plan.name}.csv."
    if plan.rows is not None:
        if plan.rows.isdecimal():
            return "The same rows at every scale, for others to choose from."
        return (
            f"As many rows as in the source at --scale {scale}."
            if scale
            else f"One row for every {1 / float(plan.rows[6:-1]):.0f} of the scale."
        )
    return "As many rows as the scale says."


def laid_out(before: str, code: str, after: str, indent: int) -> list[str]:
    """Code on one line if it fits; if not, a call or a list with each item on a line, or a sum with each operand."""
    margin = " " * indent
    line = margin + before + code + after
    if len(line) <= _WIDTH:
        return [line]
    node = ast.parse(code, mode="eval").body
    operands = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        operands.append(_source(code, node.right))
        node = node.left
    if operands:
        others = [f"{margin}    + {operand}" for operand in reversed(operands)]
        return [f"{margin}{before}(", f"{margin}    {_source(code, node)}", *others, f"{margin}){after}"]
    # The first of several calls on each other's results, as `f(x)` in `f(x).dt.date()`.
    calls = [call for call in ast.walk(node) if isinstance(call, ast.Call) and not call.col_offset]
    node = calls[-1] if calls else node
    code, after = _source(code, node), code[len(_source(code, node)) :] + after
    if isinstance(node, ast.List):
        items = [_source(code, item) for item in node.elts]
        return [f"{margin}{before}[", *_filled(items, indent + 4), f"{margin}]{after}"]
    if isinstance(node, ast.Dict):
        pairs = [
            (_source(code, key), _source(code, value)) for key, value in zip(node.keys, node.values, strict=True) if key
        ]
        lines = [line for key, value in pairs for line in laid_out(f"{key}: ", value, ",", indent + 4)]
        if all(isinstance(value, ast.Constant) for value in node.values):
            lines = _filled((": ".join(pair) for pair in pairs), indent + 4)
        return [f"{margin}{before}{{", *lines, f"{margin}}}{after}"]
    if isinstance(node, ast.Call) and (arguments := [*node.args, *node.keywords]):
        items = [_source(code, argument) for argument in arguments]
        return _wrapped(f"{before}{_source(code, node.func)}(", items, f"){after}", indent)
    return [line]


def _source(code: str, node: ast.AST) -> str:
    return ast.get_source_segment(code, node) or ""


def _wrapped(head: str, items: list[str], tail: str, indent: int) -> list[str]:
    """Items between brackets: on one line if they fit, each on its own if not."""
    margin = " " * indent
    line = margin + head + ", ".join(items) + tail
    if len(line) <= _WIDTH:
        return [line]
    return [margin + head, *(line for item in items for line in laid_out("", item, ",", indent + 4)), margin + tail]


def _filled(items: Iterable[str], indent: int = 4) -> list[str]:
    """Short items one after another, in as many lines as they need."""
    lines = [""]
    for item in items:
        lines += [""] if len(lines[-1]) + len(item) + indent > _WIDTH - 2 else []
        lines[-1] += f"{item}, "
    return [" " * indent + line.rstrip() for line in lines]
