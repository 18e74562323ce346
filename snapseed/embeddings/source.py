"""What `[embeddings]` means for an environment: texts, target, embedder, jobs; and its database and queue, opened.

Every mistake in the settings is found here, before anything is touched.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import msgspec
from psycopg import sql

from snapseed.config import Environment, Project
from snapseed.config.settings import EmbeddingsTable
from snapseed.embeddings.embedder import Embedder
from snapseed.embeddings.queue import JobForm, JobQueue, job_form
from snapseed.embeddings.queue_list import ListQueue
from snapseed.embeddings.queue_stream import StreamQueue
from snapseed.errors import ConfigurationError, SnapseedError, UsageError
from snapseed.postgres import query
from snapseed.postgres.catalog import find_tables, search_schemas
from snapseed.postgres.connect import Connection, Session, Target, connected, require_session
from snapseed.postgres.fit import table_name
from snapseed.postgres.guard import identify_allowed
from snapseed.servers.targets import RedisTarget, redis_connected, redis_translated, resolve_redis, resolve_target
from snapseed.snapshot.manifest import Column, EntityRecord, Manifest, names_of
from snapseed.snapshot.store import snapshot_of
from snapseed.snapshot.types import Family
from snapseed.units import parse_seconds

QUERIES = Path(__file__).parent / "queries"
# A worker that waits for jobs is heard of every second.
_SHORTEST_CLAIM_SECONDS = 2.0
_TEXT_FAMILIES = (Family.TEXT, Family.CHARACTER, Family.TEXT_FORM)
# The types that the column of a setting may have. All but `text` are columns of the target.
_FAMILIES = {
    "text": _TEXT_FAMILIES,
    "number": (Family.SMALLINT, Family.INTEGER, Family.BIGINT),
    "model": _TEXT_FAMILIES,
    "content": _TEXT_FAMILIES,
}
_TARGET_SETTINGS = ("parent", "number", "content", "model", "vector", "key")


@dataclass(frozen=True)
class EmbeddingSource:
    """The texts, and where their vectors go. `target` has only the columns that workers write.

    The jobs of a worker that has been silent for `claim_after` seconds go to others.
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
        """The key column of the texts."""
        return names_of(self.texts.key)[0]

    def found_in(self, connection: Connection) -> EmbeddingSource:
        """The same with the schemas in which the two tables are, as far as they exist."""
        names = [table_name(self.texts), table_name(self.target)]
        found = find_tables(connection, names, search_schemas(connection))
        texts, target = (
            msgspec.structs.replace(entity, schema=found.get(name, name).schema)
            for entity, name in zip((self.texts, self.target), names, strict=True)
        )
        return replace(self, texts=texts, target=target)

    def statement(self, name: str, **others: sql.Composable) -> sql.Composed:
        """The statement in `queries`, with tables and columns filled in by their role, and other names.

        `key` is that of the texts. `content` is NULL if chunks do not keep their text.
        """
        columns = ("text", "parent", "number", "model", "vector")
        names: dict[str, sql.Composable] = {name: sql.Identifier(getattr(self.settings, name)) for name in columns}
        names |= {
            "key": sql.Identifier(self.text_key),
            "content": sql.Identifier(self.settings.content) if self.settings.content else sql.NULL,
            "texts": table_name(self.texts).identifier(),
            "target": table_name(self.target).identifier(),
        }
        return sql.SQL(query(name, QUERIES).decode()).format(**(names | others))


