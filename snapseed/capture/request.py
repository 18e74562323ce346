"""What to capture: which tables, which rows of them, and over how many connections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from snapseed.errors import UsageError
from snapseed.snapshot.manifest import names_of
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
    chunk_bytes: int = 1 << 23


@dataclass(frozen=True)
class Root:
    """Rows of a table to begin with: the first `rows` of those that meet a condition. `option` asked for it."""

    table: str
    option: str
    rows: int | None = None
    where: str | None = None


@dataclass(frozen=True)
class SubsetRequest:
    """Some rows, and what belongs to them. With `sample`, `rows` are not the first ones, but drawn by this seed."""

    roots: tuple[Root, ...]
    sample: int | None = None


@dataclass(frozen=True)
class CaptureRequest:
    """A capture, with everything decided that does not depend on the source.

    `only` and `exclude` name tables as `table` or `schema.table`, or by the name of their entity. With `visible_rows`,
    row-level security may hide rows. `large_objects`: False leaves them out, instead of refusing the source. `schema`:
    False leaves out the SQL that creates the tables elsewhere; `schema_only` leaves out all rows. With `subset`, only
    some rows are captured. With `unmasked`, all values are copied as they are, personal ones too.
    """

    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    jobs: int = 1
    visible_rows: bool = False
    large_objects: bool = True
    unmasked: bool = False
    sizes: Sizes = Sizes()
    schema: bool = True
    schema_only: bool = False
    subset: SubsetRequest | None = None

    def __post_init__(self) -> None:
        for name in ("only", "exclude"):
            object.__setattr__(self, name, names_of(getattr(self, name)))
        if self.schema_only and not (self.schema and self.subset is None):
            raise UsageError("--schema-only excludes --without-schema and every choice of rows")

    @property
    def is_partial(self) -> bool:
        """Whether only some tables are asked for."""
        return bool(self.only or self.exclude)


def subset_request(
    root: str | None = None, rows: int | None = None, sample: int | None = None, where: Sequence[str] = ()
) -> SubsetRequest | None:
    """The subset that the options `--root`, `--rows`, `--sample` and `--where` ask for; None without any.

    `rows` counts rows of `root`; a condition on the same table limits which rows are counted. `where` has conditions as
    `"users: created_at > '2026-01-01'"`. Raises `UsageError` for options that do not fit together.
    """
    if (root is None) != (rows is None):
        raise _unclear("--root TABLE and --rows N", f"--rows {rows}" if root is None else f"--root {root}")
    if sample is not None and root is None:
        raise _unclear("--sample SEED together with --root and --rows", f"--sample {sample}")
    if rows is not None and rows < 1:
        raise _unclear("--rows N with at least one row", f"--rows {rows}")
    conditions: dict[str, str] = {}
    for text in where:
        table, colon, condition = (part.strip() for part in text.partition(":"))
        if not (table and colon and condition) or table in conditions:
            expected = '--where "TABLE: CONDITION", once for each table'
            raise _unclear(expected, f"--where {text!r}")
        conditions[table] = condition
    roots = [
        Root(table, f"--where {table}", where=condition) for table, condition in conditions.items() if table != root
    ]
    if root is not None:
        roots.insert(0, Root(root, "--root", rows, conditions.get(root)))
    return SubsetRequest(tuple(roots), sample) if roots else None


def _unclear(expected: str, observed: str) -> UsageError:
    """The error about options that do not say which rows."""
    return UsageError("these options do not say which rows", observed=observed, expected=expected)
