"""Databases for a suite of tests: a template with tables and snapshot, and clones of it, made ahead by a thread."""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

from snapseed.config import Environment, Project
from snapseed.errors import ConfigurationError, SnapseedError
from snapseed.load.request import LoadRequest
from snapseed.load.snapshot import load_snapshot
from snapseed.postgres import query
from snapseed.postgres.connect import hidden_variables
from snapseed.postgres.failures import translated
from snapseed.servers.targets import EMBEDDED, resolve_target
from snapseed.snapshot.manifest import Manifest
from snapseed.snapshot.store import snapshot_of
from snapseed.testing import SnapseedDatabase
from snapseed.testing.server import (
    QUERIES,
    KeptMark,
    Server,
    another_connection,
    connected_server,
    connected_to,
    template_name,
)
from snapseed.testing.template import (
    FILES_FROM_BYTES,
    MOST_AT_ONCE,
    SERVER_DEFAULT,
    Template,
    copy_database,
    drop_together,
    drop_unused,
    hold_template,
)

# `pg_get_sequence_data` came with this version.
_SEQUENCES_SINCE = 18
_LOOKS = 1000  # Of a millisecond each, at a session that ends.


@dataclass(frozen=True)
class Schema:
    """How the tables are created, and a digest of the files that this depends on. A new digest gives a new template.

    `create` gets the URL of an empty database. Without it, the load applies the project's schema file.
    """

    digest: str
    create: Callable[[str], object] | None = None


def schema_of(project: Project, manifest: Manifest) -> Schema:
    """The schema of the snapshot, if it was captured with one, or else the project's `schema` file.

    Raises `ConfigurationError` if there is neither, or the file cannot be read.
    """
    if manifest.schema_file is not None:
        return Schema(manifest.schema_file.sha256)
    if project.schema is None:
        raise ConfigurationError(
            "nothing says how the tables of the snapshot are created",
            where=str(project.file),
            expected="a `schema` file in the project, or the application's own migrations",
            next_step='add schema = "schema.sql" to [snapseed], a file such as `pg_dump --schema-only` writes;'
            " or override the fixture snapseed_schema to run your migrations",
        )
    return Schema(_digest([project.schema], project.folder))


def migrations(create: Callable[[str], object], files: Iterable[Path], folder: Path) -> Schema:
    """Tables that `create(url)` creates, which depends on the contents of `files`; `folder` makes their names relative.

    Raises `ConfigurationError` without any file, because a template would never notice a new migration.
    """
    found = sorted({path.resolve() for path in files if path.is_file()})
    if not found:
        raise ConfigurationError(
            "nothing says when the tables that the application creates have changed",
            where=str(folder),
            observed="no file",
            expected="the files that its migrations consist of",
            next_step="name them by globs, for example snapseed_schema_files = migrations/**/*.py",
        )
    return Schema(_digest(found, folder.resolve()), create)


@contextmanager
def opened_clones(
    project: Project,
    environment: Environment,
    schema: Schema | None = None,
    *,
    ahead: int = 0,
    at_most: int | None = None,
) -> Iterator[Clones]:
    """Databases with the snapshot, on the server of `environment`, whose own database is not touched.

    The first process that needs it loads the snapshot into a template. All clones are dropped at the end, those of a
    process that was killed by a later one. Raises what a load raises, and `LoadError` where the role lacks CREATEDB.
    """
    target = resolve_target(project, environment)
    with connected_server(target, environment) as server:
        with translated("making a template", target.described):
            template = hold_snapshot_template(server, project, environment, schema)
        clones = Clones(server, template, ahead=ahead, at_most=at_most)
        try:
            yield clones
        finally:
            with translated("dropping databases", target.described):
                clones.close()
                drop_unused(server)


