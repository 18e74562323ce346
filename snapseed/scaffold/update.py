"""`init --update`: what a migration has changed. Lines are added to modules as `init` writes them; all else is told."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from snapseed.generate.entity import Entity
from snapseed.postgres.facts import ColumnFacts
from snapseed.postgres.fit import type_of
from snapseed.scaffold.draws import quoted
from snapseed.scaffold.modules import SOURCES, STANDARD, Scaffold, generator_files, import_of, laid_out
from snapseed.scaffold.names import kept_by
from snapseed.scaffold.plan import EntityPlan, ProjectPlan
from snapseed.scaffold.schema import Table
from snapseed.snapshot.types import Family

# What a module that init wrote has once: the end of its declared columns, the beginning and the end of its frame.
_COLUMNS_END, _FRAME, _FRAME_END = "    },\n", "    return pl.DataFrame(\n", "        }\n    )\n"


def tables_of(entities: Iterable[Entity | EntityPlan], tables: Sequence[Table]) -> dict[str, Table]:
    """The table of each entity that has one, by the entity's name."""
    known = {(table.schema, table.name): table for table in tables}
    known |= {("", table.name): table for table in tables if table.is_visible}
    found = {entity.name: known.get((entity.schema or "", entity.table or entity.name)) for entity in entities}
    return {name: table for name, table in found.items() if table is not None}


def update_project(folder: Path, entities: Sequence[Entity], tables: Sequence[Table], plan: ProjectPlan) -> Scaffold:
    """Compare tables with entities whose generators are in `folder`. What only people can delete comes first."""
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
    paths = [(entity.name, Path(entity.function.__code__.co_filename)) for entity in entities]
    # A decorator of another package hides the module.
    places = {name: path.relative_to(folder).as_posix() for name, path in paths if path.is_relative_to(folder)}
    modules = {place: (folder / place).read_text(encoding="utf-8") for place in places.values()}
    for entity in entities:
        place, table = places.get(entity.name, ""), own.get(entity.name)
        text, told = modules.get(place, ""), f"{folder.name}/{place or entity.name}"
        if table is None:
            line = f"from .{place.removesuffix('.py')} import "
            users = [f"{folder.name}/{other}" for other, found in modules.items() if line in found]
            also = f", once these no longer import it: {', '.join(users)}" * bool(users)
            gone.append(f"gone from the database, to delete by hand: {told}{also}")
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
        if (more := _with_columns(files.get(place) or text, wanted, new)) is not None:
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
    # Without -N, git shows nothing of new files.
    then = [*["git add -N . && git diff   # read what was added"] * bool(files), "snapseed generate", "snapseed load"]
    return Scaffold(
        heading="" if files or gone or remarks else "nothing to do: the project has what the database has",
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
    for column in (column for column in columns if column.kind == "e"):
        # Texts in a list or a mapping that comes after the column's name.
        lists = re.findall(rf"{re.escape(quoted(column.name))}[,:]\s*[\[{{]([^\]}}]*)", text)
        drawn = {found for options in lists for found in re.findall(r'"([^"]*)"', options)}
        if lost := sorted(drawn - {*column.labels}):
            gone.append(f"gone from {column.type}, to replace by hand in {place}: {', '.join(lost)}")
        if new := [label for label in column.labels if drawn and label not in drawn]:
            missing.append(f"labels that {place} does not draw for {column.name}: {', '.join(new)}")
    return gone, missing


def _with_columns(text: str, plan: EntityPlan, names: Sequence[str]) -> str | None:
    """The module with these columns at the end of its declaration and of its frame; None if it has another form."""
    if any(text.count(end) != 1 for end in (_COLUMNS_END, _FRAME, _FRAME_END)) or not plan.values.keys() >= {*names}:
        return None
    nodes = [*ast.walk(ast.parse(text))]
    known = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    known |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    known |= {node.asname or node.name for node in nodes if isinstance(node, ast.alias)}
    statements: list[tuple[str, str]] = []
    used = _names(plan.values[name] for name in names)
    for name, code in reversed(plan.statements):
        if name in used - known:
            statements.insert(0, (name, code))
            used |= _names([code])
    needed = {module: {*found} & used - known for module, found in SOURCES.items()}
    if not used <= known.union(*needed.values(), (name for name, _ in statements)):
        return None
    added = {
        _COLUMNS_END: [f"        {quoted(name)}: {quoted(plan.columns[name])}," for name in names],
        _FRAME: [line for name, code in statements for line in laid_out(f"{name} = ", code, "", 4)],
        _FRAME_END: [line for name in names for line in laid_out(f"{quoted(name)}: ", plan.values[name], ",", 12)],
    }
    for end, lines in added.items():
        text = text.replace(end, "".join(f"{line}\n" for line in lines) + end)
    for module, found in needed.items():
        text = _with_import(text, module, found) if found else text
    return text


def _with_import(text: str, module: str, names: Collection[str]) -> str:
    """The module with these names imported: by the statement that imports from there, or by one in its place."""
    there = re.search(rf"^from {re.escape(module)} import (\((?:\n    \w+,)+\n\)|[\w, ]+)$", text, re.MULTILINE)
    if there is not None:
        line = import_of(module, {*names, *re.findall(r"\w+", there[1])})
        return text[: there.start()] + line + text[there.end() :]
    imports = [*re.finditer(r"^(?:from|import) ([\w.]+)", text, re.MULTILINE)]
    line, is_standard = import_of(module, names), [found[1] in STANDARD for found in imports]
    if module in STANDARD:
        place = next(number for number, one in enumerate(imports) if one[1] > module or not is_standard[number])
        gap = "\n" * (not is_standard[place] and not place)
        return f"{text[: imports[place].start()]}{line}\n{gap}{text[imports[place].start() :]}"
    head, after, rest = text.partition("\n\n\n")
    return f"{head}\n{'' if imports[-1][1].startswith('.') else chr(10)}{line}{after}{rest}"


def _names(codes: Iterable[str]) -> set[str]:
    """All names in these expressions."""
    return {node.id for code in codes for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
