"""A PgBouncer before a server: each transaction, or each client, borrows one of its sessions."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.projects.state import patiently

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
needs_pgbouncer = pytest.mark.skipif(PROGRAM is None, reason="there is no pgbouncer on the PATH: apt install pgbouncer")
_SETTINGS = """
[databases]
* = {server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
server_round_robin = 1
logfile =
"""


@contextmanager
def own_pooler(url: str, mode: str = "transaction", size: int = 1) -> Iterator[str]:
    """The URL of a database by way of a pooler with so many sessions, which is gone at the end."""
    parts = conninfo_to_dict(url)
    place = {name: parts[name] for name in ("host", "port", "user", "password") if name in parts}
    with (
        tempfile.TemporaryDirectory(prefix="snapseed-pooler-") as folder,
        socket.create_server(("127.0.0.1", 0)) as free,
    ):
        port = free.getsockname()[1]
        free.close()
        settings = Path(folder) / "pgbouncer.ini"
        server = " ".join(f"{name}={value}" for name, value in place.items())
        settings.write_text(_SETTINGS.format(server=server, port=port, mode=mode, size=size))
        Path(folder).chmod(0o755)
        # It refuses to run as root.
        account = ["--user", "nobody"] if os.geteuid() == 0 else []
        pooled = make_conninfo(host="127.0.0.1", port=port, user=parts["user"], dbname=parts["dbname"])
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen([str(PROGRAM), *account, settings], stdout=log, stderr=log)
        try:
            patiently(lambda: _answers(pooled))
            yield pooled
        finally:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    with suppress(psycopg.OperationalError), psycopg.connect(url):
        return True
    return False
