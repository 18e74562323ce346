"""Clones made ahead of those who take them, and dropped behind them, on a thread with a connection of its own."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import psycopg

from snapseed.errors import SnapseedError
from snapseed.testing.names import Run
from snapseed.testing.server import Server, another_connection
from snapseed.testing.template import Template

# Dropping waits for a checkpoint, so clones that are wanted come first; but no more than these take up room meanwhile.
_MOST_DROPPABLE = 8


class ClonesAhead:
    """Hands out clones of a template, `ahead` of which wait ready, and drops those that come back.

    `at_most` bounds how many are made ahead altogether, where it is known how many will be asked for. Without any
    ahead, everything happens in the caller's thread. A failure of the background costs speed only: the caller's own
    attempt then succeeds, or raises.
    """

    def __init__(self, server: Server, template: Template, run: Run, *, ahead: int, at_most: int | None = None) -> None:
        self._server = server
        self._template = template
        self._run = run
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
        """Whether all that is wanted ahead is ready, and nothing waits to be dropped."""
        with self._changed:
            return not self._ahead or (len(self._ready) == self._ahead and not self._droppable)

    def take(self) -> str:
        """The name of a clone that nobody has used: one that is ready, or one made now."""
        with self._changed:
            while not self._ready and self._making:
                self._changed.wait()
            if self._ready:
                self._changed.notify_all()
                return self._ready.popleft()
            name = self._next()
        self._template.copy(self._server, name)
        return name

    def give_back(self, name: str) -> None:
        """Have a clone dropped, in the background if there is one, and the sessions in it ended."""
        with self._changed:
            if self._thread is not None and self._thread.is_alive():
                self._droppable.append(name)
                self._changed.notify_all()
                return
        self._server.drop(name)

    def close(self) -> None:
        """Stop; the clones that are ready or were given back stay, and go with the run."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _next(self) -> str:
        if self._left is not None:
            self._left -= 1
        return self._run.next_name()

    def _work(self) -> None:
        try:
            with another_connection(self._server) as server:
                while (action := self._action(server)) is not None:
                    action()
        except (SnapseedError, psycopg.Error):
            return
        finally:
            with self._changed:
                self._making = False
                self._changed.notify_all()

    def _action(self, server: Server) -> Callable[[], None] | None:
        """What to do next, once there is something; None at the end."""
        with self._changed:
            while not self._closing:
                if len(self._droppable) < _MOST_DROPPABLE and len(self._ready) < self._ahead and self._left != 0:
                    name = self._next()
                    self._making = True
                    return lambda: self._make(server, name)
                if self._droppable:
                    name = self._droppable[0]
                    return lambda: self._drop(server, name)
                self._changed.wait()
            return None

    def _make(self, server: Server, name: str) -> None:
        self._template.copy(server, name)
        with self._changed:
            self._ready.append(name)
            self._making = False
            self._changed.notify_all()

    def _drop(self, server: Server, name: str) -> None:
        server.drop(name)
        with self._changed:
            self._droppable.remove(name)
