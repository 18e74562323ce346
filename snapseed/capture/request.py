"""What to capture: which tables, which rows of them, and over how many connections."""

from __future__ import annotations

from dataclasses import dataclass


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
