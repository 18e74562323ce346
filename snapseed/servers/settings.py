"""The settings of the embedded PostgreSQL server: they favour bulk loads and never trade away what was written.

Names and meaning: PostgreSQL manual, "Server Configuration".
"""

from __future__ import annotations

import os
from pathlib import Path

FILE_NAME = "snapseed.conf"

# name, value, reason. The reasons are written into the file, for whoever looks there.
SETTINGS: tuple[tuple[str, str, str], ...] = (
    ("listen_addresses", "", "no TCP: nothing beyond this machine, and no other account on it, can connect"),
    ("port", "5432", "names the socket file, so a PGPORT of the environment must not change it"),
    ("unix_socket_permissions", "0700", "a second lock behind the folder's own mode"),
    ("max_connections", "100", "a test suite on many cores; an idle slot costs a few kB"),
    ("max_locks_per_transaction", "256", "a load locks every table, index and partition in one transaction"),
    ("wal_level", "minimal", "COPY into a table truncated in the same transaction then writes no WAL"),
    ("max_wal_senders", "0", "wal_level = minimal demands it; nothing replicates"),
    ("fsync", "on", "a crash of the machine never corrupts"),
    ("full_page_writes", "on", "a page half written when the power fails is restored"),
    ("synchronous_commit", "off", "a commit does not wait for the disk: the last 0.6 s may go, nothing is corrupted"),
    ("max_wal_size", "4GB", "a load of some GB ends before WAL volume forces a checkpoint in its middle"),
    ("checkpoint_timeout", "30min", "the same for time; recovery from a crash replays at most 4 GB"),
    # Measured, 1 M rows of 174 MB in one transaction, 2 cores: with 128 MB the commit took a fifth longer, with 1 GB
    # each index build took half as long again; COPY itself goes through a ring of 16 MB and does not care.
    ("shared_buffers", "256MB", "less slows the commit, more slows the index builds"),
    ("maintenance_work_mem", "256MB", "sorts an index of some million rows in memory; HNSW graphs need it most"),
    ("timezone", "UTC", "the same text of a timestamp on every machine"),
    ("log_timezone", "UTC", "as above"),
    ("log_checkpoints", "off", "the log keeps to what needs attention"),
    ("log_line_prefix", "%m [%p] %d ", "when, which process, which database"),
)

# A parallel build of an HNSW index keeps its graph, up to maintenance_work_mem, in dynamic shared memory.
_SHARED_MEMORY_BYTES = 512 * 1024**2


def render(socket_directory: Path, shared_memory: Path = Path("/dev/shm")) -> str:  # noqa: S108 - only measured
    """The text of the settings file for a server whose socket lies in `socket_directory`.

    Where `shared_memory` is smaller than a parallel index build needs (containers often get 64 MB), dynamic shared
    memory goes to files in the data folder. Where it does not exist (macOS), the default is right.
    """
    settings = [
        *SETTINGS,
        ("unix_socket_directories", str(socket_directory), "where url() points"),
    ]
    if _size(shared_memory) < _SHARED_MEMORY_BYTES:
        settings.append(("dynamic_shared_memory_type", "mmap", f"{shared_memory} is too small for an index build"))
    lines = [f"{name} = {_quoted(value)}  # {reason}" for name, value, reason in settings]
    return "\n".join(["# Written by snapseed at each start; for changes of your own use ALTER SYSTEM.", *lines, ""])


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def _size(folder: Path) -> int:
    """Bytes of the file system, or of one large enough where the folder does not exist."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return _SHARED_MEMORY_BYTES
    return found.f_blocks * found.f_frsize