def hold_snapshot_template(
    server: Server, project: Project, environment: Environment, schema: Schema | None
) -> Template:
    """The template of a snapshot and a schema (default: as a load has it), held by the server's connection.

    It is made if it is missing. Raises what a load raises.
    """
    manifest = snapshot_of(environment).manifest
    tables = schema or schema_of(project, manifest)
    # An administrator may have put something into template1, such as an extension. On an embedded server it is empty,
    # and cannot be copied while anybody is connected to it.
    source = "template0" if server.target.embedded else "template1"
    surroundings = server.surroundings(source)
    name = template_name("snapshot", server.identity.role, manifest.identity, tables.digest, surroundings)
    own_name, database = environment.name, server.conninfo(name)
    if server.target.embedded:
        # The server names a database after its environment.
        own_name, database = name.removeprefix("snapseed_"), EMBEDDED
    # Embeddings come from the snapshot, because no worker serves the tests' databases.
    own = environment.changed(name=own_name, database=database, embeddings="snapshot", create_schema=not tables.create)

    def make() -> dict[str, str]:
        """Create the tables, load the snapshot, and leave the database as clones should find it."""
        copy_database(server, source, name, SERVER_DEFAULT)
        if tables.create is not None:
            tables.create(server.url(name))
        try:
            load_snapshot(project, own, LoadRequest(consent=True))
        except SnapseedError as exc:
            exc.next_step = (exc.next_step or "").replace(own_name, environment.name)
            raise
        with connected_to(server.target, name) as connection:
            # This gives the record another xmin than its rows, whose transaction it must tell: see `filled_tables`.
            connection.execute(
                "UPDATE snapseed.loads SET environment = %s, state = state || jsonb_build_object('transaction', xmin)",
                [environment.name],
            )
            # Autovacuum then finds nothing to do here, and clones have their visibility maps from the start.
            connection.execute("VACUUM (ANALYZE)")
        return {}

    return hold_template(server, name, manifest, make)


