"""`init --from-database --update`: what a migration has changed, added to the generators of a project that exists.

Only lines are added, and names to imports, and only where a module still has the form that `init` writes. All else is
told.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from snapseed.generate.entity import Entity
from snapseed.postgres.fit import type_of
from snapseed.scaffold.draws import quoted
from snapseed.scaffold.modules import generator_files, imported, laid_out
from snapseed.scaffold.names import kept_by
from snapseed.scaffold.plan import EntityPlan, ProjectPlan
from snapseed.scaffold.schema import Table
from snapseed.snapshot.types import Family


@dataclass(frozen=True)
class Update:
    """The files to write, new or with lines added, by their paths in `generators`; and what people should know."""

    files: Mapping[str, str]
    remarks: tuple[str, ...]


def tables_of(entities: Iterable[Entity | EntityPlan], tables: Sequence[Table]) -> dict[str, Table]:
    """The table of each entity that has one, by the entity's name."""
    known = {(table.schema, table.name): table for table in tables}
    known |= {("", table.name): table for table in tables if table.is_visible}
    found = {entity.name: known.get((entity.schema or "", entity.table or entity.name)) for entity in entities}
    return {name: table for name, table in found.items() if table is not None}


def update_project(folder: Path, entities: Sequence[Entity], tables: Sequence[Table], plan: ProjectPlan) -> Update:
    """Compare the tables of a database with the entities of the project whose generators are in `folder`."""
    own, plans = tables_of(entities, tables), {entity.name: entity for entity in plan.entities}
    planned = {table.oid: plans[name] for name, table in tables_of(plan.entities, tables).items()}
    fresh = [found for oid, found in planned.items() if oid not in {table.oid for table in own.values()}]
    texts = {path.removeprefix("generators/"): text for path, text in generator_files(plan).items()}
    files: dict[str, str] = {}
    remarks: list[str] = []
    there = {path.stem for path in folder.glob("*.py")} | {found.name for found in fresh}
    for found in fresh:
        needed = sorted({*found.references, *filter(None, [found.parent, found.among])} - there)
        if (folder / f"{found.name}.py").exists() or needed:
            why = f"there is no module {', '.join(needed)}" if needed else f"{found.name}.py is another module"
            remarks.append(f"new table {found.table or found.name}: not written, because {why}")
        else:
            files |= {path: text for path, text in texts.items() if Path(path).stem == found.name}
    remarks += [
        f"not in the project: {table}: {plan.left_out[str(table)]}"
        for table in tables
        if str(table) in plan.left_out and table not in own.values() and not kept_by(table.schema, table.name)
    ]
    for entity in entities:
        table = own.get(entity.name)
        if table is None:
            remarks.append(f"the database has no table {entity.table} any more; delete the entity {entity.name}")
            continue
        remarks += _changed(entity, table)
        wanted = planned.get(table.oid)
        known = {**entity.columns, **(wanted.columns if wanted else {})}
        remarks += [
            f"not in the project: column {entity.name}.{column.name} {column.type}; add it by hand, or leave it NULL"
            for column in table.columns
            if not (column.name in known or column.has_default or column.identity or column.generated)
        ]
        if wanted is None or not (new := [name for name in wanted.columns if name not in entity.columns]):
            continue
        path, text = Path(entity.function.__code__.co_filename), None
        # A decorator of another package hides the module.
        if path.is_relative_to(folder):
            place = path.relative_to(folder).as_posix()
            text = _with_columns(files.get(place) or path.read_text(encoding="utf-8"), entity, wanted, new)
        if text is not None:
            files[place] = text
        else:
            remarks.append(
                f"new columns, to add by hand to {path.name}, to `columns` and to the frame of {entity.name}:"
            )
            remarks += [f"  {name} {wanted.columns[name]}: {wanted.values.get(name, 'in its pool')}" for name in new]
    words = folder / "words.py"
    if files and "words.py" in texts:
        old, lists = words.read_text(encoding="utf-8") if words.exists() else "", texts["words.py"]
        defined = _names([old])
        missing = [
            found
            for found in re.findall(r"^\w+ = \[\n(?: .*\n)+\]\n", lists, re.MULTILINE)
            if found.split()[0] not in defined
        ]
        if missing:
            files["words.py"] = old + "".join(missing) if old else lists
    return Update(files, tuple(remarks))