def resolve_source(project: Project, environment: Environment, manifest: Manifest | None = None) -> EmbeddingSource:
    """The source of an environment's embeddings, by the manifest of its snapshot.

    Raises `ConfigurationError` if there is no table [embeddings], or it does not fit the snapshot.
    """
    settings, where = project.embeddings, f"{project.file} [embeddings]"
    if settings is None:
        raise ConfigurationError("the project has no table [embeddings]", where=str(project.file))
    manifest = manifest or snapshot_of(environment).manifest
    texts = _entity(manifest, settings.entity, f"{where} entity")
    target = _entity(manifest, settings.target, f"{where} target")
    if not isinstance(texts.key, str):
        raise ConfigurationError(
            "the texts have a key of several columns, but chunks refer to a text by one (`parent`)",
            where=f"{where} entity",
            observed=f"{texts.name} has the key {', '.join(texts.key)}",
            expected="an entity with a key of one column",
        )
    _columns_of(texts, settings, ("text",), where)
    columns = _columns_of(target, settings, _TARGET_SETTINGS, where)
    names = [column.name for column in columns]
    if texts.name == target.name or len(set(names)) < len(names):
        raise ConfigurationError(
            "two settings name the same thing",
            where=where,
            observed=f"entity {texts.name}, target {target.name}, columns {', '.join(names)}",
            expected="different entities for texts and vectors, and a different column for each setting",
        )
    if settings.key is not None:
        _require_uuids(texts, target, settings, where)
    claim_after = parse_seconds(settings.claim_after, where=f"{where} claim_after")
    if claim_after < _SHORTEST_CLAIM_SECONDS:
        raise ConfigurationError(
            "the time is too short: waiting workers show themselves once a second",
            where=f"{where} claim_after",
            observed=repr(settings.claim_after),
            expected=f"{_SHORTEST_CLAIM_SECONDS:.0f}s or more",
        )
    embedder = load_embedder(settings.embedder, settings.options or {}, project.folder, f"{where} embedder")
    _require_dimensions(target, settings, embedder, where)
    written = tuple(column for column in target.columns if column.name in names)
    return EmbeddingSource(
        settings,
        texts,
        msgspec.structs.replace(target, columns=written),
        embedder,
        job_form(settings.payload, f"{where} payload"),
        manifest.identity,
        settings.name.replace("{project}", project.folder.name).replace("{environment}", environment.name),
        claim_after,
    )


@dataclass(frozen=True)
class EmbeddingSession:
    """The database and the queue of an environment, open."""

    source: EmbeddingSource
    target: Target
    redis: RedisTarget
    connection: Session
    queue: JobQueue


@contextmanager
def embedding_session(
    project: Project, environment: Environment, *, consent: bool = False, doing: str = "looking at the queue"
) -> Iterator[EmbeddingSession]:
    """Open the database and the queue, guarded like a load, to do something. Errors of Redis say what.

    Raises `UsageError` for an environment without a queue, and what connecting and `resolve_source` raise.
    """
    if environment.embeddings != "queue":
        raise UsageError(
            "this environment takes its embeddings from the snapshot, and has no queue",
            where=environment.sources.get("embeddings"),
            expected='embeddings = "queue"',
        )
    source = resolve_source(project, environment)
    target, redis_target = resolve_target(project, environment), resolve_redis(project, environment)
    with connected(target) as connection:
        # A worker keeps a temporary table for all its batches.
        require_session(connection, target)
        identify_allowed(connection, target, environment, consent=consent)
        with (
            redis_connected(redis_target, environment, consent=consent) as client,
            redis_translated(doing, redis_target),
        ):
            kind = StreamQueue if source.settings.queue == "stream" else ListQueue
            queue = kind(client, source.queue_name, source.claim_after)
            queue.require_form(redis_target.described)
            yield EmbeddingSession(source.found_in(connection), target, redis_target, connection, queue)


def extension_schema(connection: Connection) -> sql.Composable:
    """The schema that has the types and operators of pgvector; NULL without it."""
    statement = """SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
                    WHERE e.extname = 'vector'"""
    row = connection.execute(statement).fetchone()
    return sql.Identifier(str(row[0])) if row else sql.NULL


def require_queue(project: Project, environment: Environment, *, consent: bool = False) -> None:
    """Check before a load that jobs can be created after its COMMIT. Raises as `embedding_session`."""
    with embedding_session(project, environment, consent=consent):
        pass


