"""Where an embedded server keeps its files: data, socket, log and lock, all named by the project folder alone.

Nothing here starts or stops anything; asking for a path touches no file.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from snapseed.errors import ConfigurationError, ServerError

# What fits into sockaddr_un.sun_path before the final NUL: 108 bytes on Linux, 104 on macOS and the BSDs.
SUN_PATH_BYTES = 107 if sys.platform == "linux" else 103
# Not tempfile.gettempdir(): TMPDIR differs between shells, and a client must find the socket that another one made.
TEMPORARY_DIRECTORY = Path("/tmp")  # noqa: S108 - only a private folder in it is used, and that is checked first
# A local connect takes microseconds; it only waits when the server's queue of new connections is full.
CONNECT_SECONDS = 1.0
# A person does not notice it, and a waiting process costs nothing.
LOCK_POLL_SECONDS = 0.02
# Enough for PostgreSQL's FATAL line with its detail and hint, and the lines that led to it.
LOG_TAIL_LINES = 12


@dataclass(frozen=True)
class ServerFiles:
    """The files of one server (`postgres`, `valkey`) of one project; `socket_name` is the server's name for its socket.

    The project folder is taken with its symbolic links followed, so that every way to write it leads to one server.
    """

    project: Path
    server: str
    socket_name: str

    @property
    def state_directory(self) -> Path:
        """`.snapseed` in the project folder."""
        return self.project.resolve() / ".snapseed"

    @property
    def data_directory(self) -> Path:
        """The folder that belongs to the server alone."""
        return self.state_directory / self.server

    @property
    def log_file(self) -> Path:
        """What the running server logs; the run before it is kept beside it, as `server.log.1`."""
        return self.data_directory / "server.log"

    @property
    def mark(self) -> str:
        """A word that stands in the server's command line and in that of no other project's server."""
        digest = hashlib.sha256(os.fsencode(self.data_directory)).hexdigest()
        return f"snapseed-{digest[:16]}"

    @property
    def socket_directory(self) -> Path:
        """A folder under `.snapseed`, or one in the temporary directory where that cannot carry a socket.

        It cannot when the socket's path would be longer than `sun_path`, and when it holds a comma, at which libpq and
        PostgreSQL would split it, or bytes that are no text, which neither a URL nor a settings file carries.
        """
        beside = self.state_directory / f"run-{self.server}"
        path = str(beside / self.socket_name)
        if len(os.fsencode(path)) <= SUN_PATH_BYTES and "," not in path and path.isprintable():
            return beside
        return TEMPORARY_DIRECTORY / self.mark

    @property
    def socket_file(self) -> Path:
        """The Unix socket."""
        return self.socket_directory / self.socket_name

    def may_exist(self) -> bool:
        """Whether there is a data folder. True where this account may not look, so that the next step says why."""
        try:
            return stat.S_ISDIR(self.data_directory.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except PermissionError:
            return True

    def connect(self) -> socket.socket | None:
        """A connection to the socket, or None where nobody accepts one.

        A socket whose owner is not the owner of the data counts as nobody: anyone may place a file in the temporary
        directory.
        """
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(CONNECT_SECONDS)
        try:
            path = self.socket_file
            if path.lstat().st_uid == self.data_directory.stat().st_uid:
                connection.connect(str(path))
                return connection
        except OSError:
            pass
        connection.close()
        return None

    @contextmanager
    def locked(self, seconds: float) -> Iterator[None]:
        """Hold the server's lock: one process at a time starts or stops it, the others wait.

        The lock is the kernel's (`flock`), so it ends with the process that holds it, however that ends. Makes
        `.snapseed` where it is missing. Raises `ConfigurationError` where it cannot be written, and `ServerError` when
        another process has kept the lock for `seconds`.
        """
        path = self.state_directory / f"{self.server}.lock"
        if "\n" in str(path):
            raise ConfigurationError(
                "an embedded server cannot work in a folder whose name holds a line break",
                observed=repr(str(self.project)),
                expected="a path on one line: both servers keep it in files of lines",
                next_step="rename the folder",
            )
        try:
            self._make_state_directory()
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise ConfigurationError(
                f"the folder of the embedded {self.server} server cannot be written",
                observed=error.strerror,
                expected="a project folder in which this account may create .snapseed",
                where=error.filename or str(path),
                next_step="make the folder writable, or name a database of your own in snapseed.toml",
            ) from error
        try:
            self._await_lock(descriptor, path, seconds)
            yield
        finally:
            os.close(descriptor)

    def remove_socket_directory(self) -> None:
        """Leave nothing in the temporary directory; a folder under `.snapseed`, or one that is not empty, stays."""
        if self.socket_directory.parent == TEMPORARY_DIRECTORY:
            with suppress(OSError):
                self.socket_directory.rmdir()

    def log_tail(self) -> str:
        """The last lines of the log, for an error message; empty where there is no log."""
        with suppress(OSError):
            lines = self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()
            return "\n".join(lines[-LOG_TAIL_LINES:])
        return ""

    def rotate_log(self) -> None:
        """Begin a new log and keep the one before: a message quotes this run, and nothing grows without end."""
        with suppress(FileNotFoundError):
            self.log_file.replace(self.log_file.with_name("server.log.1"))

    def _make_state_directory(self) -> None:
        # Not mkdir(parents=True): a mistyped project folder is an error and no reason to make one.
        with suppress(FileExistsError):
            self.state_directory.mkdir()
            # Databases do not belong into git, and this holds in projects whose own .gitignore forgot them.
            (self.state_directory / ".gitignore").write_text("*\n")

    def _await_lock(self, descriptor: int, path: Path, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise ServerError(
                        f"another process has been starting or stopping the embedded {self.server} server for too long",
                        observed=f"the lock is still taken after {seconds:g} s",
                        where=str(path),
                        next_step="wait for that process, or end it, and run the same command again",
                    ) from error
                time.sleep(LOCK_POLL_SECONDS)
            else:
                return
