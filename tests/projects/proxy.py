"""A TCP proxy in front of a PostgreSQL server. It counts bytes and can cut the connection at any of them."""

from __future__ import annotations

import itertools
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

_BYTES = 1 << 16
# Close at once: the other side gets RST instead of FIN (socket(7), SO_LINGER).
_AT_ONCE = struct.pack("ii", 1, 0)


class Direction(StrEnum):
    """One of the two streams of bytes."""

    TO_SERVER = "to the server"
    FROM_SERVER = "from the server"


@dataclass(frozen=True)
class Cut:
    """End the first connection after `at` bytes in one direction: with `reset` by RST, otherwise by FIN."""

    direction: Direction
    at: int
    reset: bool = False


@dataclass
class Proxy:
    """A listening proxy: the URL that leads through it, and how many bytes its first connection has passed so far.

    A load that waits for more than a second opens another connection, to see who blocks it. Its bytes do not count.
    """

    url: str
    upstream: str
    cut: Cut | None
    passed: dict[Direction, int] = field(default_factory=lambda: dict.fromkeys(Direction, 0))

    def connect(self) -> socket.socket:
        """A connection to the server itself, over the socket or address in its URL."""
        with psycopg.connect(self.upstream) as connection:
            host, port = connection.info.host, connection.info.port
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        opened = socket.socket(socket.AF_UNIX)
        opened.connect(str(Path(host) / f".s.PGSQL.{port}"))
        return opened

    def pump(self, source: socket.socket, sink: socket.socket, direction: Direction, *, first: bool) -> None:
        """Forward bytes until either side closes, or until the cut of the `first` connection."""
        with suppress(OSError):
            while data := source.recv(_BYTES):
                here = first and self.cut is not None and self.cut.direction is direction
                left = max(0, self.cut.at - self.passed[direction]) if here and self.cut else len(data)
                sink.sendall(data[:left])
                self.passed[direction] += len(data[:left]) if first else 0
                if here and left <= len(data):
                    break
        self.close(source, sink)

    def close(self, *connections: socket.socket) -> None:
        """Close both sides, even while another thread reads from them."""
        for connection in connections:
            with suppress(OSError):
                if self.cut is not None and self.cut.reset:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
                else:
                    connection.shutdown(socket.SHUT_RDWR)
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
            connection.close()


@contextmanager
def proxied(url: str, cut: Cut | None = None, address: str = "127.0.0.1") -> Iterator[Proxy]:
    """A proxy in front of the server of `url`, which need not listen on TCP itself; it listens on `address`."""
    with socket.create_server((address, 0)) as listening:
        host, port = listening.getsockname()
        parts = {name: value for name, value in conninfo_to_dict(url).items() if name != "hostaddr"}
        proxy = Proxy(make_conninfo(**{**parts, "host": host, "port": port, "sslmode": "disable"}), url, cut)
        threading.Thread(target=_accept, args=(proxy, listening), daemon=True).start()
        try:
            yield proxy
        finally:
            listening.shutdown(socket.SHUT_RDWR)


def _accept(proxy: Proxy, listening: socket.socket) -> None:
    with suppress(OSError):
        for number in itertools.count():
            client, _ = listening.accept()
            server = proxy.connect()
            for arguments in ((client, server, Direction.TO_SERVER), (server, client, Direction.FROM_SERVER)):
                known = {"first": number == 0}
                threading.Thread(target=proxy.pump, args=arguments, kwargs=known, daemon=True).start()
