"""Databases for a suite of tests: clones of the template, made ahead by a thread, dropped when they come back."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from snapseed.config import Environment, Project
from snapseed.errors import SnapseedError
from snapseed.postgres.failures import translated
from snapseed.servers.targets import resolve_target
from snapseed.testing import SnapseedDatabase
from snapseed.testing.server import KeptMark, Server, another_connection, connected_server
from snapseed.testing.snapshot_template import Schema, hold_snapshot_template
from snapseed.testing.template import Template, drop_unused

# Dropping waits for a checkpoint, so wanted clones come first; but no more than these may wait to be dropped.
_MOST_DROPPABLE = 8


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


class Clones:
    """Hands out clones of a template, each to one taker. `ahead` of them are ready before anybody asks.

    No more than `at_most` are made ahead in total, if it is known how many will be asked for. With `ahead` = 0,
    everything happens in the caller's thread. When the background fails, it only costs speed: the caller's own attempt
    then succeeds, or raises.
    """

    def __init__(self, server: Server, template: Template, *, ahead: int, at_most: int | None = None) -> None:
        self.server = server
        self.template = template
        self._ahead = ahead
        self._left = at_most
        self._changed = threading.Condition()
        self._ready: deque[str] = deque()
        self._droppable: deque[str] = deque()
        self._making = False
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="snapseed-clones", daemon=True) if ahead else None
        if self._thread is not None:
            self._thread.start()

    @property
    def idle(self) -> bool:
        """Whether everything wanted ahead is ready, and nothing waits to be dropped."""
        with self._changed:
            return not self._ahead or (len(self._ready) == self._ahead and not self._droppable)

    def take(self) -> SnapseedDatabase:
        """A database that nobody has used. Raises `LoadError` or `ServerError` where the server cannot create one."""
        with translated("copying the template", self.server.target.described):
            name = self._take()
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
        """Drop a database and end the sessions in it, in the background if there is one."""
        with self._changed:
            if self._thread is not None and self._thread.is_alive():
                self._droppable.append(database.name)
                self._changed.notify_all()
                return
        with translated("dropping a test's database", self.server.target.described):
            self.server.drop(database.name)

    def keep(self, database: SnapseedDatabase, reason: str) -> None:
        """Leave a database for people to look at. It is dropped as late as an unused template."""
        with translated("keeping a test's database", self.server.target.described):
            self.server.set_mark(database.name, KeptMark(reason, int(time.time())))

    def close(self) -> None:
        """Stop the background. The clones that are ready or were given back stay, and are dropped with the run."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _take(self) -> str:
        with self._changed:
            while not self._ready and self._making:
                self._changed.wait()
            if self._ready:
                self._changed.notify_all()
                return self._ready.popleft()
            name = self._next_name()
        self.template.copy(self.server, name)
        return name

    def _next_name(self) -> str:
        if self._left is not None:
            self._left -= 1
        return self.server.next_clone()

    def _work(self) -> None:
        try:
            with another_connection(self.server) as server:
                while (action := self._next_action(server)) is not None:
                    action()
        except (SnapseedError, psycopg.Error):
            return
        finally:
            with self._changed:
                self._making = False
                self._changed.notify_all()

    def _next_action(self, server: Server) -> Callable[[], None] | None:
        """Wait until there is something to do, and return it; None at the end."""
        with self._changed:
            while not self._closing:
                if len(self._droppable) < _MOST_DROPPABLE and len(self._ready) < self._ahead and self._left != 0:
                    name = self._next_name()
                    self._making = True
                    return lambda: self._make(server, name)
                if self._droppable:
                    name = self._droppable[0]
                    return lambda: self._drop(server, name)
                self._changed.wait()
            return None

    def _make(self, server: Server, name: str) -> None:
        self.template.copy(server, name)
        with self._changed:
            self._ready.append(name)
            self._making = False
            self._changed.notify_all()

    def _drop(self, server: Server, name: str) -> None:
        server.drop(name)
        with self._changed:
            self._droppable.remove(name)
