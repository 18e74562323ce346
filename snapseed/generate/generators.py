"""Load a project's generators: import the modules of its folder, and check that their entities fit together."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import CodeType, ModuleType

from snapseed.errors import GeneratorError, is_from_outside
from snapseed.generate.entity import Entity
from snapseed.generate.pools import PoolFolder


@dataclass(frozen=True)
class Generators:
    """All entities of a project by name: parents before children, otherwise in the order of files and declarations."""

    entities: Mapping[str, Entity]
    pools: PoolFolder


@cache
def load_generators(folder: Path) -> Generators:
    """The entities that the modules in `folder` declare.

    Loaded once per process, as Python imports modules once: a changed generator needs a new process. Raises
    `GeneratorError` for a missing or empty folder, a module that cannot be imported (with file and line), two entities
    of one name, a parameter that names neither an ancestor nor a lookup entity, and lookup entities that need each
    other.
    """
    if not folder.is_dir():
        raise GeneratorError(
            "the generators folder does not exist",
            where=str(folder),
            next_step="check `generators` in snapseed.toml; a database needs none: `snapseed capture` captures it",
        )
    modules = [_import(folder, path) for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]
    # An entity that several modules import, or one under several names, is one entity.
    found = dict.fromkeys(value for module in modules for value in vars(module).values() if isinstance(value, Entity))
    if not found:
        raise GeneratorError(
            "no generator declares an entity", where=str(folder), expected="functions under @entity(...)"
        )
    entities = {entity.name: entity for entity in sorted(found, key=lambda entity: len(entity.ancestors))}
    for entity in found:
        _check(entity, entities)
    _check_lookups(entities)
    return Generators(entities, PoolFolder(folder / "pools"))


def where_it_failed(exc: BaseException, folder: Path, code: CodeType | None = None) -> str:
    """File and line of the innermost frame in `folder`, for an exception of a generator; or those of its `code`."""
    frames = [frame for frame in traceback.extract_tb(exc.__traceback__) if Path(frame.filename).is_relative_to(folder)]
    if isinstance(exc, SyntaxError) and exc.filename:
        return f"{exc.filename}:{exc.lineno}"
    if frames:
        return f"{frames[-1].filename}:{frames[-1].lineno}"
    return f"{code.co_filename}:{code.co_firstlineno}" if code else str(folder)


def _import(folder: Path, path: Path) -> ModuleType:
    """The module at `path`, in a package named after the folder's path, so that two projects never share a module."""
    package = "_snapseed_" + hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    if package not in sys.modules:
        spec = importlib.util.spec_from_loader(package, loader=None, is_package=True)
        assert spec is not None
        parent = importlib.util.module_from_spec(spec)
        parent.__path__ = [str(folder)]
        sys.modules[package] = parent
    try:
        return importlib.import_module(f"{package}.{path.stem}")
    except BaseException as exc:
        if isinstance(exc, GeneratorError) or is_from_outside(exc):
            raise
        # Its own text would name the file and the line again, and not show the line.
        said = f"{exc.msg}: {(exc.text or '').strip()}" if isinstance(exc, SyntaxError) else exc
        raise GeneratorError(
            f"the generator module {path.name} cannot be imported",
            where=where_it_failed(exc, folder),
            observed=f"{type(exc).__name__}: {said}",
        ) from exc


def _check(entity: Entity, entities: Mapping[str, Entity]) -> None:
    """Raise `GeneratorError` for an entity that does not fit together with the others."""
    where = entity.function.__code__.co_filename
    if entities[entity.name] is not entity:
        raise GeneratorError(f"two entities are named {entity.name!r}", where=where)
    for ancestor in entity.ancestors:
        if entities.get(ancestor.name) is not ancestor:
            raise GeneratorError(f"{ancestor.name!r}, the parent of {entity.name!r}, is not among the generators")
    lookups = [name for name, other in entities.items() if other.is_fixed]
    possible = dict.fromkeys([*(ancestor.name for ancestor in entity.ancestors), *lookups])
    for parameter in entity.parameters:
        if parameter not in possible:
            raise GeneratorError(
                f"the generator of {entity.name!r} has a parameter that names no ancestor and no lookup entity",
                where=where,
                observed=parameter,
                expected=f"rows, or one of: {', '.join(possible) or '(it has none)'}",
            )


def _check_lookups(entities: Mapping[str, Entity]) -> None:
    """Raise `GeneratorError` for lookup entities that need each other."""
    needs = {
        name: set(entity.parameters) - {ancestor.name for ancestor in entity.ancestors}
        for name, entity in entities.items()
    }
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as exc:
        path = exc.args[1][::-1]  # graphlib lists the other way round: what is needed comes first
        raise GeneratorError(
            f"the generator of {path[0]!r} needs rows that need its own",
            where=entities[path[0]].function.__code__.co_filename,
            observed=" needs ".join(path),
            expected="lookup entities that do not need each other",
        ) from None
