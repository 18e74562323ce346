"""A PostgreSQL server per project, run from the binaries of a wheel: on demand, on a Unix socket only, until stopped.

All that is ever started or stopped here is proved to work on this project's own data folder.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

from snapseed.errors import ConfigurationError, ServerError
from snapseed.servers import programs as commands
from snapseed.servers import settings
from snapseed.servers.account import Account, account_for, make_searchable, private_directory, run_as, write_owned
from snapseed.servers.files import ServerFiles
from snapseed.servers.process import belongs, exists, processes
from snapseed.servers.programs import MAJOR, SUPERUSER, find_programs

PORT = 5432
# Half a second on an idle machine; a slow network file system may take a minute for initdb's thousand small files.
INITDB_SECONDS = 180
# After a crash up to max_wal_size = 4 GB of WAL is replayed, at 100 MB/s or more; three times that.
START_SECONDS = 120
# The checkpoint at shutdown writes at most shared_buffers and syncs what was written before: seconds, on a slow disk.
STOP_SECONDS = 120
# A process that waits behind another one's first start sees initdb and the start.
LOCK_SECONDS = INITDB_SECONDS + START_SECONDS + STOP_SECONDS
# pg_ctl keeps to the seconds it is given; this much later it must have hung.
GRACE_SECONDS = 15
POLL_SECONDS = 0.05
# What an orphaned initdb takes to notice that its files are gone, with room for a busy machine.
CLEAR_SECONDS = 10
# NAMEDATALEN - 1. PostgreSQL would cut a longer name silently, and then not find it again.
NAME_BYTES = 63

_log = logging.getLogger("snapseed")


@dataclass(frozen=True)
class EmbeddedPostgres:
    """The PostgreSQL server of the project in folder `project`; making this handle touches nothing."""

    project: Path

    @property
    def socket_directory(self) -> Path:
        """The folder of the Unix socket: under `.snapseed`, or a short one in the temporary directory."""
        return self._files.socket_directory

    @property
    def data_directory(self) -> Path:
        """`.snapseed/postgres`."""
        return self._files.data_directory

    @property
    def log_file(self) -> Path:
        """The server's log since its last start."""
        return self._files.log_file

    def url(self, database: str) -> str:
        """The libpq URI of a database, as superuser over the Unix socket. Needs no server, and no database.

        The port names the socket file; it is given so that a `PGPORT` meant for another server does no harm.
        """
        host = quote(str(self.socket_directory))
        return f"postgresql://{SUPERUSER}@/{quote(database, safe='')}?host={host}&port={PORT}"

    def psql(self) -> Path:
        """The `psql` of the server's own version. Raises `ConfigurationError` when the wheel is not installed."""
        return find_programs() / "psql"

    def is_running(self) -> bool:
        """Whether the server takes queries; False while it starts, recovers from a crash, or shuts down."""
        if self._postmaster()[1] != "ready":
            return False
        connection = self._files.connect()
        if connection is None:
            return False
        connection.close()
        return True

    def start(self) -> bool:
        """Start the server and wait until it takes queries; True when it had to be started.

        The first start makes the data folder. Whatever a crash has left behind is waited for or cleared away; a server
        that works but cannot be reached (its socket was deleted) is restarted.

        Raises `ConfigurationError` when the wheel is missing, the folder cannot be written or its data is of another
        major version; `RefusedError` for folders of somebody else; `ServerError` with the end of the server's log when
        it does not start.
        """
        if self.is_running():
            return False
        programs = find_programs()
        self._check_version()
        account = account_for(self.data_directory)
        with self._files.locked(LOCK_SECONDS):
            if self.is_running():
                return False
            make_searchable(programs / "postgres", account)
            make_searchable(self.data_directory, account)
            private_directory(self.socket_directory, account)
            if not self._is_complete():
                self._initialize(programs, account)
            private_directory(self.data_directory, account)
            if self._settle_leftovers(programs, account):
                return False
            self._write_settings(account)
            self._launch(programs, account)
            return True

    def stop(self) -> bool:
        """Disconnect all clients, write everything to disk and wait for the end; False when it was not running.

        Open transactions are rolled back. Raises `ServerError` when the server does not stop in time.
        """
        if not self._files.may_exist():
            return False
        account = account_for(self.data_directory)
        with self._files.locked(LOCK_SECONDS):
            pid, _ = self._postmaster()
            if pid is None or not (belongs(pid, self._files, "postgres") or self.is_running()):
                return False
            self._shut_down(find_programs(), account)
            self._files.remove_socket_directory()
            return True

    def ensure_database(self, name: str) -> bool:
        """Create the database when it is missing; True when it was created. The server must be running.

        Raises `ConfigurationError` for a name that PostgreSQL cannot hold, `ServerError` when it cannot be reached.
        """
        import psycopg  # noqa: PLC0415 - start-up time: url() and is_running() do without a driver
        from psycopg import sql  # noqa: PLC0415 - as above

        if not 0 < len(name.encode()) <= NAME_BYTES or "\0" in name:
            raise ConfigurationError(
                "PostgreSQL cannot hold this database name",
                observed=repr(name),
                expected=f"1 to {NAME_BYTES} bytes, none of them zero",
                next_step="give the environment a shorter name",
            )
        try:
            with psycopg.connect(self.url(SUPERUSER), autocommit=True) as connection:
                if connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is not None:
                    return False
                # template1, the default, cannot be copied while anybody is connected to it; nobody can be to template0.
                create = sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name))
                connection.execute(create)
        except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
            # Another process was quicker; which of the two errors it is depends on by how much.
            return False
        except psycopg.Error as error:
            raise ServerError(
                f"database {name} could not be created in the embedded PostgreSQL",
                observed=str(error).strip(),
                where=str(self.data_directory),
                next_step="run `snapseed db start`" if not self.is_running() else f"see {self.log_file}",
            ) from error
        return True

    @property
    def _files(self) -> ServerFiles:
        return ServerFiles(self.project, "postgres", f".s.PGSQL.{PORT}")

    def _postmaster(self) -> tuple[int | None, str]:
        return _read_lock_file(self.data_directory / "postmaster.pid")

    def _is_complete(self) -> bool:
        """Whether the data folder holds a cluster: PG_VERSION is initdb's first file, pg_control a late one."""
        return all((self.data_directory / name).exists() for name in ("PG_VERSION", "global/pg_control"))

    def _check_version(self) -> None:
        try:
            found = (self.data_directory / "PG_VERSION").read_text().strip()
        except OSError:
            return  # no data yet; or not ours to read, which account_for() will say better
        if found != str(MAJOR):
            raise ConfigurationError(
                "the embedded data was made by another major version of PostgreSQL; nothing was touched",
                observed=f"PostgreSQL {found}",
                expected=f"PostgreSQL {MAJOR}, the version of the installed wheel",
                where=str(self.data_directory),
                next_step="remove the folder and load the snapshots again, or install the wheel of that version and "
                "pg_dump what you need",
            )

    def _initialize(self, programs: Path, account: Account) -> None:
        """Run initdb in a folder beside the final one, and rename that when it is complete."""
        state = self._files.state_directory
        for leftover in state.glob("postgres.initdb-*"):
            _clear_away(leftover)
        self._set_aside()
        fresh = Path(tempfile.mkdtemp(prefix="postgres.initdb-", dir=state))
        try:
            private_directory(fresh, account)
            command = commands.initdb(programs, fresh)
            self._run(command, account, INITDB_SECONDS, "the data folder of the embedded PostgreSQL could not be made")
            with (fresh / "postgresql.conf").open("a", encoding="utf-8") as file:
                # An include, so that a server started by hand is no more open than ours.
                file.write(f"include_if_exists '{settings.FILE_NAME}'\n")
            fresh.rename(self.data_directory)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _set_aside(self) -> None:
        """Move a data folder that holds no cluster out of the way; an empty one is overwritten by the rename."""
        if not self.data_directory.is_dir() or not any(self.data_directory.iterdir()):
            return
        aside = Path(tempfile.mkdtemp(prefix="postgres.incomplete-", dir=self._files.state_directory))
        self.data_directory.rename(aside)
        _log.warning("%s holds no complete database cluster; kept it as %s", self.data_directory, aside.name)

    def _settle_leftovers(self, programs: Path, account: Account) -> bool:
        """Wait for, stop or clear away what an earlier run left; True when that turns out to be a running server."""
        deadline = time.monotonic() + START_SECONDS
        while remaining := processes(self._files, "postgres"):
            # Read first: a server that becomes ready between the two looks is not taken for an unreachable one.
            pid, status = self._postmaster()
            # It may still have been starting up when the process that started it was killed.
            if self.is_running():
                return True
            if pid in remaining and status == "ready":
                _log.warning("the embedded PostgreSQL cannot be reached on %s; restarting it", self._files.socket_file)
                self._shut_down(programs, account)
            elif time.monotonic() > deadline:
                # Its shared memory is in use as long as one of them lives, and PostgreSQL is right to insist on it.
                self._fail(
                    "processes of an earlier run of the embedded PostgreSQL have not ended",
                    f"process {', '.join(map(str, remaining))} after {START_SECONDS} s",
                    "wait for them, or end them, and run the same command again",
                )
            else:
                time.sleep(POLL_SECONDS)
        socket_file = self._files.socket_file
        for lock_file in (self.data_directory / "postmaster.pid", socket_file.with_name(f"{socket_file.name}.lock")):
            # PostgreSQL itself copes with an id that no process has. It gives up when the id has passed to another
            # process (after a reboot, or in a container), or to a dead one that nobody reaps; then, and only with
            # proof, the file is removed. What guards the data besides, its shared memory, is left to PostgreSQL.
            pid, _ = _read_lock_file(lock_file)
            if pid is not None and exists(pid) and belongs(pid, self._files, "postgres") is False:
                lock_file.unlink(missing_ok=True)
        return False

    def _write_settings(self, account: Account) -> None:
        text = settings.render(self.socket_directory)
        write_owned(self.data_directory / settings.FILE_NAME, text, account)

    def _launch(self, programs: Path, account: Account) -> None:
        self._files.rotate_log()
        command = commands.start(programs, self.log_file.name, self._files.mark, START_SECONDS)
        self._run(command, account, START_SECONDS, "the embedded PostgreSQL did not start", self.data_directory)

    def _shut_down(self, programs: Path, account: Account) -> None:
        command = commands.stop(programs, self.data_directory, STOP_SECONDS)
        self._run(command, account, STOP_SECONDS, "the embedded PostgreSQL did not stop")

    def _run(
        self, command: list[str], account: Account, seconds: float, failure: str, directory: Path | None = None
    ) -> None:
        try:
            done = run_as(command, account, seconds + GRACE_SECONDS, directory)
        except subprocess.TimeoutExpired:
            self._fail(failure, f"{Path(command[0]).name} has not returned after {seconds:g} s")
        if done.returncode != 0:
            self._fail(failure, done.stdout)

    def _fail(self, summary: str, said: str, next_step: str | None = None) -> NoReturn:
        raise ServerError(
            summary,
            observed="\n".join(part for part in (said.strip(), self._files.log_tail()) if part),
            where=str(self.data_directory),
            next_step=next_step or f"read {self.log_file}, then run the same command again",
        )


def _read_lock_file(path: Path) -> tuple[int | None, str]:
    """The process id and the status in a lock file of PostgreSQL; (None, "") without a readable one.

    Lines 1 and 8 (`src/include/utils/pidfile.h`); the second is missing in a young file, and in that of a socket.
    """
    try:
        lines = path.read_bytes().split(b"\n")
        return int(lines[0]), lines[7].strip().decode() if len(lines) > 7 else ""  # noqa: PLR2004 - see docstring
    except (OSError, ValueError):
        return None, ""


def _clear_away(folder: Path) -> None:
    """Remove the folder of an initdb whose starter was killed.

    That initdb may still run and write into it, which makes a removal in one go stop half-way; without its files it
    fails within moments. What cannot be removed stays: it is in nobody's way.
    """
    deadline = time.monotonic() + CLEAR_SECONDS
    shutil.rmtree(folder, ignore_errors=True)
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)
