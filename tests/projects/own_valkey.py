"""A Valkey server that a test may damage: on a Unix socket and, with a port, on TCP; with users and restarts."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import redis

from snapseed.servers import EmbeddedRedis
from tests.projects.state import patiently


@dataclass
class OwnValkey:
    """The server, as a child process in the foreground. `options` are those of its command line."""

    folder: Path
    options: tuple[str, ...]
    _process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def url(self) -> str:
        """Its Unix socket."""
        return f"unix://{self.folder}/s?db=0"

    def start(self) -> None:
        """Start it with the contents of its append-only file."""
        settings = ["--unixsocket", f"{self.folder}/s", "--dir", str(self.folder), "--save", "", "--appendonly", "yes"]
        with (self.folder / "log").open("ab") as log:
            command = [str(EmbeddedRedis(self.folder).find_program()), "--port", "0", *settings, *self.options]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

        def answers() -> bool:
            with suppress(redis.ConnectionError), self.client() as client:
                # An error is an answer too: it may ask for a password.
                with suppress(redis.AuthenticationError):
                    client.ping()
                return True
            return False

        patiently(answers)

    def client(self) -> redis.Redis:
        """A client of its own."""
        return redis.Redis.from_url(self.url)

    def kill(self) -> None:
        """Stop it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def lose_data(self) -> None:
        """Delete the data that it would start with. It must not be running."""
        shutil.rmtree(self.folder / "appendonlydir")


@contextmanager
def own_valkey(*options: str) -> Iterator[OwnValkey]:
    """A running server, gone at the end."""
    with tempfile.TemporaryDirectory(prefix="snapseed-valkey-") as folder:
        server = OwnValkey(Path(folder), options)
        server.start()
        try:
            yield server
        finally:
            server.kill()
