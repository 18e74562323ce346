"""A PostgreSQL server that a test may damage: an embedded one in its own folder, with a limit on the size of files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from snapseed.servers import EmbeddedPostgres
from tests.conftest import without_coverage
from tests.projects.state import patiently

# No file of the server grows beyond this: the size of a WAL segment and a few bytes. It stands in for a full disk, for
# which a test would need a file system of its own, and the right to mount one.
FILE_BYTES = 16 * 2**20 + 100

_START = """
import pathlib, resource, sys
from snapseed.servers import EmbeddedPostgres
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
EmbeddedPostgres(pathlib.Path(sys.argv[1])).start()
"""
# The lock table takes more locks than configured as long as there is shared memory, so that has to be used up too.
_TAKE_LOCKS = "DO 'BEGIN FOR i IN 1 .. 10000000 LOOP PERFORM pg_advisory_lock(i); END LOOP; END'"


@dataclass(frozen=True)
class OwnServer:
    """The server. After every way to stop it, `start` recovers it as any start would."""

    embedded: EmbeddedPostgres
    file_bytes: int = FILE_BYTES

    def start(self) -> None:
        """Start it with the limit on files, unless it is running."""
        command = [sys.executable, "-c", _START, str(self.embedded.project), str(self.file_bytes)]
        subprocess.run(command, check=True, env=without_coverage(), capture_output=True)

    def url(self, database: str = "postgres") -> str:
        """The URL of one of its databases."""
        return self.embedded.url(database)

    def make_database(self, name: str, template: str = "template0") -> str:
        """The URL of a new database."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            make = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
            connection.execute(make)
        return self.url(name)

    def flush(self) -> None:
        """Let the current contents survive a crash: the embedded server does not wait for the disk at COMMIT."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute("CHECKPOINT")

    def stop_immediately(self) -> None:
        """Stop it like `pg_ctl stop --mode=immediate`: without a clean shutdown, so the next start recovers."""
        self._signal(self._postmaster(), signal.SIGQUIT)
        patiently(lambda: not self.embedded.is_running())

    def crash(self, url: str) -> None:
        """Kill a process of the server, as the kernel does when memory is short: all sessions end, and it recovers.

        Returns when the sessions have begun to end, which a second session notices.
        """
        with psycopg.connect(url) as victim, psycopg.connect(url, autocommit=True) as witness:
            self._signal(victim.info.backend_pid, signal.SIGKILL)

            def has_ended() -> bool:
                with suppress(psycopg.OperationalError):
                    witness.execute("SELECT")
                return witness.broken

            patiently(has_ended)

    def await_recovery(self, url: str) -> None:
        """Wait until it takes queries again."""

        def answers() -> bool:
            with suppress(psycopg.OperationalError), psycopg.connect(url):
                return True
            return False

        patiently(answers)

    def _postmaster(self) -> int:
        return int((self.embedded.data_directory / "postmaster.pid").read_text().split()[0])

    @staticmethod
    def _signal(pid: int, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


@contextmanager
def own_server(
    file_bytes: int = FILE_BYTES, prepared: Callable[[Path], EmbeddedPostgres] = EmbeddedPostgres
) -> Iterator[OwnServer]:
    """A running server, gone at the end. `prepared` gives the embedded server of a folder."""
    with tempfile.TemporaryDirectory(prefix="snapseed-own-") as folder:
        server = OwnServer(prepared(Path(folder)), file_bytes)
        server.start()
        try:
            yield server
        finally:
            server.embedded.stop()


@contextmanager
def few_locks_left(url: str, left: int) -> Iterator[None]:
    """Take all locks that the server has room for, except `left`."""
    with psycopg.connect(url, autocommit=True) as taker:
        with suppress(psycopg.errors.OutOfMemory):
            taker.execute(_TAKE_LOCKS)
        taker.execute("SELECT pg_advisory_unlock(i) FROM generate_series(1, %s) AS i", (left,))
        try:
            yield
        finally:
            # Not by disconnecting: the server would still be releasing them when the next session asks for one.
            taker.execute("SELECT pg_advisory_unlock_all()")
