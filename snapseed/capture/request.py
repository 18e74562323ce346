"""What to capture: which tables, which rows of them, and over how many connections."""

from __future__ import annotations

from dataclasses import dataclass

from snapseed.snapshot.writing import CHUNK_ROWS


@dataclass(frozen=True)
class Sizes:
    """When files and their chunks end: fixed values, which only tests change.

    `part_rows` are those of a file, a multiple of `chunk_rows`: few enough that several connections share a table of a
    million rows. `chunk_bytes` are the most that the values of a chunk take in Arrow; the file ends before one that
    would take more, unless it is a single row.
    """

    part_rows: int = 32 * CHUNK_ROWS
    chunk_rows: int = CHUNK_ROWS
    chunk_bytes: int = 1 << 25


@dataclass(frozen=True)
class CaptureRequest:
    """A capture, with everything decided that does not depend on the source.

    `only` and `exclude` name tables as `table` or `schema.table`, or by the name of their entity. With `visible_rows`,
    row-level security may hide rows. `large_objects`: False leaves them out, instead of refusing the source.
    """

    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    jobs: int = 1
    visible_rows: bool = False
    large_objects: bool = True
    sizes: Sizes = Sizes()