def _changed(entity: Entity, table: Table) -> list[str]:
    """Columns that are gone, and those of another type than the entity declares."""
    kinds = {column.name: type_of(column) for column in table.columns}
    gone = [
        f"the database has no column {entity.name}.{name} any more; delete its lines"
        for name in entity.columns
        if name not in kinds
    ]
    return gone + [
        f"changed type: {entity.name}.{name} is {kind.name}, declared as {declared.name}"
        for name, declared in entity.columns.items()
        if (kind := kinds.get(name)) and kind.name != declared.name
        # An enum or a type of an extension may be declared as text.
        if {kind.family, declared.family} > {Family.TEXT_FORM} or Family.TEXT_FORM not in {kind.family, declared.family}
    ]


def _with_columns(text: str, entity: Entity, plan: EntityPlan, names: Sequence[str]) -> str | None:
    """The module with these columns at the end of its declaration and of its frame; None if it has another form."""
    tree = ast.parse(text)
    function = next(
        (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == entity.function.__name__),
        None,
    )
    match function:
        case ast.FunctionDef(
            decorator_list=[ast.Call(keywords=keywords)], body=[*_, ast.Return(ast.Call(args=[ast.Dict() as frame]))]
        ):
            declared = next((word.value for word in keywords if word.arg == "columns"), None)
        case _:
            return None
    if not isinstance(declared, ast.Dict) or not plan.values.keys() >= {*names}:
        return None
    known = {"rows", "pl", *(argument.arg for argument in function.args.args)}
    known |= {node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    known |= {alias.asname or alias.name for node in imports for alias in node.names}
    statements: list[tuple[str, str]] = []
    used = _names(plan.values[name] for name in names)
    for name, code in reversed(plan.statements):
        if name in used - known:
            statements.insert(0, (name, code))
            used |= _names([code])
    made = replace(plan, statements=tuple(statements), values={name: plan.values[name] for name in names})
    modules = {name: module for module, found in imported(made) for name in found if name in used - known}
    if not used <= known | modules.keys() | {name for name, _ in statements}:
        return None
    # From the end on, so that line numbers hold.
    added = [
        (
            frame.end_lineno or 0,
            [line for name in names for line in laid_out(f"{quoted(name)}: ", made.values[name], ",", 12)],
        ),
        (function.body[-1].lineno, [line for name, code in statements for line in laid_out(f"{name} = ", code, "", 4)]),
        (declared.end_lineno or 0, [f"        {quoted(name)}: {quoted(plan.columns[name])}," for name in names]),
    ]
    # Line breaks as `ast` counts them.
    lines = text.split("\n")
    for node in (frame, declared):
        last = (node.end_lineno or 0) - 1
        if lines[last].strip() not in {"}", "},"} or not lines[last - 1].rstrip().endswith(","):
            return None
    for line, new in added:
        lines[line - 1 : line - 1] = new
    text = "\n".join(lines)
    for name, module in modules.items():
        text = _with_import(text, module, name)
    return text


def _with_import(text: str, module: str, name: str) -> str:
    """The module with this name imported: by the statement that imports from there, or by one in its place."""
    lines, new = text.split("\n"), ast.ImportFrom(module.lstrip("."), [ast.alias(name)], module.count("."))
    imports = [node for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom)]
    for node in imports:
        place = slice(node.lineno - 1, node.end_lineno)
        if _order(node) == _order(new) and "#" not in "".join(lines[place]):
            names = sorted(
                [*node.names, *new.names],
                key=lambda found: (not found.name.isupper(), found.name.islower(), found.name),
            )
            lines[place] = [ast.unparse(ast.ImportFrom(new.module, names, new.level))]
            return "\n".join(lines)
    later = next((node for node in imports if _order(node) > _order(new)), None)
    near = later or imports[-1]
    line, added, gap = near.lineno - 1, [ast.unparse(new)], [""] * (_order(near)[0] != _order(new)[0])
    lines[line:line] = [*added, *gap] if later else []
    last = near.end_lineno or 0
    lines[last:last] = [] if later else [*gap, *added]
    return "\n".join(lines)


def _order(node: ast.Import | ast.ImportFrom) -> tuple[int, bool, str]:
    """Where an import stands: those of the standard library, then of packages, of snapseed, and of the project."""
    is_from = isinstance(node, ast.ImportFrom)
    name = "." * node.level + (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
    root = name.partition(".")[0]
    group = 0 if root in sys.stdlib_module_names else 3 if not root else 1 + (root == "snapseed")
    return group, is_from, name


def _names(codes: Iterable[str]) -> set[str]:
    """All names in these expressions."""
    return {node.id for code in codes for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
