"""Make a template once, however many processes ask for it: under an advisory lock, and marked complete last of all."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import msgspec
import psycopg

from snapseed.snapshot.manifest import Manifest
from snapseed.testing.copying import copy_database, fastest_strategy
from snapseed.testing.names import Run, TemplateMark, lock_key
from snapseed.testing.server import Server

# Using a template writes its mark at most this often: what clears templates thinks in days.
_TOUCH_SECONDS = 3600


@dataclass(frozen=True)
class Template:
    """A complete template, which nobody drops while the connection that asked for it is open."""

    name: str
    mark: TemplateMark
    made: bool

    def copy(self, server: Server, name: str, *, owner: str | None = None) -> None:
        """Make a database like it. The driver's errors pass through."""
        copy_database(server, self.name, name, self.mark.strategy, owner=owner)


def find_template(server: Server, name: str) -> Template | None:
    """The template, held from now on, or None where there is none that is complete."""
    key = lock_key(name)
    server.lock(key, shared=True)
    if (mark := _mark(server, name)) is not None:
        return Template(name, _touched(server, name, mark), made=False)
    server.unlock(key, shared=True)
    return None


def hold_template(
    server: Server, name: str, manifest: Manifest, run: Run, make: Callable[[], dict[str, str]]
) -> Template:
    """The template, held from now on; `make` makes the database where it is missing, or was left half-made.

    It returns the fingerprints of tables outside the snapshot, if they matter. Whoever comes while another process is
    making it waits, and finds it made; where that process is killed, the first of those who wait makes it anew.
    """
    if (found := find_template(server, name)) is not None:
        return found
    key = lock_key(name)
    server.lock(key)
    try:
        if (mark := _mark(server, name)) is not None:
            found = Template(name, mark, made=False)
        else:
            found = _make(server, name, manifest, run, make)
        server.lock(key, shared=True)
        return found
    finally:
        _quietly(lambda: server.unlock(key))


def _make(server: Server, name: str, manifest: Manifest, run: Run, make: Callable[[], dict[str, str]]) -> Template:
    server.drop(name)
    try:
        outside = make()
        row = server.connection.execute("SELECT pg_database_size(%s)", [name]).fetchone()
        size = int(str(row[0])) if row else 0
        strategy = fastest_strategy(server, name, size, run.next_name())
        mark = TemplateMark(manifest.name, manifest.identity, int(time.time()), size, strategy, outside)
        with server.connection.transaction():
            # A session in it would keep others from copying it.
            server.execute("ALTER DATABASE {} ALLOW_CONNECTIONS false", name)
            server.set_mark(name, mark)
    except BaseException:
        _quietly(lambda: server.drop(name))
        raise
    return Template(name, mark, made=True)


def _mark(server: Server, name: str) -> TemplateMark | None:
    mark = server.mark(name)
    return mark if isinstance(mark, TemplateMark) else None


def _touched(server: Server, name: str, mark: TemplateMark) -> TemplateMark:
    """The mark with the time of this use, if it is time to write it and no other process is about to."""
    now = int(time.time())
    key = lock_key(f"{name} mark")
    if now - mark.used < _TOUCH_SECONDS or not server.try_lock(key):
        return mark
    try:
        mark = msgspec.structs.replace(mark, used=now)
        server.set_mark(name, mark)
    finally:
        server.unlock(key)
    return mark


def _quietly(action: Callable[[], None]) -> None:
    """Clear up as far as the connection allows; what is left, a later run clears."""
    with suppress(psycopg.Error):
        action()
