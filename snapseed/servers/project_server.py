"""A server of one project: where its files are, and how it is started, found again and stopped.

A process is only signalled on proof that it works on this project's own data.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NoReturn

from snapseed.errors import ConfigurationError, MachineError, ServerError, SnapseedError
from snapseed.servers.account import (
    Account,
    account_for,
    make_searchable,
    private_directory,
    read_end,
    require_unshared,
    run_as,
)
from snapseed.servers.lock import POLL_SECONDS, polls, server_lock, telling

if TYPE_CHECKING:
    from snapseed.servers.processes import ServerProcesses

# What fits into sockaddr_un.sun_path before the final NUL: 108 bytes on Linux, 104 on macOS and the BSDs.
SUN_PATH_BYTES = 107 if sys.platform == "linux" else 103
# Not tempfile.gettempdir(): TMPDIR differs between shells, and clients must find the socket that another shell made.
TEMPORARY_DIRECTORY = Path("/tmp")  # noqa: S108 - only a private folder in it is used, and that is checked first
# A daemon may need this long to set its name and folder.
_GRACE_SECONDS = 0.5
# A command with a time limit counts as hung this long after it.
_HUNG_SECONDS = 15
# Enough for PostgreSQL's FATAL line with its detail and hint, and the lines that led to it.
_LOG_TAIL_LINES = 12
_CAUSE = re.compile(r"(?:FATAL|PANIC|error): +(.*)")
# What the system, or PostgreSQL for it, says in the locale C.
_LACKING = re.compile(
    "No space left|quota exceeded|File too large|Too many open files|insufficient file descr|Cannot allocate memory"
    "|Read-only file system|could not map anonymous shared memory",
    re.IGNORECASE,
)


_log = logging.getLogger("snapseed")


@dataclass(frozen=True)
class Timeouts:
    """How many seconds a server may take to start and to stop, and another process may hold its lock."""

    start: float
    stop: float
    lock: float
    # A local connect takes microseconds. It only waits when the server's queue of new connections is full.
    connect: float = 1.0


@dataclass(frozen=True)
class ProjectServer(ABC):
    """The server of the project in folder `project`. Creating this handle, and asking for paths, touches no file.

    Symbolic links in `project` are followed, so every way to write the path leads to the same server.
    """

    project: Path
    timeouts: Timeouts

    # In messages; of its folder and lock; its package and a glob of the program in it; of its processes; of its Unix
    # socket; and which signal shuts it down.
    title: ClassVar[str]
    name: ClassVar[str]
    package: ClassVar[str]
    program: ClassVar[str]
    process_name: ClassVar[str]
    socket_name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]

    @property
    def state_directory(self) -> Path:
        """`.snapseed` in the project folder."""
        return self.project.resolve() / ".snapseed"

    @property
    def data_directory(self) -> Path:
        """The folder under `.snapseed` that belongs to this server alone."""
        return self.state_directory / self.name

    @property
    def log_file(self) -> Path:
        """The server's log since its last start. The log of the run before is kept as `server.log.1`."""
        return self.data_directory / "server.log"

    @property
    def socket_directory(self) -> Path:
        """A folder under `.snapseed`, or one in the temporary directory where that path cannot hold a socket.

        It cannot when it would be longer than `sun_path`, when it has a comma (libpq and PostgreSQL split there), or
        when it has bytes that are not text, which fit neither a URL nor a settings file.
        """
        beside = self.state_directory / f"run-{self.name}"
        path = str(beside / self.socket_name)
        if len(os.fsencode(path)) <= SUN_PATH_BYTES and "," not in path and path.isprintable():
            return beside
        return TEMPORARY_DIRECTORY / self.mark

    @property
    def socket_file(self) -> Path:
        """The Unix socket."""
        return self.socket_directory / self.socket_name

    @property
    def mark(self) -> str:
        """A word in the command line of this server's processes and of no other server's."""
        digest = hashlib.sha256(os.fsencode(self.data_directory)).hexdigest()
        return f"snapseed-{digest[:16]}"

    @abstractmethod
    def is_running(self) -> bool:
        """Whether the server accepts work; False while it starts, recovers from a crash, or shuts down."""

    @classmethod
    def find_program(cls) -> Path:
        """The program to start, found without importing its package, which has side effects.

        Raises `ConfigurationError` when the package is missing, or came without the program.
        """
        found = importlib.util.find_spec(cls.package)
        for folder in (found.submodule_search_locations or []) if found else []:
            for program in Path(folder).glob(cls.program):
                return program.resolve()
        name = cls.package.replace("_", "-")
        raise ConfigurationError(
            f"the {cls.title} is not installed",
            observed=f"no package {name}" if found is None else f"the package {name} has no {cls.program}",
            expected=f"{name} for this platform",
            next_step="pip install 'snapseed[embedded]', or name a server of your own in snapseed.toml",
        )

    def _prepare_data(self, account: Account, folder: int) -> None:
        """Make the data folder, and everything in it, ready for a start. `folder` is `.snapseed`, open."""
        private_directory(self.data_directory, account, folder)

    @abstractmethod
    def _start_command(self) -> list[str]:
        """The command that starts the server in the background. It is run in the data folder."""

    def start(self) -> bool:
        """Start the server and wait until it accepts work; True when it had to be started.

        It waits for processes that a crash left, ends those whose data was deleted, and removes leftover files. Raises
        `ConfigurationError` when the wheel is missing, the folder cannot be written or its data is of another version;
        `RefusedError` for folders of another account; `ServerError` with the end of the server's log when it does not
        start.
        """
        account = account_for(self.data_directory, self.project)
        # First of all: who may write there can let somebody else's server answer.
        require_unshared(self.state_directory, account)
        if self.is_running():
            return False
        program = self.find_program()
        with self._locked(account) as folder:
            self._end_orphans()
            if self._earlier_run_works():
                return False
            make_searchable(program.resolve(), account)
            make_searchable(self.data_directory, account)
            private_directory(self.socket_directory, account)
            with telling(lambda: f"still starting the {self.title}; a first start takes some seconds"):
                self._prepare_data(account, folder)
                # One log is kept, so that messages quote this run and nothing grows without end.
                with suppress(FileNotFoundError):
                    self.log_file.replace(self.log_file.with_name("server.log.1"))
                self._launch(account)
            return True

    def stop(self) -> bool:
        """Disconnect all clients, write everything to disk and wait for the end; False when it was not running.

        A server whose data was deleted is ended too. Raises `RefusedError` for a server of another account,
        `ServerError` when it does not stop in time.
        """
        try:
            if not stat.S_ISDIR(self.data_directory.lstat().st_mode):
                return False
        except (FileNotFoundError, NotADirectoryError):
            return self._end_orphans()
        except PermissionError:
            pass  # account_for() says why
        with self._locked(account_for(self.data_directory, self.project)):
            if not self._main_processes():
                if self.is_running():
                    self._fail("did not stop", "it runs in another container, so its processes are not visible here")
                return False
            self._shut_down()
            # A folder under `.snapseed`, and one that is not empty, stays.
            if self.socket_directory.parent == TEMPORARY_DIRECTORY:
                with suppress(OSError):
                    self.socket_directory.rmdir()
            return True

    def _is_cut_off(self) -> bool:
        """Whether the server works and cannot be reached, as after its socket was deleted. It is then restarted."""
        return False

    def _main_processes(self) -> list[int]:
        """The processes that the signal to shut down goes to."""
        return self._processes.all()

    @contextmanager
    def _connected(self) -> Iterator[socket.socket | None]:
        """A connection to the socket, or None where nobody accepts one.

        It ignores a socket that the owner of the data does not own: anyone can create files in `/tmp`.
        """
        accepted = False
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(self.timeouts.connect)
            with suppress(OSError):
                if self.socket_file.lstat().st_uid == self.data_directory.lstat().st_uid:
                    connection.connect(str(self.socket_file))
                    accepted = True
            yield connection if accepted else None

    def _end_orphans(self) -> bool:
        """End processes of this server whose data was deleted while they ran; True when there were any.

        Nobody can reach them. They may hold the socket's folder, Valkey runs on forever, and PostgreSQL for a minute.
        """
        if not (found := self._processes.signal_orphans(self.stop_signal)):
            return False
        ids = " ".join(map(str, found))
        _log.warning("ending the %s whose data was deleted while it ran: process %s", self.title, ids)
        for _ in polls(self.timeouts.stop, lambda: f"waiting for the end of process {ids}"):
            if not self._processes.orphans():
                break
        else:
            said = f"process {ids} still runs after {self.timeouts.stop:g} s"
            self._fail("lost its data and did not end", said, f"run `kill -9 {ids}`, then the same command again")
        return True

    def _earlier_run_works(self) -> bool:
        """Wait while processes of an earlier run exist; True when they turn out to be a working server.

        Starting another server on the same data would damage it, and Valkey would not notice.
        """

        def processes() -> str:
            return f"process {', '.join(map(str, self._processes.all()))}"

        for _ in polls(self.timeouts.start, lambda: f"waiting for an earlier run of the {self.title}: {processes()}"):
            if self.is_running():
                break
            if not self._processes.all():
                return False
            if self._is_cut_off():
                self._shut_down()
        else:
            self._fail(
                "has processes of an earlier run that have not ended",
                f"{processes()} after {self.timeouts.start:g} s",
                "run `snapseed db stop`, or end these processes yourself; then run the same command again",
            )
        return True

    def _launch(self, account: Account) -> None:
        """Start the server, and wait until it accepts work."""
        self._run(self._start_command(), account, self.timeouts.start, "did not start")
        started = time.monotonic()
        while not self.is_running():
            seconds = time.monotonic() - started
            if seconds > _GRACE_SECONDS and not self._processes.all():
                self._fail("did not start", "it ended at once")
            if seconds > self.timeouts.start:
                self._fail("did not start in time", f"waited {self.timeouts.start:g} s")
            time.sleep(POLL_SECONDS)

    def _shut_down(self) -> None:
        """Tell the server to shut down, and wait until all of its processes have ended."""
        main = self._main_processes()
        self._processes.signal(main, self.stop_signal)
        for _ in polls(self.timeouts.stop, lambda: f"waiting for the {self.title} to stop"):
            remaining = self._processes.all() or [pid for pid in main if self._processes.owns(pid) is not False]
            if not remaining:
                return
        ids = ", ".join(map(str, remaining))
        self._fail("did not stop", f"process {ids} still runs after {self.timeouts.stop:g} s")

    @property
    def _processes(self) -> ServerProcesses:
        """The processes of this server."""
        # Only a start, a stop or a crash needs psutil, which takes longer to import than a status takes.
        from snapseed.servers.processes import ServerProcesses  # noqa: PLC0415 - see above

        return ServerProcesses(self.process_name, self.data_directory, self.mark)

    def _locked(self, account: Account) -> AbstractContextManager[int]:
        """Hold the lock of this server."""
        path = self.state_directory / f"{self.name}.lock"
        return server_lock(path, self.title, account, self.timeouts.lock)

    def _run(
        self, command: list[str], account: Account, seconds: float, failure: str, directory: Path | None = None
    ) -> None:
        """Run a command in `directory` (default: the data folder); `failure` says what it means when it fails."""
        try:
            done = run_as(command, account, seconds + _HUNG_SECONDS, directory or self.data_directory)
        except subprocess.TimeoutExpired:
            self._fail(failure, f"{Path(command[0]).name} has not returned after {seconds:g} s")
        if done.returncode != 0:
            self._fail(failure, done.stdout)

    def _fail(self, what: str, said: str, next_step: str | None = None) -> NoReturn:
        """Raise `ServerError` with the sentence that says why and the end of the log, or `MachineError` if that is why.

        A program in trouble says much before it. Of several sentences the first is the cause.
        """
        log, read = "", ""
        with suppress(OSError):
            log, read = read_end(self.log_file), f"read {self.log_file}, then "
        cause = _CAUSE.search(said)
        lines = [cause[1] if cause else said.strip(), *log.splitlines()[-_LOG_TAIL_LINES:]]
        observed = "\n".join(line for line in lines if line)
        kind: type[SnapseedError] = ServerError
        advice = f"{read}run the same command again"
        if _LACKING.search(observed):
            kind, advice = MachineError, "make room for it or raise the limit, then run the same command again"
        raise kind(
            f"the {self.title} {what}",
            observed=observed,
            where=str(self.data_directory),
            next_step=next_step or advice,
        )
