"""`init --from-database --update`: what a migration has changed, added to the generators of a project that exists.

Only lines are added, and names to imports, and only where a module still has the form that `init` writes. All else is
told.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from snapseed.generate.entity import Entity
from snapseed.postgres.facts import ColumnFacts
from snapseed.postgres.fit import type_of
from snapseed.scaffold.draws import quoted
from snapseed.scaffold.modules import Scaffold, generator_files, imported, laid_out
from snapseed.scaffold.names import kept_by
from snapseed.scaffold.plan import EntityPlan, ProjectPlan
from snapseed.scaffold.schema import Table
from snapseed.snapshot.types import Family


def tables_of(entities: Iterable[Entity | EntityPlan], tables: Sequence[Table]) -> dict[str, Table]:
    """The table of each entity that has one, by the entity's name."""
    known = {(table.schema, table.name): table for table in tables}
    known |= {("", table.name): table for table in tables if table.is_visible}
    found = {entity.name: known.get((entity.schema or "", entity.table or entity.name)) for entity in entities}
    return {name: table for name, table in found.items() if table is not None}


def update_project(folder: Path, entities: Sequence[Entity], tables: Sequence[Table], plan: ProjectPlan) -> Scaffold:
    """Compare the tables of a database with the entities of the project whose generators are in `folder`.

    What is gone from the database comes first among the next steps, since only people can delete it.
    """
    own, plans = tables_of(entities, tables), {entity.name: entity for entity in plan.entities}
    planned = {table.oid: plans[name] for name, table in tables_of(plan.entities, tables).items()}
    fresh = [found for oid, found in planned.items() if oid not in {table.oid for table in own.values()}]
    texts = {path.removeprefix("generators/"): text for path, text in generator_files(plan).items()}
    files, remarks = _new_modules(folder, fresh, texts)
    remarks += [
        f"not in the project: {table}: {plan.left_out[str(table)]}"
        for table in tables
        if str(table) in plan.left_out and table not in own.values() and not kept_by(table.schema, table.name)
    ]
    gone: list[str] = []
    for entity in entities:
        path, table = Path(entity.function.__code__.co_filename), own.get(entity.name)
        # A decorator of another package hides the module.
        place = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else ""
        text, told = path.read_text(encoding="utf-8") if place else "", f"{folder.name}/{place or entity.name}"
        if table is None:
            gone.append(f"gone from the database, to delete by hand: {told}")
            continue
        columns = {column.name: column for column in table.columns}
        if lost := [name for name in entity.columns if name not in columns]:
            gone.append(f"gone from the database, to delete by hand in {told}: {', '.join(lost)}")
        lost_labels, new_labels = _labels(text, told, [columns[name] for name in entity.columns if name in columns])
        gone += lost_labels
        remarks += new_labels
        remarks += _changed_types(entity, table)
        wanted = planned.get(table.oid)
        known = {**entity.columns, **(wanted.columns if wanted else {})}
        remarks += [
            f"not in the project: column {entity.name}.{column.name} {column.type}; add it by hand, or leave it NULL"
            for column in table.columns
            if not (column.name in known or column.has_default or column.identity or column.generated)
        ]
        new = [name for name in wanted.columns if name not in entity.columns] if wanted is not None else []
        if wanted is None or not new:
            continue
        more = _with_columns(files.get(place) or text, entity, wanted, new)
        if more is not None:
            files[place] = more
        else:
            remarks.append(f"{told} is not as init writes it; add to `columns` of {entity.name} by hand:")
            remarks += [f"  {quoted(name)}: {quoted(wanted.columns[name])}," for name in new]
            remarks.append(f"and to the frame that {entity.function.__name__}() returns:")
            remarks += [f"  {quoted(name)}: {wanted.values.get(name, '…')}," for name in new]
    if files and "words.py" in texts:
        words = folder / "words.py"
        old = words.read_text(encoding="utf-8") if words.exists() else ""
        lists = re.findall(r"^(\w+) (= \[\n(?: .*\n)+\]\n)", texts["words.py"], re.MULTILINE)
        if missing := [f"{name} {listed}" for name, listed in lists if name not in _names([old])]:
            files["words.py"] = old + "".join(missing) if old else texts["words.py"]
    then = [*["git diff           # read what was added"] * bool(files), "snapseed generate", "snapseed load"]
    done = "nothing to do: the project has all tables and columns of the database"
    return Scaffold(
        heading="" if files or gone or remarks else done,
        files=files,
        notes={found.name: found.notes for found in fresh if found.notes and f"{found.name}.py" in files},
        remarks=tuple(remarks),
        next_steps=(*gone, *then) if files or gone else (),
    )


def _new_modules(
    folder: Path, fresh: Sequence[EntityPlan], texts: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """The files of new entities, and why some are not written."""
    there = {path.stem for path in folder.glob("*.py")}
    names, remarks = there | {found.name for found in fresh}, []
    files: dict[str, str] = {}
    for found in fresh:
        needed = sorted({*found.references, *filter(None, [found.parent, found.among])} - names)
        if found.name in there or needed:
            why = f"there is no module {', '.join(needed)}" if needed else f"{found.name}.py is another module"
            remarks.append(f"new table {found.table or found.name}: not written, because {why}")
        else:
            files |= {path: text for path, text in texts.items() if Path(path).stem == found.name}
    return files, remarks


def _changed_types(entity: Entity, table: Table) -> list[str]:
    """Columns of another type than the entity declares."""
    kinds = {column.name: type_of(column) for column in table.columns}
    return [
        f"changed type: {entity.name}.{name} is {kind.name}, declared as {declared.name}"
        for name, declared in entity.columns.items()
        if (kind := kinds.get(name)) and kind.name != declared.name
        # An enum or a type of an extension may be declared as text.
        if {kind.family, declared.family} > {Family.TEXT_FORM} or Family.TEXT_FORM not in {kind.family, declared.family}
    ]


def _labels(text: str, place: str, columns: Iterable[ColumnFacts]) -> tuple[list[str], list[str]]:
    """What to say about labels that code draws and an enum has no longer, and about those that it does not draw."""
    gone, missing = [], []
    for column in columns:
        drawn = _drawn(text, column.name) if column.kind == "e" else set()
        if lost := sorted(drawn - {*column.labels}):
            gone.append(f"gone from {column.type}, to replace by hand in {place}: {', '.join(lost)}")
        if new := [label for label in column.labels if drawn and label not in drawn]:
            missing.append(f"labels that {place} does not draw for {column.name}: {', '.join(new)}")
    return gone, missing


def _drawn(text: str, name: str) -> set[str]:
    """The texts that code draws for a column: those in a call with its name, and those in a list in a frame."""
    nodes = [*ast.walk(ast.parse(text))]
    pairs = [pair for node in nodes if isinstance(node, ast.Dict) for pair in zip(node.keys, node.values, strict=True)]
    found: list[ast.expr] = [
        value for key, value in pairs if isinstance(value, ast.List) and ast.unparse(key or value) == repr(name)
    ]
    calls = [node.args for node in nodes if isinstance(node, ast.Call)]
    found += [values for key, *others in filter(None, calls) if ast.unparse(key) == repr(name) for values in others]
    constants = (node.value for values in found for node in ast.walk(values) if isinstance(node, ast.Constant))
    return {value for value in constants if isinstance(value, str)}


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