def load_embedder(name: str, options: Mapping[str, Any], folder: Path, where: str) -> Embedder:
    """An instance of the class `package.module:Name`, made with `options`, and with `folder` if it takes that.

    Modules in `folder` can be imported, wherever the command runs. Raises `ConfigurationError` if it cannot be made or
    is not an embedder.
    """
    module, _, attribute = name.partition(":")
    sys.path.append(str(folder))
    try:
        kind = getattr(importlib.import_module(module), attribute)
        known: dict[str, Any] = {"folder": folder} if "folder" in inspect.signature(kind).parameters else {}
        made = kind(**(known | {**options}))
        if not (isinstance(made.model, str) and isinstance(made.dimensions, int) and callable(made.embed)):
            raise TypeError("model is not a text, dimensions not an integer, or embed not a method")  # noqa: TRY301
    except SnapseedError:
        raise
    except Exception as exc:
        raise ConfigurationError(
            "the embedder cannot be made",
            where=where,
            observed=f"{name!r}: {type(exc).__name__}: {exc}",
            expected="package.module:Name of a class with model, dimensions and embed",
        ) from exc
    finally:
        sys.path.remove(str(folder))
    return cast("Embedder", made)


def _entity(manifest: Manifest, name: str, where: str) -> EntityRecord:
    """The entity that a setting names. Raises `ConfigurationError` if the snapshot does not have it."""
    record = manifest.entity(name)
    if record is None:
        known = ", ".join(entity.name for entity in manifest.entities)
        raise ConfigurationError(
            "the snapshot has no such entity", where=where, observed=repr(name), expected=f"one of: {known}"
        )
    return record


def _columns_of(entity: EntityRecord, settings: EmbeddingsTable, names: tuple[str, ...], where: str) -> list[Column]:
    """The columns that these settings name. Raises `ConfigurationError` if one is missing or of the wrong type."""
    known = {column.name: column for column in entity.columns}
    wanted = {setting: getattr(settings, setting) for setting in names if getattr(settings, setting) is not None}
    for setting, name in wanted.items():
        if name not in known:
            raise ConfigurationError(
                f"the entity {entity.name} has no such column",
                where=f"{where} {setting}",
                observed=repr(name),
                expected=f"one of: {', '.join(known)}",
            )
        kind, allowed = known[name].kind(), _FAMILIES.get(setting)
        if allowed and (kind.is_array or kind.family not in allowed):
            raise ConfigurationError(
                "the column has the wrong type",
                where=f"{where} {setting}",
                observed=f"{entity.name}.{name} is {known[name].type}",
                expected=f"one of: {', '.join(family.value for family in allowed)}",
            )
    return [known[name] for name in wanted.values()]


def _require_uuids(texts: EntityRecord, target: EntityRecord, settings: EmbeddingsTable, where: str) -> None:
    """Raise `ConfigurationError` unless all keys are uuids."""
    columns = [column for column in target.columns if column.name in {settings.key, settings.parent}]
    for column in (*columns, *texts.key_columns):
        if column.kind().family is not Family.UUID:
            raise ConfigurationError(
                "keys of chunks are derived from uuids",
                where=f"{where} key",
                observed=f"{column.name} is {column.type}",
                next_step="leave out `key`, and let the database generate the keys",
            )


def _require_dimensions(target: EntityRecord, settings: EmbeddingsTable, embedder: Embedder, where: str) -> None:
    """Raise `ConfigurationError` unless the embedder's vectors fit the column."""
    declared = next(column.type for column in target.columns if column.name == settings.vector)
    size = re.fullmatch(r"vector\((\d+)\)", declared)
    if size and int(size[1]) != embedder.dimensions:
        raise ConfigurationError(
            "the embedder's vectors have the wrong dimension",
            where=f"{where} embedder",
            observed=f"{embedder.dimensions} numbers by model {embedder.model}",
            expected=f"{settings.vector} is {declared}",
        )
