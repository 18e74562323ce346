"""Copy a template: which strategy of CREATE DATABASE is fastest, and the copy itself."""

from __future__ import annotations

import time

import psycopg
from psycopg import sql

from snapseed.testing.server import Server

# PostgreSQL 14 knows no strategies, and always copies files.
WITHOUT = ""
WAL_LOG = "wal_log"
FILE_COPY = "file_copy"
# The same by `file_copy_method = clone`: on a copy-on-write file system, blocks are shared and not copied.
FILE_CLONE = "file_clone"

_STRATEGIES_SINCE = 15
_CLONES_SINCE = 18
# FILE_COPY forces two checkpoints, WAL_LOG writes every page into the log as well. Measured with PostgreSQL 18 on ext4,
# milliseconds of WAL_LOG ÷ FILE_COPY: 8 MB 0.8, 24 MB 1.05, 41 MB 1.1, 73 MB 1.2, 139 MB 1.4, 270 MB 1.7, 532 MB 2.4.
_FILES_FROM = 24 * 10**6


def fastest_strategy(server: Server, template: str, size: int, spare: str) -> str:
    """The strategy for a template of `size` bytes. Cloning files is tried against copying them, as `spare`.

    Only a trial tells whether the file system shares blocks: PostgreSQL asks for it and gets a copy where it does not,
    which is slower than its own.
    """
    strategy = strategy_for(server, size)
    if strategy != FILE_COPY or server.version < _CLONES_SINCE:
        return strategy
    cloned, copied = (_seconds(server, template, spare, way) for way in (FILE_CLONE, FILE_COPY))
    return FILE_CLONE if cloned is not None and copied is not None and cloned < copied else FILE_COPY


def strategy_for(server: Server, size: int) -> str:
    """What is fastest on most file systems for a database of `size` bytes."""
    if server.version < _STRATEGIES_SINCE:
        return WITHOUT
    return WAL_LOG if size < _FILES_FROM else FILE_COPY


def copy_database(server: Server, source: str, name: str, strategy: str, *, owner: str | None = None) -> None:
    """`CREATE DATABASE name TEMPLATE source`. The driver's errors pass through."""
    options: sql.Composable = sql.SQL("")
    if owner is not None:
        options += sql.SQL(" OWNER {}").format(sql.Identifier(owner))
    if strategy == WAL_LOG:
        options += sql.SQL(" STRATEGY wal_log")
    elif strategy != WITHOUT:
        options += sql.SQL(" STRATEGY file_copy")
    if strategy in {FILE_COPY, FILE_CLONE} and server.version >= _CLONES_SINCE:
        method = sql.SQL("clone" if strategy == FILE_CLONE else "copy")
        server.connection.execute(sql.SQL("SET file_copy_method = {}").format(method))
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(source))
    server.connection.execute(statement + options)


def _seconds(server: Server, template: str, spare: str, strategy: str) -> float | None:
    """How long a copy takes; None where the server cannot make one in this way."""
    started = time.monotonic()
    try:
        copy_database(server, template, spare, strategy)
        return time.monotonic() - started
    except psycopg.Error:
        # The server was built without clones, or its file system refuses them: both are no reason to fail.
        return None
    finally:
        server.drop(spare)
