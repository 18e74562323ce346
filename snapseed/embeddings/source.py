"""What `[embeddings]` means for a snapshot: the entities with the texts and the vectors, the embedder, the jobs."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec

from snapseed.config import EmbeddingsTable, Environment, Project
from snapseed.embeddings.embedder import Embedder
from snapseed.embeddings.jobs import JobForm, job_form
from snapseed.errors import ConfigurationError, SnapseedError
from snapseed.snapshot.manifest import EntityRecord, Manifest, names_of
from snapseed.snapshot.types import Family
from snapseed.units import parse_seconds

# A worker that waits for jobs shows itself each second.
_SHORTEST_CLAIM_SECONDS = 2.0
_TEXTS = (Family.TEXT, Family.CHARACTER, Family.TEXT_FORM)
_FAMILIES = {
    "text": _TEXTS,
    "number": (Family.SMALLINT, Family.INTEGER, Family.BIGINT),
    "model": _TEXTS,
    "content": _TEXTS,
}


@dataclass(frozen=True)
class Source:
    """The texts, and where their vectors go. `target` has those columns only that a worker writes.

    A job in the hands of a worker that is silent for `claim_after` seconds is given to others.
    """

    settings: EmbeddingsTable
    texts: EntityRecord
    target: EntityRecord
    embedder: Embedder
    form: JobForm
    identity: str
    queue_name: str
    claim_after: float

    @property
    def text_key(self) -> str:
        """The column of the texts that tells one text from all others."""
        return names_of(self.texts.key)[0]

    @property
    def conflict(self) -> tuple[str, str, str]:
        """The columns that tell one chunk from all others."""
        return (self.settings.parent, self.settings.number, self.settings.model)


def resolve_source(project: Project, environment: Environment, manifest: Manifest) -> Source:
    """The source of an environment's embeddings.

    Raises `ConfigurationError` where there is no table [embeddings], or it names what the snapshot does not have.
    """
    settings, where = project.embeddings, f"{project.file} [embeddings]"
    if settings is None:
        raise ConfigurationError("the project has no table [embeddings]", where=str(project.file))
    texts = _entity(manifest, settings.entity, f"{where} entity")
    target = _entity(manifest, settings.target, f"{where} target")
    if not isinstance(texts.key, str):
        raise ConfigurationError(
            "texts are known by one column, and so are the chunks of each (`parent`)",
            where=f"{where} entity",
            observed=f"{texts.name} has the key {', '.join(texts.key)}",
            expected="an entity with a key of one column",
        )
    _require_columns(texts, [settings.text], where)
    _require_families(texts, {"text": settings.text}, where)
    roles = [settings.parent, settings.number, settings.content, settings.model, settings.vector, settings.key]
    names = [name for name in roles if name is not None]
    _require_columns(target, names, where)
    asked = {name: getattr(settings, name) for name in ("number", "model", "content")}
    _require_families(target, {name: column for name, column in asked.items() if column is not None}, where)
    if texts.name == target.name or len(set(names)) < len(names):
        raise ConfigurationError(
            "two settings name the same thing",
            where=where,
            observed=f"entity {texts.name}, target {target.name}, columns {', '.join(names)}",
            expected="another entity for the vectors than for the texts, and a column of its own for each setting",
        )
    columns = tuple(column for column in target.columns if column.name in names)
    if settings.key is not None:
        _require_uuids(texts, target, settings, where)
    if settings.tries < 1:
        raise ConfigurationError(
            "a number is out of its range", where=f"{where} tries", observed=repr(settings.tries), expected="1 or more"
        )
    claim_after = parse_seconds(settings.claim_after, where=f"{where} claim_after")
    if claim_after < _SHORTEST_CLAIM_SECONDS:
        raise ConfigurationError(
            "a time is too short for a worker to do a batch",
            where=f"{where} claim_after",
            observed=repr(settings.claim_after),
            expected=f"{_SHORTEST_CLAIM_SECONDS:.0f}s or more",
        )
    with _importable(project.folder):
        embedder = load_embedder(settings.embedder, settings.options or {}, project.folder, f"{where} embedder")
    _require_dimensions(target, settings, embedder, where)
    name = settings.name.replace("{project}", project.folder.name).replace("{environment}", environment.name)
    return Source(
        settings,
        texts,
        msgspec.structs.replace(target, columns=columns),
        embedder,
        job_form(settings.payload, f"{where} payload"),
        manifest.identity,
        name,
        claim_after,
    )


def load_embedder(name: str, options: Mapping[str, Any], folder: Path, where: str) -> Embedder:
    """The embedder that `package.module:Name` names, made with `options`, and with `folder` where it takes that.

    Raises `ConfigurationError` where there is none.
    """
    module, _, attribute = name.partition(":")
    try:
        kind = getattr(importlib.import_module(module), attribute)
        known: dict[str, Any] = {"folder": folder} if "folder" in inspect.signature(kind).parameters else {}
        made = kind(**(known | {**options}))
        if not (isinstance(made.model, str) and isinstance(made.dimensions, int) and callable(made.embed)):
            raise TypeError("model is no text, dimensions no integer, or embed no method")  # noqa: TRY301 - told below
    except SnapseedError:
        raise
    except Exception as exc:
        raise ConfigurationError(
            "the embedder cannot be made",
            where=where,
            observed=f"{name!r}: {type(exc).__name__}: {exc}",
            expected="package.module:Name of a class with model, dimensions and embed",
        ) from exc
    return cast("Embedder", made)


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let modules of the project itself be imported, wherever the command runs."""
    sys.path.append(str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _entity(manifest: Manifest, name: str, where: str) -> EntityRecord:
    record = manifest.entity(name)
    if record is None:
        known = ", ".join(entity.name for entity in manifest.entities)
        raise ConfigurationError(
            "there is no such entity in the snapshot", where=where, observed=repr(name), expected=f"one of: {known}"
        )
    return record


def _require_columns(entity: EntityRecord, names: list[str], where: str) -> None:
    known = [column.name for column in entity.columns]
    for name in names:
        if name not in known:
            raise ConfigurationError(
                f"the entity {entity.name} has no such column",
                where=where,
                observed=repr(name),
                expected=f"one of: {', '.join(known)}",
            )


def _require_families(entity: EntityRecord, columns: dict[str, str], where: str) -> None:
    """What is put into these columns, by setting, must fit."""
    for setting, name in columns.items():
        column = next(column for column in entity.columns if column.name == name)
        allowed = _FAMILIES[setting]
        if column.kind().is_array or column.kind().family not in allowed:
            raise ConfigurationError(
                "a column is of another kind than it should be",
                where=f"{where} {setting}",
                observed=f"{entity.name}.{name} is {column.type}",
                expected=f"one of: {', '.join(family.value for family in allowed)}",
            )


def _require_uuids(texts: EntityRecord, target: EntityRecord, settings: EmbeddingsTable, where: str) -> None:
    kinds = {column.name: column.kind().family for column in target.columns}
    kinds["its texts' key"] = next(column.kind().family for column in texts.columns if column.name == texts.key)
    for name in (settings.key or "", settings.parent, "its texts' key"):
        if kinds[name] is not Family.UUID:
            raise ConfigurationError(
                "keys of chunks are made of uuids",
                where=f"{where} key",
                observed=f"{name} is {kinds[name]}",
                next_step="leave `key` out, and let the database make the keys",
            )


def _require_dimensions(target: EntityRecord, settings: EmbeddingsTable, embedder: Embedder, where: str) -> None:
    declared = next(column.type for column in target.columns if column.name == settings.vector)
    size = re.fullmatch(r"vector\((\d+)\)", declared)
    if size and int(size[1]) != embedder.dimensions:
        raise ConfigurationError(
            "the embedder makes vectors of another dimension",
            where=f"{where} embedder",
            observed=f"{embedder.dimensions} numbers by model {embedder.model}",
            expected=f"{settings.vector} is {declared}",
        )