class Clones:
    """Gives each caller a clone of its own. `ahead` of them are ready before anybody asks.

    The background hands a clone out again, under another name, if the server can tell that nothing was committed in it.
    No more than `at_most` are made ahead in total, if it is known how many will be asked for. With `ahead` = 0,
    everything happens in the caller's thread. When the background fails, it only costs speed: the caller's own attempt
    then succeeds, or raises.
    """

    def __init__(self, server: Server, template: Template, *, ahead: int, at_most: int | None = None) -> None:
        self.server = server
        self.template = template
        self._ahead = ahead
        self._left = math.inf if at_most is None else at_most
        self._changed = threading.Condition()
        self._ready: deque[str] = deque()
        self._returned: deque[str] = deque()
        self._droppable: deque[str] = deque()
        # Only a superuser sees all sessions and sequences. Older versions do not show a sequence whole.
        is_superuser = server.connection.info.parameter_status("is_superuser") == "on"
        self._can_renew = is_superuser and server.identity.version >= _SEQUENCES_SINCE
        self._outlasting: object = None
        # Large ones take too much room to wait for others.
        self._batch = MOST_AT_ONCE if template.mark.size < FILES_FROM_BYTES else 1
        self._making = False
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="snapseed-clones", daemon=True)
        if ahead:
            self._thread.start()

    @property
    def idle(self) -> bool:
        """Whether everything wanted ahead is ready, and nothing is being dropped."""
        with self._changed:
            is_busy = self._making or self._returned or self._wants_more() or self._is_full()
            return not self._ahead or not is_busy

    def take(self) -> SnapseedDatabase:
        """A fresh clone. Raises `LoadError` or `ServerError` where the server cannot create one."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or not (self._making or self._returned))
            name = self._ready.popleft() if self._ready else None
            if name is None:
                self._left -= 1
            self._changed.notify_all()
        with translated("copying the template", self.server.target.described):
            if name is None:
                name = self.server.next_clone()
                self.template.copy(self.server, name)
            parts = self.server.parameters(name)
            return SnapseedDatabase(
                name=name,
                url=self.server.url(name),
                host=parts.get("host", ""),
                port=int(parts.get("port", "5432")),
                user=parts.get("user", ""),
                password=parts.get("password"),
            )

    def give_back(self, database: SnapseedDatabase) -> None:
        """End the sessions in a database, and drop it: together with others, in the background if there is one."""
        with self._changed:
            has_background = self._thread.is_alive()
            (self._returned if has_background and self._can_renew else self._droppable).append(database.name)
            self._changed.notify_all()
            if has_background or not self._is_full():
                return
        with translated("dropping databases of tests", self.server.target.described):
            self._drop(self.server)

    def keep(self, database: SnapseedDatabase, reason: str) -> None:
        """Leave a database for people to look at. It is dropped as late as an unused template."""
        with translated("keeping a test's database", self.server.target.described):
            self.server.set_mark(database.name, KeptMark(reason, int(time.time())))

    def close(self) -> None:
        """Stop the background. The clones that are ready or were given back stay, and are dropped with the run."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._ahead:
            self._thread.join()

    def _work(self) -> None:
        """The thread: make, renew and drop clones until it is closed. Its failures only cost speed."""
        try:
            with suppress(SnapseedError, psycopg.Error), another_connection(self.server) as server:
                while self._step(server):
                    pass
        finally:
            with self._changed:
                self._making = False
                self._droppable += self._returned
                self._returned.clear()
                self._changed.notify_all()

    def _step(self, server: Server) -> bool:
        """Wait for work, then renew or create a clone, or drop a batch of them. False when closing."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._returned or self._wants_more() or self._is_full())
            if self._closing:
                return False
            returned = self._returned.popleft() if self._returned else None
            self._making = returned is not None or self._wants_more()
            if self._making and returned is None:
                self._left -= 1
        if not self._making:
            self._drop(server)
            return True
        if returned is not None:
            name, is_fresh = self._renewed(server, returned)
        else:
            name, is_fresh = server.next_clone(), True
            self.template.copy(server, name)
            if self._can_renew and self._outlasting is None:
                self._outlasting = _outlasting(server, name)
        with self._changed:
            (self._ready if is_fresh else self._droppable).append(name)
            self._making = False
            self._changed.notify_all()
        return True

    def _renewed(self, server: Server, returned: str) -> tuple[str, bool]:
        """End the sessions in a clone and rename it. Returns its name, and whether it is still as it was made."""
        name = server.next_clone()
        # A pool of connections would come back at once.
        server.execute("ALTER DATABASE {} ALLOW_CONNECTIONS false", returned)
        # A session ends some milliseconds after its client has left. The rename would wait for it in steps of 100.
        for _ in range(_LOOKS):
            if server.end_sessions(returned) == 0:
                break
            time.sleep(0.001)
        try:
            with server.connection.transaction():
                server.execute("ALTER DATABASE {} RENAME TO {}", returned, name)
                server.execute("ALTER DATABASE {} ALLOW_CONNECTIONS true", name)
        except psycopg.errors.ObjectInUse:  # by what cannot be ended: a prepared transaction
            return returned, False
        row = server.connection.execute(query("uncommitted", QUERIES), {"database": name}).fetchone()
        return name, row == (True,) and _outlasting(server, name) == self._outlasting

    def _drop(self, server: Server) -> None:
        """Drop the databases that wait for it."""
        names = list(self._droppable)
        drop_together(server, names)
        with self._changed:
            for name in names:
                self._droppable.remove(name)
            self._changed.notify_all()

    def _is_full(self) -> bool:
        """Whether enough databases wait to be dropped together."""
        return len(self._droppable) >= self._batch

    def _wants_more(self) -> bool:
        """Whether another clone is to be made ahead."""
        return not self._is_full() and len(self._ready) < self._ahead and self._left > 0


def _outlasting(server: Server, name: str) -> object:
    """What a test can change in a database without a commit in it."""
    with hidden_variables(server.target):
        connection = psycopg.connect(server.conninfo(name))
    # Closed without a commit, which would count.
    with closing(connection):
        return connection.execute(query("outlasting", QUERIES)).fetchone()


def _digest(files: Iterable[Path], folder: Path) -> str:
    """A digest of the files' relative names and contents."""
    digest = hashlib.sha256()
    for path in files:
        try:
            data = path.read_bytes()
        except OSError as exc:
            observed = exc.strerror or str(exc)
            raise ConfigurationError("the schema file cannot be read", where=str(path), observed=observed) from exc
        name = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()
