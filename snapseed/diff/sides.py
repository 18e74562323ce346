"""The two sides of a comparison: the database of an environment, or a snapshot wherever it is, with their tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from snapseed.config import Project
from snapseed.config.settings import interpolate
from snapseed.config.store import read_store
from snapseed.diff.tables import DatabaseTable, SnapshotTable, Table
from snapseed.errors import UsageError
from snapseed.events import Listener
from snapseed.postgres.catalog import every_table, read_tables
from snapseed.postgres.connect import Connection, Target, target_of
from snapseed.postgres.facts import ColumnFacts, TableFacts
from snapseed.postgres.fit import column_problem, table_name, type_of
from snapseed.postgres.locks import reading
from snapseed.servers.targets import resolve_target
from snapseed.snapshot.keys import is_key_type
from snapseed.snapshot.manifest import FILE_NAME, Column, EntityRecord
from snapseed.snapshot.store import Snapshot, existing_snapshot, open_snapshot, opened_at
from snapseed.snapshot.store_folder import Folder
from snapseed.snapshot.store_git import Revision, committed_in

Tables = Mapping[str, Table]


@dataclass(frozen=True)
class SnapshotSide:
    """A snapshot, wherever it is; or all snapshots of a commit, with entities named like `ci/users`."""

    described: str
    entities: Mapping[str, tuple[Snapshot, EntityRecord]]

    @classmethod
    def of(cls, snapshot: Snapshot) -> SnapshotSide:
        """A single snapshot."""
        manifest = snapshot.manifest
        described = f"snapshot {snapshot.place} (identity {manifest.identity[:16]}…)"
        return cls(described, {record.name: (snapshot, record) for record in manifest.entities})

    def __str__(self) -> str:
        return self.described

    @property
    def records(self) -> Sequence[EntityRecord]:
        """Its entities."""
        return [record for _, record in self.entities.values()]

    @contextmanager
    def tables(self, records: Sequence[EntityRecord] | None, listener: Listener) -> Iterator[Tables]:  # noqa: ARG002 - as of a database
        """Its entities as tables, by name."""
        yield {name: SnapshotTable(*entity) for name, entity in self.entities.items()}


@dataclass(frozen=True)
class DatabaseSide:
    """A database: that of an environment, or another one."""

    target: Target

    def __str__(self) -> str:
        return f"database {self.target.described} ({self.target.source})"

    records = None  # The other side says which entities there are.

    @contextmanager
    def tables(self, records: Sequence[EntityRecord] | None, listener: Listener) -> Iterator[Tables]:
        """The tables of these entities as far as they exist, or all tables, as of one moment."""
        with reading(self.target, "comparing", listener) as connection:
            if records is None:
                facts = read_tables(connection, every_table(connection))
                yield {str(name).removeprefix("public."): _whole(connection, each) for name, each in facts.items()}
            else:
                facts = read_tables(connection, [table_name(record) for record in records])
                found = [(each, table) for each in records if (table := facts.get(table_name(each))) and table.is_table]
                yield {record.name: entity_table(connection, record, table) for record, table in found}


Side = SnapshotSide | DatabaseSide


def find_side(project: Project, text: str) -> Side:
    """What a text names: an environment's database, a snapshot by name, folder, URL or git revision, or a database.

    Raises `UsageError` if it is none of these, and what opening a snapshot raises.
    """
    if text in project.environments:
        return DatabaseSide(resolve_target(project, project.environment(text)))
    if (Path(text) / FILE_NAME).is_file():
        return SnapshotSide.of(opened_at(Folder(Path(text).resolve()), text))
    scheme, is_url, _ = text.partition("://")
    if scheme in {"postgresql", "postgres"} if is_url else "=" in text:
        return DatabaseSide(target_of(text, "the argument"))
    if is_url:
        return SnapshotSide.of(_in_bucket(project, text))
    commit, colon, path = text.partition(":")
    if colon and path:
        revision = Revision(Path(path), project.folder, commit)
        if not revision.repair():
            raise UsageError(
                "the commit has no snapshot in this folder",
                observed=text,
                expected=f"a folder with {FILE_NAME}, from the root of the repository",
                next_step=f"`git ls-tree -r --name-only {commit}` lists its files",
            )
        return SnapshotSide.of(opened_at(revision, text))
    if "/" not in text and (snapshot := existing_snapshot(project.snapshots, text)):
        return SnapshotSide.of(snapshot)
    raise UsageError(
        "there is nothing of this name to compare",
        observed=text,
        expected=f"an environment ({', '.join(project.environments)}), the name or the folder of a snapshot,"
        " its URL in an object store, REVISION:FOLDER in git, or the URL of a database",
        next_step="check the spelling; a folder is relative to the working folder, and in git to the repository's root",
    )


def _in_bucket(project: Project, text: str) -> Snapshot:
    """The snapshot at a URL. Where that has no options, such as an endpoint, those of a store of the project hold."""
    address, _, options = text.partition("?")
    place, _, name = address.rstrip("/").rpartition("/")
    written = [project.stored, *(each.snapshots or "" for each in project.environments.values())]
    like = next((each for each in written if each.startswith(f"{place.partition('/')[0]}//") and "?" in each), "")
    options = options or interpolate(like, where=text)[0].partition("?")[2]
    return open_snapshot(read_store(f"{place}?{options}", project.folder, where=text), name)


def commit_side(project: Project, commit: str) -> SnapshotSide:
    """The snapshots of the project as of a commit. Raises what opening them raises."""
    places = committed_in(project.snapshots.folder, project.folder, commit)
    snapshots = {name: opened_at(place, name) for name, place in places.items()}
    entities = {
        f"{name}/{record.name}": (snapshot, record)
        for name, snapshot in snapshots.items()
        for record in snapshot.manifest.entities
    }
    return SnapshotSide(f"the snapshots of {commit}", entities)


def entity_table(connection: Connection, record: EntityRecord, facts: TableFacts) -> DatabaseTable:
    """The table of an entity, with those of its columns that exist. What fits has the entity's type."""
    columns = [
        column if column_problem(record, column, facts) is None else _stored(found)
        for column in record.columns
        if (found := facts.column(column.name)) is not None
    ]
    names = {column.name: column for column in columns}
    key = [column.name for column in record.key_columns]
    return DatabaseTable(
        connection, facts.name, names, tuple(names[name] for name in key) if names.keys() >= set(key) else ()
    )


def _whole(connection: Connection, facts: TableFacts) -> DatabaseTable:
    """A table with all its columns but generated ones. Its key is the primary key, or else that of a unique index."""
    columns = {column.name: _stored(column) for column in facts.columns if not column.generated}
    usable = {name for name, column in columns.items() if is_key_type(column.kind())}
    required = {column.name for column in facts.columns if column.not_null}
    unique = [index for index in facts.indexes if index.is_unique and index.key and usable >= set(index.key)]
    unique.sort(key=lambda index: (index.constraint != "p", not required >= set(index.key), index.name))
    key = unique[0].key if unique else ()
    return DatabaseTable(connection, facts.name, columns, tuple(columns[name] for name in key))


def _stored(facts: ColumnFacts) -> Column:
    """A column in the type that its rows are read as."""
    kind = type_of(facts)
    # Quoted, the name of a type that we cannot read is one that we do not know, so that its values are read as text.
    return Column(facts.name, kind.name if kind else f'"{facts.type}"')
